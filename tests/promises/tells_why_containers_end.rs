//! The end of a container says whether the engine was asked for it, its next start says whether the engine did that by
//! itself, and an end that nobody could hear is told later.

use std::time::{SystemTime, UNIX_EPOCH};

use otelet_wire::otlp::LogRecord;

use super::engine::{Engine, EngineAnswer, event, listed};
use super::exports_once::{exporting, records, text};
use super::host::{Agent, Host, config, wait_until};
use super::server::Server;

const WEB: &str = "/containers/web0123456789abcdef/json";

fn watching(host: &Host) -> Agent {
    host.set("docker.socket", &Engine::path(host).display().to_string());
    host.set("log_level", "debug");
    host.agent_running(&config("good"))
}

/// Waits for so many records of this kind, and returns the last.
fn told(sink: &Server, name: &str, times: usize) -> LogRecord {
    let these = |asked: &[_]| records(asked).into_iter().filter(|it| it.event_name == name).collect::<Vec<_>>();
    let asked = sink.wait_for(&format!("{name} {times}"), |asked| these(asked).len() >= times);
    these(&asked).remove(times - 1)
}

fn body(record: &LogRecord) -> &str {
    record.body.as_ref().and_then(|body| body.string_value.as_deref()).unwrap()
}

fn number(record: &LogRecord, name: &str) -> Option<i64> {
    record.attributes.iter().find(|pair| pair.key == name)?.value.as_ref()?.int_value
}

/// The time of an event that happens now, in milliseconds after the time of the others.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    now.saturating_sub(1_795_000_000_000)
}

