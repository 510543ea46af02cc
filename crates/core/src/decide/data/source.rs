//! The answers of config sources.

use std::time::SystemTime;

use super::failure::Failure;
use super::hash::ConfigHash;

/// When an answer was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// In this exchange.
    Fresh,
    /// In an earlier one: nobody was asked.
    Cached,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq)]
pub enum ExchangeOutcome {
    /// Nothing new.
    Unchanged,
    /// An empty body, which is never a reason to stop anything.
    Empty,
    /// A config that passed the agent's own checks.
    Offered(ConfigHash),
    /// A body that the collector need not even be shown.
    Malformed {
        /// Its hash.
        hash: ConfigHash,
        /// What is wrong with it.
        reason: String,
    },
    /// Of a source that was replaced while it was asked: no news of the new one.
    Replaced,
    /// No answer that serves.
    Failed(Failure),
    /// It could not even begin, which says nothing of the source.
    NotAsked(Failure),
}

/// Exchanges so far, by what came of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exchanges {
    /// A body came.
    pub offered: u64,
    /// Nothing new.
    pub unchanged: u64,
    /// No answer that serves, or an empty body.
    pub failed: u64,
    /// Why the last one failed; none once one has succeeded.
    pub last_error: Option<String>,
    /// When the last good answer came.
    pub last_success: Option<SystemTime>,
}

/// The source that answered last.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveSource {
    /// Where it is, without secrets.
    pub location: String,
    /// Why the first does not serve, if this is another one.
    pub trouble: Option<String>,
}
