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
