//! `otelet validate` asks the source once and runs the collector's own `validate`; it starts nothing and writes
//! nothing. Its answer is about the config that it names, and as the agent of this host would judge it.

use std::fs;

use super::host::{Host, config, hash, scripted, short, stdout};
use super::server::{Answer, Server};

/// The exit status and the output of `otelet validate` with these flags.
fn validate(host: &Host, flags: &[&str]) -> (i32, String) {
    let output = host.otelet(&[&["validate"], flags].concat());
    (output.status.code().unwrap(), stdout(&output))
}

/// A host whose source is silent, with this config in a file as its fallback.
fn host_with_spare(spare: &str) -> Host {
    let host = Host::new();
    fs::write(host.path("spare.yaml"), spare).unwrap();
    host.set("config.fallback", &format!("[{}]", host.path("spare.yaml").display()));
    host.server.answer(Answer::status(503));
    host
}

#[test]
fn a_good_config_is_confirmed() {
    let host = Host::new();
    let body = config("good");
    host.server.offer(&*body);

    let output = host.otelet(&["validate"]);

    assert_eq!(output.status.code(), Some(0));
    let said = stdout(&output);
    assert!(said.starts_with("settings: good\n"), "{said}");
    assert!(said.contains(&format!("offers config {}, {} bytes", short(&body), body.len())), "{said}");
    assert!(said.contains("takes it"), "{said}");
    assert_eq!(host.server.requests().len(), 1);
    assert_eq!(host.validations(&body), 1);
    assert_eq!(host.starts(), []);
    assert!(!host.state_dir().exists() && !host.runtime_dir().exists());
    assert!(host.processes().is_empty());
}

#[test]
fn problems_are_printed_and_the_exit_status_is_1() {
    let host = Host::new();
    let refused = scripted("bad", &["refuse 'receivers' unknown type: \"otpl\""]);
    for (answer, complaint) in [
        (Answer::Config(refused.into()), "refuses it: 'receivers' unknown type: \"otpl\""),
        (Answer::Config("a: [".into()), "config: config is not well-formed YAML: "),
        (Answer::Config(" ".into()), "offers an empty config"),
        (Answer::status(404), "answered 404; check config.url"),
        (Answer::Garbage, "source: "),
    ] {
        host.server.answer(answer);

        let output = host.otelet(&["validate"]);

        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(complaint), "{said}");
    }
    assert_eq!(host.starts(), []);
}

#[test]
fn a_missing_collector_is_reported() {
    let host = Host::new();
    host.set("collector.path", "/nowhere/otelcol");
    host.server.offer(config("good"));

    let output = host.otelet(&["validate"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("/nowhere/otelcol: no such file; set collector.path or put the collector there"));
}

#[test]
fn it_does_not_disturb_a_running_agent() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    let bad = scripted("bad", &["refuse no"]);
    host.server.answer_once(Answer::Config(bad.clone().into()));

    // Either agent or `validate` gets the bad config; in both cases the collector runs on.
    host.otelet(&["validate"]);

    host.more_polls(3);
    assert_eq!(agent.applied_still(&good).config.effective_hash, Some(hash(&good)));
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn a_source_that_is_named_is_asked_alone() {
    let host = host_with_spare(&config("spare"));
    let broken = host.path("broken.yaml");
    fs::write(&broken, "a: [").unwrap();
    for (named, why) in [
        (host.path("absent.yaml").display().to_string(), "absent.yaml: does not exist"),
        (broken.display().to_string(), "config: "),
        (host.server.url(), "answered 503"),
        ("http://127.0.0.1:1/x".to_owned(), "source: http://127.0.0.1:1/x: "),
    ] {
        let (code, said) = validate(&host, &[&format!("--config-url={named}")]);

        assert_eq!(code, 1, "{said}");
        assert!(said.contains(why) && !said.contains("spare.yaml") && !said.contains("takes it"), "{said}");
    }
    assert_eq!(host.validations(&config("spare")), 0);

    let good = host.path("good.yaml");
    fs::write(&good, config("good")).unwrap();
    let (code, said) = validate(&host, &[&format!("--config-url={}", good.display())]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("good.yaml offers config {}, ", short(&config("good")))), "{said}");
}

#[test]
fn the_source_that_answers_is_named_and_why_the_first_does_not() {
    let spare = config("spare");
    let host = host_with_spare(&spare);

    let (code, said) = validate(&host, &[]);

    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains(&format!("source: config.url does not serve: {}: answered 503", host.server.url())),
        "{said}"
    );
    let file = host.path("spare.yaml").display().to_string();
    assert!(said.contains(&format!("source: {file} (config.fallback) offers config {}, ", short(&spare))), "{said}");
}