#[test]
fn an_end_that_the_engine_was_asked_for_is_no_warning() {
    let (host, sink) = exporting();
    let engine = Engine::new(&host);
    let _agent = watching(&host);
    engine.was_asked("/events", 1);

    // `docker stop` of a program that ignores SIGTERM.
    engine.tell(&event("kill", "web", 1, r#","signal":"15""#));
    engine.tell(&event("kill", "web", 10_001, r#","signal":"9""#));
    engine.tell(&event("die", "web", 10_002, r#","exitCode":"137""#));
    engine.tell(&event("stop", "web", 10_003, ""));
    let planned = told(&sink, "docker.container.die", 1);
    assert_eq!(planned.severity_text, "INFO");
    assert_eq!(body(&planned), "container web of nginx:1 ended with code 137 after the engine sent it signal 9");
    assert_eq!(number(&planned, "docker.container.signal"), Some(9));
    assert_eq!(number(&planned, "process.exit.code"), Some(137));

    // The same code without the engine, and another code after a signal.
    engine.tell(&event("die", "web", 20_000, r#","exitCode":"137""#));
    let killed = told(&sink, "docker.container.die", 2);
    assert_eq!(
        (killed.severity_text.as_str(), body(&killed)),
        ("WARN", "container web of nginx:1 ended with code 137")
    );
    engine.tell(&event("kill", "web", 30_000, r#","signal":"15""#));
    engine.tell(&event("die", "web", 30_001, r#","exitCode":"3""#));
    let failed = told(&sink, "docker.container.die", 3);
    assert_eq!(failed.severity_text, "WARN");
    assert_eq!(body(&failed), "container web of nginx:1 ended with code 3 after the engine sent it signal 15");
}

#[test]
fn a_start_by_the_restart_policy_says_so_and_counts() {
    let (host, sink) = exporting();
    let engine = Engine::new(&host);
    let _agent = watching(&host);
    engine.was_asked("/events", 1);
    engine.tell(&event("start", "web", now(), ""));
    let first = told(&sink, "docker.container.start", 1);
    assert_eq!((body(&first), number(&first, "docker.container.restarts")), ("container web of nginx:1 started", None));

    let state = r#"{"RestartCount":3,"State":{"Running":true,"StartedAt":"2026-11-25T15:58:28.7Z"}}"#;
    engine.answers(WEB, EngineAnswer::Body(state.into()));
    engine.tell(&event("die", "web", now(), r#","exitCode":"1""#));
    engine.tell(&event("start", "web", now(), ""));
    let again = told(&sink, "docker.container.start", 2);
    assert_eq!(body(&again), "container web of nginx:1 started: restart 3 by the engine, as its restart policy says");
    assert_eq!(number(&again, "docker.container.restarts"), Some(3));

    // A person has started it: the engine counts anew.
    engine.answers(WEB, EngineAnswer::Body(state.replace('3', "0")));
    engine.tell(&event("die", "web", now(), r#","exitCode":"1""#));
    engine.tell(&event("start", "web", now(), ""));
    let by_hand = told(&sink, "docker.container.start", 3);
    assert_eq!(body(&by_hand), "container web of nginx:1 started");
    assert_eq!(number(&by_hand, "docker.container.restarts"), Some(0));
}

#[test]
fn ends_that_nobody_could_hear_are_told_when_the_engine_is_back_and_once() {
    let (host, sink) = exporting();
    let mut engine = Engine::new(&host);
    let all = ["web", "db", "job", "calm"];
    let list: Vec<String> = all.iter().map(|name| listed(name, "Up 5 minutes")).collect();
    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", list.join(","))));
    let path = |name: &str| format!("/containers/{name}0123456789abcdef/json");
    let runs =
        r#"{"State":{"Running":true,"StartedAt":"2026-11-25T15:58:28.7Z"},"Config":{"Labels":{"tier":"front"}}}"#;
    for name in all {
        engine.answers(&path(name), EngineAnswer::Body(runs.into()));
    }
    let mut agent = watching(&host);
    agent.wait_status("the containers", |status| status.docker.as_ref().is_some_and(|it| it.containers.len() == 4));
    assert_eq!(agent.stop(), 0);

    // The engine ends with its containers, and forgets its events: one has failed, one runs again, one is gone.
    engine.stop();
    let ended = r#"{"State":{"Running":false,"ExitCode":3,"StartedAt":"2026-11-25T15:58:28.7Z",
        "FinishedAt":"2026-11-26T10:00:00.5Z"},"Config":{"Labels":{"tier":"front"}}}"#;
    engine.answers(&path("web"), EngineAnswer::Body(ended.into()));
    let again = r#"{"State":{"Running":true,"StartedAt":"2026-11-26T10:01:00Z","FinishedAt":"2026-11-26T10:00:01Z"}}"#;
    engine.answers(&path("db"), EngineAnswer::Body(again.into()));
    let gone = r#"{"message":"No such container: job"}"#;
    let gone = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{gone}", gone.len());
    engine.answers(&path("job"), EngineAnswer::Raw(gone.into_bytes()));
    let list = format!("[{},{}]", listed("db", "Up 1 second"), listed("calm", "Up 1 day"));
    engine.answers("/containers/json", EngineAnswer::Body(list));
    engine.start();
    let mut agent = host.agent().start();

    told(&sink, "docker.container.die", 3);
    let ends: Vec<LogRecord> =
        records(&sink.requests()).into_iter().filter(|it| it.event_name.ends_with("die")).collect();
    let of = |name: &str| ends.iter().find(|it| text(&it.attributes, "container.name") == Some(name)).unwrap();
    let web = of("web");
    assert_eq!(body(web), "container web of nginx:1 ended with code 3 while the engine could not be heard");
    assert_eq!((web.severity_text.as_str(), web.time_unix_nano), ("WARN", 1_795_687_200_500_000_000));
    assert_eq!(number(web, "process.exit.code"), Some(3));
    assert_eq!(text(&web.attributes, "container.label.tier"), Some("front"));
    let db = of("db");
    assert_eq!(body(db), "container db of nginx:1 ended while the engine could not be heard, and runs again");
    assert_eq!((db.severity_text.as_str(), db.time_unix_nano), ("INFO", 1_795_687_201_000_000_000));
    assert_eq!(body(of("job")), "container job of nginx:1 ended and was removed while the engine could not be heard");
    assert_eq!(ends.len(), 3, "calm has run all the time: {ends:#?}");

    // The engine's own event comes late.
    let late = event("die", "web", 0, r#","exitCode":"3""#).replace("1795000000000000000", "1795687200700000000");
    engine.tell(&late.replace("1795000000000000", "1795687200700000"));
    engine.tell(&event("pause", "calm", 1, ""));
    agent.logs("docker.container.pause");
    assert_eq!(agent.stop(), 0);
    let agent = host.agent().start();
    agent.logs("is watched");
    engine.was_asked("/containers/json", 3);
    wait_until("the list", || agent.status(&host).docker.is_some_and(|it| it.containers.len() == 2));
    let ends = records(&sink.requests()).into_iter().filter(|it| it.event_name.ends_with("die")).count();
    assert_eq!(ends, 3, "each once");
}
