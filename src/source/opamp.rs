//! OpAMP over plain HTTP, as a client: one `POST` at a time. The agent sends its changes, and the server answers with
//! offers and commands.
//!
//! Parts that the server has acknowledged are not sent again, so a poll with nothing new is 24 to 26 bytes. A message
//! counts as acknowledged once a 200 that decodes has come. The answer becomes an [`Offer`] and [`Orders`] for the
//! core.
//!
//! The files: `describe` reports agent, collector and host; `merge` makes one body of the files of a config;
//! `connection` checks offered connection settings and `moving` takes them into use; `state` is kept from one exchange
//! to the next.
//!
//! # Several files
//!
//! An offered config is a map of files. Nearly all servers send one file, which is handed on byte for byte. Several
//! files are merged into JSON as the collector would merge several `--config`, see `merge`. A map without files asks to
//! stop the collector. That is refused with FAILED, since no server may take telemetry down. A blank file is no config:
//! it is acknowledged, and the running config stays.
//!
//! # Two hashes
//!
//! The server identifies a config by its own hash, the agent by the SHA-256 of the body. The agent reports the server's
//! hash only while its status says that this body was received last. So the server offers a config again if it was lost
//! on the way to the disk, or if another source has replaced it.
//!
//! # Connection settings
//!
//! Offered connection settings are checked, written to disk as a candidate, tried with a full report, and kept only if
//! the server answers it. Otherwise the settings before them are used again. If the server that they lead to stays
//! silent, the server of `config.url` is asked now and then.

mod connection;
mod describe;
mod merge;
mod moving;
mod state;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;

pub use connection::{Candidate, Connection, OfferOutcome, OpAmpState};
use describe::clip;
use merge::MergeOutcome;
use otelet_wire::opamp::{self as wire, AgentToServer, ServerToAgent};
use state::{ClientState, Content, MAX_HASH, Parts, PendingMessage, Received, Route, hex, unhex};

use super::url::Get;
use super::{Answer, Failure, FailureKind, Offer, Orders, Protocol, Report, Validators, bad_status};
use crate::http::{Identity, Method, Request, Response, parse_url, public};
use crate::settings::{ConfigSettings, PROXY_PASSWORD, WayOut};
use otelet_core::decide::ConfigHash;
use otelet_core::units;

/// The most exchanges in a row without a pause because the server asks for something. Taking new connection settings
/// needs four.
const MAX_CHAIN: u32 = 8;

pub struct OpAmp {
    /// Adds the headers of the settings and the token.
    get: Get,
    url: String,
    max_size: u64,
    has_ca_file: bool,
    file: Option<PathBuf>,
    state: Mutex<ClientState>,
}