#[test]
fn a_fallback_does_not_hide_that_the_first_source_is_refused() {
    let host = host_with_spare(&config("spare"));
    for (answer, why) in [
        (Answer::Config("a: [".into()), "config is not well-formed YAML"),
        (Answer::Config(" ".into()), "answered with an empty body"),
        (Answer::Config(format!("# {}\n{}", "x".repeat(2000), config("long")).into()), "config.max_size"),
    ] {
        host.set("config.max_size", "1KiB");
        host.server.answer(answer);

        let (code, said) = validate(&host, &[]);

        assert_eq!(code, 1, "{said}");
        assert!(said.contains("source: config.url does not serve: ") && said.contains(why), "{said}");
        assert!(said.contains("spare.yaml (config.fallback) offers config "), "{said}");
        assert!(said.ends_with("that config is of config.fallback\n"), "{said}");
    }
}

#[test]
fn a_config_that_was_refused_here_is_refused() {
    let (first, second) = (config("first"), config("second"));
    let host = Host::new();
    let agent = host.agent_running(&first);
    host.server.offer(&*second);
    agent.applied(&second);
    assert_eq!(host.otelet(&["rollback"]).status.code(), Some(0));
    agent.applied_still(&first);

    let (code, said) = validate(&host, &[]);

    assert_eq!(code, 1, "{said}");
    let state = host.state_dir().display().to_string();
    assert!(said.contains(&format!("state: {state}: last good config {}, 1 refused\n", short(&first))), "{said}");
    assert!(said.contains(&format!("state: config {} was refused at 20", short(&second))), "{said}");
    assert!(said.contains(": rolled back by a person; `otelet rollback --clear` has it tried again"), "{said}");
    assert!(!said.contains("takes it"), "{said}");

    // A fallback is asked as the agent would ask it, and hides nothing.
    fs::write(host.path("spare.yaml"), config("spare")).unwrap();
    host.set("config.fallback", &format!("[{}]", host.path("spare.yaml").display()));
    let (code, said) = validate(&host, &[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!(": its config {} is refused\n", short(&second))), "{said}");
    assert!(said.contains("spare.yaml (config.fallback) offers config "), "{said}");

    assert_eq!(host.otelet(&["rollback", "--clear"]).status.code(), Some(0));
    host.unset("config.fallback");
    let (code, said) = validate(&host, &[]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_state_that_cannot_be_read_is_told_and_left_as_it_is() {
    let host = Host::new();
    host.server.offer(config("good"));
    fs::create_dir_all(host.state_dir()).unwrap();
    fs::write(host.state_dir().join("state.json"), "{torn").unwrap();

    let (code, said) = validate(&host, &[]);

    assert_eq!(code, 0, "{said}");
    assert!(said.contains("state.json: cannot be used: ") && said.contains("was not looked at"), "{said}");
    let left: Vec<_> = fs::read_dir(host.state_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["state.json"]);
}

#[test]
fn a_host_that_ran_another_config_is_not_told_of_the_built_in_one() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    agent.stop();
    host.unset("config.url");

    let (code, said) = validate(&host, &[]);

    assert_eq!(code, 0, "{said}");
    assert!(said.contains("source: config.url is not set, and a host that ran another config is not given"), "{said}");
    assert!(said.contains(&format!("looking at config {}, ", short(&config("good")))), "{said}");
}

#[test]
fn the_endpoint_to_which_the_server_has_moved_the_agent_is_asked_unless_another_one_is_named() {
    let host = Host::new();
    let moved = Server::new();
    host.set("config.protocol", "opamp");
    for server in [&host.server, &moved] {
        server.answer(Answer::status(503));
    }
    fs::create_dir_all(host.state_dir()).unwrap();
    let connection = serde_json::json!({"url": moved.url(), "headers": [], "poll_every": 0});
    let kept = serde_json::json!({"location": host.server.url(), "connection": connection}).to_string();
    fs::write(host.state_dir().join("opamp.json"), &kept).unwrap();

    let (code, said) = validate(&host, &[]);
    assert_eq!((code, host.server.requests().len(), moved.requests().len()), (1, 0, 1), "{said}");
    assert!(said.contains("opamp.json: what the server offered of connection settings counts"), "{said}");

    let (code, said) = validate(&host, &[&format!("--config-url={}", host.server.url())]);
    assert_eq!((code, host.server.requests().len(), moved.requests().len()), (1, 1, 1), "{said}");
    assert_eq!(fs::read_to_string(host.state_dir().join("opamp.json")).unwrap(), kept);
}

#[test]
fn a_source_that_must_not_be_asked_is_not_answered_for_by_another_one() {
    let host = Host::new();
    host.set("config.protocol", "kloudmate");

    let (code, said) = validate(&host, &[&format!("--config-url={}", host.server.url())]);

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("announces a config only once, so --config-url cannot be asked here"), "{said}");
    assert_eq!(host.server.requests().len(), 0);
}
