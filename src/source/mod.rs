//! Where configurations come from: one exchange with a file or a server, and its outcome.
//!
//! A [`Protocol`] makes requests and reads answers. [`Source`] sends them.

pub mod builtin;
pub mod file;
pub mod inbox;
pub mod kloudmate;
pub mod opamp;
mod origin;
mod protocol;
pub mod url;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use origin::{Kind, Origin, signature_path};
pub use protocol::{Answer, Failure, FailureKind, Offer, Orders, Protocol, Report};
use protocol::{bad_setting, bad_status};

use crate::http::{Traffic, parse_url, public};
use crate::os;
use crate::settings::{ConfigSettings, Location, ProtocolName, WayOut};
use crate::store::NewestSignature;
pub use crate::store::{MAX_VALIDATOR, SourceMemory, Validators};
use otelet_config::signature::AcceptedSignature;
use otelet_core::decide::{Freshness, Validator};

/// The way out for the servers that `config.fallback` lists.
pub const FALLBACK: WayOut = WayOut {
    url: "its entry in config.fallback",
    headers: "config.fallback_headers",
    credentials: &["config.fallback_headers"],
    ..WayOut::CONFIG
};

/// The sources that the settings name, in their order. The core decides which of them is asked.
pub struct Source {
    origins: Vec<Origin>,
    /// The time, if this host's clock is known to be right.
    clock: fn() -> Option<SystemTime>,
    /// Locked during an exchange.
    asking: Mutex<()>,
    /// The newest signed config that was accepted from any source.
    newest: Mutex<Option<AcceptedSignature>>,
}

impl Source {
    /// Makes the source without asking it: files and servers may come up later than the agent.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if `config.protocol` needs a `config.url` and there is none, or if a URL, header, key or proxy can
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
            // A fallback is always a plain file or URL, whatever the protocol.
            origins.push(Origin::new(location, ProtocolName::Get, settings, state_dir, FALLBACK)?);
        }
        Ok(Self { origins, clock: os::right_time, asking: Mutex::default(), newest: Mutex::default() })
    }

    /// Asks one source once. It blocks for up to `config.timeout`, and longer while the resolver of Windows hangs. So it
    /// is called on a thread of its own; 256 KiB of stack are enough.
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

    /// Sends the last message to the server, if its protocol has one. It blocks like [`exchange`](Self::exchange), and
    /// waits for a running exchange first, so that no message follows the last one.
    pub fn goodbye(&self, report: &Report) {
        if let Kind::Server { client, protocol, .. } = &self.origins[0].kind
            && protocol.has_goodbye()
            && let Ok(_asking) = self.asking.lock()
            && let Some(request) = protocol.goodbye(report)
            && let Err(error) = client.send_as(&request, protocol.identity().as_ref())
        {
            log::debug!("last message: {error}");
        }
    }

    /// Whether the report should be sent now, before the next poll.
    pub fn has_news(&self, report: &Report) -> bool {
        matches!(&self.origins[0].kind, Kind::Server { protocol, .. } if protocol.has_news(report))
    }

    /// The files to watch, as the settings name them: they may be links, or not exist yet.
    pub fn watch_paths(&self) -> Vec<PathBuf> {
        let files = self.origins.iter().filter_map(|origin| match &origin.kind {
            Kind::File(file) if origin.key.is_some() => Some(vec![file.path().into(), signature_path(file.path())]),
            Kind::File(file) => Some(vec![file.path().into()]),
            Kind::BuiltIn(_) | Kind::Server { .. } => None,
        });
        files.flatten().collect()
    }

    /// The location of the first source, without secrets.
    pub fn describe(&self) -> String {
        self.origins[0].describe()
    }

    /// Bytes on the wire since the source was made, including failed exchanges.
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

    /// The kind of value by which this source can be asked for changes only.
    pub fn validator(&self, index: usize) -> Validator {
        self.origins[index].validator()
    }

    /// The facts to store beside the config of the last exchange with this source.
    pub fn memory(&self, index: usize) -> SourceMemory {
        let origin = &self.origins[index];
        let validators = match &origin.kind {
            Kind::BuiltIn(_) | Kind::File(_) => Validators::default(),
            Kind::Server { protocol, .. } => protocol.validators(),
        };
        SourceMemory { location: origin.describe(), validators, signed: self.newest().map(NewestSignature::from) }
    }

    /// Forgets when the newest accepted config was signed, so that an older one is accepted. Only a person asks for
    /// this.
    pub fn forget_signed(&self) {
        *self.newest() = None;
    }

    /// Restores the facts of [`memory`](Self::memory), before the first exchange.
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

/// The locations of the sources of these settings, in order and without secrets, as in [`SourceMemory`].
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
        // A location that is no URL is never asked.
        Location::Url(url) => parse_url(url).map(|url| public(&url)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
