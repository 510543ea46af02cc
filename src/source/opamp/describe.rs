//! Describes the agent, its collector and its host in OpAMP's messages. The same facts always give the same bytes:
//! values that change all the time (memory, load, a drifting clock) are left out or fixed at their first value.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;
use uuid::Uuid;

use crate::collector::VALID_VALUES;
use otelet_config::merge;
use otelet_wire::KeyValue;

use super::wire::{
    self, AgentConfigFile, AgentConfigMap, AgentDescription, ComponentDetails, ComponentHealth, EffectiveConfig,
};
use otelet_core::units::parse_rfc3339;
use otelet_wire::status::{RemoteConfigStatus, Status};

/// The longest error message that is sent, in bytes: the collector's last words take up to 1 KiB.
const MAX_ERROR: usize = 2048;

/// The most bytes that the parsed list of components may take; the list of the largest distribution is 120 KB of text.
const MAX_COMPONENTS: usize = 8 << 20;

/// The host is unhealthy from this share of its memory in use, in percent, and healthy again below the second.
const MEMORY_FULL: u64 = 95;
const MEMORY_FREE: u64 = 90;

/// The description of the agent. To OpAMP, agent and collector are one.
pub fn description(status: &Status, uid: Uuid) -> AgentDescription {
    let (host, attributes) = (&status.host, &status.agent.attributes);
    // The name that the collector gives to its own telemetry. The name of its file serves until the collector was asked.
    let file = Path::new(&status.collector.path).file_stem().map(|name| name.to_string_lossy()).unwrap_or_default();
    let name = if status.collector.name.is_empty() { &*file } else { &*status.collector.name };
    let known = |pairs: &[(&str, &str)]| -> Vec<KeyValue> {
        let known = pairs.iter().filter(|(_, value)| !value.is_empty());
        known.map(|(key, value)| KeyValue::new(*key, *value)).collect()
    };
    let given = |key: &str| attributes.get(key).map(String::as_str).unwrap_or_default();
    let service_name = if given("service.name").is_empty() { name } else { given("service.name") };
    let identifying = known(&[
        ("service.name", service_name),
        ("service.namespace", given("service.namespace")),
        ("service.version", &status.collector.version),
        ("service.instance.id", &uid.to_string()),
    ]);
    let mut non_identifying = known(&[
        ("os.type", &host.os_type),
        ("os.version", &host.os_version),
        ("host.name", &host.name),
        ("host.arch", &host.arch),
        ("host.id", &host.id),
        ("agent.name", "otelet"),
        ("agent.version", &status.agent.version),
    ]);
    // An attribute of the settings replaces one that the host reports.
    non_identifying.retain(|pair| !attributes.contains_key(&pair.key));
    let ours = |key: &str| identifying.iter().any(|pair| pair.key == key);
    let given = attributes.iter().filter(|(key, _)| !ours(key));
    non_identifying.extend(given.map(|(key, value)| KeyValue::new(key, value)));
    AgentDescription { identifying, non_identifying }
}

/// The health of the agent, with the time of each change. The times are remembered here, because the times in the
/// status drift with the clock.
#[derive(Debug, Default)]
pub struct Health {
    /// For each component: healthy, status, last error, and since when.
    seen: BTreeMap<&'static str, (bool, String, String, u64)>,
    /// The pid of the collector and the time of its start.
    started: Option<(u32, u64)>,
    memory_full: bool,
}

impl Health {
    /// The health of the whole, and of collector, config and host.
    pub fn of(&mut self, status: &Status) -> ComponentHealth {
        let (collector, config) = (&status.collector, &status.config);
        let now = unix_nanos(&status.written_at);
        let since = collector.since.as_deref().map(unix_nanos);
        self.started = match (collector.pid, since, self.started) {
            (Some(pid), _, Some((known, at))) if pid == known => Some((pid, at)),
            (Some(pid), since, _) => Some((pid, since.unwrap_or(now))),
            (None, _, _) => None,
        };
        let started = self.started.map_or(0, |(_, at)| at);
        let complaint = status.complaint().unwrap_or_default();
        let words = match (&collector.last_exit, collector.healthy) {
            (Some(exit), false) if complaint.contains(&exit.how) => complaint.clone(),
            (Some(exit), false) if !exit.last_words.is_empty() => {
                format!("{complaint}; last exit: {}: {}", exit.how, exit.last_words)
            }
            (Some(exit), false) => format!("{complaint}; last exit: {}", exit.how),
            (_, _) => complaint.clone(),
        };
        let failed = config.remote_config_status == RemoteConfigStatus::Failed;
        let mut components = BTreeMap::new();
        for (name, healthy, state, error, start) in [
            ("collector", collector.healthy, collector.state.word(), words, started),
            ("config", !failed, config.remote_config_status.word(), config.message.clone(), 0),
            self.host(status),
        ] {
            components.insert(name.to_owned(), self.part(name, healthy, state, error, start, now));
        }
        let start = unix_nanos(&status.agent.since);
        let mut whole = self.part("", collector.healthy, collector.state.word(), complaint, start, now);
        whole.components = components;
        whole
    }

