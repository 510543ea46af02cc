//! The state machine against answers made up here: what is said, what an answer comes to, and what is done with an
//! answer that no server should give.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ureq::http::HeaderMap;
use uuid::Uuid;

use super::state::*;
use super::wire::Status as Is;
use super::wire::{
    AgentConfigFile, AgentConfigMap, AgentIdentification, AgentRemoteConfig, ConnectionSettingsOffers, Header, Headers,
    OpAmpConnectionSettings, RetryInfo, ServerErrorResponse, ServerToAgentCommand,
};
use super::*;
use crate::http::tests::Dir;
use crate::settings::{self, World};
use crate::status::{AgentStatus, CollectorStatus, ConfigStatus, HostStatus, Status as Report_};

const URL: &str = "http://one.example:4320/v1/opamp";
const UID: Uuid = Uuid::from_u128(0x0195_0000_0000_7000_8000_0000_0000_0001);
const BODY: &str = "receivers: {}\n";

/// An agent whose collector runs, and to which nothing was offered.
pub(super) fn status() -> Report_ {
    Report_ {
        agent: AgentStatus {
            version: "1.2.3".into(),
            pid: 1,
            start: 1,
            instance_uid: UID.to_string(),
            since: "2026-11-23T17:00:00Z".into(),
            state: "running".into(),
            ..AgentStatus::default()
        },
        collector: CollectorStatus {
            path: "/opt/otelcol-contrib".into(),
            version: "0.149.0".into(),
            state: "up".into(),
            pid: Some(7),
            since: Some("2026-11-23T17:00:10Z".into()),
            healthy: true,
            ..CollectorStatus::default()
        },
        config: ConfigStatus { remote_config_status: "unset".into(), ..ConfigStatus::default() },
        host: HostStatus {
            name: "pump".into(),
            os_type: "linux".into(),
            memory_total_bytes: Some(100),
            memory_used_bytes: Some(50),
            ..HostStatus::default()
        },
        serial: 1,
        written_at: "2026-11-23T17:30:00Z".into(),
        ..Report_::default()
    }
}

fn config_settings(yaml: &str) -> ConfigSettings {
    let yaml = yaml.to_owned();
    let world =
        World { var: Box::new(|_| None), read: Box::new(move |_| Ok(yaml.clone().into_bytes())), here: "/here".into() };
    settings::load(&Default::default(), &world).unwrap_or_else(|error| panic!("{error}")).config
}

/// An agent and what it knows of itself.
struct Bench {
    opamp: OpAmp,
    report: Report,
}

impl Bench {
    fn new() -> Self {
        Self::with(URL, "", None)
    }

    fn with(url: &str, yaml: &str, file: Option<PathBuf>) -> Self {
        let opamp = OpAmp::new(url, &config_settings(yaml), file).unwrap_or_else(|error| panic!("{error}"));
        let report = Report { status: status(), effective_config: Some("a: 1\n".into()), components: None };
        Self { opamp, report }
    }

    /// One that has said all there is to say.
    fn settled() -> Self {
        let bench = Self::new();
        bench.ask();
        bench.hear(ServerToAgent::default()).unwrap();
        bench
    }

    fn request(&self, conditional: bool) -> (Request, AgentToServer) {
        let request = self.opamp.request(&self.report, conditional).unwrap_or_else(|failure| panic!("{failure}"));
        let message = AgentToServer::decode(&request.body[..]).unwrap();
        (request, message)
    }

    fn ask(&self) -> AgentToServer {
        self.request(true).1
    }

    fn respond(&self, status: u16, body: Vec<u8>) -> Result<Answer, Failure> {
        let mut response = Response::head(status, &HeaderMap::new(), SystemTime::UNIX_EPOCH);
        response.body = body;
        self.opamp.offer(response)
    }

    fn hear(&self, message: ServerToAgent) -> Result<Answer, Failure> {
        let uid = self.opamp.lock().out.as_ref().unwrap().uid;
        self.respond(200, ServerToAgent { instance_uid: uid.as_bytes().to_vec(), ..message }.encode_to_vec())
    }

    fn exchange(&self, message: ServerToAgent) -> (AgentToServer, Answer) {
        let asked = self.ask();
        (asked, self.hear(message).unwrap())
    }

    /// The core has taken what was offered.
    fn received(&mut self, body: &str, status: &str) {
        let config = &mut self.report.status.config;
        config.remote_hash = Some(store::hash(body.as_bytes()).hex());
        config.remote_config_status = status.into();
    }

    /// A second passes.
    fn later(&mut self) {
        self.report.status.written_at = "2026-11-23T17:30:01Z".into();
    }
}

fn offer(hash: &[u8], files: &[(&str, &str)]) -> ServerToAgent {
    let file = |body: &str| AgentConfigFile { body: body.as_bytes().to_vec().into(), ..Default::default() };
    let config_map = files.iter().map(|(name, body)| (name.to_string(), file(body))).collect();
    let config = AgentRemoteConfig { config: Some(AgentConfigMap { config_map }), config_hash: hash.to_vec() };
    ServerToAgent { remote_config: Some(config), ..ServerToAgent::default() }
}

fn connection(hash: &[u8], change: impl FnOnce(&mut OpAmpConnectionSettings)) -> ServerToAgent {
    let mut opamp = OpAmpConnectionSettings::default();
    change(&mut opamp);
    let offers = ConnectionSettingsOffers { hash: hash.to_vec(), opamp: Some(opamp) };
    ServerToAgent { connection_settings: Some(offers), ..ServerToAgent::default() }
}

