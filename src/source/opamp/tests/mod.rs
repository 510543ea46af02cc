//! The OpAMP client against invented answers, good and bad.

mod bad_answers;
mod connection;
mod order;
mod remote_config;
mod says;
mod throttling;

use std::collections::BTreeMap;
use std::time::SystemTime;

use ureq::http::HeaderMap;
use uuid::Uuid;

use super::state::*;
use super::wire::OfferStatus;
use super::wire::{
    AgentConfigFile, AgentConfigMap, AgentIdentification, AgentRemoteConfig, ConnectionSettingsOffers, Header, Headers,
    OpAmpConnectionSettings, RetryInfo, ServerErrorResponse, ServerToAgentCommand,
};
use super::*;
use crate::http::tests::Dir;
use crate::settings::{self, World};
use otelet_wire::status::{
    AgentState, AgentStatus, CollectorState, CollectorStatus, ConfigStatus, HostStatus, RemoteConfigStatus, Status,
};

const URL: &str = "http://one.example:4320/v1/opamp";
const UID: Uuid = Uuid::from_u128(0x0195_0000_0000_7000_8000_0000_0000_0001);
const BODY: &str = "receivers: {}\n";

/// The status of an agent with a running collector and without an offer.
pub(super) fn status() -> Status {
    Status {
        agent: AgentStatus {
            version: "1.2.3".into(),
            pid: 1,
            start: 1,
            instance_uid: UID.to_string(),
            since: "2026-11-23T17:00:00Z".into(),
            state: AgentState::Running,
            ..AgentStatus::default()
        },
        collector: CollectorStatus {
            path: "/opt/otelcol-contrib".into(),
            version: "0.149.0".into(),
            state: CollectorState::Up,
            pid: Some(7),
            since: Some("2026-11-23T17:00:10Z".into()),
            healthy: true,
            ..CollectorStatus::default()
        },
        config: ConfigStatus { remote_config_status: RemoteConfigStatus::Unset, ..ConfigStatus::default() },
        host: HostStatus {
            name: "pump".into(),
            os_type: "linux".into(),
            memory_total_bytes: Some(100),
            memory_used_bytes: Some(50),
            ..HostStatus::default()
        },
        serial: 1,
        written_at: "2026-11-23T17:30:00Z".into(),
        ..Status::default()
    }
}

fn config_settings(yaml: &str) -> ConfigSettings {
    let yaml = yaml.to_owned();
    let world =
        World { var: Box::new(|_| None), read: Box::new(move |_| Ok(yaml.clone().into_bytes())), here: "/here".into() };
    settings::load(&Default::default(), &world).unwrap_or_else(|error| panic!("{error}")).config
}

/// An OpAMP client and the report that it sends.
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

    /// A client whose server has acknowledged all parts.
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
        let uid = self.opamp.lock().pending.as_ref().unwrap().uid;
        self.respond(200, ServerToAgent { instance_uid: uid.as_bytes().to_vec(), ..message }.encode_to_vec())
    }

    fn exchange(&self, message: ServerToAgent) -> (AgentToServer, Answer) {
        let asked = self.ask();
        (asked, self.hear(message).unwrap())
    }

    /// The core has received this body.
    fn received(&mut self, body: &str, status: RemoteConfigStatus) {
        let config = &mut self.report.status.config;
        config.remote_hash = Some(otelet_config::hash(body.as_bytes()).hex());
        config.remote_config_status = status;
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
