//! Alerts by POST to `webhook.url`, as Alertmanager's API v2 takes them.
//!
//! When an alert ends is decided by the receiver's clock, and the clock of an edge host is often wrong: so the times that are sent are
//! in the receiver's time, as far as its answers tell it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::decide::Notification;
use crate::http::{Client, HttpError, HttpSettings, Method, Request, Response, USER_AGENT};
use crate::redact::Redactor;
use crate::settings::Settings;
use crate::source::{Failure, http_settings};
use crate::units::{rfc3339, seconds};

/// The most that is read of an answer, in bytes: a receiver has nothing to tell but a status.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Clocks that differ by less, in seconds, count as alike: an answer takes its time, and its date has no fractions.
const ALIKE: u64 = 30;

/// Where alerts go.
pub struct Webhook {
    client: Client,
    url: String,
    headers: Vec<(String, String)>,
    /// How far the receiver's clock is ahead of ours, in seconds.
    ahead: AtomicI64,
}

impl Webhook {
    /// Makes it without asking the receiver. None if the settings name none.
    ///
    /// # Errors
    ///
    /// [`HttpError::Settings`] if the URL, a header or a proxy can never work.
    pub fn new(settings: &Settings) -> Result<Option<Self>, HttpError> {
        let Some(url) = &settings.webhook.url else { return Ok(None) };
        crate::http::parse_url(url)?;
        let header = |error| match error {
            HttpError::Settings { what, why } => {
                HttpError::Settings { what: what.replace("config.headers", "webhook.headers"), why }
            }
            other => other,
        };
        let mut headers =
            vec![("User-Agent".to_owned(), USER_AGENT.to_owned()), ("Content-Type".into(), "application/json".into())];
        for (name, value) in &settings.webhook.headers {
            crate::http::check_header(name, value.expose()).map_err(header)?;
            headers.push((name.clone(), value.expose().to_owned()));
        }
        let client = Client::new(&HttpSettings { max_size: LARGEST_ANSWER, ..http_settings(&settings.config) })?;
        Ok(Some(Self { client, url: url.clone(), headers, ahead: AtomicI64::new(0) }))
    }

    /// Sends a batch, and blocks for up to `config.timeout`, twice that when the clocks turn out to differ: it is called on a thread of
    /// its own.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it was not taken: any status but 2xx.
    pub fn send(&self, batch: &[Notification], redactor: &Redactor) -> Result<(), Failure> {
        let mut response = self.post(batch, redactor)?;
        if self.learns_the_time(response.date) {
            response = self.post(batch, redactor)?;
        }
        match response.status {
            200..=299 => Ok(()),
            status => {
                let error =
                    HttpError::Status { url: self.shown()?, status, advice: "; check webhook.url and webhook.headers" };
                Err(Failure { retry_after: response.retry_after, ..error.into() })
            }
        }
    }

    fn post(&self, batch: &[Notification], redactor: &Redactor) -> Result<Response, HttpError> {
        let body = encode(batch, redactor, self.ahead.load(Ordering::Relaxed));
        self.client.send(&Request { method: Method::Post, url: self.url.clone(), headers: self.headers.clone(), body })
    }

    /// Whether the receiver's clock is another than was thought: what was sent then has the wrong times.
    fn learns_the_time(&self, date: Option<SystemTime>) -> bool {
        let Some(date) = date else { return false };
        let (ours, theirs) = (since_1970(SystemTime::now()), since_1970(date));
        let ahead = if ours.abs_diff(theirs) < ALIKE { 0 } else { theirs - ours };
        let known = self.ahead.load(Ordering::Relaxed);
        if known.abs_diff(ahead) < ALIKE {
            return false;
        }
        self.ahead.store(ahead, Ordering::Relaxed);
        let (by, which) =
            (seconds(Duration::from_secs(ahead.unsigned_abs())), if ahead > 0 { "behind" } else { "ahead of" });
        match self.shown() {
            Ok(shown) if ahead != 0 => {
                log::warn!(
                    "the clock of this host is {by} {which} that of {shown}; alerts are sent in the time of the latter"
                );
            }
            Ok(_) | Err(_) => {}
        }
        true
    }

    fn shown(&self) -> Result<String, HttpError> {
        Ok(crate::http::public(&crate::http::parse_url(&self.url)?))
    }
}

fn since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().try_into().unwrap_or(i64::MAX)
}

/// That many seconds later, or earlier.
fn shifted(time: SystemTime, by: i64) -> SystemTime {
    let seconds = Duration::from_secs(by.unsigned_abs());
    let shifted = if by < 0 { time.checked_sub(seconds) } else { time.checked_add(seconds) };
    shifted.unwrap_or(time)
}

