//! The arguments of `collector.args` are part of each question to the collector. A feature gate among them decides there
//! as it does in a run, also about what the agent itself would find odd.

use super::host::{Host, config, scripted, stdout};

#[test]
fn a_config_that_needs_a_feature_gate_is_validated_with_it() {
    for arguments in ["[--feature-gates=+extension.new]", "[\"--feature-gates=other,extension.new\", --more]"] {
        let host = Host::new();
        let body = scripted("gated", &["gate extension.new"]);
        host.server.offer(&*body);
        host.set("collector.args", arguments);
        let validated = host.otelet(&["validate"]);
        assert_eq!(validated.status.code(), Some(0), "{}", stdout(&validated));

        let agent = host.agent().start();

        agent.applied(&body);
    }
}

#[test]
fn without_the_gate_it_is_refused_until_the_settings_have_it() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let body = scripted("gated", &["gate extension.new"]);

    host.server.offer(&*body);

    assert_eq!(agent.failed(&body), "this needs the feature gate extension.new");

    // A person mends the settings: the config need not be offered anew.
    host.change(&agent, "collector.args", "[--feature-gates=+extension.new]");

    agent.applied(&body);
}

#[test]
fn a_config_without_pipelines_runs_where_the_collector_takes_it() {
    for body in ["receivers: {otlp: {}}\n", "service: {pipelines: {}}\n", "service:\n  telemetry: {}\n"] {
        let host = Host::new();
        host.server.offer(body);
        host.set("collector.args", "[--feature-gates=+service.AllowNoPipelines]");
        let agent = host.agent().start();

        let status = agent.applied(body);

        assert_eq!(status.collector.witness.as_deref(), Some("health_check"), "{body}");
    }
}

#[test]
fn an_argument_that_only_a_run_knows_does_not_spoil_the_questions() {
    let host = Host::new();
    host.set("collector.args", "[--discovery, somewhere, --feature-gates=+extension.new]");
    let body = scripted("gated", &["gate extension.new"]);
    host.server.offer(&*body);
    let agent = host.agent().env("FAKE_UNKNOWN", "--discovery").start();

    let status = agent.applied(&body);

    assert_eq!(status.collector.version, "0.0.1");
}
