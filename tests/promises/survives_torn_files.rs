//! Whatever the state directory contains, the agent starts, says what is wrong, and runs the newest config that is
//! intact.

use std::fs;
use std::path::{Path, PathBuf};

use super::host::{Agent, COLLECTOR, Host, Signal, config, hash, scripted, signal, wait_until};
use super::server::Answer;

type Spoil = fn(&Path);

const SPOIL: [(&str, Spoil); 5] = [
    ("emptied", |path| fs::write(path, "").unwrap()),
    ("cut in half", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("garbage", |path| fs::write(path, [0xff, 0, b'{', 0x80, b'\n'].repeat(50)).unwrap()),
    ("zeros", |path| fs::write(path, [0; 4096]).unwrap()),
    ("a directory", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
];

/// A host without an agent whose state holds two configs, the second of which is the last good one; its server is gone.
fn host() -> Host {
    let host = Host::new();
    let mut agent = host.agent_running(&config("first"));
    host.server.offer(config("second"));
    agent.applied(&config("second"));
    assert_eq!(agent.stop(), 0);
    host.server.answer(Answer::status(503));
    host
}

fn body(host: &Host, label: &str) -> PathBuf {
    host.state_dir().join("configs").join(format!("{}.yaml", hash(config(label))))
}

#[test]
fn a_config_that_was_torn_before_its_validation_is_fetched_again() {
    let host = Host::new();
    let program = host.path(&format!("otelcol{}", std::env::consts::EXE_SUFFIX));
    host.set("collector.path", &program.display().to_string());
    host.server.offer(config("first"));
    let agent = host.agent().start();
    agent.logs("cannot be validated");
    fs::write(body(&host, "first"), "receivers: {otl").unwrap();

    fs::copy(&*COLLECTOR, host.path("otelcol.new")).unwrap();
    fs::rename(host.path("otelcol.new"), &program).unwrap();

    agent.applied(&config("first"));
}

#[test]
fn a_config_whose_validation_was_cut_off_is_validated_by_the_next_agent() {
    let host = Host::new();
    let good = config("good");
    let mut agent = host.agent_running(&good);
    let slow = scripted("slow", &["validate-takes 1500ms"]);
    host.server.offer(&*slow);
    host.wait("the validation", || (host.validations(&slow) == 1).then_some(()));
    agent.kill();

    // The server's answer to the ETag of this config would be 304.
    let agent = host.agent().start();

    agent.applied(&slow);
}

/// Removes a directory in which an agent may be writing.
fn remove(directory: &Path) {
    wait_until("the end of a directory", || {
        let _ = fs::remove_dir_all(directory);
        !directory.exists()
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Spoils this file in each way and starts an agent on it each time.
fn each_way(file: impl Fn(&Host) -> PathBuf, mut survives: impl FnMut(&Host, &Agent)) {
    let host = host();
    copy(&host.state_dir(), &host.path("whole"));
    for (how, spoil) in SPOIL {
        fs::remove_dir_all(host.state_dir()).unwrap();
        copy(&host.path("whole"), &host.state_dir());
        spoil(&file(&host));
        println!("{} {how}", file(&host).display());

        let mut agent = host.agent().start();

        agent.logs("otelet 0.1.0 started");
        survives(&host, &agent);
        assert_eq!(agent.stop(), 0);
    }
}

#[test]
fn a_torn_state_file_is_replaced_by_the_one_before() {
    let mut starts = 2;
    each_way(
        |host| host.state_dir().join("state.json"),
        |host, agent| {
            starts += 1;
            // The older state file knows the second config as a candidate or as the last good one.
            assert_eq!(host.started(starts).label(), "second");
            agent.logs("WARN");
            agent.wait_status("health", |status| status.collector.healthy);
        },
    );
}

#[test]
fn a_torn_older_state_file_does_not_matter() {
    let mut starts = 2;
    each_way(
        |host| host.state_dir().join("state.json.old"),
        |host, agent| {
            starts += 1;
            assert_eq!(host.started(starts).label(), "second");
            agent.wait_status("health", |status| status.collector.healthy);
        },
    );
}

#[test]
fn a_torn_last_good_body_is_replaced_by_the_one_before() {
    let mut starts = 2;
    each_way(
        |host| body(host, "second"),
        |host, agent| {
            starts += 1;
            assert_eq!(host.started(starts).label(), "first");
            agent.logs("the last good config is gone; going back to the one before");
        },
    );
}

#[test]
fn a_torn_earlier_body_does_not_matter() {
    let mut starts = 2;
    each_way(
        |host| body(host, "first"),
        |host, agent| {
            starts += 1;
            assert_eq!(host.started(starts).label(), "second");
            agent.logs("previous config: ");
        },
    );
}

#[test]
fn a_torn_instance_uid_is_replaced_by_a_new_one() {
    let mut starts = 2;
    let mut known = Vec::new();
    each_way(
        |host| host.state_dir().join("instance_uid"),
        |host, agent| {
            starts += 1;
            assert_eq!(host.started(starts).label(), "second");
            let status = agent.wait_status("health", |status| status.collector.healthy);
            assert!(!known.contains(&status.agent.instance_uid));
            known.push(status.agent.instance_uid);
            agent.logs("instance_uid");
        },
    );
}

#[test]
fn with_everything_torn_it_starts_over_from_the_source() {
    let host = host();
    for name in ["state.json", "state.json.old", "instance_uid", "lock"] {
        fs::write(host.state_dir().join(name), "torn").unwrap();
    }
    for label in ["first", "second"] {
        fs::write(body(&host, label), "torn").unwrap();
    }
    let agent = host.agent().start();
    agent.logs("config poll failed");
    assert_eq!(host.starts().len(), 2);

    host.server.offer(config("second"));
    agent.signal(Signal::HUP);

    agent.applied(&config("second"));
}

#[test]
fn a_torn_body_is_fetched_again_although_the_source_has_nothing_new() {
    let host = host();
    host.server.offer(config("second"));
    fs::write(body(&host, "second"), "torn").unwrap();
    fs::write(body(&host, "first"), "torn").unwrap();

    let agent = host.agent().start();

    agent.applied(&config("second"));
}

#[test]
fn foreign_files_in_the_state_directory_are_left_alone() {
    let host = host();
    fs::write(host.state_dir().join("configs/README"), "mine").unwrap();
    fs::write(host.state_dir().join("state.json.new"), "half").unwrap();
    fs::create_dir(host.state_dir().join("state.json.broken-1")).unwrap();
    super::system::symlink("/nowhere", host.state_dir().join("configs/link.yaml")).unwrap();

    let agent = host.agent().start();

    assert_eq!(host.started(3).label(), "second");
    assert_eq!(fs::read_to_string(host.state_dir().join("configs/README")).unwrap(), "mine");
    drop(agent);
}

#[test]
fn a_state_directory_that_is_removed_under_the_agent_comes_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("first"));
    remove(&host.state_dir());

    host.server.offer(config("second"));

    agent.applied(&config("second"));
    wait_until("the state to be on disk", || host.state_dir().join("state.json").exists());
    assert!(body(&host, "second").exists());
}

#[test]
fn a_collector_that_dies_after_its_config_was_removed_is_started_on_it_again() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    remove(&host.state_dir());

    signal(host.collector(), Signal::KILL);

    // The source still has it, and the agent asks for it unconditionally.
    wait_until("the config to be on disk again", || body(&host, "good").exists());
    // Saves the wait until the agent tries again to start a collector.
    host.change(&agent, "collector.args", "[--feature-gates=none]");
    assert_eq!(host.started(2).label(), "good");
    agent.applied(&good);
}

#[test]
fn a_runtime_directory_that_is_removed_under_the_agent_comes_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("first"));
    remove(&host.runtime_dir());

    host.server.offer(config("second"));

    agent.applied(&config("second"));
}

