//! The agent's own metrics and events pass through the real Collector named by `OTELET_COLLECTOR` and arrive at a sink
//! as OTLP/JSON: with the right resource, names, units and flags, and late rather than never.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use otelet_wire::status::CollectorState;
use serde_json::Value;

use super::exports_once::status_when;
use super::host::{Host, Signal, signal, wait_until, wall};
use super::server::{Answer, Request, Server};

/// A host with the real collector, which sends everything it receives to the sink.
fn setup() -> (Host, Server, String) {
    let (host, sink) = (Host::new(), Server::new());
    let collector = std::env::var("OTELET_COLLECTOR").expect("cargo xtask check --real sets OTELET_COLLECTOR");
    // A copy of its own, so that the test can take it away.
    std::fs::copy(collector, program(&host)).unwrap();
    for (key, value) in [
        ("collector.path", program(&host).display().to_string()),
        ("collector.probation", "1s".into()),
        ("export.to", "collector".into()),
        ("export.every", "1s".into()),
        // A host with many drives and network interfaces, such as wine's, has more points than fit into the default
        // buffer in that time.
        ("export.buffer", "16MiB".into()),
        ("host.sample_every", "100ms".into()),
        ("attributes", "{site: north}".into()),
    ] {
        host.set(key, &value);
    }
    sink.answer(Answer::Status(200, vec![("Content-Type".into(), "application/json".into())], b"{}".to_vec()));
    let body = format!(
        "receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:0\"}}}}}}\n\
         exporters:\n  otlphttp:\n    endpoint: {}\n    encoding: json\n    compression: none\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
         metrics: {{receivers: [otlp], exporters: [otlphttp]}}\n    logs: {{receivers: [otlp], exporters: [otlphttp]}}\n",
        sink.at("").trim_end_matches('/')
    );
    (host, sink, body)
}

fn program(host: &Host) -> PathBuf {
    host.path(&format!("collector{}", std::env::consts::EXE_SUFFIX))
}

/// All things that arrived under a path: the elements of the innermost list, each with its resource's attributes.
fn arrived(asked: &[Request], path: &str, keys: [&str; 3]) -> Vec<(BTreeMap<String, String>, Value)> {
    let mut things = Vec::new();
    for asked in asked.iter().filter(|asked| asked.path == path) {
        let mut request: Value = serde_json::from_slice(&asked.body).unwrap();
        for resource in request[keys[0]].as_array_mut().into_iter().flatten() {
            let attributes = texts(&resource["resource"]["attributes"]);
            for scope in resource[keys[1]].as_array_mut().into_iter().flatten() {
                if scope["scope"]["name"] == "otelet" {
                    let found = scope[keys[2]].as_array().into_iter().flatten();
                    things.extend(found.map(|thing| (attributes.clone(), thing.clone())));
                }
            }
        }
    }
    things
}

fn metrics(asked: &[Request]) -> Vec<(BTreeMap<String, String>, Value)> {
    arrived(asked, "/v1/metrics", ["resourceMetrics", "scopeMetrics", "metrics"])
}

fn records(asked: &[Request]) -> Vec<(BTreeMap<String, String>, Value)> {
    arrived(asked, "/v1/logs", ["resourceLogs", "scopeLogs", "logRecords"])
}

fn texts(attributes: &Value) -> BTreeMap<String, String> {
    let pairs = attributes.as_array().into_iter().flatten();
    pairs
        .filter_map(|pair| Some((pair["key"].as_str()?.to_owned(), pair["value"]["stringValue"].as_str()?.to_owned())))
        .collect()
}

fn nanos(value: &Value) -> u64 {
    value.as_str().unwrap_or_default().parse().unwrap_or_else(|_| panic!("no time: {value}"))
}

/// The times of all snapshots, in order: each has the agent's uptime once.
fn snapshots(asked: &[Request]) -> Vec<u64> {
    let metrics = metrics(asked);
    let uptimes = metrics.iter().filter(|(_, metric)| metric["name"] == "otelet.uptime");
    let points = uptimes.flat_map(|(_, metric)| metric["gauge"]["dataPoints"].as_array().unwrap());
    let mut times: Vec<u64> = points.map(|point| nanos(&point["timeUnixNano"])).collect();
    // The Collector's exporter sends several requests at a time.
    times.sort_unstable();
    times
}