/// A `postableAlerts` of Alertmanager's API v2. Source: `api/v2/openapi.yaml` of Alertmanager 0.25.
fn encode(batch: &[Notification], redactor: &Redactor, ahead: i64) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct PostableAlert<'a> {
        labels: BTreeMap<&'a str, String>,
        annotations: BTreeMap<&'a str, String>,
        starts_at: String,
        ends_at: String,
    }
    let alerts: Vec<PostableAlert<'_>> = batch
        .iter()
        .map(|one| PostableAlert {
            labels: one.labels.iter().map(|(name, value)| (name.as_str(), redactor.line(value))).collect(),
            annotations: one.annotations.iter().map(|(name, value)| (*name, redactor.line(value))).collect(),
            starts_at: rfc3339(shifted(one.starts_at, ahead)),
            ends_at: rfc3339(shifted(one.ends_at, ahead)),
        })
        .collect();
    serde_json::to_vec(&alerts).expect("maps with string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Invocation;
    use crate::http::test_server::{Answer, Server};
    use crate::settings::World;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn batch() -> [Notification; 1] {
        [Notification {
            labels: vec![("alertname".into(), "full".into()), ("path".into(), "/srv/hunter2-token".into())],
            annotations: vec![("summary", "out of \"space\", says hunter2-token".into())],
            starts_at: at(1_700_000_000),
            ends_at: at(1_700_000_240),
        }]
    }

    fn webhook(server: &Server) -> Webhook {
        let yaml = format!("webhook: {{url: '{}'}}", server.at("/alerts"));
        let world =
            World { var: Box::new(|_| None), read: Box::new(move |_| Ok(yaml.clone().into_bytes())), here: "/".into() };
        let settings = crate::settings::load(&Invocation::default(), &world).unwrap();
        Webhook::new(&settings).unwrap().expect("there is a URL")
    }

    fn dated(date: SystemTime) -> Answer {
        Answer::Status(200, vec![("Date".into(), httpdate::fmt_http_date(date))], Vec::new())
    }

    fn starts(server: &Server) -> Vec<String> {
        let start = |body: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(body).unwrap();
            value[0]["startsAt"].as_str().unwrap().to_owned()
        };
        server.requests().iter().map(|asked| start(&asked.body)).collect()
    }

    #[test]
    fn a_batch_is_what_alertmanager_reads_without_secrets() {
        let json = String::from_utf8(encode(&batch(), &Redactor::new(["hunter2-token"]), 0)).unwrap();

        assert_eq!(
            json,
            "[{\"labels\":{\"alertname\":\"full\",\"path\":\"/srv/<redacted>\"},\
             \"annotations\":{\"summary\":\"out of \\\"space\\\", says <redacted>\"},\
             \"startsAt\":\"2023-11-14T22:13:20Z\",\"endsAt\":\"2023-11-14T22:17:20Z\"}]"
        );
    }

    #[test]
    fn a_receiver_whose_clock_is_alike_is_told_once_and_in_our_time() {
        let server = Server::new();
        let webhook = webhook(&server);
        server.answer(dated(SystemTime::now() + Duration::from_secs(5)));
        webhook.send(&batch(), &Redactor::default()).unwrap();
        server.answer(Answer::status(200));
        webhook.send(&batch(), &Redactor::default()).unwrap();

        assert_eq!(starts(&server), ["2023-11-14T22:13:20Z"; 2]);
    }

    #[test]
    fn a_receiver_whose_clock_is_ahead_is_told_again_in_its_own_time() {
        let server = Server::new();
        let webhook = webhook(&server);
        server.answer(dated(SystemTime::now() + Duration::from_secs(7 * 24 * 3600)));
        webhook.send(&batch(), &Redactor::default()).unwrap();
        webhook.send(&batch(), &Redactor::default()).unwrap();

        let starts = starts(&server);
        assert_eq!(starts.len(), 3, "the first was sent again, the second was right: {starts:?}");
        assert_eq!(starts[0], "2023-11-14T22:13:20Z");
        assert!(starts[1].starts_with("2023-11-21T22:13:") && starts[2].starts_with("2023-11-21T22:13:"), "{starts:?}");

        // The clock of this host is put right.
        server.answer(dated(SystemTime::now()));
        webhook.send(&batch(), &Redactor::default()).unwrap();
        assert_eq!(self::starts(&server).pop().unwrap(), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn what_is_not_taken_says_what_to_look_at() {
        let server = Server::new();
        let webhook = webhook(&server);
        server.answer(Answer::Status(503, vec![("Retry-After".into(), "7".into())], Vec::new()));

        let failure = webhook.send(&batch(), &Redactor::default()).unwrap_err();

        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
        assert!(
            failure.message.ends_with("/alerts: answered 503; check webhook.url and webhook.headers"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_header_that_can_never_be_sent_is_named_as_the_settings_have_it() {
        let world = World {
            var: Box::new(|_| None),
            read: Box::new(|_| Ok(b"webhook: {url: 'http://a/', headers: {Connection: close}}".to_vec())),
            here: "/".into(),
        };
        let error = match crate::settings::load(&Invocation::default(), &world) {
            Ok(settings) => Webhook::new(&settings).err().expect("it is refused").to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("webhook.headers"), "{error}");
    }
}
