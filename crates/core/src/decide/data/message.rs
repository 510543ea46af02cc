//! The message about an alert that the webhook gets.

use std::time::SystemTime;

use super::alert::{Alert, rounded};

/// An alert as the webhook's receiver gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertMessage {
    /// The labels by which the receiver knows the alert.
    pub labels: Vec<(String, String)>,
    /// Texts for people, by name.
    pub annotations: Vec<(&'static str, String)>,
    /// The time at which it fired, by the receiver's clock.
    pub starts_at: SystemTime,
    /// The time at which it was resolved, or at which it ends unless it is repeated.
    pub ends_at: SystemTime,
}

impl AlertMessage {
    /// Describes this alert.
    pub fn new(alert: &Alert, ends_at: SystemTime) -> Self {
        let description = format!("{alert}, bad is {}", alert.threshold);
        Self {
            labels: alert.labels.clone(),
            annotations: vec![
                (
                    "summary",
                    alert.summary.clone().unwrap_or_else(|| format!("{} is {}", alert.metric, alert.threshold)),
                ),
                ("description", description),
                ("value", rounded(alert.value)),
                ("threshold", alert.threshold.to_string()),
            ],
            starts_at: alert.since,
            // If the clock of this host was set back, the end must not lie before the start: no receiver accepts that.
            ends_at: ends_at.max(alert.since),
        }
    }
}
