//! No secret is in a log, a status, an error or a file that others can read.

use std::fs;
use std::path::{Path, PathBuf};

use otelet_wire::status::Status;

use super::host::{Agent, Host, Signal, config, environment, scripted, signal, stderr, stdout};
use super::server::Answer;

pub const SECRETS: [&str; 5] = ["s3cret-header", "s3cret-proxy", "s3cret-token", "s3cret-variable", "s3cret-query"];

/// A host with a secret in each place that takes one.
pub fn host() -> Host {
    let host = Host::new();
    let token = host.path("token");
    fs::write(&token, SECRETS[2]).unwrap();
    host.set("config.url", "\"http://config.example/config.yaml?key=s3cret-query\"");
    host.set("config.headers", "{X-Key: s3cret-header}");
    host.set("config.http_proxy", &host.server.at("").replace("http://", "http://user:s3cret-proxy@"));
    host.set("config.bearer_token_file", &token.display().to_string());
    host.set("collector.env", "{KEY: s3cret-variable}");
    host.set("log_level", "trace");
    host
}

pub fn holds_none(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} holds {secret}: {text}");
    }
    assert!(!text.contains("czNjcmV0LXByb3h5"), "{what} holds the proxy's password in base64: {text}");
}

pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

fn tells_nothing(host: &Host, agent: &Agent) {
    holds_none("the log", &agent.log());
    for arguments in [&["status"][..], &["status", "--json"], &["status", "--healthy"]] {
        let output = host.otelet(arguments);
        holds_none(&arguments.join(" "), &(stdout(&output) + &stderr(&output)));
    }
    for directory in [host.state_dir(), host.runtime_dir()] {
        for path in files(&directory).iter().filter(|path| path.is_file()) {
            holds_none(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(path).unwrap()));
        }
    }
}

#[test]
fn secrets_are_used_and_never_shown() {
    let host = host();
    let agent = host.agent_running(&config("good"));
    let asked = &host.server.requests()[0];
    assert_eq!(asked.header("x-key"), Some("s3cret-header"));
    assert_eq!(asked.header("authorization"), Some("Bearer s3cret-token"));
    assert!(asked.path.ends_with("?key=s3cret-query"), "{}", asked.path);
    assert!(asked.header("proxy-authorization").is_some());
    assert!(environment(host.collector()).contains(&"KEY=s3cret-variable".to_owned()));

    signal(host.collector(), Signal::KILL);
    host.started(2);
    agent.signal(Signal::HUP);
    agent.logs("settings read again");

    tells_nothing(&host, &agent);
}

#[test]
fn a_token_in_the_path_of_a_url_is_not_shown() {
    const TOKEN: &str = "0123456789abcdefTOKEN";
    let host = Host::new();
    let at = |what: &str| host.server.at(&format!("/{what}/{TOKEN}/x"));
    host.set("config.url", &at("config"));
    host.set("config.fallback", &format!("[\"{}\"]", at("fallback")));
    host.set("report.url", &at("report"));
    host.set("webhook.url", &at("hook"));
    host.set("export.to", &at("otlp"));
    host.set("host.sample_every", "100ms");
    host.set("alerts", "[{name: always, metric: system.memory.usage, above: 1}]");
    let agent = host.agent().start();
    for failed in ["config poll failed: ", "report not taken: ", "alerts not taken", "export "] {
        agent.logs(failed);
    }
    let hook = "https://hooks.example/services/T0/abcdefghij0123456789ABCD";
    let body = scripted("good", &[&format!("error Post \"{hook}\": dial tcp: no such host")]);
    host.server.offer(&*body);
    agent.logs("its last words: Post");

    // The collector's own output is passed on as it is.
    let log = agent.log();
    assert!(log.contains("/config/<redacted>/x") && !log.contains(TOKEN), "{log}");
    let exited = |status: &Status| {
        status.collector.last_exit.as_ref().is_some_and(|exit| exit.last_words.contains("/services/T0/<redacted>"))
    };
    let status = serde_json::to_string(&agent.wait_status("the last words", exited)).unwrap();
    let reported = host.server.wait_for("a report of it", |asked| {
        let is_report = |asked: &&super::server::Request| asked.path.starts_with("/report/");
        asked.iter().filter(is_report).any(|asked| String::from_utf8_lossy(&asked.body).contains("<redacted>"))
    });
    let reported = reported.iter().filter(|asked| asked.path.starts_with("/report/"));
    let bodies = reported.map(|asked| String::from_utf8_lossy(&asked.body).into_owned());
    for shown in bodies.chain([status, stdout(&host.otelet(&["status"]))]) {
        assert!(!shown.contains(TOKEN) && !shown.contains("abcdefghij0123456789ABCD"), "{shown}");
    }
}

