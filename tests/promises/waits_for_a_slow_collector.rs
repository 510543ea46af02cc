//! A collector that is slow to start is given its time, and more of it each time, instead of being ended for ever; the
//! log says what the agent waits for. A slow `validate` has a limit of its own.

use super::host::{Host, config, scripted};

#[test]
fn a_config_that_needs_longer_than_start_timeout_is_given_more_until_it_runs() {
    let host = Host::new();
    host.set("collector.start_timeout", "1s");
    let slow = scripted("slow", &["ready after 3s"]);
    host.server.offer(&*slow);

    let mut agent = host.agent().start();

    let line = agent.logs("the next start is given 2s");
    assert!(line.contains("not healthy 1s after its start (collector.start_timeout): health_check at "), "{line}");
    agent.logs("the next start is given 4s");
    agent.applied(&slow);
    assert_eq!(host.starts().len(), 3);

    // As the last good one it is not given up either.
    agent.stop();
    let agent = host.agent().start();
    agent.logs("the next start is given 4s");
    let status = agent.applied(&slow);
    assert!(status.config.refused.is_empty());
}

#[test]
fn a_new_config_that_takes_too_long_is_rolled_back_and_the_setting_is_named() {
    let host = Host::new();
    host.set("collector.start_timeout", "1s");
    let agent = host.agent_running(&config("good"));
    let slow = scripted("slow", &["never-ready"]);

    host.server.offer(&*slow);

    let why = agent.failed(&slow);
    assert!(why.starts_with("not healthy 1s after its start (collector.start_timeout): health_check at "), "{why}");
    host.runs("good");
    assert_eq!(agent.logged("the next start is given"), 0, "it gets none");
    assert_eq!(host.starts_on(&slow), 1);
}

#[test]
fn a_longer_start_timeout_helps_the_start_under_way() {
    let host = Host::new();
    host.set("collector.start_timeout", "2s");
    let slow = scripted("slow", &["ready after 4s"]);
    host.server.offer(&*slow);
    let agent = host.agent().start();
    host.started(1);

    host.change(&agent, "collector.start_timeout", "1m");

    agent.applied(&slow);
    assert_eq!(host.starts().len(), 1, "new settings alone restart nothing");
}

#[test]
fn a_validation_that_takes_too_long_is_repeated_and_the_setting_is_named() {
    let host = Host::new();
    host.set("collector.validate_timeout", "1s");
    let agent = host.agent_running(&config("good"));
    let slow = scripted("slow", &["validate-hang"]);

    host.server.offer(&*slow);

    let line = agent.logs("cannot be validated: ");
    assert!(line.contains("did not answer within collector.validate_timeout 1s; next try in "), "{line}");
    host.wait("the second validation", || (host.validations(&slow) == 2).then_some(()));
    assert_eq!(agent.logged("cannot be validated: "), 1, "said once");
    host.runs("good");
}

#[test]
fn a_newer_config_does_not_wait_for_the_validation_of_an_older_one() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let (slow, newer) = (scripted("slow", &["validate-hang"]), config("newer"));
    host.server.offer(&*slow);
    host.wait("the validation", || (host.validations(&slow) == 1).then_some(()));

    host.server.offer(&*newer);

    agent.applied(&newer);
}
