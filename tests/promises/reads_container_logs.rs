//! Lines of logs become records with a severity: the built-in configs read a level in a line of JSON or logfmt, join
//! indented lines, keep the fields of JSON as attributes, and leave lines alone where somebody asked for that. By the real
//! Collector named by `OTELET_COLLECTOR`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Value, json};

use super::host::Agent;
use super::runs_a_real_collector::Setup;
use super::server::Request;

/// A built-in config that sends logs alone, at once, as JSON.
fn logs_only(text: &str, metrics: &str, left_out: [&str; 2]) -> String {
    let (begin, end) = (text.find(left_out[0]).unwrap(), text.find(left_out[1]).unwrap());
    let text = format!("{}{}", &text[..begin], &text[end..]);
    let changes = [
        (metrics, "receivers: [otlp]"),
        ("  batch: {}", "  batch: {timeout: 100ms}"),
        ("  otlphttp:\n", "  otlphttp:\n    encoding: json\n    compression: none\n"),
        (":4317", ":0"),
        (":4318", ":0"),
    ];
    changes.into_iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from} stands once in it");
        text.replace(from, to)
    })
}

fn running(setup: &Setup, body: &str, env: &[(&str, &str)]) -> Agent {
    let endpoint = setup.sink.at("");
    let env = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.trim_end_matches('/'))], env].concat();
    let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}: '{value}'")).collect();
    setup.host.set("collector.env", &format!("{{{}}}", env.join(", ")));
    setup.host.agent_running(body)
}