#[test]
fn the_path_of_each_url_is_a_secret_where_the_settings_say_so() {
    let host = Host::new();
    let at = |what: &str| host.server.at(&format!("/{what}/s3cr/x"));
    host.set("config.url", &at("config"));
    host.set("config.secrets", "[url_path]");
    host.set("report.url", &at("report"));
    host.set("export.to", &at("otlp"));
    let body =
        config("good").replace("{debug: {}, ", "{debug: {}, otlphttp: {endpoint: \"http://127.0.0.1:1/in/s3cr\"}, ");
    host.server.offer(&*body);
    let agent = host.agent().start();
    agent.applied(&body);
    host.server.answer(Answer::status(503));
    let line = agent.logs("config poll failed: ");
    assert!(line.contains(&format!("{}: answered 503", host.server.at("/<redacted>"))), "{line}");

    let reports = host.server.wait_for("a report of it", |asked| {
        asked.iter().any(|asked| String::from_utf8_lossy(&asked.body).contains("endpoint: \\\"<redacted>\\\""))
    });
    let reports = reports.iter().filter(|asked| asked.path.starts_with("/report/"));
    let bodies = reports.map(|asked| String::from_utf8_lossy(&asked.body).into_owned());
    let status = [&["status"][..], &["status", "--json"]].map(|arguments| stdout(&host.otelet(arguments)));
    for shown in bodies.chain(status).chain([agent.log()]) {
        assert!(!shown.contains("s3cr"), "{shown}");
    }

    host.set("config.secrets", "[query]");
    let output = host.otelet(&["validate"]);
    assert!(stdout(&output).contains("url_path") || stderr(&output).contains("the only one is url_path"));
}

#[test]
fn secrets_are_not_shown_when_everything_fails() {
    let host = host();
    for answer in [
        Answer::status(401),
        Answer::status(407),
        Answer::Garbage,
        Answer::RedirectTo("http://else.example/?key=s3cret-query".into()),
    ] {
        host.server.answer(answer);
        let mut agent = host.agent().start();
        agent.logs("config poll failed: ");

        tells_nothing(&host, &agent);
        let output = host.otelet(&["validate"]);
        assert_eq!(output.status.code(), Some(1));
        holds_none("validate", &(stdout(&output) + &stderr(&output)));
        agent.stop();
    }
}

#[test]
fn refused_settings_show_no_secrets() {
    let host = Host::new();
    fs::write(host.path("secret"), "s3cret-header\nand a line break").unwrap();
    for (key, value) in [
        ("config.http_proxy", "\"socks5://user:s3cret-proxy@proxy:1\""),
        ("config.url", "\"http://user:s3cret-token@config.example/\""),
        ("config.url", "\"http://config.example/ ?key=s3cret-query\""),
        ("config.headers", "{X-Key: \"${file:secret}\"}"),
        ("collector.env", "{\"A=B\": s3cret-variable}"),
        ("config.poll_every", "${file:secret}"),
    ] {
        host.set(key, value);

        let output = host.otelet(&["run"]);

        assert_eq!(output.status.code(), Some(78), "{key}");
        holds_none(key, &stderr(&output));
        host.unset(key);
    }
}

#[test]
fn only_the_agents_own_user_can_read_its_files() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.server.offer(config("second"));
    agent.applied(&config("second"));

    for directory in [host.state_dir(), host.runtime_dir()] {
        for path in files(&directory).into_iter().chain([directory]) {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(super::system::mode(&path), expected, "{}", path.display());
        }
    }
}
