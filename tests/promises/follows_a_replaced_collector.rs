//! A collector whose program is replaced: the new one is asked what it can and validates the config that runs, before it
//! is started. The version that is reported is that of the program that runs.

use std::fs;
use std::path::PathBuf;

use super::host::{Agent, COLLECTOR, Host, Signal, config, signal};
use super::system::set_mode;

/// Puts a program with this version into the place of the one that was there, as a package does, and returns its path.
fn install(host: &Host, version: &str, more: &str) -> PathBuf {
    put(host, "otelcol.sh", format!("#!/bin/sh\nexport FAKE_VERSION={version}\n{more}\nexec '{}' \"$@\"\n", *COLLECTOR))
}

fn put(host: &Host, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let (path, new) = (host.path(name), host.path("new"));
    fs::write(&new, content).unwrap();
    set_mode(&new, 0o755);
    fs::rename(new, &path).unwrap();
    path
}

const WITHOUT_HEALTH_CHECK: &str = "export FAKE_EXTENSIONS=file_storage";

/// A host with version 1, and its agent, which runs a config.
fn running() -> (Host, Agent) {
    let host = Host::new();
    host.set("collector.path", &install(&host, "1.0.0", "").display().to_string());
    let agent = host.agent_running(&config("good"));
    assert_eq!(agent.wait_status("a version", |status| status.collector.healthy).collector.version, "1.0.0");
    (host, agent)
}

#[test]
fn the_new_one_is_started_when_it_takes_the_config() {
    let (host, agent) = running();

    install(&host, "2.0.0", "");

    agent.logs("the collector's program was replaced; the new one, version 2.0.0, takes config");
    host.started(2);
    let status = agent.applied(&config("good"));
    assert_eq!(status.collector.version, "2.0.0");
    assert_eq!(status.collector.restarts, 0, "it has not crashed");
    assert_eq!(host.starts().len(), 2);
}

#[test]
fn it_waits_for_the_next_start_if_the_settings_say_so() {
    let (host, agent) = running();
    host.change(&agent, "collector.on_replaced", "wait");

    install(&host, "2.0.0", WITHOUT_HEALTH_CHECK);

    agent.logs("it runs from the next start on (collector.on_replaced: wait)");
    host.more_polls(2);
    assert_eq!(host.starts().len(), 1);
    assert_eq!(agent.status(&host).collector.version, "1.0.0", "that of the program that runs");

    signal(host.collector(), Signal::KILL);

    host.started(2);
    let status = agent.wait_status("the new version", |status| status.collector.version == "2.0.0");
    assert_eq!(status.collector.witness.as_deref(), Some("alive"), "it has no health_check");
}

#[test]
fn one_that_refuses_the_config_is_not_started() {
    let (host, agent) = running();

    install(&host, "2.0.0", "[ \"$1\" = validate ] && { echo \"Error: 'exporters' unknown type\" >&2; exit 1; }");

    agent.logs("and the new one refuses config");
    host.more_polls(3);
    assert_eq!(host.starts().len(), 1);
    assert_eq!(agent.logged("refuses config"), 1, "it is said once");
    assert_eq!(agent.status(&host).collector.version, "1.0.0");

    // The next one mends it.
    install(&host, "3.0.0", "");
    host.started(2);
    agent.wait_status("the new version", |status| status.collector.version == "3.0.0");
}

#[test]
fn it_is_asked_before_it_is_started_after_a_crash_and_after_a_restart_of_the_agent() {
    let (host, mut agent) = running();
    install(&host, "2.0.0", WITHOUT_HEALTH_CHECK);
    signal(host.collector(), Signal::KILL);

    host.started(2);
    let alive = |version: &'static str, agent: &Agent| {
        let status =
            agent.wait_status(version, |status| status.collector.version == version && status.collector.healthy);
        assert_eq!(status.collector.witness.as_deref(), Some("alive"), "it has no health_check");
    };
    alive("2.0.0", &agent);
    agent.stop();
    install(&host, "3.0.0", WITHOUT_HEALTH_CHECK);

    let agent = host.agent().start();

    alive("3.0.0", &agent);
    host.started(3);
    assert_eq!(host.starts().len(), 3, "none of them crashed");
}

#[test]
fn a_program_behind_a_script_is_followed_too() {
    for exec in ["exec ", ""] {
        let host = Host::new();
        let program = put(&host, "otelcol", fs::read(&*COLLECTOR).unwrap());
        let script = put(&host, "otelcol.sh", format!("#!/bin/sh\n{exec}'{}' \"$@\"\n", program.display()));
        host.set("collector.path", &script.display().to_string());
        let mut agent = host.agent_running(&config("good"));

        // The same program, and another file.
        put(&host, "otelcol", [&*fs::read(&*COLLECTOR).unwrap(), b"more"].concat());

        host.started(2);
        agent.logs("the collector's program was replaced");
        agent.applied(&config("good"));
        agent.stop();
        assert_eq!(host.starts().len(), 2, "{exec:?}");
    }
}
