//! `otelet status` shows the config that runs, since when and from where; its exit status serves probes.

use std::collections::BTreeSet;

use otelet_wire::status::Status;
use serde_json::Value;

use super::host::{Host, Signal, config, hash, scripted, short, signal, state, stderr, stdout, wait_until};

#[test]
fn the_status_is_a_screen_for_people() {
    let host = Host::new();
    let agent = host.agent_running(&config("first"));
    host.server.offer(config("second"));
    agent.applied(&config("second"));
    let bad = scripted("bad", &["refuse unknown receiver"]);
    host.server.offer(&*bad);
    agent.failed(&bad);

    let output = host.otelet(&["status"]);

    assert_eq!(output.status.code(), Some(0));
    let screen = stdout(&output);
    let line = |name: &str| {
        let found = screen.lines().find(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("no line {name:?} in\n{screen}"))[name.len()..].trim().to_owned()
    };
    assert!(
        line("agent").starts_with("running, for ") && line("agent").contains(&format!("s, pid {}, ", agent.pid())),
        "{screen}"
    );
    assert!(line("collector").starts_with("up, for "), "{screen}");
    assert!(
        line("collector").contains(&format!("s, healthy by health_check, pid {}", host.runs("second"))),
        "{screen}"
    );
    assert!(line("config").starts_with(&short(&config("second"))), "{screen}");
    assert!(line("offered").starts_with(&format!("{}, failed", short(&bad))), "{screen}");
    assert!(line("last good").starts_with(&short(&config("second"))), "{screen}");
    assert!(line("previous").starts_with(&short(&config("first"))), "{screen}");
    assert_eq!(line("source"), host.server.url());
    assert!(line("refused").starts_with(&format!("{} ", short(&bad))), "{screen}");
    assert!(line("refused").contains(" ago: ") && line("refused").contains("unknown receiver"), "{screen}");
    assert!(line("host").contains(", up ") && screen.contains(" GiB"), "{screen}");
    assert!(!screen.contains('\x1b'), "this is no terminal: {screen:?}");
}

#[test]
fn the_status_as_json_for_scripts() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));

    let output = host.otelet(&["status", "--json"]);

    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["agent"]["pid"], agent.pid());
    assert_eq!(json["agent"]["state"], "running");
    assert_eq!(json["collector"]["state"], "up");
    assert_eq!(json["collector"]["pid"], host.runs("good"));
    assert_eq!(json["collector"]["healthy"], true);
    assert_eq!(json["collector"]["witness"], "health_check");
    assert_eq!(json["config"]["remote_config_status"], "applied");
    assert_eq!(json["config"]["last_good_hash"], hash(config("good")));
    assert_eq!(json["config"]["source"], host.server.url());
    assert_eq!(json["exchanges"]["offered"], 1);
    assert_eq!(json["losses"]["collector_log_lines"], 0);
    assert!(json["agent"]["memory_bytes"].as_u64().unwrap() > 0);
    assert!(json["host"]["memory_total_bytes"].as_u64().unwrap() > 0);
    for time in [&json["agent"]["since"], &json["collector"]["since"], &json["exchanges"]["last_success"]] {
        let time = time.as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 20, "{time}");
    }
}

/// The exit status and the output of `otelet status --healthy`.
pub fn healthy(host: &Host) -> (i32, String) {
    let output = host.otelet(&["status", "--healthy"]);
    (output.status.code().unwrap(), stdout(&output) + &stderr(&output))
}

#[test]
fn the_exit_status_answers_a_probe() {
    let host = Host::new();
    let (code, said) = healthy(&host);
    assert_eq!(code, 1);
    assert!(said.contains("no agent has written its status there; is it running, with this runtime_dir?"), "{said}");

    let mut agent = host.agent().start();
    agent.wait_status("the first status", |_| true);
    let idle = "collector is idle: there is no config to run yet; next: `otelet validate` tries each step and starts \
                nothing\n";
    assert_eq!(healthy(&host), (1, idle.into()));

    host.server.offer(config("good"));
    agent.signal(Signal::HUP);
    agent.applied(&config("good"));
    assert_eq!(healthy(&host), (0, String::new()));

    agent.stop();
    let (code, said) = healthy(&host);
    assert_eq!(code, 1);
    assert!(said.contains("agent is not running"), "{said}");
}

#[test]
fn an_unhealthy_collector_is_shown() {
    let host = Host::new();
    host.server.offer(scripted("never ready", &["never-ready"]));
    let agent = host.agent().start();
    host.started(1);

    agent.wait_status("a complaint", |status| status.collector.trouble.is_some());

    let (code, said) = healthy(&host);
    assert_eq!(code, 1);
    assert!(said.starts_with("collector is up: health_check at 127.0.0.1:"), "{said}");
}

#[test]
fn an_agent_that_hangs_is_not_healthy_whatever_its_last_status_says() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    agent.signal(Signal::STOP);
    wait_until("a stopped agent", || state(agent.pid()) == Some('T'));

    let (code, said) = healthy(&host);

    assert_eq!(code, 1);
    assert!(said.contains(&format!("agent {} does not answer within 3s", agent.pid())), "{said}");
    signal(agent.pid(), Signal::CONT);
    wait_until("a healthy agent", || healthy(&host).0 == 0);
}

#[test]
fn an_agent_that_was_killed_is_not_healthy_and_its_last_status_is_shown() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    agent.kill();

    assert_eq!(healthy(&host).0, 1);
    let output = host.otelet(&["status"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains(&short(&config("good"))));
    assert!(stderr(&output).contains("agent is not running; its last status is of 20"), "{}", stderr(&output));
}

