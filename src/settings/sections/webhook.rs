//! The section `webhook`: where alerts are sent.

use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::location::url;
use crate::settings::schema::ValueKind::{Map, Text, Time};
use crate::settings::schema::{Row, file_only, hours, secs, setting};
use crate::settings::secret::Secret;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("webhook.url", Text("URL"), "", "Where alerts are sent by POST, in the format of Alertmanager's API, such as http://alertmanager:9093/api/v2/alerts."),
    setting("webhook.every", Time(secs(1), hours(24)), "1m", "Time between repetitions while an alert fires. A change is sent at once. The receiver considers an alert resolved if it is not repeated for four times this long."),
    file_only("webhook.headers", Map, "Headers sent with each POST, by name."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// The target of alerts. `None`: no alerts are sent.
    pub url: Option<String>,
    pub every: Duration,
    pub headers: Vec<(String, Secret)>,
}

impl WebhookSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self {
            url: layers.optional("webhook.url", |text| url("webhook.url", text))?,
            every: layers.time("webhook.every")?,
            headers: layers.headers("webhook.headers")?,
        })
    }
}
