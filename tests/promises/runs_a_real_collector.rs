//! The promises that matter most, with the real Collector named by `OTELET_COLLECTOR` and real metrics that arrive at a
//! sink.

use std::fs;
use std::net::TcpListener;

use super::host::{Agent, Host, Signal, hash, signal, wait_for};
use super::server::{Answer, Server};
use super::system::{CHANGES_OF_BUILT_IN, LOG_OF_BUILT_IN, METRICS_OF_BUILT_IN};

/// A host with the real collector, and the sink that receives its metrics.
pub(super) struct Setup {
    pub(super) host: Host,
    pub(super) sink: Server,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self::on(Host::new())
    }

    fn on(host: Host) -> Self {
        let collector = std::env::var("OTELET_COLLECTOR").expect("cargo xtask check --real sets OTELET_COLLECTOR");
        let sink = Server::new();
        host.set("collector.path", &collector);
        host.set("collector.probation", "1s");
        sink.answer(Answer::Status(200, vec![("Content-Type".into(), "application/json".into())], b"{}".to_vec()));
        Self { host, sink }
    }

    /// A config that sends the host's metrics to the sink five times a second.
    pub(super) fn config(&self, scrapers: &str) -> String {
        self.config_with(scrapers, "", "")
    }

    fn config_with(&self, scrapers: &str, receivers: &str, more_receivers: &str) -> String {
        format!(
            "receivers:\n  hostmetrics:\n    collection_interval: 200ms\n    initial_delay: 0s\n    scrapers: {{{scrapers}}}\n\
             {receivers}exporters:\n  otlphttp:\n    endpoint: {}\n    encoding: json\n    compression: none\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
             metrics: {{receivers: [hostmetrics{more_receivers}], exporters: [otlphttp]}}\n",
            self.sink.at("").trim_end_matches('/')
        )
    }

    pub(super) fn running(&self, body: &str) -> Agent {
        let agent = self.host.agent_running(body);
        self.data_flows();
        agent
    }

    /// Waits for three more deliveries at the sink.
    fn data_flows(&self) {
        let so_far = self.sink.requests().len();
        self.sink.wait_for_requests(so_far + 3);
    }

    /// Waits for a delivery that contains this text.
    fn delivers(&self, text: &str) {
        let so_far = self.sink.requests().len();
        self.sink.wait_for(&format!("{text} at the sink"), |asked| {
            asked[so_far..].iter().any(|one| String::from_utf8_lossy(&one.body).contains(text))
        });
    }

    /// Offers a config that the real collector must refuse, and returns its words. Data flows before and after.
    fn refused(&self, agent: &Agent, good: &str, bad: &str) -> String {
        self.host.server.offer(bad);
        let message = agent.failed(bad);
        agent.applied_still(good);
        self.data_flows();
        message
    }
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn it_runs_a_config_and_changes_to_a_better_one_while_data_flows() {
    let setup = Setup::new();
    let (first, better) = (setup.config("memory: {}"), setup.config("memory: {}, cpu: {}"));
    let agent = setup.running(&first);
    setup.delivers("system.memory.usage");

    setup.host.server.offer(&*better);

    let status = agent.applied(&better);
    setup.delivers("system.cpu.time");
    assert_eq!(status.collector.witness.as_deref(), Some("health_check"));
    assert_eq!(status.collector.restarts, 0);
    assert_eq!(status.config.previous_hash, Some(hash(&first)));
    assert!(!status.collector.version.is_empty(), "it says which version it is");
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn validate_refuses_four_kinds_of_mistakes_and_the_collector_says_which() {
    let setup = Setup::new();
    let good = setup.config("memory: {}");
    let agent = setup.running(&good);

    let yaml = setup.refused(&agent, &good, &good.replace("receivers:\n", "receivers: [\n"));
    assert!(yaml.contains("YAML"), "{yaml}");
    let component = setup.refused(&agent, &good, &good.replace("otlphttp", "otlpsmoke"));
    assert!(component.contains("otlpsmoke"), "{component}");
    let target = setup.refused(&agent, &good, &good.replace("exporters: [otlphttp]", "exporters: [otlphttp/other]"));
    assert!(target.contains("otlphttp/other"), "{target}");
    let value = setup.refused(&agent, &good, &good.replace("    endpoint: ", "    # endpoint: "));
    assert!(value.contains("endpoint"), "{value}");
    assert_eq!(agent.written_status().unwrap().collector.restarts, 0, "the running one was never touched");
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn a_config_whose_port_is_taken_passes_validate_and_is_rolled_back() {
    let setup = Setup::new();
    let good = setup.config("memory: {}");
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = thief.local_addr().unwrap().port();
    let taken = setup.config_with(
        "memory: {}",
        &format!("  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}\n"),
        ", otlp",
    );
    let agent = setup.running(&good);

    let message = setup.refused(&agent, &good, &taken);

    agent.logs(" is valid; changing to it");
    agent.logs("; restored ");
    assert!(message.contains(&format!(":{port}: bind: ")), "{message}");
    drop(thief);
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn a_port_thief_between_pick_and_start_costs_one_more_start_only() {
    // The thief cannot know the port in advance: it takes it from the overlay of the config that is being started. This
    // test shows that the agent understands the real collector's own words; the race itself is tested with the scripted
    // collector.
    let setup = Setup::new();
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = thief.local_addr().unwrap().port();
    let body = format!(
        "{}extensions: {{health_check: {{endpoint: \"127.0.0.1:{port}\"}}}}\n",
        setup.config("memory: {}").replace("service:\n", "service:\n  extensions: [health_check]\n")
    );
    setup.host.server.offer(&*body);
    let agent = setup.host.agent().start();

    let message = agent.failed(&body);

    assert!(message.contains(&format!(":{port}")) && otelet::os::says_port_is_taken(&message), "{message}");
    drop(thief);
    agent.applied(&body);
    setup.data_flows();
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn it_is_back_after_kill_9() {
    let setup = Setup::new();
    let good = setup.config("memory: {}");
    let agent = setup.running(&good);
    let first = agent.applied(&good).collector.pid.unwrap();

    signal(first, Signal::KILL);

    another(&agent, first);
    agent.logs(&format!("collector exited: {} after ", super::system::KILLED));
    setup.data_flows();
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn it_is_back_after_a_stop_signal_and_after_an_unrequested_exit() {
    let setup = Setup::new();
    let good = setup.config("memory: {}");
    let agent = setup.running(&good);
    let first = agent.applied(&good).collector.pid.unwrap();

    signal(first, Signal::STOP);
    let second = another(&agent, first);
    agent.logs("collector hangs: ");
    setup.data_flows();

    // An exit with code 0 that the agent did not ask for.
    signal(second, Signal::TERM);
    another(&agent, second);
    agent.logs("collector exited: code 0 after ");
    setup.data_flows();
}

/// Waits for a healthy collector that is not this one.
fn another(agent: &Agent, pid: u32) -> u32 {
    let status = agent.wait_status("another collector", |status| {
        status.collector.pid.is_some_and(|other| other != pid) && status.collector.healthy
    });
    status.collector.pid.unwrap()
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn sighup_asks_at_once_and_takes_new_settings() {
    let setup = Setup::new();
    setup.host.set("config.poll_every", "1h");
    let (first, second) = (setup.config("memory: {}"), setup.config("cpu: {}"));
    let agent = setup.running(&first);

    setup.host.server.offer(&*second);
    agent.signal(Signal::HUP);
    agent.applied(&second);

    let before = agent.written_status().unwrap().collector.pid;
    setup.host.set("attributes", "{site: north}");
    agent.signal(Signal::HUP);
    agent.wait_status("a collector with the new attributes", |status| {
        status.collector.pid != before && status.collector.healthy
    });
    let overlay = fs::read_to_string(setup.host.runtime_dir().join("overlay.yaml")).unwrap();
    assert!(overlay.contains("north"), "{overlay}");
    setup.data_flows();
}

/// A config that takes log records on this port and holds them until it ends, or has a hundred thousand.
fn holds_logs(setup: &Setup, port: u16) -> String {
    format!(
        "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}\n\
         processors:\n  batch: {{timeout: 1h, send_batch_size: 100000}}\n\
         exporters:\n  otlphttp:\n    endpoint: {}\n    encoding: json\n    compression: none\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
         logs: {{receivers: [otlp], processors: [batch], exporters: [otlphttp]}}\n",
        setup.sink.at("").trim_end_matches('/')
    )
}

/// Sends OTLP/JSON to a collector as an application does, and checks that it was accepted.
fn post(port: u16, path: &str, json: &str) {
    use std::io::{Read, Write};
    let mut application = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        json.len()
    );
    application.write_all(&[head.as_bytes(), json.as_bytes()].concat()).unwrap();
    let mut answer = String::new();
    application.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn logs_taken_before_a_stop_arrive_while_it_drains() {
    const RECORDS: usize = 50;
    let setup = Setup::new();
    let port = free_port();
    let mut agent = setup.host.agent_running(&holds_logs(&setup, port));
    for number in 1..=RECORDS {
        let record = format!(r#"{{"body":{{"stringValue":"record {number} of {RECORDS}"}}}}"#);
        post(port, "/v1/logs", &format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#));
    }
    assert!(setup.sink.requests().is_empty(), "it holds them");

    assert_eq!(agent.stop(), 0);

    let requests = setup.sink.requests();
    let arrived: String = requests.iter().map(|asked| String::from_utf8_lossy(&asked.body).into_owned()).collect();
    for number in 1..=RECORDS {
        let record = format!("record {number} of {RECORDS}");
        assert_eq!(arrived.matches(&*format!("\"{record}\"")).count(), 1, "{record}");
    }
    assert_eq!(agent.logged("killing the collector"), 0, "it ended by itself");
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn paths_with_spaces_and_foreign_letters_and_long_ones_are_taken_as_they_are() {
    let setup = Setup::on(Host::named("otelet promise at the \u{d6}lm\u{fc}hle & (100%)"));
    let program = setup.host.path(&format!("otelcol \u{4e09}{}", std::env::consts::EXE_SUFFIX));
    fs::copy(std::env::var("OTELET_COLLECTOR").unwrap(), &program).unwrap();
    setup.host.set("collector.path", &program.display().to_string());
    // The path of a config below it is longer than the 260 characters that Windows accepts by default.
    let state = setup.host.path("st\u{e4}te ".repeat(16).trim()).join("y".repeat(120));
    setup.host.set("state_dir", &state.display().to_string());
    let (first, second) = (setup.config("memory: {}"), setup.config("cpu: {}"));
    let mut agent = setup.running(&first);

    setup.host.server.offer(&*second);
    let status = agent.applied(&second);
    setup.delivers("system.cpu.time");

    let path = status.config.effective_path.unwrap();
    assert!(path.len() > 260 && path.starts_with(state.to_str().unwrap()), "{path}");
    assert_eq!(status.collector.restarts, 0);
    assert_eq!(agent.stop(), 0);
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn it_starts_without_network_and_leaves_no_second_collector_after_kill_9() {
    let setup = Setup::new();
    let good = setup.config("memory: {}");
    let mut agent = setup.running(&good);
    let orphan = agent.applied(&good).collector.pid.unwrap();

    agent.kill();
    setup.host.server.answer(Answer::Stall);
    let mut agent = setup.host.agent().start();

    let status = agent.applied(&good);
    assert_ne!(status.collector.pid, Some(orphan));
    super::host::gone(orphan);
    setup.data_flows();
    assert_eq!(agent.stop(), 0);
    super::host::gone(status.collector.pid.unwrap());
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn a_person_goes_back_and_a_bad_config_is_tried_once() {
    let setup = Setup::new();
    let (first, second) = (setup.config("memory: {}"), setup.config("cpu: {}"));
    let agent = setup.running(&first);
    setup.host.server.offer(&*second);
    agent.applied(&second);

    assert!(setup.host.otelet(&["rollback"]).status.success());
    agent.wait_status("the first config again", |status| {
        status.config.effective_hash == Some(hash(&first)) && status.collector.healthy
    });
    setup.host.more_polls(20);
    assert_eq!(agent.logged("config poll failed"), 0);
    assert_eq!(
        agent.written_status().unwrap().config.effective_hash,
        Some(hash(&first)),
        "it is offered and not tried"
    );

    assert!(setup.host.otelet(&["rollback", "--clear"]).status.success());
    agent.applied(&second);
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn validate_starts_nothing_and_repeats_the_collectors_words() {
    let setup = Setup::new();
    let good = setup.config("memory: {}");
    setup.host.server.offer(&*good);
    let said = setup.host.otelet(&["validate"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));

    setup.host.server.offer(good.replace("otlphttp", "otlpsmoke"));
    let said = setup.host.otelet(&["validate"]);
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("refuses it") && said.contains("otlpsmoke"), "{said}");
    assert!(setup.sink.requests().is_empty());
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn its_memory_budget_reaches_it() {
    let setup = Setup::new();
    setup.host.set("collector.memory_limit", "100MiB");
    setup.host.set("collector.oom_score_adj", "500");
    setup.host.set("collector.nice", "5");
    let good = setup.config("memory: {}");
    let agent = setup.running(&good);

    let pid = agent.applied(&good).collector.pid.unwrap();

    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let has = |entry: &str| environment.split(|byte| *byte == 0).any(|one| one == entry.as_bytes());
    assert!(has(&format!("GOMEMLIMIT={}", 100 * 1024 * 1024 / 10 * 9)));
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "500");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(stat.rsplit_once(") ").unwrap().1.split(' ').nth(16), Some("5"), "niceness, field 19 of proc(5)");
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn a_full_disk_stops_nothing() {
    if !super::system::is_root() {
        println!("skipped: a full disk is made with a mount, which needs root");
        return;
    }
    let setup = Setup::new();
    let state = setup.host.state_dir();
    fs::create_dir(&state).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&state).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: a full disk is made with a mount, which is refused here");
        return;
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(state.clone());
    let good = setup.config("memory: {}");
    let agent = setup.running(&good);
    // Fills the disk to the last byte.
    let filler = state.join("filler");
    let mut size = 256 * 1024;
    let mut ballast = fs::File::create(&filler).unwrap();
    while size > 0 {
        if std::io::Write::write_all(&mut ballast, &vec![0; size]).is_err() {
            size /= 2;
        }
    }

    let better = format!("{}# {}\n", setup.config("cpu: {}"), "x".repeat(8000));
    setup.host.server.offer(&*better);
    let message = agent.failed(&better);
    assert!(message.contains("No space left on device"), "{message}");
    setup.data_flows();

    drop(ballast);
    fs::remove_file(&filler).unwrap();
    wait_for(
        "room to be noticed",
        || (agent.written_status()?.config.effective_hash == Some(hash(&better))).then_some(()),
        String::new,
    );
    agent.applied(&better);
}

/// The built-in config for a host, changed so that a test sees its effects: it is quick, listens on ports of its own,
/// sends to a sink that reads JSON, and reads a log of its own where it reads one.
fn built_in(log: &std::path::Path, ports: [u16; 2]) -> String {
    let [grpc, http] = ports;
    let changes = [
        ("collection_interval: 60s", "collection_interval: 500ms".to_owned()),
        ("127.0.0.1:4317", format!("127.0.0.1:{grpc}")),
        ("127.0.0.1:4318", format!("127.0.0.1:{http}")),
        ("  batch: {}", "  batch: {timeout: 100ms}".to_owned()),
        ("  otlphttp:\n", "  otlphttp:\n    encoding: json\n    compression: none\n".to_owned()),
    ];
    let of_log = LOG_OF_BUILT_IN.map(|from| (from, format!("{from}{}, ", log.display())));
    let of_system = CHANGES_OF_BUILT_IN.iter().map(|(from, to)| (*from, (*to).to_owned()));
    changes.into_iter().chain(of_log).chain(of_system).fold(otelet::os::BUILT_IN.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from} stands once in it");
        text.replace(from, &to)
    })
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn the_built_in_config_is_taken_as_it_is_and_delivers_metrics_logs_and_traces() {
    let setup = Setup::new();
    setup.host.unset("config.url");
    setup.host.set("environment", "host");
    let output = setup.host.otelet(&["validate"]);
    assert_eq!(output.status.code(), Some(0), "{}", super::host::stdout(&output));

    let (log, ports) = (setup.host.path("syslog"), [free_port(), free_port()]);
    fs::write(&log, "").unwrap();
    let body = built_in(&log, ports);
    setup.host.set("config.url", &setup.host.server.url());
    let endpoint = setup.sink.at("");
    setup.host.set("collector.env", &format!("{{OTEL_EXPORTER_OTLP_ENDPOINT: '{}'}}", endpoint.trim_end_matches('/')));
    let agent = setup.host.agent_running(&body);

    METRICS_OF_BUILT_IN.iter().for_each(|name| setup.delivers(name));
    setup.delivers("\"host.name\"");
    if LOG_OF_BUILT_IN.is_some() {
        let mut line = fs::OpenOptions::new().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut line, b"the pump has stopped\n").unwrap();
        setup.delivers("the pump has stopped");
    }
    let record = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"the tank is full"}}]}]}]}"#;
    post(ports[1], "/v1/logs", record);
    setup.delivers("the tank is full");
    let span = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8aa5a2d2c872e8321cf37308d69df2",
        "spanId":"051581bf3cb55c13","name":"fill the tank","kind":1,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;
    post(ports[1], "/v1/traces", span);
    setup.delivers("fill the tank");

    // Its memory outlives it: the offset in the log, and data that could not be sent yet.
    let kept = fs::read_dir(setup.host.state_dir().join("collector")).unwrap().flatten().count();
    assert!(kept > usize::from(LOG_OF_BUILT_IN.is_some()), "a queue is kept, and an offset where there is a log");
    drop(agent);
}
