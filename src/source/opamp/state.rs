//! What is known of the server and what it knows, and the messages that follow from that.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use uuid::Uuid;

use super::connection::{Connection, OpAmpState};
use super::describe::{self, Health, clip};
use super::wire::{self, AgentToServer, OfferStatus as Is};
use super::{Orders, Report};
use crate::http::Identity;
use crate::settings::WayOut;
use otelet_core::decide::ConfigHash;

/// The longest hash of a server that is echoed, in bytes; a SHA-512 in hex has 128.
pub(super) const MOST_HASH: usize = 256;

/// The shortest wait that a throttling server is given if it does not say how long. Source: the specification's
/// recommended least retry interval.
pub(super) const THROTTLE: Duration = Duration::from_secs(30);

/// After so many failures in a row, and again after as many, the server of `config.url` is asked instead of the one
/// that connection settings lead to.
pub(super) const LOST: u32 = 6;

/// The parts of the state that are left out while they do not change.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Description,
    Health,
    Effective,
    Remote,
    Components,
    Connection,
}

/// Fingerprints of parts.
pub(super) type Parts = [Option<ConfigHash>; 6];

#[derive(Default)]
pub(super) struct State {
    /// Of the last message.
    pub(super) sequence: u64,
    /// A uid that the report does not show yet.
    pub(super) uid: Option<Uuid>,
    /// What the server knows.
    pub(super) known: Parts,
    /// The server is to be told everything.
    pub(super) full: bool,
    /// The server wants the list of components, not only its hash.
    pub(super) list_components: bool,
    /// A message of this size was too large for the server.
    pub(super) too_large: Option<usize>,
    /// The server's capabilities; 0 as long as it has not said them.
    pub(super) server: u64,
    /// The config received last.
    pub(super) received: Option<Received>,
    pub(super) health: Health,
    /// The hashes of these texts.
    pub(super) effective: Option<(Arc<str>, ConfigHash)>,
    pub(super) components: Option<(Arc<str>, ConfigHash)>,
    pub(super) kept: OpAmpState,
    /// What of that is on disk.
    pub(super) saved: OpAmpState,
    /// The server was told that the agent leaves it for new connection settings.
    pub(super) left: bool,
    /// The message that has no answer yet.
    pub(super) out: Option<Sent>,
    /// The last exchange brought an answer that serves.
    pub(super) well: bool,
    /// By which settings it came.
    pub(super) way: Option<Way>,
    /// Exchanges in a row without an answer that serves, throttled ones not counted.
    pub(super) failures: u32,
    pub(super) throttled: u32,
    /// Exchanges in a row that the server asked for.
    pub(super) chain: u32,
    /// The interval that the agent was ordered last; zero is its own.
    pub(super) interval: Duration,
    /// When the last message was made, as the report had it.
    pub(super) sent_at: String,
    /// The last complaint about the server, which is not repeated.
    pub(super) complaint: String,
}

/// A config that the server offered, and what it was.
pub(super) struct Received {
    /// The server's.
    pub(super) hash: Vec<u8>,
    pub(super) was: Was,
}

#[derive(Clone, PartialEq)]
pub(super) enum Was {
    /// A body, handed on to be judged.
    Body(ConfigHash),
    /// Nothing but blank files.
    Blank,
    /// Something that is no body, for a reason.
    Refused(String),
}

/// A message on its way.
pub(super) struct Sent {
    pub(super) parts: Parts,
    pub(super) full: bool,
    pub(super) listed_components: bool,
    pub(super) leave: bool,
    pub(super) size: usize,
    pub(super) uid: Uuid,
    pub(super) way: Way,
    pub(super) identity: Option<Identity>,
    /// The URL as it may be printed.
    pub(super) shown: String,
    /// The settings that it was made from.
    pub(super) way_out: WayOut,
    /// Why no answer came.
    pub(super) error: Option<String>,
}

/// Which connection settings a message goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    /// Those of the user.
    Settings,
    /// Those that a server offered and that have proved right.
    Kept,
    /// Those that are to be verified.
    Candidate,
}

impl State {
    /// A message with nothing new.
    pub(super) fn poll(&mut self, report: &Report) -> AgentToServer {
        let more = if report.components.is_some() { wire::REPORTS_AVAILABLE_COMPONENTS } else { 0 };
        AgentToServer {
            instance_uid: self.uid(report).as_bytes().to_vec(),
            capabilities: wire::CAPABILITIES | more,
            ..AgentToServer::default()
        }
    }

