//! OpAMP: an agent's message becomes facts; the answer has what the hub wants of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::{Happened, Hash, Health, Labels, OfferState, Report, Uid};
use otelet_wire::KeyValue;
use otelet_wire::opamp::{
    ACCEPTS_EFFECTIVE_CONFIG, AgentConfigFile, AgentConfigMap, AgentRemoteConfig, AgentToServer,
    ConnectionSettingsOffers, Header, Headers, OFFERS_REMOTE_CONFIG, OfferStatus, OpAmpConnectionSettings,
    REPORT_AVAILABLE_COMPONENTS, REPORT_FULL_STATE, ServerToAgent, ServerToAgentCommand,
};
use prost::Message;

use super::holder;
use crate::clock::{now, sha256};
use crate::hub::{Holder, Hub, Refusal};
use crate::store::{Write, write};

const PROTOBUF: &str = "application/x-protobuf";

/// Bits of the agent's capabilities.
const ACCEPTS_REMOTE_CONFIG: u64 = 0x2;
const ACCEPTS_CONNECTION_SETTINGS: u64 = 0x100;
const ACCEPTS_RESTART: u64 = 0x400;

/// Bits of the hub's capabilities: it takes status, and offers connection settings.
const ACCEPTS_STATUS: u64 = 0x1;
const OFFERS_CONNECTION_SETTINGS: u64 = 0x20;

/// The most entries of the maps of a message: an entry may take two bytes on the wire and a hundred in memory.
const MAX_ENTRIES: usize = 20_000;

/// One exchange by HTTP.
pub async fn post(State(hub): State<Arc<Hub>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let holder = holder(&hub, &headers)?;
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind != Some(PROTOBUF) {
            return Ok(
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("Content-Type must be {PROTOBUF}\n")).into_response()
            );
        }
        let Some((uid, message)) = decode(&body) else {
            return Ok(
                (StatusCode::BAD_REQUEST, "this is no AgentToServer message with an instance uid\n").into_response()
            );
        };
        let answer = exchange(&hub, holder, uid, &message, "opamp").await?;
        Ok::<_, Refusal>(([(header::CONTENT_TYPE, PROTOBUF)], answer.encode_to_vec()).into_response())
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

/// Reads a message.
pub fn decode(body: &[u8]) -> Option<(Uid, AgentToServer)> {
    // Components and their parts, the files of the effective config, the parts of the health.
    let maps: [&[u32]; 4] = [&[14, 1], &[14, 1, 2, 2], &[6, 1, 1], &[5, 6]];
    if maps.iter().any(|path| otelet_wire::opamp::count(body, path) > MAX_ENTRIES) {
        return None;
    }
    let message = AgentToServer::decode(body).ok()?;
    let uid = Uid(message.instance_uid.as_slice().try_into().ok()?);
    Some((uid, message))
}

/// Takes a message in and makes the answer.
pub async fn exchange(
    hub: &Arc<Hub>,
    holder: Holder,
    uid: Uid,
    message: &AgentToServer,
    protocol: &str,
) -> Result<ServerToAgent, Refusal> {
    let credential = hub.admit(holder, uid).await?;
    let report = report_of(message, protocol);
    let known =
        hub.fleet(|fleet| fleet.member(uid).map(|it| (it.agent.heard.is_some(), it.agent.components.is_some())));
    let (heard, components) = known.unwrap_or_default();
    // What is unchanged is left out, so that an unchanged poll writes nothing.
    hub.tell(Happened::Heard { uid, report: news(hub, uid, report) }, effective_rows(uid, message)).await?;

    let mut answer = ServerToAgent {
        instance_uid: uid.0.to_vec(),
        capabilities: ACCEPTS_STATUS | OFFERS_REMOTE_CONFIG | ACCEPTS_EFFECTIVE_CONFIG | OFFERS_CONNECTION_SETTINGS,
        ..ServerToAgent::default()
    };
    if !heard && message.agent_description.is_none() {
        answer.flags |= REPORT_FULL_STATE;
    }
    let listed = message.available_components.as_ref();
    if listed.is_some_and(|it| it.components.is_empty() && !it.hash.is_empty()) && !components {
        answer.flags |= REPORT_AVAILABLE_COMPONENTS;
    }
    if let Some(credential) = credential
        && message.capabilities & ACCEPTS_CONNECTION_SETTINGS != 0
    {
        let header = Header { key: "Authorization".into(), value: format!("Bearer {credential}") };
        answer.connection_settings = Some(ConnectionSettingsOffers {
            hash: sha256(header.value.as_bytes()).0.to_vec(),
            opamp: Some(OpAmpConnectionSettings {
                headers: Some(Headers { headers: vec![header] }),
                ..OpAmpConnectionSettings::default()
            }),
        });
    }
    if message.agent_disconnect.is_none() {
        wishes(hub, uid, message.capabilities, &mut answer).await?;
    }
    Ok(answer)
}

