//! Where configurations come from: one exchange with a file or a server, and what came of it.
//!
//! A [`Protocol`] makes requests and reads answers, and does no I/O of its own beyond its small files; [`Source`] sends.

pub mod builtin;
pub mod file;
pub mod inbox;
pub mod kloudmate;
pub mod opamp;
mod origin;
pub mod url;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use origin::{Kind, Origin, signature_path};

use crate::http::{HttpError, Identity, Request, Response, Traffic, parse_url, public};
use crate::os;
use crate::settings::{ConfigSettings, Location, ProtocolName, WayOut};
use crate::store::NewestSignature;
pub use crate::store::{MAX_VALIDATOR, SourceMemory, Validators};
use otelet_config::signature::AcceptedSignature;
use otelet_core::decide::Freshness;
use otelet_wire::status::Status;

/// For the servers that `config.fallback` lists.
const FALLBACK: WayOut = WayOut { url: "its entry in config.fallback", ..WayOut::CONFIG };

/// What an exchange tells the server, whatever the protocol: all that is known, computed when it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The agent, its collector, its configs, its host.
    pub status: Status,
    /// The text of the config that runs, without its secrets.
    pub effective_config: Option<Arc<str>>,
    /// What the collector's `components` prints, once it is known.
    pub components: Option<Arc<str>>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The config, if there is one.
    pub offer: Offer,
    /// What the server wants beside it.
    pub orders: Orders,
}

/// What a server wants beside a config.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Orders {
    /// The collector started anew.
    pub restart: bool,
    /// Another instance uid for the agent, as a hyphenated UUID.
    pub instance_uid: Option<String>,
    /// Another time between polls; zero gives the settings their say again.
    pub poll_every: Option<Duration>,
    /// To be told everything again, at once.
    pub again: bool,
}

impl From<Offer> for Answer {
    fn from(offer: Offer) -> Self {
        Self { offer, orders: Orders::default() }
    }
}

/// What an exchange brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Offer {
    /// Nothing since the last one.
    Unchanged,
    /// A config, byte for byte; it may be the same as before, since only its hash tells.
    Config {
        /// Never larger than `config.max_size`, and never blank.
        body: Arc<[u8]>,
    },
    /// Nothing but white space: there is no remote config, which is no reason to stop anything.
    Empty,
}

impl Offer {
    /// Judges a body that came.
    pub fn of(body: Vec<u8>) -> Self {
        match body.trim_ascii().is_empty() {
            true => Self::Empty,
            false => Self::Config { body: body.into() },
        }
    }
}

/// Why an exchange brought nothing.
pub use otelet_core::decide::{Failure, FailureKind};

/// A setting, or a file that it names, with which no request can be made.
fn bad_setting(setting: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Settings, format!("{setting}: {why}"))
}

/// A status that was not asked for; `advice` comes with its separator, or is empty.
fn bad_status(url: &str, status: u16, advice: &str, retry_after: Option<Duration>) -> Failure {
    let error = HttpError::Status { url: url.to_owned(), status };
    Failure { retry_after, ..Failure::new(error.kind(), format!("{error}{advice}")) }
}

/// One way to ask a server: what to send, and what its answer means.
///
/// State that lasts from one exchange to the next (validators, sequence numbers, what the server has seen) lives
/// inside, behind a lock: the exchange runs on a thread of its own. There is never more than one at a time.
pub trait Protocol: Send + Sync {
    /// What to send. `conditional` says whether "unchanged" is an answer that serves.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when a file that goes into the request is missing or unusable.
    fn request(&self, report: &Report, conditional: bool) -> Result<Request, Failure>;

    /// What an answer means.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for every answer that brings neither a config nor the news that there is none.
    fn offer(&self, response: Response) -> Result<Answer, Failure>;

    /// An offer that needs no asking: what was received before and has come to nothing. Asked before each exchange, which
    /// then does not take place.
    fn waiting(&self, _report: &Report, _conditional: bool) -> Option<Answer> {
        None
    }

    /// Whether there is a last message.
    fn takes_leave(&self) -> bool {
        false
    }

    /// The last message, at the end of the agent or before it turns to another source.
    fn goodbye(&self, _report: &Report) -> Option<Request> {
        None
    }

    /// The client certificate to show for the request that is out, instead of that of the settings.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// The settings that a request is made from: for the one that is out.
    fn way_out(&self) -> WayOut;

    /// The request that is out has got no answer.
    fn unanswered(&self, _failure: &Failure) {}

    /// Whether the server should hear of this report now and not with the next poll.
    fn has_news(&self, _report: &Report) -> bool {
        false
    }

    /// What to remember for the next start, when the config of the last answer is kept as well.
    fn validators(&self) -> Validators {
        Validators::default()
    }

    /// Takes up what was remembered.
    fn seed(&self, _validators: Validators) {}
}

/// The sources that the settings name, in their order. The core decides which of them is asked.
pub struct Source {
    origins: Vec<Origin>,
    /// The time, where this host's clock is known to be right.
    clock: fn() -> Option<SystemTime>,
    /// Held while an exchange is out.
    asking: Mutex<()>,
    /// The newest signed config that was accepted, from whomever.
    newest: Mutex<Option<AcceptedSignature>>,
}

