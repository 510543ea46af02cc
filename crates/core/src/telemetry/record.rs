//! Events as records for OTLP.

use std::time::SystemTime;

use super::point::Attributes;

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
pub struct EventRecord {
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
