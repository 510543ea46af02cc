//! The agent exports its metrics and events by OTLP/HTTP: each item once, late rather than never, and every loss is
//! counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use otelet_wire::otlp::{LogRecord, LogsRequest, MetricsRequest, NumberDataPoint, PartialSuccess, Response};
use otelet_wire::status::Status;
use otelet_wire::{AnyValue, KeyValue};
use prost::Message;

use super::host::{Agent, Host, PATIENCE, Signal, config, hash, scripted, signal, wait_for};
use super::server::{Answer, Request, Server};

/// A host whose agent exports ten times a second to a server of its own.
pub fn exporting() -> (Host, Server) {
    let (host, sink) = (Host::new(), Server::new());
    host.set("export.to", sink.at("").trim_end_matches('/'));
    host.set("export.every", "100ms");
    host.set("host.sample_every", "100ms");
    sink.answer(accepted());
    (host, sink)
}

/// The answer of a backend that has accepted everything.
fn accepted() -> Answer {
    Answer::Status(200, vec![("Content-Type".into(), "application/x-protobuf".into())], Vec::new())
}

#[derive(Debug, Clone, Default)]
pub struct Metric {
    pub unit: String,
    /// Whether a sum never falls; none for a gauge.
    pub monotonic: Option<bool>,
    pub points: Vec<NumberDataPoint>,
}

/// Every metric in the requests that were answered with 200, by name.
pub fn metrics(asked: &[Request]) -> BTreeMap<String, Metric> {
    metrics_with(asked, 200)
}

fn metrics_with(asked: &[Request], status: u16) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let asked = asked.iter().filter(|asked| asked.answered == Some(status));
    for request in asked.filter(|asked| asked.path == "/v1/metrics") {
        let request = MetricsRequest::decode(&*request.body).unwrap();
        for metric in request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics).flat_map(|it| it.metrics) {
            let known = metrics.entry(metric.name).or_default();
            known.unit = metric.unit;
            known.monotonic = metric.sum.as_ref().map(|sum| sum.is_monotonic);
            known.points.extend(metric.gauge.into_iter().flat_map(|gauge| gauge.data_points));
            known.points.extend(metric.sum.into_iter().flat_map(|sum| sum.data_points));
        }
    }
    metrics
}

/// Every record in the requests that were answered with 200.
pub fn records(asked: &[Request]) -> Vec<LogRecord> {
    let requests = asked.iter().filter(|asked| asked.answered == Some(200) && asked.path == "/v1/logs");
    let requests = requests.map(|asked| LogsRequest::decode(&*asked.body).unwrap());
    requests.flat_map(|it| it.resource_logs).flat_map(|it| it.scope_logs).flat_map(|it| it.log_records).collect()
}

/// The times of the snapshots in these requests: each snapshot has the agent's uptime once.
pub fn snapshots(asked: &[Request]) -> Vec<u64> {
    snapshots_with(asked, 200)
}

fn snapshots_with(asked: &[Request], status: u16) -> Vec<u64> {
    let metrics = metrics_with(asked, status);
    let uptime = metrics.get("otelet.uptime").into_iter().flat_map(|metric| &metric.points);
    uptime.map(|point| point.time_unix_nano).collect()
}

