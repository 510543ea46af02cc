//! On SIGHUP the agent reads its settings again: changes take effect, and mistakes change nothing.

use std::fs;

use super::host::{Host, Signal, alive, command_line, config};
use super::server::Server;

#[test]
fn new_arguments_restart_the_collector_once() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    let old = host.runs("good");

    host.set("collector.args", "[--feature-gates=one]");
    agent.signal(Signal::HUP);

    let second = host.started(2);
    assert!(!alive(old));
    assert_eq!(command_line(second.pid).last().unwrap(), "--feature-gates=one");
    let status = agent.applied(&good);
    assert_eq!(status.collector.restarts, 0, "that was asked for");
    host.more_polls(3);
    assert_eq!(host.starts().len(), 2);
}

#[test]
fn settings_of_the_agent_alone_take_effect_without_a_restart() {
    let host = Host::new();
    host.set("config.poll_every", "24h");
    let agent = host.agent_running(&config("good"));
    let pid = host.runs("good");

    host.set("config.poll_every", "100ms");
    host.set("collector.stop_timeout", "1s");
    host.set("log_level", "debug");
    agent.signal(Signal::HUP);

    host.more_polls(5);
    assert!(alive(pid));
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn settings_that_did_not_change_change_nothing() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));

    for number in 1..=3 {
        agent.signal(Signal::HUP);
        agent.logs_times("settings read again; asking the config source", number);
    }

    host.more_polls(3);
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn bad_settings_are_named_and_the_old_ones_stay() {
    let host = Host::new();
    let good = config("good");
    let mut agent = host.agent_running(&good);
    let settings = fs::read_to_string(host.settings_file()).unwrap();

    fs::write(host.settings_file(), settings + "log_levl: debug\n").unwrap();
    agent.signal(Signal::HUP);

    let line = agent.logs("settings cannot be used: ");
    assert!(line.contains("otelet.yaml:") && line.contains("log_levl: unknown key; did you mean log_level?"), "{line}");
    assert!(line.ends_with("; going on with the old ones"), "{line}");
    host.more_polls(3);
    host.server.offer(config("second"));
    agent.applied(&config("second"));
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_settings_file_that_vanished_leaves_the_old_settings() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    fs::remove_file(host.settings_file()).unwrap();

    agent.signal(Signal::HUP);

    agent.logs("settings cannot be used: ");
    host.more_polls(3);
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn another_source_is_asked_from_then_on() {
    let host = Host::new();
    let other = Server::new();
    other.offer(config("other"));
    let agent = host.agent_running(&config("good"));

    host.set("config.url", &other.url());
    agent.signal(Signal::HUP);

    let status = agent.applied(&config("other"));
    assert_eq!(status.config.source, Some(other.url()));
    assert_eq!(
        other.requests()[0].header("if-none-match"),
        None,
        "what the old source said is not told to the new one"
    );
    let asked = host.server.requests().len();
    let count = other.requests().len();
    other.wait_for_requests(count + 5);
    assert_eq!(host.server.requests().len(), asked);
}

#[test]
fn from_a_server_to_a_file_and_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("first"));
    fs::write(host.path("config.yaml"), config("second")).unwrap();

    host.set("config.url", "config.yaml");
    agent.signal(Signal::HUP);
    agent.applied(&config("second"));
    fs::write(host.path("config.yaml"), config("third")).unwrap();
    agent.applied(&config("third"));
    host.set("config.url", &host.server.url());
    agent.signal(Signal::HUP);

    agent.applied(&config("first"));
}

#[test]
fn a_flag_still_overrides_the_file() {
    let host = Host::new();
    host.set("config.url", "http://127.0.0.1:1/nobody");
    host.server.offer(config("good"));
    let agent = host.agent().arg("--config-url").arg(host.server.url()).start();
    agent.applied(&config("good"));

    agent.signal(Signal::HUP);

    agent.logs("settings read again");
    host.more_polls(2);
    assert_eq!(agent.applied(&config("good")).config.source, Some(host.server.url()));
}
