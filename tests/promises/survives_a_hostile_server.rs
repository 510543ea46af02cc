//! A hostile server neither delays the restart of a dying collector nor makes the agent's memory grow without bound.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use super::host::{Agent, Host, PATIENCE, Signal, config, signal, wall};
use super::server::Answer;
use super::system::peak_memory;

/// A restart may take this much longer than with a server that behaves.
const MOST: Duration = Duration::from_millis(200);

/// The most that a hostile server may add to the agent's memory, beyond the largest body that is allowed, in KiB.
const MEMORY: u64 = 16 * 1024;

/// Kills the collector, and returns the time until the next one has started.
fn restart(host: &Host) -> Duration {
    let count = host.starts().len();
    let killed = wall();
    signal(host.collector(), Signal::KILL);
    host.started(count + 1).at.saturating_sub(killed)
}

/// A host on which a config is good as soon as the collector is healthy, and whose agent polls on SIGHUP.
fn host() -> Host {
    let host = Host::new();
    host.set("config.poll_every", "24h");
    host.set("collector.probation", "0s");
    host.set("config.max_size", "1MiB");
    host
}

/// Offers another config, so that the next crash counts as the first one; then starts an exchange with this answer.
fn be_hostile(host: &Host, agent: &Agent, second: &str, answer: Answer) {
    host.server.offer(second);
    agent.signal(Signal::HUP);
    agent.applied(second);
    let before = host.server.requests().len();
    host.server.answer(answer);
    agent.signal(Signal::HUP);
    host.server.wait_for_requests(before + 1);
}

fn restarts_as_quickly_with(answer: Answer) {
    restarts_as_quickly_on(&config("first"), &config("second"), answer);
}

fn restarts_as_quickly_on(first: &str, second: &str, answer: Answer) {
    let host = host();
    host.set("config.timeout", "600s");
    let agent = host.agent_running(first);
    let (before, baseline) = (peak_memory(agent.pid()), restart(&host));

    be_hostile(&host, &agent, second, answer);
    let gap = restart(&host);

    assert!(gap <= baseline + MOST, "{gap:?}, and {baseline:?} with a server that behaves");
    assert_eq!(host.runs("second"), host.collector());
    agent.wait_status("a healthy collector", |status| status.collector.healthy && status.collector.restarts == 2);
    let after = peak_memory(agent.pid());
    // The kernel counts pages in batches, so a peak may even be told a little lower than before.
    assert!(after.saturating_sub(before) <= 1024 + MEMORY, "memory rose from {before} to {after} KiB");
}

#[test]
fn one_that_accepts_and_stalls() {
    restarts_as_quickly_with(Answer::Stall);
}

#[test]
fn one_that_sends_a_byte_a_second() {
    restarts_as_quickly_with(Answer::Trickle(Duration::from_secs(1)));
}

#[test]
fn one_whose_body_never_ends() {
    restarts_as_quickly_with(Answer::NeverEnding);
}

#[test]
fn one_whose_head_never_ends() {
    let start = b"HTTP/1.1 200 OK\r\n".to_vec();
    restarts_as_quickly_with(Answer::Endless(start, b"X-More: and more of the same\r\n".to_vec()));
}

#[test]
fn one_that_promises_ten_gigabytes() {
    restarts_as_quickly_with(Answer::HugeContentLength);
}

#[test]
fn one_that_resets_in_the_middle() {
    restarts_as_quickly_with(Answer::ResetMidBody);
}

#[test]
fn one_that_answers_garbage() {
    restarts_as_quickly_with(Answer::Garbage);
}

#[test]
fn one_that_redirects_in_circles() {
    restarts_as_quickly_with(Answer::RedirectLoop);
}

#[test]
fn one_that_sends_the_largest_body_again_and_again() {
    let large = |label: &str| {
        let body = config(label);
        let more = (1 << 20) - body.len();
        body + &"# and so on\n".repeat(more / 12)
    };
    let second = large("second");
    let again_and_again = Answer::Status(200, Vec::new(), second.clone().into());
    restarts_as_quickly_on(&large("first"), &second, again_and_again);
}

#[test]
fn there_is_never_a_second_exchange_while_one_is_under_way() {
    let host = host();
    host.set("config.timeout", "1s");
    let agent = host.agent_running(&config("first"));
    host.server.answer(Answer::Stall);
    agent.signal(Signal::HUP);
    host.server.wait_for_requests(2);

    // Each of these polls at once, or right after the exchange under way.
    for number in 2..=6 {
        agent.signal(Signal::HUP);
        agent.logs_times("settings read again", number);
    }

    let asked = host.server.wait_for_requests(3);
    let gap = asked[2].at - asked[1].at;
    assert!(gap >= Duration::from_millis(900), "asked again after {gap:?}, but each takes its timeout of 1 s");
}

#[test]
#[ignore = "needs root: cargo xtask check --real"]
fn one_whose_name_is_never_resolved() {
    if !super::system::is_root() {
        println!("skipped: only root can give the agent a resolver of its own");
        return;
    }
    // A name server that never answers, named by the resolver's file of a mount namespace of its own.
    let silent = UdpSocket::bind("127.0.0.153:53").expect("port 53 of this address is free");
    let host = host();
    host.set("config.url", "http://config.example/config.yaml");
    host.set("config.timeout", "600s");
    fs::write(host.path("resolv.conf"), "nameserver 127.0.0.153\noptions timeout:30\n").unwrap();
    fs::write(host.path("start"), "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"\n").unwrap();
    host.set("config.http_proxy", &host.server.at(""));
    let mut agent = host.agent_running(&config("first"));
    let baseline = restart(&host);
    agent.stop();

    host.unset("config.http_proxy");
    let agent = host.agent().under(&["unshare", "-m", "sh", "start"]).start();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.recv(&mut [0; 512]).expect("the agent asks for the name");
    host.started(3);
    agent.wait_status("a healthy collector", |status| status.collector.healthy);
    let gap = restart(&host);

    assert!(gap <= baseline + MOST, "{gap:?}, and {baseline:?} with a server that behaves");
    assert_eq!(agent.status(&host).exchanges.failed, 0, "the exchange is still out");
}
