//! With `standby` set, an agent waits while another one uses its state directory, as a new pod does beside the old one,
//! and takes over when that one ends. There are never two collectors.

use std::fs;

use super::host::{Agent, Builder, Host, Signal, alive, config, stdout};

/// The new pod of a rolling update: the same state directory, and a runtime directory of its own.
fn beside(host: &Host) -> Agent {
    apart(host).arg("--standby=1h").start()
}

/// An agent with a runtime directory of its own.
fn apart(host: &Host) -> Builder<'_> {
    host.agent().arg(format!("--runtime-dir={}", host.path("beside").display()))
}

/// The answer of `otelet status` to a probe of the second agent.
fn probe(host: &Host, more: &[&str]) -> (Option<i32>, String) {
    let runtime_dir = format!("--runtime-dir={}", host.path("beside").display());
    let output = host.otelet(&[&["status", &runtime_dir], more].concat());
    (output.status.code(), stdout(&output))
}

#[test]
fn it_is_ready_and_starts_nothing_until_the_other_has_ended() {
    let host = Host::new();
    let mut old = host.agent_running(&config("good"));
    let collector = host.runs("good");

    let new = beside(&host);
    new.logs("another agent has this state directory; standing by for up to 1h");
    host.wait("the one that stands by", || (probe(&host, &["--healthy"]).0 == Some(0)).then_some(()));
    let (code, said) = probe(&host, &[]);
    assert_eq!(code, Some(0));
    assert!(said.contains("stands by"), "{said}");
    assert_eq!(host.starts().len(), 1, "one collector");
    assert!(host.validations(&config("good")) >= 2, "the new one has had it look at the config");
    let uid = old.applied(&config("good")).agent.instance_uid;
    old.stop();

    let second = host.started(2);
    assert!(!alive(collector), "the second started while the first was alive");
    assert_eq!(second.label(), "good");
    new.logs("collector healthy");
    host.wait("its own status", || {
        let (code, said) = probe(&host, &["--healthy"]);
        (code == Some(0) && !said.contains("stands by")).then_some(())
    });
    let (_, said) = probe(&host, &[]);
    assert!(said.contains(&uid), "the same uid: {said}");
}

#[test]
fn an_agent_whose_collector_cannot_run_the_config_leaves_the_other_alone() {
    let host = Host::new();
    let _old = host.agent_running(&config("good"));
    host.set("collector.path", "/no/such/collector");

    let mut new = beside(&host);

    assert_eq!(new.ended(), 1);
    new.logs("could not run the config; leaving the state directory to the other one");
    assert_eq!(probe(&host, &["--healthy"]).0, Some(1));
    assert!(alive(host.runs("good")));
}

#[test]
fn it_stops_on_request_while_it_stands_by() {
    let host = Host::new();
    let _old = host.agent_running(&config("good"));
    let mut new = beside(&host);
    host.wait("the one that stands by", || (probe(&host, &["--healthy"]).0 == Some(0)).then_some(()));

    new.signal(Signal::TERM);

    assert_eq!(new.ended(), 0);
    assert_ne!(probe(&host, &["--healthy"]).0, Some(0), "and stands by no more");
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn without_the_setting_it_ends_at_once() {
    let host = Host::new();
    let _old = host.agent_running(&config("good"));

    let mut new = apart(&host).start();

    assert_eq!(new.ended(), 1);
    new.logs("another agent is running on this state directory");
}

#[test]
fn a_derived_identity_is_the_same_on_an_empty_disk_and_differs_for_another_text() {
    let host = Host::new();
    host.set("identity", "the cluster of plant 7");
    let mut agent = host.agent_running(&config("good"));
    let first = agent.applied(&config("good")).agent.instance_uid;
    assert_eq!(uuid::Uuid::parse_str(&first).unwrap().get_version_num(), 8);
    agent.stop();
    fs::remove_dir_all(host.state_dir()).unwrap();

    let mut agent = host.agent_running(&config("good"));
    assert_eq!(agent.applied(&config("good")).agent.instance_uid, first);
    agent.stop();
    host.set("identity", "the cluster of plant 8");

    let agent = host.agent_running(&config("good"));
    assert_ne!(agent.applied(&config("good")).agent.instance_uid, first);
}
