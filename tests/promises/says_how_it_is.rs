//! `otelet status` says what runs, since when and from where; its exit status serves probes.

use super::host::{Host, Signal, config, hash, scripted, short, signal, state, stderr, stdout, wait_until};

#[test]
fn a_screen_for_people() {
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
    assert!(line("agent").contains(&format!("running, pid {}, since 20", agent.pid())), "{screen}");
    assert!(line("collector").starts_with(&format!("up, pid {}, since 20", host.runs("second"))), "{screen}");
    assert!(line("collector").contains("healthy by health_check"), "{screen}");
    assert!(line("config").starts_with(&short(&config("second"))), "{screen}");
    assert!(line("offered").starts_with(&format!("{}, failed", short(&bad))), "{screen}");
    assert!(line("last good").starts_with(&short(&config("second"))), "{screen}");
    assert!(line("previous").starts_with(&short(&config("first"))), "{screen}");
    assert_eq!(line("source"), host.server.url());
    assert!(line("refused").contains("unknown receiver"), "{screen}");
}

#[test]
fn json_for_machines() {
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

/// The exit status of `otelet status --healthy`, and what it says.
fn healthy(host: &Host) -> (i32, String) {
    let output = host.otelet(&["status", "--healthy"]);
    (output.status.code().unwrap(), stdout(&output) + &stderr(&output))
}

#[test]
fn a_probe_is_answered_by_the_exit_status() {
    let host = Host::new();
    let (code, said) = healthy(&host);
    assert_eq!(code, 1);
    assert!(said.contains("no agent has written its status there; is it running, with this runtime_dir?"), "{said}");

    let mut agent = host.agent().start();
    agent.wait_status("the first status", |_| true);
    assert_eq!(healthy(&host), (1, "collector is idle: there is no config to run yet\n".into()));

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
fn a_collector_that_is_not_well_is_said() {
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