    /// A message with all that the server does not know, and the fingerprints of that.
    pub(super) fn compose(&mut self, report: &Report, conditional: bool) -> (AgentToServer, Parts) {
        let mut parts = Parts::default();
        let mut message = self.poll(report);
        let uid = self.uid(report);
        let (full, known) = (self.full, self.known);
        let mut told = |part: Part, print: ConfigHash, forced: bool| {
            let wanted = forced || full || known[part as usize] != Some(print);
            parts[part as usize] = wanted.then_some(print);
            wanted
        };
        let server_can = |capability| self.server == 0 || self.server & capability != 0;

        let description = describe::description(&report.status, uid);
        if told(Part::Description, print(&description), false) {
            message.agent_description = Some(description);
        }
        let health = self.health.of(&report.status);
        if told(Part::Health, print(&health), false) {
            message.health = Some(health);
        }
        let text = report.effective_config.as_ref();
        let hash = text.map_or(ConfigHash([0; 32]), |text| hash_of(&mut self.effective, text, |text| text.into()));
        if server_can(wire::ACCEPTS_EFFECTIVE_CONFIG) && told(Part::Effective, hash, false) {
            message.effective_config = Some(describe::effective_config(text.map(|text| &**text)));
        }
        let remote = remote_status(self.received.as_ref(), report, conditional);
        if server_can(wire::OFFERS_REMOTE_CONFIG) && told(Part::Remote, print(&remote), !conditional) {
            message.remote_config_status = Some(remote);
        }
        if let Some(text) = &report.components {
            let hash = hash_of(&mut self.components, text, |text| listed(text).encode_to_vec());
            if told(Part::Components, hash, self.list_components) {
                let list = if self.list_components { listed(text) } else { Default::default() };
                message.available_components = Some(wire::AvailableComponents { hash: hash.0.to_vec(), ..list });
            }
        }
        if let Some(status) = self.connection_status()
            && told(Part::Connection, print(&status), false)
        {
            message.connection_settings_status = Some(status);
        }
        (message, parts)
    }

    /// Makes a message smaller than the one that was too large. What is left out counts as said.
    pub(super) fn shrink(&self, message: &mut AgentToServer) {
        let Some(too_large) = self.too_large else { return };
        let less: [fn(&mut AgentToServer); 6] = [
            |message| message.effective_config = None,
            |message| message.available_components.iter_mut().for_each(|it| it.components.clear()),
            |message| message.health = None,
            |message| message.agent_description = None,
            |message| message.available_components = None,
            |message| (message.remote_config_status, message.connection_settings_status) = (None, None),
        ];
        for drop in less {
            if message.encoded_len() >= too_large {
                drop(message);
            }
        }
    }

    pub(super) fn connection_status(&self) -> Option<wire::ConnectionSettingsStatus> {
        let offer = self.kept.offer.as_ref()?;
        Some(wire::ConnectionSettingsStatus {
            last_connection_settings_hash: offer.hash.clone(),
            status: offer.status,
            error_message: clip(&offer.message).to_owned(),
        })
    }

    /// Who the agent is: what the server says counts even if the agent could not keep it.
    pub(super) fn uid(&mut self, report: &Report) -> Uuid {
        let said = Uuid::parse_str(&report.status.agent.instance_uid).ok().filter(|uid| !uid.is_nil());
        match self.uid.or(said) {
            Some(uid) => uid,
            None => *self.uid.insert(Uuid::now_v7()),
        }
    }

    /// Whether the report bears out that the config received last has arrived.
    pub(super) fn has_arrived(&self, report: &Report) -> bool {
        match &self.received {
            Some(Received { was: Was::Body(hash), .. }) => {
                report.status.config.remote_hash.as_deref() == Some(&*hash.hex())
            }
            Some(Received { was: Was::Blank | Was::Refused(_), .. }) | None => true,
        }
    }

    /// The way that the next message goes.
    pub(super) fn way(&self) -> Way {
        let kept = match &self.kept.connection {
            Some(connection) if !(moves(connection) && self.failures > 0 && self.failures.is_multiple_of(LOST)) => {
                Way::Kept
            }
            _ => Way::Settings,
        };
        match &self.kept.candidate {
            Some(_) if self.left => Way::Candidate,
            _ => kept,
        }
    }

