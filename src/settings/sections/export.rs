//! The section `export`: metrics and events by OTLP/HTTP.

use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::location::url;
use crate::settings::schema::ValueKind::{Choice, Map, Size, Text, Time};
use crate::settings::schema::{KIB, MIB, Row, file_only, hours, ms, setting};
use crate::settings::secret::Secret;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("export.to", Text("collector|URL"), "", "Where metrics and events are sent by OTLP/HTTP: to the agent's own collector (a receiver on loopback is added if its config has none), or to a URL, to which /v1/metrics and /v1/logs are added."),
    setting("export.metrics", Choice("all|agent|none"), "all", "Which metrics are exported: all (of agent, collector, host, containers and checks), those of agent and collector only, or none. Events are always exported."),
    setting("export.every", Time(ms(100), hours(1)), "1m", "Time between exports. An event is exported after a second."),
    setting("export.buffer", Size(16 * KIB, 64 * MIB), "1MiB", "How much is kept in memory while no receiver accepts it. Beyond this, the oldest data is dropped and counted."),
    file_only("export.headers", Map, "Headers sent with each export, by name."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct ExportSettings {
    /// The target of exports. `None`: nothing is exported.
    pub to: Option<ExportTo>,
    pub metrics: ExportMetrics,
    pub every: Duration,
    /// The most data that is kept while no receiver accepts it, in bytes.
    pub buffer: u64,
    pub headers: Vec<(String, Secret)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExportTo {
    /// The OTLP receiver of the agent's own collector.
    Collector,
    /// An endpoint without `/v1/metrics` and `/v1/logs`, and without a slash at its end.
    Url(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportMetrics {
    All,
    /// Only metrics of the agent and the collector.
    Agent,
    None,
}

impl ExportSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        use ExportMetrics::{Agent, All, None};
        Ok(Self {
            to: layers.optional("export.to", |text| match text.trim() {
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
    let url = url.trim_end_matches('/');
    // Many backends print the whole address of one signal.
    let signals = ["/v1/metrics", "/v1/logs", "/v1/traces"];
    let base = signals.iter().find_map(|signal| url.strip_suffix(signal)).unwrap_or(url);
    Ok(base.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_one_signal_is_that_of_the_backend() {
        for text in [
            "https://b.example/otlp",
            "https://b.example/otlp/",
            "https://b.example/otlp/v1/metrics",
            "https://b.example/otlp/v1/logs/",
            " https://b.example/otlp/v1/traces",
        ] {
            assert_eq!(endpoint(text), Ok("https://b.example/otlp".to_owned()), "{text}");
        }
        assert_eq!(endpoint("http://b.example/v1/metrics"), Ok("http://b.example".to_owned()));
        assert!(endpoint("https://b.example/v1/metrics?key=a").is_err());
    }
}