    fn part(
        &mut self,
        name: &'static str,
        healthy: bool,
        state: &str,
        error: String,
        start: u64,
        now: u64,
    ) -> ComponentHealth {
        let error = if healthy { String::new() } else { clip(&error).to_owned() };
        let known = self.seen.get(name).filter(|(h, s, e, _)| (*h, &**s, &**e) == (healthy, state, &*error));
        let at = known.map_or(now, |(_, _, _, at)| *at);
        self.seen.insert(name, (healthy, state.to_owned(), error.clone(), at));
        ComponentHealth {
            healthy,
            start_time_unix_nano: start,
            last_error: error,
            status: state.to_owned(),
            status_time_unix_nano: at,
            components: BTreeMap::new(),
        }
    }

    /// Reports a host that runs out of memory, since it may be unable to report anything later. The margin between the
    /// two limits keeps the reports rare.
    fn host(&mut self, status: &Status) -> (&'static str, bool, &'static str, String, u64) {
        if let (Some(used), Some(total @ 1..)) = (status.host.memory_used_bytes, status.host.memory_total_bytes) {
            let limit = if self.memory_full { MEMORY_FREE } else { MEMORY_FULL };
            self.memory_full = used / (total / 100).max(1) >= limit;
        }
        match self.memory_full {
            true => ("host", false, "memory full", format!("more than {MEMORY_FREE} % of memory is in use"), 0),
            false => ("host", true, "ok", String::new(), 0),
        }
    }
}

/// The running config: one file without a name, or none.
pub fn effective_config(text: Option<&str>) -> EffectiveConfig {
    let mut config_map = BTreeMap::new();
    if let Some(text) = text {
        let body = text.as_bytes().to_vec().into();
        let file = AgentConfigFile { body, content_type: "text/yaml".into(), role: String::new() };
        config_map.insert(String::new(), file);
    }
    EffectiveConfig { config_map: Some(AgentConfigMap { config_map }) }
}

/// The components of the collector, from the output of its `components`. Empty if the output cannot be read.
///
/// The names of the metadata are from the specification's own example. A component with two names is listed under both.
pub fn components(printed: &str) -> BTreeMap<String, ComponentDetails> {
    let mut kinds = BTreeMap::new();
    let Ok(Value::Object(mut all)) = merge::parse(printed, &mut { MAX_COMPONENTS }) else { return kinds };
    let valid = all.remove(VALID_VALUES).unwrap_or_default();
    // Maps are filled one by one: collecting them would link a sort of 12 KiB.
    for (kind, items) in all {
        let mut details = ComponentDetails::default();
        for item in items.as_array().into_iter().flatten() {
            let text = |key: &str| item.get(key).and_then(Value::as_str);
            let Some(name) = text("name").or(text("scheme")) else { continue };
            let module = text("module").map(|module| KeyValue::new("code.namespace", module.replacen(' ', "@", 1)));
            let leaf = ComponentDetails { metadata: module.into_iter().collect(), ..ComponentDetails::default() };
            details.sub_components.insert(name.to_owned(), leaf);
        }
        if !details.sub_components.is_empty() {
            kinds.insert(kind, details);
        }
    }
    // Of these only the name is known.
    for (kind, names) in valid.as_object().into_iter().flatten() {
        for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let details: &mut ComponentDetails = kinds.entry(kind.clone()).or_default();
            details.sub_components.entry(name.to_owned()).or_default();
        }
    }
    kinds
}

