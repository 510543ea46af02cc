//! `watches_docker` for Windows, where the engine is on a named pipe: the differences between the pipe and a socket.
//! The messages are the same, and promised there.

use super::engine::{Engine, EngineAnswer, event, listed, while_one_hangs};
use super::host::{Agent, Host, config, wait_until};

fn watching(host: &Host) -> Agent {
    host.set("docker.socket", &Engine::path(host).display().to_string());
    host.set("log_level", "debug");
    host.agent_running(&config("good"))
}

#[test]
fn container_events_are_logged_and_running_containers_are_listed() {
    let host = Host::new();
    let engine = Engine::new(&host);
    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", listed("web", "Up 5 minutes (healthy)"))));
    let details = r#"{"Id":"x","State":{"Status":"running","StartedAt":"2026-11-25T15:58:28.7Z"}}"#;
    engine.answers("/containers/web0123456789abcdef/json", EngineAnswer::Body(details.into()));
    let mut agent = watching(&host);

    agent.logs("Docker 20.10.24 (API 1.41) at");
    engine.was_asked("/events", 1);
    engine.tell(&event("die", "web", 1, r#","exitCode":"137""#));
    agent.logs("docker.container.die: container web of nginx:1 ended with code 137");
    // Longer than one read, and longer than the pipe's buffer.
    let long = format!(r#","label":"{}""#, "x".repeat(100_000));
    engine.tell(&event("create", "long", 2, &long));
    engine.tell(&event("oom", "web", 3, ""));
    agent.logs("docker.container.oom: container web of nginx:1 ran out of memory");

    let status = agent.wait_status("the container", |status| {
        status.docker.as_ref().is_some_and(|docker| !docker.containers.is_empty())
    });
    let docker = status.docker.unwrap();
    assert!(docker.connected && docker.trouble.is_none(), "{docker:?}");
    assert_eq!((docker.version.as_deref(), docker.api.as_deref()), (Some("20.10.24"), Some("1.41")));
    assert_eq!(docker.containers[0].health.as_deref(), Some("healthy"));
    assert_eq!(agent.stop(), 0);
    wait_until("the stream to be closed", || engine.open_streams() == 0);
}

#[test]
fn an_absent_engine_is_logged_once_and_found_when_it_comes_back() {
    let host = Host::new();
    let mut engine = Engine::new(&host);
    let agent = watching(&host);
    engine.was_asked("/events", 1);
    engine.tell(&event("start", "web", 5000, ""));
    agent.logs("docker.container.start");

    engine.stop();
    let why = "no such socket; is the engine installed and running";
    wait_until("two tries", || agent.logged(why) >= 2);
    engine.start();

    let path = engine.was_asked("/events", 2);
    assert!(path.contains("since=1795000004.000000000&"), "a second before the last one: {path}");
    agent.logs("is watched again");
    engine.tell(&event("oom", "web", 7000, ""));
    agent.logs("docker.container.oom");
    assert!(agent.logged_at("WARN", why) <= 1, "it is said once");
}

#[test]
fn an_engine_that_hangs_delays_nothing() {
    while_one_hangs(watching, |_| {});
}