fn has_event(asked: &[Request], event: &str) -> bool {
    records(asked).iter().any(|(_, record)| record["eventName"] == event)
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn names_units_flags_and_the_resource_arrive_as_they_are() {
    let (host, sink, body) = setup();
    let agent = host.agent_running(&body);
    let asked = sink
        .wait_for("both signals", |asked| !snapshots(asked).is_empty() && has_event(asked, "otelet.config.applied"));

    let metrics = metrics(&asked);
    let metric = |name: &str| metrics.iter().rfind(|(_, metric)| metric["name"] == name).unwrap();
    let (resource, uptime) = metric("otelet.uptime");
    for (name, value) in [
        ("service.name", "otelet"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("site", "north"),
        ("os.type", std::env::consts::OS),
    ] {
        assert_eq!(resource.get(name).map(String::as_str), Some(value), "{resource:?}");
    }
    let uid = agent.written_status().unwrap().agent.instance_uid;
    assert_eq!(resource["service.instance.id"], uid);
    assert!(["host.name", "host.arch"].iter().all(|name| resource.contains_key(*name)), "{resource:?}");
    assert_eq!(uptime["unit"], "s");
    assert!(uptime["gauge"]["dataPoints"][0]["asDouble"].as_f64() > Some(0.0), "{uptime}");
    let (_, exchanges) = metric("otelet.exchanges");
    assert_eq!(exchanges["unit"], "{exchange}");
    assert_eq!(exchanges["sum"]["isMonotonic"], true);
    assert_eq!(exchanges["sum"]["aggregationTemporality"], 2);
    let point = &exchanges["sum"]["dataPoints"][0];
    assert!(texts(&point["attributes"]).contains_key("otelet.exchange.outcome"), "{point}");
    assert!(nanos(&point["startTimeUnixNano"]) < nanos(&point["timeUnixNano"]), "{point}");
    // Every metric that came is in the table, with its unit and its kind.
    for (_, metric) in &metrics {
        let row = otelet_core::telemetry::metrics().find(|row| metric["name"] == row.name).expect("one of the table");
        assert_eq!(metric["unit"], row.unit);
        assert_eq!(metric["sum"].is_object(), row.kind != otelet_core::telemetry::Kind::Gauge, "{metric}");
    }

    let records = records(&asked);
    let (resource, applied) =
        records.iter().find(|(_, record)| record["eventName"] == "otelet.config.applied").unwrap();
    assert_eq!(resource["service.instance.id"], uid);
    assert_eq!((&applied["severityNumber"], &applied["severityText"]), (&9.into(), &"INFO".into()));
    assert_eq!(texts(&applied["attributes"])["otelet.config.hash"], super::host::hash(&body));
    assert!(applied["body"]["stringValue"].as_str().unwrap().contains("survived its probation"), "{applied}");
    assert!(nanos(&applied["timeUnixNano"]) <= nanos(&applied["observedTimeUnixNano"]));
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn two_hundred_samples_without_a_collector_arrive_afterwards_each_once() {
    const SAMPLES: usize = 200;
    let (host, sink, body) = setup();
    let agent = host.agent_running(&body);
    sink.wait_for("a snapshot", |asked| !snapshots(asked).is_empty());
    let pid = agent.written_status().unwrap().collector.pid.unwrap();

    // On Windows a program that runs can be renamed, but not removed.
    std::fs::rename(program(&host), host.path("elsewhere")).unwrap();
    signal(pid, Signal::KILL);
    let held = status_when(&host, &agent, |status| status.collector.state == CollectorState::Held);
    let gone = wall();
    // The time itself has to pass here: two samples are at most a tenth of a second apart.
    let points = held.export.waiting_points;
    for part in 1..=4 {
        let until = gone + Duration::from_millis(100) * (SAMPLES * part / 4 + 10) as u32;
        wait_until("the time to pass", || wall() >= until);
    }
    let waiting = agent.status(&host);
    assert!(waiting.export.waiting_points >= points + SAMPLES as u64, "{:#?}", waiting.export);
    let back = wall();
    std::fs::rename(host.path("elsewhere"), program(&host)).unwrap();
    status_when(&host, &agent, |status| status.collector.healthy);

    let during = |times: &[u64]| {
        let (from, to) = (gone.as_nanos() as u64, back.as_nanos() as u64);
        times.iter().filter(|time| (from..to).contains(time)).count()
    };
    let asked = sink.wait_for("the samples of that time", |asked| {
        during(&snapshots(asked)) >= SAMPLES && has_event(asked, "otelet.collector.crashed")
    });

    let times = snapshots(&asked);
    println!(
        "{} samples of {:?} without a collector arrived; {} bytes kept {} points",
        during(&times),
        back - gone,
        waiting.export.buffer_bytes,
        waiting.export.waiting_points
    );
    assert!(times.is_sorted_by(|one, other| one < other), "each once");
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < 2_000_000_000, "none is missing: the longest gap is {longest} ns");
    let losses = agent.status(&host).losses.export;
    assert_eq!(losses, Default::default());
    let crashes = records(&asked).iter().filter(|(_, it)| it["eventName"] == "otelet.collector.crashed").count();
    assert_eq!(crashes, 1);
}
