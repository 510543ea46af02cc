//! The second `--config`, with the agent's additions to a body, and the way to see the collector's health. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::walk::{Endpoint, Inspection, Pipeline, SignalPath};

/// The extensions that the agent may add: one of them, if the body has none that shows the collector's health.
const HEALTH_CHECK: &str = "health_check/otelet";
const SD_NOTIFY: &str = "sd_notify/otelet";

/// The receiver that the agent adds for its own metrics and events.
const RECEIVER: &str = "otlp/otelet";

/// A config that every collector refuses. The error of `validate` lists the collector's extensions and receivers; the
/// list of `components` is incomplete, since it leaves out renamed ones. See [`capabilities`].
pub const PROBE_CONFIG: &str = "extensions: {otelet_probe: {}}\nreceivers: {otelet_probe: {}}\n";

/// The same for all kinds of components, see [`valid_values`].
pub const COMPONENTS_PROBE: &str = "extensions: {otelet_probe: {}}\nreceivers: {otelet_probe: {}}\n\
    processors: {otelet_probe: {}}\nexporters: {otelet_probe: {}}\nconnectors: {otelet_probe: {}}\n";

/// Which extensions a collector has that show its health, and whether it can receive the agent's own metrics and
/// events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// It has the extension that answers over HTTP.
    pub health_check: bool,
    /// It has the extension that writes to `NOTIFY_SOCKET`.
    pub sd_notify: bool,
    /// It has the receiver for OTLP.
    #[serde(default)]
    pub otlp: bool,
    /// It accepts the additions to the built-in config (`BUILT_IN_MORE` in the agent's `os`). This takes a `validate`
    /// of its own.
    #[serde(default)]
    pub more: bool,
}

/// The second `--config`, and how the collector's health is seen with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// YAML, or empty if there is nothing to add: then no second `--config` is passed.
    pub text: String,
    /// How the collector's health is seen.
    pub witness: Witness,
    /// The addresses that take the agent's own metrics and events.
    pub intake: Intake,
}

/// The addresses at which a collector takes metrics and logs from the agent; `None` for a signal that it does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Intake {
    /// The address of an OTLP receiver for metrics.
    pub metrics: Option<SocketAddr>,
    /// The address of an OTLP receiver for log records.
    pub logs: Option<SocketAddr>,
}

/// The loopback of this host, for the listeners that the agent adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loopback {
    /// 127.0.0.1, or ::1 on a host without IPv4.
    pub ip: IpAddr,
    /// Two ports that are free there: for a `health_check`, and for an OTLP receiver.
    pub ports: [u16; 2],
    /// The address for the collector's own metrics, where its default `localhost:8888` does not work.
    pub metrics: Option<SocketAddr>,
}

impl From<[u16; 2]> for Loopback {
    /// 127.0.0.1 with these ports, where the collector's defaults work.
    fn from(ports: [u16; 2]) -> Self {
        Self { ip: Ipv4Addr::LOCALHOST.into(), ports, metrics: None }
    }
}

impl Loopback {
    /// A listener on all addresses or on `localhost` is looked for at 127.0.0.1, which this host may not have.
    fn reach(&self, ip: IpAddr) -> IpAddr {
        if ip == Ipv4Addr::LOCALHOST { self.ip } else { ip }
    }
}

/// The evidence for the health of a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// Healthy while its `health_check` answers 200.
    HealthCheck {
        /// An IP address, without brackets.
        host: String,
        /// The TCP port, never 0.
        port: u16,
        /// The path of the URL; it starts with `/`.
        path: String,
    },
    /// Healthy while it sends `READY=1` and `WATCHDOG=1` to `NOTIFY_SOCKET`.
    SdNotify,
    /// Healthy while its process exists.
    Alive,
}

