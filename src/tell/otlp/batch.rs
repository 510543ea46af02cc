//! Writes the requests of OTLP in protobuf, straight into one buffer of the right size. Pure.
//!
//! Requests for metrics and for logs have the same three layers (resource, scope, metrics or records) with the same
//! field numbers, so that one function writes both. In tests, [`otelet_wire::otlp`] reads them back.

use std::time::SystemTime;

use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};

use otelet_core::telemetry::{Attributes, EventRecord, Kind, Metric, Number, Severity, Value};
use otelet_wire::otlp::{CUMULATIVE, LogRecord, Resource, Scope};
use otelet_wire::{AnyValue, KeyValue};

/// Encodes requests. It holds the resource and the scope, encoded once.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoder {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Encoder {
    /// An encoder for a resource with these attributes; each name must occur once.
    pub fn new(resource: &[(String, String)]) -> Self {
        let attributes = resource.iter().map(|(key, value)| pair(key, &Value::Text(value.clone().into())));
        let scope = Scope { name: "otelet".into(), version: env!("CARGO_PKG_VERSION").into() };
        Self { resource: Resource { attributes: attributes.collect() }.encode_to_vec(), scope: scope.encode_to_vec() }
    }

    /// The beginning of a request, up to where `content` bytes of metrics or records follow.
    fn request(&self, content: usize) -> Vec<u8> {
        let scoped = field_len(self.scope.len()) + content;
        let resourced = field_len(self.resource.len()) + field_len(scoped);
        let mut out = Vec::with_capacity(field_len(resourced));
        head(&mut out, 1, resourced);
        bytes(&mut out, 1, &self.resource);
        head(&mut out, 2, scoped);
        bytes(&mut out, 1, &self.scope);
        out
    }

    /// A request of encoded log records.
    pub fn logs<'a>(&self, records: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
        let mut out = self.request(records.clone().map(|record| field_len(record.len())).sum());
        records.for_each(|record| bytes(&mut out, 2, record));
        out
    }

    /// A request of metrics. The points of one metric are joined, in the order in which they are given.
    pub fn metrics(&self, mut points: Vec<DataPoint<'_>>) -> Vec<u8> {
        // A stable sort keeps the order of time.
        points.sort_by_key(|point| std::ptr::from_ref(point.metric).addr());
        let same = |one: &DataPoint<'_>, other: &DataPoint<'_>| std::ptr::eq(one.metric, other.metric);
        let metrics = || points.chunk_by(same).map(|points| (points, metric_len(points)));
        let mut out = self.request(metrics().map(|(_, (len, _))| field_len(len)).sum());
        for (points, (len, data)) in metrics() {
            let metric = points[0].metric;
            head(&mut out, 2, len);
            bytes(&mut out, 1, metric.name.as_bytes());
            bytes(&mut out, 2, metric.help.as_bytes());
            bytes(&mut out, 3, metric.unit.as_bytes());
            head(&mut out, if metric.kind == Kind::Gauge { 5 } else { 7 }, data);
            points.iter().for_each(|point| point.write(&mut out));
            out.extend(flags(metric.kind));
        }
        out
    }
}

/// One point of a request.
#[derive(Debug, Clone, Copy)]
pub struct DataPoint<'a> {
    pub metric: &'static Metric,
    /// The result of [`attributes`].
    pub attributes: &'a [u8],
    /// Nanoseconds since 1970; 0 if not known.
    pub start: u64,
    /// Nanoseconds since 1970; 0 if not known.
    pub time: u64,
    pub value: Number,
}

impl DataPoint<'_> {
    /// The size of this point in a request, in bytes.
    pub fn cost(&self) -> usize {
        field_len(self.len())
    }

    fn len(&self) -> usize {
        // Three fields of nine bytes each: start, time and value. An unknown start is left out.
        self.attributes.len() + if self.start == 0 { 18 } else { 27 }
    }

    fn write(&self, out: &mut Vec<u8>) {
        head(out, 1, self.len());
        if self.start != 0 {
            out.push(key(2, FIXED64));
            out.extend(self.start.to_le_bytes());
        }
        out.push(key(3, FIXED64));
        out.extend(self.time.to_le_bytes());
        match self.value {
            Number::Double(value) => {
                out.push(key(4, FIXED64));
                out.extend(value.to_le_bytes());
            }
            Number::Int(value) => {
                out.push(key(6, FIXED64));
                out.extend(value.to_le_bytes());
            }
        }
        out.extend(self.attributes);
    }
}

