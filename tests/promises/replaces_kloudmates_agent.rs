//! KloudMate's users replace their agent and change nothing else, and a config that the service announces once is never
//! lost.

use std::fs;

use otelet_wire::status::RemoteConfigStatus;

use super::host::{Agent, COLLECTOR, Host, Signal, config, environment, hash, scripted, stderr, wait_until};
use super::server::{Answer, Request};
use super::tap::Tap;

/// The path that the agent polls.
const CHECK: &str = "/agents/config-check";

const NOTHING: &str = "{\"restart_required\": false, \"config\": null}";
const RESTART: &str = "{\"restart_required\": true, \"config\": null}";

/// A host that the service manages, by otelet's own settings.
fn host() -> Host {
    let host = Host::new();
    host.set("config.protocol", "kloudmate");
    host.set("config.url", &host.server.at(CHECK));
    says(&host, NOTHING);
    host
}

/// The service answers this from now on.
fn says(host: &Host, answer: &str) {
    host.server.answer(Answer::Status(200, vec![], answer.into()));
}

/// The service announces a config with the next answer, once, and has nothing new from then on.
fn announce(host: &Host, body: &str) {
    let answer = format!("{{\"restart_required\": true, \"config\": {body}}}");
    host.server.answer_once(Answer::Status(200, vec![], answer.into()));
}

/// A config as the service sends it, with this label in it.
fn json(label: &str) -> String {
    with(label, "{}")
}

fn with(label: &str, extensions: &str) -> String {
    format!(
        "{{\"exporters\":{{\"debug\":{{}}}},\"receivers\":{{\"otlp\":{{\"protocols\":{{\"http\":{{\"endpoint\":\"127.0.0.1:0\",\
         \"max_request_body_size\":10485760}}}}}}}},\"extensions\":{extensions},\"processors\":{{\"batch/{label}\":null}},\
         \"service\":{{\"pipelines\":{{\"traces\":{{\"receivers\":[\"otlp\"],\"exporters\":[\"debug\"]}}}}}}}}"
    )
}

/// Puts a script of ours before the collector: `validate` waits while the file `hold` exists, and a config with
/// `dies-later` in it ends the collector at once.
fn behind_a_script(host: &Host) {
    let (script, hold) = (host.path("collector.sh"), host.path("hold"));
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = validate ]; then while [ -e '{hold}' ]; do sleep 0.02; done\n\
         else for a; do if grep -qs dies-later -- \"$a\"; then echo 'Error: it died' >&2; exit 1; fi; done; fi\n\
         exec '{COLLECTOR}' \"$@\"\n",
        hold = hold.display(),
        COLLECTOR = *COLLECTOR
    );
    fs::write(&script, text).unwrap();
    super::system::set_mode(&script, 0o755);
    host.set("collector.path", &script.display().to_string());
}

fn report_in(asked: &Request) -> serde_json::Value {
    serde_json::from_slice(&asked.body).unwrap()
}

/// Waits for a report in which this is so.
fn reports(host: &Host, what: &str, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let asked = host.server.wait_for(what, |asked| asked.last().is_some_and(|asked| holds(&report_in(asked))));
    report_in(&asked[asked.len() - 1])
}

/// A collector that has just started is not healthy yet, and the last report may be of that time.
fn runs_well(report: &serde_json::Value) -> bool {
    report["collector_status"] == "Running" && report["last_error_message"] == ""
}

fn running(host: &Host, body: &str) -> Agent {
    announce(host, body);
    let agent = host.agent().start();
    agent.applied(body);
    agent
}

