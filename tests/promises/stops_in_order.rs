//! The first SIGTERM or SIGINT lets the collector drain, the second ends everything at once; no process is left behind.

use super::host::{Host, Signal, alive, config, gone, scripted, signal, state, wait_until};
use super::server::Answer;

#[test]
fn sigterm_and_sigint_let_the_collector_drain_before_the_agent_ends() {
    for number in [Signal::TERM, Signal::INT] {
        let host = Host::new();
        let mut agent = host.agent_running(&scripted("drains", &["drain 300ms"]));
        let pid = host.runs("drains");

        agent.signal(number);

        assert_eq!(agent.ended(), 0);
        let (asked, ended) = (host.journaled(pid, "sigterm"), host.journaled(pid, "exit"));
        assert_eq!(ended.detail, "0");
        assert!((ended.at - asked.at).as_millis() >= 290, "it was given its time");
        assert!(host.processes().is_empty());
        agent.logs("otelet stopped");
    }
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let host = Host::new();
    let mut agent = host.agent_running(&scripted("drains", &["drain 60s", "fork"]));
    let pid = host.runs("drains");
    agent.signal(Signal::TERM);
    host.journaled(pid, "sigterm");
    assert!(alive(pid));

    // Two signals within 50 ms count as one: a service manager may signal the process and then its group.
    wait_until("the second signal to be heard", || {
        agent.signal(Signal::TERM);
        agent.logged("asked to stop again; killing the collector") > 0
    });

    assert_eq!(agent.ended(), 0);
    assert!(host.processes().is_empty(), "its grandchild included");
}

#[test]
fn a_collector_that_ignores_sigterm_is_killed_after_the_stop_timeout() {
    let host = Host::new();
    host.set("collector.stop_timeout", "300ms");
    let mut agent = host.agent_running(&scripted("deaf", &["ignore-sigterm"]));

    assert_eq!(agent.stop(), 0);

    agent.logs("did not end within collector.stop_timeout 300ms; killing it");
    assert!(host.processes().is_empty());
}

#[test]
fn children_of_the_collector_end_with_it() {
    let host = Host::new();
    let mut agent = host.agent_running(&scripted("forks", &["fork"]));
    let forked: u32 = host.journaled(host.runs("forks"), "forked").detail.parse().unwrap();

    assert_eq!(agent.stop(), 0);

    gone(forked);
}

#[test]
fn a_collector_stopped_by_a_signal_is_continued_so_that_it_can_end() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    let pid = host.runs("good");
    signal(pid, Signal::STOP);
    wait_until("a stopped collector", || state(pid) == Some('T'));

    assert_eq!(agent.stop(), 0);

    assert_eq!(host.journaled(pid, "exit").detail, "0");
}

#[test]
fn it_stops_at_once_while_a_validation_runs() {
    let host = Host::new();
    let body = scripted("slow", &["validate-hang", "ignore-sigterm"]);
    host.server.offer(&*body);
    let mut agent = host.agent().start();
    host.wait("the validation", || (host.validations(&body) == 1).then_some(()));

    assert_eq!(agent.stop(), 0);

    wait_until("no process left", || host.processes().is_empty());
}

#[test]
fn it_stops_at_once_while_an_exchange_hangs() {
    let host = Host::new();
    host.set("config.timeout", "600s");
    host.server.answer(Answer::Stall);
    let mut agent = host.agent().start();
    host.server.wait_for_requests(1);

    assert_eq!(agent.stop(), 0);
}

#[test]
fn it_stops_while_it_waits_to_start_a_collector_again() {
    let host = Host::new();
    host.server.offer(scripted("crashes", &["exit 1 after 0ms"]));
    let mut agent = host.agent().start();
    host.started(4);

    assert_eq!(agent.stop(), 0);

    let starts = host.starts().len();
    assert!(host.processes().is_empty());
    assert_eq!(host.starts().len(), starts);
}
