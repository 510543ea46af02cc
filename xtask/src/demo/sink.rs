//! Where the Collector of the demo sends its metrics: OTLP over HTTP as JSON, on loopback. It counts data points and
//! keeps the newest values, apart for each path, so that what arrives tells by itself which config is running.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::http::Connection;

/// The telemetry that arrived under one path.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    /// Metric data points.
    pub points: u64,
    /// When each export request came.
    pub arrivals: Vec<Instant>,
    /// Names of the metrics.
    pub names: BTreeSet<String>,
    /// Bytes of memory in use on this host: `system.memory.usage` with `state="used"`.
    pub memory_used: Option<f64>,
    /// `system.cpu.load_average.1m`.
    pub load: Option<f64>,
}

impl Deliveries {
    /// How many export requests came after `then`.
    pub fn since(&self, then: Instant) -> usize {
        self.arrivals.iter().filter(|at| **at > then).count()
    }

    /// The first request after `then`.
    pub fn first_after(&self, then: Instant) -> Option<Instant> {
        self.arrivals.iter().copied().find(|at| *at > then)
    }

    /// Time between the last two requests.
    pub fn last_gap(&self) -> Option<Duration> {
        match self.arrivals.as_slice() {
            [.., before, last] => Some(*last - *before),
            _ => None,
        }
    }

    /// The longest time without a request from `then` on.
    pub fn longest_gap_since(&self, then: Instant) -> Duration {
        let before = self.arrivals.iter().copied().rfind(|at| *at <= then);
        let after = self.arrivals.iter().copied().filter(|at| *at > then);
        let times: Vec<Instant> = before.into_iter().chain(after).collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

/// A listening sink.
pub struct Sink {
    address: SocketAddr,
    seen: Arc<Mutex<BTreeMap<String, Deliveries>>>,
}

impl Sink {
    /// Listens on a free port until the process ends.
    pub fn new() -> io::Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sink = Sink { address: listener.local_addr()?, seen: Arc::default() };
        let seen = sink.seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = seen.clone();
                thread::spawn(move || stream.and_then(|stream| take(stream, &seen)));
            }
        });
        Ok(sink)
    }

    /// The endpoint to export to so that it is kept apart under `label`.
    pub fn endpoint(&self, label: &str) -> String {
        format!("http://{}/{label}", self.address)
    }

    /// The telemetry that arrived under `label`.
    pub fn seen(&self, label: &str) -> Deliveries {
        let seen = self.seen.lock().expect("no holder panics");
        seen.get(label).cloned().unwrap_or_default()
    }

    /// Data points that arrived, under all labels.
    pub fn points(&self) -> u64 {
        let seen = self.seen.lock().expect("no holder panics");
        seen.values().map(|one| one.points).sum()
    }
}

fn take(stream: TcpStream, seen: &Mutex<BTreeMap<String, Deliveries>>) -> io::Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some(request) = connection.next()? {
        let json = [("Content-Type", "application/json"), ("Content-Length", "2")];
        let body = serde_json::from_slice::<Value>(&request.body);
        let label = request.path.trim_start_matches('/').split_once("/v1/");
        match (label, body) {
            (Some((label, "metrics")), Ok(body)) => {
                let mut seen = seen.lock().expect("no holder panics");
                count(seen.entry(label.to_owned()).or_default(), &body);
                drop(seen);
                connection.answer("200 OK", &json, b"{}")?;
            }
            // 400 is final by the OTLP specification: the Collector drops it and says so in its log.
            _ => {
                connection.answer("400 Bad Request", &json, b"{}")?;
            }
        }
    }
    Ok(())
}

fn count(seen: &mut Deliveries, body: &Value) {
    seen.arrivals.push(Instant::now());
    let metrics = list(body, "resourceMetrics")
        .flat_map(|resource| list(resource, "scopeMetrics"))
        .flat_map(|scope| list(scope, "metrics"));
    for metric in metrics {
        let name = metric["name"].as_str().unwrap_or("");
        let points: Vec<&Value> =
            ["sum", "gauge"].into_iter().flat_map(|kind| list(&metric[kind], "dataPoints")).collect();
        seen.points += points.len() as u64;
        seen.names.insert(name.to_owned());
        match name {
            "system.memory.usage" => {
                let used = points.iter().find(|point| has(point, "state", "used"));
                seen.memory_used = used.and_then(|point| number(point));
            }
            "system.cpu.load_average.1m" => {
                seen.load = points.first().and_then(|point| number(point));
            }
            _ => {}
        }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn has(point: &Value, key: &str, value: &str) -> bool {
    list(point, "attributes").any(|pair| pair["key"] == key && pair["value"]["stringValue"] == value)
}

/// A point's value. 64-bit integers are strings in OTLP/JSON, after the JSON mapping of Protobuf.
fn number(point: &Value) -> Option<f64> {
    match &point["asInt"] {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_f64(),
        _ => point["asDouble"].as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_counted_and_the_used_memory_is_found() {
        let body = serde_json::json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "system.memory.usage", "sum": {"dataPoints": [
                {"asInt": "7", "attributes": [{"key": "state", "value": {"stringValue": "free"}}]},
                {"asInt": "42", "attributes": [{"key": "state", "value": {"stringValue": "used"}}]},
            ]}},
            {"name": "system.cpu.load_average.1m", "gauge": {"dataPoints": [{"asDouble": 0.5}]}},
        ]}]}]});
        let mut seen = Deliveries::default();
        count(&mut seen, &body);
        assert_eq!((seen.points, seen.memory_used, seen.load), (3, Some(42.0), Some(0.5)));
    }

    #[test]
    fn the_longest_gap_spans_the_moment_it_is_asked_for() {
        let t0 = Instant::now();
        let at = |seconds| t0 + Duration::from_secs(seconds);
        let seen = Deliveries { arrivals: vec![at(0), at(9), at(10), at(14), at(15)], ..Deliveries::default() };
        assert_eq!(seen.longest_gap_since(at(11)), Duration::from_secs(4));
        assert_eq!(seen.since(at(10)), 2);
        assert_eq!(seen.first_after(at(10)), Some(at(14)));
    }
}