#[test]
fn every_poll_reports_all_nine_fields() {
    let host = host();
    let body = json("good");
    let agent = host.agent().env("KM_API_KEY", "sk_1").start();
    let first = host.server.wait_for_requests(1).remove(0);
    announce(&host, &body);
    let version = agent.applied(&body).collector.version;

    let said_now = reports(&host, "a running collector", runs_well);

    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", CHECK));
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("authorization"), Some("sk_1"), "the raw key");
    let said_first = report_in(&first);
    assert_eq!(said_first.as_object().unwrap().len(), 9);
    assert_eq!(said_first["collector_status"], "Stopped");
    let identity = otelet::observe::host::identity("/".as_ref());
    let expected = serde_json::json!({
        "is_docker": false, "hostname": identity.name, "platform": identity.os_type, "architecture": identity.arch,
        "agent_version": env!("CARGO_PKG_VERSION"), "collector_version": format!("v{version}"),
        "agent_status": "Running", "collector_status": "Running", "last_error_message": "",
    });
    assert_eq!(said_now, expected);
}

#[test]
fn no_key_means_no_authorization() {
    let host = host();
    let agent = host.agent().start();
    assert_eq!(host.server.wait_for_requests(1)[0].header("authorization"), None);
    drop(agent);
}

#[test]
fn an_announced_config_reaches_the_collector_byte_for_byte() {
    let host = host();
    let body = json("good");

    let agent = running(&host, &body);

    let given = fs::read_to_string(host.starts().pop().unwrap().path()).unwrap();
    assert_eq!(given, body);
    assert!(given.contains(":10485760}"), "numbers survive");
    drop(agent);
}

#[test]
fn the_same_config_at_every_poll_changes_nothing() {
    let host = host();
    let body = json("good");
    let agent = running(&host, &body);
    let inbox = || fs::metadata(host.state_dir().join("inbox")).unwrap().modified().unwrap();
    let written = inbox();

    says(&host, &format!("{{\"restart_required\": true, \"config\": {body}}}"));
    host.more_polls(20);

    agent.applied(&body);
    assert_eq!((host.validations(&body), host.starts().len()), (1, 1));
    assert_eq!(inbox(), written, "nor is it written again");
}

#[test]
fn restart_required_without_a_config_restarts_once_for_each_time_it_is_announced() {
    let host = host();
    let body = json("good");
    let agent = running(&host, &body);

    says(&host, RESTART);
    host.started(2);
    host.more_polls(10);
    assert_eq!(host.starts().len(), 2, "also if the service goes on saying so");
    says(&host, NOTHING);
    host.more_polls(2);
    host.server.answer_once(Answer::Status(200, vec![], RESTART.into()));
    host.started(3);

    host.more_polls(5);
    assert_eq!(host.starts().len(), 3);
    assert_eq!(host.validations(&body), 1);
    agent.applied(&body);
}

#[test]
fn an_agent_killed_between_announcement_and_application_does_not_lose_the_config() {
    let host = host();
    behind_a_script(&host);
    let (old, new) = (json("old"), json("new"));
    let mut agent = running(&host, &old);
    fs::write(host.path("hold"), "").unwrap();
    announce(&host, &new);
    agent.wait_status("the new config to be checked", |status| {
        status.config.remote_hash.as_deref() == Some(&hash(&new))
    });

    agent.kill();
    fs::remove_file(host.path("hold")).unwrap();
    // The service does not announce it again, and does not even answer.
    host.server.answer(Answer::status(500));
    let agent = host.agent().start();

    agent.applied(&new);
}

#[test]
fn the_announced_config_is_on_disk_before_anything_else_of_it() {
    let host = host();
    behind_a_script(&host);
    let (old, new) = (json("old"), json("new"));
    let mut agent = running(&host, &old);
    agent.stop();
    let state = fs::read(host.state_dir().join("state.json")).unwrap();
    fs::write(host.path("hold"), "").unwrap();
    announce(&host, &new);
    let mut agent = host.agent().start();
    let inbox = host.state_dir().join("inbox");
    wait_until("the announced config in the inbox", || fs::read(&inbox).is_ok_and(|it| it.ends_with(new.as_bytes())));
    agent.kill();
    fs::remove_file(host.path("hold")).unwrap();
    // As if the power had failed before anything else was on disk.
    let _ = fs::remove_file(host.state_dir().join("configs").join(format!("{}.yaml", hash(&new))));
    fs::write(host.state_dir().join("state.json"), state).unwrap();

    let agent = host.agent().start();

    agent.applied(&new);
}

