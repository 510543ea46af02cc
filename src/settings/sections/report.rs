//! The section `report`: plain reports.

use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::location::Location;
use crate::settings::schema::ValueKind::{Map, Text, Time};
use crate::settings::schema::{Row, file_only, hours, secs, setting};
use crate::settings::secret::Secret;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("report.url", Text("URL"), "", "Where reports are sent by POST, as JSON: the output of `otelet status --json`, and the running config."),
    setting("report.every", Time(secs(1), hours(24)), "5m", "Time between reports while nothing changes. A change is reported after a second."),
    file_only("report.headers", Map, "Headers sent with each report, by name."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct ReportSettings {
    /// The target of reports. `None`: no reports are sent.
    pub url: Option<String>,
    /// Time between reports while nothing changes.
    pub every: Duration,
    pub headers: Vec<(String, Secret)>,
}

impl ReportSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self {
            url: match layers.location("report.url")? {
                Some(Location::Url(url)) => Some(url),
                Some(Location::File(_)) => {
                    return Err(layers.error_at("report.url", "give an http:// or https:// URL".to_owned()));
                }
                None => None,
            },
            every: layers.time("report.every")?,
            headers: layers.headers("report.headers")?,
        })
    }
}
