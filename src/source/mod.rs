//! Where configurations come from: one exchange with a file or a server, and what came of it.
//!
//! A [`Protocol`] makes requests and reads answers, and does no I/O of its own beyond its small files; [`Source`] sends.

pub mod file;
pub mod url;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::{Client, HttpError, HttpSettings, Request, Response, Traffic, parse_url, public};
use crate::settings::{ConfigSettings, Location};
use crate::status::Status;

/// What an exchange tells the server, whatever the protocol: all that is known, computed when it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The agent, its collector, its configs, its host.
    pub status: Status,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The config, if there is one.
    pub offer: Offer,
}

impl From<Offer> for Answer {
    fn from(offer: Offer) -> Self {
        Self { offer }
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
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What happened and the way out, without secrets.
    pub message: String,
    /// A word for counting: `settings`, `resolve`, `connect`, `tls`, `timeout`, `status`, `size`, `redirect`, `protocol`,
    /// and of files `missing` and `read`.
    pub kind: &'static str,
    /// How long the server wants to be left alone; at most a day.
    pub retry_after: Option<Duration>,
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self { message: error.to_string(), kind: error.kind(), retry_after: None }
    }
}

/// What an HTTP server answers with when it has the same config as before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// The `ETag` header as it came, at most [`MAX_VALIDATOR`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The `Last-Modified` header as it came, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// The longest validator that is kept, in bytes: it is sent with every poll.
pub const MAX_VALIDATOR: usize = 1024;

impl Validators {
    /// The same without those that cannot or should not be sent.
    pub fn bounded(mut self) -> Self {
        let fits =
            |value: &String| value.len() <= MAX_VALIDATOR && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        self.etag = self.etag.filter(fits);
        self.last_modified = self.last_modified.filter(fits);
        self
    }
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

    /// What to remember for the next start, when the config of the last answer is kept as well.
    fn validators(&self) -> Validators {
        Validators::default()
    }

    /// Takes up what was remembered.
    fn seed(&self, _validators: Validators) {}
}

/// The source that the settings name.
pub struct Source {
    kind: Kind,
}

enum Kind {
    File(file::Config),
    Server {
        client: Box<Client>,
        protocol: Box<dyn Protocol>,
        /// The URL as it may be printed.
        shown: String,
    },
}

impl Source {
    /// Makes the source without asking it: files and servers may come up later than the agent.
    ///
    /// # Errors
    ///
    /// [`HttpError::Settings`] when `config.url` is missing, or when a URL, header or proxy can never work.
    pub fn new(settings: &ConfigSettings) -> Result<Self, HttpError> {
        let kind = match &settings.url {
            None => {
                return Err(HttpError::Settings {
                    what: "config.url".into(),
                    why: "not set; give a path or an http:// or https:// URL".into(),
                });
            }
            Some(Location::File(path)) => Kind::File(file::Config::new(path.clone(), settings.max_size)),
            Some(Location::Url(url)) => {
                let headers = settings.headers.iter();
                let headers = headers.map(|(name, value)| (name.clone(), value.expose().to_owned()));
                Kind::Server {
                    client: Box::new(Client::new(&http_settings(settings))?),
                    shown: public(&parse_url(url)?),
                    protocol: Box::new(url::Get::new(url, headers.collect(), settings.bearer_token_file.clone())?),
                }
            }
        };
        Ok(Self { kind })
    }

    /// Asks once. It blocks for up to `config.timeout`, and longer while the system's resolver hangs, so it is called on
    /// a thread of its own; 256 KiB of stack are enough.
    ///
    /// # Errors
    ///
    /// A [`Failure`]; none of them ends the source.
    pub fn exchange(&self, report: &Report, conditional: bool) -> Result<Answer, Failure> {
        match &self.kind {
            Kind::File(file) => Ok(file.read(conditional)?.into()),
            Kind::Server { client, protocol, .. } => {
                protocol.offer(client.send(&protocol.request(report, conditional)?)?)
            }
        }
    }

    /// The path to watch instead of polling it, as the settings name it: it may be a link, or not exist yet.
    pub fn watch_path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(file) => Some(file.path()),
            Kind::Server { .. } => None,
        }
    }

    /// Where it is, without secrets.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::File(file) => file.path().display().to_string(),
            Kind::Server { shown, .. } => shown.clone(),
        }
    }

    /// Bytes on the wire since the source was made, those of failed exchanges included.
    pub fn traffic(&self) -> Traffic {
        match &self.kind {
            Kind::File(_) => Traffic::default(),
            Kind::Server { client, .. } => client.traffic(),
        }
    }

    /// What to remember beside the config that the last exchange brought.
    pub fn validators(&self) -> Validators {
        match &self.kind {
            Kind::File(_) => Validators::default(),
            Kind::Server { protocol, .. } => protocol.validators(),
        }
    }

    /// Takes up what [`validators`](Self::validators) gave for the same URL, before the first exchange.
    pub fn seed(&self, validators: Validators) {
        if let Kind::Server { protocol, .. } = &self.kind {
            protocol.seed(validators);
        }
    }
}

fn http_settings(settings: &ConfigSettings) -> HttpSettings {
    let exposed = |secret: &Option<crate::settings::Secret>| {
        let secret = secret.as_ref()?;
        Some(secret.expose().to_owned())
    };
    HttpSettings {
        timeout: settings.timeout,
        max_size: settings.max_size,
        ca_file: settings.ca_file.clone(),
        client_cert_file: settings.client_cert_file.clone(),
        client_key_file: settings.client_key_file.clone(),
        http_proxy: exposed(&settings.http_proxy),
        https_proxy: exposed(&settings.https_proxy),
        no_proxy: settings.no_proxy.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_body_is_no_config() {
        assert_eq!(Offer::of(Vec::new()), Offer::Empty);
        assert_eq!(Offer::of(b" \n\t\r\n".to_vec()), Offer::Empty);
        let Offer::Config { body } = Offer::of(b" a: 1\n".to_vec()) else {
            panic!("a body that is not blank is a config");
        };
        assert_eq!(&body[..], b" a: 1\n", "handed on byte for byte");
    }

    #[test]
    fn validators_that_are_too_long_or_cannot_be_sent_are_not_kept() {
        let longest = "x".repeat(MAX_VALIDATOR);
        let kept = |etag: &str| {
            let etag = Some(etag.to_owned());
            let validators = Validators { etag, last_modified: None };
            validators.bounded().etag.is_some()
        };
        assert!(kept(&longest));
        assert!(!kept(&format!("{longest}x")));
        assert!(!kept("a\r\nInjected: header"));
        assert!(!kept("\u{e9}"));
    }

    #[test]
    fn validators_survive_the_way_to_the_disk() {
        let validators = Validators { etag: Some("W/\"7f3a\"".into()), last_modified: None };
        let json = serde_json::to_string(&validators).unwrap();
        assert_eq!(json, r#"{"etag":"W/\"7f3a\""}"#);
        assert_eq!(serde_json::from_str::<Validators>(&json).unwrap(), validators);
    }
}
