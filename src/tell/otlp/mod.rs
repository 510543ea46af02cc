//! Metrics and events by OTLP/HTTP in protobuf: kept in a bounded buffer and sent in batches, each point and record
//! once as far as the agent can know.
//!
//! The files: `batch` writes requests, `buffer` keeps points and records until they are accepted, `own` describes the
//! agent itself.

mod batch;
mod buffer;
pub mod own;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message as _;

pub use batch::{Encoder, record};
pub use buffer::{Buffer, Outcome, Signal};

use super::destination::Destination;
use crate::http::{HttpSettings, Response};
use crate::settings::{ExportTo, Settings, Target, WayOut};
use otelet_core::decide::{ExportOutcome, Failure};

/// The time limit for an answer of the collector, as in the Collector's own OTLP exporters.
const COLLECTOR_LIMIT: Duration = Duration::from_secs(10);

/// The settings that exports to a URL are sent by.
pub const BY_URL: WayOut = WayOut {
    url: "export.to",
    target: Target::Without(&["/v1/metrics", "/v1/logs"]),
    headers: "export.headers",
    credentials: &["export.headers"],
    max_size: None,
    wants_body: false,
    ..WayOut::CONFIG
};

/// The settings for exports to the collector: its address is read from its config.
const BY_COLLECTOR: WayOut =
    WayOut { url: "the otlp receiver in the collector's config", target: Target::Elsewhere, ..BY_URL };

/// The URLs for the two signals; none if nothing takes that signal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    pub metrics: Option<String>,
    pub logs: Option<String>,
}

impl Targets {
    /// The URLs below an endpoint, which has no slash at its end.
    pub fn below(endpoint: &str) -> Self {
        Self { metrics: Some(format!("{endpoint}/v1/metrics")), logs: Some(format!("{endpoint}/v1/logs")) }
    }
}

pub struct Exporter {
    destination: Destination,
    encoder: Encoder,
    /// Whether the warning about an answer that cannot be read was logged.
    warned_unread: AtomicBool,
}

impl Exporter {
    /// Checks the settings without asking the server. None if nothing is to be exported.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the URL, a header or a proxy can never work.
    pub fn new(settings: &Settings, resource: &[(String, String)]) -> Result<Option<Self>, Failure> {
        let (http, way_out) = match &settings.export.to {
            None => return Ok(None),
            Some(ExportTo::Url(_)) => (settings.config.http(), BY_URL),
            // The collector is on this host, so the way to it needs no proxy and no certificate.
            Some(ExportTo::Collector) => (
                HttpSettings {
                    timeout: COLLECTOR_LIMIT,
                    max_size: settings.config.max_size,
                    ca_file: None,
                    fingerprint: None,
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
        Ok(Some(Self { destination, encoder: Encoder::new(resource), warned_unread: AtomicBool::new(false) }))
    }

    /// Sends one batch of records and one of points. It blocks, so it is called on a thread of its own.
    ///
    /// # Errors
    ///
    /// The reason why a batch was not accepted, and the wait that the server asks for. The batch stays in the buffer.
    pub fn export(&self, buffer: &Mutex<Buffer>, targets: &Targets) -> Result<ExportOutcome, Failure> {
        let lock = || buffer.lock().expect("no panic while it is held");
        let (mut delivered, mut failed) = (ExportOutcome::default(), None);
        for (signal, target) in [(Signal::Logs, &targets.logs), (Signal::Metrics, &targets.metrics)] {
            let Some(url) = target else {
                lock().discard(signal);
                continue;
            };
            let Some(mut batch) = lock().batch(signal, &self.encoder) else { continue };
            let answer = loop {
                let answer = self.destination.post(url, std::mem::take(&mut batch.body));
                // 413: half of it may be taken.
                let is_too_large = answer.as_ref().is_ok_and(|response| response.status == 413);
                match Some(()).filter(|()| is_too_large).and_then(|()| lock().smaller(signal, &batch, &self.encoder)) {
                    Some(smaller) => batch = smaller,
                    None => break answer,
                }
            };
            let count = batch.count;
            let judged = match answer {
                Ok(response) => self.judge(signal, url, &response),
                Err(error) => {
                    lock().settle(signal, count, Outcome::Kept);
                    return Err(self.destination.failure(&error));
                }
            };
            match judged {
                Ok((outcome, trouble)) => {
                    lock().settle(signal, count, outcome);
                    delivered.sent += 1;
                    delivered.trouble = delivered.trouble.or(trouble);
                }
                Err(why) => {
                    lock().settle(signal, count, Outcome::Kept);
                    // A server that asks for a wait gets it. Otherwise the other signal is still tried.
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

    /// The outcome of a batch by OTLP's rules, and a message if something was rejected or refused.
    fn judge(&self, signal: Signal, url: &str, response: &Response) -> Result<(Outcome, Option<String>), Failure> {
        let refusal = || self.destination.refusal(url, response.status, response.retry_after);
        match response.status {
            200..=299 => {
                // The batch was accepted, and another try would send it twice.
                if let Some(error) = &response.unread
                    && !self.warned_unread.swap(true, Ordering::Relaxed)
                {
                    let message = self.destination.failure(error).message;
                    log::warn!("export accepted, but it is unknown whether part of it was rejected: {message}");
                }
                // An answer in JSON or plain text means accepted as well.
                let partial =
                    otelet_wire::otlp::Response::decode(&*response.body).ok().and_then(|it| it.partial_success);
                let rejected = partial.as_ref().map_or(0, |partial| partial.rejected.max(0) as u64);
                let noun = match signal {
                    Signal::Metrics => "points",
                    Signal::Logs => "records",
                };
                let trouble = partial.filter(|_| rejected > 0).map(|partial| {
                    let why: String = partial.error_message.chars().take(300).collect();
                    format!("{url}: {rejected} {noun} were rejected: {why}")
                });
                Ok((Outcome::Taken { rejected }, trouble))
            }
            // 407 comes from a proxy and 511 from a captive portal: the receiver has not seen the batch.
            407 | 408 | 429 | 502 | 503 | 504 | 511 => Err(refusal()),
            _ => Ok((Outcome::Refused, Some(refusal().message))),
        }
    }
}
