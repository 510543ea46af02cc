//! KloudMate's protocol: requests, answers, and configs that survive a restart.

use std::fs;
use std::time::Duration;

use super::says::MAX_ERROR;
use super::*;
use crate::http::test_server::{Answer as Scripted, Server};
use crate::http::tests::{Dir, settings};
use otelet_wire::status::{
    AgentState, AgentStatus, CollectorState, CollectorStatus, ConfigStatus, ExitStatus, HostStatus, RefusedStatus,
    RemoteConfigStatus, Status,
};

fn role(environment: Environment) -> Role {
    Role { environment, cluster: String::new() }
}

/// The report of an agent that has just started on a healthy host and has no config yet.
pub(in crate::source) fn report() -> Report {
    let status = Status {
        agent: AgentStatus {
            version: "1.2.3".into(),
            pid: 1,
            start: 1,
            state: AgentState::Running,
            ..AgentStatus::default()
        },
        collector: CollectorStatus {
            version: "0.149.0".into(),
            state: CollectorState::Up,
            pid: Some(2),
            healthy: true,
            ..CollectorStatus::default()
        },
        config: ConfigStatus { remote_config_status: RemoteConfigStatus::Unset, ..ConfigStatus::default() },
        host: HostStatus {
            name: "edge-4".into(),
            os_type: "linux".into(),
            arch: "amd64".into(),
            ..HostStatus::default()
        },
        serial: 1,
        ..Status::default()
    };
    Report { status, effective_config: None, components: None }
}

struct Site {
    dir: Dir,
    server: Server,
    client: http::Client,
}

impl Site {
    fn new() -> Self {
        Self { dir: Dir::new(), server: Server::new(), client: http::Client::new(&settings()).unwrap() }
    }

    fn agent(&self) -> KloudMate {
        self.agent_as(role(Environment::Host))
    }

    /// An agent that has just started.
    fn agent_as(&self, role: Role) -> KloudMate {
        let url = self.server.at("/agents/config-check");
        let (inbox, complaint) = Inbox::open(&self.dir.path(""), &url);
        assert_eq!(complaint, None);
        let (key, first) = (Secret::from("sk_1".to_owned()), self.dir.path("config.yaml"));
        KloudMate::new(&url, vec![("X-Site".into(), "4".into())], Some(&key), role, inbox, Some(first), 1000).unwrap()
    }

    fn answers(&self, body: &str) {
        self.server.answer(Scripted::Status(200, Vec::new(), body.into()));
    }

    fn exchange(&self, agent: &KloudMate, report: &Report) -> Result<Answer, Failure> {
        if let Some(answer) = agent.waiting(report, true) {
            return Ok(answer);
        }
        let response = self.client.send(&agent.request(report, true)?);
        agent.offer(response.map_err(|error| agent.way_out().failure(&error))?)
    }

    fn failure(&self, agent: &KloudMate) -> String {
        self.exchange(agent, &report()).unwrap_err().message
    }
}

fn config(body: &str) -> Offer {
    Offer::Config { body: body.as_bytes().into() }
}

fn offered(body: &str) -> Result<Answer, Failure> {
    Ok(config(body).into())
}

const NOTHING: &str = "{\"restart_required\": false, \"config\": null}";

