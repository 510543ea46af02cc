//! The agent runs the checks of its settings: a URL, a connection, a name, a program. A check that stalls delays
//! nothing else, leaves no process behind, and shows no secret.

use std::fs;
use std::net::TcpListener;

use super::engine::{Engine, EngineAnswer};
use super::exports_once::{exporting, number, records, text};
use super::host::{Agent, Host, alive, config, state, wait_for};
use super::server::{Answer, Server};

/// An agent with these checks, each written in YAML's flow style without the braces and done every second.
fn agent_with(host: &Host, checks: &[&str]) -> Agent {
    let line = |check: &&str| {
        let timeout = if check.contains("timeout:") { "" } else { ", timeout: 5s" };
        block(&format!("{check}, every: 1s{timeout}"))
    };
    host.set("checks", &format!("\n{}", checks.iter().map(line).collect::<String>()));
    host.agent_running(&config("good"))
}

/// Turns `name: a, tcp: b:1` into an item of a list of maps.
fn block(check: &str) -> String {
    check.split(", ").enumerate().map(|(n, pair)| format!("{} {pair}\n", if n == 0 { "  -" } else { "   " })).collect()
}

/// Waits for a good or a bad result of a check, and returns its message.
fn result(agent: &Agent, name: &str, ok: bool) -> String {
    let holds = |status: &otelet_wire::status::Status| {
        status.checks.iter().any(|check| check.name == name && check.ok == Some(ok))
    };
    let status = agent.wait_status(&format!("check {name}: {ok}"), holds);
    status.checks.into_iter().find(|check| check.name == name).unwrap().message
}

/// Waits until the check fails for this reason.
fn fails(agent: &Agent, name: &str, why: &str) {
    agent.logs(&format!("check {name} failed: {why}"));
    result(agent, name, false);
}