#[test]
fn a_torn_inbox_is_set_aside_and_the_last_good_config_runs() {
    let host = host();
    let body = json("good");
    let mut agent = running(&host, &body);
    agent.stop();
    let inbox = host.state_dir().join("inbox");
    let whole = fs::read(&inbox).unwrap();
    fs::write(&inbox, &whole[..whole.len() / 2]).unwrap();

    let agent = host.agent().start();

    agent.logs("inbox: cannot be used: it is torn");
    agent.applied(&body);
    announce(&host, &json("next"));
    agent.applied(&json("next"));
}

#[test]
fn a_refused_config_is_reported_and_the_old_one_goes_on() {
    let host = host();
    let (good, bad) = (json("good"), with("bad", "{\"poison\":{}}"));
    let agent = running(&host, &good);

    announce(&host, &bad);

    agent.failed(&bad);
    let report = reports(&host, "the refusal", |report| report["last_error_message"] != "");
    let message = report["last_error_message"].as_str().unwrap();
    assert!(message.starts_with("config refused: ") && message.contains("unknown type: \"poison\""), "{message}");
    assert_eq!(report["collector_status"], "Running");
    agent.applied_still(&good);
    assert_eq!(host.starts().len(), 1);

    announce(&host, &json("better"));
    reports(&host, "that all is well again", |report| report["last_error_message"] == "");
}

#[test]
fn a_config_that_was_rolled_back_is_applied_once_though_it_comes_a_thousand_times() {
    let host = host();
    behind_a_script(&host);
    host.set("config.poll_every", "10ms");
    let (good, bad) = (json("good"), json("dies-later"));
    let agent = running(&host, &good);

    says(&host, &format!("{{\"restart_required\": true, \"config\": {bad}}}"));

    let message = agent.failed(&bad);
    assert!(message.contains("it died"), "{message}");
    let good_one = agent.applied_still(&good).collector.pid;
    for _ in 0..10 {
        host.more_polls(100);
    }
    assert_eq!(agent.applied_still(&good).collector.pid, good_one, "the good one was left alone");
    assert_eq!(host.validations(&bad), 1);
    let report = reports(&host, "the reason", |report| report["last_error_message"] != "");
    assert!(report["last_error_message"].as_str().unwrap().contains("it died"), "{report}");
}

#[test]
fn a_refused_config_that_a_person_clears_is_tried_again_though_it_was_announced_once() {
    let host = host();
    behind_a_script(&host);
    let (good, bad) = (json("good"), json("dies-later"));
    let agent = running(&host, &good);
    announce(&host, &bad);
    agent.failed(&bad);
    assert_eq!(host.validations(&bad), 1);

    host.otelet(&["rollback", "--clear"]);

    host.wait("another try", || (host.validations(&bad) == 2).then_some(()));
    agent.failed(&bad);
    agent.applied_still(&good);
}

#[test]
fn any_status_but_200_changes_nothing() {
    let host = host();
    let body = json("good");
    let agent = running(&host, &body);
    for (answer, why) in [
        (Answer::status(204), "answered 204; 200 was expected"),
        (Answer::status(304), "answered 304; 200 was expected"),
        (Answer::status(401), "answered 401; check the key: KM_API_KEY"),
        (Answer::Status(200, vec![], b"<html>".to_vec()), "a web page came, "),
        (Answer::Status(200, vec![], b"no such page".to_vec()), "answered with something that is not JSON"),
        (Answer::Status(200, vec![], b"{\"restart_required\":true,\"config\":\"a: 1\"}".to_vec()), "is a text"),
    ] {
        host.server.answer(answer);
        // SIGHUP polls at once, without the backoff's delay.
        agent.signal(Signal::HUP);
        agent.wait_status(why, |status| status.exchanges.last_error.as_deref().is_some_and(|it| it.contains(why)));
    }
    agent.applied_still(&body);
    assert_eq!(host.starts().len(), 1);
}