    /// The server knows what it was told.
    pub(super) fn acknowledge(&mut self, sent: &Sent) {
        for (known, told) in self.known.iter_mut().zip(sent.parts) {
            *known = told.or(*known);
        }
        self.way = Some(sent.way);
        self.full &= !sent.full;
        self.list_components &= !sent.listed_components;
    }

    pub(super) fn take_flags(&mut self, sent: &Sent, flags: u64, orders: &mut Orders) {
        if flags & wire::REPORT_FULL_STATE != 0 {
            self.full = true;
            // It has just got all there is, and wants it again: then with the next poll.
            orders.again |= !sent.full;
        }
        if flags & wire::REPORT_AVAILABLE_COMPONENTS != 0 && self.components.is_some() {
            self.list_components = true;
            orders.again |= !sent.listed_components;
        }
    }

    pub(super) fn take_uid(&mut self, new: &[u8], sent: &Sent, orders: &mut Orders) {
        match Uuid::from_slice(new) {
            Ok(uid) if uid == sent.uid => {}
            Ok(uid) if !uid.is_nil() => {
                log::info!("the server gives this agent the instance uid {uid}, instead of {}", sent.uid);
                self.uid = Some(uid);
                self.full = true;
                orders.instance_uid = Some(uid.to_string());
                orders.again = true;
            }
            _ => self.complain(format!("a new instance uid has {} bytes instead of 16; not taken", new.len())),
        }
    }

    /// How long to leave a server alone that does not say it.
    pub(super) fn throttle(&mut self) -> Duration {
        let wait = THROTTLE * (1 << self.throttled.min(4));
        self.throttled += 1;
        wait
    }

    pub(super) fn turn_offer(&mut self, status: Is, message: &str) {
        if let Some(offer) = &mut self.kept.offer {
            offer.turn(status, clip(message));
        }
    }

    pub(super) fn complain(&mut self, complaint: String) {
        if self.complaint != complaint {
            log::warn!("OpAMP server: {complaint}");
            self.complaint = complaint;
        }
    }
}

/// What became of the config received last. An empty hash has the server offer it again.
pub(super) fn remote_status(
    received: Option<&Received>,
    report: &Report,
    conditional: bool,
) -> wire::RemoteConfigStatus {
    let config = &report.status.config;
    let (hash, status, message) = match received {
        None => (&[][..], Is::Unset, String::new()),
        Some(Received { hash, was }) => {
            let (status, message) = match was {
                Was::Body(_) => (describe::remote_config_status(config.remote_config_status), config.message.clone()),
                Was::Blank => (Is::Applied, String::new()),
                Was::Refused(why) => (Is::Failed, why.clone()),
            };
            (&hash[..], status, message)
        }
    };
    // The bad one keeps its hash, or the server would offer it for ever; what runs instead is said in words here, and
    // in full as the effective config.
    let runs = config.effective_hash.as_deref().filter(|_| status == Is::Failed).and_then(|hash| hash.get(..8));
    let error_message = match runs {
        Some(runs) => format!("{}; config {runs} runs", clip(&message)),
        None => clip(&message).to_owned(),
    };
    let last_remote_config_hash = if conditional { hash.to_vec() } else { Vec::new() };
    wire::RemoteConfigStatus { last_remote_config_hash, status: status.into(), error_message }
}

pub(super) fn listed(text: &str) -> wire::AvailableComponents {
    wire::AvailableComponents { components: describe::components(text), hash: Vec::new() }
}

/// The hash of what a text means, made anew only for another text.
pub(super) fn hash_of(
    known: &mut Option<(Arc<str>, ConfigHash)>,
    text: &Arc<str>,
    means: fn(&str) -> Vec<u8>,
) -> ConfigHash {
    match known {
        Some((seen, hash)) if Arc::ptr_eq(seen, text) => *hash,
        _ => {
            let hash = otelet_config::hash(&means(text));
            *known = Some((text.clone(), hash));
            hash
        }
    }
}

pub(super) fn print(message: &impl Message) -> ConfigHash {
    otelet_config::hash(&message.encode_to_vec())
}

pub(super) fn moves(connection: &Connection) -> bool {
    !connection.leads_the_same_way_as(&Connection::default())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
