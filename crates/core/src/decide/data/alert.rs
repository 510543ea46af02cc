//! The data of alerts: their settings, the alerts that fire or fired, and their report.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::delivery::Deliveries;
use crate::telemetry::{Attributes, Value};

/// The rule of one alert, an entry of `alerts` in the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// The name of the alert; no other one has it.
    pub name: String,
    /// The name of the metric that is compared.
    pub metric: String,
    /// Attributes that a series must have; all series without any.
    pub conditions: Vec<(String, String)>,
    /// Whether the change per second is compared instead of the value.
    pub rate: bool,
    /// The limit beyond which a value is bad.
    pub threshold: Threshold,
    /// A firing alert is resolved when the value is no longer above this (or below it, for a threshold below).
    pub resolve_at: f64,
    /// How long a value must be bad before the alert fires.
    pub lasting: Duration,
    /// The severity, also a label of the alert.
    pub severity: AlertSeverity,
    /// A sentence for the person who gets the alert.
    pub summary: Option<String>,
    /// Further labels, by which the receiver routes the alert.
    pub labels: Vec<(String, String)>,
}

/// The limit beyond which a value is bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Values above this are bad.
    Above(f64),
    /// Values below this are bad.
    Below(f64),
}

/// The severity of an alert, in the words of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the user's")]
pub enum AlertSeverity {
    Info,
    Warning,
    Critical,
}

impl AlertSeverity {
    /// The word of settings, labels and status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Reads a word of [`word`](Self::word).
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|severity| severity.word() == word)
    }
}

impl Threshold {
    /// Whether the value is bad.
    pub fn is_exceeded(self, value: f64) -> bool {
        match self {
            Self::Above(most) => value > most,
            Self::Below(least) => value < least,
        }
    }

    pub(crate) fn is_well(self, value: f64, resolve_at: f64) -> bool {
        match self {
            Self::Above(_) => value <= resolve_at,
            Self::Below(_) => value >= resolve_at,
        }
    }

    pub(crate) fn worse(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Above(_) => one.max(other),
            Self::Below(_) => one.min(other),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(value) => write!(f, "above {value}"),
            Self::Below(value) => write!(f, "below {value}"),
        }
    }
}

impl fmt::Display for AlertSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// An alert that fires or fired: one series of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The name of its rule in the settings.
    pub name: String,
    /// The metric of the bad value.
    pub metric: String,
    /// The attributes of the series.
    pub attributes: Attributes,
    /// The labels by which the receiver knows it. They stay the same while it fires, even if the settings change.
    pub labels: Vec<(String, String)>,
    /// The severity, as its rule had it when the alert fired.
    pub severity: AlertSeverity,
    /// The sentence of its rule.
    pub summary: Option<String>,
    /// The time at which it fired, by the wall clock, to the second.
    pub since: SystemTime,
    /// The last value, or its change per second.
    pub value: f64,
    /// The limit that the value broke.
    pub threshold: Threshold,
}

/// `system.memory.usage {state=used} is 1000, above 900`
impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if !self.attributes.is_empty() {
            let pairs: Vec<String> = self.attributes.iter().map(|(name, value)| pair(name, &text(value))).collect();
            write!(f, " {{{}}}", pairs.join(", "))?;
        }
        write!(f, " is {}", rounded(self.value))
    }
}

/// An alert that no longer fires. It is kept until the webhook has accepted it.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedAlert {
    /// The alert with its last value.
    pub alert: Alert,
    /// The time at which it was resolved, by the wall clock, to the second.
    pub at: SystemTime,
}

/// The part of the alerts that survives a restart of the agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertMemory {
    /// The firing alerts, each with the time between measurements as far as known.
    pub firing: Vec<(Alert, Option<Duration>)>,
    /// The resolved alerts that the webhook has not accepted yet, oldest first.
    pub resolved: Vec<ResolvedAlert>,
}

/// The state of an alert, or of one of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    /// No value was measured.
    Unmeasured,
    /// The last value is good.
    Good,
    /// The value is bad, but not yet for long enough.
    Pending,
    /// The value was bad for long enough.
    Firing,
}

/// The report on one rule of the settings, or on one series of it that is bad.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertReport {
    /// The name of the rule.
    pub name: String,
    /// The metric that is compared.
    pub metric: String,
    /// The state of the series; of all series if none is bad.
    pub state: AlertState,
    /// The severity of the rule.
    pub severity: AlertSeverity,
    /// The time since which it is pending or fires.
    pub since: Option<SystemTime>,
    /// The last value; the worst of all series if none is bad.
    pub value: Option<f64>,
    /// The limit beyond which a value is bad.
    pub threshold: Threshold,
    /// The attributes of the series; empty if no series is bad.
    pub attributes: Attributes,
    /// The sentence of the rule.
    pub summary: Option<String>,
}

/// The report on all alerts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertsReport {
    /// One or more entries for each rule, in the order of the settings.
    pub alerts: Vec<AlertReport>,
    /// The batches sent to the webhook.
    pub messages: Deliveries,
    /// The number of series that are ignored because their rule has too many.
    pub overlooked: u64,
    /// The number of resolved alerts that the webhook never got because too many others followed.
    pub dropped: u64,
}

/// Prints a number for people, with at most six significant digits.
pub fn rounded(value: f64) -> String {
    if value == value.trunc() || value == 0.0 {
        return format!("{value}");
    }
    let digits = (5.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// An attribute for people: of a container's id the digits that the engine's own client shows.
pub fn pair(name: &str, value: &str) -> String {
    let shown = value.get(..12).filter(|_| name == "container.id");
    format!("{name}={}", shown.unwrap_or(value))
}

/// The value of an attribute as text.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) | Value::List(text) => Cow::Borrowed(text),
        Value::Int(number) => Cow::Owned(number.to_string()),
        Value::Double(number) => Cow::Owned(rounded(*number)),
    }
}
