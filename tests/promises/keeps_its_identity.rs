//! The instance uid is made once per host; a copied state directory gets a new one.

use std::fs;

use super::host::{Host, config, environment};

fn uid(text: &str) -> String {
    let identity: serde_json::Value = serde_json::from_str(text).unwrap();
    identity["instance_uid"].as_str().unwrap().to_owned()
}

#[test]
fn it_is_kept_across_restarts_and_configs() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("first"));
    let first = agent.applied(&config("first")).agent.instance_uid;
    assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 7);
    agent.stop();
    agent = host.agent_running(&config("second"));
    agent.kill();

    let agent = host.agent().start();

    let status = agent.applied(&config("second"));
    assert_eq!(status.agent.instance_uid, first);
    assert_eq!(uid(&fs::read_to_string(host.state_dir().join("instance_uid")).unwrap()), first);
    agent.logs(&format!("instance uid {first}"));
    assert!(environment(host.collector()).contains(&format!("OTELET_INSTANCE_UID={first}")));
}

#[cfg(unix)]
#[test]
fn two_hosts_called_localhost_are_two_and_a_machine_id_below_the_hosts_root_is_the_hosts() {
    let id = |machine_id: Option<&str>| {
        let host = Host::new();
        let root = host.path("hostfs");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/hostname"), "localhost\n").unwrap();
        if let Some(id) = machine_id {
            fs::write(root.join("etc/machine-id"), format!("{id}\n")).unwrap();
        }
        host.set("host.root", &root.display().to_string());
        let agent = host.agent_running(&config("good"));
        let status = agent.applied(&config("good"));
        let environment = environment(host.collector());
        assert!(environment.contains(&"OTELET_HOST_NAME=localhost".to_owned()), "{environment:?}");
        let id = environment.iter().find_map(|it| it.strip_prefix("OTELET_HOST_ID=")).unwrap().to_owned();
        assert_eq!(status.host.id, id, "the status and the Collector have the same");
        id
    };
    assert_eq!(id(Some("0123456789abcdef0123456789abcdef")), "0123456789abcdef0123456789abcdef");
    let (one, other) = (id(None), id(Some("uninitialized")));
    assert!(one != other && uuid::Uuid::parse_str(&one).is_ok(), "{one} and {other}");
}

#[test]
fn a_state_directory_copied_from_another_host_gets_a_new_one_and_its_configs_stay() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    let first = agent.applied(&config("good")).agent.instance_uid;
    agent.stop();
    let path = host.state_dir().join("instance_uid");
    let mut identity: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    if identity["host"] == "" {
        println!("skipped: this host has nothing that tells it from others, such as /etc/machine-id");
        return;
    }
    identity["host"] = "ab".repeat(32).into();
    fs::write(&path, identity.to_string()).unwrap();

    let mut agent = host.agent().start();

    agent.logs(&format!("instance uid {first} was made on another host; this one gets a new uid"));
    let second = agent.applied(&config("good")).agent.instance_uid;
    assert_ne!(first, second);
    assert_eq!(host.started(2).label(), "good");
    agent.stop();
    let agent = host.agent().start();
    assert_eq!(agent.applied(&config("good")).agent.instance_uid, second, "and keeps that");
}