/// The settings that KloudMate's own agent had here, and none of otelet's about the source.
fn inherited(host: &Host, agent_yaml: &str) -> String {
    for key in ["config.protocol", "config.url", "config.poll_every"] {
        host.unset(key);
    }
    let path = host.path("agent.yaml");
    fs::write(&path, agent_yaml).unwrap();
    path.display().to_string()
}

#[test]
fn a_host_that_had_kloudmates_agent_goes_on_with_its_settings_and_its_config() {
    let host = host();
    let old = scripted("old", &["echo-env KM_API_KEY", "echo-env KM_COLLECTOR_ENDPOINT"]);
    fs::write(host.path("config.yaml"), &old).unwrap();
    let agent_yaml = inherited(
        &host,
        &format!(
            "api-key: 0815\ncollector-endpoint: http://telemetry.example:4318\nconfig-check-interval: 1\n\
             config: {}\nupdate-endpoint: {}\n",
            host.path("config.yaml").display(),
            host.server.at(CHECK)
        ),
    );

    let agent = host.agent().env("KM_AGENT_CONFIG", agent_yaml).start();

    agent.applied(&old);
    agent.logs("KM_API_KEY=0815");
    agent.logs("KM_COLLECTOR_ENDPOINT=http://telemetry.example:4318");
    assert_eq!(host.server.wait_for_requests(1)[0].header("authorization"), Some("0815"));
    let new = json("new");
    announce(&host, &new);
    agent.applied(&new);
    assert!(environment(host.collector()).contains(&"KM_API_KEY=0815".to_owned()));
    let asked = host.server.wait_for_requests(3);
    let gap = asked[2].at - asked[1].at;
    assert!((800..3000).contains(&gap.as_millis()), "its interval counts: {gap:?}");
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let host = host();
    let agent_yaml = inherited(&host, "api-key: file\ndocker-mode: false\nupdate-endpoint: http://127.0.0.1:9/x\n");

    let agent = host
        .agent()
        .env("KM_AGENT_CONFIG", agent_yaml)
        .env("KM_API_KEY", "variable")
        .env("KM_UPDATE_ENDPOINT", host.server.at(CHECK))
        .arg("--api-key=flag")
        .arg("--docker-mode")
        .start();

    let asked = host.server.wait_for_requests(1).remove(0);
    assert_eq!(asked.header("authorization"), Some("flag"));
    assert_eq!((&report_in(&asked)["is_docker"], &report_in(&asked)["platform"]), (&true.into(), &"docker".into()));
    drop(agent);
}

#[test]
fn the_config_that_the_host_had_does_not_come_back_after_one_was_announced() {
    let host = host();
    let (old, new) = (config("old"), json("new"));
    fs::write(host.path("config.yaml"), &old).unwrap();
    let agent_yaml = inherited(
        &host,
        &format!("config: {}\nupdate-endpoint: {}\n", host.path("config.yaml").display(), host.server.at(CHECK)),
    );
    announce(&host, &new);
    let mut agent = host.agent().env("KM_AGENT_CONFIG", &*agent_yaml).start();
    agent.applied(&new);
    agent.stop();

    let agent = host.agent().env("KM_AGENT_CONFIG", &*agent_yaml).start();

    agent.applied(&new);
    assert!(host.starts_on(&old) <= 1, "at most before the announcement came");
}

