//! When a report, an alert or an export does not arrive, the message names a setting of the section that sent it, and
//! not one of `config`.

use std::fs;

use super::exports_once::exporting;
use super::host::{Agent, Host, config, stderr};
use super::server::{Answer, Server};

const REPORT: &str = "report not taken: ";
const ALERT: &str = "alerts not taken by the webhook: ";
const EXPORT: &str = "export failed: ";
const TAKEN: &str = "export accepted, but it is unknown whether part of it was rejected: ";

fn reporting() -> (Host, Server) {
    let (host, server) = (Host::new(), Server::new());
    host.set("report.url", &server.at("/in"));
    (host, server)
}

/// A host with an alert that always fires.
fn alerting() -> (Host, Server) {
    let (host, server) = (Host::new(), Server::new());
    host.set("host.sample_every", "100ms");
    host.set("alerts", "[{name: always, metric: system.memory.usage, above: 1}]");
    host.set("webhook.url", &server.at("/in"));
    (host, server)
}

/// The agent's message after these words, up to the semicolon before the next step.
fn complaint_after(agent: &Agent, words: &str) -> String {
    let line = agent.logs(words);
    let (_, message) = line.split_once(words).unwrap();
    let end = ["; next try in ", "; it is kept, ", "; it is dropped "].iter().filter_map(|end| message.find(end)).min();
    message[..end.unwrap_or(message.len())].trim_end().to_owned()
}

/// The same of an agent whose sender gets this answer. `SERVER` stands for the server's own address, and the path of
/// the signal that was exported first is left out.
fn complaint((host, server): (Host, Server), answer: Answer, words: &str) -> String {
    server.answer(answer);
    let agent = host.agent_running(&config("good"));
    let message = complaint_after(&agent, words).replace(&server.at(""), "SERVER");
    message.replace("SERVER/v1/logs: ", "SERVER: ").replace("SERVER/v1/metrics: ", "SERVER: ")
}

fn redirect(to: &str) -> Answer {
    Answer::Status(307, vec![("Location".into(), to.into())], Vec::new())
}

/// A head that every client refuses.
fn bad_header() -> Answer {
    Answer::Raw(b"HTTP/1.1 200 OK\r\nno header at all\r\n\r\n".to_vec())
}

#[test]
fn a_report_that_is_redirected() {
    let told = complaint(reporting(), redirect("https://new.example/in"), REPORT);

    let leads = "redirects to https://new.example/in, another host";
    assert_eq!(told, format!("SERVER/in: {leads}; set report.url to it if that is right"));
}

#[test]
fn a_report_that_is_answered_with_a_bad_header() {
    let told = complaint(reporting(), bad_header(), REPORT);
    assert!(told.starts_with("SERVER/in: answer is not valid HTTP: "), "{told}");
    assert!(told.ends_with("; check report.url"), "{told}");
}

#[test]
fn an_alert_that_is_redirected() {
    let told = complaint(alerting(), redirect("https://new.example/in"), ALERT);

    let leads = "redirects to https://new.example/in, another host";
    assert_eq!(told, format!("SERVER/in: {leads}; set webhook.url to it if that is right"));
}

#[test]
fn an_alert_that_is_redirected_to_a_web_page() {
    let told = complaint(alerting(), Answer::RedirectTo("https://new.example/in".into()), ALERT);

    let leads = "answered a POST with 302, which does not keep its body, and leads to https://new.example/in";
    assert_eq!(told, format!("SERVER/in: {leads}; set webhook.url to it if that is right"));
}

#[test]
fn an_alert_that_is_answered_with_a_bad_header() {
    let told = complaint(alerting(), bad_header(), ALERT);
    assert!(told.starts_with("SERVER/in: answer is not valid HTTP: "), "{told}");
    assert!(told.ends_with("; check webhook.url"), "{told}");
}

