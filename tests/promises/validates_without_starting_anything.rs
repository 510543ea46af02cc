//! `otelet validate` asks the source once and runs the collector's own `validate`; it starts nothing and writes
//! nothing.

use super::host::{Host, config, hash, scripted, short, stdout};
use super::server::Answer;

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
