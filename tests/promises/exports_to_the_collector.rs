//! With `export: {to: collector}` the agent's metrics and events go into the pipelines of its own collector: by a
//! receiver that the overlay adds, and late if the collector is down.

use std::fs;

use super::exports_once::{events, snapshots, status_when};
use super::host::{Host, Signal, config, signal, wait_for};
use super::server::Request;

/// A host whose agent exports to its collector.
fn exporting() -> Host {
    let host = Host::new();
    host.set("export.to", "collector");
    host.set("export.every", "100ms");
    host.set("host.sample_every", "100ms");
    host
}

/// A config with pipelines for metrics and logs.
fn piped(label: &str, script: &str) -> String {
    config(label).replacen("receivers:", &format!("{script}receivers:"), 1).replace(
        "    traces: {receivers: [otlp], exporters: [debug]}\n",
        "    metrics: {receivers: [otlp], exporters: [debug]}\n    logs: {receivers: [otlp], exporters: [debug]}\n",
    )
}

/// All requests that the receivers of this host's collectors took, oldest first.
fn received(host: &Host) -> Vec<Request> {
    let text = fs::read_to_string(host.path("journal.otlp")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(request).collect()
}

fn request(line: &str) -> Request {
    let words: Vec<&str> = line.split(' ').collect();
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    Request {
        method: "POST".into(),
        path: words[1].into(),
        headers: vec![("pid".into(), words[0].into())],
        body: words[2].as_bytes().chunks(2).map(digit).collect(),
        at: std::time::Instant::now(),
        answered: Some(200),
    }
}

fn when_received(host: &Host, what: &str, holds: impl Fn(&[Request]) -> bool) -> Vec<Request> {
    wait_for(what, || Some(received(host)).filter(|asked| holds(asked)), || format!("{:?}", events(&received(host))))
}

#[test]
fn metrics_and_events_reach_its_pipelines() {
    let host = exporting();
    let body = piped("good", "");
    let mut agent = host.agent_running(&body);

    let asked = when_received(&host, "ten snapshots", |asked| snapshots(asked).len() >= 10);

    assert!(events(&asked).iter().any(|event| event == "otelet.collector.started"), "{:?}", events(&asked));
    let overlay = fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap();
    assert!(overlay.contains("\"metrics\": {receivers: [\"otlp\", \"otlp/otelet\"]}"), "{overlay}");
    assert!(overlay.contains("\"logs\": {receivers: [\"otlp\", \"otlp/otelet\"]}"), "{overlay}");
    // Waits for the last event before the collector is stopped.
    assert_eq!(agent.stop(), 0);
    let times = snapshots(&received(&host));
    assert!(times.is_sorted_by(|one, other| one < other), "each once: {times:?}");
}

#[test]
fn data_kept_while_the_collector_was_down_arrives_once_afterwards() {
    let host = exporting();
    // The collector is healthy only a second after its start.
    let body = piped("good", "# fake: ready after 1s\n");
    let agent = host.agent_running(&body);
    let first = host.collector();
    when_received(&host, "a snapshot", |asked| !snapshots(asked).is_empty());

    signal(first, Signal::KILL);
    let down = status_when(&host, &agent, |status| {
        status.collector.pid != Some(first) && !status.collector.healthy && status.export.waiting_points > 50
    });
    assert_eq!(down.losses.export, Default::default());
    status_when(&host, &agent, |status| status.collector.healthy);

    let asked = when_received(&host, "the crash", |asked| events(asked).iter().any(|it| it.ends_with(".crashed")));
    let asked = when_received(&host, "snapshots of both", |now| snapshots(now).len() >= snapshots(&asked).len() + 5);
    let times = snapshots(&asked);
    assert!(times.is_sorted_by(|one, other| one < other), "each once, in order: {times:?}");
    // No sample is missing: they are a tenth of a second apart, and each may wait half of that to be sent with others.
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < 900_000_000, "a gap of {longest} ns: the time without a collector is in it");
    assert_eq!(agent.logged("export failed"), 0, "a collector that is down is no failure of an export");
    let crashes = events(&asked).iter().filter(|event| event.ends_with(".crashed")).count();
    assert_eq!(crashes, 1);
}

#[test]
fn a_config_without_such_pipelines_is_logged_once_and_left_as_it_is() {
    let host = exporting();
    let agent = host.agent_running(&config("traces only"));

    agent.logs("neither metrics nor events are exported: ");
    let status = status_when(&host, &agent, |status| status.collector.healthy);
    assert_eq!((status.export.to.as_deref(), status.export.metrics_to), (Some("collector"), None));
    assert_eq!(status.export.logs_to, None);
    let overlay = fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap();
    assert!(!overlay.contains("otlp/otelet"), "{overlay}");

    host.server.offer(piped("both", ""));
    agent.applied(&piped("both", ""));
    when_received(&host, "a snapshot", |asked| !snapshots(asked).is_empty());
    assert_eq!(agent.logged("exported: "), 1);
}