/// The most bytes of a metric in a request beside its points.
pub fn metric_cost(metric: &Metric) -> usize {
    // 32 bytes are for keys, lengths and flags.
    metric.name.len() + metric.help.len() + metric.unit.len() + 32
}

/// The fields of a sum beside its points: cumulative, and monotonic for a counter.
fn flags(kind: Kind) -> &'static [u8] {
    const FLAGS: [u8; 4] = [key(2, VARINT), CUMULATIVE as u8, key(3, VARINT), 1];
    match kind {
        Kind::Gauge => &[],
        Kind::Counter => &FLAGS,
        Kind::UpDownCounter => &FLAGS[..2],
    }
}

/// The length of a metric with these points, and of its gauge or sum.
fn metric_len(points: &[DataPoint<'_>]) -> (usize, usize) {
    let Metric { name, unit, kind, help, .. } = points[0].metric;
    let data = points.iter().map(|point| field_len(point.len())).sum::<usize>() + flags(*kind).len();
    let texts = [name, unit, help].map(|text| field_len(text.len()));
    (texts.iter().sum::<usize>() + field_len(data), data)
}

/// The attributes of a data point, encoded: field 7, once for each attribute.
pub fn attributes(attributes: &Attributes) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in attributes {
        bytes(&mut out, 7, &pair(name, value).encode_to_vec());
    }
    out
}

/// A log record, encoded. `public` redacts its texts.
pub fn record(record: &EventRecord, public: impl Fn(&str) -> String, observed: SystemTime) -> Vec<u8> {
    let (severity_number, severity_text) = match record.severity {
        Severity::Info => (9, "INFO"),
        Severity::Warn => (13, "WARN"),
        Severity::Error => (17, "ERROR"),
    };
    let message = LogRecord {
        time_unix_nano: nanos(record.at),
        severity_number,
        severity_text: severity_text.into(),
        body: Some(AnyValue::text(public(&record.body))),
        attributes: record
            .attributes
            .iter()
            .map(|(name, value)| match value {
                Value::Text(text) => pair(name, &public(text).into()),
                Value::List(text) => pair(name, &Value::List(public(text).into())),
                Value::Int(_) | Value::Double(_) => pair(name, value),
            })
            .collect(),
        observed_time_unix_nano: nanos(observed),
        event_name: record.event.into(),
    };
    message.encode_to_vec()
}

/// Nanoseconds since 1970; 0 for earlier times.
pub fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

fn pair(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => AnyValue::text(text.clone()),
        Value::Int(number) => AnyValue::int(*number),
        Value::List(text) => AnyValue::list(text.clone()),
        Value::Double(number) => AnyValue::double(*number),
    };
    KeyValue { key: key.into(), value: Some(value) }
}

/// Wire types of protobuf.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

/// The key of a field below 16.
const fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

