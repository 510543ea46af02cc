//! Metrics and events by OTLP/HTTP in protobuf: kept in a bounded buffer, sent in batches, each thing once as far as can be known.
//!
//! The rooms: `batch` writes requests, `buffer` keeps what was not taken yet, `own` says what
//! the agent tells of itself.

mod batch;
mod buffer;
pub mod own;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message as _;

pub use batch::{Teller, record};
pub use buffer::{Buffer, Outcome, Signal};

use super::destination::Destination;
use crate::http::{HttpError, HttpSettings, Response};
use crate::settings::{ExportTo, Settings, Target, WayOut};
use otelet_core::decide::{ExportOutcome, Failure};

/// How long the collector may take to answer, as OTLP's exporters have it.
const COLLECTOR_LIMIT: Duration = Duration::from_secs(10);

/// The most of an answer that is read from the collector, in bytes: it says no more than what it rejected.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// The settings that exports to a URL are sent by.
const BY_URL: WayOut = WayOut {
    url: "export.to",
    target: Target::Without(&["/v1/metrics", "/v1/logs"]),
    headers: "export.headers",
    credentials: &["export.headers"],
    wants_body: false,
    ..WayOut::CONFIG
};

/// The same to the collector: where it listens is read out of its config.
const BY_COLLECTOR: WayOut =
    WayOut { url: "the otlp receiver in the collector's config", target: Target::Elsewhere, max_size: None, ..BY_URL };

/// Where the two signals go; none where there is nobody for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// A URL.
    pub metrics: Option<String>,
    /// A URL.
    pub logs: Option<String>,
}

impl Targets {
    /// Below an endpoint that has no slash at its end.
    pub fn below(endpoint: &str) -> Self {
        Self { metrics: Some(format!("{endpoint}/v1/metrics")), logs: Some(format!("{endpoint}/v1/logs")) }
    }
}

/// Sends what is kept.
pub struct Exporter {
    destination: Destination,
    teller: Teller,
    /// Whether it was said that an answer was too large to be read.
    said_too_large: AtomicBool,
}

impl Exporter {
    /// Makes it without asking anybody. None if nothing is to be exported.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the URL, a header or a proxy can never work.
    pub fn new(settings: &Settings, resource: &[(String, String)]) -> Result<Option<Self>, Failure> {
        let (http, way_out) = match &settings.export.to {
            None => return Ok(None),
            Some(ExportTo::Url(_)) => (settings.config.http(), BY_URL),
            // It is here: no proxy, and no certificate, is needed on the way.
            Some(ExportTo::Collector) => (
                HttpSettings {
                    timeout: COLLECTOR_LIMIT,
                    max_size: ANSWER_LIMIT,
                    ca_file: None,
                    client_cert_file: None,
                    client_key_file: None,
                    http_proxy: None,
                    https_proxy: None,
                    no_proxy: String::new(),
                },
                BY_COLLECTOR,
            ),
        };
        let destination = Destination::new(&http, "application/x-protobuf", &settings.export.headers, way_out)?;
        if let Some(ExportTo::Url(url)) = &settings.export.to {
            destination.check(url)?;
        }
        Ok(Some(Self { destination, teller: Teller::new(resource), said_too_large: AtomicBool::new(false) }))
    }

    /// Sends one batch of records and one of points, and blocks meanwhile: it is called on a thread of its own.
    ///
    /// # Errors
    ///
    /// Why one of them was not taken, and how long the other side wants to be left alone. It stays kept.
    pub fn export(&self, buffer: &Mutex<Buffer>, targets: &Targets) -> Result<ExportOutcome, Failure> {
        let lock = || buffer.lock().expect("nobody panics who holds it");
        let (mut delivered, mut failed) = (ExportOutcome::default(), None);
        for (signal, target) in [(Signal::Logs, &targets.logs), (Signal::Metrics, &targets.metrics)] {
            let Some(url) = target else {
                lock().discard(signal);
                continue;
            };
            let Some(batch) = lock().batch(signal, &self.teller) else { continue };
            let things = batch.things;
            let judged = match self.destination.post(url, batch.body) {
                Ok(response) => self.judge(signal, url, &response),
                Err(error @ HttpError::TooLarge { .. }) => {
                    // Only the body of a success is read at all: the batch was taken, and would be doubled by another try.
                    if !self.said_too_large.swap(true, Ordering::Relaxed) {
                        let message = self.destination.failure(&error).message;
                        log::warn!("export taken, but whether part of it was rejected is not known: {message}");
                    }
                    Ok((Outcome::Taken { rejected: 0 }, None))
                }
                Err(error) => {
                    lock().settle(signal, things, Outcome::Kept);
                    return Err(self.destination.failure(&error));
                }
            };
            match judged {
                Ok((outcome, trouble)) => {
                    lock().settle(signal, things, outcome);
                    delivered.sent += 1;
                    delivered.trouble = delivered.trouble.or(trouble);
                }
                Err(why) => {
                    lock().settle(signal, things, Outcome::Kept);
                    // Who wants to be left alone is; else the other signal may have better luck.
                    if why.retry_after.is_some() {
                        return Err(why);
                    }
                    failed.get_or_insert(why);
                }
            }
        }
        match failed {
            Some(why) => Err(why),
            None => {
                delivered.more = !lock().is_empty();
                Ok(delivered)
            }
        }
    }

    /// What an answer means for its batch, by OTLP's rules, and what is to be said of it.
    fn judge(&self, signal: Signal, url: &str, response: &Response) -> Result<(Outcome, Option<String>), Failure> {
        let refusal = || self.destination.refusal(url, response.status, response.retry_after);
        match response.status {
            200..=299 => {
                // One that answers in JSON, or in prose, has taken it all the same.
                let partial =
                    otelet_wire::otlp::Response::decode(&*response.body).ok().and_then(|it| it.partial_success);
                let rejected = partial.as_ref().map_or(0, |partial| partial.rejected.max(0) as u64);
                let things = match signal {
                    Signal::Metrics => "points",
                    Signal::Logs => "records",
                };
                let trouble = partial.filter(|_| rejected > 0).map(|partial| {
                    let why: String = partial.error_message.chars().take(300).collect();
                    format!("{url}: {rejected} {things} were rejected: {why}")
                });
                Ok((Outcome::Taken { rejected }, trouble))
            }
            408 | 429 | 502 | 503 | 504 => Err(refusal()),
            _ => Ok((Outcome::Refused, Some(refusal().message))),
        }
    }
}
