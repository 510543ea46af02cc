//! Every container of a crowded host is measured in each round, although an engine takes a second or two for each. What is
//! left out is said.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::engine::{Engine, EngineAnswer, event, listed};
use super::exports_once::{exporting, metrics, text};
use super::host::{Host, config, stdout, wait_until};

/// The containers that are looked at.
const MOST: usize = 128;

/// One after the other, they would take more than the time of a round.
const DELAY: Duration = Duration::from_millis(200);

fn name(number: usize) -> String {
    format!("web{number:03}")
}

/// An engine with so many containers, each created a second after the one before. It lists the newest first, as Docker
/// does.
fn crowded(host: &Host, number: usize, delay: Duration) -> Engine {
    let engine = Engine::new(host);
    let entry = |number: usize| {
        listed(&name(number), "Up 5 minutes")
            .replace("\"Created\":1", &format!("\"Created\":{}", 1_795_000_000 + number))
    };
    let all: Vec<String> = (0..number).rev().map(entry).collect();
    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", all.join(","))));
    for id in (0..number).map(|number| name(number) + "0123456789abcdef") {
        let details = r#"{"State":{"Running":true,"StartedAt":"2026-11-25T15:58:18Z"}}"#;
        engine.answers(&format!("/containers/{id}/json"), EngineAnswer::Body(details.into()));
        let stats = r#"{"read":"2026-11-25T15:58:28.5Z","cpu_stats":{"cpu_usage":{"total_usage":1500000000}},
            "memory_stats":{"usage":1000,"limit":2000}}"#;
        engine.answers(&format!("/containers/{id}/stats"), EngineAnswer::Late(delay, stats.into()));
    }
    host.set("docker.socket", &Engine::path(host).display().to_string());
    engine
}

#[test]
fn each_of_128_containers_is_measured_in_one_round_and_of_200_the_others_are_named() {
    for number in [MOST, 200] {
        let (host, sink) = exporting();
        let _engine = crowded(&host, number, DELAY);
        let agent = host.agent_running(&config("good"));
        let measured = |asked: &[_]| {
            let metrics = metrics(asked);
            let points = metrics.get("container.memory.working_set").into_iter().flat_map(|metric| &metric.points);
            points.filter_map(|point| text(&point.attributes, "container.name")).map(str::to_owned).collect()
        };

        let asked = sink.wait_for("each container", |asked| {
            let found: BTreeSet<String> = measured(asked);
            found.len() >= MOST
        });

        // The ones that were created first, so that new ones do not end their series.
        let expected: BTreeSet<String> = (0..MOST).map(name).collect();
        assert_eq!(measured(&asked), expected);
        wait_until("the end of the round", || {
            agent.status(&host).docker.unwrap().containers_looked_at == Some(MOST as u64)
        });
        let docker = agent.status(&host).docker.unwrap();
        assert_eq!((docker.trouble, docker.containers_left_out), (None, (number - MOST) as u64));
        if number > MOST {
            agent.logs("containers: not looked at: 72 that were created last: web");
            assert_eq!(docker.left_out.len(), 16);
            assert!(docker.left_out.iter().all(|name| !expected.contains(name)), "{:?}", docker.left_out);
            let screen = stdout(&host.otelet(&["status"]));
            assert!(screen.contains("not looked at: 72 that were created last: web"), "{screen}");
        }
    }
}

#[test]
fn changes_are_listed_while_the_engine_takes_its_time_to_measure() {
    let host = Host::new();
    let delay = Duration::from_secs(15);
    let engine = crowded(&host, 1, delay);
    let agent = host.agent_running(&config("good"));
    engine.was_asked("/containers/web0000123456789abcdef/stats", 1);
    let asked = Instant::now();

    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", listed("fresh", "Up 1 second"))));
    engine.tell(&event("start", "fresh", 1, ""));

    let status = agent.wait_status("the new container", |status| {
        status.docker.as_ref().is_some_and(|docker| docker.containers.iter().any(|it| it.name == "fresh"))
    });
    assert!(asked.elapsed() < delay, "the list waited for the usage");
    assert_eq!(status.docker.unwrap().containers_looked_at, None, "the round is still out");
}
