//! A collector that runs but does not respond is restarted, or rolled back if its config is on trial.

use super::host::{Host, Signal, alive, config, scripted, signal};

#[test]
fn a_collector_stopped_by_a_signal_in_its_probation_is_rolled_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = scripted("stops", &["stop-self after 200ms"]);

    host.server.offer(&*bad);

    assert_eq!(agent.failed(&bad), "no sign of health 3 times in a row: its process is stopped");
    host.runs("good");
}

#[test]
fn a_collector_stopped_by_a_signal_is_restarted_and_a_silent_one_on_trial_is_rolled_back() {
    // Both at once, since the agent takes some seconds to be sure: it probes a collector that has been healthy every 8
    // seconds, and waits 2 seconds for an answer, three times.
    let (stopped, silent) = (Host::new(), Host::new());
    silent.set("collector.stop_timeout", "100ms");
    let good = config("good");
    let [agent, other] = [&stopped, &silent].map(|host| host.agent_running(&good));
    silent.change(&other, "collector.probation", "1h");
    let bad = scripted("hangs", &["hang after 200ms", "ignore-sigterm"]);

    let old = stopped.runs("good");
    signal(old, Signal::STOP);
    silent.server.offer(&*bad);

    let message = other.failed(&bad);
    assert!(message.starts_with("no sign of health 3 times in a row: health_check at 127.0.0.1:"), "{message}");
    assert!(message.ends_with("no answer within 2s"), "{message}");
    silent.runs("good");

    assert_eq!(stopped.started(2).label(), "good");
    assert!(!alive(old));
    agent.logs("collector hangs: no sign of health 3 times in a row: its process is stopped; stopping it");
    let status = agent.applied(&good);
    assert_eq!(status.collector.restarts, 1);
    assert!(status.config.refused.is_empty(), "a hung host is not the config's fault");
}