impl OpAmp {
    /// Checks everything that can be checked without asking, and reads the stored connection settings.
    ///
    /// `file` holds connection settings; without it, certificates are not taken. It is written before new settings are
    /// used. A torn file is reported and ignored.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for a URL or header that can never be sent, and for a token file beside a header `Authorization`.
    pub fn new(url: &str, settings: &ConfigSettings, file: Option<PathBuf>) -> Result<Self, Failure> {
        let mut headers: Vec<_> =
            settings.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            headers.push(("Accept".into(), PROTOBUF.into()));
        }
        let opamp = Self {
            get: Get::new(url, headers, settings.bearer_token_file.clone(), WayOut::CONFIG)?,
            url: url.to_owned(),
            max_size: settings.max_size,
            has_ca_file: settings.ca_file.is_some(),
            file,
            state: Mutex::new(ClientState { full: true, ..ClientState::default() }),
        };
        opamp.restore(opamp.read_file());
        Ok(opamp)
    }

    /// The state that must survive a restart, beside [`validators`](Protocol::validators).
    pub fn state(&self) -> OpAmpState {
        self.lock().kept.clone()
    }

    /// Restores the result of [`state`](Self::state), if it is for the same `config.url`. A candidate is verified at
    /// once.
    pub fn restore(&self, kept: OpAmpState) {
        let mut state = self.lock();
        state.kept = match kept.location == self.url {
            true => kept,
            false => OpAmpState { location: self.url.clone(), ..OpAmpState::default() },
        };
        state.saved = state.kept.clone();
        state.left = true;
    }

    /// Whether the report should be sent now, before the next poll. Never after a failure: then the core times the next
    /// try.
    pub fn has_news(&self, report: &Report) -> bool {
        // If an exchange holds the lock, it sends its own report.
        let Ok(mut state) = self.state.try_lock() else { return false };
        let state = &mut *state;
        let may = state.well && state.pending.is_none() && state.sent_at != report.status.written_at;
        if !may || !state.has_arrived(report) {
            return false;
        }
        let (full, list) = (std::mem::take(&mut state.full), std::mem::take(&mut state.list_components));
        let (_, parts) = state.compose(report, true);
        (state.full, state.list_components) = (full, list);
        parts.iter().any(Option::is_some)
    }

    // ---- Requests ----------------------------------------------------------------------------------------------

    fn ask(&self, report: &Report, conditional: bool) -> Result<Request, Failure> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(sent) = state.pending.take() {
            self.without_answer(state, &sent);
        }
        let mut request = self.get.ask(false)?;
        if !state.has_arrived(report) {
            state.received = None;
        }
        let leave = state.kept.candidate.is_some() && !state.left;
        let route = state.route();
        if !leave && state.route != Some(route) {
            // The server of this route may know nothing yet.
            state.full = true;
        }
        if state.full {
            state.known = Parts::default();
        }
        let (mut message, parts) = match leave {
            false => state.compose(report, conditional),
            true => (state.poll(report), Parts::default()),
        };
        if leave {
            message.agent_disconnect = Some(wire::Nothing {});
            message.connection_settings_status = state.connection_status();
        }
        self.send(state, report, message, parts, route, &mut request);
        Ok(request)
    }

    /// Makes a request of a message, and remembers it until the answer.
    fn send(
        &self,
        state: &mut ClientState,
        report: &Report,
        message: AgentToServer,
        parts: Parts,
        route: Route,
        request: &mut Request,
    ) {
        let connection = match route {
            Route::Settings => Connection::default(),
            Route::Kept => state.kept.connection.clone().unwrap_or_default(),
            Route::Candidate => state.kept.candidate.as_ref().map(|it| it.connection.clone()).unwrap_or_default(),
        };
        let is_elsewhere = connection.leaves(&self.url);
        let way_out = way_out(&connection, is_elsewhere);
        state.sequence += 1;
        let uid = state.uid(report);
        request.method = Method::Post;
        request.url = connection.url.unwrap_or_else(|| self.url.clone());
        if is_elsewhere {
            // Headers and token were given to the server of `config.url`, and no server may pass them on.
            request.headers.retain(|(name, _)| PUBLIC_HEADERS.iter().any(|it| name.eq_ignore_ascii_case(it)));
        }
        let ours = [("Content-Type".to_owned(), PROTOBUF.to_owned()), ("OpAMP-Instance-UID".into(), uid.to_string())];
        for (name, value) in connection.headers.into_iter().chain(ours) {
            request.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
            request.headers.push((name, value));
        }
        // A list that was left out because it is too large counts as not said.
        let listed_components = state.list_components
            && message.available_components.as_ref().is_some_and(|told| {
                let all = report.components.as_deref().map(describe::components).unwrap_or_default();
                told.components.len() == all.len()
            });
        request.body = message.encode_to_vec();
        state.sent_at = report.status.written_at.clone();
        state.pending = Some(PendingMessage {
            parts,
            full: state.full,
            listed_components,
            leave: message.agent_disconnect.is_some(),
            size: request.body.len(),
            uid,
            route,
            identity: connection.identity,
            shown: parse_url(&request.url).map(|url| public(&url)).unwrap_or_default(),
            way_out,
            error: None,
        });
    }

    /// Notes that the message before this one got no answer.
    fn without_answer(&self, state: &mut ClientState, sent: &PendingMessage) {
        if sent.leave {
            state.left = true;
            return;
        }
        state.well = false;
        state.failures = state.failures.saturating_add(1);
        if sent.route == Route::Candidate {
            self.try_again(state, sent.error.as_deref().unwrap_or("no answer"));
        }
    }

    // ---- Answers -----------------------------------------------------------------------------------------------

    fn read(&self, response: Response) -> Result<Answer, Failure> {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(sent) = state.pending.take() else {
            return Err(failure(FailureKind::Protocol, "an answer without a request".into()));
        };
        if sent.leave {
            // The content does not matter: the next message goes by other connection settings.
            state.left = true;
            return Ok(Answer { offer: Offer::Unchanged, orders: Orders { again: true, ..Orders::default() } });
        }
        let status = response.status;
        let heard = self.understand(state, &sent, response);
        if let Err(failed) = &heard {
            state.well = false;
            let throttled = failed.retry_after.is_some() && matches!(status, 200 | 429 | 503);
            if !throttled {
                state.failures = state.failures.saturating_add(1);
            }
            match sent.route {
                Route::Candidate if throttled || status == 413 => self.try_again(state, &failed.message),
                Route::Candidate => self.give_up(state, &failed.message),
                Route::Settings | Route::Kept => {}
            }
        }
        let answer = self.obey(state, &sent, heard?);
        self.save(state);
        Ok(answer)
    }

    /// The message of an answer, if it belongs to the request and is no refusal.
    fn understand(
        &self,
        state: &mut ClientState,
        sent: &PendingMessage,
        response: Response,
    ) -> Result<ServerToAgent, Failure> {
        let shown = &sent.shown;
        let advice = match response.status {
            200 | 203 => String::new(),
            413 if sent.parts.iter().any(Option::is_some) => {
                // This message is not sent again: the next one is smaller.
                state.refused.too_large(sent.size);
                let size = units::format_size(sent.size as u64);
                format!("; {size} is too large for it, the next message will be shorter")
            }
            // No message is smaller than a poll, so it is not to blame.
            413 => format!(" to {} bytes; is a proxy or another server at {}?", sent.size, sent.way_out.url),
            429 | 503 => {
                let retry_after = Some(response.retry_after.unwrap_or_else(|| state.throttle()));
                return Err(bad_status(shown, response.status, "", retry_after));
            }
            401 | 403 => sent.way_out.wants_credentials(),
            404 | 405 | 410 => format!("; check {}, an OpAMP server is often at /v1/opamp", sent.way_out.url),
            407 => PROXY_PASSWORD.to_owned(),
            411 => format!("; a proxy before {} does not pass requests on whole", sent.way_out.url),
            415 => format!("; is {} that of an OpAMP server?", sent.way_out.url),
            431 => format!("; it takes no headers as large as these{}", sent.way_out.wants_credentials()),
            502 | 504 => format!("; a gateway says so: the server behind {} does not answer it", sent.way_out.url),
            511 => "; this network wants a login first".to_owned(),
            _ => String::new(),
        };
        if !matches!(response.status, 200 | 203) {
            return Err(bad_status(shown, response.status, &advice, response.retry_after));
        }
        for (path, what, most) in
            [(&[3, 1, 1][..], "config files", merge::MAX_FILES), (&[4, 2, 2, 1], "headers", connection::MAX_HEADERS)]
        {
            let found = wire::count(&response.body, path);
            if found > most {
                let why = format!("{shown}: answered with {found} {what}, the most taken is {most}");
                return Err(failure(FailureKind::Protocol, why));
            }
        }
        let page = otelet_config::markup(&response.body);
        let message = ServerToAgent::decode(Bytes::from(response.body)).map_err(|error| {
            failure(
                FailureKind::Protocol,
                match page {
                    Some(page) => format!("{shown}: {page}"),
                    None => format!("{shown}: answer is no OpAMP message: {error}; check {}", sent.way_out.url),
                },
            )
        })?;
        let new = message.agent_identification.as_ref().map(|it| &it.new_instance_uid);
        let to = &message.instance_uid;
        let to_us = to[..] == sent.uid.as_bytes()[..] || Some(to) == new;
        if !to_us && (!to.is_empty() || sent.route == Route::Candidate) {
            return Err(failure(
                FailureKind::Protocol,
                format!("{shown}: answer is for another instance uid than {}", sent.uid),
            ));
        }
        match &message.error_response {
            Some(error) => Err(self.refusal(state, sent, error)),
            None => Ok(message),
        }
    }

    /// The failure that the server's error response means.
    fn refusal(&self, state: &mut ClientState, sent: &PendingMessage, error: &wire::ServerErrorResponse) -> Failure {
        let words: String = clip(&error.error_message).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let (what, retry_after) = match error.kind() {
            wire::ErrorType::Unavailable => {
                let nanos = error.retry_info.map_or(0, |info| info.retry_after_nanoseconds);
                let wait = if nanos > 0 { Duration::from_nanos(nanos) } else { state.throttle() };
                ("is not available", Some(wait))
            }
            kind => {
                // The server would refuse the same parts again, so they count as acknowledged for a while.
                state.acknowledge(sent);
                if sent.parts.iter().any(Option::is_some) {
                    state.refused.bad(sent.parts);
                }
                (if kind == wire::ErrorType::BadRequest { "calls it a bad request" } else { "failed" }, None)
            }
        };
        let more = if words.is_empty() { String::new() } else { format!(": {words}") };
        Failure { retry_after, ..failure(FailureKind::Status, format!("{}: the server {what}{more}", sent.shown)) }
    }

    /// Follows the server's message, in the order that the specification gives.
    fn obey(&self, state: &mut ClientState, sent: &PendingMessage, message: ServerToAgent) -> Answer {
        state.acknowledge(sent);
        state.count_good(sent);
        state.well = true;
        (state.failures, state.throttled) = (0, 0);
        if message.capabilities != 0 {
            state.server = message.capabilities;
        }
        let mut orders = Orders::default();
        self.settle_route(state, sent, &mut orders);
        let offer = match &message.command {
            // With a command, the specification ignores all other fields.
            Some(command) => {
                orders.restart = command.kind == 0;
                Offer::Unchanged
            }
            None => {
                state.take_flags(sent, message.flags, &mut orders);
                if let Some(identification) = &message.agent_identification {
                    state.take_uid(&identification.new_instance_uid, sent, &mut orders);
                }
                if let Some(offers) = &message.connection_settings {
                    self.take_connection(state, offers, &mut orders);
                }
                message.remote_config.map_or(Offer::Unchanged, |config| self.take_config(state, config))
            }
        };
        let interval = state.kept.connection.as_ref().map_or(Duration::ZERO, Connection::interval);
        if interval != state.interval {
            state.interval = interval;
            orders.poll_every = Some(interval);
        }
        // A server that asks for something in each answer is served at the pace of the polls.
        state.chain = if orders.again { state.chain + 1 } else { 0 };
        orders.again &= state.chain <= MAX_CHAIN;
        Answer { offer, orders }
    }

    fn take_config(&self, state: &mut ClientState, config: wire::AgentRemoteConfig) -> Offer {
        let hash = config.config_hash;
        if hash.len() > MAX_HASH {
            state.complain(format!("config_hash has {} bytes, the most kept is {MAX_HASH}; not taken", hash.len()));
            return Offer::Unchanged;
        }
        let merged = config.config.map_or(MergeOutcome::Blank, |map| merge::merge(&map, self.max_size));
        let (content, offer) = match merged {
            MergeOutcome::Body(body) => {
                (Content::Body(otelet_config::hash(&body)), Offer::Config { body: body.into() })
            }
            MergeOutcome::Blank => (Content::Blank, Offer::Unchanged),
            MergeOutcome::Refused(why) => {
                state.complain(format!("{why}; not taken"));
                (Content::Refused(why), Offer::Unchanged)
            }
        };
        state.received = Some(Received { hash, content });
        offer
    }

    fn lock(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().expect("no panic while it is held")
    }
}

