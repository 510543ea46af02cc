//! Files of people come from many editors: a byte order mark, line ends of Windows and blank lines do no harm; what
//! cannot be read is named with its place.

use std::fs;
use std::path::Path;

use super::host::{Host, config, stderr};

const MARK: &str = "\u{feff}";

/// As Notepad and PowerShell save it.
fn of_windows(path: &Path, text: &str) {
    fs::write(path, format!("{MARK}{text}\n\n").replace('\n', "\r\n")).unwrap();
}

fn utf_16(text: &str) -> Vec<u8> {
    format!("{MARK}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_mark_and_line_ends_of_windows_do_no_harm() {
    let host = Host::new();
    of_windows(&host.path("token"), "t0k3n");
    of_windows(&host.path("key"), "k3y");
    host.set("config.bearer_token_file", &host.path("token").display().to_string());
    host.set("config.headers", &format!("{{X-Key: '${{file:{}}}'}}", host.path("key").display()));
    let settings = fs::read_to_string(host.settings_file()).unwrap();
    of_windows(&host.settings_file(), &settings);

    let _agent = host.agent_running(&config("good"));

    let request = host.server.requests()[0].clone();
    assert_eq!(request.header("authorization"), Some("Bearer t0k3n"));
    assert_eq!(request.header("x-key"), Some("k3y"));
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let host = Host::new();
    let settings = fs::read_to_string(host.settings_file()).unwrap();
    let refused = |bytes: &[u8], words: &[&str]| {
        fs::write(host.settings_file(), bytes).unwrap();
        let output = host.otelet(&["run"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    refused(&utf_16(&settings), &["otelet.yaml: is UTF-16", "save it as UTF-8"]);
    refused(b"config:\n\turl: /x\n", &["otelet.yaml:2:1: ", "a tab indents the line: write spaces"]);
    let pasted = "config:\n  timeout: 5s\n \u{a0}url: /x\n";
    refused(pasted.as_bytes(), &["otelet.yaml:3:", "column 2 is a no-break space (U+00A0)"]);

    fs::write(host.path("key"), utf_16("k3y")).unwrap();
    let by_file = format!("config:\n  headers: {{X-Key: '${{file:{}}}'}}\n", host.path("key").display());
    refused(by_file.as_bytes(), &["otelet.yaml:2:20: config.headers.X-Key: ", "key is UTF-16"]);
}

#[test]
fn certificates_and_tokens_in_utf_16_are_named() {
    let host = Host::new();
    host.server.offer(config("good"));
    fs::write(host.path("token"), utf_16("t0k3n")).unwrap();
    host.set("config.bearer_token_file", &host.path("token").display().to_string());

    let agent = host.agent().start();

    let line = agent.logs("config poll failed");
    assert!(line.contains("token: is UTF-16, as PowerShell") && !line.contains("t0k3n"), "{line}");

    host.change(&agent, "config.bearer_token_file", "\"\"");
    fs::write(host.path("ca.pem"), utf_16("-----BEGIN CERTIFICATE-----\n")).unwrap();
    host.set("config.ca_file", &host.path("ca.pem").display().to_string());
    host.change(&agent, "config.url", "https://127.0.0.1:1/");
    agent.logs("ca.pem: is UTF-16");
}
