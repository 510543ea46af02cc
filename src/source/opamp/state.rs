//! The state of the client: the parts that the server knows, its capabilities and offers, and the messages that follow.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use uuid::Uuid;

use super::connection::{Connection, OpAmpState};
use super::describe::{self, Health, clip};
use super::wire::{self, AgentToServer, OfferStatus};
use super::{Orders, Report};
use crate::http::Identity;
use crate::settings::WayOut;
use otelet_core::decide::ConfigHash;

/// The longest hash that is taken from a server, in bytes; a SHA-512 in hex has 128.
pub(super) const MAX_HASH: usize = 256;

/// The shortest wait for a server that throttles without saying how long. Source: the specification's recommended least
/// retry interval.
pub(super) const THROTTLE: Duration = Duration::from_secs(30);

/// After this many failures in a row, and again after as many, the server of `config.url` is asked instead of the
/// server that connection settings lead to.
pub(super) const FAILURES_BEFORE_CONFIG_URL: u32 = 6;

/// The parts of a message that are left out while they do not change.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Description,
    Health,
    Effective,
    Remote,
    Components,
    Connection,
}

/// The hash of each part of a message, by [`Part`].
pub(super) type Parts = [Option<ConfigHash>; 6];

#[derive(Default)]
pub(super) struct ClientState {
    /// The number of the last message.
    pub(super) sequence: u64,
    /// An instance uid that the report does not show yet.
    pub(super) uid: Option<Uuid>,
    /// The parts that the server has acknowledged.
    pub(super) known: Parts,
    /// The next message forgets what the server knows, and so has all parts.
    pub(super) full: bool,
    /// The server wants the list of components, not only its hash.
    pub(super) list_components: bool,
    /// The parts that the server has refused and gets later again.
    pub(super) refused: Refused,
    /// The server's capabilities; 0 until it reports them.
    pub(super) server: u64,
    pub(super) received: Option<Received>,
    pub(super) health: Health,
    /// Texts and their hashes, so that a text is hashed once.
    pub(super) effective: Option<(Arc<str>, ConfigHash)>,
    pub(super) components: Option<(Arc<str>, ConfigHash)>,
    pub(super) kept: OpAmpState,
    /// The copy of `kept` that is on disk.
    pub(super) saved: OpAmpState,
    /// The old server knows that the agent changes to new connection settings.
    pub(super) left: bool,
    /// The message that waits for its answer.
    pub(super) pending: Option<PendingMessage>,
    /// The last exchange got a valid answer.
    pub(super) well: bool,
    /// The connection settings by which the last valid answer came.
    pub(super) route: Option<Route>,
    /// Exchanges in a row without a valid answer; throttled ones are not counted.
    pub(super) failures: u32,
    pub(super) throttled: u32,
    /// Exchanges in a row that the server asked for at once.
    pub(super) chain: u32,
    /// The time between polls that the server ordered last; zero for the time of the settings.
    pub(super) interval: Duration,
    /// The `written_at` of the report in the last message.
    pub(super) sent_at: String,
    /// The last logged complaint about the server; it is not repeated.
    pub(super) complaint: String,
}

/// A config that the server offered.
pub(super) struct Received {
    /// The server's own hash.
    pub(super) hash: Vec<u8>,
    pub(super) content: Content,
}

#[derive(Clone, PartialEq)]
pub(super) enum Content {
    /// A body for the core, by its SHA-256.
    Body(ConfigHash),
    /// Only blank files.
    Blank,
    /// Files that make no body, with the reason.
    Refused(String),
}

/// The parts that the server has refused. It forbids the same request only: what was left out counts as not said, and
/// goes out again after some good exchanges, after twice as many the next time.
#[derive(Default)]
pub(super) struct Refused {
    /// Messages of this size, in bytes, were too large.
    pub(super) size: Option<usize>,
    /// The parts that the server called bad. They count as known until then.
    parts: Parts,
    /// The good exchanges until everything is tried again.
    rest: u32,
    tries: u32,
}

/// The good exchanges before the first of those tries and before the late ones: two minutes and a day of usual polls.
const FIRST_REST: u32 = 4;
const LONGEST_REST: u32 = 2880;

impl Refused {
    /// A message of this size was too large.
    pub(super) fn too_large(&mut self, size: usize) {
        self.begin();
        self.size = Some(self.size.map_or(size, |known| known.min(size)));
    }