/// Puts into an answer what the hub wants of the agent. Returns whether that is anything.
pub async fn wishes(hub: &Arc<Hub>, uid: Uid, capabilities: u64, answer: &mut ServerToAgent) -> Result<bool, Refusal> {
    if capabilities & ACCEPTS_RESTART != 0 && hub.take_restart(uid).await? {
        // An agent ignores all else beside a command.
        answer.command = Some(ServerToAgentCommand { kind: 0 });
        return Ok(true);
    }
    let Some(offer) = hub.fleet(|fleet| fleet.offer(uid).cloned()) else { return Ok(false) };
    let Some((body, _)) = hub.text_of(offer.hash).await? else { return Ok(false) };
    // Done when each write before it is on disk: nothing is offered that a crash could take back.
    hub.store.write(vec![]).await?;
    hub.tell(Happened::Offered { uid, hash: offer.hash }, vec![]).await?;
    let file =
        AgentConfigFile { body: body.into_bytes().into(), content_type: "text/yaml".into(), role: String::new() };
    answer.remote_config = Some(AgentRemoteConfig {
        config: Some(AgentConfigMap { config_map: BTreeMap::from([(String::new(), file)]) }),
        config_hash: offer.hash.0.to_vec(),
    });
    Ok(true)
}

/// The effective config is kept as it was told.
fn effective_rows(uid: Uid, message: &AgentToServer) -> Vec<Write> {
    let map = message.effective_config.as_ref().and_then(|effective| effective.config_map.as_ref());
    let Some(map) = map else { return Vec::new() };
    let mut body = String::new();
    for (name, file) in &map.config_map {
        if map.config_map.len() > 1 {
            body += &format!("# {name}\n");
        }
        body += &String::from_utf8_lossy(&file.body);
    }
    vec![effective_row(uid, body)]
}

/// The row of the newest effective config.
pub fn effective_row(uid: Uid, body: String) -> Write {
    write(
        "INSERT INTO effective (uid, at, body) VALUES ($1, $2, $3) \
         ON CONFLICT (uid) DO UPDATE SET at = excluded.at, body = excluded.body",
        [uid.to_string().into(), now().into(), body.into()],
    )
}

/// Leaves out of a report what is known already.
pub fn news(hub: &Hub, uid: Uid, mut report: Report) -> Report {
    hub.fleet(|fleet| {
        let Some(agent) = fleet.member(uid).map(|member| &member.agent) else { return };
        fn same<T: PartialEq>(told: &mut Option<T>, known: &T) {
            if told.as_ref() == Some(known) {
                *told = None;
            }
        }
        same(&mut report.local, &agent.local);
        same(&mut report.host, &agent.host);
        same(&mut report.os, &agent.os);
        same(&mut report.protocol, &agent.protocol);
        same(&mut report.agent_version, &agent.agent_version);
        same(&mut report.collector_version, &agent.collector_version);
        same(&mut report.alerts, &agent.alerts);
        same(&mut report.restarts, &agent.restarts);
        same(&mut report.last_exit, &agent.last_exit);
        same(&mut report.interval, &agent.interval);
        if report.takes_configs == agent.takes_configs {
            report.takes_configs = None;
        }
        if report.health == agent.health {
            report.health = None;
        }
        if report.running == agent.running {
            report.running = None;
        }
        if report.components == agent.components {
            report.components = None;
        }
        let told = agent.offer.as_ref().map(|offer| (offer.hash, offer.state, &offer.message));
        if told == report.offer.as_ref().map(|(hash, state, message)| (*hash, *state, message)) {
            report.offer = None;
        }
        report.barred.retain(|(hash, _)| !agent.refused.contains_key(hash));
    });
    report
}

