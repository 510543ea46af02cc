//! Alerts by POST to `webhook.url`, in the form of Alertmanager's API v2.
//!
//! The receiver's clock decides when an alert ends. So the time in its answers is handed on.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::destination::Destination;
use crate::settings::{Settings, WayOut};
use otelet_config::redact::Redactor;
use otelet_core::decide::{AlertMessage, Clocks, Failure};
use otelet_core::units::rfc3339;

/// The settings that alerts are sent by.
pub const WAY_OUT: WayOut = WayOut {
    url: "webhook.url",
    headers: "webhook.headers",
    credentials: &["webhook.headers"],
    max_size: None,
    wants_body: false,
    ..WayOut::CONFIG
};

pub struct Webhook {
    destination: Destination,
    url: String,
}

impl Webhook {
    /// Checks the settings without asking the receiver. None if they name no URL.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the URL, a header or a proxy can never work.
    pub fn new(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(url) = &settings.webhook.url else { return Ok(None) };
        let http = settings.config.http();
        let destination = Destination::new(&http, "application/json", &settings.webhook.headers, WAY_OUT)?;
        destination.check(url)?;
        Ok(Some(Self { destination, url: url.clone() }))
    }

    /// Sends a batch, and blocks for up to `config.timeout`: it is called on a thread of its own. Returns whether the
    /// receiver accepted it with a status of 2xx, and the receiver's clock, if the answer has a date.
    pub fn send(&self, batch: &[AlertMessage], redactor: &Redactor) -> (Result<(), Failure>, Option<Clocks>) {
        let response = match self.destination.post(&self.url, encode(batch, redactor)) {
            Ok(response) => response,
            Err(error) => return (Err(self.destination.failure(&error)), None),
        };
        let ours = SystemTime::now();
        let clocks = response.date.map(|theirs| Clocks { server: Destination::shown(&self.url), theirs, ours });
        (self.destination.check_status(&self.url, &response), clocks)
    }
}

/// A `postableAlerts` of Alertmanager's API v2. Source: `api/v2/openapi.yaml` of Alertmanager 0.25.
fn encode(batch: &[AlertMessage], redactor: &Redactor) -> Vec<u8> {
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
            starts_at: rfc3339(one.starts_at),
            ends_at: rfc3339(one.ends_at),
        })
        .collect();
    serde_json::to_vec(&alerts).expect("maps with string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_server::{Answer, Server};
    use crate::settings::{Flags, World};
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn batch() -> [AlertMessage; 1] {
        [AlertMessage {
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
        let settings = crate::settings::load(&Flags::default(), &world).unwrap();
        Webhook::new(&settings).unwrap().expect("there is a URL")
    }

    #[test]
    fn a_batch_is_json_for_alertmanager_without_secrets() {
        let json = String::from_utf8(encode(&batch(), &Redactor::new(["hunter2-token"]))).unwrap();

        assert_eq!(
            json,
            "[{\"labels\":{\"alertname\":\"full\",\"path\":\"/srv/<redacted>\"},\
             \"annotations\":{\"summary\":\"out of \\\"space\\\", says <redacted>\"},\
             \"startsAt\":\"2023-11-14T22:13:20Z\",\"endsAt\":\"2023-11-14T22:17:20Z\"}]"
        );
    }

    #[test]
    fn the_clock_of_the_receiver_is_read_from_good_and_bad_answers() {
        let server = Server::new();
        let webhook = webhook(&server);
        let theirs = at(1_700_000_000);
        for status in [200, 400] {
            server.answer(Answer::Status(status, vec![("Date".into(), httpdate::fmt_http_date(theirs))], Vec::new()));
            let before = SystemTime::now();
            let (result, clocks) = webhook.send(&batch(), &Redactor::default());
            let clocks = clocks.expect("the answer has a date");
            assert_eq!((result.is_ok(), clocks.theirs), (status == 200, theirs));
            assert!(before <= clocks.ours && clocks.ours <= SystemTime::now());
            assert_eq!(clocks.server, server.at("/alerts"));
        }
        server.answer(Answer::status(200));
        assert_eq!(webhook.send(&batch(), &Redactor::default()), (Ok(()), None));
        assert_eq!(server.requests().len(), 3, "once each");
    }

    #[test]
    fn a_refused_batch_names_the_settings_to_check() {
        let server = Server::new();
        let webhook = webhook(&server);
        server.answer(Answer::Status(503, vec![("Retry-After".into(), "7".into())], Vec::new()));

        let failure = webhook.send(&batch(), &Redactor::default()).0.unwrap_err();

        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
        assert!(
            failure.message.ends_with("/alerts: answered 503; check webhook.url and webhook.headers"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_header_that_can_never_be_sent_is_named_by_its_setting() {
        let world = World {
            var: Box::new(|_| None),
            read: Box::new(|_| Ok(b"webhook: {url: 'http://a/', headers: {Connection: close}}".to_vec())),
            here: "/".into(),
        };
        let error = match crate::settings::load(&Flags::default(), &world) {
            Ok(settings) => Webhook::new(&settings).err().expect("it is refused").to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("webhook.headers"), "{error}");
    }
}
