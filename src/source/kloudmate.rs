//! KloudMate's config check: one POST is the poll, the heartbeat and the report.
//!
//! The service announces a change once, with `restart_required: true` and the config, and keeps no acknowledgement. So
//! the config is written to the [`Inbox`] before this module hands it on.
//!
//! The service sends `restart_required: true` without a config when a person presses "restart". The collector is then
//! restarted once, even if the service repeats the answer. An answer with `false` or with a config ends that
//! announcement, and the next `true` is a new one. A config with `restart_required: false` is ignored, as in
//! KloudMate's own agent.
//!
//! There is no last message at exit: its answer might be the only announcement of a config.

mod says;
#[cfg(test)]
pub(super) mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

pub use otelet_wire::kloudmate::{Instruction, Part, instruction};
use says::poll;

use super::inbox::Inbox;
use super::{Answer, Failure, FailureKind, Offer, Orders, Protocol, Report, bad_setting, bad_status};
use crate::http::{self, Method, Reads, Redirects, Request, Response, USER_AGENT, check_header, parse_url, public};
use crate::os::Environment;
use crate::settings::{PROXY_PASSWORD, Secret, WayOut};

/// The URL is in otelet's own settings, or in the settings of KloudMate's agent as `update-endpoint`.
pub(super) const WAY_OUT: WayOut = WayOut {
    url: "config.url or KM_UPDATE_ENDPOINT",
    credentials: &["api-key (KM_API_KEY)", "config.headers"],
    ..WayOut::CONFIG
};

/// The kind of agent that asks. It decides how the agent describes itself and which part of the answer it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The environment that the agent reports to KloudMate.
    pub environment: Environment,
    /// The name of the cluster; empty outside of a cluster.
    pub cluster: String,
}

impl Role {
    fn part(&self) -> Part {
        match self.environment {
            Environment::Host | Environment::Docker => Part::Whole,
            Environment::DaemonSet => Part::DaemonSet,
            Environment::Deployment => Part::Deployment,
        }
    }
}

pub struct KloudMate {
    url: String,
    /// The URL as it may be printed.
    shown: String,
    headers: Vec<(String, String)>,
    role: Role,
    inbox: Inbox,
    /// The path of the collector config that the host had before the agent was installed.
    first: Option<PathBuf>,
    max_size: u64,
    state: Mutex<KloudMateState>,
}

#[derive(Default)]
struct KloudMateState {
    /// Whether the config of an earlier agent has been looked for.
    begun: bool,
    /// Whether the body in the inbox was offered again since the server's last answer.
    repeated: bool,
    /// Whether the last answer asked for a restart.
    restarting: bool,
}

impl KloudMate {
    /// Checks everything that can be checked without asking.
    ///
    /// `first` is the path of a config to offer while no other is known; it need not exist. It is not read if it is
    /// larger than `max_size`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for a URL, header or key that can never be sent.
    pub fn new(
        url: &str,
        headers: Vec<(String, String)>,
        key: Option<&Secret>,
        role: Role,
        inbox: Inbox,
        first: Option<PathBuf>,
        max_size: u64,
    ) -> Result<Self, Failure> {
        let shown = public(&parse_url(url).map_err(|error| WAY_OUT.failure(&error.into()))?);
        for (name, value) in &headers {
            check_header(name, value).map_err(|error| WAY_OUT.failure(&error))?;
        }
        let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut all = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        if has("content-type") {
            all.clear();
        }
        if !has("user-agent") {
            all.push(("User-Agent".to_owned(), USER_AGENT.to_owned()));
        }
        if let Some(key) = key.map(Secret::expose).filter(|key| !key.is_empty()) {
            let wrong = |why| bad_setting("api-key (KM_API_KEY)", why);
            if has("authorization") {
                return Err(wrong("config.headers has Authorization as well; keep one of them"));
            }
            // The raw key, without `Bearer`.
            check_header("Authorization", key).map_err(|_| wrong("has a line break or a control character in it"))?;
            all.push(("Authorization".to_owned(), key.to_owned()));
        }
        all.extend(headers);
        let state = Mutex::default();
        Ok(Self { url: url.to_owned(), shown, headers: all, role, inbox, first, max_size, state })
    }

