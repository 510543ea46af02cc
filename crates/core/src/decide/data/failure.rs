//! Why something that was sent or asked did not come about: an exchange, a report, an export, a batch of alerts.

use std::time::Duration;

/// An attempt that failed, as the events of the core carry it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What happened and the way out, without secrets.
    pub message: String,
    /// What it is counted as.
    pub kind: FailureKind,
    /// How long the server wants to be left alone; at most a day.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure after which nobody asked to be left alone.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind, retry_after: None }
    }
}

/// A failure by its cause. `otelet.exchange.failures` counts by these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A setting, or a file that it names, cannot be used.
    Settings,
    /// The name of the host is not known.
    Resolve,
    /// No connection.
    Connect,
    /// TLS did not come about.
    Tls,
    /// No answer in time.
    Timeout,
    /// An answer with a status that does not serve.
    Status,
    /// A body that is too large.
    Size,
    /// A redirect that is not followed.
    Redirect,
    /// An answer that breaks the rules of its protocol.
    Protocol,
    /// A config without a good signature.
    Signature,
    /// A file that is not there.
    Missing,
    /// A file that cannot be read.
    Read,
    /// The host gave the agent no thread to try it on.
    Thread,
}

impl FailureKind {
    /// The word that is counted.
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
            Self::Missing => "missing",
            Self::Read => "read",
            Self::Thread => "thread",
        }
    }
}
