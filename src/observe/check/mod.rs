//! Does the checks: asks a URL, connects to an address, looks a name up, runs a program, asks about a container. `decide::check` decides when.
//!
//! Checks by `http`, `tcp`, `dns` and `docker` block, so each runs on a short-lived thread. `exec` runs on the main thread, without
//! blocking it: a child ends with the thread that started it. The message of a result holds no secret.

pub mod exec;
mod http;
mod points;
mod result;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use otelet_wire::status::CheckStatus;

use crate::http::{self as client, HttpSettings};
use crate::observe::docker;
use crate::os::{self, Family};
use crate::settings::{CheckSettings, CheckTarget};
use otelet_config::redact::Redactor;
use otelet_core::decide::{CheckOutcome, CheckReport, CheckResult};
use otelet_core::units;

pub use points::{points, state_points};
pub(crate) use result::tidy;
pub use result::{FinishedCheck, HttpDetails};
use result::{late, milliseconds};

/// The shortest argument that is removed from a program's message. Shorter ones occur in any text.
const SHORTEST_SECRET: usize = 6;

/// The status of a check in the settings.
pub fn status_of(seen: CheckReport) -> CheckStatus {
    let CheckReport { name, kind, last } = seen;
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

/// The status of a built-in check. The agent computes it, so its time is always now.
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

/// Does a check, and blocks until it is done. Programs run by [`exec::check`] instead.
pub fn check(settings: &CheckSettings, http: &HttpSettings, redactor: &Redactor) -> FinishedCheck {
    let begun = Instant::now();
    let mut details = HttpDetails::default();
    let result = match &settings.target {
        CheckTarget::Http { url, status, body, headers, trust } => {
            let wanted = http::HttpCheck { url, status, body: body.as_deref(), headers, trust };
            http::check(&wanted, settings.timeout, http, &mut details)
        }
        CheckTarget::Tcp { address } => tcp(address, settings.timeout),
        CheckTarget::Dns { name, address } => dns(name, *address, begun + settings.timeout),
        CheckTarget::Docker { container, socket } => docker::check_container(socket, container, settings.timeout),
        CheckTarget::Exec { .. } => Err("exec checks run on the main thread".into()),
    };
    let took = begun.elapsed();
    // The resolver of Windows has no timeout: an answer after the check's timeout counts as none.
    let result = match result {
        Ok(_) if took > settings.timeout => Err(late(settings.timeout)),
        other => other,
    };
    FinishedCheck { outcome: CheckOutcome { result: tidy(result, redactor), took }, http: details }
}

/// The redactor for the messages of this check. It removes the agent's secrets, and also the arguments of the check's
/// program, which may be secret but are not removed from other texts.
pub fn redactor(settings: &CheckSettings, secrets: &[String]) -> Redactor {
    let own = match &settings.target {
        CheckTarget::Exec { command } => &command[1..],
        CheckTarget::Http { .. } | CheckTarget::Tcp { .. } | CheckTarget::Dns { .. } | CheckTarget::Docker { .. } => {
            &[]
        }
    };
    let own = own.iter().map(|argument| argument.expose()).filter(|argument| argument.len() >= SHORTEST_SECRET);
    let redactor = Redactor::new(secrets.iter().map(String::as_str).chain(own));
    redactor.hiding_url_paths(crate::http::hides_paths())
}

fn resolve(host: &str, port: u16, family: Family, until: Instant) -> Result<Vec<SocketAddr>, String> {
    os::look_up(host, port, family, until).map_err(|why| format!("name does not resolve: {why}"))
}

/// Connects to the first address that accepts. The timeout is for all addresses together.
fn tcp(address: &str, timeout: Duration) -> Result<String, String> {
    let until = Instant::now() + timeout;
    // The settings take only addresses with a port.
    let (host, port) = client::host_and_port(address).ok_or_else(|| format!("{address}: has no port"))?;
    let found = resolve(host, port, Family::Any, until)?;
    match os::connect_first(&found, client::STEP, until) {
        Ok(stream) => Ok(stream.peer_addr().map_or_else(|_| "connected".into(), |peer| format!("connected to {peer}"))),
        Err(Some((address, error))) => Err(format!("{address}: {error}")),
        Err(None) => Err(late(timeout)),
    }
}

/// Looks a name up. Only the answers that can have the wanted address are waited for.
fn dns(name: &str, wanted: Option<IpAddr>, until: Instant) -> Result<String, String> {
    let family = wanted.map_or(Family::Any, Family::of);
    let found: Vec<IpAddr> = resolve(name, 0, family, until)?.iter().map(SocketAddr::ip).collect();
    let mut words: Vec<String> = found.iter().map(ToString::to_string).collect();
    words.dedup();
    let words = words.join(", ");
    match wanted {
        Some(wanted) if !found.contains(&wanted) => Err(format!("resolves to {words}, not to {wanted}")),
        Some(_) | None => Ok(format!("resolves to {words}")),
    }
}
