//! The settings and the results of exports.

use std::time::Duration;

/// The settings of exports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportParams {
    /// Time between two exports.
    pub every: Duration,
    /// Whether exports go to the collector of this agent.
    pub to_collector: bool,
    /// Whether metrics are exported; events always are.
    pub metrics: bool,
}

/// The result of an export that was answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExportOutcome {
    /// The number of batches that were answered.
    pub sent: u64,
    /// Whether more is waiting.
    pub more: bool,
    /// The reason of a refusal. The refused part is lost.
    pub trouble: Option<String>,
}
