//! The checks: how each is planned, and its results.

use std::time::{Duration, SystemTime};

/// The plan of a check: the part of its settings that decisions depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckPlan {
    /// The name of the check; no other one has it.
    pub name: String,
    /// The kind, for status and metrics.
    pub kind: CheckKind,
    /// Time between the starts of two checks.
    pub every: Duration,
    /// The limit of one check. A longer one has failed.
    pub timeout: Duration,
    /// A hash of all settings of the check. Another hash means another check.
    pub fingerprint: u64,
}

/// The kinds of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// Sends a GET request.
    Http,
    /// Opens a TCP connection.
    Tcp,
    /// Looks up a name.
    Dns,
    /// Runs a program.
    Exec,
    /// Asks a Docker engine about a container.
    Docker,
}

impl CheckKind {
    /// The word of settings, status and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Dns => "dns",
            Self::Exec => "exec",
            Self::Docker => "docker",
        }
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOutcome {
    /// Good or bad, with a message that has its secrets removed.
    pub result: Result<String, String>,
    /// The duration of the check.
    pub took: Duration,
}

/// The report on a check, for status and the plain report.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// The name of the check.
    pub name: String,
    /// The kind of the check.
    pub kind: CheckKind,
    /// The last result; none before the first one.
    pub last: Option<CheckResult>,
}

/// The last result of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckResult {
    /// Whether the check was good.
    pub ok: bool,
    /// The time since which it has been good, or bad.
    pub since: SystemTime,
    /// The time of this result.
    pub at: SystemTime,
    /// The duration; unknown for a check that has not returned.
    pub took: Option<Duration>,
    /// The message of the outcome.
    pub message: String,
}
