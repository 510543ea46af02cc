//! With `report.url` set, the agent reports its true state to a server: soon after each change, otherwise now and then,
//! without secrets.

#[cfg(unix)]
use otelet_wire::status::RemoteConfigStatus;
use serde_json::Value;

use super::host::{Host, config, hash, scripted, short};
use super::server::{Answer, Server};
use super::shows_its_status::healthy;

/// A host that reports to a second server.
fn host_with_reports() -> (Host, Server) {
    let (host, reports) = (Host::new(), Server::new());
    reports.answer(Answer::Status(204, Vec::new(), Vec::new()));
    host.set("report.url", &reports.at("/reports"));
    (host, reports)
}

/// Waits for a report for which this holds.
fn report(reports: &Server, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let parse = |body: &[u8]| serde_json::from_slice::<Value>(body).expect("a report is JSON");
    let asked = reports.wait_for(what, |asked| asked.iter().any(|one| holds(&parse(&one.body))));
    asked.iter().map(|one| parse(&one.body)).rfind(|report| holds(report)).unwrap()
}

#[test]
fn an_applied_config_is_reported_with_its_text() {
    let (host, reports) = host_with_reports();
    let good = config("good");
    let _agent = host.agent_running(&good);

    let report = report(&reports, "the good config", |report| report["config"]["last_good_hash"] == hash(&good));

    assert_eq!(report["effective_config"], good);
    assert_eq!(report["config"]["remote_config_status"], "applied");
    assert_eq!(report["collector"]["healthy"], true);
    let asked = reports.requests().pop().unwrap();
    assert_eq!((&*asked.method, &*asked.path), ("POST", "/reports"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
}

#[test]
fn a_refusal_is_reported_with_its_reason() {
    let (host, reports) = host_with_reports();
    let good = config("good");
    let _agent = host.agent_running(&good);
    let bad = scripted("bad", &["refuse unknown exporter smoke"]);

    host.server.offer(&*bad);

    let refused = |report: &Value| {
        report["config"]["remote_hash"] == hash(&bad) && report["config"]["remote_config_status"] != "applying"
    };
    let report = report(&reports, "the refusal", refused);
    assert_eq!(report["config"]["remote_config_status"], "failed");
    assert_eq!(report["config"]["message"], "unknown exporter smoke");
    assert_eq!(report["config"]["effective_hash"], hash(&good));
    assert_eq!(report["config"]["refused"][0]["hash"], hash(&bad));
}

#[test]
fn a_crash_is_reported_with_the_last_words() {
    let (host, reports) = host_with_reports();
    host.server.offer(scripted("dies", &["exit 3 after 50ms", "error the exporter gave up"]));
    let _agent = host.agent().start();

    let report = report(&reports, "the crash", |report| !report["collector"]["last_exit"].is_null());

    assert_eq!(report["collector"]["last_exit"]["how"], "code 3");
    assert_eq!(report["collector"]["last_exit"]["last_words"], "the exporter gave up");
}

#[test]
fn secrets_are_redacted() {
    let (host, reports) = host_with_reports();
    host.set("collector.env", "{UPSTREAM: hunter2-upstream}");
    host.set("report.headers", "{Authorization: Bearer hunter2-report}");
    let body = format!("{}# hunter2-upstream\n", scripted("good", &["error saw hunter2-upstream", "exit 1 after 3s"]));
    host.server.offer(&*body);
    let _agent = host.agent().start();

    report(&reports, "an end", |report| {
        !report["collector"]["last_exit"].is_null() && !report["effective_config"].is_null()
    });

    for asked in reports.requests() {
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(asked.header("authorization"), Some("Bearer hunter2-report"));
    }
}

#[test]
fn a_server_that_stalls_delays_nothing() {
    let (host, reports) = host_with_reports();
    reports.answer(Answer::Stall);
    let good = config("good");
    let agent = host.agent_running(&good);
    reports.wait_for_requests(1);

    let better = config("better");
    host.server.offer(&*better);
    agent.applied(&better);
    host.more_polls(5);

    assert_eq!(reports.requests().len(), 1, "never a second report while one is out");
}

#[test]
fn refused_reports_are_counted_and_logged_once() {
    let (host, reports) = host_with_reports();
    reports.answer(Answer::status(401));
    let agent = host.agent_running(&config("good"));

    let status = agent.wait_status("a failed report", |status| status.reports.last_error.is_some());

    assert!(status.reports.last_error.unwrap().contains("answered 401; check report.url and report.headers"));
    agent.logs("report not taken: ");
    assert_eq!(agent.logged("report not taken: "), 1);
}

#[test]
fn a_probe_is_told_which_program_is_missing_for_which_config() {
    let host = Host::new();
    host.set("collector.path", &host.path("nowhere").display().to_string());
    let first = config("first");
    host.server.offer(&*first);
    let agent = host.agent().start();
    agent.failed(&first);

    let (_, said) = healthy(&host);

    let begin = format!("collector is idle: config {} cannot be tried: ", short(&first));
    assert!(said.starts_with(&begin) && said.contains("nowhere: no such file; set collector.path"), "{said}");
    let check = agent.status(&host).checks.into_iter().find(|check| check.name == "collector").unwrap();
    assert!(check.message.starts_with("config ") && check.message.contains("no such file"), "{}", check.message);
}

#[test]
fn a_probe_is_told_that_a_refused_config_is_the_only_one() {
    let host = Host::new();
    let bad = scripted("bad", &["refuse unknown exporter smoke"]);
    host.server.offer(&*bad);
    let agent = host.agent().start();
    agent.failed(&bad);

    let (_, said) = healthy(&host);

    let words = "was refused and there is no other one: unknown exporter smoke";
    let next = "next: `otelet validate` tries each step and starts nothing";
    assert_eq!(said, format!("collector is idle: config {} {words}; {next}\n", short(&bad)));
}

#[test]
fn a_probe_is_told_the_last_exit_while_the_collector_is_started_again_and_again() {
    let host = Host::new();
    host.server.offer(scripted("dies", &["never-ready", "exit 3 after 50ms", "error the exporter gave up"]));
    let agent = host.agent().start();

    agent.wait_status("a restart", |status| status.collector.restarts > 1);
    let said = host.wait("a complaint with the last exit", || {
        let (_, said) = healthy(&host);
        said.contains("last exit").then_some(said)
    });

    assert!(said.contains("; last exit: code 3: the exporter gave up") && !said.contains("no config"), "{said}");
}

#[test]
fn the_name_is_that_of_the_collectors_own_telemetry_and_not_of_its_file() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let name = |agent: &super::host::Agent| agent.status(&host).collector.name;
    assert_eq!(name(&agent), "fake-collector", "as it prints it");

    let own = config("own").replace("  pipelines:", "  telemetry: {resource: {service.name: plant-7}}\n  pipelines:");
    host.server.offer(&*own);
    agent.applied(&own);
    assert_eq!(name(&agent), "plant-7");
}

#[test]
fn a_refusal_beside_a_first_config_on_probation_says_what_runs() {
    let host = Host::new();
    host.set("collector.probation", "1h");
    let first = config("first");
    host.server.offer(&*first);
    let agent = host.agent().start();
    host.runs("first");
    let bad = scripted("bad", &["refuse unknown exporter smoke"]);

    host.server.offer(&*bad);

    let line = agent.logs("unknown exporter smoke; ");
    assert!(line.contains(&format!("; staying on {}", short(&first))), "{line}");
    assert_eq!(agent.logged("waiting for another one"), 0);
}

#[cfg(unix)]
#[test]
fn a_first_config_that_failed_and_works_now_is_on_probation_and_not_failed() {
    let host = Host::new();
    host.set("collector.probation", "2s");
    let engine = host.path("late.sock");
    let first = format!(
        "# first\nreceivers: {{docker_stats: {{endpoint: \"unix://{}\"}}}}\nexporters: {{debug: {{}}}}\n\
         service: {{pipelines: {{metrics: {{receivers: [docker_stats], exporters: [debug]}}}}}}\n",
        engine.display()
    );
    host.server.offer(&*first);
    let agent = host.agent().start();
    let message = agent.failed(&first);
    assert!(message.contains("failed to start \"docker_stats\" receiver"), "{message}");

    let _engine = std::os::unix::net::UnixListener::bind(&engine).unwrap();

    let works = agent.wait_status("a healthy collector", |status| status.collector.healthy);
    assert_ne!(works.config.remote_config_status, RemoteConfigStatus::Failed, "{}", works.config.message);
    agent.applied(&first);
}