    /// The server calls these parts bad.
    pub(super) fn bad(&mut self, parts: Parts) {
        self.begin();
        for (known, bad) in self.parts.iter_mut().zip(parts) {
            *known = bad.or(*known);
        }
    }

    fn begin(&mut self) {
        // A refusal before the rest is over belongs to the same try: smaller and smaller messages do.
        self.tries += u32::from(self.rest == 0 && self.tries < 12);
        self.rest = (FIRST_REST << (self.tries - 1)).min(LONGEST_REST);
    }

    /// Counts a good exchange, by a message of this size with these parts. Returns the parts to say again.
    fn count(&mut self, size: usize, parts: &Parts) -> Parts {
        if self.rest == 0 {
            // A try went well.
            let is_as_large = self.size.is_some_and(|limit| size >= limit);
            let is_same = parts.iter().zip(self.parts).any(|(sent, bad)| sent.is_some() && bad.is_some());
            if is_as_large || is_same {
                *self = Self::default();
            }
            return Parts::default();
        }
        self.rest -= 1;
        if self.rest == 0 { self.parts } else { Parts::default() }
    }

    /// The size from which on a message is too large for now.
    fn limit(&self) -> Option<usize> {
        self.size.filter(|_| self.rest > 0)
    }
}

/// A message that waits for its answer.
pub(super) struct PendingMessage {
    pub(super) parts: Parts,
    pub(super) full: bool,
    pub(super) listed_components: bool,
    pub(super) leave: bool,
    pub(super) size: usize,
    pub(super) uid: Uuid,
    pub(super) route: Route,
    pub(super) identity: Option<Identity>,
    /// The URL as it may be printed.
    pub(super) shown: String,
    /// The settings that the request was made from.
    pub(super) way_out: WayOut,
    /// Why no answer came.
    pub(super) error: Option<String>,
}

/// The connection settings that a message goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Route {
    /// The settings of the user.
    Settings,
    /// Settings that a server offered and that are verified.
    Kept,
    /// Settings that are being tried.
    Candidate,
}

impl ClientState {
    /// A message without any part.
    pub(super) fn poll(&mut self, report: &Report) -> AgentToServer {
        let more = if report.components.is_some() { wire::REPORTS_AVAILABLE_COMPONENTS } else { 0 };
        AgentToServer {
            instance_uid: self.uid(report).as_bytes().to_vec(),
            capabilities: wire::CAPABILITIES | more,
            sequence_num: self.sequence + 1,
            ..AgentToServer::default()
        }
    }

