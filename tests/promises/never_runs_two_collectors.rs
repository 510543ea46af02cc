//! Two collectors never run at the same time: not after the agent was killed, and not if a second agent is started.

use std::fs;

use super::host::{Host, alive, config, gone, scripted};

#[test]
fn a_collector_does_not_outlive_an_agent_that_was_killed() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    let orphan = host.runs("good");

    agent.kill();

    gone(orphan);
    host.journaled(orphan, "sigterm");
    assert_eq!(host.journaled(orphan, "exit").detail, "0", "it could drain what it held");
}

#[test]
fn the_next_agent_waits_for_a_collector_that_ends_slowly() {
    let host = Host::new();
    let mut agent = host.agent_running(&scripted("slow", &["drain 600ms"]));
    let orphan = host.runs("slow");
    agent.kill();
    assert!(alive(orphan));

    let agent = host.agent().start();

    let second = host.started(2);
    assert!(!alive(orphan), "the second started while the first was alive");
    assert!(host.journaled(orphan, "exit").at <= second.at);
    agent.logs(&format!("found collector {orphan} of an earlier agent"));
}

#[test]
fn a_collector_that_does_not_end_is_killed_before_the_next_starts() {
    let host = Host::new();
    host.set("collector.stop_timeout", "300ms");
    let mut agent = host.agent_running(&scripted("deaf", &["ignore-sigterm", "fork"]));
    let orphan = host.runs("deaf");
    let forked = host.journaled(orphan, "forked").detail.parse().unwrap();
    agent.kill();

    let agent = host.agent().start();

    host.started(2);
    assert!(!alive(orphan), "the second started while the first was alive");
    agent.logs(&format!("collector {orphan} did not end within collector.stop_timeout"));
    gone(forked);
    assert_eq!(agent.wait_status("health", |status| status.collector.healthy).collector.pid, Some(host.collector()));
}

#[test]
fn a_collector_of_another_agent_on_the_same_host_is_left_alone() {
    let (host, other) = (Host::new(), Host::new());
    let _neighbour = other.agent_running(&config("neighbour"));
    let mut agent = host.agent_running(&config("good"));
    agent.kill();

    let agent = host.agent().start();

    agent.applied(&config("good"));
    assert!(alive(other.runs("neighbour")));
    assert_eq!(other.starts().len(), 1);
}

#[test]
fn a_second_agent_on_the_same_state_directory_ends_and_says_why() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);

    let mut second = host.agent().arg(format!("--runtime-dir={}", host.path("run2").display())).start();

    assert_eq!(second.ended(), 1);
    second.logs("another agent is running on this state directory; stop it, or give this one a state_dir of its own");
    host.more_polls(2);
    assert_eq!(host.starts().len(), 1);
    agent.applied_still(&good);
}

#[test]
fn a_lock_file_without_a_holder_stops_no_agent() {
    let host = Host::new();
    let good = config("good");
    let mut agent = host.agent_running(&good);
    agent.kill();
    assert!(fs::exists(host.state_dir().join("lock")).unwrap());

    let agent = host.agent().start();

    agent.applied(&good);
}
