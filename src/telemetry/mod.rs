//! What the agent measures and what it has to tell, before it is encoded: points and records. Pure data, in the words of
//! OpenTelemetry's semantic conventions.

use std::borrow::Cow;
use std::time::SystemTime;

pub mod host;

/// A metric: one row of a table that its module keeps, from which `docs/metrics.md` is made.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// `system.memory.usage`
    pub name: &'static str,
    /// In UCUM: `By`, `s`, `1`, `{restart}`.
    pub unit: &'static str,
    /// How its values add up.
    pub kind: Kind,
    /// One sentence, with the names of its attributes.
    pub help: &'static str,
}

/// How the values of a metric add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They do not.
    Gauge,
    /// Each is a sum since a start, and never falls.
    Counter,
    /// Each is a sum that may fall as well.
    UpDownCounter,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// Any other.
    Double(f64),
}

impl Number {
    /// As a fraction, for comparisons.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

impl From<u64> for Number {
    /// What is too large for OTLP is the largest that it knows.
    fn from(value: u64) -> Self {
        Self::Int(value.try_into().unwrap_or(i64::MAX))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Names and values, each name once.
pub type Attributes = Vec<(Cow<'static, str>, Value)>;

/// One value of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Which metric.
    pub metric: &'static Metric,
    /// Which series of it.
    pub attributes: Attributes,
    /// Since when a sum counts; none for a gauge, or when it is not known.
    pub start: Option<SystemTime>,
    /// The value.
    pub value: Number,
}

impl Point {
    /// A point of a gauge, or of a sum whose start is not known.
    pub fn new(metric: &'static Metric, value: impl Into<Number>) -> Self {
        Self { metric, attributes: Vec::new(), start: None, value: value.into() }
    }

    /// With one more attribute.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// With the start of its sum.
    pub fn since(mut self, start: Option<SystemTime>) -> Self {
        self.start = start;
        self
    }
}

/// What was measured at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// When.
    pub at: SystemTime,
    /// What.
    pub points: Vec<Point>,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of OpenTelemetry's log data model")]
pub enum Severity {
    Info,
    Warn,
    Error,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When.
    pub at: SystemTime,
    /// How much it matters.
    pub severity: Severity,
    /// What kind of event: `otelet.config.applied`.
    pub event: &'static str,
    /// One line for people.
    pub body: String,
    /// What is known of it.
    pub attributes: Attributes,
}

/// Every metric there is, by the module that measures it. Each module adds its table here.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    let tables: [&'static [Metric]; 4] =
        [crate::host::METRICS, crate::otlp::own::METRICS, crate::docker::METRICS, crate::check::METRICS];
    tables.into_iter().flatten()
}

/// The table of `docs/metrics.md`, in Markdown.
pub fn reference() -> String {
    let mut text = String::from("| metric | unit | kind | meaning, and attributes |\n|---|---|---|---|\n");
    for Metric { name, unit, kind, help } in metrics() {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::UpDownCounter => "up-down counter",
        };
        text += &format!("| `{name}` | `{unit}` | {kind} | {help} |\n");
    }
    text
}
