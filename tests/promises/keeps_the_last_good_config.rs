//! The last good config comes back after any series of offers, crashes and restarts.

use super::host::{Host, Signal, config, hash, scripted, signal};
use super::server::Answer;

#[test]
fn no_series_of_bad_offers_replaces_it() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    host.change(&agent, "collector.probation", "1h");
    let bad = [
        scripted("refused", &["refuse no"]),
        scripted("dies", &["exit 3 after 100ms"]),
        "nonsense".to_owned(),
        scripted("dies too", &["error at once"]),
    ];

    for body in &bad {
        host.server.offer(&**body);
        agent.failed(body);
    }

    host.runs("good");
    let status = agent.applied_still(&good);
    assert_eq!(status.config.refused.len(), bad.len());
}

#[test]
fn a_crash_after_its_probation_does_not_replace_it() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);

    for start in 2..=4 {
        signal(host.collector(), Signal::KILL);
        assert_eq!(host.started(start).label(), "good");
    }

    let status =
        agent.wait_status("three restarts", |status| status.collector.restarts == 3 && status.collector.healthy);
    assert_eq!(status.config.last_good_hash, Some(hash(&good)));
    assert!(status.config.refused.is_empty());
}

#[test]
fn it_survives_a_stop_and_a_kill_of_the_agent() {
    let host = Host::new();
    let good = config("good");
    let mut agent = host.agent_running(&good);
    host.server.answer(Answer::status(500));

    assert_eq!(agent.stop(), 0);
    agent = host.agent().start();
    assert_eq!(host.started(2).label(), "good");
    agent.kill();
    agent = host.agent().start();

    assert_eq!(host.started(3).label(), "good");
    assert_eq!(host.validations(&good), 1, "it was found valid before");
    agent.applied(&good);
}

#[test]
fn a_source_that_goes_away_leaves_it_running() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);

    for answer in [Answer::status(404), Answer::status(500), Answer::Garbage, Answer::ResetMidBody] {
        let before = host.server.requests().len();
        host.server.answer(answer);
        agent.signal(Signal::HUP);
        host.server.wait_for_requests(before + 1);
    }

    agent.wait_status("a failed poll", |status| status.exchanges.last_error.is_some());
    agent.applied_still(&good);
    assert_eq!(host.starts().len(), 1);
    assert!(!host.journal().iter().any(|entry| entry.event == "sigterm"));
}
