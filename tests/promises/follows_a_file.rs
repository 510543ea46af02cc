//! The agent watches a config in a file, whichever way the file is changed, and does not poll it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::host::{Agent, Host, config, hash, wait_until};
use super::system::symlink;

/// A host whose config is this file; the agent would poll it once a day.
fn host(name: &str) -> (Host, PathBuf) {
    let host = Host::new();
    let path = host.path(name);
    host.set("config.url", &path.display().to_string());
    host.set("config.poll_every", "24h");
    (host, path)
}

fn running(host: &Host, path: &PathBuf, body: &str) -> Agent {
    fs::write(path, body).unwrap();
    let agent = host.agent().start();
    agent.applied(body);
    agent
}

#[test]
fn an_edit_in_place() {
    let (host, path) = host("config.yaml");
    let agent = running(&host, &path, &config("first"));

    for label in ["second", "third"] {
        fs::write(&path, config(label)).unwrap();
        agent.applied(&config(label));
    }

    assert!(host.server.requests().is_empty());
}

#[test]
fn another_file_renamed_over_it() {
    let (host, path) = host("config.yaml");
    let agent = running(&host, &path, &config("first"));

    for label in ["second", "third"] {
        fs::write(host.path("new"), config(label)).unwrap();
        // On Windows the rename fails while the agent reads the file.
        wait_until("the new file in place", || fs::rename(host.path("new"), &path).is_ok());
        agent.applied(&config(label));
    }
}

#[test]
fn a_link_swapped_as_kubernetes_does() {
    let host = Host::new();
    let volume = host.path("volume");
    fs::create_dir(&volume).unwrap();
    let publish = |label: &str| {
        let data = format!("..2026_{label}");
        fs::create_dir(volume.join(&data)).unwrap();
        fs::write(volume.join(&data).join("config.yaml"), config(label)).unwrap();
        symlink(&data, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    };
    publish("first");
    symlink("..data/config.yaml", volume.join("config.yaml")).unwrap();
    host.set("config.url", &format!("file://{}", volume.join("config.yaml").display()));
    host.set("config.poll_every", "24h");
    let agent = host.agent().start();
    agent.applied(&config("first"));

    for (old, label) in [("first", "second"), ("second", "third")] {
        publish(label);
        agent.applied(&config(label));
        fs::remove_dir_all(volume.join(format!("..2026_{old}"))).unwrap();
    }
}

#[test]
fn a_file_that_appears_later_with_its_folder() {
    let (host, path) = host("etc/otelcol/config.yaml");
    let agent = host.agent().start();
    agent.logs("does not exist yet; waiting for it");

    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, config("first")).unwrap();

    agent.applied(&config("first"));
}

#[test]
fn a_file_that_is_removed_stops_nothing() {
    let (host, path) = host("config.yaml");
    let good = config("good");
    let agent = running(&host, &path, &good);

    fs::remove_file(&path).unwrap();

    agent.logs("does not exist yet; waiting for it");
    agent.applied_still(&good);
    fs::write(&path, config("second")).unwrap();
    agent.applied(&config("second"));
}

#[test]
fn a_file_that_is_emptied_stops_nothing() {
    let (host, path) = host("config.yaml");
    let good = config("good");
    let agent = running(&host, &path, &good);

    fs::write(&path, "").unwrap();

    agent.logs("config poll failed: the source answered with an empty body");
    agent.applied_still(&good);
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn a_file_is_not_read_before_its_writer_has_closed_it() {
    let (host, path) = host("config.yaml");
    let agent = running(&host, &path, &config("first"));
    let second = config("second");
    let (half, rest) = second.split_at(second.len() / 2);

    let mut file = fs::File::create(host.path("slow.yaml")).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    fs::rename(host.path("slow.yaml"), host.path("other.yaml")).unwrap();
    let mut file = fs::File::options().write(true).truncate(true).open(&path).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);

    let status = agent.applied(&second);
    assert!(status.config.refused.is_empty(), "half of it was never looked at: {:?}", status.config.refused);
    assert_eq!(status.config.remote_hash, Some(hash(&second)));
}