    fn read(&self, response: Response) -> Result<Answer, Failure> {
        let advice = match response.status {
            200 | 203 => return self.understand(&response.body),
            401 | 403 => "; check the key: KM_API_KEY, api-key in agent.yaml",
            404 | 410 => "; check the URL: config.url, or KM_UPDATE_ENDPOINT, update-endpoint in agent.yaml",
            407 => PROXY_PASSWORD,
            100..=399 => "; 200 was expected",
            _ => "",
        };
        Err(bad_status(&self.shown, response.status, advice, response.retry_after))
    }

    fn understand(&self, body: &[u8]) -> Result<Answer, Failure> {
        let mut state = self.lock();
        state.repeated = false;
        let announced = instruction(body, self.role.part()).map_err(|why| Failure {
            message: match otelet_config::markup(body) {
                Some(page) => format!("{}: {page}", self.shown),
                None => format!("{}: answered {why}", self.shown),
            },
            kind: FailureKind::Protocol,
            retry_after: None,
        })?;
        let restart = matches!(announced, Instruction::Restart) && !state.restarting;
        state.restarting = matches!(announced, Instruction::Restart);
        let offer = match announced {
            Instruction::Config(text) => {
                let body: Arc<[u8]> = text.into_bytes().into();
                if let Err(error) = self.inbox.put(&body) {
                    log::warn!(
                        "{}; the announced config is lost if the agent ends before the config is applied",
                        error.chain()
                    );
                }
                Offer::Config { body }
            }
            Instruction::Restart | Instruction::Nothing => Offer::Unchanged,
        };
        Ok(Answer { offer, orders: Orders { restart, ..Orders::default() } })
    }

    /// The config that was announced to an earlier agent and neither applied nor refused.
    fn left_over(&self, report: &Report) -> Option<Arc<[u8]>> {
        let config = &report.status.config;
        let (hash, body) = self.inbox.last()?;
        let hash = hash.hex();
        let decided = [&config.candidate_hash, &config.last_good_hash].iter().any(|it| it.as_ref() == Some(&hash))
            || config.refused.iter().any(|refused| refused.hash == hash);
        (!decided).then_some(body)
    }

    /// The config that the host had before the agent, if no other is known.
    fn first_config(&self, report: &Report) -> Option<Arc<[u8]>> {
        let config = &report.status.config;
        if config.remote_hash.is_some() || config.last_good_hash.is_some() || config.candidate_hash.is_some() {
            return None;
        }
        let path = self.first.as_ref()?;
        match http::read_regular(path, self.max_size) {
            Ok(body) if body.trim_ascii().is_empty() => None,
            Ok(body) => {
                log::info!("{}: found the collector's config; it is tried first", path.display());
                Some(body.into())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("{}: cannot read the collector's config: {error}; waiting for the server's", path.display());
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, KloudMateState> {
        self.state.lock().expect("no panic while it is held")
    }
}

impl Protocol for KloudMate {
    /// The server cannot be asked to send a config again, so `conditional` changes nothing here; see
    /// [`waiting`](Protocol::waiting).
    fn request(&self, report: &Report, _conditional: bool) -> Result<Request, Failure> {
        let says = poll(report, &self.role);
        let body = serde_json::to_vec(&says).expect("an object of texts and booleans");
        Ok(Request {
            method: Method::Post,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body,
            reads: Reads::Whole,
            redirects: Redirects::Same,
        })
    }

    fn offer(&self, response: Response) -> Result<Answer, Failure> {
        self.read(response)
    }

    fn way_out(&self) -> WayOut {
        WAY_OUT
    }

    /// At the start: the config that was announced to an earlier agent, or the one that the host had before the agent.
    /// Later, when the agent has lost a body: the last announced body, in every second exchange.
    fn waiting(&self, report: &Report, conditional: bool) -> Option<Answer> {
        let mut state = self.lock();
        let body = if !std::mem::replace(&mut state.begun, true) {
            self.left_over(report).or_else(|| self.first_config(report))
        } else if conditional || std::mem::replace(&mut state.repeated, true) {
            None
        } else {
            self.inbox.last().map(|(_, body)| body)
        }?;
        state.repeated = true;
        let orders = Orders { again: true, ..Orders::default() };
        Some(Answer { offer: Offer::Config { body }, orders })
    }
}
