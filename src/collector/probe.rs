//! Probes the collector's health, by its `health_check`, its notify socket, or its process.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smol::future::FutureExt as _;

use crate::os::{self, NotifySocket};
use otelet_core::decide::{Probe, Witness};

/// Time limit for the answer to a probe.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The watchdog interval given to a collector with an `sd_notify` extension.
pub(super) const WATCHDOG: Duration = Duration::from_secs(30);

/// The way in which a collector is probed.
#[derive(Debug)]
pub enum Prober {
    /// Sends a request to its `health_check`.
    HealthCheck { address: SocketAddr, request: String },
    /// Reads the messages that the collector sends by itself.
    SdNotify { socket: NotifySocket, state: RefCell<NotifyState> },
    /// Sees that its process is there.
    Alive,
}

/// The state of a collector by its messages on the notify socket.
#[derive(Debug, Default)]
pub struct NotifyState {
    ready: bool,
    watchdog: Option<Instant>,
}

impl NotifyState {
    pub(super) fn take(&mut self, message: &str, now: Instant) {
        for line in message.lines() {
            match line {
                "READY=1" => self.ready = true,
                "WATCHDOG=1" => self.watchdog = Some(now),
                _ => {}
            }
        }
    }
}

impl Prober {
    pub(super) fn witness(&self) -> Witness {
        match self {
            Self::HealthCheck { .. } => Witness::HealthCheck,
            Self::SdNotify { .. } => Witness::SdNotify,
            Self::Alive => Witness::Alive,
        }
    }

    /// Probes it once.
    pub async fn probe(&self, pid: u32) -> Probe {
        if os::is_stopped(pid) {
            return Probe::Silent("its process is stopped".into());
        }
        match self {
            Self::HealthCheck { address, request } => ask_health(*address, request).await,
            Self::SdNotify { state, .. } => {
                let NotifyState { ready, watchdog } = *state.borrow();
                match watchdog {
                    _ if !ready => Probe::Silent("it has not said READY=1 yet".into()),
                    Some(last) if last.elapsed() > WATCHDOG => {
                        Probe::Silent("it does not say WATCHDOG=1 any more".into())
                    }
                    Some(_) | None => Probe::Healthy,
                }
            }
            Self::Alive => Probe::Healthy,
        }
    }
}

async fn ask_health(address: SocketAddr, request: &str) -> Probe {
    let mut answer = [0; 64];
    let answered = async { os::ask(address, request.as_bytes(), &mut answer).await.map_err(|error| error.to_string()) };
    let late = async {
        os::until(Instant::now() + PROBE_LIMIT).await;
        Err(format!("no answer within {}s", PROBE_LIMIT.as_secs()))
    };
    match answered.or(late).await {
        Err(why) => Probe::Silent(format!("health_check at {address}: {why}")),
        Ok(length) => match status_code(&answer[..length]) {
            Some("200") => Probe::Healthy,
            Some(code) => Probe::Unhealthy(format!("health_check at {address} answered {code}")),
            None => Probe::Silent(format!("health_check at {address}: what answers there does not speak HTTP")),
        },
    }
}

/// The status code in the first line of an HTTP/1 answer.
fn status_code(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer.get(..12)?).ok()?;
    let (version, code) = text.split_at(9);
    (version.starts_with("HTTP/1.") && code.bytes().all(|byte| byte.is_ascii_digit())).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_answer_has_a_status_code() {
        assert_eq!(status_code(b"HTTP/1.1 200 OK\r\n"), Some("200"));
        assert_eq!(status_code(b"HTTP/1.0 503 Service"), Some("503"));
        assert_eq!(status_code(b"SSH-2.0-OpenSSH_9.2"), None);
        assert_eq!(status_code(b"HTTP/1.1"), None);
    }

    #[test]
    fn ready_and_watchdog_messages_are_understood() {
        let mut state = NotifyState::default();
        state.take("READY=1\nSTATUS=running", Instant::now());
        assert!(state.ready && state.watchdog.is_none());
        state.take("WATCHDOG=1", Instant::now());
        assert!(state.watchdog.is_some());
    }
}
