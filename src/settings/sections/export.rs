//! The section `export`: metrics and events by OTLP/HTTP.

use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::location::url;
use crate::settings::schema::Takes::{Choice, Map, Size, Text, Time};
use crate::settings::schema::{KIB, MIB, Row, file_only, hours, ms, setting};
use crate::settings::secret::Secret;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("export.to", Text("collector|URL"), "", "Where metrics and events go by OTLP/HTTP: the collector that is looked after (a receiver on loopback is added if its config has none), or a URL to which /v1/metrics and /v1/logs are added."),
    setting("export.metrics", Choice("all|agent|none"), "all", "Which metrics are exported: those of the host, its containers and checks too, those of agent and collector alone, or none. Events always are."),
    setting("export.every", Time(ms(100), hours(1)), "1m", "Time between exports. An event is exported after a second."),
    setting("export.buffer", Size(16 * KIB, 64 * MIB), "1MiB", "What is kept in memory while nobody takes it. Beyond this the oldest is dropped and counted."),
    file_only("export.headers", Map, "Headers sent with each export, by name."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct ExportSettings {
    /// Where to. None: nowhere.
    pub to: Option<ExportTo>,
    pub metrics: ExportMetrics,
    pub every: Duration,
    /// The most that is kept while nobody takes it, in bytes.
    pub buffer: u64,
    pub headers: Vec<(String, Secret)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExportTo {
    /// To the OTLP receiver of the collector that is looked after.
    Collector,
    /// To an endpoint without `/v1/metrics` and `/v1/logs`, and without a slash at its end.
    Url(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportMetrics {
    All,
    /// Those of the agent and the collector.
    Agent,
    /// None: events only.
    None,
}

impl ExportSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        use ExportMetrics::{Agent, All, None};
        Ok(Self {
            to: layers.optional("export.to", |text| match text {
                "collector" => Ok(ExportTo::Collector),
                url => endpoint(url).map(ExportTo::Url),
            })?,
            metrics: layers.choice("export.metrics", [All, Agent, None])?,
            every: layers.time("export.every")?,
            buffer: layers.size("export.buffer")?,
            headers: layers.headers("export.headers")?,
        })
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let url = url("export.to", text)?;
    if url.contains('?') {
        return Err("a query cannot stand before /v1/metrics; use export.headers".to_owned());
    }
    Ok(url.trim_end_matches('/').to_owned())
}
