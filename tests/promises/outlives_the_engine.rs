//! A Docker engine that is away costs the collector only the engine's own data: the agent leaves out `docker_stats`,
//! with which no collector would start, until the engine is back.

use super::engine::Engine;
use super::host::{Agent, Host, Signal, config, signal};

/// A config of a Docker host for the scripted collector.
fn docker_config(host: &Host) -> String {
    let socket = host.path("docker.sock");
    format!(
        "# host and containers\nreceivers: {{hostmetrics: {{}}, docker_stats: {{endpoint: 'unix://{}'}}}}\n\
         exporters: {{debug: {{}}}}\nservice:\n  pipelines:\n    \
         metrics: {{receivers: [hostmetrics, docker_stats], exporters: [debug]}}\n",
        socket.display()
    )
}

fn watching(host: &Host, body: &str) -> Agent {
    host.set("docker.socket", &host.path("docker.sock").display().to_string());
    host.agent_running(body)
}

fn overlay(host: &Host) -> String {
    std::fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap()
}

fn without_engine(agent: &Agent, wanted: bool) -> u32 {
    let status = agent.wait_status("the collector with what it can have", |status| {
        status.collector.healthy && status.collector.without_engine == wanted
    });
    status.collector.pid.unwrap()
}

#[test]
fn a_collector_starts_without_an_engine_that_is_away_and_with_it_when_it_is_back() {
    let host = Host::new();
    let body = docker_config(&host);
    let agent = watching(&host, &body);

    without_engine(&agent, true);
    agent.logs("the Docker engine is away: docker_stats is left out of config");
    assert!(overlay(&host).contains("\"metrics\": {receivers: [\"hostmetrics\"]}"), "{}", overlay(&host));
    agent.applied(&body);

    let mut engine = Engine::new(&host);
    agent.logs("the Docker engine is back: starting the collector anew");
    let whole = without_engine(&agent, false);
    assert!(!overlay(&host).contains("hostmetrics"), "{}", overlay(&host));

    // A collector that is up stays up: its other receivers must not stop.
    engine.stop();
    agent.logs("the engine ended its stream of events");
    assert_eq!(without_engine(&agent, false), whole);

    signal(whole, Signal::KILL);
    let bereft = without_engine(&agent, true);
    assert_ne!(bereft, whole);

    engine.start();
    without_engine(&agent, false);
    let status = agent.applied(&body);
    assert!(status.config.refused.is_empty(), "nothing of this is held against the config: {status:?}");
}

#[test]
fn a_config_that_comes_while_the_engine_is_away_is_taken_and_one_that_reads_none_runs_whole() {
    let host = Host::new();
    let agent = watching(&host, &config("plain"));
    agent.applied(&config("plain"));
    let body = docker_config(&host);

    host.server.offer(&*body);
    agent.applied(&body);
    without_engine(&agent, true);
    host.server.offer(config("other"));
    agent.applied(&config("other"));
    let pid = without_engine(&agent, false);

    let engine = Engine::new(&host);
    agent.logs("is watched again");
    engine.was_asked("/containers/json", 1);
    assert_eq!(without_engine(&agent, false), pid);
    assert_eq!(host.starts().len(), 3);
}
