//! The settings and the results of exports.

use std::time::Duration;

/// What the settings say of exports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportParams {
    /// Time between two of them.
    pub every: Duration,
    /// Whether they go to the collector that is looked after.
    pub to_collector: bool,
    /// Whether metrics are among them: events always are.
    pub metrics: bool,
}

/// What an export brought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExportOutcome {
    /// Batches that were answered.
    pub sent: u64,
    /// Whether there is more to be sent.
    pub more: bool,
    /// What the other side would not have, and why. It is lost.
    pub trouble: Option<String>,
}
