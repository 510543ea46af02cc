//! Without `config.url` a fresh install runs the built-in config, until the first real one comes.

use super::host::{Host, config, hash};

/// The built-in config for a host.
const BUILT_IN: &str = otelet::os::BUILT_IN;

fn fresh_host() -> Host {
    let host = Host::new();
    host.unset("config.url");
    host.set("environment", "host");
    host
}

#[test]
fn the_built_in_config_runs_at_once() {
    let host = fresh_host();
    let agent = host.agent().start();

    let status = agent.applied(BUILT_IN);

    assert_eq!(status.config.source.as_deref(), Some("built-in config for host"));
    let given = super::host::environment(host.collector());
    let variable =
        |name: &str| given.iter().find_map(|entry| entry.strip_prefix(&format!("{name}="))).map(str::to_owned);
    let directory = variable("OTELET_COLLECTOR_DIR").expect("a directory that outlives restarts");
    assert!(std::path::Path::new(&directory).is_dir(), "{directory}");
    assert!(directory.starts_with(host.state_dir().to_str().unwrap()));
    assert!(!variable("OTELET_HOST_NAME").expect("who the host is").is_empty());
    assert_eq!(variable("OTELET_EXPORTER").as_deref(), Some("debug"), "nobody has said where to");
}

#[test]
fn data_goes_where_an_endpoint_is_named() {
    let host = fresh_host();
    host.set("collector.env", "{OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1'}");
    let agent = host.agent().start();

    agent.applied(BUILT_IN);

    let given = super::host::environment(host.collector());
    assert!(given.contains(&"OTELET_EXPORTER=otlphttp".to_owned()), "{given:?}");
}

#[test]
fn a_real_config_replaces_it_and_stays_when_its_source_is_removed() {
    let host = fresh_host();
    let agent = host.agent().start();
    agent.applied(BUILT_IN);

    host.server.offer(config("good"));
    host.change(&agent, "config.url", &host.server.url());
    agent.applied(&config("good"));
    host.unset("config.url");
    let before = agent.logged("settings read again");
    agent.signal(super::host::Signal::HUP);
    agent.logs_times("settings read again", before + 1);

    let status = agent.status(&host);
    assert_eq!(status.config.effective_hash, Some(hash(config("good"))));
    drop(agent);
    let agent = host.agent().start();
    assert_eq!(agent.applied(&config("good")).config.last_good_hash, Some(hash(config("good"))));
}

#[cfg(windows)]
#[test]
fn the_event_log_and_performance_counters_are_added_to_it_where_the_collector_takes_them() {
    let host = fresh_host();
    let more = host.runtime_dir().join("more.yaml").display().to_string();
    let agent = host.agent().start();

    let status = agent.applied(BUILT_IN);
    let written = std::fs::read_to_string(&more).unwrap();

    assert_eq!(super::host::command_line(status.collector.pid.unwrap()).last(), Some(&more));
    assert_eq!(written, otelet::os::BUILT_IN_MORE);

    host.server.offer(config("good"));
    host.change(&agent, "config.url", &host.server.url());
    let status = agent.applied(&config("good"));
    let line = super::host::command_line(status.collector.pid.unwrap());
    assert!(!line.contains(&more), "it is for the built-in config only: {line:?}");
}

#[cfg(windows)]
#[test]
fn additions_that_end_the_collector_are_left_out() {
    let host = fresh_host();
    let more = host.runtime_dir().join("more.yaml").display().to_string();
    let agent = host.agent().env("FAKE_DIES_OF", "more.yaml").start();

    let status = agent.applied(BUILT_IN);

    let line = super::host::command_line(status.collector.pid.unwrap());
    assert!(!line.contains(&more), "{line:?}");
    agent.logs("the next one is started without more.yaml");
    assert_eq!(status.collector.restarts, 1, "once");
}