fn flags(flags: u64) -> ServerToAgent {
    ServerToAgent { flags, ..ServerToAgent::default() }
}

fn is_bare(message: &AgentToServer) -> bool {
    let bare = AgentToServer {
        instance_uid: message.instance_uid.clone(),
        sequence_num: message.sequence_num,
        capabilities: message.capabilities,
        ..AgentToServer::default()
    };
    *message == bare
}

fn is_full(message: &AgentToServer) -> bool {
    message.agent_description.is_some()
        && message.health.is_some()
        && message.effective_config.is_some()
        && message.remote_config_status.is_some()
}

fn body(answer: &Answer) -> Option<&[u8]> {
    match &answer.offer {
        Offer::Config { body } => Some(body),
        Offer::Unchanged | Offer::Empty => None,
    }
}

// ---- What is said --------------------------------------------------------------------------------------------------

#[test]
fn the_first_message_says_everything_and_the_next_ones_nothing() {
    let bench = Bench::new();
    let (request, first) = bench.request(true);
    assert!(is_full(&first));
    assert_eq!(first.capabilities, 0xBD07);
    assert_eq!(first.instance_uid, UID.as_bytes());
    assert_eq!(first.sequence_num, 1);
    assert_eq!(first.remote_config_status, Some(Default::default()));
    assert_eq!((request.method, &*request.url), (Method::Post, URL));
    let header = |name: &str| request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    assert_eq!(header("Content-Type"), Some("application/x-protobuf"));
    assert_eq!(header("OpAMP-Instance-UID"), Some(&*UID.to_string()));
    assert_eq!(header("Accept-Encoding"), None);
    bench.hear(ServerToAgent::default()).unwrap();

    for _ in 0..3 {
        let (asked, answer) = bench.exchange(ServerToAgent::default());
        assert!(is_bare(&asked), "{asked:?}");
        assert_eq!(answer, Offer::Unchanged.into());
    }
}

#[test]
fn a_poll_with_nothing_new_is_24_to_26_bytes() {
    let bench = Bench::settled();
    let (request, _) = bench.request(true);
    let mut golden = vec![0x0a, 16];
    golden.extend(UID.as_bytes());
    golden.extend([0x10, 2, 0x20, 0x87, 0xfa, 0x02]);
    assert_eq!(request.body, golden);
    bench.hear(ServerToAgent::default()).unwrap();

    for (sequence, size) in [(2, 24), (126, 24), (127, 25), (16_382, 25), (16_383, 26), (2_097_150, 26)] {
        bench.opamp.lock().sequence = sequence;
        assert_eq!(bench.request(true).0.body.len(), size);
        bench.hear(ServerToAgent::default()).unwrap();
    }
}

#[test]
fn golden_bytes_of_an_answer_with_fields_of_a_later_version_are_understood() {
    let bench = Bench::settled();
    bench.ask();
    let mut bytes = vec![0x0a, 16];
    bytes.extend(UID.as_bytes());
    // remote_config { config { "" => { body: "a: 1", content_type: "x", field 9: 1 } }, config_hash: "h" }
    bytes.extend(b"\x1a\x16\x0a\x11\x0a\x0f\x0a\x00\x12\x0b\x0a\x04a: 1\x12\x01x\x48\x01\x12\x01h");
    // packages, capabilities, empty custom capabilities, a custom message, an unknown field
    bytes.extend(b"\x2a\x02\x12\x00\x38\x07\x52\x00\x5a\x02\x0a\x00\xc2\x3e\x01?");
    let answer = bench.respond(200, bytes).unwrap();
    assert_eq!(body(&answer), Some(&b"a: 1"[..]));
}

#[test]
fn only_what_has_changed_is_said_and_only_until_it_is_acknowledged() {
    let mut bench = Bench::settled();
    bench.report.effective_config = Some("b: 2\n".into());
    bench.report.status.collector.version = "0.150.0".into();

    let asked = bench.ask();
    assert!(asked.effective_config.is_some() && asked.agent_description.is_some());
    assert!(asked.health.is_none() && asked.remote_config_status.is_none());

    // No answer at all, answers that are none, and errors leave it unsaid.
    for (status, body) in [(500, vec![]), (204, vec![]), (200, b"<html>".to_vec()), (429, vec![])] {
        bench.ask();
        assert!(bench.respond(status, body).is_err());
        let asked = bench.ask();
        assert!(asked.effective_config.is_some() && asked.agent_description.is_some(), "after {status}");
    }
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_some());
    assert!(is_bare(&bench.ask()));
}

#[test]
fn the_sequence_number_counts_every_message() {
    let bench = Bench::new();
    let mut next = 1;
    for status in [500, 200, 503, 200] {
        assert_eq!(bench.ask().sequence_num, next);
        let _ = bench.respond(status, Vec::new());
        // This one gets no answer.
        assert_eq!(bench.ask().sequence_num, next + 1);
        next += 2;
    }
}

#[test]
fn an_idle_collector_has_an_empty_effective_config() {
    let mut bench = Bench::settled();
    bench.report.effective_config = None;
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert_eq!(asked.effective_config.unwrap().config_map.unwrap().config_map.len(), 0);
    assert!(is_bare(&bench.ask()));
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    let mut bench = Bench::new();
    bench.exchange(ServerToAgent { capabilities: 0x1, ..ServerToAgent::default() });
    bench.report.effective_config = Some("b: 2\n".into());
    bench.later();
    assert!(!bench.opamp.has_news(&bench.report));
    bench.exchange(flags(wire::REPORT_FULL_STATE));
    let (asked, _) = bench.exchange(ServerToAgent { capabilities: 0x7, ..ServerToAgent::default() });
    assert!(asked.agent_description.is_some());
    assert!(asked.effective_config.is_none() && asked.remote_config_status.is_none());
    assert!(bench.ask().effective_config.is_some(), "now it can");
}

