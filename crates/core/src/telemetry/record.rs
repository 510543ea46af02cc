//! Events as records for OTLP.

use std::time::SystemTime;

use super::point::Attributes;

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of OpenTelemetry's log data model")]
pub enum Severity {
    Info,
    Warn,
    Error,
}

/// An event that is exported.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// The time of the event, by the wall clock.
    pub at: SystemTime,
    /// The severity, one of the three that the agent uses.
    pub severity: Severity,
    /// The name of the event, such as `otelet.config.applied`.
    pub event: &'static str,
    /// One line for people.
    pub body: String,
    /// The details, such as the hash of the config.
    pub attributes: Attributes,
}
