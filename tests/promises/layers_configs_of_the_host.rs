//! Configs of the host (`collector.local`) lie below the offered one, which wins. They are watched and validated with it;
//! a broken one is named, and never costs the offered config its place.

use std::fs;

use super::host::{Agent, Host, command_line, config, scripted};

/// A config of the host with this label and this script.
fn local(label: &str, script: &[&str]) -> String {
    let script: String = script.iter().map(|line| format!("# fake: {line}\n")).collect();
    format!("# {label}\n{script}exporters: {{otlp_http: {{endpoint: 'http://{label}:4318'}}}}\n")
}

/// A host with one file in `collector.local`.
fn host_with(text: &str) -> Host {
    let host = Host::new();
    fs::write(host.path("site.yaml"), text).unwrap();
    host.set("collector.local", &format!("['{}']", host.path("site.yaml").display()));
    host
}

/// The files that the running collector was given, in order; the path of the offered one is `offered`.
fn given(host: &Host) -> Vec<String> {
    let words = command_line(host.collector());
    let paths = words.iter().zip(words.iter().skip(1)).filter(|(flag, _)| *flag == "--config").map(|(_, path)| path);
    let name = |path: &String| match path.contains("configs") {
        true => "offered".to_owned(),
        false => path.rsplit(['/', '\\']).next().unwrap().to_owned(),
    };
    paths.map(name).collect()
}

/// Waits until the collector runs with this local file, and returns how often one was started.
fn runs_with(host: &Host, agent: &Agent, text: &str) {
    host.wait("the local file", || {
        let used = fs::read_to_string(host.runtime_dir().join("local-0.yaml")).ok();
        (used.as_deref() == Some(text) && given(host).first()? == "local-0.yaml").then_some(())
    });
    agent.wait_status("health", |status| status.collector.healthy);
}

#[test]
fn they_are_passed_before_the_offered_one_and_shown_in_the_effective_config() {
    let host = host_with(&local("site", &[]));
    let reports = super::server::Server::new();
    host.set("report.url", &reports.url());
    let agent = host.agent_running(&config("good"));

    assert_eq!(given(&host), ["local-0.yaml", "offered", "overlay.yaml"]);
    let status = agent.applied(&config("good"));
    assert_eq!(status.collector.witness.as_deref(), Some("health_check"));
    host.wait("a report with both", || {
        let reports = reports.requests();
        let bodies = reports.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned());
        bodies
            .rev()
            .find(|body| body.contains("http://site:4318") && body.contains("otlp_http") && body.contains("debug"))
    });
}

#[test]
fn a_changed_one_is_used_without_another_offer() {
    let host = host_with(&local("site", &[]));
    let agent = host.agent_running(&config("good"));

    let changed = local("changed", &[]);
    fs::write(host.path("site.yaml"), &changed).unwrap();

    agent.logs("collector.local has changed: starting the collector anew");
    runs_with(&host, &agent, &changed);
    assert_eq!(host.starts().len(), 2);
    agent.applied(&config("good"));
}

#[test]
fn a_change_of_comments_and_blank_lines_starts_nothing() {
    let host = host_with(&local("site", &[]));
    let agent = host.agent_running(&config("good"));
    let validations = || host.journal().iter().filter(|entry| entry.event == "validate").count();
    let before = validations();

    fs::write(host.path("site.yaml"), format!("# rendered at 17:04\n\n{}\n", local("site", &[]))).unwrap();

    host.wait("a validation", || (validations() > before).then_some(()));
    let changed = local("changed", &[]);
    fs::write(host.path("site.yaml"), &changed).unwrap();
    runs_with(&host, &agent, &changed);
    assert_eq!(host.starts().len(), 2, "the first one, and one for the change that counts");
    assert_eq!(agent.logged("collector.local has changed"), 1);
}