impl Protocol for OpAmp {
    fn request(&self, report: &Report, conditional: bool) -> Result<Request, Failure> {
        self.ask(report, conditional)
    }

    fn offer(&self, response: Response) -> Result<Answer, Failure> {
        self.read(response)
    }

    fn has_goodbye(&self) -> bool {
        true
    }

    /// None if the server did not answer the last message.
    fn goodbye(&self, report: &Report) -> Option<Request> {
        let mut state = self.lock();
        let state = &mut *state;
        if !state.well || state.pending.is_some() {
            return None;
        }
        let mut request = self.get.request(report, false).ok()?;
        let mut message = state.poll(report);
        message.agent_disconnect = Some(wire::Nothing {});
        let route = if state.kept.connection.is_some() { Route::Kept } else { Route::Settings };
        self.send(state, report, message, Parts::default(), route, &mut request);
        Some(request)
    }

    fn identity(&self) -> Option<Identity> {
        self.lock().pending.as_ref()?.identity.clone()
    }

    fn way_out(&self) -> WayOut {
        self.lock().pending.as_ref().map_or(WayOut::CONFIG, |sent| sent.way_out)
    }

    fn unanswered(&self, failure: &Failure) {
        if let Some(sent) = &mut self.lock().pending {
            sent.error = Some(failure.message.clone());
        }
    }