#[test]
fn components_are_said_by_their_hash_and_listed_when_the_server_asks() {
    let mut bench = Bench::settled();
    let printed = "receivers:\n    - name: otlp\n      module: example.com/otlp v1\n";
    bench.report.components = Some(printed.into());

    let (asked, _) = bench.exchange(ServerToAgent::default());
    let said = asked.available_components.unwrap();
    assert_eq!(asked.capabilities, 0xFD07);
    assert_eq!((said.hash.len(), said.components.len()), (32, 0));
    assert!(is_bare(&bench.ask()));

    let answer = bench.hear(flags(wire::REPORT_AVAILABLE_COMPONENTS)).unwrap();
    assert!(answer.orders.again);
    let (asked, answer) = bench.exchange(flags(wire::REPORT_AVAILABLE_COMPONENTS));
    let listed = asked.available_components.unwrap();
    assert_eq!(listed.hash, said.hash);
    assert!(listed.components["receivers"].sub_components.contains_key("otlp"));
    assert!(!answer.orders.again, "it has just got them");

    // The same components from another run of the collector are the same.
    bench.exchange(ServerToAgent::default());
    bench.report.components = Some(format!("buildinfo: {{}}\n{printed}").into());
    assert!(is_bare(&bench.ask()));
}

#[test]
fn news_is_what_the_server_does_not_know_and_never_follows_a_failure() {
    let mut bench = Bench::settled();
    bench.later();
    assert!(!bench.opamp.has_news(&bench.report));
    bench.report.status.collector.healthy = false;
    assert!(bench.opamp.has_news(&bench.report));

    bench.ask();
    bench.later();
    assert!(!bench.opamp.has_news(&bench.report), "an exchange is out");
    bench.respond(503, Vec::new()).unwrap_err();
    bench.report.status.written_at = "2026-11-23T17:30:02Z".into();
    assert!(!bench.opamp.has_news(&bench.report), "the server wants to be left alone");

    bench.exchange(flags(wire::REPORT_FULL_STATE));
    bench.report.status.written_at = "2026-11-23T17:30:03Z".into();
    assert!(!bench.opamp.has_news(&bench.report), "what the server asks for comes with the next message");
}

#[test]
fn headers_and_the_token_of_the_settings_are_sent_and_ours_cannot_be_replaced() {
    let yaml = "config: {headers: {X-Fleet: edge, content-type: text/plain, Accept: any}}";
    let bench = Bench::with(URL, yaml, None);
    let headers = bench.request(true).0.headers;
    let values = |name: &str| -> Vec<&str> {
        let same = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| &**value).collect()
    };
    assert_eq!(values("x-fleet"), ["edge"]);
    assert_eq!(values("content-type"), ["application/x-protobuf"]);
    assert_eq!(values("accept"), ["any"]);

    let missing = Bench::with(URL, "config: {bearer_token_file: /nowhere/token}", None);
    let failure = missing.opamp.request(&missing.report, true).err().unwrap();
    assert_eq!(failure.kind, "settings");
    assert_eq!(missing.opamp.lock().sequence, 0, "nothing was sent");
}

#[test]
fn the_last_message_says_goodbye_if_the_server_listens() {
    let bench = Bench::new();
    assert!(bench.opamp.goodbye(&bench.report).is_none(), "nobody was met");
    bench.exchange(ServerToAgent::default());

    let last = bench.opamp.goodbye(&bench.report).unwrap();
    let message = AgentToServer::decode(&last.body[..]).unwrap();
    assert!(message.agent_disconnect.is_some());
    assert_eq!((message.sequence_num, last.body.len()), (2, 26));

    let bench = Bench::settled();
    bench.ask();
    assert!(bench.opamp.goodbye(&bench.report).is_none(), "an exchange is out");
    bench.respond(500, Vec::new()).unwrap_err();
    assert!(bench.opamp.goodbye(&bench.report).is_none(), "it does not answer");
}

// ---- Remote config -------------------------------------------------------------------------------------------------

#[test]
fn an_offer_is_handed_on_and_its_hash_reported_with_what_became_of_it() {
    let mut bench = Bench::settled();
    let (_, answer) = bench.exchange(offer(b"h1", &[("", BODY)]));
    assert_eq!(body(&answer), Some(BODY.as_bytes()));

    for (word, status, message) in
        [("applying", Is::Applying, ""), ("applied", Is::Applied, ""), ("failed", Is::Failed, "no such receiver")]
    {
        bench.received(BODY, word);
        bench.report.status.config.message = message.into();
        let (asked, _) = bench.exchange(ServerToAgent::default());
        let said = asked.remote_config_status.unwrap();
        assert_eq!(said.last_remote_config_hash, b"h1");
        assert_eq!((said.status(), &*said.error_message), (status, message));
        assert!(is_bare(&bench.exchange(ServerToAgent::default()).0));
    }
}

#[test]
fn after_a_rollback_the_bad_hash_stays_reported_as_failed() {
    let mut bench = Bench::settled();
    bench.exchange(offer(b"good", &[("", BODY)]));
    bench.received(BODY, "applied");
    bench.exchange(offer(b"bad", &[("", "b: 2\n")]));
    bench.received("b: 2\n", "failed");
    bench.report.status.config.message = "died in its probation".into();
    bench.report.status.config.effective_hash = Some(store::hash(BODY.as_bytes()).hex());

    let said = bench.ask().remote_config_status.unwrap();

    assert_eq!((said.status(), &*said.last_remote_config_hash), (Is::Failed, &b"bad"[..]));
    let runs = &store::hash(BODY.as_bytes()).hex()[..8];
    assert_eq!(said.error_message, format!("died in its probation; config {runs} runs"));
}

