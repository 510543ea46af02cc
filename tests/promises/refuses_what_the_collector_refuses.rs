//! A config that the collector refuses never replaces the one that runs, and the agent reports the refusal in the
//! collector's own words.

use super::host::{Host, Signal, config, hash, scripted, short, signal};

#[test]
fn a_config_that_the_collector_refuses_changes_nothing_and_is_reported_in_its_words() {
    let host = Host::new();
    let (good, bad) = (config("good"), scripted("bad", &["refuse 'exporters' unknown type: \"otlpp\""]));
    let agent = host.agent_running(&good);
    let pid = host.runs("good");

    host.server.offer(&*bad);

    assert_eq!(agent.failed(&bad), "'exporters' unknown type: \"otlpp\"");
    agent.logs(&format!(
        "config {} refused: 'exporters' unknown type: \"otlpp\"; staying on {}",
        short(&bad),
        short(&good)
    ));
    let status = agent.applied_still(&good);
    assert_eq!(status.collector.pid, Some(pid), "it runs as before");
    assert_eq!(status.config.refused.len(), 1);
    assert_eq!(status.config.refused[0].hash, hash(&bad));
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn a_body_that_is_no_config_is_refused_without_the_collector() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    for (body, complaint) in [
        ("service: {pipelines: {traces: {receivers: [otlp]", "config is not well-formed YAML: "),
        ("<html><body>Sign in</body></html>", "a web page came, not a config; is a login page"),
        ("<?xml version='1.0'?><Error/>", "an XML document came, not a config"),
        ("{\"message\": \"Unauthorized\"}", "no other section of a config; if an error message came in its place"),
        ("service: {pipelines: [traces]}\n", "config has no pipelines"),
        ("a: \u{0}\n", "control character U+0000"),
    ] {
        host.server.offer(body);

        let message = agent.failed(body);
        assert!(message.contains(complaint), "{body:?}: {message}");
        assert_eq!(host.validations(body), 0, "{body:?}");
    }
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn a_config_without_pipelines_is_refused_by_the_collector_and_in_plain_words() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    for body in ["receivers: {otlp: {}}\n", "service: {pipelines: {}}\n"] {
        host.server.offer(body);

        assert_eq!(
            agent.failed(body),
            "config has no pipelines; `service.pipelines` must be a mapping with at least one, such as `traces:`; the \
             collector: service::pipelines: service must have at least one pipeline"
        );
    }
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn a_body_that_is_not_utf_8_is_refused() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let body = [config("latin").as_bytes(), b"# caf\xe9\n"].concat();

    host.server.offer(body.clone());

    let line = agent.logs("is not UTF-8 at byte");
    assert!(line.contains(&hash(&body)[..8]) && line.contains("line 7); save it as UTF-8"), "{line}");
}

#[test]
fn a_yaml_bomb_is_refused_and_the_collector_runs_on() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..60 {
        let before = level - 1;
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 9].join(", "));
    }
    bomb += "service: {pipelines: {traces: *a59}}\n";

    host.server.offer(&*bomb);

    let message = agent.failed(&bomb);
    assert!(
        message.starts_with("config has more than 500000 nodes with its aliases written out by line "),
        "{message}"
    );
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn a_generated_config_with_thousands_of_aliases_runs() {
    let host = Host::new();
    let pipelines: String =
        (0..2000).map(|n| format!("    metrics/t{n}: {{receivers: *r, processors: *p, exporters: *e}}\n")).collect();
    let lists = "x: {r: &r [otlp], p: &p [batch], e: &e [debug]}\n";
    let body = config("generated").replacen("service:", &format!("{lists}service:"), 1);
    let body = body.replacen("  pipelines:\n", &format!("  pipelines:\n{pipelines}"), 1);
    assert!(body.contains("metrics/t1999"), "{body}");

    let _agent = host.agent_running(&body);
}

#[test]
fn a_body_over_the_limit_is_refused_without_reading_it_all() {
    let host = Host::new();
    host.set("config.max_size", "64KiB");
    let good = config("good");
    let agent = host.agent_running(&good);

    host.server.offer([good.as_bytes(), &vec![b'#'; 64 * 1024]].concat());

    agent.logs("larger than config.max_size 64KiB");
    assert_eq!(host.starts().len(), 1);
}

#[test]
fn a_validation_that_hangs_does_not_keep_a_crashed_collector_from_coming_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let body = scripted("slow", &["validate-hang"]);
    host.server.offer(&*body);
    host.wait("the validation", || (host.validations(&body) == 1).then_some(()));

    signal(host.collector(), Signal::KILL);

    assert_eq!(host.started(2).label(), "good");
    drop(agent);
}

#[test]
fn a_validation_that_was_killed_is_repeated() {
    let host = Host::new();
    let body = scripted("new", &["validate-takes 500ms"]);
    host.server.offer(&*body);
    let agent = host.agent().start();
    let validator = host.wait("the validation", || {
        host.journal().into_iter().find(|entry| entry.event == "validate" && entry.detail.contains(&hash(&body)))
    });

    signal(validator.pid, Signal::KILL);

    agent.logs("cannot be validated: validate was ended by signal 9");
    agent.applied(&body);
    assert_eq!(host.validations(&body), 2);
}

#[test]
fn a_relative_path_that_is_missing_is_told_from_where_it_counts() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let words = "cannot resolve the configuration: open parts/exporters.yaml: no such file or directory";
    let bad = scripted("parts", &[&format!("refuse {words}")]);

    host.server.offer(&*bad);

    // The kit starts agents in the directory of the host.
    let directory = host.path("x").parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let why = agent.failed(&bad);
    let (told, place) = why.split_once(" is a relative path, and those count from ").expect("the next step");
    assert_eq!(told, format!("{words}; parts/exporters.yaml"));
    assert!(place.ends_with(&format!("{directory}, the working directory of otelet; write the whole path")), "{why}");
}

#[test]
fn a_port_that_another_program_has_is_told_with_the_next_step() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let words = "cannot start pipelines: listen tcp 127.0.0.1:4317: bind: address already in use";
    let bad = scripted("port", &[&format!("error {words}")]);

    host.server.offer(&*bad);

    let why = agent.failed(&bad);
    assert!(
        why.contains(&format!("{words}; another program, perhaps another Collector, or a second component of this config has 127.0.0.1:4317: `")),
        "{why}"
    );
    agent.applied_still(&config("good"));
}
