//! Without network the last good config runs at once; nothing waits for the source.

use otelet_wire::status::CollectorState;

use super::host::{Host, config, scripted};
use super::server::Answer;

#[test]
fn the_collector_is_up_while_the_first_exchange_hangs() {
    let host = Host::new();
    let good = config("good");
    let mut agent = host.agent_running(&good);
    agent.stop();
    host.server.answer(Answer::Stall);

    let agent = host.agent().start();

    assert_eq!(host.started(2).label(), "good");
    let status = agent.applied(&good);
    assert_eq!(status.exchanges.offered + status.exchanges.unchanged + status.exchanges.failed, 0, "it still hangs");
}

#[test]
fn it_starts_without_any_server() {
    let host = Host::new();
    let good = config("good");
    let mut agent = host.agent_running(&good);
    agent.stop();
    // A port that was free a moment ago, and on which no program listens.
    let gone = Host::new().server.url();
    host.set("config.url", &gone);

    let agent = host.agent().start();

    assert_eq!(host.started(2).label(), "good");
    agent.wait_status("a failed poll and a healthy collector", |status| {
        status.exchanges.failed > 0 && status.collector.healthy
    });
    assert!(agent.logs("config poll failed").contains("still on "), "the log says what runs meanwhile");
}

#[test]
fn it_starts_without_a_source_in_its_settings() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    agent.stop();
    host.unset("config.url");

    let agent = host.agent().start();

    assert_eq!(host.started(2).label(), "good");
    assert_eq!(agent.wait_status("health", |status| status.collector.healthy).config.source, None);
}

#[test]
fn with_nothing_on_disk_it_waits_for_the_first_config() {
    let host = Host::new();
    let first = config("first");
    host.server.answer(Answer::status(404));
    let agent = host.agent().start();
    let status = agent.wait_status("a failed poll", |status| status.exchanges.failed > 0);
    assert_eq!(status.collector.state, CollectorState::Idle);

    host.server.offer(&*first);
    agent.signal(super::host::Signal::HUP);

    agent.applied(&first);
}

#[test]
fn a_new_config_is_applied_when_the_source_is_back() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("old"));
    agent.stop();
    host.server.answer(Answer::status(503));
    let agent = host.agent().start();
    host.runs("old");
    agent.logs("config poll failed");

    let new = scripted("new", &[]);
    host.server.offer(&*new);
    agent.signal(super::host::Signal::HUP);

    agent.applied(&new);
    host.runs("new");
}
