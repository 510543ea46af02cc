//! The configs that the demo serves: whole Collector configs, so that they can be read, changed and taken along.

/// Memory every five seconds.
pub fn good(endpoint: &str) -> String {
    format!(
        "\
# A good config: the memory of this host, every five seconds.
receivers:
  hostmetrics:
    collection_interval: 5s
    scrapers:
      memory: {{}}
{}",
        rest(endpoint, "")
    )
}

/// Memory and load every second.
pub fn better(endpoint: &str) -> String {
    format!(
        "\
# A better config: memory and load of this host, every second.
receivers:
  hostmetrics:
    collection_interval: 1s
    scrapers:
      memory: {{}}
      load: {{}}
{}",
        rest(endpoint, "")
    )
}

/// Refused by `validate`: a receiver's name is mistyped.
pub fn broken(endpoint: &str) -> String {
    better(endpoint)
        .replace("# A better config", "# A broken config: somebody mistyped a name")
        .replace("  hostmetrics:", "  hostmetricz:")
}

/// Passes `validate` and dies at start: its receiver wants a port that somebody else has.
pub fn doomed(endpoint: &str, taken_port: u16) -> String {
    format!(
        "\
# A doomed config: `validate` has nothing against it, but port {taken_port} is taken.
receivers:
  hostmetrics:
    collection_interval: 1s
    scrapers:
      memory: {{}}
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{taken_port}
{}",
        rest(endpoint, ", otlp")
    )
}

fn rest(endpoint: &str, more_receivers: &str) -> String {
    format!(
        "\
exporters:
  otlphttp:
    endpoint: {endpoint}
    encoding: json
    compression: none
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    metrics:
      receivers: [hostmetrics{more_receivers}]
      exporters: [otlphttp]
"
    )
}
