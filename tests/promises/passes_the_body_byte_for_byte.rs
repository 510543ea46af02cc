//! The collector gets the body as it was offered; the agent's additions are in a second file.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_yaml::Value;

use super::host::{COLLECTOR, Host, command_line, config, environment, hash, scripted};

fn yaml(path: impl AsRef<Path>) -> Value {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn not_a_byte_of_the_body_is_changed() {
    let host = Host::new();
    // A byte order mark, CRLF, tabs, trailing blanks, anchors, merge keys, a tag, non-ASCII, and no line break at the
    // end.
    let body = "\u{feff}# odd\r\nreceivers:\t# tab\r\n  otlp: &a {protocols: {grpc: }}  \t\r\n  otlp/2: {<<: *a}\r\n\
                exporters: {\"debug\": !!map {}}\r\n# Grüße \u{1f600}   \r\n\
                service: { pipelines: { 'traces': {receivers: [otlp], exporters: [debug]} } }";
    host.server.offer(body);

    let agent = host.agent().start();

    let status = agent.applied(body);
    let path = host.starts()[0].path().to_owned();
    assert_eq!(fs::read(&path).unwrap(), body.as_bytes());
    assert_eq!(path, host.state_dir().join("configs").join(format!("{}.yaml", hash(body))));
    assert_eq!(status.config.effective_path.as_deref(), path.to_str());
}

#[test]
fn the_collector_is_started_on_the_body_the_overlay_and_the_arguments_of_the_settings() {
    let host = Host::new();
    host.set("collector.args", "[--feature-gates=-some.gate, \"--other=a: b\"]");
    let body = config("good");
    let agent = host.agent_running(&body);

    let line = command_line(host.runs("good"));

    let file = host.state_dir().join("configs").join(format!("{}.yaml", hash(&body)));
    let overlay = host.runtime_dir().join("overlay.yaml");
    let [file, overlay] = [file, overlay].map(|path| path.display().to_string());
    assert_eq!(
        line,
        [&**COLLECTOR, "--config", &file, "--config", &overlay, "--feature-gates=-some.gate", "--other=a: b"]
    );
    drop(agent);
}

#[test]
fn validation_gets_the_body_the_overlay_and_the_arguments_of_a_run() {
    let host = Host::new();
    host.set("collector.args", "[--feature-gates=-some.gate]");
    let body = scripted("slow", &["validate-hang"]);
    host.server.offer(&*body);
    let agent = host.agent().start();
    let validator = host.wait("the validation", || {
        host.journal().into_iter().find(|entry| entry.event == "validate" && entry.detail.contains(&hash(&body)))
    });

    let line = command_line(validator.pid);

    let overlay = host.runtime_dir().join("validate-overlay.yaml");
    let path = overlay.to_str().unwrap();
    let gates = "--feature-gates=-some.gate";
    assert_eq!(line, [&**COLLECTOR, "validate", "--config", &validator.detail, "--config", path, gates]);
    let overlay = yaml(overlay);
    assert_eq!(overlay["service"]["extensions"][0], "health_check/otelet");
    drop(agent);
}

#[test]
fn the_overlay_adds_a_health_check_and_repeats_the_extensions_of_the_body() {
    let host = Host::new();
    let body = config("good")
        + "  extensions: [file_storage, file_storage/2]\nextensions: {file_storage: , file_storage/2: }\n";
    let agent = host.agent_running(&body);

    let overlay = yaml(host.runtime_dir().join("overlay.yaml"));

    let listed: Vec<&str> =
        overlay["service"]["extensions"].as_sequence().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(listed, ["file_storage", "file_storage/2", "health_check/otelet"]);
    assert!(overlay["extensions"]["health_check/otelet"]["endpoint"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(agent.status(&host).collector.witness.as_deref(), Some("health_check"));
}

#[test]
fn the_overlay_identifies_the_agent() {
    let host = Host::new();
    host.set("attributes", "{site: north-4, host.name: named-by-hand}");
    let agent = host.agent_running(&config("good"));

    let resource = &yaml(host.runtime_dir().join("overlay.yaml"))["service"]["telemetry"]["resource"];

    let uid = agent.status(&host).agent.instance_uid;
    assert_eq!(resource["service.instance.id"].as_str(), Some(&*uid));
    assert_eq!(resource["site"], "north-4");
    assert_eq!(resource["host.name"], "named-by-hand");
    assert!(environment(host.collector()).contains(&format!("OTELET_INSTANCE_UID={uid}")), "configs may use it too");
}

#[test]
fn a_health_check_of_the_body_is_used_as_it_is() {
    let host = Host::new();
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let body = format!(
        "{}  extensions: [health_check/mine]\nextensions: {{health_check/mine: {{endpoint: \"{endpoint}\"}}}}\n",
        config("good")
    );

    let agent = host.agent_running(&body);

    assert_eq!(agent.status(&host).collector.witness.as_deref(), Some("health_check"));
    let overlay = yaml(host.runtime_dir().join("overlay.yaml"));
    assert!(overlay["extensions"].is_null() && overlay["service"]["extensions"].is_null(), "{overlay:?}");
}