pub fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a str> {
    value(attributes, name)?.string_value.as_deref()
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a AnyValue> {
    attributes.iter().find(|pair| pair.key == name)?.value.as_ref()
}

pub fn int(attributes: &[KeyValue], name: &str) -> Option<i64> {
    value(attributes, name)?.int_value
}

pub fn number(attributes: &[KeyValue], name: &str) -> Option<f64> {
    value(attributes, name)?.double_value
}

pub fn events(asked: &[Request]) -> Vec<String> {
    records(asked).into_iter().map(|record| record.event_name).collect()
}

/// Waits until this many snapshots have come, and returns all requests.
fn wait_for_snapshots(sink: &Server, count: usize) -> Vec<Request> {
    sink.wait_for(&format!("{count} snapshots"), |asked| snapshots(asked).len() >= count)
}

fn status(host: &Host, agent: &Agent) -> Status {
    agent.status(host)
}

/// Reads fresh statuses until this holds of one.
pub fn status_when(host: &Host, agent: &Agent, holds: impl Fn(&Status) -> bool) -> Status {
    let look = || Some(status(host, agent)).filter(&holds);
    wait_for("the status to be so", look, || format!("{:#?}", status(host, agent).export))
}

#[test]
fn each_snapshot_goes_out_once_with_its_own_time_and_the_right_resource() {
    let (host, sink) = exporting();
    host.set("attributes", "{site: north}");
    host.set("export.headers", "{x-tenant: blue}");
    let _agent = host.agent_running(&config("good"));

    let asked = wait_for_snapshots(&sink, 20);

    let times = snapshots(&asked);
    assert!(times.is_sorted_by(|one, other| one < other), "each once, in order: {times:?}");
    let first = asked.iter().find(|asked| asked.path == "/v1/metrics").unwrap();
    assert_eq!(first.method, "POST");
    assert_eq!(first.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(first.header("x-tenant"), Some("blue"));
    let request = MetricsRequest::decode(&*first.body).unwrap();
    let resource = &request.resource_metrics[0].resource.as_ref().unwrap().attributes;
    assert_eq!(text(resource, "service.name"), Some("otelet"));
    assert_eq!(text(resource, "service.version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(text(resource, "site"), Some("north"));
    assert_eq!(text(resource, "os.type"), Some(std::env::consts::OS));
    assert!(text(resource, "service.instance.id").is_some_and(|uid| uid.len() == 36));
    let scope = request.resource_metrics[0].scope_metrics[0].scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("otelet", env!("CARGO_PKG_VERSION")));

    let metrics = metrics(&asked);
    let shape = |name: &str| (metrics[name].unit.clone(), metrics[name].monotonic);
    assert_eq!(shape("otelet.uptime"), ("s".into(), None));
    assert_eq!(shape("otelet.exchanges"), ("{exchange}".into(), Some(true)));
    assert_eq!(shape("otelet.losses"), ("{item}".into(), Some(true)));
    let offered = metrics["otelet.exchanges"]
        .points
        .iter()
        .rfind(|point| text(&point.attributes, "otelet.exchange.outcome") == Some("offered"));
    let offered = offered.unwrap();
    assert!(offered.as_int >= Some(1) && offered.start_time_unix_nano > 0, "{offered:?}");
    assert!(offered.start_time_unix_nano < offered.time_unix_nano);
}

#[test]
fn events_are_exported_soon_with_their_severity_and_config() {
    let (host, sink) = exporting();
    host.set("export.every", "1h");
    let good = config("good");
    let agent = host.agent_running(&good);
    sink.wait_for("the config to be applied", |asked| events(asked).iter().any(|it| it == "otelet.config.applied"));

    let killed = host.collector();
    signal(killed, Signal::KILL);
    let bad = scripted("bad", &["refuse no such thing as x"]);
    host.server.offer(&*bad);
    let asked = sink.wait_for("a crash and a refusal", |asked| {
        ["otelet.collector.crashed", "otelet.config.refused"].iter().all(|it| events(asked).iter().any(|e| e == it))
    });

    let records = records(&asked);
    let find = |event: &str| records.iter().find(|record| record.event_name == event).unwrap();
    assert_eq!(records[0].event_name, "otelet.agent.started");
    let refused = find("otelet.config.refused");
    assert_eq!((refused.severity_number, refused.severity_text.as_str()), (13, "WARN"));
    assert_eq!(text(&refused.attributes, "otelet.config.hash"), Some(&*hash(&bad)));
    let body = refused.body.as_ref().unwrap().string_value.clone().unwrap();
    assert!(body.contains("no such thing as x"), "{body}");
    assert!(refused.time_unix_nano > 0 && refused.observed_time_unix_nano >= refused.time_unix_nano);
    let applied = find("otelet.config.applied");
    assert_eq!((applied.severity_number, text(&applied.attributes, "otelet.config.hash")), (9, Some(&*hash(&good))));
    let crashed = find("otelet.collector.crashed");
    assert_eq!(crashed.severity_text, "WARN");
    assert_eq!(int(&crashed.attributes, "otelet.exit.signal"), Some(9));
    assert_eq!(int(&crashed.attributes, "process.pid"), Some(i64::from(killed)));
    assert_eq!(int(&crashed.attributes, "otelet.collector.crashes"), Some(1));
    assert_eq!(text(&crashed.attributes, "otelet.config.hash"), Some(&*hash(&good)));
    assert_eq!(text(&refused.attributes, "otelet.config.running_hash"), Some(&*hash(&good)));
    let offered = find("otelet.config.offered");
    assert_eq!(text(&offered.attributes, "otelet.source.location"), Some(&*host.server.url()));
    // Each event comes once, and in order.
    let times: Vec<_> = records.iter().map(|record| record.time_unix_nano).collect();
    assert!(times.is_sorted(), "{times:?}");
    let crashes = records.iter().filter(|record| record.event_name == "otelet.collector.crashed").count();
    assert_eq!(crashes, 1);
    drop(agent);
}

#[test]
fn data_kept_during_an_outage_arrives_once_afterwards() {
    let (host, sink) = exporting();
    let agent = host.agent_running(&config("good"));
    wait_for_snapshots(&sink, 3);
    sink.answer(Answer::status(503));
    agent.logs("export failed: ");
    let waiting = status_when(&host, &agent, |status| status.export.waiting_points > 150);
    assert!(waiting.export.failed > 0 && waiting.export.last_error.is_some(), "{:#?}", waiting.export);

    sink.answer(accepted());
    agent.logs("exports are taken again");
    let at_last = sink.wait_for("what was sent in vain", |asked| {
        let (refused, accepted) = (snapshots_with(asked, 503), snapshots(asked));
        !refused.is_empty() && refused.iter().all(|time| accepted.contains(time))
    });

    let times = snapshots(&at_last);
    assert!(times.is_sorted_by(|one, other| one < other), "each once, in order: {times:?}");
    assert_eq!(status(&host, &agent).losses.export, Default::default());
}

#[test]
fn a_proxy_or_portal_that_answers_for_the_backend_costs_no_data() {
    for status in [407, 511] {
        let (host, sink) = exporting();
        sink.answer(Answer::status(status));
        let agent = host.agent_running(&config("good"));
        agent.logs("export failed: ");
        status_when(&host, &agent, |status| status.export.waiting_points > 150);

        sink.answer(accepted());

        let at_last = sink.wait_for("what was sent in vain", |asked| {
            let (refused, accepted) = (snapshots_with(asked, status), snapshots(asked));
            !refused.is_empty() && refused.iter().all(|time| accepted.contains(time))
        });
        let times = snapshots(&at_last);
        assert!(times.is_sorted_by(|one, other| one < other), "each once, in order: {times:?}");
        assert_eq!(super::exports_once::status(&host, &agent).losses.export, Default::default());
    }
}

#[test]
fn a_batch_that_is_too_large_is_halved_and_nothing_is_lost() {
    let (host, sink) = exporting();
    // Some forty points a snapshot, on any machine.
    host.set("export.metrics", "agent");
    let agent = host.agent_running(&config("good"));
    wait_for_snapshots(&sink, 3);
    sink.answer(Answer::status(503));
    agent.logs("export failed: ");
    status_when(&host, &agent, |status| status.export.waiting_points > 400);

    // The event about the failure goes out before the points.
    sink.answer(accepted());
    for answer in [accepted(), Answer::status(413), Answer::status(413)] {
        sink.answer_once(answer);
    }

    let at_last = sink.wait_for("what was too large, in smaller parts", |asked| {
        let (refused, accepted) = (snapshots_with(asked, 413), snapshots(asked));
        !refused.is_empty() && refused.iter().all(|time| accepted.contains(time))
    });
    let times = snapshots(&at_last);
    assert!(times.is_sorted_by(|one, other| one < other), "each once, in order: {times:?}");
    assert_eq!(status(&host, &agent).losses.export, Default::default());
    assert_eq!(agent.logged("export refused"), 0);
}

#[test]
fn retry_after_of_a_backend_is_obeyed() {
    let (host, sink) = exporting();
    host.set("export.metrics", "none");
    sink.answer_once(Answer::Status(429, vec![("Retry-After".into(), "2".into())], Vec::new()));
    let _agent = host.agent().start();

    let asked = sink.wait_for_requests(2);

    assert_eq!((asked[0].answered, asked[1].answered), (Some(429), Some(200)));
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(2), "{:?}", asked[1].at - asked[0].at);
    assert!(events(&asked).contains(&"otelet.agent.started".to_owned()));
}

#[test]
fn a_refused_batch_is_dropped_and_counted_and_not_sent_again() {
    let (host, sink) = exporting();
    sink.answer(Answer::status(400));
    let agent = host.agent_running(&config("good"));

    agent.logs("export refused: ");
    agent.logs("/v1/metrics: answered 400");
    let status = status_when(&host, &agent, |status| {
        status.losses.export.refused_points > 30 && status.losses.export.refused_records > 0
    });
    assert!(status.export.last_error.is_some_and(|error| error.contains("answered 400")));
    assert_eq!(status.losses.export.dropped_points, 0);
    let asked = sink.wait_for("three of them", |asked| snapshots_with(asked, 400).len() > 3);
    let times = snapshots_with(&asked, 400);
    assert!(times.is_sorted_by(|one, other| one < other), "none twice: {times:?}");

    // The count is a metric, too.
    sink.answer(accepted());
    let asked = sink.wait_for("the loss as a metric", |asked| {
        metrics(asked).get("otelet.losses").is_some_and(|metric| metric.points.iter().any(is_refused_point))
    });
    assert!(!snapshots(&asked).is_empty());
    assert_eq!(agent.logged("/v1/metrics: answered 400"), 1, "said once");
}

fn is_refused_point(point: &NumberDataPoint) -> bool {
    text(&point.attributes, "otelet.loss.kind") == Some("point")
        && text(&point.attributes, "otelet.loss.reason") == Some("refused")
        && point.as_int > Some(30)
}

#[test]
fn a_partial_rejection_is_counted() {
    let (host, sink) = exporting();
    let partial = PartialSuccess { rejected: 2, error_message: "too old".into() };
    let answer = Response { partial_success: Some(partial) }.encode_to_vec();
    sink.answer(Answer::Status(200, Vec::new(), answer));
    let agent = host.agent_running(&config("good"));

    let said = agent.logs("were rejected: too old");

    assert!(said.contains("2 points") || said.contains("2 records"), "{said}");
    let status = status_when(&host, &agent, |status| status.losses.export.refused_points >= 4);
    assert_eq!(status.losses.export.refused_points % 2, 0);
}

#[test]
fn the_buffer_stays_within_its_limit_and_drops_the_oldest() {
    let (host, sink) = exporting();
    host.set("export.buffer", "16KiB");
    host.set("export.every", "1s");
    // A snapshot takes some 110 bytes beside its series.
    sink.answer(Answer::Stall);
    let agent = host.agent_running(&config("good"));

    let full = status_when(&host, &agent, |status| status.losses.export.dropped_points > 0);
    assert!(full.export.buffer_bytes <= 16 * 1024, "{:#?}", full.export);
    assert!(full.export.waiting_points > 0);
}

#[test]
fn a_backend_that_stalls_delays_nothing() {
    let (host, sink) = exporting();
    sink.answer(Answer::Stall);
    let mut agent = host.agent_running(&config("good"));
    sink.wait_for_requests(1);

    host.server.offer(config("better"));
    agent.applied(&config("better"));
    signal(host.collector(), Signal::KILL);
    agent.wait_status("another collector", |status| status.collector.restarts == 1 && status.collector.healthy);
    assert_eq!(sink.requests().len(), 1, "one export at a time");

    let asked_to_stop = Instant::now();
    assert_eq!(agent.stop(), 0);
    assert!(asked_to_stop.elapsed() < PATIENCE / 2, "{:?}", asked_to_stop.elapsed());
}

#[test]
fn the_last_event_is_exported_before_the_agent_ends() {
    let (host, sink) = exporting();
    host.set("export.every", "1h");
    let mut agent = host.agent_running(&config("good"));
    sink.wait_for("the config to be applied", |asked| events(asked).iter().any(|it| it == "otelet.config.applied"));

    assert_eq!(agent.stop(), 0);

    let asked = sink.requests();
    assert_eq!(events(&asked).last().map(String::as_str), Some("otelet.collector.stopped"));
    let times = snapshots(&asked);
    assert!(!times.is_empty() && times.is_sorted_by(|one, other| one < other), "what was measured, too: {times:?}");
}

#[test]
fn a_secret_does_not_leave_with_an_event() {
    let (host, sink) = exporting();
    host.set("export.headers", "{authorization: Bearer sesame-open-now}");
    let bad = scripted("bad", &["refuse it says sesame-open-now to all"]);
    host.server.offer(&*bad);
    let _agent = host.agent().start();

    let asked = sink.wait_for("the refusal", |asked| events(asked).iter().any(|it| it == "otelet.config.refused"));

    let records = records(&asked);
    let refused = records.iter().find(|record| record.event_name == "otelet.config.refused").unwrap();
    let body = refused.body.as_ref().unwrap().string_value.clone().unwrap();
    assert!(body.contains("it says <redacted> to all"), "{body}");
    let leaks = |bytes: &[u8]| bytes.windows(11).any(|window| window == b"sesame-open");
    assert!(!asked.iter().any(|asked| leaks(&asked.body)));
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some("Bearer sesame-open-now")));
}