    /// A message with all parts that the server does not know, and their hashes.
    pub(super) fn compose(&mut self, report: &Report, conditional: bool) -> (AgentToServer, Parts) {
        let mut parts = Parts::default();
        let mut message = self.poll(report);
        let uid = self.uid(report);
        let known = self.known;
        let mut told = |part: Part, print: ConfigHash, forced: bool| {
            let wanted = forced || known[part as usize] != Some(print);
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
        self.shrink(&mut message, &mut parts);
        (message, parts)
    }

    /// Makes a message smaller than those that were too large: the largest part is left out, until it is. A poll without
    /// any part is always sent.
    pub(super) fn shrink(&self, message: &mut AgentToServer, parts: &mut Parts) {
        let Some(limit) = self.refused.limit() else { return };
        while message.encoded_len() >= limit {
            // An empty part takes two bytes.
            let size = |part: Option<usize>| part.map_or(0, |size| size + 2);
            let sizes = [
                (Part::Description, size(message.agent_description.as_ref().map(Message::encoded_len))),
                (Part::Health, size(message.health.as_ref().map(Message::encoded_len))),
                (Part::Effective, size(message.effective_config.as_ref().map(Message::encoded_len))),
                (Part::Remote, size(message.remote_config_status.as_ref().map(Message::encoded_len))),
                (Part::Components, size(message.available_components.as_ref().map(Message::encoded_len))),
                (Part::Connection, size(message.connection_settings_status.as_ref().map(Message::encoded_len))),
            ];
            let Some((part, 1..)) = sizes.into_iter().max_by_key(|(_, size)| *size) else { return };
            let list = message.available_components.as_mut().map(|it| &mut it.components);
            if let (Part::Components, Some(list)) = (part, list.filter(|list| !list.is_empty())) {
                // Its hash is told all the same.
                list.clear();
                continue;
            }
            parts[part as usize] = None;
            match part {
                Part::Description => message.agent_description = None,
                Part::Health => message.health = None,
                Part::Effective => message.effective_config = None,
                Part::Remote => message.remote_config_status = None,
                Part::Components => message.available_components = None,
                Part::Connection => message.connection_settings_status = None,
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

    /// The instance uid. One that the server gave is used even if the agent could not store it.
    pub(super) fn uid(&mut self, report: &Report) -> Uuid {
        let said = Uuid::parse_str(&report.status.agent.instance_uid).ok().filter(|uid| !uid.is_nil());
        match self.uid.or(said) {
            Some(uid) => uid,
            None => *self.uid.insert(Uuid::now_v7()),
        }
    }

    /// Whether the report shows that the core has received the last config.
    pub(super) fn has_arrived(&self, report: &Report) -> bool {
        match &self.received {
            Some(Received { content: Content::Body(hash), .. }) => {
                report.status.config.remote_hash.as_deref() == Some(&*hash.hex())
            }
            Some(Received { content: Content::Blank | Content::Refused(_), .. }) | None => true,
        }
    }

    /// The connection settings for the next message.
    pub(super) fn route(&self) -> Route {
        let kept = match &self.kept.connection {
            Some(connection)
                if !(moves(connection)
                    && self.failures > 0
                    && self.failures.is_multiple_of(FAILURES_BEFORE_CONFIG_URL)) =>
            {
                Route::Kept
            }
            _ => Route::Settings,
        };
        match &self.kept.candidate {
            Some(_) if self.left => Route::Candidate,
            _ => kept,
        }
    }

    /// Notes that the server knows the parts of this message.
    pub(super) fn acknowledge(&mut self, sent: &PendingMessage) {
        for (known, told) in self.known.iter_mut().zip(sent.parts) {
            *known = told.or(*known);
        }
        self.route = Some(sent.route);
        self.full &= !sent.full;
        self.list_components &= !sent.listed_components;
    }

    /// Counts a good exchange, after which something that was refused may be said again.
    pub(super) fn count_good(&mut self, sent: &PendingMessage) {
        let again = self.refused.count(sent.size, &sent.parts);
        for (known, again) in self.known.iter_mut().zip(again) {
            *known = known.filter(|known| Some(*known) != again);
        }
    }

    pub(super) fn take_flags(&mut self, sent: &PendingMessage, flags: u64, orders: &mut Orders) {
        if flags & wire::REPORT_FULL_STATE != 0 {
            self.full = true;
            // A server that has just got the full state and asks again gets it with the next poll.
            orders.again |= !sent.full;
        }
        if flags & wire::REPORT_AVAILABLE_COMPONENTS != 0 && self.components.is_some() {
            self.list_components = true;
            orders.again |= !sent.listed_components;
        }
    }

    pub(super) fn take_uid(&mut self, new: &[u8], sent: &PendingMessage, orders: &mut Orders) {
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

    /// The wait for a server that throttles without saying how long: it doubles each time, up to 16 times the shortest.
    pub(super) fn throttle(&mut self) -> Duration {
        let wait = THROTTLE * (1 << self.throttled.min(4));
        self.throttled += 1;
        wait
    }

    pub(super) fn turn_offer(&mut self, status: OfferStatus, message: &str) {
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

/// The status of the last config. An empty hash makes the server offer it again.
pub(super) fn remote_status(
    received: Option<&Received>,
    report: &Report,
    conditional: bool,
) -> wire::RemoteConfigStatus {
    let config = &report.status.config;
    let (hash, status, message) = match received {
        None => (&[][..], OfferStatus::Unset, String::new()),
        Some(Received { hash, content }) => {
            let (status, message) = match content {
                Content::Body(_) => {
                    (describe::remote_config_status(config.remote_config_status), config.message.clone())
                }
                Content::Blank => (OfferStatus::Applied, String::new()),
                Content::Refused(why) => (OfferStatus::Failed, why.clone()),
            };
            (&hash[..], status, message)
        }
    };
    // The refused config keeps its hash, or the server would offer it for ever. The message names the config that runs
    // instead; the effective config has its text.
    let runs =
        config.effective_hash.as_deref().filter(|_| status == OfferStatus::Failed).and_then(|hash| hash.get(..8));
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

/// The hash of the content that `means` makes of a text, computed anew only for another text.
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
    !connection.takes_same_route_as(&Connection::default())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