#[test]
fn a_collector_that_waits_says_why_since_when_it_will_be_started_and_what_to_do() {
    let host = Host::new();
    host.server.offer(scripted("dies", &["error listen tcp: lookup localhost: no such host"]));
    let agent = host.agent().start();
    // The first starts follow at once.
    let far = |status: &Status| status.collector.next_start_at.is_some() && status.collector.restarts > 3;
    agent.wait_status("a wait", far);

    let (code, said) = healthy(&host);
    let screen = stdout(&host.otelet(&["status"]));

    assert_eq!(code, 1);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("; last exit: code 1: listen tcp: lookup localhost: no such host; localhost does not resolve")
    );
    assert!(said.ends_with("next: `otelet status` shows more, `otelet diagnose` collects the logs\n"), "{said}");
    let waits = screen.lines().any(|line| line.starts_with("collector   waiting, next start in "));
    assert!(waits || screen.contains("collector   starting") || screen.contains("collector   up"), "{screen}");
}

#[test]
fn a_config_that_sends_nothing_anywhere_is_told() {
    let host = Host::new();
    // The scripted configs have no exporter that sends.
    let quiet = config("quiet");
    let agent = host.agent_running(&quiet);
    assert_eq!(
        agent.status(&host).collector.goes_nowhere.as_deref(),
        Some("the exporters of the config are debug, file or nop alone; add one that sends")
    );
    let screen = stdout(&host.otelet(&["status"]));
    assert!(screen.contains("\ndata        goes nowhere: the exporters of the config are "), "{screen}");

    // The agent's own exports leave, the collector's would not.
    host.change(&agent, "report.url", &host.server.at("/report"));
    agent.wait_status("no such line", |status| status.collector.goes_nowhere.is_none());
    host.unset("report.url");
    agent.signal(Signal::HUP);
    agent.wait_status("that line again", |status| status.collector.goes_nowhere.is_some());

    let sends = quiet.replace("exporters: [debug]", "exporters: [otlp]");
    assert_ne!(sends, quiet);
    host.server.offer(&*sends);
    assert_eq!(agent.applied(&sends).collector.goes_nowhere, None);

    let chosen = quiet.replace("exporters: [debug]", "exporters: ['${env:OTELET_EXPORTER:-debug}']");
    assert_ne!(chosen, quiet);
    host.server.offer(&*chosen);
    let why = agent.applied(&chosen).collector.goes_nowhere.unwrap();
    assert!(why.starts_with("no backend is set; set collector.env.OTEL_EXPORTER_OTLP_ENDPOINT"), "{why}");
    host.change(&agent, "collector.env", "{OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9'}");
    agent.wait_status("a backend", |status| status.collector.goes_nowhere.is_none() && status.collector.healthy);
}

/// The keys of a JSON value, such as `config.refused[].hash`: one for every value that is neither an object nor a list.
fn keys(value: &serde_json::Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            let key = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            keys(value, &key, found);
        }),
        Value::Array(items) if !items.is_empty() => {
            items.iter().for_each(|item| keys(item, &format!("{at}[]"), found));
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(at.to_owned());
        }
    }
}

/// The keys in the first column of docs/status.md. `.at` continues the section of the key before it.
fn documented_keys() -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status.md")).unwrap();
    let mut keys = BTreeSet::new();
    let mut section = String::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        for name in line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            let key = if name.starts_with('.') { section.clone() + name } else { name.to_owned() };
            section = key.rsplit_once('.').map_or("", |(section, _)| section).to_owned();
            keys.insert(key);
        }
    }
    keys
}

/// Whether a documented key stands for this one: `NAME` stands for any name in the settings, dots and all.
fn means(documented: &str, key: &str) -> bool {
    match documented.split_once("NAME") {
        Some((head, tail)) => key.len() > head.len() + tail.len() && key.starts_with(head) && key.ends_with(tail),
        None => documented == key,
    }
}

/// Sections that this test fills. In other sections a null or empty value shows nothing about its keys.
const FILLED: [&str; 8] = ["agent", "collector", "config", "exchanges", "reports", "losses", "answer", "serial"];

#[test]
fn every_key_has_a_line_in_the_docs_and_every_line_a_key() {
    let host = Host::new();
    host.set("attributes", "{deployment.environment: lab}");
    let mut agent = host.agent_running(&config("first"));
    host.server.offer(config("second"));
    agent.applied(&config("second"));
    let bad = scripted("bad", &["refuse unknown receiver"]);
    host.server.offer(&*bad);
    agent.failed(&bad);
    signal(host.collector(), Signal::KILL);
    agent.wait_status("the end of the collector", |status| status.collector.last_exit.is_some());
    assert_eq!(host.otelet(&["rollback"]).status.code(), Some(0));

    let output = host.otelet(&["status", "--json"]);
    agent.stop();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = BTreeSet::new();
    keys(&status, "", &mut found);
    let documented = documented_keys();
    // A null or an empty list stands for everything that could be in its place.
    let is_empty =
        |key: &String| found.iter().any(|it| key.starts_with(&format!("{it}.")) || key.starts_with(&format!("{it}[]")));

    for key in &found {
        let known = documented.iter().any(|line| means(line, key));
        let stands_for =
            documented.iter().any(|line| line.starts_with(&format!("{key}.")) || line.starts_with(&format!("{key}[]")));
        assert!(known || stands_for, "docs/status.md has no line for the key {key}");
    }
    for line in &documented {
        let section = line.split(['.', '[']).next().unwrap();
        let there = found.iter().any(|key| means(line, key));
        assert!(
            there || is_empty(line) && !FILLED.contains(&section),
            "docs/status.md has a line for {line}, which the agent's status has not: {found:#?}"
        );
    }
}