/// Reads the collector's components from its error about [`PROBE_CONFIG`]; any other text yields none.
///
/// 0.149.0 prints `'extensions' unknown type: "otelet_probe" for id: "otelet_probe" (valid values: [health_check
/// file_storage])`, with the values in no particular order, and the same for `'receivers'` before or behind it. Its
/// exit status is 1.
pub fn capabilities(stderr: &str) -> Capabilities {
    let has = |section, name| valid_values(stderr, section).any(|word| word == name);
    Capabilities {
        health_check: has("extensions", "health_check"),
        sd_notify: has("extensions", "sd_notify"),
        otlp: has("receivers", "otlp"),
        more: false,
    }
}

/// Reads the names that a collector takes in a section, also old ones, from its error about [`COMPONENTS_PROBE`]. Its
/// `components` leaves out what has an old name beside its new one.
pub fn valid_values<'a>(stderr: &'a str, section: &str) -> impl Iterator<Item = &'a str> {
    let list = || {
        let (_, rest) = stderr.split_once(&format!("'{section}'"))?;
        let (_, rest) = rest.split_once("\"otelet_probe\"")?;
        let (_, rest) = rest.split_once("(valid values: [")?;
        Some(rest.split_once(']')?.0)
    };
    list().unwrap_or_default().split([' ', ',']).filter(|name| !name.is_empty())
}

/// Makes the second `--config` for a body. It adds a `health_check` on a loopback port if the body has none that can be
/// probed, or an `sd_notify` if the collector has nothing else. It also adds the identity of this agent as resource
/// attributes of the collector's own telemetry.
///
/// The collector merges mappings deeply and replaces lists, so the overlay repeats `service.extensions`. A null in the
/// body (`extensions:`) merges like an empty mapping. A string (`extensions: ${file:x}`) would be replaced, so nothing
/// is added beside one. Resource attributes of the overlay win over those of the body, so a body that has its own gets
/// none from the agent. An attribute whose name contains `::` is left out: the collector reads that as a path.
///
/// If `capabilities.otlp` is set, metrics and logs each get an address: that of an `otlp` receiver in the body, or else
/// that of a new one on the second loopback port. The new one is added to the receivers of the first pipeline, which
/// are repeated like the extensions. A caller with nothing to export clears `capabilities.otlp`.
///
/// Where `localhost:8888` does not work on this host and the body leaves the collector's own metrics alone, their reader
/// gets the address of [`Loopback::metrics`].
///
/// To leave receivers out of a pipeline ([`Inspection::without_engine`]), the overlay sets the list of the others.
pub fn overlay(
    inspected: &Inspection,
    capabilities: Capabilities,
    loopback: impl Into<Loopback>,
    identity: &[(String, String)],
) -> Overlay {
    let loopback = loopback.into();
    let Loopback { ip, ports: [free_port, otlp_port], metrics: reader } = loopback;
    let addable = inspected.extensions_readable;
    let mut added = None;
    let witness = if let Some(Endpoint { host, port, path }) = inspected.health_check.clone() {
        let host = host.parse().map_or(host, |ip| loopback.reach(ip).to_string());
        Witness::HealthCheck { host, port, path }
    } else if addable && capabilities.health_check {
        let endpoint = SocketAddr::new(ip, free_port).to_string();
        added = Some((HEALTH_CHECK, format!("{{endpoint: {}}}", quoted(&endpoint, true))));
        Witness::HealthCheck { host: ip.to_string(), port: free_port, path: "/".to_owned() }
    } else if inspected.has_sd_notify {
        Witness::SdNotify
    } else if addable && capabilities.sd_notify {
        added = Some((SD_NOTIFY, "{}".to_owned()));
        Witness::SdNotify
    } else {
        Witness::Alive
    };

    let mut text = String::new();
    let mut service = String::new();
    if let Some((id, config)) = added {
        let listed = inspected.extensions.iter().map(String::as_str).filter(|listed| *listed != id);
        let ids: Vec<String> = listed.chain([id]).map(|id| quoted(id, true)).collect();
        text = format!("extensions:\n  {id}: {config}\n");
        service = format!("  extensions: [{}]\n", ids.join(", "));
    }
    let attributes = identity.iter().filter(|(name, _)| !name.is_empty() && !name.contains("::"));
    let attributes: String =
        attributes.map(|(name, value)| format!("      {}: {}\n", quoted(name, false), quoted(value, true))).collect();
    let mut telemetry = String::new();
    if !inspected.has_telemetry_resource && !attributes.is_empty() {
        telemetry += &format!("    resource:\n{attributes}");
    }
    if let Some(address) = reader.filter(|_| inspected.default_metrics_reader) {
        telemetry += &metrics_reader(address);
    }
    if !telemetry.is_empty() {
        service += &format!("  telemetry:\n{telemetry}");
    }
    let added = SocketAddr::new(ip, otlp_port);
    let mut pipelines = inspected.rewired.clone();
    let mut gets_receiver = false;
    let mut way_in = |way: &SignalPath| {
        let pipeline = way.pipeline.as_ref().filter(|_| capabilities.otlp && way.receiver.is_none());
        let Some(pipeline) = pipeline else {
            let receiver = way.receiver.filter(|_| capabilities.otlp);
            return receiver.map(|at| SocketAddr::new(loopback.reach(at.ip()), at.port()));
        };
        let listed = pipeline.receivers.iter().filter(|id| *id != RECEIVER).cloned();
        let receivers = listed.chain([RECEIVER.to_owned()]).collect();
        pipelines.retain(|rewired| rewired.id != pipeline.id);
        pipelines.push(Pipeline { id: pipeline.id.clone(), receivers });
        gets_receiver = true;
        Some(added)
    };
    let intake = Intake { metrics: way_in(&inspected.metrics), logs: way_in(&inspected.logs) };
    if gets_receiver {
        text += &format!("receivers:\n  {RECEIVER}: {{protocols: {{http: {{endpoint: \"{added}\"}}}}}}\n");
    }
    if !pipelines.is_empty() {
        service += "  pipelines:\n";
        for Pipeline { id, receivers } in &pipelines {
            let ids: Vec<String> = receivers.iter().map(|id| quoted(id, true)).collect();
            service += &format!("    {}: {{receivers: [{}]}}\n", quoted(id, false), ids.join(", "));
        }
    }
    if !service.is_empty() {
        text += &format!("service:\n{service}");
    }
    Overlay { text, witness, intake }
}