#[test]
fn a_broken_one_is_named_and_costs_no_config_its_place() {
    for (broken, why) in [
        ("exporters: [", "config is not well-formed YAML"),
        ("exporters: {x: {}}\nexporters: {y: {}}\n# fake: refuse duplicate key\n", "duplicate key"),
        ("# fake: refuse 'exporters' unknown type: \"x\"\nexporters: {x: {}}\n", "'exporters' unknown type"),
    ] {
        let host = host_with(broken);
        host.server.offer(config("first"));
        let agent = host.agent().start();

        agent.applied(&config("first"));

        let line = agent.logs("collector.local: ");
        assert!(line.contains("site.yaml: ") && line.contains(why) && line.contains("left out"), "{line}");
        assert_eq!(given(&host).first().map(String::as_str), Some("offered"), "{broken}");

        host.server.offer(config("second"));
        agent.applied(&config("second"));
        assert_eq!(agent.logged("collector.local: "), 1, "it is said once");

        // Mended, it is used at once.
        fs::write(host.path("site.yaml"), local("mended", &[])).unwrap();
        runs_with(&host, &agent, &local("mended", &[]));
        agent.applied(&config("second"));
    }
}

#[test]
fn one_that_breaks_later_is_used_as_it_was_also_by_the_next_agent() {
    let good = local("good", &[]);
    let host = host_with(&good);
    let mut agent = host.agent_running(&config("first"));

    fs::write(host.path("site.yaml"), "exporters: [").unwrap();

    let line = agent.logs("site.yaml: config is not well-formed YAML");
    assert!(line.contains("as it was before"), "{line}");
    assert_eq!(host.starts().len(), 1, "the running collector is left alone");
    host.server.offer(config("second"));
    agent.applied(&config("second"));
    runs_with(&host, &agent, &good);
    agent.stop();
    let told = super::host::stdout(&host.otelet(&["validate"]));
    assert!(told.contains("site.yaml: config is not well-formed YAML") && told.contains("as it was before"), "{told}");

    let mut agent = host.agent().start();

    host.started(3);
    runs_with(&host, &agent, &good);
    agent.stop();

    // Mended while no agent ran, it is used soon.
    let mended = local("mended", &[]);
    fs::write(host.path("site.yaml"), &mended).unwrap();
    let agent = host.agent().start();
    runs_with(&host, &agent, &mended);
}

#[test]
fn a_person_is_told_of_a_broken_one_beforehand() {
    let host = host_with("# fake: refuse 'exporters' unknown type: \"x\"\nexporters: {x: {}}\n");
    host.server.offer(config("good"));

    let validated = host.otelet(&["validate"]);

    let told = super::host::stdout(&validated);
    assert_eq!(validated.status.code(), Some(0), "the offered config is good: {told}");
    assert!(told.contains("site.yaml: 'exporters' unknown type: \"x\"; until it is mended, it is left out"), "{told}");
}

#[test]
fn several_are_passed_in_their_order_and_only_the_broken_one_is_left_out() {
    let host = host_with(&local("site", &[]));
    let rack = host.path("rack.yaml");
    fs::write(&rack, "# fake: refuse no such rack\nexporters: {rack: {}}\n").unwrap();
    let list = [host.path("site.yaml"), rack.clone()].map(|path| format!("'{}'", path.display())).join(", ");
    host.set("collector.local", &format!("[{list}]"));
    let agent = host.agent_running(&config("good"));

    let line = agent.logs("collector.local: ");
    assert!(line.contains("rack.yaml: no such rack"), "{line}");
    assert_eq!(given(&host), ["local-0.yaml", "offered", "overlay.yaml"]);

    fs::write(&rack, "exporters: {rack: {}}\n").unwrap();
    host.started(2);
    agent.applied(&config("good"));
    assert_eq!(given(&host), ["local-0.yaml", "local-1.yaml", "offered", "overlay.yaml"]);
    let second = fs::read_to_string(host.runtime_dir().join("local-1.yaml")).unwrap();
    assert_eq!(second, "exporters: {rack: {}}\n");
}