#[test]
fn the_request_has_all_nine_keys_and_the_raw_key() {
    let site = Site::new();
    site.answers(NOTHING);
    let agent = site.agent();
    assert_eq!(site.exchange(&agent, &report()), Ok(Offer::Unchanged.into()));

    let asked = &site.server.requests()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/agents/config-check"));
    assert_eq!(asked.header("authorization"), Some("sk_1"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("user-agent"), Some(USER_AGENT));
    assert_eq!(asked.header("x-site"), Some("4"));
    let said: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let expected = serde_json::json!({
        "is_docker": false, "hostname": "edge-4", "platform": "linux", "architecture": "amd64",
        "agent_version": "1.2.3", "collector_version": "v0.149.0", "agent_status": "Running",
        "collector_status": "Running", "last_error_message": "",
    });
    assert_eq!(said, expected);
}

#[test]
fn unknown_fields_are_empty_and_the_role_decides_platform_and_hostname() {
    let site = Site::new();
    let said = |role: Role, report: &Report| {
        let request = site.agent_as(role).request(report, false).unwrap();
        let said: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(said.as_object().unwrap().len(), 9);
        said
    };
    let mut stopped = report();
    stopped.status.agent.state = AgentState::Stopping;
    stopped.status.host = HostStatus { os_type: "macos".into(), arch: "arm64".into(), ..HostStatus::default() };
    (stopped.status.collector.pid, stopped.status.collector.version) = (None, String::new());
    let it = said(role(Environment::Docker), &stopped);
    assert_eq!((&it["is_docker"], &it["platform"], &it["hostname"]), (&true.into(), &"docker".into(), &"".into()));
    assert_eq!((&it["agent_status"], &it["collector_status"]), (&"Stopped".into(), &"Stopped".into()));
    assert_eq!((&it["collector_version"], &it["architecture"]), (&"".into(), &"arm64".into()));
    assert_eq!(said(role(Environment::Host), &stopped)["platform"], "darwin");
    let it = said(Role { cluster: "north".into(), ..role(Environment::DaemonSet) }, &report());
    assert_eq!((&it["is_docker"], &it["platform"], &it["hostname"]), (&false.into(), &"k8s".into(), &"north".into()));
}

#[test]
fn no_key_means_no_header() {
    let site = Site::new();
    let (inbox, _) = Inbox::open(&site.dir.path(""), "x");
    let agent = KloudMate::new(&site.server.url(), vec![], None, role(Environment::Host), inbox, None, 1000).unwrap();
    let headers = agent.request(&report(), true).unwrap().headers;
    assert!(!headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")));
}

#[test]
fn settings_that_can_never_work_are_refused_without_their_secrets() {
    let with = |url: &str, name: &str, value: &str, key: &str| {
        let dir = Dir::new();
        let (inbox, _) = Inbox::open(&dir.path(""), "x");
        let headers = vec![(name.to_owned(), value.to_owned())];
        let key = Secret::from(key.to_owned());
        KloudMate::new(url, headers, Some(&key), role(Environment::Host), inbox, None, 1000)
            .err()
            .map(|error| error.to_string())
    };
    let good = "https://api.example/x";
    assert_eq!(with(good, "X-A", "b", "sk_hunter2"), None);
    assert_eq!(with(good, "Authorization", "sk_hunter2", ""), None);
    for (refused, why) in [
        (with(good, "X-A", "b", "hunter2\n"), "api-key (KM_API_KEY): has a line break or a control character in it"),
        (with(good, "authorization", "a", "hunter2"), "api-key (KM_API_KEY): config.headers has Authorization as"),
        (with(good, "X A", "hunter2", "k"), "config.headers.X A: "),
        (
            with("https://hunter2@api.example", "X-A", "b", "k"),
            "config.url or KM_UPDATE_ENDPOINT: has a user or password in it",
        ),
    ] {
        let refused = refused.unwrap();
        assert!(refused.starts_with(why) && !refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn an_announced_config_is_on_disk_before_it_is_handed_on_byte_for_byte() {
    let site = Site::new();
    let body = "{\"b\": {\"max\": 10485760, \"x\": 1e3,  \"f\":1.10},\n \"a\": [\"\u{fc}\\n\\u0041\", null, {}]}";
    site.answers(&format!(" {{\"config\" : {body} , \"k\": 1, \"restart_required\": true}} "));
    let agent = site.agent();

    assert_eq!(site.exchange(&agent, &report()), offered(body));

    assert!(fs::read(site.dir.path("inbox")).unwrap().ends_with(body.as_bytes()));
    assert_eq!(site.exchange(&agent, &report()), offered(body), "whether it is the same is not judged here");
}

#[test]
fn answers_are_read_in_all_their_forms() {
    for (answer, announced) in [
        (NOTHING, Instruction::Nothing),
        ("{}", Instruction::Nothing),
        ("{\"restart_required\":null}", Instruction::Nothing),
        ("{\"config\": {\"a\": 1}}", Instruction::Nothing),
        ("{\"restart_required\": false, \"config\": {\"a\": 1}}", Instruction::Nothing),
        ("{\"restart_required\": true}", Instruction::Restart),
        ("{\"restart_required\": true, \"config\": null, \"k8s\": {\"a\": []}}", Instruction::Restart),
        ("{\"restart_required\": true, \"config\": {}}", Instruction::Config("{}".into())),
    ] {
        assert_eq!(self::instruction(answer.as_bytes(), Part::Whole), Ok(announced), "{answer}");
    }
    for (answer, why) in [
        ("", "with something that is not JSON, at line 1 column 0"),
        ("<html>\n", "with something that is not JSON, at line 1 column 1"),
        ("{\"config\": {\"a\": hunter2", "with something that is not JSON, at line 1 column 18"),
        ("[]", "with JSON of another form, at line 1 column 2; see restart_required and config"),
        ("{\"restart_required\": \"hunter2\"}", "with JSON of another form, at line 1 column 30; see"),
        (
            "{\"restart_required\": true, \"config\": \"hunter2: {}\"}",
            "with a config that is a text; a JSON object is expected",
        ),
        ("{\"restart_required\": true, \"config\": [1]}", "with a config that is a list; a JSON object is expected"),
        ("{\"restart_required\": true, \"config\": 1}", "with a config that is a single value; a JSON object"),
        ("{} {}", "with something that is not JSON, at line 1 column 4"),
    ] {
        let refused = self::instruction(answer.as_bytes(), Part::Whole).unwrap_err();
        assert!(refused.starts_with(why) && !refused.contains("hunter2"), "{refused}");
    }
    assert!(instruction(b"\xff", Part::Whole).is_err());
    let deep = format!("{{\"config\": {}1}}", "{\"a\":".repeat(1_000_000));
    assert!(instruction(deep.as_bytes(), Part::Whole).is_err());
}

#[test]
fn each_role_in_a_cluster_takes_its_own_part() {
    let (nodes, once) = (role(Environment::DaemonSet).part(), role(Environment::Deployment).part());
    let answer = |config: &str| format!("{{\"restart_required\": true, \"config\": {config}, \"k8s\": {{}}}}");
    let both = answer("{\"daemonset_config\": {\"a\":1}, \"deployment_config\": {\"b\":2}}");
    assert_eq!(instruction(both.as_bytes(), nodes), Ok(Instruction::Config("{\"a\":1}".into())));
    assert_eq!(instruction(both.as_bytes(), once), Ok(Instruction::Config("{\"b\":2}".into())));
    let half = answer("{\"daemonset_config\": {\"a\":1}, \"deployment_config\": null}");
    assert_eq!(instruction(half.as_bytes(), once), Ok(Instruction::Nothing), "not even a restart");
    assert_eq!(instruction(answer("null").as_bytes(), once), Ok(Instruction::Restart));
    let wrong = instruction(answer("{\"daemonset_config\": \"x\"}").as_bytes(), nodes);
    assert_eq!(wrong, Err("with a config that is a text; a JSON object is expected".into()));
    assert!(instruction(answer("[]").as_bytes(), nodes).is_err());
}

#[test]
fn a_restart_is_ordered_once_for_each_announcement() {
    let site = Site::new();
    let agent = site.agent();
    let restarts = |answer: &str| {
        site.answers(answer);
        let answer = site.exchange(&agent, &report()).unwrap();
        answer.orders.restart
    };
    let restart = "{\"restart_required\": true, \"config\": null}";
    assert!(restarts(restart));
    assert!(!restarts(restart) && !restarts(restart), "the same announcement");
    assert!(!restarts(NOTHING));
    assert!(restarts(restart), "a person has pressed it again");
    assert!(!restarts("{\"restart_required\": true, \"config\": {\"a\": 1}}"), "a config is not a restart");
    assert!(restarts(restart));

    site.server.answer(Scripted::status(500));
    site.failure(&agent);
    site.answers(restart);
    assert!(!site.exchange(&agent, &report()).unwrap().orders.restart, "an error in between announces nothing");
}

#[test]
fn only_200_is_an_answer() {
    let site = Site::new();
    let agent = site.agent();
    let url = site.server.at("/agents/config-check");
    for (status, why) in [
        (201, "answered 201; 200 was expected"),
        (204, "answered 204; 200 was expected"),
        (304, "answered 304; 200 was expected"),
        (401, "answered 401; check the key: KM_API_KEY, api-key in agent.yaml"),
        (404, "answered 404; check the URL: config.url, or KM_UPDATE_ENDPOINT, update-endpoint in agent.yaml"),
        (500, "answered 500"),
    ] {
        site.server.answer(Scripted::Status(status, vec![], NOTHING.into()));
        assert_eq!(site.failure(&agent), format!("{url}: {why}"));
    }
    site.server.answer(Scripted::Status(503, vec![("Retry-After".into(), "120".into())], vec![]));
    let failure = site.exchange(&agent, &report()).unwrap_err();
    assert_eq!((failure.kind.word(), failure.retry_after), ("status", Some(Duration::from_secs(120))));
}

#[test]
fn refusals_failed_polls_and_collector_trouble_are_reported() {
    let site = Site::new();
    let agent = site.agent();
    let said = |report: &Report| {
        let request = agent.request(report, true).unwrap();
        let said: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        said["last_error_message"].as_str().unwrap().to_owned()
    };
    let mut report = report();
    report.status.config.remote_config_status = RemoteConfigStatus::Failed;
    report.status.config.message = "unknown exporter \"x\"".into();
    assert_eq!(said(&report), "config refused: unknown exporter \"x\"");

    report.status.exchanges.last_error = Some("https://a.example: answered 503".into());
    report.status.collector.trouble = Some("health_check answers 503".into());
    let all = "config refused: unknown exporter \"x\"; last poll failed: https://a.example: answered 503; \
               collector up: health_check answers 503";
    assert_eq!(said(&report), all);

    report = self::report();
    assert_eq!(said(&report), "");
    report.status.collector.pid = None;
    let (how, at, last_words) = ("code 1".into(), String::new(), "\u{fc}".repeat(2000));
    report.status.collector.last_exit = Some(ExitStatus { how, at, last_words });
    let exited = said(&report);
    assert!(exited.starts_with("collector exited: code 1: \u{fc}\u{fc}"), "{exited}");
    assert!((MAX_ERROR - 1..=MAX_ERROR).contains(&exited.len()));
}

fn again(body: &str) -> Result<Answer, Failure> {
    Ok(Answer { offer: config(body), orders: Orders { again: true, ..Orders::default() } })
}

#[test]
fn a_config_announced_to_an_earlier_agent_is_offered_at_the_next_start() {
    let site = Site::new();
    site.answers("{\"restart_required\": true, \"config\": {\"a\": 1}}");
    assert_eq!(site.exchange(&site.agent(), &report()), offered("{\"a\": 1}"));
    site.answers(NOTHING);

    let agent = site.agent();
    assert_eq!(site.exchange(&agent, &report()), again("{\"a\": 1}"));
    assert_eq!(site.exchange(&agent, &report()), Ok(Offer::Unchanged.into()), "once");
    assert_eq!(site.server.requests().len(), 2);
    drop(agent);

    let hash = otelet_config::hash(b"{\"a\": 1}").hex();
    let mut decided = [report(), report(), report()];
    decided[0].status.config.candidate_hash = Some(hash.clone());
    decided[1].status.config.last_good_hash = Some(hash.clone());
    let (reason, at) = (String::new(), String::new());
    decided[2].status.config.refused = vec![RefusedStatus { hash, reason, at, times: 1, barred: true }];
    for report in decided {
        assert_eq!(site.exchange(&site.agent(), &report), Ok(Offer::Unchanged.into()));
    }
}

#[test]
fn a_lost_body_is_offered_again_in_every_second_exchange() {
    let site = Site::new();
    let agent = site.agent();
    site.answers("{\"restart_required\": true, \"config\": {\"a\": 1}}");
    site.exchange(&agent, &report()).unwrap();
    site.answers(NOTHING);
    assert_eq!(agent.waiting(&report(), true), None);
    for _ in 0..3 {
        assert_eq!(agent.waiting(&report(), false), again("{\"a\": 1}").ok());
        assert_eq!(agent.waiting(&report(), false), None);
        site.exchange(&agent, &report()).unwrap();
    }
}

#[test]
fn the_collectors_own_config_is_tried_first_while_no_other_is_known() {
    let site = Site::new();
    site.answers(NOTHING);
    assert_eq!(site.exchange(&site.agent(), &report()), Ok(Offer::Unchanged.into()), "there is none");
    fs::write(site.dir.path("config.yaml"), "a: 1\n").unwrap();

    let agent = site.agent();
    assert_eq!(site.exchange(&agent, &report()), again("a: 1\n"));
    assert_eq!(site.exchange(&agent, &report()), Ok(Offer::Unchanged.into()), "once");

    let mut known = report();
    known.status.config.remote_hash = Some("51c0".into());
    assert_eq!(site.exchange(&site.agent(), &known), Ok(Offer::Unchanged.into()));
    for unusable in [" \n".to_owned(), "x".repeat(1001)] {
        fs::write(site.dir.path("config.yaml"), unusable).unwrap();
        assert_eq!(site.exchange(&site.agent(), &report()), Ok(Offer::Unchanged.into()));
    }
}

#[test]
fn json_that_is_no_yaml_is_rewritten_as_yaml() {
    for (json, yaml) in [
        ("{\"a\\/b\" \n : \"\\\\/ \\\" : x\"}", "{\"a/b\": \"\\\\/ \\\" : x\"}"),
        ("{\"a\":\"\\ud83d\\ude00 \\u00e9\"}", "{\"a\":\"\u{1f600} \\u00e9\"}"),
        ("{\"a\":\"\u{7f}\u{2028}\u{85}\u{feff}\"}", "{\"a\":\"\\u007f\\u2028\\u0085\\ufeff\"}"),
        ("{\"\u{1f600}\": \"a : \\t\"}", "{\"\u{1f600}\": \"a : \\t\"}"),
    ] {
        assert_eq!(otelet_wire::kloudmate::yaml(json), yaml);
        let meant: serde_json::Value = serde_json::from_str(json).unwrap();
        let read: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        assert_eq!(read, meant);
    }
}

#[test]
fn a_lone_surrogate_is_replaced_as_in_kloudmates_own_agent() {
    for (json, yaml) in [
        ("{\"a\":\"\\uD83D\"}", "{\"a\":\"\\ufffd\"}"),
        ("{\"a\":\"\\ud41d\\ude00.\"}", "{\"a\":\"\\ud41d\\ufffd.\"}"),
        ("{\"\\ud83d\\ud83d\\ude00\":\"\\ud83d\\u0041\"}", "{\"\\ufffd\u{1f600}\":\"\\ufffd\\u0041\"}"),
    ] {
        assert_eq!(otelet_wire::kloudmate::yaml(json), yaml);
        serde_yaml::from_str::<serde_json::Value>(yaml).expect(yaml);
    }
}

#[test]
fn any_json_reads_the_same_as_yaml() {
    let texts = [
        "a",
        "\\/",
        "\\\"",
        "\\ud83d\\ude00",
        "\u{2028}",
        "\u{7f}",
        ":",
        " ",
        "#",
        "\\u0000",
        "\u{1f600}",
        "'",
        "\\n",
        "- ",
        "{",
        "\\\\",
        "\u{ffff}",
        "\\b",
    ];
    let blanks = ["", "", "", " ", "\n", "\r\n", "\t"];
    fn value(rng: &mut fastrand::Rng, depth: usize, text: &dyn Fn(&mut fastrand::Rng) -> String) -> String {
        let blanks = ["", "", "", " ", "\n", "\r\n  ", " \t"];
        let blank = |rng: &mut fastrand::Rng| blanks[rng.usize(..blanks.len())];
        let items = |rng: &mut fastrand::Rng, keyed: bool| {
            let items = (0..rng.usize(..4)).map(|number| {
                let value = value(rng, depth + 1, text);
                let key = if keyed { format!("\"{number}{}\"{}:", text(rng), blank(rng)) } else { String::new() };
                format!("{}{key}{}{value}{}", blank(rng), blank(rng), blank(rng))
            });
            items.collect::<Vec<_>>().join(",")
        };
        match rng.usize(if depth > 4 { 2 } else { 0 }..8) {
            0 => format!("{{{}}}", items(rng, true)),
            1 => format!("[{}]", items(rng, false)),
            2 => "10485760".to_owned(),
            3 => "-1.5".to_owned(),
            4 => "null".to_owned(),
            5 => "true".to_owned(),
            _ => format!("\"{}\"", text(rng)),
        }
    }
    let text =
        |rng: &mut fastrand::Rng| -> String { (0..rng.usize(..6)).map(|_| texts[rng.usize(..texts.len())]).collect() };
    for seed in 0..5000 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let json = format!("{{\"a\"{}:{}}}", blanks[rng.usize(..blanks.len())], value(rng, 0, &text));
        let meant: serde_json::Value = serde_json::from_str(&json).unwrap();
        let yaml = otelet_wire::kloudmate::yaml(&json);
        match serde_yaml::from_str::<serde_json::Value>(&yaml) {
            Ok(read) => assert_eq!(read, meant, "seed {seed}\n{json}\n{yaml}"),
            Err(error) => panic!("seed {seed}: {error}\n{json}\n{yaml}"),
        }
    }
}