/// The reader that the collector makes by itself, at another address. With these options its metrics have the names and
/// labels of the default reader (compared with 0.149.0).
fn metrics_reader(address: SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "    metrics:\n      readers:\n        - pull:\n            exporter:\n              prometheus:\n                \
         host: \"{host}\"\n                port: {port}\n                without_scope_info: true\n                \
         without_type_suffix: true\n                without_units: true\n"
    )
}

/// A string as YAML in double quotes, which the collector reads back as the same string.
///
/// JSON's quoting would not do. It leaves U+007F to U+009F, U+FEFF and U+FFFE as they are, which end the parser, and
/// U+0085, U+2028 and U+2029, which the parser takes for line ends. In values a `$` is doubled, since the collector
/// expands `${env:X}` there, but not in keys.
pub fn quoted(text: &str, value: bool) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' if value => out.push_str("$$"),
            '\0'..=' ' | '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                if c != ' ' =>
            {
                out += &format!("\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::characters;
    use crate::tests::{GOOD, check};
    use crate::walk::kind;

    fn inspected(extensions: &[&str]) -> Inspection {
        let extensions: Vec<String> = extensions.iter().map(|id| (*id).to_owned()).collect();
        let has_sd_notify = extensions.iter().any(|id| kind(id) == "sd_notify");
        Inspection { extensions, extensions_readable: true, has_sd_notify, ..Inspection::default() }
    }

    fn pairs(identity: &[(&str, &str)]) -> Vec<(String, String)> {
        identity.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const NONE: Capabilities = Capabilities { health_check: false, sd_notify: false, otlp: false, more: false };
    const HEALTH: Capabilities = Capabilities { health_check: true, sd_notify: false, otlp: false, more: false };
    const NOTIFY: Capabilities = Capabilities { health_check: false, sd_notify: true, otlp: false, more: false };
    const BOTH: Capabilities = Capabilities { health_check: true, sd_notify: true, otlp: false, more: false };

    #[test]
    fn an_overlay_repeats_the_extensions_and_adds_one() {
        let made = overlay(&inspected(&["a", "health_check/x"]), BOTH, [4711, 4712], &[]);
        assert_eq!(
            made.text,
            "extensions:\n  health_check/otelet: {endpoint: \"127.0.0.1:4711\"}\n\
             service:\n  extensions: [\"a\", \"health_check/x\", \"health_check/otelet\"]\n"
        );
        let (host, path) = ("127.0.0.1".to_owned(), "/".to_owned());
        assert_eq!(made.witness, Witness::HealthCheck { host, port: 4711, path });

        let made = overlay(&inspected(&["a"]), NOTIFY, [4711, 4712], &[]);
        assert_eq!(
            made.text,
            "extensions:\n  sd_notify/otelet: {}\n\
             service:\n  extensions: [\"a\", \"sd_notify/otelet\"]\n"
        );
        assert_eq!(made.witness, Witness::SdNotify);
    }

    #[test]
    fn only_the_docker_receiver_is_left_out_while_the_engine_is_away() {
        let body = "receivers: {docker_stats: {}, hostmetrics: {}, filelog: {}}\nservice:\n  pipelines:\n    \
                    metrics: {receivers: [hostmetrics, docker_stats, docker_stats/2]}\n    logs: {receivers: [filelog]}\n";
        let found = check(body).unwrap();
        assert_eq!(overlay(&found, NONE, [1, 2], &[]).text, "", "the engine is there");
        assert_eq!(
            overlay(&found.clone().without_engine(), NONE, [1, 2], &[]).text,
            "service:\n  pipelines:\n    \"metrics\": {receivers: [\"hostmetrics\"]}\n"
        );
        let takes = Capabilities { otlp: true, ..NONE };
        let made = overlay(&found.without_engine(), takes, [1, 2], &[]);
        assert!(
            made.text.contains("    \"metrics\": {receivers: [\"hostmetrics\", \"otlp/otelet\"]}\n"),
            "{}",
            made.text
        );
        assert_eq!(made.text.matches("receivers: [").count(), 2, "each pipeline once: {}", made.text);

        // A pipeline with no other receiver, another receiver's name, and an expansion: nothing is left out.
        for body in [
            "service: {pipelines: {metrics: {receivers: [docker_stats]}, metrics/2: {receivers: [a, docker_stats]}}}",
            "service: {pipelines: {metrics: {receivers: [docker_statsd]}}}",
            "service: {pipelines: {metrics: {receivers: ['${env:R}', docker_stats]}}}",
        ] {
            assert_eq!(check(body).unwrap().engine, [], "{body}");
        }
    }

    #[test]
    fn nothing_to_add_is_an_empty_overlay() {
        let empty = |witness| Overlay { text: String::new(), witness, intake: Intake::default() };
        assert_eq!(overlay(&inspected(&["a"]), NONE, [1, 2], &[]), empty(Witness::Alive));
        let unreadable = Inspection { has_telemetry_resource: true, ..Inspection::default() };
        assert_eq!(overlay(&unreadable, BOTH, [1, 2], &pairs(&[("a", "b")])), empty(Witness::Alive));
        let own = inspected(&["sd_notify/mine"]);
        assert_eq!(overlay(&own, NOTIFY, [1, 2], &[]), empty(Witness::SdNotify));

        let (host, path) = ("127.0.0.1".to_owned(), "/health".to_owned());
        let checked = overlay(&check(GOOD).unwrap(), BOTH, [1, 2], &[]);
        assert_eq!(checked, empty(Witness::HealthCheck { host, port: 13133, path }));
    }

    #[test]
    fn the_identity_is_added_unless_the_body_has_its_own() {
        let identity =
            pairs(&[("service.instance.id", "1"), ("a::b", "a path"), ("", "nameless"), ("$k", "${env:X} $$")]);
        let made = overlay(&check(GOOD).unwrap(), BOTH, [1, 2], &identity);
        assert_eq!(
            made.text,
            "service:\n  telemetry:\n    resource:\n      \"service.instance.id\": \"1\"\n      \
             \"$k\": \"$${env:X} $$$$\"\n"
        );
        let own = Inspection { has_telemetry_resource: true, ..inspected(&[]) };
        assert_eq!(overlay(&own, NONE, [1, 2], &identity).text, "");
    }

    #[test]
    fn a_host_without_ipv4_gets_its_listeners_on_its_other_loopback() {
        let v6 = Loopback { ip: "::1".parse().unwrap(), ports: [4711, 4712], metrics: None };
        let all = Capabilities { otlp: true, ..BOTH };
        let body = piped("{a: }", "{metrics: {receivers: [a]}}");
        let made = overlay(&check(&body).unwrap(), all, v6, &[]);
        assert!(made.text.contains("health_check/otelet: {endpoint: \"[::1]:4711\"}"), "{}", made.text);
        assert!(made.text.contains("http: {endpoint: \"[::1]:4712\"}"), "{}", made.text);
        assert_eq!(made.intake.metrics, address("[::1]:4712"));
        let witness = |port| Witness::HealthCheck { host: "::1".into(), port, path: "/".into() };
        assert_eq!(made.witness, witness(4711));

        // Listeners of the body on all addresses or on `localhost`; others stay.
        for (endpoint, host) in [("0.0.0.0:13133", "::1"), ("localhost:13133", "::1"), ("10.0.0.1:13133", "10.0.0.1")] {
            let body = format!(
                "extensions: {{health_check: {{endpoint: '{endpoint}'}}}}\nreceivers: {{otlp: {{protocols: {{http: \
                 {{endpoint: '{endpoint}'}}}}}}}}\n\
                 service: {{extensions: [health_check], pipelines: {{metrics: {{receivers: [otlp]}}}}}}\n"
            );
            let made = overlay(&check(&body).unwrap(), all, v6, &[]);
            let Witness::HealthCheck { host: asked, .. } = made.witness else { panic!("{:?}", made.witness) };
            assert_eq!((&*asked, made.intake.metrics.unwrap().ip().to_string().as_str()), (host, host), "{endpoint}");
        }
    }

    #[test]
    fn the_collectors_own_metrics_get_an_address_where_the_body_leaves_them_alone() {
        let at = |address: &str| Loopback { metrics: Some(address.parse().unwrap()), ..Loopback::from([1, 2]) };
        let with = |telemetry: &str, loopback: Loopback| {
            let pipelines = "pipelines: {metrics: {receivers: [a]}}";
            overlay(&check(&format!("service: {{{telemetry} {pipelines}}}")).unwrap(), NONE, loopback, &[]).text
        };
        for left_alone in [
            "",
            "telemetry: ,",
            "telemetry: {logs: {level: debug}},",
            "telemetry: {metrics: },",
            "telemetry: {metrics: {level: detailed}},",
        ] {
            let text = with(left_alone, at("127.0.0.1:8888"));
            assert!(text.starts_with("service:\n  telemetry:\n    metrics:\n      readers:\n"), "{left_alone}: {text}");
            assert!(text.contains("host: \"127.0.0.1\"\n                port: 8888\n"), "{text}");
            assert_eq!(with(left_alone, Loopback::from([1, 2])), "", "where the default works");
        }
        assert!(with("", at("[::1]:9")).contains("host: \"::1\"\n                port: 9\n"));
        for own in [
            "telemetry: {metrics: {level: none}},",
            "telemetry: {metrics: {level: '${env:LEVEL}'}},",
            "telemetry: {metrics: {readers: []}},",
            "telemetry: {metrics: {readers: }},",
            "telemetry: {metrics: {address: 'localhost:8888'}},",
            "telemetry: {metrics: {<<: {readers: []}}},",
            "telemetry: {'metrics::readers': []},",
            "telemetry: '${file:telemetry.yaml}',",
            "telemetry: {metrics: '${file:metrics.yaml}'},",
        ] {
            assert_eq!(with(own, at("127.0.0.1:8888")), "", "{own}");
        }
        let identity = pairs(&[("a", "b")]);
        let body = "service: {pipelines: {metrics: {receivers: [a]}}}";
        let text = overlay(&check(body).unwrap(), NONE, at("127.0.0.1:8888"), &identity).text;
        assert_eq!(text.matches("  telemetry:\n").count(), 1, "{text}");
        let read: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(read["service"]["telemetry"]["resource"]["a"], "b");
        let prometheus = &read["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"];
        assert_eq!((&prometheus["port"], &prometheus["without_units"]), (&8888.into(), &true.into()));
    }

    const OTLP: Capabilities = Capabilities { health_check: false, sd_notify: false, otlp: true, more: false };

    fn exported(body: &str) -> Overlay {
        overlay(&check(body).unwrap(), OTLP, [1, 4711], &[])
    }

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    /// A config with these receivers and pipelines.
    fn piped(receivers: &str, pipelines: &str) -> String {
        format!("receivers: {receivers}\nexporters: {{nop: }}\nservice:\n  pipelines: {pipelines}\n")
    }

    #[test]
    fn a_receiver_is_added_to_the_first_pipeline_of_each_signal() {
        let body = piped(
            "{hostmetrics: , filelog: }",
            "{traces: {receivers: [a]}, metrics/a: {receivers: [hostmetrics, b]}, metrics: {receivers: [c]}, \
             logs: {receivers: [filelog]}}",
        );
        let made = exported(&body);
        assert_eq!(
            made.text,
            "receivers:\n  otlp/otelet: {protocols: {http: {endpoint: \"127.0.0.1:4711\"}}}\n\
             service:\n  pipelines:\n    \"metrics/a\": {receivers: [\"hostmetrics\", \"b\", \"otlp/otelet\"]}\n    \
             \"logs\": {receivers: [\"filelog\", \"otlp/otelet\"]}\n"
        );
        let port = address("127.0.0.1:4711");
        assert_eq!(made.intake, Intake { metrics: port, logs: port });
        // None without the capability.
        let made = overlay(&check(&body).unwrap(), NONE, [1, 4711], &[]);
        assert_eq!((made.text.as_str(), made.intake), ("", Intake::default()));
    }

    #[test]
    fn a_receiver_of_the_body_serves_if_it_can_be_reached() {
        let with = |receiver: &str| {
            exported(&piped(
                &format!("{{otlp/x: {receiver}}}"),
                "{metrics: {receivers: [a, otlp/x]}, logs: {receivers: [b]}}",
            ))
        };
        for (receiver, reached) in [
            ("{protocols: {http: {endpoint: '0.0.0.0:4318'}}}", "127.0.0.1:4318"),
            ("{protocols: {grpc: {endpoint: '0.0.0.0:4317'}, http: }}", "127.0.0.1:4318"),
            ("{protocols: {http: {endpoint: '[::1]:9', cors: {}}}}", "[::1]:9"),
        ] {
            let made = with(receiver);
            assert_eq!(made.intake.metrics, address(reached), "{receiver}");
            assert_eq!(made.intake.logs, address("127.0.0.1:4711"), "logs have none of their own");
            assert!(!made.text.contains("metrics"), "{}", made.text);
        }
        for receiver in [
            "",
            "{protocols: {grpc: }}",
            "{protocols: '${env:X}'}",
            "{protocols: {http: '${env:X}'}}",
            "{protocols: {http: {endpoint: 'example.com:4318'}}}",
            "{protocols: {http: {endpoint: '${env:HOST}:4318'}}}",
            "{protocols: {http: {endpoint: }}}",
            "{protocols: {http: {endpoint: 'localhost:1', tls: {cert_file: x}}}}",
            "{protocols: {http: {endpoint: 'localhost:1', auth: {authenticator: x}}}}",
            "{protocols: {http: {endpoint: 'localhost:1', metrics_url_path: /x}}}",
            "{protocols: {<<: &a {http: }, grpc: }}",
        ] {
            let made = with(receiver);
            assert_eq!(made.intake.metrics, address("127.0.0.1:4711"), "{receiver}");
            assert!(
                made.text.contains("\"metrics\": {receivers: [\"a\", \"otlp/x\", \"otlp/otelet\"]}"),
                "{}",
                made.text
            );
        }
    }

    #[test]
    fn nothing_is_added_beside_an_expansion() {
        for pipelines in [
            "{traces: {receivers: [a]}}",
            "{metrics: {receivers: '${env:X}'}}",
            "{metrics: {receivers: [a, '${env:X}']}}",
            "{metrics: {receivers: [a, [b]]}}",
            "{metrics: {receivers: [a, {b: c}]}}",
            "{metrics: {exporters: [nop]}}",
            "{metrics: '${file:metrics.yaml}'}",
            "{metrics: [a]}",
            "'${file:pipelines.yaml}'",
        ] {
            let made = exported(&piped("{a: }", pipelines));
            assert_eq!((made.text.as_str(), made.intake), ("", Intake::default()), "{pipelines}");
        }
        let expansion = exported(&piped("'${file:receivers.yaml}'", "{metrics: {receivers: [a]}}"));
        assert_eq!(expansion.intake, Intake::default());
        let second = exported(&piped("{a: }", "{metrics: {receivers: '${env:X}'}, metrics/b: {receivers: [a]}}"));
        assert_eq!(second.intake.metrics, address("127.0.0.1:4711"), "another one serves");
    }

    #[test]
    fn any_string_survives_quoting() {
        let codes = (0..0x3000_u32).chain(0xd700..0x1_0100).chain([0x1_f600, 0x10_ffff]);
        let every: String = codes.filter_map(char::from_u32).collect();
        let read: String = serde_yaml::from_str(&quoted(&every, false)).unwrap();
        assert_eq!(read, every);
        assert_eq!(characters(quoted(&every, false).as_bytes()).err(), None);
        let odd = "a\"\\\n\u{85}\u{1f600}$é/ ";
        assert_eq!(quoted(odd, true), "\"a\\\"\\\\\\u000a\\u0085\u{1f600}$$é/ \"");

        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let text: String = (0..20).map(|_| random.char(..)).collect();
            assert_eq!(serde_yaml::from_str::<String>(&quoted(&text, false)).unwrap(), text);
        }
    }

    #[test]
    fn capabilities_are_read_from_the_collectors_refusal() {
        let listed = |list: &str| {
            capabilities(&format!(
                "Error: failed to get config: cannot unmarshal the configuration: decoding failed \
                 due to the following error(s):\n\n'extensions' unknown type: \"otelet_probe\" for \
                 id: \"otelet_probe\" (valid values: [{list}])\n"
            ))
        };
        assert_eq!(listed("health_check file_storage"), HEALTH);
        assert_eq!(listed("zpages sd_notify health_check"), BOTH);
        assert_eq!(listed("health_checkv2 file_storage"), NONE);
        assert_eq!(listed(""), NONE);
        let receivers = "'receivers' unknown type: \"otelet_probe\" for id: \"otelet_probe\" \
                         (valid values: [filelog otlp health_check])\n";
        let both = "'extensions' unknown type: \"otelet_probe\" for id: \"otelet_probe\" \
                    (valid values: [sd_notify otlp])\n";
        let all = Capabilities { sd_notify: true, otlp: true, ..NONE };
        assert_eq!(capabilities(&format!("Error: x:\n\n{receivers}{both}")), all);
        assert_eq!(capabilities(&format!("Error: x:\n\n{both}{receivers}")), all);
        assert_eq!(capabilities(receivers), OTLP);
        for other in [
            "",
            "Segmentation fault",
            "(valid values: [health_check])",
            "\"otelet_probe\" (valid values: [health_check",
        ] {
            assert_eq!(capabilities(other), NONE, "{other}");
        }
    }
}
