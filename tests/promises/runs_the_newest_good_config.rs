//! A new config is validated, tried, and applied when it has survived its probation; the newest one wins.

use otelet_wire::status::{CollectorState, RemoteConfigStatus};

use super::host::{Host, alive, config, hash, scripted};

#[test]
fn an_offered_config_is_validated_run_and_applied() {
    let host = Host::new();
    let body = config("first");
    host.server.offer(&*body);

    let agent = host.agent().start();

    let status = agent.applied(&body);
    assert_eq!(host.validations(&body), 1);
    assert_eq!(host.starts().len(), 1);
    assert_eq!(status.collector.pid, Some(host.runs("first")));
    assert_eq!(status.collector.state, CollectorState::Up);
    assert_eq!(status.config.effective_hash, Some(hash(&body)));
    assert_eq!(status.config.candidate_hash, None);
    agent.logs("applied; it has survived its probation");
}

#[test]
fn a_newer_config_replaces_the_one_that_runs() {
    let host = Host::new();
    let (first, second) = (config("first"), config("second"));
    let agent = host.agent_running(&first);
    let old = host.runs("first");

    host.server.offer(&*second);

    let status = agent.applied(&second);
    assert_eq!(status.config.previous_hash, Some(hash(&first)));
    assert!(!alive(old));
    let journal = host.journal();
    let at = |pid, event: &str| journal.iter().position(|entry| entry.pid == pid && entry.event == event).unwrap();
    assert!(at(old, "exit") < at(host.runs("second"), "start"), "one ends before the other starts: {journal:#?}");
}

#[test]
fn a_config_is_not_last_good_before_its_probation_is_over() {
    let host = Host::new();
    let (good, new) = (config("good"), config("new"));
    let agent = host.agent_running(&good);
    host.change(&agent, "collector.probation", "1h");

    host.server.offer(&*new);

    host.runs("new");
    let status = agent.wait_status("a healthy candidate", |status| {
        status.collector.healthy && status.config.candidate_hash == Some(hash(&new))
    });
    host.more_polls(5);
    assert_eq!(status.config.last_good_hash, Some(hash(&good)));
    assert_eq!(status.config.remote_config_status, RemoteConfigStatus::Applying);
    assert_eq!(agent.written_status().unwrap().config.last_good_hash, Some(hash(&good)));
}

#[test]
fn the_newest_offer_wins_over_one_in_its_probation() {
    let host = Host::new();
    let [first, second, third] = ["first", "second", "third"].map(config);
    let agent = host.agent_running(&first);
    host.change(&agent, "collector.probation", "1h");
    host.server.offer(&*second);
    host.runs("second");

    host.server.offer(&*third);

    host.runs("third");
    host.change(&agent, "collector.probation", "100ms");
    let status = agent.applied(&third);
    assert_eq!(status.config.previous_hash, Some(hash(&first)), "the second one never was good");
}

#[test]
fn the_old_collector_runs_on_until_the_new_config_is_valid() {
    let host = Host::new();
    let (first, second) = (config("first"), scripted("second", &["validate-takes 400ms"]));
    let agent = host.agent_running(&first);
    let old = host.runs("first");

    host.server.offer(&*second);

    agent.applied(&second);
    let journal = host.journal();
    let validated = journal.iter().find(|entry| entry.event == "validate" && entry.detail.contains(&hash(&second)));
    let stopped = journal.iter().find(|entry| entry.pid == old && entry.event == "sigterm");
    let asked_for = stopped.unwrap().at.saturating_sub(validated.unwrap().at);
    assert!(asked_for.as_millis() >= 400, "stopped {asked_for:?} after validation began");
}
