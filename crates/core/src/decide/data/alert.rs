//! What the settings say of alerts.

use std::time::Duration;

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