#[test]
fn a_blank_file_is_no_config_and_no_file_is_refused() {
    let mut bench = Bench::settled();
    let (_, answer) = bench.exchange(offer(b"h0", &[("", "")]));
    assert_eq!(answer, Offer::Unchanged.into());
    let said = bench.exchange(ServerToAgent::default()).0.remote_config_status.unwrap();
    assert_eq!((said.status(), &*said.last_remote_config_hash), (Is::Applied, &b"h0"[..]));

    bench.report.status.config.effective_hash = Some(store::hash(BODY.as_bytes()).hex());
    let (_, answer) = bench.exchange(offer(b"h2", &[]));
    assert_eq!(answer, Offer::Unchanged.into());
    let said = bench.exchange(ServerToAgent::default()).0.remote_config_status.unwrap();
    assert_eq!((said.status(), &*said.last_remote_config_hash), (Is::Failed, &b"h2"[..]));
    assert!(said.error_message.contains("it goes on as before"), "{}", said.error_message);
    assert!(is_bare(&bench.ask()), "refused once");
}

#[test]
fn several_files_are_merged_in_order() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(offer(b"h", &[("", "a: 3"), ("b", "a: 2\nb: 2"), ("a", "a: 1")]));
    let merged: BTreeMap<String, u32> = serde_yaml::from_slice(body(&answer).unwrap()).unwrap();
    assert_eq!(merged, BTreeMap::from([("a".into(), 3), ("b".into(), 2)]));

    let (_, answer) = bench.exchange(offer(b"h2", &[("a", "{"), ("b", "b: 1")]));
    assert_eq!(answer, Offer::Unchanged.into());
    let said = bench.ask().remote_config_status.unwrap();
    assert_eq!(said.status(), Is::Failed);
    assert!(said.error_message.starts_with("config file \"a\": config is not well-formed YAML"));
}

#[test]
fn a_config_that_got_lost_is_offered_again() {
    let mut bench = Bench::settled();
    bench.exchange(offer(b"h1", &[("", BODY)]));
    assert!(!bench.opamp.has_news(&bench.report), "the core is still at it");
    // The report knows nothing of it: the agent died before it was on disk, or another source was faster.
    bench.report.effective_config = Some("x: 1\n".into());
    assert_eq!(bench.ask().remote_config_status, None, "the empty hash is what the server was told before");

    let mut bench = Bench::settled();
    bench.exchange(offer(b"h1", &[("", BODY)]));
    bench.received(BODY, "applied");
    bench.exchange(ServerToAgent::default());
    bench.received("another source's\n", "applied");
    let said = bench.exchange(ServerToAgent::default()).0.remote_config_status.unwrap();
    assert_eq!(said.last_remote_config_hash, b"", "so that it is offered again");
}

#[test]
fn a_body_that_is_needed_is_asked_for_with_an_empty_hash() {
    let mut bench = Bench::settled();
    bench.exchange(offer(b"h1", &[("", BODY)]));
    bench.received(BODY, "applied");
    bench.exchange(ServerToAgent::default());

    for _ in 0..2 {
        let (_, asked) = bench.request(false);
        assert_eq!(asked.remote_config_status.unwrap().last_remote_config_hash, b"");
        bench.hear(ServerToAgent::default()).unwrap();
    }
    bench.request(false);
    assert!(body(&bench.hear(offer(b"h1", &[("", BODY)])).unwrap()).is_some());
    assert_eq!(bench.ask().remote_config_status.unwrap().last_remote_config_hash, b"h1");
}

#[test]
fn the_hash_survives_a_restart_in_the_place_of_an_etag() {
    let bench = Bench::settled();
    bench.exchange(offer(b"\x00\xffh1", &[("", BODY)]));
    let kept = bench.opamp.validators();
    assert_eq!(kept.clone().bounded(), kept, "it is one that can be kept");

    let mut bench = Bench::new();
    bench.opamp.seed(kept);
    bench.received(BODY, "applied");
    let said = bench.ask().remote_config_status.unwrap();
    assert_eq!((said.status(), &*said.last_remote_config_hash), (Is::Applied, &b"\x00\xffh1"[..]));

    let bench = Bench::new();
    for etag in ["\"7f3a\"", "opamp:", "opamp:zz:00", "opamp:é:"] {
        bench.opamp.seed(Validators { etag: Some(etag.into()), last_modified: None });
        assert!(bench.opamp.validators().etag.is_none(), "{etag}");
    }
}

#[test]
fn the_longest_hash_can_be_kept_and_a_longer_one_is_not_taken() {
    let bench = Bench::settled();
    bench.exchange(offer(&[0xff; MOST_HASH], &[("", BODY)]));
    let kept = bench.opamp.validators();
    assert_eq!(kept.clone().bounded(), kept);
    let (_, answer) = bench.exchange(offer(&[0xff; MOST_HASH + 1], &[("", "b: 2")]));
    assert_eq!(answer, Offer::Unchanged.into());
}

// ---- The order of work ---------------------------------------------------------------------------------------------

