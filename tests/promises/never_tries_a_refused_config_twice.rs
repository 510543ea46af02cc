//! The agent remembers a refused config, on disk too, and does not try it again until the source offers another one or
//! a person asks.

use super::host::{Host, config, scripted, stdout};
use super::server::Answer;

/// A server without 304: it sends the whole body each time.
fn always(body: &str) -> Answer {
    Answer::Status(200, Vec::new(), body.into())
}

#[test]
fn it_is_not_validated_again_however_often_it_is_offered() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let bad = scripted("bad", &["refuse no"]);
    host.server.answer(always(&bad));
    agent.failed(&bad);

    host.more_polls(5);

    assert_eq!(host.validations(&bad), 1);
    assert_eq!(agent.logged("refused: no"), 1, "said once");
}

#[test]
fn a_config_that_died_in_its_probation_is_not_started_again() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = scripted("bad", &["exit 1 after 100ms"]);
    host.server.answer(always(&bad));
    agent.failed(&bad);
    host.runs("good");

    host.more_polls(5);

    assert_eq!(host.starts_on(&bad), 1);
    assert_eq!(host.starts().len(), 3);
}

#[test]
fn a_rolled_back_config_is_applied_once_though_it_is_offered_a_thousand_times() {
    let host = Host::new();
    host.set("config.poll_every", "10ms");
    let agent = host.agent_running(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = scripted("bad", &["exit 1 after 100ms"]);
    host.server.answer(always(&bad));
    agent.failed(&bad);
    let good = host.runs("good");
    let (offered, starts) = (agent.status(&host).exchanges.offered, host.starts().len());

    for _ in 0..10 {
        host.more_polls(100);
    }

    let status = host.wait("a thousand offers", || {
        let status = agent.status(&host);
        (status.exchanges.offered >= offered + 999).then_some(status)
    });
    assert_eq!((host.validations(&bad), host.starts_on(&bad)), (1, 1));
    assert_eq!((host.starts().len(), status.collector.pid), (starts, Some(good)), "the good one was left alone");
    assert_eq!(status.config.refused[0].times, 1);
}

#[test]
fn it_is_remembered_by_the_next_agent() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = scripted("bad", &["exit 1 after 100ms"]);
    host.server.answer(always(&bad));
    agent.failed(&bad);
    host.runs("good");
    agent.wait_status("a good end of it", |status| status.collector.healthy);
    assert_eq!(agent.stop(), 0);

    let agent = host.agent().start();

    agent.failed(&bad);
    host.more_polls(3);
    assert_eq!(host.starts_on(&bad), 1);
    host.runs("good");
}

#[test]
fn another_offer_in_between_allows_it_again() {
    let host = Host::new();
    let (good, bad) = (config("good"), scripted("bad", &["refuse no"]));
    let agent = host.agent_running(&good);
    host.server.offer(&*bad);
    agent.failed(&bad);

    host.server.offer(&*good);
    agent.applied(&good);
    host.server.offer(&*bad);
    agent.failed(&bad);

    assert_eq!(host.validations(&bad), 2);
    assert_eq!(agent.written_status().unwrap().config.refused[0].times, 2);
}

#[test]
fn two_servers_that_disagree_do_not_make_it_change_back_and_forth_for_ever() {
    let host = Host::new();
    let (good, bad) = (config("good"), scripted("bad", &["refuse no"]));
    let agent = host.agent_running(&good);

    for _ in 0..5 {
        host.server.offer(&*bad);
        agent.failed(&bad);
        host.server.offer(&*good);
        agent.applied(&good);
    }

    assert_eq!(host.validations(&bad), 3, "after that only a person can ask for it");
}

#[test]
fn a_person_can_have_it_tried_again() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let bad = scripted("bad", &["refuse no"]);
    host.server.offer(&*bad);
    agent.failed(&bad);

    let cleared = host.otelet(&["rollback", "--clear"]);

    assert_eq!(cleared.status.code(), Some(0));
    assert_eq!(stdout(&cleared), "1 refused config may be tried again when it is offered\n");
    host.wait("another validation", || (host.validations(&bad) == 2).then_some(()));
    agent.failed(&bad);
}
