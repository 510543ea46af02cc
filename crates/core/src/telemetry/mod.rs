//! What the agent measures and what it has to tell, before it is encoded: points and records. Pure data, in the words of
//! OpenTelemetry's semantic conventions.

/// Makes a constant of each row and the table of all of them.
macro_rules! table {
    ($owner:ident: $($row:ident = $name:literal, $unit:literal, $kind:ident $(, $by:ident)?, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $row: $crate::telemetry::Metric = $crate::telemetry::Metric {
                name: $name,
                unit: $unit,
                kind: $crate::telemetry::Kind::$kind,
                owner: owner!($owner $($by)?),
                help: $help,
            };
        )*

        /// Every metric of this table.
        pub static METRICS: &[$crate::telemetry::Metric] = &[$($row),*];
    };
}

/// The owner of a row: its own, or else that of its table.
macro_rules! owner {
    ($table:ident) => {
        $crate::telemetry::Owner::$table
    };
    ($table:ident $row:ident) => {
        $crate::telemetry::Owner::$row
    };
}

pub mod agent;
pub mod checks;
pub mod containers;
pub mod host;

use std::borrow::Cow;
use std::time::SystemTime;

/// A metric: one row of a table of this room, from which `docs/metrics.md` is made.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// `system.memory.usage`
    pub name: &'static str,
    /// In UCUM: `By`, `s`, `1`, `{restart}`.
    pub unit: &'static str,
    /// How its values add up.
    pub kind: Kind,
    /// Whose metric it is: `export.metrics: agent` exports those of the agent alone.
    pub owner: Owner,
    /// One sentence, with the names of its attributes.
    pub help: &'static str,
}

/// Whose metric a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The agent's and the collector's own, what the agent found out about its checks and its cgroup.
    Agent,
    /// The host's.
    Host,
    /// A container's.
    Containers,
    /// The host or server that a check asks.
    Checks,
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

/// Every metric there is, table by table.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    let tables: [&'static [Metric]; 4] = [host::METRICS, agent::METRICS, containers::METRICS, checks::METRICS];
    tables.into_iter().flatten()
}

/// The table of `docs/metrics.md`, in Markdown.
pub fn reference() -> String {
    let mut text = String::from("| metric | unit | kind | meaning, and attributes |\n|---|---|---|---|\n");
    for Metric { name, unit, kind, help, .. } in metrics() {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::UpDownCounter => "up-down counter",
        };
        text += &format!("| `{name}` | `{unit}` | {kind} | {help} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_metric_is_listed_twice_and_each_has_its_help() {
        let all: Vec<&Metric> = metrics().collect();
        for (number, metric) in all.iter().enumerate() {
            assert!(all[..number].iter().all(|other| other.name != metric.name), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn the_names_of_the_agents_own_metrics_say_so() {
        for metric in metrics() {
            let ours = ["otelet.", "process."].iter().any(|prefix| metric.name.starts_with(prefix));
            let of_the_host = metric.name.starts_with("otelet.host.");
            assert_eq!(metric.owner == Owner::Agent, ours && !of_the_host, "{}", metric.name);
        }
    }
}