/// The state directory is there, and no config can be kept in it: as if it were missing.
fn runs_from_the_runtime_directory(host: &Host, agent: &Agent) {
    agent.applied(&config("good"));
    let line = agent.logs("state is kept in ");
    assert!(line.contains(&host.runtime_dir().join("state").display().to_string()), "{line}");
    assert!(host.runtime_dir().join("state/configs").is_dir());
}

#[test]
fn a_state_directory_that_takes_no_config_is_replaced_by_another() {
    let host = Host::new();
    fs::create_dir(host.state_dir()).unwrap();
    fs::write(host.state_dir().join("configs"), "not a directory").unwrap();
    host.server.offer(config("good"));

    runs_from_the_runtime_directory(&host, &host.agent().start());
}

#[test]
fn a_first_config_for_which_there_is_no_room_runs_from_the_runtime_directory() {
    let host = Host::new();
    let (first, second) = (config("first"), config("second"));
    let home = |body: &str| host.state_dir().join(format!("configs/{}.yaml", hash(body)));
    let spare = host.runtime_dir().join("state").join("configs").join(format!("{}.yaml", hash(&first)));
    // A directory in the file's place makes the write fail, as a disk does that has room for a small file only.
    let obstacle = home(&first).with_extension("yaml.new");
    fs::create_dir_all(&obstacle).unwrap();
    host.server.offer(first.clone());
    let mut agent = host.agent().start();

    agent.applied(&first);

    let line = agent.logs("it is kept in ");
    assert!(line.contains(&spare.display().to_string()) && line.contains("lost at the next boot"), "{line}");
    agent.stop();
    let mut agent = host.agent().start();
    agent.applied(&first);
    assert!(!home(&first).exists());

    // Where there is room again, it goes to its place.
    remove(&obstacle);
    host.server.offer(second.clone());
    agent.applied(&second);
    host.wait("both in their places", || {
        (home(&first).is_file() && home(&second).is_file() && !spare.exists()).then_some(())
    });
    agent.stop();
}

#[cfg(unix)]
#[test]
#[ignore = "needs root for mounts of its own: cargo xtask check --real"]
fn a_read_only_or_full_state_directory_without_a_config_is_replaced_by_another() {
    // As a person made it; as an earlier agent left it, before it had a config; full.
    for (made, options) in [
        ("true", "ro"),
        ("mkdir STATE/configs && touch STATE/lock", "ro"),
        ("head -c 64k /dev/zero >STATE/full; true", "rw"),
        // Room for the directory and two small files.
        ("true", "nr_inodes=4"),
    ] {
        let host = Host::new();
        fs::create_dir(host.state_dir()).unwrap();
        host.server.offer(config("good"));
        let script = format!(
            "mount -t tmpfs -o size=64k,nr_inodes=8 otelet STATE && {{ {made}; }} && mount -o remount,{options} STATE && exec \"$@\""
        );
        let script = script.replace("STATE", &host.state_dir().display().to_string());

        let agent = host.agent().under(&["unshare", "--mount", "sh", "-c", &script, "sh"]).start();

        match options {
            "nr_inodes=4" => drop((agent.applied(&config("good")), agent.logs("it is kept in "))),
            _ => runs_from_the_runtime_directory(&host, &agent),
        }
    }
}
