//! The checks: how each is planned, and its results.

use std::time::{Duration, SystemTime};

/// A check, as far as decisions depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckPlan {
    /// Unlike that of any other check.
    pub name: String,
    /// Which kind it is.
    pub kind: CheckKind,
    /// Time between two checks.
    pub every: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// A hash of everything that the settings say of it: with another one it is another check.
    pub fingerprint: u64,
}

/// The kinds of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// A GET.
    Http,
    /// A connection.
    Tcp,
    /// A look-up of a name.
    Dns,
    /// A program.
    Exec,
}

impl CheckKind {
    /// The word of settings, status and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Dns => "dns",
            Self::Exec => "exec",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOutcome {
    /// Whether it is good, and what there is to say: with secrets taken out.
    pub result: Result<String, String>,
    /// How long it took.
    pub took: Duration,
}

/// A check as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    /// What it is called.
    pub name: String,
    /// Which kind it is.
    pub kind: CheckKind,
    /// What is known; nothing before the first result.
    pub last: Option<CheckResult>,
}

/// The last result of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckResult {
    /// Whether it was good.
    pub ok: bool,
    /// Since when it is as it is.
    pub since: SystemTime,
    /// When it came.
    pub at: SystemTime,
    /// How long the check took; not known of one that has not come back.
    pub took: Option<Duration>,
    /// What there is to say.
    pub message: String,
}