#[test]
fn an_error_is_a_failure_whatever_else_the_answer_holds() {
    let bench = Bench::settled();
    bench.ask();
    let error = ServerErrorResponse { kind: 0, error_message: "no\nidea".into(), retry_info: None };
    let failure = bench.hear(ServerToAgent { error_response: Some(error), ..offer(b"h", &[("", BODY)]) }).unwrap_err();
    assert_eq!(failure.message, format!("{URL}: the server failed: no idea"));
    assert_eq!((failure.kind, failure.retry_after), ("status", None));
    assert!(bench.ask().remote_config_status.is_none());
}

#[test]
fn beside_a_command_nothing_else_counts() {
    let bench = Bench::settled();
    let identification = AgentIdentification { new_instance_uid: Uuid::from_u128(9).as_bytes().to_vec() };
    let message = ServerToAgent {
        command: Some(ServerToAgentCommand { kind: 0 }),
        flags: 3,
        agent_identification: Some(identification),
        ..offer(b"h", &[("", BODY)])
    };
    let (_, answer) = bench.exchange(message);
    let orders = Orders { restart: true, ..Orders::default() };
    assert_eq!(answer, Answer { offer: Offer::Unchanged, orders });

    let unknown = ServerToAgent { command: Some(ServerToAgentCommand { kind: 5 }), ..ServerToAgent::default() };
    assert_eq!(bench.exchange(unknown).1, Offer::Unchanged.into());
}

#[test]
fn the_full_state_is_reported_when_asked_for_and_once_is_enough() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(flags(wire::REPORT_FULL_STATE));
    assert!(answer.orders.again);
    let (asked, answer) = bench.exchange(flags(wire::REPORT_FULL_STATE));
    assert!(is_full(&asked));
    assert!(!answer.orders.again, "it has just got it: no ping-pong");
    let (asked, answer) = bench.exchange(ServerToAgent::default());
    assert!(is_full(&asked) && !answer.orders.again);
    assert!(is_bare(&bench.ask()));
}

#[test]
fn a_new_uid_is_adopted_at_once_and_the_full_state_said_under_it() {
    let mut bench = Bench::settled();
    let new = Uuid::from_u128(0x0195_0000_0000_7000_8000_0000_0000_0002);
    let identification = AgentIdentification { new_instance_uid: new.as_bytes().to_vec() };
    let given = ServerToAgent { agent_identification: Some(identification), ..ServerToAgent::default() };

    let (_, answer) = bench.exchange(given.clone());

    let orders = Orders { instance_uid: Some(new.to_string()), again: true, ..Orders::default() };
    assert_eq!(answer.orders, orders);
    let (request, asked) = bench.request(true);
    assert_eq!(asked.instance_uid, new.as_bytes(), "even before the report shows it");
    assert!(is_full(&asked));
    assert!(request.headers.contains(&("OpAMP-Instance-UID".into(), new.to_string())));
    bench.report.status.agent.instance_uid = new.to_string();
    assert_eq!(bench.hear(given).unwrap(), Offer::Unchanged.into(), "it is that already");

    for wrong in [&b""[..], b"short", &[0; 16], &[1; 17]] {
        let identification = AgentIdentification { new_instance_uid: wrong.to_vec() };
        let message = ServerToAgent { agent_identification: Some(identification), ..ServerToAgent::default() };
        assert_eq!(bench.exchange(message).1, Offer::Unchanged.into());
    }
    assert_eq!(bench.ask().instance_uid, new.as_bytes());
}

#[test]
fn an_answer_to_somebody_else_is_a_failure() {
    let bench = Bench::settled();
    bench.ask();
    let message = ServerToAgent { instance_uid: vec![1; 16], ..offer(b"h", &[("", BODY)]) };
    let failure = bench.respond(200, message.encode_to_vec()).unwrap_err();
    assert_eq!(failure.kind, "protocol");
    assert!(failure.message.ends_with(&format!("answer is for another instance uid than {UID}")));
    bench.ask();
    assert!(bench.respond(200, Vec::new()).is_ok(), "a server may leave it out");
}

#[test]
fn a_server_that_always_wants_something_is_served_at_the_pace_of_the_polls() {
    let bench = Bench::settled();
    let mut at_once = 0;
    for number in 1..100u128 {
        let identification = AgentIdentification { new_instance_uid: Uuid::from_u128(number).as_bytes().to_vec() };
        let message = ServerToAgent { agent_identification: Some(identification), ..ServerToAgent::default() };
        at_once += u32::from(bench.exchange(message).1.orders.again);
    }
    assert_eq!(at_once, CHAIN);
}

// ---- Throttling and errors -----------------------------------------------------------------------------------------

#[test]
fn an_unavailable_server_is_left_alone_as_long_as_it_says_or_ever_longer() {
    let bench = Bench::settled();
    let unavailable = |nanos| {
        let retry_info = Some(RetryInfo { retry_after_nanoseconds: nanos }).filter(|_| nanos > 0);
        let error = ServerErrorResponse { kind: 2, error_message: "busy".into(), retry_info };
        bench.ask();
        bench.hear(ServerToAgent { error_response: Some(error), ..ServerToAgent::default() }).unwrap_err()
    };
    let failure = unavailable(1_500_000_000);
    assert_eq!(failure.message, format!("{URL}: the server is not available: busy"));
    assert_eq!(failure.retry_after, Some(Duration::from_millis(1500)));
    let waits: Vec<_> = (0..7).map(|_| unavailable(0).retry_after.unwrap().as_secs()).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 480, 480]);
    assert!(unavailable(u64::MAX).retry_after.is_some());

    bench.exchange(ServerToAgent::default());
    for status in [429, 503] {
        bench.ask();
        let mut headers = HeaderMap::new();
        headers.insert("Retry-After", "7".parse().unwrap());
        let failure = bench.opamp.offer(Response::head(status, &headers, SystemTime::UNIX_EPOCH)).unwrap_err();
        assert_eq!(failure.message, format!("{URL}: answered {status}"));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    }
    bench.ask();
    assert_eq!(bench.respond(503, Vec::new()).unwrap_err().retry_after, Some(THROTTLE));
}