/// The records of a container or a pod: severity, body and attributes.
fn records(asked: &[Request], of: &str) -> Vec<(u64, String, Value)> {
    let mut records = Vec::new();
    for asked in asked.iter().filter(|asked| asked.path == "/v1/logs") {
        let mut body: Value = serde_json::from_slice(&asked.body).unwrap();
        for resource in body["resourceLogs"].as_array_mut().unwrap() {
            if !resource["resource"].to_string().contains(&format!("\"{of}\"")) {
                continue;
            }
            for record in resource["scopeLogs"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .flat_map(|scope| scope["logRecords"].as_array_mut().unwrap())
            {
                let attributes = record["attributes"].as_array().into_iter().flatten();
                let attributes: serde_json::Map<String, Value> =
                    attributes.map(|pair| (pair["key"].as_str().unwrap().to_owned(), pair["value"].clone())).collect();
                let severity = record["severityNumber"].as_u64().unwrap_or_default();
                records.push((severity, record["body"]["stringValue"].as_str().unwrap().into(), attributes.into()));
            }
        }
    }
    records
}

/// Waits for as many records of a container or pod as there should be, and returns them.
fn arrived(setup: &Setup, of: &str, count: usize) -> Vec<(u64, String, Value)> {
    let asked = setup.sink.wait_for(&format!("{count} records of {of}"), |asked| records(asked, of).len() >= count);
    records(&asked, of)
}

/// Severities and bodies, in the order of the severities: two streams have no order.
fn lines(records: &[(u64, String, Value)]) -> Vec<(u64, &str)> {
    let mut lines: Vec<_> = records.iter().map(|(severity, body, _)| (*severity, body.as_str())).collect();
    lines.sort();
    lines
}

/// The stream and the text of each line.
const LOG: [(&str, &str); 13] = [
    ("stdout", r#"{"level":"warn","msg":"disk is filling","free":12,"ratio":0.5,"id":9007199254740993}"#),
    ("stdout", r#"{"severity":"ERROR","message":"no route"}"#),
    ("stdout", r#"{"level":20,"msg":"a number of pino"}"#),
    ("stdout", r#"{"log.level":"critical","message":"in ECS"}"#),
    ("stdout", "time=12:00 level=info msg=\"in logfmt\""),
    ("stdout", "java.lang.Exception: boom"),
    ("stdout", "\tat shop.Cart.add(Cart.java:7)"),
    ("stderr", "panic: two streams"),
    ("stdout", "Caused by: java.io.Exception"),
    ("stderr", "  in main.go"),
    ("stdout", r#"{"a":1} {"two":"objects"}"#),
    ("stdout", "{broken}"),
    ("stdout", "a level=headed line"),
];

const PARSED: [(u64, &str); 10] = [
    (0, "a level=headed line"),
    (0, "java.lang.Exception: boom\n\tat shop.Cart.add(Cart.java:7)\nCaused by: java.io.Exception"),
    (0, "panic: two streams\n  in main.go"),
    (0, r#"{"a":1} {"two":"objects"}"#),
    (0, "{broken}"),
    (5, "a number of pino"),
    (9, "time=12:00 level=info msg=\"in logfmt\""),
    (13, "disk is filling"),
    (17, "no route"),
    (18, "in ECS"),
];

fn as_they_were() -> Vec<(u64, &'static str)> {
    let mut all: Vec<_> = LOG.iter().map(|(_, text)| (0, *text)).collect();
    all.sort();
    all
}

fn has_fields(records: &[(u64, String, Value)]) {
    let (_, _, fields) = records.iter().find(|(_, body, _)| body == "disk is filling").unwrap();
    assert_eq!(fields["free"], json!({"intValue": "12"}));
    assert_eq!(fields["id"], json!({"intValue": "9007199254740993"}), "a fraction would not be exact");
    assert_eq!(fields["ratio"], json!({"doubleValue": 0.5}));
    assert_eq!(fields["log.iostream"], json!({"stringValue": "stdout"}));
    let ours: Vec<_> = fields.as_object().unwrap().keys().filter(|name| name.starts_with("otelet.")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

/// A log of the json-file driver, behind a link as the agent makes it.
fn container(setup: &Setup, name: &str, labels: &[(&str, &str)]) -> PathBuf {
    let mut facts = json!({"container.id": "abc", "container.name": name, "container.image.name": "web:1"});
    for (label, value) in labels {
        facts[format!("container.label.{label}")] = (*value).into();
    }
    let parts = base64::engine::general_purpose::STANDARD.encode(facts.to_string()).replace('/', "_");
    let mut folder = setup.host.state_dir().join("collector/containers/new");
    folder.extend(parts.as_bytes().chunks(240).map(|part| std::str::from_utf8(part).unwrap()));
    fs::create_dir_all(&folder).unwrap();
    folder.join("log")
}

fn writes(path: &Path, lines: impl IntoIterator<Item = String>) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    lines.into_iter().for_each(|line| writeln!(file, "{line}").unwrap());
}

/// As the driver writes it; each log begins with its name, since the receiver knows a file by its first bytes.
fn json_file(name: &str) -> Vec<String> {
    let line = |(stream, text): (&str, &str)| {
        json!({"log": format!("{text}\n"), "stream": stream, "time": "2026-11-25T18:00:00.1Z"}).to_string()
    };
    [("stdout", name)].into_iter().chain(LOG).map(line).collect()
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn lines_of_containers_have_severities_and_a_label_leaves_them_alone() {
    let setup = Setup::new();
    setup.host.set("host.root", &setup.host.path("root").display().to_string());
    fs::create_dir_all(setup.host.path("root")).unwrap();
    for (name, labels) in [("web", &[][..]), ("odd", &[("otelet.logs", "raw")])] {
        writes(&container(&setup, name, labels), json_file(name));
    }
    let text = include_str!("../../targets/docker/collector.yaml");
    let left_out = ["  docker_stats:\n", "  # Logs of containers that were older"];
    let body = logs_only(text, "receivers: [hostmetrics, docker_stats, otlp]", left_out);
    let agent = running(&setup, &body, &[]);

    let web = arrived(&setup, "web", 1 + PARSED.len());
    let expected: Vec<_> = lines(&web).into_iter().filter(|(_, body)| *body != "web").collect();
    assert_eq!(expected, PARSED);
    has_fields(&web);
    let odd = arrived(&setup, "odd", 1 + LOG.len());
    let expected: Vec<_> = lines(&odd).into_iter().filter(|(_, body)| *body != "odd").collect();
    assert_eq!(expected, as_they_were());

    // The last line waits for more of its kind, and is not lost when the collector ends meanwhile.
    let path = container(&setup, "web", &[]);
    writes(
        &path,
        [json!({"log": "the last line\n", "stream": "stdout", "time": "2026-11-25T18:00:00.1Z"}).to_string()],
    );
    setup.host.server.offer(format!("{body}# another config\nconnectors: {{}}\n"));
    let web = arrived(&setup, "web", 2 + PARSED.len());
    assert_eq!(web.last().unwrap().1, "the last line");
    drop(agent);
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn lines_of_pods_have_severities_and_a_variable_leaves_them_alone() {
    let setup = Setup::new();
    let pods = setup.host.path("pods");
    for pod in ["web-1", "odd-1"] {
        let folder = pods.join(format!("shop_{pod}_0123-4567")).join("app");
        fs::create_dir_all(&folder).unwrap();
        let line = |(stream, text): (&str, &str)| format!("2026-11-25T18:00:00.123456789Z {stream} F {text}");
        writes(&folder.join("0.log"), [("stdout", pod)].into_iter().chain(LOG).map(line));
    }
    let text = include_str!("../../targets/kubernetes/base/node/collector.yaml");
    let body = logs_only(text, "receivers: [kubeletstats, hostmetrics, otlp]", ["  kubeletstats:\n", "  filelog:\n"]);
    let body = body.replace("/var/log/pods", &pods.display().to_string()).replace("0.0.0.0", "127.0.0.1");
    let env = [("K8S_NAMESPACE", "otelet"), ("K8S_NODE_NAME", "n"), ("K8S_RAW_LOGS", "^shop/odd-")];
    let agent = running(&setup, &body, &env);

    let web = arrived(&setup, "web-1", 1 + PARSED.len());
    let expected: Vec<_> = lines(&web).into_iter().filter(|(_, body)| *body != "web-1").collect();
    assert_eq!(expected, PARSED);
    has_fields(&web);
    let odd = arrived(&setup, "odd-1", 1 + LOG.len());
    let expected: Vec<_> = lines(&odd).into_iter().filter(|(_, body)| *body != "odd-1").collect();
    assert_eq!(expected, as_they_were());
    drop(agent);
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn system_logs_have_the_severity_that_is_written_in_them() {
    for text in
        [include_str!("../../targets/docker/collector.yaml"), include_str!("../../targets/linux/collector.yaml")]
    {
        let setup = Setup::new();
        let root = setup.host.path("root");
        let log = root.join("var/log/syslog");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&log, "").unwrap();
        setup.host.set("host.root", &root.display().to_string());
        let body = match text.contains("docker_stats") {
            true => {
                let left_out = ["  docker_stats:\n", "  # Logs of containers that were older"];
                logs_only(text, "receivers: [hostmetrics, docker_stats, otlp]", left_out)
            }
            false => logs_only(text, "receivers: [hostmetrics, otlp]", ["  hostmetrics:\n", "  filelog:\n"]),
        };
        let body = body
            .replace("[/var/log/syslog,", &format!("[{},", log.display()))
            .replace("poll_interval: 1s", "poll_interval: 200ms");
        let agent = running(&setup, &body, &[]);
        agent.applied(&body);
        let all = [
            "Nov 30 17:00:00 press kernel: usb 1-1: error -71",
            "2026-11-30T17:00:00.1+00:00 press dockerd[1]: time=\"x\" level=warning msg=\"low\"",
            "<34>Nov 30 17:00:00 press su: failed",
            "<134>Nov 30 17:00:00 press app: level=error is its own word",
        ];
        writes(&log, all.map(str::to_owned));
        let records = arrived(&setup, "host.name", all.len());
        assert_eq!(lines(&records), [(0, all[0]), (9, all[3]), (13, all[1]), (18, all[2])]);
    }
}
