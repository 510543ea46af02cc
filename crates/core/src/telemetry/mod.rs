//! The measurements and events of the agent before they are encoded: points and records. Pure data, in the words of
//! OpenTelemetry's semantic conventions.

#[macro_use]
pub mod metric;

pub mod agent;
pub mod checks;
pub mod containers;
pub mod host;
pub mod identity;
pub mod point;
pub mod record;

pub use identity::HostIdentity;
pub use metric::{Kind, Metric, Owner};
pub use point::{Attributes, Number, Point, Snapshot, Value};
pub use record::{EventRecord, Severity};

/// Every metric, table by table.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    let tables: [&'static [Metric]; 4] = [host::METRICS, agent::METRICS, containers::METRICS, checks::METRICS];
    tables.into_iter().flatten()
}

/// The table of `docs/metrics.md`, in Markdown.
pub fn reference() -> String {
    let mut text = String::from("| metric | unit | kind | meaning, and attributes |\n|---|---|---|---|\n");
    for Metric { name, unit, kind, help, .. } in metrics() {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::UpDownCounter => "up-down counter",
        };
        text += &format!("| `{name}` | `{unit}` | {kind} | {help} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_metric_is_listed_twice_and_each_has_its_help() {
        let all: Vec<&Metric> = metrics().collect();
        for (number, metric) in all.iter().enumerate() {
            assert!(all[..number].iter().all(|other| other.name != metric.name), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn the_names_of_the_agents_own_metrics_say_so() {
        for metric in metrics() {
            let ours = ["otelet.", "process."].iter().any(|prefix| metric.name.starts_with(prefix));
            let of_the_host = metric.name.starts_with("otelet.host.");
            assert_eq!(metric.owner == Owner::Agent, ours && !of_the_host, "{}", metric.name);
        }
    }
}
