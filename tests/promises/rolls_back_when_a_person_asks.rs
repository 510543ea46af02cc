//! `otelet rollback` goes back to the config before the last good one, whether an agent runs or not.

use super::host::{Host, config, hash, short, stderr, stdout};

#[test]
fn the_config_before_runs_again_although_the_source_still_offers_the_newer_one() {
    let host = Host::new();
    let (first, second) = (config("first"), config("second"));
    let agent = host.agent_running(&first);
    host.server.offer(&*second);
    agent.applied(&second);

    let output = host.otelet(&["rollback"]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(
        said.starts_with(&format!("config {} is refused from now on, config {} runs", short(&second), short(&first))),
        "{said}"
    );
    host.runs("first");
    host.more_polls(3);
    host.runs("first");
    assert_eq!(agent.failed(&second), "rolled back by a person");
}

#[test]
fn what_was_rolled_back_is_taken_again_when_a_person_lifts_it() {
    let host = Host::new();
    let (first, second) = (config("first"), config("second"));
    let agent = host.agent_running(&first);
    host.server.offer(&*second);
    agent.applied(&second);
    host.otelet(&["rollback"]);
    host.runs("first");

    host.otelet(&["rollback", "--clear"]);

    agent.applied(&second);
    host.runs("second");
}

#[test]
fn without_a_config_before_nothing_changes_and_it_says_so() {
    let host = Host::new();
    let agent = host.agent_running(&config("only"));

    let output = host.otelet(&["rollback"]);

    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "otelet: there is no config before this one; nothing was changed\n");
    host.more_polls(2);
    assert_eq!(host.starts().len(), 1);
    drop(agent);
}

#[test]
fn out_of_a_probation_it_goes_back_to_the_last_good_one() {
    let host = Host::new();
    let [first, second, third] = ["first", "second", "third"].map(config);
    let agent = host.agent_running(&first);
    host.server.offer(&*second);
    agent.applied(&second);
    host.change(&agent, "collector.probation", "1h");
    host.server.offer(&*third);
    host.runs("third");

    assert_eq!(host.otelet(&["rollback"]).status.code(), Some(0));

    host.runs("second");
    let status = agent.wait_status("the end of the trial", |status| {
        status.config.candidate_hash.is_none() && status.collector.healthy
    });
    assert_eq!(status.config.last_good_hash, Some(hash(&second)));
    assert_eq!(status.config.previous_hash, Some(hash(&first)), "the way further back stays open");
}

#[test]
fn it_works_while_no_agent_runs() {
    let host = Host::new();
    let (first, second) = (config("first"), config("second"));
    let mut agent = host.agent_running(&first);
    host.server.offer(&*second);
    agent.applied(&second);
    agent.stop();

    let output = host.otelet(&["rollback"]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let agent = host.agent().start();
    assert_eq!(host.started(3).label(), "first");
    agent.failed(&second);
    host.more_polls(2);
    host.runs("first");
}
