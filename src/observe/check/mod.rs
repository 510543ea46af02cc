//! Does the checks: asks a URL, connects, looks a name up, runs a program. When, is decided elsewhere.
//!
//! `http`, `tcp` and `dns` block, so each is called on a short-lived thread. `exec` is waited for on the main thread: a
//! child ends with the thread that started it. What is said of a result holds no secret.

pub mod exec;
mod http;
mod points;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime};

use otelet_wire::status::CheckStatus;

use crate::http::HttpSettings;
use crate::settings::{CheckSettings, CheckTarget};
use otelet_config::redact::Redactor;
use otelet_core::decide::{CheckOutcome, CheckReport, CheckResult};
use otelet_core::units;

pub use points::{points, state_points};

/// The most of what is said of a result, in characters.
const MESSAGE: usize = 300;

/// The shortest argument that is taken out of what a program says: shorter ones stand everywhere.
const SHORTEST_SECRET: usize = 6;

/// Of one that the settings name.
pub fn status_of(report: CheckReport) -> CheckStatus {
    let CheckReport { name, kind, last } = report;
    let named = CheckStatus { name, kind: kind.word().into(), ..CheckStatus::default() };
    let Some(CheckResult { ok, since, at, took, message }) = last else { return named };
    CheckStatus {
        ok: Some(ok),
        since: Some(units::rfc3339(since)),
        last_at: Some(units::rfc3339(at)),
        duration_ms: took.map(milliseconds),
        message,
        ..named
    }
}

/// Of one that is built in: it is computed, and so is true now.
pub fn built_in_status(
    name: &str,
    kind: &str,
    trouble: Option<String>,
    since: SystemTime,
    now: SystemTime,
) -> CheckStatus {
    CheckStatus {
        name: name.into(),
        kind: kind.into(),
        ok: Some(trouble.is_none()),
        since: Some(units::rfc3339(since)),
        last_at: Some(units::rfc3339(now)),
        duration_ms: None,
        message: trouble.unwrap_or_default(),
    }
}

/// What came of a check, with what only its metrics tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What the decisions hear.
    pub outcome: CheckOutcome,
    /// What came from a URL.
    pub answered: Answered,
}

/// What came from a URL, good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Answered {
    /// The status code of the last answer.
    pub code: Option<u16>,
    /// Until when the certificate is valid that the server showed last.
    pub certificate_until: Option<SystemTime>,
}

/// Does one of the checks that block.
pub fn check(settings: &CheckSettings, http: &HttpSettings, redactor: &Redactor) -> Checked {
    let begun = Instant::now();
    let mut answered = Answered::default();
    let result = match &settings.target {
        CheckTarget::Http { url, status, body, headers } => {
            let wanted = http::Wanted { url, status, body: body.as_deref(), headers };
            http::check(&wanted, settings.timeout, http, &mut answered)
        }
        CheckTarget::Tcp { address } => tcp(address, settings.timeout),
        CheckTarget::Dns { name, address } => dns(name, *address),
        CheckTarget::Exec { .. } => Err("is run elsewhere".into()),
    };
    let took = begun.elapsed();
    // The system's resolver knows no timeout: an answer that came too late did not come.
    let result = match result {
        Ok(_) if took > settings.timeout => Err(late(settings.timeout)),
        other => other,
    };
    Checked { outcome: CheckOutcome { result: tidy(result, redactor), took }, answered }
}

/// What takes out of a message what this check may give away: its arguments too, which the settings do not count among
/// the secrets that are looked for everywhere.
pub fn redactor(settings: &CheckSettings, secrets: &[String]) -> Redactor {
    let own = match &settings.target {
        CheckTarget::Exec { command } => &command[1..],
        CheckTarget::Http { .. } | CheckTarget::Tcp { .. } | CheckTarget::Dns { .. } => &[],
    };
    let own = own.iter().map(|argument| argument.expose()).filter(|argument| argument.len() >= SHORTEST_SECRET);
    Redactor::new(secrets.iter().map(String::as_str).chain(own))
}

/// One line of bounded length without secrets.
pub(crate) fn tidy(result: Result<String, String>, redactor: &Redactor) -> Result<String, String> {
    let tidy = |text: String| {
        let line: String = redactor.line(&text).chars().filter(|it| !it.is_control()).take(MESSAGE).collect();
        line
    };
    result.map(tidy).map_err(tidy)
}

fn late(limit: Duration) -> String {
    format!("took longer than its timeout of {}", units::format_time(limit))
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

fn resolve(address: impl ToSocketAddrs) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<SocketAddr> =
        address.to_socket_addrs().map_err(|error| format!("name does not resolve: {error}"))?.collect();
    if found.is_empty() { Err("name has no address".into()) } else { Ok(found) }
}

/// Connects to the first address that takes it, within the time for all of them.
fn tcp(address: &str, timeout: Duration) -> Result<String, String> {
    let deadline = Instant::now() + timeout;
    let mut why = String::new();
    for address in resolve(address)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late(timeout));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(_) => return Ok(format!("connected to {address}")),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(why)
}

fn dns(name: &str, wanted: Option<std::net::IpAddr>) -> Result<String, String> {
    let found: Vec<std::net::IpAddr> = resolve((name, 0))?.iter().map(SocketAddr::ip).collect();
    let mut words: Vec<String> = found.iter().map(ToString::to_string).collect();
    words.dedup();
    let words = words.join(", ");
    match wanted {
        Some(wanted) if !found.contains(&wanted) => Err(format!("resolves to {words}, not to {wanted}")),
        Some(_) | None => Ok(format!("resolves to {words}")),
    }
}
