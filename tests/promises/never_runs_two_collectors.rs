//! Two collectors never run at the same time: not after the agent was killed, and not if a second agent is started.

use std::fs;

use super::host::{Host, alive, config, gone, scripted, stderr};

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

/// The settings of a second agent on this host, with a state directory of its own.
fn second_settings(host: &Host) -> std::path::PathBuf {
    let text = fs::read_to_string(host.settings_file()).unwrap();
    let path = host.path("otelet-2.yaml");
    let own = text.replace(&host.state_dir().display().to_string(), &host.path("state-2").display().to_string());
    assert_ne!(own, text);
    fs::write(&path, own).unwrap();
    path
}

#[test]
fn a_second_agent_with_the_same_runtime_directory_ends_and_names_the_setting() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);

    let mut second = host.agent().arg(format!("--state-dir={}", host.path("state-2").display())).start();

    assert_eq!(second.ended(), 1);
    let said = second.logs("another agent has this runtime directory");
    let (runtime, state) = (host.runtime_dir(), host.state_dir());
    let owner = format!(
        "{}: another agent has this runtime directory, the one whose state_dir is {}",
        runtime.display(),
        state.display()
    );
    assert!(said.contains(&owner) && said.contains("; stop it, or give this one a runtime_dir of its own"), "{said}");
    assert_eq!(host.starts().len(), 1);
    agent.applied_still(&good);
}

#[test]
fn a_rollback_of_a_second_agent_does_not_reach_the_first() {
    let host = Host::new();
    let mut first = config("first");
    let agent = host.agent_running(&first);
    first = config("second");
    host.server.offer(first.clone());
    agent.applied(&first);
    let settings = format!("--settings={}", second_settings(&host).display());

    let rollback = host.command().args(["rollback", &settings]).output().unwrap();

    assert_eq!(rollback.status.code(), Some(1));
    let said = stderr(&rollback);
    assert!(said.contains("give each agent a runtime_dir of its own"), "{said}");
    agent.applied_still(&first);
    let probe = host.command().args(["status", "--healthy", &settings]).output().unwrap();
    assert_eq!(probe.status.code(), Some(1));
    let status = host.command().args(["status", &settings]).output().unwrap();
    assert!(stderr(&status).contains("has the status of the agent whose state_dir is "), "{}", stderr(&status));
}

#[test]
fn an_agent_takes_over_the_runtime_directory_of_one_that_was_killed() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    agent.kill();
    let settings = second_settings(&host);
    host.set("state_dir", &host.path("state-2").display().to_string());

    let agent = host.agent().start();

    agent.applied(&config("good"));
    let status = host.command().args(["status", &format!("--settings={}", settings.display())]).output().unwrap();
    assert_eq!(stderr(&status), "");
}
