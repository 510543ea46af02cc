//! A collector that ends by itself is restarted: at once the first time, then after longer and longer delays.

use std::time::Duration;

use super::host::{Host, Signal, config, gone, hash, scripted, signal};

#[test]
fn it_is_back_on_the_same_config_at_once() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    let old = host.runs("good");

    signal(old, Signal::KILL);

    assert_ne!(host.started(2).pid, old);
    let line = agent.logs("collector restart 1 in ");
    let delay = otelet_core::units::parse_time(line.rsplit_once(' ').unwrap().1).unwrap();
    assert!(delay < Duration::from_millis(100), "{line}");
    let status = agent.wait_status("one restart", |status| status.collector.restarts == 1 && status.collector.healthy);
    assert_eq!(status.config.effective_hash, Some(hash(&good)));
    assert_eq!(status.collector.last_exit.unwrap().how, super::system::KILLED);
}

#[test]
fn it_is_restarted_whatever_the_exit_code() {
    for code in [0, 1, 2, 127, 255] {
        let host = Host::new();
        host.server.offer(scripted("short-lived", &[&format!("exit {code} after 80ms")]));
        let agent = host.agent().start();

        host.started(2);
        agent.logs(&format!("collector exited: code {code} after "));
    }
}

#[test]
fn delays_between_repeated_crashes_grow() {
    let host = Host::new();
    host.server.offer(scripted("crashes", &["exit 1 after 0ms"]));
    let agent = host.agent().start();

    host.started(5);

    // Full jitter: each delay is between nothing and a ceiling that doubles, so the test can only rely on the count.
    agent.logs("collector restart 4 in ");
    let status = agent.wait_status("four restarts", |status| status.collector.restarts >= 4);
    assert_eq!(status.collector.last_exit.unwrap().how, "code 1");
}

#[test]
fn another_config_starts_without_the_backoff_of_the_one_before() {
    let host = Host::new();
    host.server.offer(scripted("crashes", &["exit 1 after 0ms"]));
    let agent = host.agent().start();
    host.started(5);
    let good = config("good");

    host.server.offer(&*good);

    agent.applied(&good);
    signal(host.collector(), Signal::KILL);
    agent.logs_times("collector restart 1 in ", 2);
}

#[test]
fn its_last_words_are_in_the_log_and_in_the_status() {
    let host = Host::new();
    host.server.offer(scripted("talks", &["exit 1 after 80ms", "error the disk is full"]));
    let agent = host.agent().start();

    agent.logs("; its last words: the disk is full");
    let status = agent.wait_status("an exit", |status| status.collector.last_exit.is_some());
    assert_eq!(status.collector.last_exit.unwrap().last_words, "the disk is full");
}

#[test]
fn one_that_was_killed_had_no_last_words() {
    let host = Host::new();
    let agent = host.agent_running(&config("calm"));

    signal(host.collector(), Signal::KILL);

    let status = agent.wait_status("an exit", |status| status.collector.last_exit.is_some());
    let exit = status.collector.last_exit.unwrap();
    assert_eq!(exit.last_words, "", "its log before is no reason: {}", exit.how);
    assert!(!agent.logs("collector exited: ").contains("last words"));
}

#[test]
fn leftover_processes_of_its_group_are_killed() {
    let host = Host::new();
    let body = scripted("forks", &["fork", "ignore-sigterm"]);
    host.server.offer(&*body);
    let agent = host.agent().start();
    let forked = host.journaled(host.started(1).pid, "forked").detail.parse().unwrap();

    signal(host.collector(), Signal::KILL);

    gone(forked);
    assert_eq!(host.started(2).label(), "forks");
    agent.wait_status("one restart", |status| status.collector.restarts == 1 && status.collector.healthy);
}