#[test]
fn what_the_server_called_a_bad_request_is_not_sent_again() {
    for kind in [0, 1] {
        let bench = Bench::new();
        assert!(is_full(&bench.ask()));
        let error = ServerErrorResponse { kind, ..ServerErrorResponse::default() };
        bench.hear(ServerToAgent { error_response: Some(error), ..ServerToAgent::default() }).unwrap_err();
        assert!(is_bare(&bench.ask()));
    }
}

#[test]
fn after_a_413_less_is_said_and_never_that_again() {
    let mut bench = Bench::settled();
    bench.report.effective_config = Some("x".repeat(5000).into());
    bench.report.status.collector.version = "2".into();
    let too_large = bench.ask().encoded_len();

    let failure = bench.respond(413, Vec::new()).unwrap_err();

    assert!(
        failure.message.starts_with(&format!("{URL}: answered 413; {too_large}B are too much for it")),
        "{failure}"
    );
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_none() && asked.agent_description.is_some());
    assert!(is_bare(&bench.ask()), "it counts as said");
    bench.hear(flags(wire::REPORT_FULL_STATE)).unwrap();
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_none() && asked.health.is_some());

    bench.report.effective_config = Some("a: 1\n".into());
    assert!(bench.ask().effective_config.is_some(), "a smaller one is said");

    // A server to which everything is too large still gets polls.
    let bench = Bench::new();
    for _ in 0..8 {
        bench.ask();
        bench.respond(413, Vec::new()).unwrap_err();
    }
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(is_bare(&asked));
    assert!(is_bare(&bench.ask()));
}

#[test]
fn other_statuses_are_failures_with_advice() {
    let bench = Bench::settled();
    for (status, advice) in [
        (204, ""),
        (400, ""),
        (401, "; check config.headers and config.bearer_token_file"),
        (404, "; check config.url, an OpAMP server is often at /v1/opamp"),
        (415, "; is config.url that of an OpAMP server?"),
        (500, ""),
    ] {
        bench.ask();
        let failure = bench.respond(status, Vec::new()).unwrap_err();
        assert_eq!(failure.message, format!("{URL}: answered {status}{advice}"));
        assert_eq!((failure.kind, failure.retry_after), ("status", None));
    }
    bench.ask();
    let failure = bench.respond(200, b"<html>".to_vec()).unwrap_err();
    assert!(failure.message.starts_with(&format!("{URL}: answer is no OpAMP message: ")), "{failure}");
    assert_eq!(failure.kind, "protocol");
}

// ---- Connection settings -------------------------------------------------------------------------------------------

#[test]
fn an_interval_alone_is_taken_at_once_and_zero_is_back_to_our_own() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(connection(b"c1", |it| it.heartbeat_interval_seconds = 7));
    assert_eq!(answer.orders.poll_every, Some(Duration::from_secs(7)));

    let (asked, answer) = bench.exchange(connection(b"c1", |it| it.heartbeat_interval_seconds = 9));
    let said = asked.connection_settings_status.unwrap();
    assert_eq!((said.status(), &*said.last_connection_settings_hash), (Is::Applied, &b"c1"[..]));
    assert_eq!(answer, Offer::Unchanged.into(), "the same hash is not looked at again");

    let (_, answer) = bench.exchange(connection(b"c2", |_| ()));
    assert_eq!(answer.orders.poll_every, Some(Duration::ZERO));
    let (_, answer) = bench.exchange(connection(b"c3", |it| it.heartbeat_interval_seconds = u64::MAX));
    assert_eq!(answer.orders.poll_every, Some(Duration::from_secs(86_400)));
}

#[test]
fn another_server_is_tried_with_a_full_report_before_it_is_kept() {
    let dir = Dir::new();
    let file = dir.path("opamp.json");
    let bench = Bench::with(URL, "config: {headers: {Authorization: old}}", Some(file.clone()));
    bench.exchange(ServerToAgent::default());
    let two = "http://two.example/v1";

    let (_, answer) = bench.exchange(connection(b"c1", |it| {
        it.destination_endpoint = two.into();
        it.headers = Some(Headers { headers: vec![Header { key: "authorization".into(), value: "new".into() }] });
    }));
    assert!(answer.orders.again);
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"candidate\""), "on disk before it is used");

    let (request, leaving) = bench.request(true);
    assert_eq!(request.url, URL);
    assert!(leaving.agent_disconnect.is_some());
    assert_eq!(leaving.connection_settings_status.unwrap().status(), Is::Applying);
    assert!(bench.hear(offer(b"h", &[("", BODY)])).unwrap().orders.again);

    let (request, first) = bench.request(true);
    assert_eq!(request.url, two);
    let sent: Vec<_> = request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case("authorization")).collect();
    assert_eq!(sent, [&("authorization".to_owned(), "new".to_owned())]);
    assert!(is_full(&first));
    let answer = bench.hear(ServerToAgent::default()).unwrap();
    assert!(answer.orders.again, "the server must hear that they are applied");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("\"candidate\""));

    let (request, asked) = bench.request(true);
    assert_eq!(request.url, two);
    assert_eq!(asked.connection_settings_status.unwrap().status(), Is::Applied);
    assert!(asked.agent_description.is_none());
    bench.hear(ServerToAgent::default()).unwrap();

    // They survive a restart, but not another config.url.
    let again = Bench::with(URL, "", Some(file.clone()));
    assert_eq!(again.request(true).0.url, two);
    let elsewhere = Bench::with("http://three.example/", "", Some(file));
    assert_eq!(elsewhere.request(true).0.url, "http://three.example/");
}

