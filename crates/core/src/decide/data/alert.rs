//! Alerts: their settings, those that fire or did, and how they are shown.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use super::delivery::Deliveries;
use crate::telemetry::{Attributes, Value};

/// One of `alerts`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// Unlike that of any other alert.
    pub name: String,
    /// The name of a metric.
    pub metric: String,
    /// Attributes that a series must have.
    pub conditions: Vec<(String, String)>,
    /// Whether the change per second is looked at.
    pub rate: bool,
    /// When it is bad.
    pub threshold: Threshold,
    /// The value at which it is good again: not above it, or not below it.
    pub resolve_at: f64,
    /// How long it must have been bad.
    pub lasting: Duration,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// A sentence.
    pub summary: Option<String>,
    /// Labels for whoever routes it.
    pub labels: Vec<(String, String)>,
}

/// When a value is bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Above this.
    Above(f64),
    /// Below this.
    Below(f64),
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are the user's")]
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

    /// Reads what [`word`](Self::word) wrote.
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

/// An alert that fires, or did.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// As the settings call it.
    pub name: String,
    /// Which metric is bad.
    pub metric: String,
    /// Which series of it.
    pub attributes: Attributes,
    /// What it is known by at the receiver: the same from its first to its last hour, whatever the settings become.
    pub labels: Vec<(String, String)>,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// What the settings say about it.
    pub summary: Option<String>,
    /// When it fired, to the second.
    pub since: SystemTime,
    /// The value that was seen last, or its change per second.
    pub value: f64,
    /// When it is bad.
    pub threshold: Threshold,
}

/// `system.memory.usage {state=used} is 1000, above 900`
impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if !self.attributes.is_empty() {
            let pairs: Vec<String> =
                self.attributes.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
            write!(f, " {{{}}}", pairs.join(", "))?;
        }
        write!(f, " is {}", rounded(self.value))
    }
}

/// An alert that no longer fires, for whoever has not heard of it yet.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedAlert {
    /// As it was when it fired last.
    pub alert: Alert,
    /// When it was resolved, to the second.
    pub at: SystemTime,
}

/// What must survive the agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertMemory {
    /// What fires, and how often it is measured, as far as that is known.
    pub firing: Vec<(Alert, Option<Duration>)>,
    /// What the webhook has not taken yet, oldest first.
    pub resolved: Vec<ResolvedAlert>,
}

/// The state of an alert, or of one of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    /// Nothing was measured.
    Unmeasured,
    /// The value is good.
    Good,
    /// The value is bad, but not yet for long enough.
    Pending,
    /// The value was bad for long enough.
    Firing,
}

/// What is known of one alert of the settings or one series of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertReport {
    /// As the settings call it.
    pub name: String,
    /// Which metric is looked at.
    pub metric: String,
    /// How its value is.
    pub state: AlertState,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// Since when it is pending or fires.
    pub since: Option<SystemTime>,
    /// The last value; the worst of all series if they are good.
    pub value: Option<f64>,
    /// When it is bad.
    pub threshold: Threshold,
    /// Which series; empty if all are good.
    pub attributes: Attributes,
    /// What the settings say about it.
    pub summary: Option<String>,
}

/// Everything that reports tell of alerts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertsReport {
    /// In the order of the settings.
    pub alerts: Vec<AlertReport>,
    /// What became of them at the webhook.
    pub messages: Deliveries,
    /// Series that are not looked at, because an alert has too many.
    pub overlooked: u64,
    /// ResolvedAlert alerts that the webhook never took, because too many others came after them.
    pub dropped: u64,
}

/// A number for people: at most six digits that matter.
pub fn rounded(value: f64) -> String {
    if value == value.trunc() || value == 0.0 {
        return format!("{value}");
    }
    let digits = (5.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// An attribute's value as text.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Int(number) => Cow::Owned(number.to_string()),
    }
}