fn script(host: &Host, name: &str, text: &str) -> String {
    let path = host.path(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    super::system::set_mode(&path, 0o755);
    path.display().to_string()
}

#[test]
fn a_url_is_checked_by_status_and_body_and_each_change_is_logged_once() {
    let host = Host::new();
    let (web, page, away) = (Server::new(), Server::new(), Server::new());
    web.offer("all is well");
    page.offer(vec![b'x'; 1 << 20]);
    away.answer(Answer::RedirectTo("http://elsewhere.invalid/".into()));
    let agent = agent_with(
        &host,
        &[
            &format!("name: web, http: '{}', body: is well", web.at("/health?key=querysecret")),
            &format!("name: page, http: '{}'", page.url()),
            &format!("name: text, http: '{}', body: nowhere", page.url()),
            &format!("name: away, http: '{}'", away.url()),
        ],
    );

    result(&agent, "web", true);
    result(&agent, "page", true);
    fails(&agent, "text", "answered 200, and the text of checks[].body is not in the first 64KiB");
    result(&agent, "away", true);

    web.answer(Answer::status(503));
    fails(&agent, "web", "answered 503");
    web.offer("all is well");
    agent.logs("check web is good again");
    result(&agent, "web", true);
    assert_eq!(agent.logged("check web failed"), 1);
    assert!(!agent.log().contains("querysecret"));
}

#[test]
fn a_container_has_to_run_and_to_be_healthy() {
    let host = Host::new();
    let engine = Engine::new(&host);
    let is = |state: &str| {
        let body = format!(r#"{{"State":{{{state}}}}}"#);
        engine.answers("/containers/web/json", EngineAnswer::Body(body));
    };
    is(r#""Running":true,"Health":{"Status":"healthy"}"#);
    host.set("docker.socket", &Engine::path(&host).display().to_string());
    let agent = agent_with(&host, &["docker: web", "name: other, docker: /gone"]);

    assert_eq!(result(&agent, "web", true), "runs and is healthy");
    fails(&agent, "other", "there is no container gone");
    is(r#""Running":true,"Health":{"Status":"unhealthy"}"#);
    fails(&agent, "web", "runs and is unhealthy");
    is(r#""Running":true"#);
    agent.logs("check web is good again");
    assert_eq!(result(&agent, "web", true), "runs");
    is(r#""Running":false,"ExitCode":137,"FinishedAt":"2026-11-25T15:58:28.7Z""#);
    fails(&agent, "web", "ended with code 137 at 2026-11-25T15:58:28");
    let status = agent.status(&host);
    assert_eq!(status.checks.iter().find(|check| check.name == "web").unwrap().kind, "docker");
}

#[test]
fn a_failed_check_is_an_event_that_says_which_one_and_for_how_long() {
    let (host, sink) = exporting();
    let web = Server::new();
    web.answer(Answer::status(503));
    let _agent = agent_with(&host, &[&format!("name: web, http: '{}'", web.url())]);
    let event = |name: &str| {
        let asked = sink.wait_for(name, |asked| records(asked).iter().any(|record| record.event_name == name));
        records(&asked).into_iter().find(|record| record.event_name == name).unwrap()
    };
    let failed = event("otelet.check.failed");
    assert_eq!(text(&failed.attributes, "otelet.check.name"), Some("web"));
    assert_eq!(text(&failed.attributes, "otelet.check.kind"), Some("http"));
    assert!(text(&failed.attributes, "otelet.error.message").unwrap().contains("answered 503"), "{failed:?}");
    assert_eq!(number(&failed.attributes, "otelet.check.every"), Some(1.0));

    web.offer("all is well");
    let good = event("otelet.check.good");
    assert_eq!(text(&good.attributes, "otelet.check.name"), Some("web"));
    assert!(number(&good.attributes, "otelet.check.failed_for").unwrap() > 0.1, "{good:?}");
}

#[test]
fn connections_and_names_are_checked() {
    let host = Host::new();
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent = agent_with(
        &host,
        &[
            &format!("name: open, tcp: '{}'", open.local_addr().unwrap()),
            &format!("name: closed, tcp: '{closed}'"),
            "name: known, dns: localhost",
            "name: other, dns: localhost, address: 192.0.2.1",
        ],
    );

    result(&agent, "open", true);
    fails(&agent, "closed", &format!("{closed}: "));
    result(&agent, "known", true);
    fails(&agent, "other", "resolves to ");
    result(&agent, "otelet", true);
    result(&agent, "collector", true);
}

#[test]
fn a_stalled_check_is_ended_with_its_children_and_delays_nothing() {
    let host = Host::new();
    let silent = Server::new();
    silent.answer(Answer::NeverEnding);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let pids = host.path("pids");
    let sleeper = script(&host, "sleeper", &format!("echo $$ >>{0}\nsleep 1000 & echo $! >>{0}\nwait", pids.display()));
    let forker = script(&host, "forker", &format!("sleep 1000 & echo $! >>{}\necho fine", pids.display()));
    let good = script(&host, "good", "exit 0");
    let mut agent = agent_with(
        &host,
        &[
            &format!("name: mute, http: 'http://{}/', timeout: 500ms", mute.local_addr().unwrap()),
            &format!("name: sleeper, exec: ['{sleeper}'], timeout: 500ms"),
            &format!("name: forker, exec: ['{forker}'], timeout: 5s"),
            &format!("name: good, exec: ['{good}']"),
        ],
    );

    fails(&agent, "mute", &format!("http://{}/: did not answer within 500ms", mute.local_addr().unwrap()));
    fails(&agent, "sleeper", "took longer than its timeout of 500ms");
    assert_eq!(result(&agent, "forker", true), "fine");
    result(&agent, "good", true);
    host.server.offer(config("next"));
    agent.applied(&config("next"));

    agent.stop();
    let started: Vec<u32> = fs::read_to_string(&pids).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert!(started.len() >= 3, "{started:?}");
    let left = || started.iter().copied().filter(|pid| alive(*pid) && state(*pid) != Some('Z')).collect::<Vec<u32>>();
    wait_for("the end of all that was started", || left().is_empty().then_some(()), || format!("{:?}", left()));
}

#[test]
fn two_hundred_runs_leave_neither_a_process_nor_a_descriptor() {
    let host = Host::new();
    let runs = host.path("runs");
    let count = || fs::read_to_string(&runs).unwrap_or_default().lines().count();
    let script = script(&host, "count", &format!("sleep 1000 &\necho $$ $! >>{}\nexit 0", runs.display()));
    let checks: Vec<String> = (0..25).map(|number| format!("name: c{number}, exec: ['{script}']")).collect();
    let agent = agent_with(&host, &checks.iter().map(String::as_str).collect::<Vec<_>>());
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", agent.pid());
        fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
    };

    let context = || format!("{} runs", count());
    super::host::wait_for_longer(
        std::time::Duration::from_secs(60),
        "200 runs",
        || (count() >= 200).then_some(()),
        context,
    );
    host.change(&agent, "checks", "[]");

    // The collector is the only child. An idle agent promises ten descriptors; an exchange may be under way.
    let context = || format!("{} children, {} descriptors", children(), descriptors());
    wait_for("rest", || (children() == 1 && descriptors() <= 12).then_some(()), context);
    let started = fs::read_to_string(&runs).unwrap();
    let started = || started.split_whitespace().map(|pid| pid.parse::<u32>().unwrap());
    assert!(started().count() >= 400, "a script and its child each time");
    let left = || started().filter(|pid| alive(*pid) && state(*pid) != Some('Z')).collect::<Vec<u32>>();
    wait_for("the end of all that was started", || left().is_empty().then_some(()), || format!("{:?}", left()));
}

#[test]
fn secrets_in_headers_and_arguments_are_never_shown() {
    let host = Host::new();
    let web = Server::new();
    web.answer(Answer::status(401));
    let chatty = script(&host, "chatty", "echo \"cannot log in with $1 at $NOTIFY_SOCKET$OTELET_LOG_LEVEL\"\nexit 3");
    let agent = agent_with(
        &host,
        &[
            &format!("name: chatty, exec: ['{chatty}',argumentsecret]"),
            &format!("http: '{}', headers: {{authorization: headersecret}}", web.at("/x?token=querysecret")),
        ],
    );

    fails(&agent, "chatty", "ended with code 3: cannot log in with ");
    fails(&agent, &web.at("/x"), "answered 401");
    assert!(web.requests().iter().any(|asked| asked.header("authorization") == Some("headersecret")));
    let told = agent.log() + &fs::read_to_string(host.runtime_dir().join("status.json")).unwrap();
    for secret in ["argumentsecret", "headersecret", "querysecret"] {
        assert!(!told.contains(secret), "{secret} is in {told}");
    }
}

#[test]
fn the_agent_and_the_collector_are_checks_that_are_always_there() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    result(&agent, "otelet", true);
    result(&agent, "collector", true);

    host.set("checks", "[{tcp: nowhere}]");
    agent.signal(super::host::Signal::HUP);
    agent.logs("going on with the old ones");
    let why = result(&agent, "otelet", false);
    assert!(why.starts_with("settings cannot be used: ") && why.contains("write host:port"), "{why}");
    host.change(&agent, "checks", "[]");
    result(&agent, "otelet", true);

    host.server.answer(Answer::status(503));
    let why = result(&agent, "otelet", false);
    assert!(why.starts_with("config source does not answer: ") && why.contains("503"), "{why}");
}
