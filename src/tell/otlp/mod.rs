//! Metrics and events by OTLP/HTTP in protobuf: kept in a bounded buffer, sent in batches, each thing once as far as can be known.
//!
//! The rooms: `batch` writes requests, `buffer` keeps what was not taken yet, `own` says what
//! the agent tells of itself.

mod batch;
mod buffer;
pub mod own;

use std::sync::Mutex;
use std::time::Duration;

use prost::Message as _;

pub use batch::{Teller, record};
pub use buffer::{Buffer, ExportLosses, Outcome, Signal};

use crate::decide::{Delivered, Failure, FailureKind};
use crate::http::{Client, HttpError, HttpSettings, Method, Request, Response, USER_AGENT};
use crate::settings::{ExportTo, Settings};
use crate::source::http_settings;

/// How long the collector may take to answer, as OTLP's exporters have it.
const COLLECTOR_LIMIT: Duration = Duration::from_secs(10);

/// The most of an answer that is read from the collector, in bytes: it says no more than what it rejected.
const ANSWER_LIMIT: u64 = 64 * 1024;

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
    client: Client,
    teller: Teller,
    headers: Vec<(String, String)>,
    /// What is said of a status that is no success.
    advice: &'static str,
}

impl Exporter {
    /// Makes it without asking anybody. None if nothing is to be exported.
    ///
    /// # Errors
    ///
    /// [`HttpError::Settings`] if the URL, a header or a proxy can never work.
    pub fn new(settings: &Settings, resource: &[(String, String)]) -> Result<Option<Self>, HttpError> {
        let (http, advice) = match &settings.export.to {
            None => return Ok(None),
            Some(ExportTo::Url(url)) => {
                crate::http::parse_url(url)?;
                (http_settings(&settings.config), "; check export.to and export.headers")
            }
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
                "",
            ),
        };
        let mut headers = vec![
            ("User-Agent".to_owned(), USER_AGENT.to_owned()),
            ("Content-Type".to_owned(), "application/x-protobuf".to_owned()),
        ];
        for (name, value) in &settings.export.headers {
            crate::http::check_header(name, value.expose())?;
            headers.push((name.clone(), value.expose().to_owned()));
        }
        Ok(Some(Self { client: Client::new(&http)?, teller: Teller::new(resource), headers, advice }))
    }

    /// Sends one batch of records and one of points, and blocks meanwhile: it is called on a thread of its own.
    ///
    /// # Errors
    ///
    /// Why one of them was not taken, and how long the other side wants to be left alone. It stays kept.
    pub fn export(&self, buffer: &Mutex<Buffer>, targets: &Targets) -> Result<Delivered, Failure> {
        let lock = || buffer.lock().expect("nobody panics who holds it");
        let (mut delivered, mut failed) = (Delivered::default(), None);
        for (signal, target) in [(Signal::Logs, &targets.logs), (Signal::Metrics, &targets.metrics)] {
            let Some(url) = target else {
                lock().discard(signal);
                continue;
            };
            let Some(batch) = lock().batch(signal, &self.teller) else { continue };
            let things = batch.things;
            let request =
                Request { method: Method::Post, url: url.clone(), headers: self.headers.clone(), body: batch.body };
            let judged = match self.client.send(&request) {
                Ok(response) => self.judge(signal, url, &response),
                // Only the body of a success is read at all.
                Err(HttpError::TooLarge { .. }) => Ok((Outcome::Taken { rejected: 0 }, None)),
                Err(error) => {
                    lock().settle(signal, things, Outcome::Kept);
                    return Err(error.into());
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
        let said = || {
            let shown = crate::http::parse_url(url).map(|url| crate::http::public(&url)).unwrap_or_default();
            HttpError::Status { url: shown, status: response.status, advice: self.advice }.to_string()
        };
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
            408 | 429 | 502 | 503 | 504 => {
                Err(Failure { retry_after: response.retry_after, ..Failure::new(FailureKind::Status, said()) })
            }
            _ => Ok((Outcome::Refused, Some(said()))),
        }
    }
}
