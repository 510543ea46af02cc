//! Plain reports: everything that `otelet status --json` shows, and the running config, by POST to `report.url`.

use super::destination::Destination;
use crate::settings::{Settings, WayOut};
use crate::source::Report;
use otelet_core::decide::Failure;
use otelet_wire::status::PlainReport;

/// The settings that reports are sent by.
pub const WAY_OUT: WayOut = WayOut {
    url: "report.url",
    headers: "report.headers",
    credentials: &["report.headers"],
    max_size: None,
    wants_body: false,
    ..WayOut::CONFIG
};

pub struct Reporter {
    destination: Destination,
    url: String,
}

impl Reporter {
    /// Checks the settings without asking the server. None if they name no URL.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the URL, a header or a proxy can never work.
    pub fn new(settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(url) = &settings.report.url else { return Ok(None) };
        let (http, headers) = (settings.config.http(), &settings.report.headers);
        let destination = Destination::new(&http, "application/json", headers, WAY_OUT)?;
        destination.check(url)?;
        Ok(Some(Self { destination, url: url.clone() }))
    }

    /// Sends a report, and blocks for up to `config.timeout`: it is called on a thread of its own.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the server did not accept it: any status but 2xx.
    pub fn send(&self, report: &Report) -> Result<(), Failure> {
        let body = PlainReport { status: &report.status, effective_config: report.effective_config.as_deref() };
        let body = serde_json::to_vec(&body).expect("maps with string keys and numbers only");
        let response = self.destination.post(&self.url, body).map_err(|error| self.destination.failure(&error))?;
        self.destination.check_status(&self.url, &response)
    }
}
