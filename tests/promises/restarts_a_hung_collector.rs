//! A collector that is there but does nothing any more is started again, or rolled back if it is on trial.

use super::host::{Host, Signal, alive, config, scripted, signal};

#[test]
fn one_that_is_stopped_is_started_again() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    let old = host.runs("good");

    // Well for long enough that it is probed only every 8 seconds.
    signal(old, Signal::STOP);

    let second = host.started(2);
    assert_eq!(second.label(), "good");
    assert!(!alive(old));
    agent.logs("collector hangs: no sign of health 3 times in a row: its process is stopped; stopping it");
    let status = agent.applied(&good);
    assert_eq!(status.collector.restarts, 1);
    assert!(status.config.refused.is_empty(), "a hung host is not the config's fault");
}

#[test]
fn one_that_is_stopped_in_its_probation_is_rolled_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.set("collector.probation", "1h");
    agent.signal(Signal::HUP);
    let bad = scripted("stops", &["stop-self after 200ms"]);

    host.server.offer(&*bad);

    assert_eq!(agent.failed(&bad), "no sign of health 3 times in a row: its process is stopped");
    host.runs("good");
}

#[test]
fn one_that_accepts_probes_and_never_answers_is_rolled_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.set("collector.probation", "1h");
    agent.signal(Signal::HUP);
    let bad = scripted("hangs", &["hang after 200ms", "ignore-sigterm"]);
    host.set("collector.stop_timeout", "100ms");
    agent.signal(Signal::HUP);

    host.server.offer(&*bad);

    let message = agent.failed(&bad);
    assert!(message.starts_with("no sign of health 3 times in a row: health_check at 127.0.0.1:"), "{message}");
    assert!(message.ends_with("no answer within 2s"), "{message}");
    host.runs("good");
}
