//! Of a collector with neither `health_check` nor `sd_notify`, the agent watches the process alone: whether it is alive
//! and not stopped by a signal.

use std::fs;

use super::host::{Host, Signal, config, scripted, signal};

#[test]
fn staying_alive_through_the_probation_is_enough() {
    let host = Host::new();
    let body = config("good");
    host.server.offer(&*body);

    let agent = host.agent().env("FAKE_EXTENSIONS", "").start();

    let status = agent.applied(&body);
    assert_eq!(status.collector.witness.as_deref(), Some("alive"));
    let overlay = fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap();
    assert!(!overlay.contains("extensions"), "{overlay}");
    agent.logs("watched by alive");
}

#[test]
fn a_collector_that_dies_in_its_probation_is_rolled_back() {
    let host = Host::new();
    host.server.offer(config("good"));
    let agent = host.agent().env("FAKE_EXTENSIONS", "").start();
    agent.applied(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = scripted("bad", &["exit 1 after 150ms"]);

    host.server.offer(&*bad);

    agent.failed(&bad);
    host.runs("good");
}

#[test]
fn a_collector_stopped_by_a_signal_is_restarted() {
    let host = Host::new();
    host.set("collector.probation", "1h");
    host.server.offer(config("good"));
    let agent = host.agent().env("FAKE_EXTENSIONS", "").start();
    let pid = host.runs("good");
    agent.wait_status("health", |status| status.collector.healthy);

    signal(pid, Signal::STOP);

    assert_eq!(host.started(2).label(), "good");
    agent.logs("its process is stopped; stopping it");
}