#[test]
fn one_that_the_collector_dies_of_is_left_out_and_the_offered_config_is_not_blamed() {
    let host = host_with(&local("deadly", &["exit 1 after 0ms"]));
    host.server.offer(config("good"));
    let agent = host.agent().start();

    let status = agent.applied(&config("good"));

    agent.logs("the next one is started without more.yaml and collector.local");
    assert_eq!(status.config.refused.len(), 0);
    assert_eq!(given(&host).first().map(String::as_str), Some("offered"));

    fs::write(host.path("site.yaml"), local("mended", &[])).unwrap();
    runs_with(&host, &agent, &local("mended", &[]));
}

#[test]
fn an_offered_config_may_need_them() {
    let host = host_with("# provides the-exporter\n# site\nservice: {pipelines: {traces: {receivers: [otlp]}}}\n");
    let body = scripted("needs", &["wants the-exporter"]);
    let agent = host.agent_running(&body);
    assert_eq!(given(&host)[..2], ["local-0.yaml", "offered"]);

    // Its pipelines may come from there, too.
    host.server.offer("receivers: {otlp: {}}\n");
    agent.applied("receivers: {otlp: {}}\n");
    host.server.offer(&*body);
    agent.applied(&body);
    let starts = host.starts().len();

    // It breaks, and the copy still serves.
    fs::write(host.path("site.yaml"), "# nothing\n").unwrap();
    agent.logs("site.yaml: references exporter");
    host.more_polls(2);
    agent.applied_still(&body);
    assert_eq!(host.starts().len(), starts);
}

/// The example of `docs/sources.md`: the file of the host, the offered config, and what the collector runs.
fn example() -> [String; 3] {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sources.md")).unwrap();
    ["site.yaml", "offered", "effective"].map(|name| {
        let (_, rest) = page.split_once(&format!("```yaml\n# {name}\n")).expect(name);
        rest.split_once("```").unwrap().0.to_owned()
    })
}

fn value(yaml: &str) -> serde_yaml::Value {
    serde_yaml::from_str(yaml).unwrap()
}

/// Runs the example with the collector of this host, and compares what the agent reports with the page.
fn the_example_runs(host: &Host) {
    let [_, offered, effective] = example();
    let reports = super::server::Server::new();
    host.set("report.url", &reports.url());
    let agent = host.agent_running(&offered);
    host.wait("a report with the effective config", || {
        let requests = reports.requests();
        let mut bodies = requests.iter().filter_map(|request| serde_json::from_slice(&request.body).ok());
        let shown = |body: &serde_json::Value| body["effective_config"].as_str().map(value) == Some(value(&effective));
        bodies.any(|body: serde_json::Value| shown(&body)).then_some(())
    });
    assert_eq!(given(host)[..2], ["local-0.yaml", "offered"]);
    assert_eq!(agent.logged("collector.local: "), 0);
}

#[test]
fn the_example_of_the_docs_runs() {
    the_example_runs(&host_with(&example()[0]));
}

#[test]
#[ignore = "needs OTELET_COLLECTOR: cargo xtask check --real"]
fn the_example_of_the_docs_runs_with_a_real_collector() {
    let host = host_with(&example()[0]);
    host.set("collector.path", &std::env::var("OTELET_COLLECTOR").expect("cargo xtask check --real sets it"));
    let [_, offered, _] = example();
    let reports = super::server::Server::new();
    host.set("report.url", &reports.url());
    let agent = host.agent_running(&offered);
    agent.logs("collector healthy");
    assert_eq!(agent.logged("collector.local: "), 0);

    // The real one would die of an exporter that it does not know.
    fs::write(host.path("site.yaml"), "exporters: {unheard_of: {}}\n").unwrap();
    let line = agent.logs("collector.local: ");
    assert!(line.contains("site.yaml: ") && line.contains("unheard_of"), "{line}");
    agent.applied_still(&offered);
}
