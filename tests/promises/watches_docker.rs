//! The agent reports what happens to the containers of a Docker engine, each event once and none left out, whatever the
//! engine does. An engine that is away, hangs or sends nonsense costs the collector nothing.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use super::engine::{Engine, EngineAnswer, chunk, event, listed, while_one_hangs};
use super::exports_once::{exporting, metrics, number, records, text};
use super::host::{Agent, Host, config, wait_for, wait_until};
use super::stays_small::{anonymous_kib, count_wake_ups, descriptors, threads};

/// The stream costs one descriptor.
const DESCRIPTORS: usize = 11;

fn watching(host: &Host) -> Agent {
    host.set("docker.socket", &Engine::path(host).display().to_string());
    host.set("log_level", "debug");
    host.agent_running(&config("good"))
}

/// A proxy on TCP before the engine, which passes everything on.
fn proxy(host: &Host) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let path = Engine::path(host);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(engine) = UnixStream::connect(&path) else { continue };
            let (mut asks, mut to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut asks, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let (mut from, mut answers) = (engine, client);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut answers);
                let _ = answers.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn an_engine_behind_a_socket_proxy_is_watched_over_tcp() {
    let host = Host::new();
    let engine = Engine::new(&host);
    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", listed("web", "Up 5 minutes"))));
    let address = proxy(&host).replace("127.0.0.1", "localhost");
    host.set("docker.socket", &format!("tcp://{address}"));
    host.set("log_level", "debug");

    let agent = host.agent_running(&config("good"));

    agent.logs(&format!("Docker 20.10.24 (API 1.41) at tcp://{address}"));
    engine.was_asked("/events", 1);
    engine.tell(&event("die", "web", 1, r#","exitCode":"137""#));
    agent.logs("docker.container.die: container web of nginx:1 ended with code 137");
    agent.wait_status("the container", |status| {
        status.docker.as_ref().is_some_and(|docker| !docker.containers.is_empty())
    });
}

#[test]
fn an_engine_in_the_form_of_docker_host_is_watched() {
    let host = Host::new();
    let _engine = Engine::new(&host);
    host.set("docker.socket", "\"${env:DOCKER_HOST}\"");
    host.set("log_level", "debug");
    host.server.offer(config("good"));

    let at = format!("unix://{}", Engine::path(&host).display());
    let agent = host.agent().env("DOCKER_HOST", at).start();

    agent.logs(&format!("Docker 20.10.24 (API 1.41) at {}", Engine::path(&host).display()));
}

fn logged_events(agent: &Agent, event: &str) -> usize {
    agent.logged(&format!("docker.container.{event}: "))
}

#[test]
fn container_events_are_logged_and_running_containers_are_listed() {
    let host = Host::new();
    let engine = Engine::new(&host);
    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", listed("web", "Up 5 minutes (healthy)"))));
    let details = r#"{"Id":"x","State":{"Status":"running","StartedAt":"2026-11-25T15:58:28.7Z"}}"#;
    engine.answers("/containers/web0123456789abcdef/json", EngineAnswer::Body(details.into()));
    let agent = watching(&host);

    agent.logs("Docker 20.10.24 (API 1.41) at");
    engine.was_asked("/events", 1);
    engine.tell(&event("die", "web", 1, r#","exitCode":"137""#));
    agent.logs("docker.container.die: container web of nginx:1 ended with code 137");
    engine.tell(&event("oom", "web", 2, ""));
    agent.logs("docker.container.oom: container web of nginx:1 ran out of memory");

    let status = agent.wait_status("the container", |status| {
        status.docker.as_ref().is_some_and(|docker| !docker.containers.is_empty())
    });
    let docker = status.docker.unwrap();
    assert!(docker.connected && docker.trouble.is_none(), "{docker:?}");
    assert_eq!((docker.version.as_deref(), docker.api.as_deref()), (Some("20.10.24"), Some("1.41")));
    let container = &docker.containers[0];
    assert_eq!((container.id.as_str(), container.name.as_str()), ("web012345678", "web"));
    assert_eq!(container.health.as_deref(), Some("healthy"));
    assert_eq!((container.project.as_deref(), container.service.as_deref()), (Some("shop"), Some("front")));
    assert_eq!(container.since.as_deref(), Some("2026-11-25T15:58:28Z"));
    assert_eq!(agent.status(&host).docker.unwrap().events, 2);
}

#[test]
fn events_and_usage_are_exported_with_the_engines_times_and_the_containers_names() {
    let (host, sink) = exporting();
    let engine = Engine::new(&host);
    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", listed("web", "Up 5 minutes"))));
    let id = "web0123456789abcdef";
    let details = r#"{"State":{"StartedAt":"2026-11-25T15:58:18Z"}}"#;
    engine.answers(&format!("/containers/{id}/json"), EngineAnswer::Body(details.into()));
    let stats = r#"{"read":"2026-11-25T15:58:28.5Z","cpu_stats":{"cpu_usage":{"total_usage":1500000000}},
        "memory_stats":{"usage":1000,"limit":2000},"networks":{"eth0":{"rx_bytes":11,"tx_bytes":22}}}"#;
    engine.answers(&format!("/containers/{id}/stats"), EngineAnswer::Body(stats.into()));
    let _agent = watching(&host);
    engine.was_asked("/events", 1);

    engine.tell(&event("die", "web", 1234, r#","exitCode":"3","com.docker.compose.service":"front""#));

    let asked = sink.wait_for("the event and the usage", |asked| {
        let died = records(asked).iter().any(|record| record.event_name == "docker.container.die");
        died && metrics(asked).contains_key("container.network.io")
    });
    let records = records(&asked);
    let died = records.iter().find(|record| record.event_name == "docker.container.die").unwrap();
    assert_eq!(died.time_unix_nano, 1_795_000_001_234_000_000, "the engine's own time");
    assert_eq!(died.severity_text, "WARN");
    assert_eq!(text(&died.attributes, "container.name"), Some("web"));
    assert_eq!(text(&died.attributes, "container.label.com.docker.compose.service"), Some("front"));
    let metrics = metrics(&asked);
    let kinds = ["container.cpu.time", "container.memory.usage", "container.memory.utilization"]
        .map(|name| (metrics[name].unit.as_str(), metrics[name].monotonic));
    assert_eq!(kinds, [("s", Some(true)), ("By", Some(false)), ("1", None)]);
    let cpu = &metrics["container.cpu.time"].points[0];
    assert_eq!(cpu.start_time_unix_nano, 1_795_622_298_000_000_000, "since the container started");
    assert_eq!(text(&cpu.attributes, "container.id"), Some(id));
    assert_eq!(text(&cpu.attributes, "container.label.com.docker.compose.service"), Some("front"));
}

#[test]
fn a_broken_stream_goes_on_where_it_was_and_reports_nothing_twice() {
    let host = Host::new();
    let mut engine = Engine::new(&host);
    let agent = watching(&host);
    engine.was_asked("/events", 1);
    let (first, second) = (event("create", "web", 5000, ""), event("start", "web", 5000, ""));
    engine.tell(&first);
    agent.logs("docker.container.create");
    engine.tell(&second);
    agent.logs("docker.container.start");

    // Events of the same instant as the last one, and later ones.
    let missed = [event("pause", "web", 5000, ""), event("unpause", "web", 60_000, "")];
    engine.answers("/events", EngineAnswer::Stream(vec![first, second, missed[0].clone(), missed[1].clone()]));
    engine.stop();
    agent.logs("next try in");
    engine.start();

    let path = engine.was_asked("/events", 2);
    assert!(path.contains("since=1795000004.000000000&"), "a second before the last one: {path}");
    agent.logs("docker.container.unpause");
    let counts = ["create", "start", "pause", "unpause"].map(|kind| logged_events(&agent, kind));
    assert_eq!(counts, [1, 1, 1, 1]);
    agent.logs("is watched again");
}

#[test]
fn the_loss_of_an_engine_is_an_event_that_says_which_one_and_why() {
    let (host, sink) = exporting();
    let mut engine = Engine::new(&host);
    let agent = watching(&host);
    engine.was_asked("/events", 1);
    engine.stop();
    agent.logs("next try in");
    engine.start();
    agent.logs("is watched again");
    let names = ["otelet.docker.lost", "otelet.docker.watched"];
    let asked = sink.wait_for("both events", |asked| {
        names.iter().all(|name| records(asked).iter().any(|record| record.event_name == *name))
    });
    let records = records(&asked);
    let path = Engine::path(&host).display().to_string();
    for name in names {
        let record = records.iter().find(|record| record.event_name == name).unwrap();
        assert_eq!(text(&record.attributes, "otelet.docker.socket"), Some(&*path), "{name}");
    }
    let lost = &records.iter().find(|record| record.event_name == names[0]).unwrap().attributes;
    assert!(!text(lost, "otelet.error.message").unwrap().is_empty());
    assert!(number(lost, "otelet.retry.delay").unwrap() > 0.0);
    let watched = &records.iter().find(|record| record.event_name == names[1]).unwrap().attributes;
    assert_eq!(text(watched, "container.runtime.description"), Some("Docker 20.10.24 (API 1.41)"));
}

#[test]
fn events_that_one_agent_missed_are_reported_by_the_next() {
    let host = Host::new();
    let engine = Engine::new(&host);
    let mut agent = watching(&host);
    engine.was_asked("/events", 1);
    let first = event("start", "web", 5000, "");
    engine.tell(&first);
    agent.logs("docker.container.start");
    assert_eq!(agent.stop(), 0);
    wait_until("the stream to be closed", || engine.open_streams() == 0);

    engine.answers("/events", EngineAnswer::Stream(vec![first, event("oom", "web", 7000, "")]));
    let agent = host.agent().start();

    agent.logs("docker.container.oom");
    assert!(engine.was_asked("/events", 2).contains("since=1795000004.000000000&"));
    assert_eq!(logged_events(&agent, "start"), 0, "the agent before has logged it");
}

#[test]
fn torn_invalid_and_endless_lines_cost_no_other_line() {
    let host = Host::new();
    let engine = Engine::new(&host);
    let agent = watching(&host);
    engine.was_asked("/events", 1);

    for byte in chunk(&event("start", "torn", 1, "")) {
        engine.say(&[byte]);
    }
    agent.logs("container torn of nginx:1 started");
    engine.tell("{\"Type\":\"container\",");
    engine.tell("not JSON \u{0} at all");
    for _ in 0..64 {
        let piece = "x".repeat(64 * 1024);
        engine.say(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
    }
    engine.tell("the end of the long line");
    engine.tell(&event("start", "after", 2, ""));
    agent.logs("container after of nginx:1 started");

    assert_eq!(agent.status(&host).docker.unwrap().events_lost, 3);
    assert_eq!(engine.times_asked("/events"), 1, "it is still the same stream");

    // A chunk without a size breaks the stream, and the agent opens it again.
    engine.say(b"no chunk\r\n");
    agent.logs("the answer is broken between two chunks");
    engine.was_asked("/events", 2);
}

#[test]
fn an_error_of_the_engine_is_logged_once_and_shown() {
    let host = Host::new();
    let engine = Engine::new(&host);
    let body = r#"{"message":"client version 1.41 is too new. Maximum supported API version is 1.40"}"#;
    let refusal = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    engine.answers("/events", EngineAnswer::Raw(refusal.into_bytes()));
    let agent = watching(&host);

    let why = "/v1.41/events answered 400: client version 1.41 is too new. Maximum supported API version is 1.40";
    engine.was_asked("/events", 4);
    assert_eq!(agent.logged_at("WARN", why), 1, "once, however often it is tried");
    let docker = agent.status(&host).docker.unwrap();
    assert!(!docker.connected && docker.trouble.as_ref().is_some_and(|trouble| trouble.ends_with(why)), "{docker:?}");
}

#[test]
fn a_socket_that_is_no_engine_is_reported() {
    for (answer, why) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n"[..], "the program that listens there does not speak HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
            "the program that listens there does not speak the Docker API",
        ),
        (b"", "the connection ended before the answer"),
    ] {
        let host = Host::new();
        let engine = Engine::new(&host);
        engine.answers("/version", EngineAnswer::Raw(answer.to_vec()));
        let agent = watching(&host);
        agent.logs(why);
    }
}

#[test]
fn a_missing_socket_is_logged_once_and_found_when_it_comes() {
    let host = Host::new();
    let mut engine = Engine::new(&host);
    engine.stop();
    let agent = watching(&host);
    let why = "no such socket; is the engine installed and running";

    wait_until("three tries", || agent.logged(why) >= 3);
    assert_eq!(agent.logged_at("WARN", why), 1);
    engine.start();

    engine.was_asked("/events", 1);
    agent.logs("is watched again");
}

#[test]
fn a_denied_socket_is_logged_with_the_way_out() {
    let host = Host::new();
    let _engine = Engine::new(&host);
    let socket = host.path("docker.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
    host.set("docker.socket", &socket.display().to_string());
    host.server.offer(config("good"));
    // root may open any file, unless its capabilities are taken away.
    let agent = match rustix::process::getuid().is_root() {
        true => host.agent().under(&["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]).start(),
        false => host.agent().start(),
    };

    agent.logs("permission denied; add the agent's user to the socket's group, usually docker");
    agent.applied(&config("good"));
}

#[test]
fn podman_and_its_own_names_of_events_are_understood() {
    let host = Host::new();
    let engine = Engine::new(&host);
    engine.answers(
        "/version",
        EngineAnswer::Body(r#"{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"}]}"#.into()),
    );
    let agent = watching(&host);

    agent.logs("Podman 4.3.1 (API 1.41) at");
    assert!(!engine.was_asked("/events", 1).contains("oom"), "it answers names that it does not know with an error");
    engine.tell(&event("exec", "web", 1, ""));
    engine.tell(&event("died", "web", 2, r#","containerExitCode":"3""#));
    agent.logs("docker.container.die: container web of nginx:1 ended with code 3");
    assert_eq!(agent.status(&host).docker.unwrap().events, 1);
}

#[test]
fn an_engine_that_hangs_delays_nothing_and_holds_nothing() {
    // A look that hangs has a thread; for a moment a write of the state has one, too.
    while_one_hangs(watching, |agent| wait_until("no more threads than that", || threads(agent) <= 3));
}

#[test]
fn it_sleeps_while_no_container_does_anything() {
    let host = Host::new();
    host.set("config.poll_every", "1h");
    let engine = Engine::new(&host);
    let agent = watching(&host);
    engine.was_asked("/containers/json", 1);
    wait_until("two threads", || threads(&agent) <= 2);
    let open = wait_for(
        "few descriptors",
        || Some(descriptors(&agent)).filter(|open| open.len() <= DESCRIPTORS),
        || format!("{:#?}", descriptors(&agent)),
    );
    println!("{} descriptors", open.len());

    let (wake_ups, time) = count_wake_ups(&agent, Duration::from_secs(10));

    println!("{wake_ups} wake-ups in {time:?}");
    assert!(wake_ups <= 10, "{wake_ups} wake-ups in {time:?}");
}

#[test]
fn a_flood_of_events_and_many_broken_streams_leave_nothing_behind() {
    let host = Host::new();
    let engine = Engine::new(&host);
    let agent = watching(&host);
    // At debug level there would be too many lines.
    host.change(&agent, "log_level", "info");
    engine.was_asked("/events", 1);
    let mut time = 0;
    let mut flood = |count: usize| {
        let before = agent.status(&host).docker.unwrap().events;
        for _ in 0..count {
            time += 1;
            engine.tell(&event("start", "web", time, r#","label":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#));
        }
        let so_far = || agent.status(&host).docker.unwrap().events - before;
        wait_for("every event", || (so_far() == count as u64).then_some(()), || format!("{}", so_far()));
    };
    flood(1_000);
    wait_until("two threads", || threads(&agent) <= 2);
    let (memory, open) = (anonymous_kib(&agent), descriptors(&agent).len());

    flood(5_000);

    wait_until("two threads", || threads(&agent) <= 2);
    let now = anonymous_kib(&agent);
    println!("anonymous memory {memory} KiB, {now} KiB after 5,000 more events");
    assert!(now <= memory + 256, "{memory} KiB before, {now} KiB after");
    for times in 2..8 {
        engine.cut();
        engine.was_asked("/events", times);
    }
    let again = || (descriptors(&agent).len() <= open && threads(&agent) <= 2).then_some(());
    wait_for("as few descriptors as before", again, || format!("{:#?}", descriptors(&agent)));
}

#[test]
fn a_reload_turns_it_off_and_on() {
    let host = Host::new();
    let engine = Engine::new(&host);
    let agent = watching(&host);
    engine.was_asked("/events", 1);
    wait_until("one stream", || engine.open_streams() == 1);

    host.change(&agent, "docker.socket", "\"\"");
    wait_until("no stream", || engine.open_streams() == 0);
    assert_eq!(agent.status(&host).docker, None);

    host.change(&agent, "docker.socket", &host.path("docker.sock").display().to_string());
    engine.was_asked("/events", 2);
    engine.tell(&event("start", "web", 1, ""));
    agent.logs("docker.container.start");
}
