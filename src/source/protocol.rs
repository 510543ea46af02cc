//! A protocol makes requests and reads answers. Its only I/O is on its own small files.

use std::sync::Arc;
use std::time::Duration;

use crate::http::{HttpError, Identity, Request, Response};
use crate::settings::WayOut;
use crate::store::Validators;
use otelet_core::decide::Validator;
pub use otelet_core::decide::{Failure, FailureKind};
use otelet_wire::status::Status;

/// The facts that an exchange can report to the server, whatever the protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub status: Status,
    /// The text of the running config, without its secrets.
    pub effective_config: Option<Arc<str>>,
    /// The output of the collector's `components`, once it is known.
    pub components: Option<Arc<str>>,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub offer: Offer,
    pub orders: Orders,
}

/// The requests of a server beside a config.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Orders {
    /// Restart the collector.
    pub restart: bool,
    /// Use this instance uid, a hyphenated UUID.
    pub instance_uid: Option<String>,
    /// Use this time between polls; zero for the one of the settings.
    pub poll_every: Option<Duration>,
    /// Begin the next exchange at once.
    pub again: bool,
}

impl From<Offer> for Answer {
    fn from(offer: Offer) -> Self {
        Self { offer, orders: Orders::default() }
    }
}

/// The outcome of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub enum Offer {
    /// No change since the last offer.
    Unchanged,
    /// A config, byte for byte. It may be the same as before: only its hash tells.
    Config {
        /// Never larger than `config.max_size`, and never blank.
        body: Arc<[u8]>,
    },
    /// Only white space: there is no remote config. The collector keeps running.
    Empty,
}

impl Offer {
    /// The offer that a body is: empty if it is blank.
    pub fn of(body: Vec<u8>) -> Self {
        match body.trim_ascii().is_empty() {
            true => Self::Empty,
            false => Self::Config { body: body.into() },
        }
    }
}

/// A setting, or a file that it names, that cannot be used for a request.
pub(super) fn bad_setting(setting: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Settings, format!("{setting}: {why}"))
}

/// An unexpected status. `advice` begins with its separator, or is empty.
pub(super) fn bad_status(url: &str, status: u16, advice: &str, retry_after: Option<Duration>) -> Failure {
    let error = HttpError::Status { url: url.to_owned(), status };
    Failure { retry_after, ..Failure::new(error.kind(), format!("{error}{advice}")) }
}

/// One way to ask a server: it makes the request and reads the answer.
///
/// State that lasts from one exchange to the next (validators, sequence numbers, acknowledged parts) is inside, behind
/// a lock, because the exchange runs on a thread of its own. There is only one exchange at a time.
pub trait Protocol: Send + Sync {
    /// The request to send. If `conditional`, "unchanged" is a useful answer; else the body is needed.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when a file that goes into the request is missing or unusable.
    fn request(&self, report: &Report, conditional: bool) -> Result<Request, Failure>;

    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for every answer that has no config and does not say that there is none.
    fn offer(&self, response: Response) -> Result<Answer, Failure>;

    /// An answer that was received before and not applied. It is looked for before each exchange and takes its place.
    fn waiting(&self, _report: &Report, _conditional: bool) -> Option<Answer> {
        None
    }

    /// Whether this protocol has a last message.
    fn has_goodbye(&self) -> bool {
        false
    }

    /// The last message, at the end of the agent or before it changes to another source.
    fn goodbye(&self, _report: &Report) -> Option<Request> {
        None
    }

    /// The client certificate for the pending request, if it is not the one of the settings.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// The value of `Authorization` for a file beside the config.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the file of the token is missing or unusable.
    fn authorization(&self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    /// The settings that the pending request was made from.
    fn way_out(&self) -> WayOut;

    /// Notes that the pending request got no answer.
    fn unanswered(&self, _failure: &Failure) {}

    /// Whether the report should be sent now, before the next poll.
    fn has_news(&self, _report: &Report) -> bool {
        false
    }

    /// The kind of value by which the server can be asked for changes only.
    fn validator(&self) -> Validator {
        Validator::None
    }

    /// Makes the next answer bring the body.
    fn forget(&self) {}

    /// The validators to store beside the config of the last answer.
    fn validators(&self) -> Validators {
        Validators::default()
    }

    /// Restores stored validators.
    fn seed(&self, _validators: Validators) {}
}