impl Source {
    /// Makes the source without asking it: files and servers may come up later than the agent.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when a protocol is to be spoken and there is no `config.url`, or when a URL, header, key or proxy can
    /// never work.
    pub fn new(settings: &ConfigSettings, state_dir: &Path) -> Result<Self, Failure> {
        let first = match (&settings.url, settings.protocol) {
            (Some(first), protocol) => Origin::new(first, protocol, settings, state_dir, WayOut::CONFIG)?,
            (None, ProtocolName::Get) => {
                Origin { kind: Kind::BuiltIn(builtin::BuiltIn::of(settings.environment)), key: None }
            }
            (None, ProtocolName::KloudMate | ProtocolName::OpAmp) => {
                return Err(bad_setting("config.url", "not set; give a path or an http:// or https:// URL"));
            }
        };
        let mut origins = vec![first];
        for location in &settings.fallback {
            // What stands in for a server of any protocol is a plain file or URL.
            origins.push(Origin::new(location, ProtocolName::Get, settings, state_dir, FALLBACK)?);
        }
        Ok(Self { origins, clock: os::right_time, asking: Mutex::default(), newest: Mutex::default() })
    }

    /// Asks one of them once. It blocks for up to `config.timeout`, and longer while the system's resolver hangs, so it is
    /// called on a thread of its own; 256 KiB of stack are enough.
    ///
    /// # Errors
    ///
    /// A [`Failure`]; none of them ends the source.
    pub fn exchange(&self, index: usize, report: &Report, conditional: bool) -> Result<(Answer, Freshness), Failure> {
        let _asking = self.asking.lock();
        let origin = &self.origins[index];
        let (answer, freshness) = origin.exchange(report, conditional)?;
        let newest = *self.newest();
        if let Some(accepted) = origin.verify(&answer, newest, (self.clock)())? {
            *self.newest() = Some(accepted);
        }
        Ok((answer, freshness))
    }

    /// Says goodbye to the server, if its protocol does that. It blocks like [`exchange`](Self::exchange), and until one
    /// that is out has ended: the last message is the last.
    pub fn goodbye(&self, report: &Report) {
        if let Kind::Server { client, protocol, .. } = &self.origins[0].kind
            && protocol.takes_leave()
            && let Ok(_asking) = self.asking.lock()
            && let Some(request) = protocol.goodbye(report)
            && let Err(error) = client.send_as(&request, protocol.identity().as_ref())
        {
            log::debug!("last message: {error}");
        }
    }

    /// Whether the server should hear of this report now and not with the next poll.
    pub fn has_news(&self, report: &Report) -> bool {
        matches!(&self.origins[0].kind, Kind::Server { protocol, .. } if protocol.has_news(report))
    }

    /// The paths to watch instead of polling them, as the settings name them: they may be links, or not exist yet.
    pub fn watch_paths(&self) -> Vec<PathBuf> {
        let files = self.origins.iter().filter_map(|origin| match &origin.kind {
            Kind::File(file) if origin.key.is_some() => Some(vec![file.path().into(), signature_path(file.path())]),
            Kind::File(file) => Some(vec![file.path().into()]),
            Kind::BuiltIn(_) | Kind::Server { .. } => None,
        });
        files.flatten().collect()
    }

    /// Where configs should come from, without secrets.
    pub fn describe(&self) -> String {
        self.origins[0].describe()
    }

    /// Bytes on the wire since the source was made, those of failed exchanges included.
    pub fn traffic(&self) -> Traffic {
        let all = self.origins.iter().map(|origin| match &origin.kind {
            Kind::BuiltIn(_) | Kind::File(_) => Traffic::default(),
            Kind::Server { client, .. } => client.traffic(),
        });
        all.fold(Traffic::default(), |sum, one| Traffic {
            sent: sum.sent + one.sent,
            received: sum.received + one.received,
        })
    }

    /// What to remember beside the config that the last exchange with this one brought.
    pub fn memory(&self, index: usize) -> SourceMemory {
        let origin = &self.origins[index];
        let validators = match &origin.kind {
            Kind::BuiltIn(_) | Kind::File(_) => Validators::default(),
            Kind::Server { protocol, .. } => protocol.validators(),
        };
        SourceMemory { location: origin.describe(), validators, signed: self.newest().map(NewestSignature::from) }
    }

    /// Forgets when the newest accepted config was signed, so that an older one is accepted: a person wants it so.
    pub fn forget_signed(&self) {
        *self.newest() = None;
    }

    /// Takes up what [`memory`](Self::memory) gave, before the first exchange.
    pub fn remember(&self, memory: &SourceMemory) {
        *self.newest() = memory.signed.as_ref().and_then(NewestSignature::accepted);
        let of_memory = self.origins.iter().find(|origin| origin.describe() == memory.location);
        if let Some(Kind::Server { protocol, .. }) = of_memory.map(|origin| &origin.kind) {
            protocol.seed(memory.validators.clone());
        }
    }

    fn newest(&self) -> MutexGuard<'_, Option<AcceptedSignature>> {
        self.newest.lock().expect("no panic while it is held")
    }
}

/// Where the sources of these settings are, in order and without secrets, as [`SourceMemory`] and people know them.
pub fn locations(settings: &ConfigSettings) -> Vec<String> {
    let first = match &settings.url {
        Some(first) => location(first),
        None => builtin::BuiltIn::of(settings.environment).describe(),
    };
    std::iter::once(first).chain(settings.fallback.iter().map(location)).collect()
}

fn location(location: &Location) -> String {
    match location {
        Location::File(path) => path.display().to_string(),
        // One that is no URL is never asked.
        Location::Url(url) => parse_url(url).map(|url| public(&url)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