#[test]
fn an_export_that_is_redirected() {
    let told = complaint(exporting(), redirect("https://new.example/otlp/v1/logs"), EXPORT);

    // The setting holds the URL without the path of the signal.
    let leads = "redirects to https://new.example/otlp/v1/logs, another host";
    assert_eq!(told, format!("SERVER: {leads}; set export.to to https://new.example/otlp if that is right"));

    let told = complaint(exporting(), redirect("https://new.example/login"), EXPORT);
    assert_eq!(told, "SERVER: redirects to https://new.example/login, another host; check export.to");
}

#[test]
fn an_export_with_an_oversized_answer() {
    let (host, server) = exporting();
    server.answer(Answer::HugeContentLength);
    let agent = host.agent_running(&config("good"));

    let told = complaint_after(&agent, TAKEN);
    server.wait_for_requests(6);

    assert!(told.ends_with(": body is larger than 64KiB; check export.to"), "{told}");
    assert_eq!(agent.logged(TAKEN), 1);
    // The answer's status was good.
    assert_eq!(agent.logged(EXPORT), 0);
}

#[test]
fn an_export_that_is_answered_with_a_bad_header() {
    let told = complaint(exporting(), bad_header(), EXPORT);
    assert!(told.starts_with("SERVER: answer is not valid HTTP: "), "{told}");
    assert!(told.ends_with("; check export.to"), "{told}");
}

#[test]
fn a_header_that_cannot_be_sent() {
    let host = Host::new();
    let line_break = "its value has a line break or another character that HTTP forbids";
    for (section, url) in [("report", "url"), ("webhook", "url"), ("export", "to")] {
        for (header, problem) in [
            ("X-A: \"hunter2\\n\"", format!("{section}.headers.X-A: {line_break}")),
            ("Connection: hunter2", format!("{section}.headers.Connection: is set by the agent itself; leave it out")),
            // A name like that is often a whole header with its value, so the message does not repeat it.
            ("\"X-A: hunter2\": x", format!("{section}.headers: not the name of a header; use letters, digits and -")),
        ] {
            let settings = format!("{section}: {{{url}: \"http://a.example\", headers: {{{header}}}}}\n");
            let complaint = refusal(&host, &settings);
            assert!(complaint.trim_end().ends_with(&problem), "{complaint}");
        }
    }
}

#[test]
fn a_url_with_a_password() {
    let host = Host::new();
    for (section, url) in [("report", "url"), ("webhook", "url"), ("export", "to")] {
        let settings = format!("{section}: {{{url}: \"http://user:hunter2@a.example\"}}\n");
        let problem = format!("has a user or password in it; use {section}.headers");
        let complaint = refusal(&host, &settings);
        assert!(complaint.trim_end().ends_with(&problem), "{complaint}");
    }
}

/// The agent's refusal of these settings, which repeats no secret.
fn refusal(host: &Host, settings: &str) -> String {
    fs::write(host.settings_file(), settings).unwrap();
    let output = host.otelet(&["run"]);
    assert_eq!(output.status.code(), Some(78), "{settings}");
    let complaint = stderr(&output);
    assert!(!complaint.contains("hunter2"), "{complaint}");
    complaint
}

#[test]
fn a_proxy_that_wants_a_password() {
    for (set, words) in [("report.url", REPORT), ("webhook.url", ALERT), ("export.to", EXPORT)] {
        let (host, proxy) = alerting();
        host.unset("webhook.url");
        host.set("config.http_proxy", &proxy.at(""));
        host.set(set, "http://far.example/in");

        let told = complaint((host, proxy), Answer::status(407), words);

        let way_out = "set config.http_proxy to http://user:password@host:port";
        assert!(told.ends_with(&format!(": answered 407; the proxy wants a user and password: {way_out}")), "{told}");
    }
}

#[test]
fn an_export_to_a_port_for_grpc() {
    let (host, server) = (Host::new(), Server::new());
    host.set("export.to", &server.at(""));
    // The first frame of each server for gRPC, whatever it was asked.
    let told = complaint((host, server), Answer::Raw(b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0".to_vec()), EXPORT);
    assert_eq!(
        told,
        "SERVER: answers in HTTP/2 only, as a port for gRPC does; use the port for HTTP, which for OTLP is usually 4318; \
         check export.to"
    );
}