fn trying(file: Option<PathBuf>) -> Bench {
    let bench = Bench::with(URL, "", file);
    bench.exchange(ServerToAgent::default());
    bench.exchange(connection(b"c1", |it| it.destination_endpoint = "http://two.example/v1".into()));
    bench.exchange(ServerToAgent::default());
    bench
}

#[test]
fn settings_that_do_not_work_are_given_up_and_reported() {
    type Refusal = fn(&Bench) -> Result<Answer, Failure>;
    let refusals: [Refusal; 3] = [
        |bench| bench.respond(401, Vec::new()),
        |bench| bench.respond(200, b"<html>".to_vec()),
        // Without an instance uid it may be anybody.
        |bench| bench.respond(200, Vec::new()),
    ];
    for refuse in refusals {
        let bench = trying(None);
        assert_eq!(bench.request(true).0.url, "http://two.example/v1");
        let failure = refuse(&bench).unwrap_err();

        let (request, asked) = bench.request(true);
        assert_eq!(request.url, URL);
        assert!(is_full(&asked), "the server before was told goodbye");
        let said = asked.connection_settings_status.unwrap();
        assert_eq!((said.status(), said.error_message), (Is::Failed, failure.message));
        assert!(!bench.hear(connection(b"c1", |_| ())).unwrap().orders.again, "not tried again");
    }
}

#[test]
fn settings_without_a_clear_answer_are_tried_a_few_times() {
    let bench = trying(None);
    for _ in 0..2 {
        let (request, asked) = bench.request(true);
        assert_eq!(request.url, "http://two.example/v1");
        assert!(is_full(&asked));
        let url = request.url.clone();
        bench.opamp.unanswered(&HttpError::Connect { url, why: "refused".into() });
    }
    bench.request(true);
    bench.respond(503, Vec::new()).unwrap_err();

    let (request, asked) = bench.request(true);
    assert_eq!(request.url, URL);
    let said = asked.connection_settings_status.unwrap();
    assert_eq!((said.status(), &*said.error_message), (Is::Failed, "http://two.example/v1: answered 503"));
}

#[test]
fn a_candidate_survives_the_agent_and_is_tried_at_the_next_start() {
    let dir = Dir::new();
    let file = dir.path("opamp.json");
    drop(trying(Some(file.clone())));

    let bench = Bench::with(URL, "", Some(file.clone()));

    let (request, asked) = bench.request(true);
    assert_eq!(request.url, "http://two.example/v1");
    assert!(is_full(&asked) && asked.agent_disconnect.is_none());
    assert_eq!(asked.connection_settings_status.unwrap().status(), Is::Applying);

    for torn in ["", "{", "[]", "null", "{\"location\": 1}"] {
        std::fs::write(&file, torn).unwrap();
        assert_eq!(Bench::with(URL, "", Some(file.clone())).request(true).0.url, URL, "{torn:?}");
    }
}

#[test]
fn settings_that_cannot_be_kept_are_not_used() {
    let dir = Dir::new();
    let bench = Bench::with(URL, "", Some(dir.path("missing/opamp.json")));
    bench.exchange(ServerToAgent::default());
    bench.exchange(connection(b"c1", |it| it.destination_endpoint = "http://two.example/v1".into()));
    let (request, asked) = bench.request(true);
    assert_eq!(request.url, URL);
    let said = asked.connection_settings_status.unwrap();
    assert_eq!(said.status(), Is::Failed);
    assert!(said.error_message.starts_with("cannot be kept: "), "{}", said.error_message);
}

#[test]
fn a_certificate_needs_a_place_to_be_kept_and_is_shown_from_then_on() {
    let made = rcgen::generate_simple_self_signed(vec!["agent.example".into()]).unwrap();
    let certificate = wire::TlsCertificate {
        cert: made.cert.pem().into_bytes(),
        private_key: made.signing_key.serialize_pem().into_bytes(),
    };
    let given = connection(b"c1", |it| it.certificate = Some(certificate));
    let https = "https://one.example/v1";

    let bench = Bench::with(https, "", None);
    bench.exchange(given.clone());
    let said = bench.ask().connection_settings_status.unwrap();
    assert_eq!(said.error_message, "certificate: there is no place to keep it");

    let dir = Dir::new();
    let bench = Bench::with(https, "", Some(dir.path("opamp.json")));
    bench.exchange(given);
    bench.ask();
    assert!(bench.opamp.identity().is_none(), "it leaves by the old settings");
    bench.hear(ServerToAgent::default()).unwrap();
    bench.ask();
    assert_eq!(bench.opamp.identity().map(|it| it.cert), Some(made.cert.pem()));
    bench.hear(ServerToAgent::default()).unwrap();
    bench.ask();
    assert!(bench.opamp.identity().is_some());
}

#[test]
fn refused_settings_and_those_of_others_are_reported_as_failed() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(connection(b"c1", |it| it.destination_endpoint = "ftp://x".into()));
    assert!(answer.orders.again);
    let (asked, _) = bench.exchange(ServerToAgent {
        connection_settings: Some(ConnectionSettingsOffers { hash: b"c2".to_vec(), opamp: None }),
        ..ServerToAgent::default()
    });
    let said = asked.connection_settings_status.unwrap();
    assert_eq!((said.status(), &*said.last_connection_settings_hash), (Is::Failed, &b"c1"[..]));
    let said = bench.ask().connection_settings_status.unwrap();
    assert_eq!(said.last_connection_settings_hash, b"c2");
    assert_eq!(said.error_message, "only settings for OpAMP itself are taken");
}

