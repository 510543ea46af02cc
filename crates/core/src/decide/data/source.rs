//! The answers of config sources.

use std::time::SystemTime;

use super::failure::Failure;
use super::hash::ConfigHash;

/// The age of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The source was asked and answered now.
    Fresh,
    /// The answer came in an earlier exchange; the source was not asked again.
    Cached,
}

/// The value by which a source can be asked for changes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Validator {
    /// It knows by itself what the agent has, or has answered nothing yet.
    #[default]
    None,
    /// A time of change. A server may call anything older unchanged, such as a file that was put back.
    Date,
    /// A tag of the content.
    Tag,
}

/// The end of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub enum ExchangeOutcome {
    /// The config has not changed.
    Unchanged,
    /// The body is empty, which is never a reason to stop a collector.
    Empty,
    /// A config that passed the agent's own checks.
    Offered(ConfigHash),
    /// A body that fails the agent's own checks. The collector is not asked about it.
    Malformed {
        /// The hash of the body.
        hash: ConfigHash,
        /// The fault.
        reason: String,
        /// Whether it is something else than a config with a mistake, such as the page of a login.
        foreign: bool,
    },
    /// The source was replaced by new settings while it was asked.
    Replaced,
    /// No usable answer came.
    Failed(Failure),
    /// The exchange could not begin, which says nothing about the source.
    NotAsked(Failure),
}

/// The exchanges since the start of the agent, by outcome.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exchanges {
    /// The number of bodies received.
    pub offered: u64,
    /// The number of answers "unchanged".
    pub unchanged: u64,
    /// The number of failures and empty bodies.
    pub failed: u64,
    /// The reason of the last failure; none after a success.
    pub last_error: Option<String>,
    /// The time of the last success, by the wall clock.
    pub last_success: Option<SystemTime>,
}

/// The source that serves: the one that brought a usable config last.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveSource {
    /// The location without secrets.
    pub location: String,
    /// The reason why the first source does not serve, if this is another one.
    pub trouble: Option<String>,
}
