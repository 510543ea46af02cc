//! An alert as a receiver of the webhook is told of it.

use std::time::SystemTime;

use super::alert::{Alert, rounded};

/// An alert as a receiver is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertMessage {
    /// What it is known by.
    pub labels: Vec<(String, String)>,
    /// What is said about it.
    pub annotations: Vec<(&'static str, String)>,
    /// When it fired, by the receiver's clock.
    pub starts_at: SystemTime,
    /// When it was resolved, or will be if it is not repeated.
    pub ends_at: SystemTime,
}

impl AlertMessage {
    /// Of this alert.
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
            // A clock that was put back must not make it end before it starts: nobody would take that.
            ends_at: ends_at.max(alert.since),
        }
    }
}