#[test]
fn an_interval_of_0_polls_nothing_and_runs_the_collectors_config() {
    let host = host();
    let body = config("alone");
    fs::write(host.path("config.yaml"), &body).unwrap();
    let agent_yaml = inherited(
        &host,
        &format!(
            "config: {}\nconfig-check-interval: 0\ncollector-endpoint: http://10.0.0.7:4318\nupdate-endpoint: {}\n",
            host.path("config.yaml").display(),
            host.server.at(CHECK)
        ),
    );

    let agent = host.agent().env("KM_AGENT_CONFIG", agent_yaml).start();

    agent.applied(&body);
    assert!(host.server.requests().is_empty());
}

#[test]
fn the_url_is_not_derived_from_a_host_that_is_not_kloudmates() {
    let host = host();
    inherited(&host, "");
    let arguments = ["validate", "--api-key=s3cret", "--collector-endpoint=https://otel.example.co.uk:4318"];

    let output = host.otelet(&arguments);

    assert_eq!(output.status.code(), Some(64));
    let complaint = stderr(&output);
    assert!(complaint.contains("--collector-endpoint: host otel.example.co.uk is not KloudMate's"), "{complaint}");
    assert!(
        complaint.contains("set update-endpoint (KM_UPDATE_ENDPOINT)") && !complaint.contains("s3cret"),
        "{complaint}"
    );
}

#[test]
fn help_has_a_section_of_its_own() {
    let host = host();
    let help = super::host::stdout(&host.otelet(&["help"]));
    for name in ["--agent-config=PATH, KM_AGENT_CONFIG", "--docker-mode, KM_DOCKER_MODE", "KM_LOG_LEVEL"] {
        assert!(help.contains(name), "{name}");
    }
}

/// Promised in docs/numbers.md. The agent's request contains the names of the server and of the host, the path and the
/// key, so its length depends on them.
const UNCHANGED_SENT: usize = 512;

#[test]
fn an_unchanged_poll_costs_little() {
    let host = host();
    let (tap, url) = Tap::on(&host.server.at(CHECK));
    host.set("config.url", &url);
    let agent = running(&host, &json("good"));
    reports(&host, "a running collector", runs_well);
    tap.more(1);

    let polls = tap.more(3);

    println!("an unchanged poll by KloudMate's protocol: {polls:?}");
    assert!(polls.iter().all(|poll| *poll == polls[0]), "each like the other: {polls:?}");
    assert!(polls[0].sent <= UNCHANGED_SENT, "{polls:?}");
    drop(agent);
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn the_real_collector_takes_the_json_as_it_is_also_from_unusual_libraries() {
    let host = host();
    let collector = std::env::var("OTELET_COLLECTOR").expect("cargo xtask check --real sets OTELET_COLLECTOR");
    host.set("collector.path", &collector);
    host.set("collector.probation", "1s");
    let plain = json("good").replace("\"processors\":{\"batch/good\":null},", "").replace("\"extensions\":{},", "");
    let agent = running(&host, &plain);

    // JSON as PHP, Python and others write it, with space in places where YAML allows none.
    let unusual = plain.replace(
        "\"service\":{",
        "\"service\" \n :\t{\"telemetry\":{\"resource\":{\"site\":\"a\\/\\ud83d\\ude00\u{2028}\u{7f}\"}},",
    );
    announce(&host, &unusual);

    let status = agent.wait_status("another config", |status| {
        status.config.remote_config_status == RemoteConfigStatus::Applied
            && status.config.remote_hash != Some(hash(&plain))
    });
    let given = fs::read_to_string(status.config.effective_path.unwrap()).unwrap();
    assert!(given.contains("\"a/\u{1f600}\\u2028\\u007f\"") && given.contains("10485760"), "{given}");
}

#[test]
fn validate_leaves_announcements_to_the_agent() {
    let host = Host::new();
    host.set("config.protocol", "kloudmate");

    let said = host.otelet(&["validate"]);

    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("KloudMate's service is not asked, and no config is kept yet"), "{said}");
    assert!(host.server.requests().is_empty());
}