/// The length of a field below 16 with this many bytes of content, including its key and length.
fn field_len(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

fn head(out: &mut Vec<u8>, field: u8, content: usize) {
    out.push(key(field, LENGTH));
    encode_varint(content as u64, out);
}

fn bytes(out: &mut Vec<u8>, field: u8, content: &[u8]) {
    head(out, field, content.len());
    out.extend(content);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use otelet_wire::otlp::{LogsRequest, MetricsRequest};

    static GAUGE: Metric = Metric {
        name: "a.gauge",
        unit: "1",
        kind: Kind::Gauge,
        owner: otelet_core::telemetry::Owner::Host,
        help: "A gauge.",
    };
    static SUM: Metric = Metric {
        name: "a.sum",
        unit: "By",
        kind: Kind::Counter,
        owner: otelet_core::telemetry::Owner::Host,
        help: "A sum.",
    };
    static LEVEL: Metric = Metric {
        name: "a.level",
        unit: "{x}",
        kind: Kind::UpDownCounter,
        owner: otelet_core::telemetry::Owner::Host,
        help: "A level.",
    };

    fn point<'a>(metric: &'static Metric, attributes: &'a [u8], time: u64, value: impl Into<Number>) -> DataPoint<'a> {
        let start = if metric.kind == Kind::Gauge { 0 } else { 7 };
        DataPoint { metric, attributes, start, time, value: value.into() }
    }

    #[test]
    fn a_request_of_metrics_is_read_back_by_prost() {
        let encoder = Encoder::new(&[("service.name".into(), "otelet".into()), ("site".into(), "norð".into())]);
        // More than 127 bytes, so that some lengths take two bytes.
        let attributes = attributes(&vec![
            ("state".into(), Value::from("used")),
            ("cpu".into(), Value::from(-3)),
            ("long".into(), Value::from("x".repeat(300))),
        ]);
        let points = vec![
            point(&GAUGE, &attributes, 1, 0.5),
            point(&SUM, &[], 1, 3_u64),
            point(&LEVEL, &[], 1, Number::Int(-4)),
            point(&GAUGE, &[], 2, 0.25),
            point(&SUM, &[], 2, u64::MAX),
        ];
        let metrics = [&GAUGE, &SUM, &LEVEL].map(metric_cost);
        let limit = points.iter().map(DataPoint::cost).sum::<usize>() + metrics.iter().sum::<usize>();

        let written = encoder.metrics(points);

        let read = MetricsRequest::decode(&*written).unwrap();
        assert_eq!(read.encoded_len(), written.len(), "prost reads every byte");
        assert!(written.len() <= limit + 200, "{} bytes, reckoned with {limit}", written.len());
        let scoped = &read.resource_metrics[0].scope_metrics[0];
        assert_eq!(read.resource_metrics[0].resource.as_ref().unwrap().attributes[1].key, "site");
        assert_eq!(scoped.scope.as_ref().unwrap().name, "otelet");
        let metric = |name: &str| scoped.metrics.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(scoped.metrics.len(), 3, "points of one metric are together");
        let gauge = metric("a.gauge");
        assert_eq!((gauge.unit.as_str(), gauge.description.as_str(), &gauge.sum), ("1", "A gauge.", &None));
        let points = &gauge.gauge.as_ref().unwrap().data_points;
        assert_eq!(points.iter().map(|point| point.time_unix_nano).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((points[0].as_double, points[0].start_time_unix_nano), (Some(0.5), 0));
        assert_eq!(points[0].attributes[1].value.as_ref().unwrap().int_value, Some(-3));
        assert_eq!(points[0].attributes[2].value.as_ref().unwrap().string_value, Some("x".repeat(300)));
        let sum = metric("a.sum").sum.as_ref().unwrap();
        assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (CUMULATIVE, true));
        assert_eq!(sum.data_points[1].as_int, Some(i64::MAX), "the largest that OTLP knows");
        assert_eq!(sum.data_points[0].start_time_unix_nano, 7);
        let level = metric("a.level").sum.as_ref().unwrap();
        assert_eq!((level.is_monotonic, level.data_points[0].as_int), (false, Some(-4)));
    }

    #[test]
    fn a_record_has_its_event_its_severity_and_both_times() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        let told = EventRecord {
            at,
            severity: Severity::Warn,
            event: "otelet.config.refused",
            body: "config 7f3a refused".into(),
            attributes: vec![("otelet.config.hash".into(), Value::from("7f3a"))],
        };
        let encoded = record(&told, |text| text.replace("7f3a", "***"), at + Duration::from_nanos(1));

        let request = Encoder::new(&[]).logs([&*encoded, &*encoded].into_iter());

        let read = LogsRequest::decode(&*request).unwrap();
        assert_eq!(read.encoded_len(), request.len());
        let records = &read.resource_logs[0].scope_logs[0].log_records;
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].severity_number, records[0].severity_text.as_str()), (13, "WARN"));
        assert_eq!(records[0].event_name, "otelet.config.refused");
        assert_eq!((records[0].time_unix_nano, records[0].observed_time_unix_nano), (5_000_000_000, 5_000_000_001));
        assert_eq!(records[0].body.as_ref().unwrap().string_value.as_deref(), Some("config *** refused"));
        let attribute = records[0].attributes[0].value.as_ref().unwrap();
        assert_eq!(attribute.string_value.as_deref(), Some("***"));
    }
}
