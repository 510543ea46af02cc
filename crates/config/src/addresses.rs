//! The addresses in a config: those at which the Collector listens, and those to which it sends. Pure.
//!
//! Only components in use are looked at. A component that is not known to listen does not: many a receiver has the
//! `endpoint` of a server that it asks.

use serde_yaml::Value;

/// An address as the config has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its place, such as `receivers.otlp.protocols.grpc.endpoint`.
    pub key: String,
    /// `host:port`, a URL, or a reference such as `${env:NAME}`.
    pub text: String,
    /// Whether it is listened at by UDP.
    pub is_udp: bool,
}

/// The addresses of a config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// Where the Collector listens.
    pub listens: Vec<Address>,
    /// Where its exporters send to.
    pub sends: Vec<Address>,
}

/// The types of components that listen at their `endpoint`, beside those with a `listen_address`. Source: the pages of the
/// components of opentelemetry-collector and -contrib at 0.149.
const LISTENERS: &[&str] = &[
    "otlp",
    "zipkin",
    "jaeger",
    "opencensus",
    "skywalking",
    "statsd",
    "carbon",
    "collectd",
    "influxdb",
    "fluentforward",
    "splunk_hec",
    "signalfx",
    "sapm",
    "loki",
    "webhookevent",
    "datadog",
    "prometheus_remote_write",
    "health_check",
    "healthcheckv2",
    "pprof",
    "zpages",
    "prometheus",
];

/// The types that listen by UDP.
const BY_UDP: &[&str] = &["statsd", "netflow"];

/// The endpoints of components that have none in the config. Source: their pages at 0.149.
const DEFAULTS: &[(&str, &str)] = &[
    ("receivers.otlp.protocols.grpc", "localhost:4317"),
    ("receivers.otlp.protocols.http", "localhost:4318"),
    ("extensions.health_check", "localhost:13133"),
    ("receivers.zipkin", "localhost:9411"),
];

/// Reads the addresses of a config. Of a text that is no config there are none.
pub fn addresses(body: &[u8]) -> Addresses {
    let mut all = Addresses::default();
    let Ok(text) = std::str::from_utf8(body) else { return all };
    let Ok(config) = serde_yaml::from_str::<Value>(text) else { return all };
    let service = &config["service"];
    let mut used: Vec<(&'static str, &str)> = Vec::new();
    note(&mut used, "extensions", &service["extensions"]);
    for (_, pipeline) in service["pipelines"].as_mapping().into_iter().flatten() {
        for section in ["receivers", "exporters"] {
            note(&mut used, section, &pipeline[section]);
        }
    }
    for (section, name) in used {
        let kind = name.split('/').next().unwrap_or_default();
        let listens = LISTENERS.contains(&kind) && (section != "exporters" || kind == "prometheus");
        let component = &config[section][name];
        let place = Place { kind, section, listens };
        place.walk(&format!("{section}.{name}"), &format!("{section}.{kind}"), component, &mut all);
    }
    all
}

/// Notes the components of a list that are new.
fn note<'a>(used: &mut Vec<(&'static str, &'a str)>, section: &'static str, list: &'a Value) {
    for name in list.as_sequence().into_iter().flatten().filter_map(Value::as_str) {
        if !used.contains(&(section, name)) {
            used.push((section, name));
        }
    }
}

/// A component in use.
struct Place<'a> {
    kind: &'a str,
    section: &'a str,
    /// Whether it listens at its endpoints.
    listens: bool,
}

impl Place<'_> {
    /// `by_kind` is the key with the type of the component instead of its name.
    fn walk(&self, key: &str, by_kind: &str, value: &Value, all: &mut Addresses) {
        let default = DEFAULTS.iter().find(|(place, _)| *place == by_kind);
        if let Some((_, text)) = default.filter(|_| value.get("endpoint").is_none()) {
            self.add(&format!("{key}.endpoint"), text, false, all);
        }
        match value {
            Value::Mapping(entries) => {
                let is_unix = value["transport"].as_str().is_some_and(|transport| transport.starts_with("unix"));
                for (name, value) in entries.iter().filter(|_| !is_unix) {
                    let Some(name) = name.as_str() else { continue };
                    let key = format!("{key}.{name}");
                    let is_listened = name == "listen_address";
                    let is_address = is_listened
                        || name.ends_with("endpoint")
                        || ["endpoints", "brokers"].contains(&name) && self.section == "exporters";
                    match value {
                        _ if !is_address => self.walk(&key, &format!("{by_kind}.{name}"), value, all),
                        Value::String(text) => self.add(&key, text, is_listened, all),
                        Value::Sequence(items) => {
                            items
                                .iter()
                                .filter_map(Value::as_str)
                                .for_each(|text| self.add(&key, text, is_listened, all));
                        }
                        _ => {}
                    }
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.walk(key, by_kind, item, all)),
            _ => {}
        }
    }

    fn add(&self, key: &str, text: &str, is_listened: bool, all: &mut Addresses) {
        let is_udp = BY_UDP.contains(&self.kind) || key.contains("udp");
        let address = Address { key: key.to_owned(), text: text.to_owned(), is_udp };
        if self.listens || is_listened {
            all.listens.push(address);
        } else if self.section == "exporters" {
            all.sends.push(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_components_in_use_are_found() {
        let config = "
receivers:
  otlp: {protocols: {grpc: {endpoint: '0.0.0.0:4317'}, http: }}
  otlp/unused: {protocols: {grpc: {endpoint: '0.0.0.0:1'}}}
  otlp/socket: {protocols: {grpc: {endpoint: /run/otlp.sock, transport: unix}}}
  syslog/plant: {udp: {listen_address: '0.0.0.0:514'}, protocol: rfc5424}
  redis: {endpoint: 'localhost:6379'}
exporters:
  otlphttp: {endpoint: 'https://${env:BACKEND}', tls: {insecure: true}}
  kafka: {brokers: ['a:9092', 'b:9092']}
  prometheus: {endpoint: '0.0.0.0:8889'}
  debug:
  otlp/unused: {endpoint: 'a:4317'}
extensions:
  health_check:
  zpages: {endpoint: 'localhost:55679'}
service:
  extensions: [health_check]
  pipelines:
    traces: {receivers: [otlp, otlp/socket], exporters: [otlphttp, kafka, debug]}
    logs: {receivers: [syslog/plant, redis, otlp], exporters: [otlphttp, prometheus]}
";
        let Addresses { listens, sends } = addresses(config.as_bytes());
        let shown = |all: &[Address]| {
            all.iter()
                .map(|it| format!("{} {}{}", it.key, it.text, if it.is_udp { " udp" } else { "" }))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(&listens),
            [
                "extensions.health_check.endpoint localhost:13133",
                "receivers.otlp.protocols.grpc.endpoint 0.0.0.0:4317",
                "receivers.otlp.protocols.http.endpoint localhost:4318",
                "receivers.syslog/plant.udp.listen_address 0.0.0.0:514 udp",
                "exporters.prometheus.endpoint 0.0.0.0:8889",
            ]
        );
        assert_eq!(
            shown(&sends),
            [
                "exporters.otlphttp.endpoint https://${env:BACKEND}",
                "exporters.kafka.brokers a:9092",
                "exporters.kafka.brokers b:9092",
            ]
        );
        assert_eq!(addresses(b"a: ["), Addresses::default());
        assert_eq!(addresses(b"service: {pipelines: [x]}\n"), Addresses::default());
    }
}
