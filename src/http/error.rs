//! Why there is no answer, in words that name the URL and the way out.

use std::io;
use std::time::Duration;

use super::wire::{CUT, FLOOD, Misbehaved, Unresolved};
use super::{HttpSettings, tls};
use crate::decide::FailureKind;
use crate::units::{format_size, format_time};

/// Why there is no answer, or none that serves. URLs in it have neither query nor user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HttpError {
    /// A setting or a file that it names cannot be used.
    #[error("{what}: {why}")]
    Settings {
        /// The setting or the file.
        what: String,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// The host is not known.
    #[error("{url}: name {host} does not resolve: {why}")]
    Resolve {
        /// Where to.
        url: String,
        /// The server's name, or the proxy's.
        host: String,
        /// The system's words.
        why: String,
    },
    /// No connection.
    #[error("{url}: {why}")]
    Connect {
        /// Where to.
        url: String,
        /// The system's words, or the proxy's.
        why: String,
    },
    /// TLS did not come about.
    #[error("{url}: {why}")]
    Tls {
        /// Where to.
        url: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// The time is up.
    #[error("{url}: did not answer within {}", format_time(*limit))]
    Timeout {
        /// Where to.
        url: String,
        /// [`HttpSettings::timeout`].
        limit: Duration,
    },
    /// An answer, but not the one that was asked for. For those who judge a [`Response`](super::Response).
    #[error("{url}: answered {status}{advice}")]
    Status {
        /// Where to.
        url: String,
        /// Its status.
        status: u16,
        /// The way out, with its separator, or nothing.
        advice: &'static str,
    },
    /// A body larger than allowed.
    #[error("{url}: body is larger than config.max_size {}", format_size(*limit))]
    TooLarge {
        /// Where to.
        url: String,
        /// [`HttpSettings::max_size`].
        limit: u64,
    },
    /// A redirect that is not followed.
    #[error("{url}: {why}")]
    Redirect {
        /// Where to.
        url: String,
        /// Where it points and the way out.
        why: String,
    },
    /// What came is not an answer in HTTP.
    #[error("{url}: {why}")]
    Protocol {
        /// Where to.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl HttpError {
    /// What a failure by it is counted as.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Settings { .. } => FailureKind::Settings,
            Self::Resolve { .. } => FailureKind::Resolve,
            Self::Connect { .. } => FailureKind::Connect,
            Self::Tls { .. } => FailureKind::Tls,
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::Status { .. } => FailureKind::Status,
            Self::TooLarge { .. } => FailureKind::Size,
            Self::Redirect { .. } => FailureKind::Redirect,
            Self::Protocol { .. } => FailureKind::Protocol,
        }
    }

    /// What is wrong, for those who know already with what.
    pub(crate) fn why(self) -> String {
        match self {
            Self::Settings { why, .. } => why,
            other => other.to_string(),
        }
    }

    /// Judges an error of ureq's, for a check if it `looks`.
    pub(super) fn explain(error: ureq::Error, url: String, settings: &HttpSettings, looks: bool) -> Self {
        let protocol = |url, why: &dyn std::fmt::Display| Self::Protocol { url, why: why.to_string() };
        match error {
            ureq::Error::Timeout(_) => Self::Timeout { url, limit: settings.timeout },
            ureq::Error::Other(error) => match error.downcast::<Unresolved>() {
                Ok(unresolved) => Self::Resolve { url, host: unresolved.host, why: unresolved.why },
                Err(other) => protocol(url, &other),
            },
            ureq::Error::Io(error) => {
                let inner = error.get_ref();
                if let Some(tls) = inner.and_then(|e| e.downcast_ref()) {
                    Self::Tls { url, why: tls::explain(tls, settings, looks) }
                } else if let Some(Misbehaved(why)) = inner.and_then(|e| e.downcast_ref()) {
                    protocol(url, if looks && *why == FLOOD { &"sends far more than a check reads" } else { why })
                } else if error.kind() == io::ErrorKind::UnexpectedEof {
                    protocol(url, &CUT)
                } else {
                    Self::Connect { url, why: error.to_string() }
                }
            }
            ureq::Error::Rustls(error) => Self::Tls { url, why: tls::explain(&error, settings, looks) },
            ureq::Error::Tls(why) => Self::Tls { url, why: why.to_owned() },
            ureq::Error::ConnectProxyFailed(mut why) => {
                if why.contains("407") {
                    why += "; it wants a user and password: http://user:password@host:port";
                }
                Self::Connect { url, why }
            }
            ureq::Error::Protocol(error) => protocol(url, &format_args!("answer is not valid HTTP: {error}")),
            other => protocol(url, &other),
        }
    }
}