    fn has_news(&self, report: &Report) -> bool {
        self.has_news(report)
    }

    /// The server's hash and the agent's hash of the last config, stored as an ETag.
    fn validators(&self) -> Validators {
        let etag = match &self.lock().received {
            Some(Received { hash, content: Content::Body(body) }) => {
                Some(format!("opamp:{}:{}", hex(hash), body.hex()))
            }
            Some(Received { content: Content::Blank | Content::Refused(_), .. }) | None => None,
        };
        Validators { etag, last_modified: None }
    }

    fn seed(&self, validators: Validators) {
        let read = |etag: &str| {
            let (hash, body) = etag.strip_prefix("opamp:")?.split_once(':')?;
            Some(Received { hash: unhex(hash)?, content: Content::Body(ConfigHash::from_hex(body)?) })
        };
        self.lock().received = validators.etag.as_deref().and_then(read);
    }
}

/// The settings that a message by this connection is made from. The user cannot change settings that the server
/// offered.
fn way_out(connection: &Connection, is_elsewhere: bool) -> WayOut {
    let settings = WayOut::CONFIG;
    WayOut {
        url: connection.url.as_ref().map_or(settings.url, |_| "the destination_endpoint that the server offered"),
        credentials: match connection.headers.is_empty() {
            _ if is_elsewhere => &["the headers that the server offered: those of the settings are for config.url"],
            true => settings.credentials,
            false => &["the headers that the server offered", "config.headers", "config.bearer_token_file"],
        },
        ..settings
    }
}

/// The headers of the settings that any server may see.
const PUBLIC_HEADERS: [&str; 2] = ["user-agent", "accept"];

/// The content type of requests and answers.
const PROTOBUF: &str = "application/x-protobuf";

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { message, kind, retry_after: None }
}