fn report_of(message: &AgentToServer, protocol: &str) -> Report {
    let mut report = Report { protocol: Some(protocol.to_owned()), ..Report::default() };
    report.goodbye = message.agent_disconnect.is_some();
    if message.capabilities != 0 {
        report.takes_configs = Some(message.capabilities & ACCEPTS_REMOTE_CONFIG != 0);
    }
    if let Some(description) = &message.agent_description {
        describe(&description.identifying, &description.non_identifying, &mut report);
    }
    if let Some(health) = &message.health {
        let stopped = ["idle", "held", "waiting", "stopping"].contains(&health.status.as_str());
        report.health = Some(Health {
            up: health.healthy || !stopped,
            healthy: health.healthy,
            trouble: if health.healthy { String::new() } else { cut(&health.last_error) },
        });
        // Collector and config have places of their own in a state.
        let parts = health
            .components
            .iter()
            .filter(|(name, part)| !part.healthy && !["collector", "config"].contains(&name.as_str()));
        let parts: Vec<String> =
            parts.take(20).map(|(name, part)| cut(&format!("{name}: {}", part.last_error))).collect();
        // Components of other agents are those of their collector, whose own health covers them.
        let ours = health.components.contains_key("collector");
        report.alerts = Some(if ours { parts } else { Vec::new() });
    }
    if let Some(status) = &message.remote_config_status {
        let state = match status.status() {
            OfferStatus::Unset => None,
            OfferStatus::Applied => Some(OfferState::Applied),
            OfferStatus::Applying => Some(OfferState::Applying),
            OfferStatus::Failed => Some(OfferState::Failed),
        };
        let hash = Hash::from_wire(&status.last_remote_config_hash);
        if let (Some(hash), Some(state)) = (hash, state) {
            report.offer = Some((hash, state, cut(&status.error_message)));
            if state == OfferState::Applied {
                report.running = Some(hash);
            }
        }
    }
    if let Some(components) = message.available_components.as_ref().filter(|it| !it.components.is_empty()) {
        let names = components.components.iter().map(|(kind, details)| {
            let names: BTreeSet<String> = details.sub_components.keys().map(|name| cut(name)).collect();
            (cut(kind), names)
        });
        report.components = Some(names.collect());
    }
    report
}

fn describe(identifying: &[KeyValue], others: &[KeyValue], report: &mut Report) {
    let value = |pairs: &[KeyValue], key: &str| {
        let pair = pairs.iter().find(|pair| pair.key == key)?;
        pair.value.as_ref()?.string_value.as_deref().map(cut)
    };
    let name = value(identifying, "service.name").unwrap_or_default();
    let version = value(identifying, "service.version").unwrap_or_default();
    report.collector_version = Some(format!("{name} {version}").trim().to_owned());
    report.host = value(others, "host.name");
    let os = [value(others, "os.type"), value(others, "os.version"), value(others, "host.arch")];
    report.os = Some(os.into_iter().flatten().collect::<Vec<_>>().join(" "));
    let agent = [value(others, "agent.name"), value(others, "agent.version")];
    report.agent_version = Some(agent.into_iter().flatten().collect::<Vec<_>>().join(" "));
    let known =
        ["host.name", "os.type", "os.version", "os.description", "host.arch", "host.id", "agent.name", "agent.version"];
    let labels = others.iter().filter(|pair| !known.contains(&pair.key.as_str())).take(64).filter_map(|pair| {
        let value = pair.value.as_ref()?;
        let value =
            value.string_value.as_deref().map(cut).or_else(|| value.int_value.map(|number| number.to_string()))?;
        Some((cut(&pair.key), value))
    });
    report.local = Some(labels.collect::<Labels>());
}

/// The longest text of an agent that is kept, in bytes.
const MAX_TEXT: usize = 2048;

/// Text of an agent, cut to a length and without control characters.
pub fn cut(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