/// The status as a number of OpAMP.
pub fn remote_config_status(status: RemoteConfigStatus) -> wire::OfferStatus {
    match status {
        RemoteConfigStatus::Applied => wire::OfferStatus::Applied,
        RemoteConfigStatus::Applying => wire::OfferStatus::Applying,
        RemoteConfigStatus::Failed => wire::OfferStatus::Failed,
        // `Unknown` comes only from reading a status that a newer agent wrote.
        RemoteConfigStatus::Unset | RemoteConfigStatus::Unknown => wire::OfferStatus::Unset,
    }
}

/// The part of an error message that is sent.
pub fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR)]
}

/// Nanoseconds since 1970 of a time that [`otelet_core::units::rfc3339`] wrote; 0 for other texts.
fn unix_nanos(time: &str) -> u64 {
    let time = parse_rfc3339(time).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::status;
    use super::*;
    use otelet_core::units::rfc3339;
    use otelet_wire::status::{CollectorState, ExitStatus};

    fn value<'a>(pairs: &'a [KeyValue], key: &str) -> Option<&'a str> {
        let pair = pairs.iter().find(|pair| pair.key == key)?;
        pair.value.as_ref()?.string_value.as_deref()
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for seconds in [0, 59, 951_782_399, 951_782_400, 1_795_456_620, 4_107_542_399, 4_107_542_400] {
            let written = rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(unix_nanos(&written), seconds * 1_000_000_000, "{written}");
        }
        for other in
            ["", "now", "2026-11-23", "2026-13-01T00:00:00Z", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"]
        {
            assert_eq!(unix_nanos(other), 0, "{other}");
        }
    }

    #[test]
    fn the_description_names_the_collector_the_host_and_the_agent() {
        let uid = Uuid::from_u128(7);
        let mut status = status();
        status.agent.attributes.insert("site".into(), "north".into());
        status.agent.attributes.insert("host.name".into(), "pump-7".into());

        let AgentDescription { identifying, non_identifying } = description(&status, uid);

        assert_eq!(value(&identifying, "service.name"), Some("otelcol-contrib"));
        assert_eq!(value(&identifying, "service.version"), Some("0.149.0"));
        assert_eq!(value(&identifying, "service.instance.id"), Some(&*uid.to_string()));
        assert_eq!(value(&non_identifying, "host.name"), Some("pump-7"));
        assert_eq!(value(&non_identifying, "site"), Some("north"));
        assert_eq!(value(&non_identifying, "agent.name"), Some("otelet"));
        assert_eq!(value(&non_identifying, "agent.version"), Some("1.2.3"));
        assert_eq!(non_identifying.iter().filter(|pair| pair.key == "host.name").count(), 1);
        assert_eq!(value(&non_identifying, "host.id"), None, "unknown attributes are left out");

        status.collector.path = "/opt/plant/metrics-7".into();
        let name = |status: &Status| value(&description(status, uid).identifying, "service.name").map(str::to_owned);
        assert_eq!(name(&status).as_deref(), Some("metrics-7"), "until the collector was asked");
        status.collector.name = "otelcol-contrib".into();
        assert_eq!(name(&status).as_deref(), Some("otelcol-contrib"), "not that of a renamed file");

        status.agent.attributes.insert("service.name".into(), "edge".into());
        let AgentDescription { identifying, non_identifying } = description(&status, uid);
        assert_eq!(value(&identifying, "service.name"), Some("edge"));
        assert_eq!(value(&non_identifying, "service.name"), None);
    }

    #[test]
    fn health_has_a_part_for_collector_config_and_host() {
        let mut status = status();
        let whole = Health::default().of(&status);
        assert!(whole.healthy);
        assert_eq!(whole.start_time_unix_nano, unix_nanos(&status.agent.since));
        assert_eq!(whole.components.keys().collect::<Vec<_>>(), ["collector", "config", "host"]);
        assert!(whole.components.values().all(|part| part.healthy && part.last_error.is_empty()));
        assert_eq!(whole.components["collector"].start_time_unix_nano, unix_nanos("2026-11-23T17:00:10Z"));

        status.collector.healthy = false;
        status.collector.state = CollectorState::Waiting;
        status.collector.pid = None;
        status.collector.since = None;
        status.collector.last_exit =
            Some(ExitStatus { how: "code 1".into(), at: String::new(), last_words: "no such port".into() });
        status.config.remote_config_status = RemoteConfigStatus::Failed;
        status.config.message = "m".repeat(3000);
        status.host.memory_used_bytes = Some(96);

        let whole = Health::default().of(&status);

        assert!(!whole.healthy);
        let collector = &whole.components["collector"];
        assert_eq!(collector.start_time_unix_nano, 0, "0 if it is not running");
        assert_eq!(
            collector.last_error,
            "collector is waiting: it will be started again; last exit: code 1: no such port"
        );
        assert_eq!(whole.components["config"].last_error.len(), MAX_ERROR);
        assert_eq!(whole.components["host"].last_error, "more than 90 % of memory is in use");
    }

    #[test]
    fn drifting_times_and_memory_do_not_change_the_health() {
        let mut status = status();
        let mut health = Health::default();
        let first = health.of(&status);

        status.written_at = "2026-11-23T18:00:00Z".into();
        status.collector.since = Some("2026-11-23T17:00:11Z".into());
        status.collector.memory_bytes = Some(7);
        status.host.memory_used_bytes = Some(94);
        assert_eq!(health.of(&status), first);

        status.collector.pid = Some(8);
        let restarted = health.of(&status);
        assert_eq!(restarted.components["collector"].start_time_unix_nano, unix_nanos("2026-11-23T17:00:11Z"));
        assert_eq!(restarted.components["collector"].status_time_unix_nano, unix_nanos("2026-11-23T17:30:00Z"));

        status.collector.state = CollectorState::Stopping;
        let stopping = health.of(&status);
        assert_eq!(stopping.status_time_unix_nano, unix_nanos("2026-11-23T18:00:00Z"));
        assert_eq!(stopping.components["config"], first.components["config"]);
    }

    #[test]
    fn memory_that_is_nearly_full_is_reported_until_it_is_clearly_free() {
        let mut status = status();
        let mut health = Health::default();
        let mut healthy = |used| {
            status.host.memory_used_bytes = Some(used);
            health.of(&status).components["host"].healthy
        };
        assert_eq!([94, 95, 91, 94, 90, 89, 94].map(&mut healthy), [true, false, false, false, false, true, true]);
    }

    #[test]
    fn components_are_read_from_the_collectors_output() {
        let printed = "buildinfo:\n    command: otelcol\n    version: 0.149.0\n\
            receivers:\n    - name: otlp\n      module: go.opentelemetry.io/collector/receiver/otlpreceiver v0.149.0\n      \
            stability:\n        logs: Stable\nconnectors: []\n\
            providers:\n    - scheme: env\n      module: go.opentelemetry.io/collector/confmap/provider/envprovider v1.55.0\n";

        let components = components(printed);

        assert_eq!(components.keys().collect::<Vec<_>>(), ["providers", "receivers"]);
        let otlp = &components["receivers"].sub_components["otlp"];
        let module = "go.opentelemetry.io/collector/receiver/otlpreceiver@v0.149.0";
        assert_eq!(value(&otlp.metadata, "code.namespace"), Some(module));
        assert!(components["providers"].sub_components.contains_key("env"));
        // The names that `validate` of 0.149.0 adds to that.
        let valid = "valid_values:\n    receivers: [\"file_log\", \"filelog\", \"otlp\"]\n    exporters: [\"debug\"]\n    \
            connectors: []\n";
        let more = super::components(&format!("{printed}{valid}"));
        assert_eq!(more.keys().collect::<Vec<_>>(), ["exporters", "providers", "receivers"]);
        let receivers = &more["receivers"].sub_components;
        assert_eq!(receivers.keys().collect::<Vec<_>>(), ["file_log", "filelog", "otlp"]);
        assert_eq!(receivers["otlp"], *otlp, "what is known of it stays");
        assert!(super::components("{").is_empty());
        assert!(super::components("- a").is_empty());
        assert!(super::components(&format!("a: {}", "x".repeat(MAX_COMPONENTS))).is_empty());
    }

    #[test]
    fn the_effective_config_is_one_file_without_a_name() {
        let config = effective_config(Some("a: 1\n")).config_map.unwrap().config_map;
        assert_eq!((&config[""].body[..], &*config[""].content_type), (&b"a: 1\n"[..], "text/yaml"));
        assert_eq!(effective_config(None).config_map.unwrap().config_map.len(), 0);
    }
}
