//! The failure of something that was sent or asked: an exchange, a report, an export, a batch of alerts.

use std::time::Duration;

/// A failed attempt, as events carry it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The cause and the way out, without secrets.
    pub message: String,
    /// The cause by which it is counted.
    pub kind: FailureKind,
    /// The time for which the server asked to be left alone; at most a day.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a wish of the server.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind, retry_after: None }
    }
}

/// The facts of a failed exchange besides its message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceTrouble {
    /// The cause by which it is counted. Without one no source has failed: one answered with nothing, or none could be
    /// asked.
    pub kind: Option<FailureKind>,
    /// The location of the source that serves.
    pub location: Option<String>,
}

/// The cause of a failure. `otelet.exchange.failures` counts by these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A setting, or a file that it names, is unusable.
    Settings,
    /// The name of the host cannot be resolved.
    Resolve,
    /// No connection was made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// No answer came in time.
    Timeout,
    /// The status of the answer is an error.
    Status,
    /// The body is too large.
    Size,
    /// The server redirects to a place that is not followed.
    Redirect,
    /// The answer breaks the rules of its protocol.
    Protocol,
    /// The config has no valid signature.
    Signature,
    /// The config is refused, or something else came in its place.
    Config,
    /// The file does not exist.
    Missing,
    /// The file cannot be read.
    Read,
    /// The host gave the agent no thread for the attempt.
    Thread,
}

impl FailureKind {
    /// Whether something answered that was asked for a config.
    pub fn answered(self) -> bool {
        match self {
            Self::Status | Self::Size | Self::Redirect | Self::Protocol | Self::Signature | Self::Config => true,
            Self::Settings
            | Self::Resolve
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::Missing
            | Self::Read
            | Self::Thread => false,
        }
    }

    /// The word by which it is counted.
    pub fn word(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Size => "size",
            Self::Redirect => "redirect",
            Self::Protocol => "protocol",
            Self::Signature => "signature",
            Self::Config => "config",
            Self::Missing => "missing",
            Self::Read => "read",
            Self::Thread => "thread",
        }
    }
}