#[test]
fn a_server_without_hashes_is_known_by_what_it_offers() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(connection(b"", |it| it.heartbeat_interval_seconds = 7));
    assert!(answer.orders.again);
    let (_, answer) = bench.exchange(connection(b"", |it| it.heartbeat_interval_seconds = 7));
    assert!(!answer.orders.again);
    let (_, answer) = bench.exchange(connection(b"", |it| it.heartbeat_interval_seconds = 8));
    assert_eq!(answer.orders.poll_every, Some(Duration::from_secs(8)));
}

#[test]
fn when_an_offered_server_is_gone_for_long_the_one_of_the_settings_is_asked() {
    let bench = trying(None);
    bench.exchange(ServerToAgent::default());
    bench.exchange(ServerToAgent::default());
    let urls: Vec<String> = (0..14).map(|_| bench.request(true).0.url).collect();
    let ours: Vec<usize> = (0..14).filter(|index| urls[*index] == URL).collect();
    assert_eq!(ours, [6, 12]);

    for _ in 14..18 {
        bench.ask();
    }
    let (request, asked) = bench.request(true);
    assert_eq!(request.url, URL);
    assert!(is_full(&asked));
    bench.hear(ServerToAgent::default()).unwrap();
    assert_eq!(bench.request(true).0.url, URL, "it answers, so it counts again");
}

// ---- Answers that no server should give ----------------------------------------------------------------------------

#[test]
fn maps_and_lists_without_end_are_not_even_decoded() {
    let bench = Bench::settled();
    let many: Vec<_> = (0..65).map(|number| number.to_string()).collect();
    let files: Vec<_> = many.iter().map(|name| (&**name, "a: 1")).collect();
    bench.ask();
    let failure = bench.hear(offer(b"h", &files)).unwrap_err();
    assert_eq!(failure.message, format!("{URL}: answered with 65 config files, the most taken is 64"));

    bench.ask();
    let headers = vec![Header::default(); 33];
    let failure = bench.hear(connection(b"c", |it| it.headers = Some(Headers { headers }))).unwrap_err();
    assert_eq!(failure.message, format!("{URL}: answered with 33 headers, the most taken is 32"));
    assert!(is_bare(&bench.ask()));
}

#[test]
fn an_answer_to_no_question_is_a_failure() {
    let bench = Bench::new();
    assert_eq!(bench.respond(200, Vec::new()).unwrap_err().kind, "protocol");
}

/// Answers to begin with when they are damaged at random.
fn seeds() -> Vec<Vec<u8>> {
    let error = ServerErrorResponse {
        kind: 2,
        error_message: "busy".into(),
        retry_info: Some(RetryInfo { retry_after_nanoseconds: 5 }),
    };
    let identification = AgentIdentification { new_instance_uid: vec![7; 16] };
    let whole = connection(b"c", |it| {
        it.destination_endpoint = "https://two.example".into();
        it.headers = Some(Headers { headers: vec![Header { key: "A".into(), value: "b".into() }] });
        it.certificate = Some(wire::TlsCertificate { cert: b"c".to_vec(), private_key: b"k".to_vec() });
        it.heartbeat_interval_seconds = 30;
        it.tls = Some(wire::TlsConnectionSettings { min_version: "1.2".into(), ..Default::default() });
    });
    let messages = [
        ServerToAgent { agent_identification: Some(identification), flags: 3, capabilities: 7, ..whole },
        offer(b"hash", &[("", "receivers: {otlp: }\n"), ("a", "x: &a [1]\ny: *a\n")]),
        ServerToAgent { error_response: Some(error), ..ServerToAgent::default() },
        ServerToAgent { command: Some(ServerToAgentCommand { kind: 0 }), ..ServerToAgent::default() },
    ];
    messages
        .into_iter()
        .map(|it| ServerToAgent { instance_uid: UID.as_bytes().to_vec(), ..it }.encode_to_vec())
        .collect()
}

/// On the stack that an exchange has.
#[test]
fn damaged_answers_are_failures_or_do_no_harm() {
    let work = || {
        let mut dice = fastrand::Rng::with_seed(4);
        let seeds = seeds();
        let mut understood = 0;
        for round in 0..20_000 {
            let bench = if round % 4 == 0 { Bench::new() } else { Bench::settled() };
            let mut bytes = dice.choice(&seeds).unwrap().clone();
            for _ in 0..dice.usize(0..4) {
                let at = dice.usize(0..bytes.len());
                match dice.u8(0..4) {
                    0 => bytes[at] = dice.u8(..),
                    1 => bytes[at] ^= 1 << dice.u8(0..8),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let part = bytes[at..].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
            }
            bench.ask();
            understood += u32::from(bench.respond(200, bytes).is_ok());
            bench.ask();
            bench.respond(200, Vec::new()).ok();
        }
        understood
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap();
    let understood = thread.join().unwrap();
    assert!((1000..19_000).contains(&understood), "{understood}: both kinds must come about");
}

#[test]
fn deeply_nested_answers_do_not_exhaust_the_stack() {
    let bench = Bench::settled();
    for tag in [0x0b, 0x1a, 0x22, 0x3b, 0xc3] {
        bench.ask();
        let _ = bench.respond(200, vec![tag; 100_000]);
        assert_eq!(wire::count(&vec![tag; 100_000], &[3, 1, 1]), 0);
    }
}
