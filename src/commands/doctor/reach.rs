//! The way to the servers that the settings name: names, proxies, connections, TLS, clocks, credentials; and the config that
//! is offered there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{Report, Surroundings};
use crate::http::{
    Client, HttpError, HttpSettings, Method, Reads, Redirects, Request, Response, USER_AGENT, Way, host_and_port,
    parse_url, public,
};
use crate::os;
use crate::run::trial::{self, Workspace};
use crate::settings::{
    CheckTarget, ConfigSettings, ExportTo, Location, PROXY_PASSWORD, ProtocolName, Settings, WayOut,
};
use crate::source::{self, Failure, FailureKind, Offer, Source};
use crate::tell::{otlp, report as reports, webhook};
use otelet_core::examine;
use otelet_core::units::rfc3339;

/// The most of an answer that is read when only the way to a server is looked at, in bytes.
const BEGINNING: u64 = 1024;

/// Why there is no look any more.
const LATE: &str = "the time for looks at the network was up";

/// The time for one name.
const NAME: Duration = Duration::from_secs(10);

/// A server that the settings name.
struct Server {
    url: String,
    /// The URL as it may be printed.
    shown: String,
    host: String,
    way_out: WayOut,
    way: Way,
}

impl Server {
    /// The host whose name is looked up here, and the setting that names it.
    fn resolved(&self) -> (&str, &'static str) {
        match &self.way {
            Way::Proxied(host, _) if self.url.starts_with("https") => (host, "config.https_proxy"),
            Way::Proxied(host, _) => (host, "config.http_proxy"),
            Way::Direct | Way::Bypassed => (&self.host, self.way_out.url),
        }
    }
}

/// Looks at the way, and returns the config that was offered.
pub(super) fn look(settings: &Settings, around: &Surroundings, report: &mut Report) -> Option<Arc<[u8]>> {
    let client = Client::new(&HttpSettings { max_size: BEGINNING, ..settings.config.http() });
    // The settings have no half of a client certificate, the only reason.
    let client = client.ok()?.for_checks();
    let servers = servers(settings, &client, report);
    let missing = look_at_names(settings, &servers, around, report);
    look_at_proxies(&servers, around, report);
    let mut told_time = None;
    let mut unreachable: Vec<&str> = Vec::new();
    for server in &servers {
        let (name, _) = server.resolved();
        if missing.iter().any(|one| one == name) {
            report.skip("connection", &format_args!("{}: the name {name} was not found", server.shown));
            unreachable.push(&server.url);
        } else if let Some(response) = look_at_server(server, &client, &settings.config, around, report) {
            told_time = told_time.or(response.date.map(|date| (server.host.as_str(), date)));
        } else {
            unreachable.push(&server.url);
        }
    }
    let ours = SystemTime::now();
    report.add("clock", examine::clock(ours, told_time, os::right_time().is_some(), os::SET_CLOCK));
    look_at_sources(settings, &unreachable, around, report)
}

fn servers(settings: &Settings, client: &Client, report: &mut Report) -> Vec<Server> {
    let config = &settings.config;
    let mut all: Vec<Server> = Vec::new();
    let mut add = |url: &str, way_out: WayOut| {
        let Ok(uri) = parse_url(url) else { return };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let way = match client.way(url) {
            Ok(way) => way,
            Err(error) => return report.bad("proxy", &way_out.tell(&error)),
        };
        all.push(Server { url: url.to_owned(), shown: public(&uri), host, way_out, way });
    };
    if let Some(Location::Url(url)) = &config.url {
        add(url, WayOut::CONFIG);
    }
    for location in &config.fallback {
        if let Location::Url(url) = location {
            add(url, source::FALLBACK);
        }
    }
    if let Some(url) = &settings.report.url {
        add(url, reports::WAY_OUT);
    }
    if let Some(ExportTo::Url(url)) = &settings.export.to {
        add(&format!("{url}/v1/metrics"), otlp::BY_URL);
    }
    if let Some(url) = &settings.webhook.url {
        add(url, webhook::WAY_OUT);
    }
    all
}

// ---- Names ---------------------------------------------------------------------------------------------------------

/// Returns the names that were not found.
fn look_at_names(settings: &Settings, servers: &[Server], around: &Surroundings, report: &mut Report) -> Vec<String> {
    let mut hosts: Vec<(String, &str)> = Vec::new();
    let mut add = |host: &str, key: &'static str| {
        if !host.is_empty() && !hosts.iter().any(|(known, _)| known == host) {
            hosts.push((host.to_owned(), key));
        }
    };
    for server in servers {
        let (host, key) = server.resolved();
        add(host, key);
    }
    if let Some(address) = settings.docker.socket.as_ref().and_then(|socket| socket.to_str()?.strip_prefix("tcp://")) {
        add(host_and_port(address).map_or("", |(host, _)| host), "docker.socket");
    }
    for check in &settings.checks {
        match &check.target {
            CheckTarget::Http { url, .. } => {
                let uri = parse_url(url).ok();
                let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
                add(host.trim_matches(['[', ']']), "checks");
            }
            CheckTarget::Tcp { address } => {
                add(host_and_port(address).map_or("", |(host, _)| host), "checks");
            }
            CheckTarget::Dns { .. } | CheckTarget::Exec { .. } | CheckTarget::Docker { .. } => {}
        }
    }
    let mut missing = Vec::new();
    let mut mute: Vec<IpAddr> = Vec::new();
    let mut blamed: Vec<String> = Vec::new();
    for (host, key) in &hosts {
        if around.is_late() {
            report.skip("names", &format_args!("{host}: {LATE}"));
            continue;
        }
        let told = os::ask_each(host, &mut mute, Instant::now() + NAME);
        let words: Vec<String> = told.iter().map(|one| format!("{}: {}", one.who, one.words)).collect();
        let is_found = told.iter().any(|one| !one.found.is_empty());
        if is_found {
            report.good("names", &format_args!("{host}: {}", words.join("; ")));
        } else if !told.is_empty() {
            let cure = format!("correct it in {key}, or mend the name servers ({})", os::NAME_SERVERS);
            report.bad("names", &format_args!("{host} does not resolve: {}; {cure}", words.join("; ")));
            missing.push(host.clone());
        } else if !mute.is_empty() && host.parse::<IpAddr>().is_err() {
            report.skip("names", &format_args!("{host}: no name server has answered before"));
            missing.push(host.clone());
        }
        for one in told.iter().filter(|one| is_found && one.found.is_empty()) {
            let who = &one.who;
            if blamed.contains(who) {
                continue;
            }
            let cost = match one.is_mute {
                true => "programs wait for it at each name",
                false => "programs that believe the first answer, as the Collector does, may not find the name",
            };
            report.bad(
                "names",
                &format_args!(
                    "{who} does not know {host} ({}), another does; {cost}: mend it, or remove it from {}",
                    one.words,
                    os::NAME_SERVERS
                ),
            );
            blamed.push(who.clone());
        }
    }
    if hosts.iter().all(|(host, _)| host.parse::<IpAddr>().is_ok()) {
        report.good("names", &format_args!("no server has a name that must be looked up"));
    }
    missing
}

// ---- Proxies and connections ---------------------------------------------------------------------------------------

fn look_at_proxies(servers: &[Server], around: &Surroundings, report: &mut Report) {
    let mut direct = true;
    for Server { shown, way, url, .. } in servers {
        let scheme = if url.starts_with("https") { "https" } else { "http" };
        let key = format!("config.{scheme}_proxy");
        match way {
            Way::Direct => continue,
            Way::Bypassed => {
                let from = around.origin("config.no_proxy");
                report.good(
                    "proxy",
                    &format_args!("{shown}: reached directly: it is on loopback or in config.no_proxy ({from})"),
                );
            }
            Way::Proxied(host, port) => {
                report
                    .good("proxy", &format_args!("{shown}: by {host}:{port}, as {key} says ({})", around.origin(&key)));
            }
        }
        direct = false;
    }
    if direct && !servers.is_empty() {
        report.good("proxy", &format_args!("none is set: all servers are reached directly"));
    }
}

/// Asks a server for anything, without credentials. Returns its answer.
fn look_at_server(
    server: &Server,
    client: &Client,
    config: &ConfigSettings,
    around: &Surroundings,
    report: &mut Report,
) -> Option<Response> {
    let Server { url, shown, way_out, way, .. } = server;
    if around.is_late() {
        report.skip("connection", &format_args!("{shown}: {LATE}"));
        return None;
    }
    let answer = client.send(&Request {
        method: Method::Get,
        url: url.clone(),
        headers: vec![("User-Agent".to_owned(), USER_AGENT.to_owned())],
        body: Vec::new(),
        reads: Reads::Beginning,
        redirects: Redirects::Same,
    });
    let is_tls = url.starts_with("https");
    let error = match answer {
        Ok(answer) => {
            report.good("connection", &format_args!("{shown} answers ({})", answer.status));
            if is_tls {
                let by = match &config.ca_file {
                    Some(path) => format!("a CA in config.ca_file {}", path.display()),
                    None => "a public CA".to_owned(),
                };
                let until = client.certificate_until();
                let until = until.map_or(String::new(), |until| format!(", until {}", rfc3339(until)));
                report.good("TLS", &format_args!("{shown}: its certificate is for this name, by {by}{until}"));
            }
            match answer.status {
                407 => report.bad("proxy", &format_args!("{shown}: answered 407{PROXY_PASSWORD}")),
                511 => {
                    report.bad("connection", &format_args!("{shown}: answered 511; this network wants a login first"))
                }
                _ => return Some(answer),
            }
            return None;
        }
        Err(error) => error,
    };
    let told = way_out.tell(&error);
    match error.kind() {
        FailureKind::Resolve | FailureKind::Connect | FailureKind::Timeout => {
            let Way::Proxied(host, port) = way else {
                let cure = format!("start the server, open the firewalls on the way, or correct {}", way_out.url);
                report.bad("connection", &format_args!("{told}; {cure}"));
                if is_tls {
                    report.skip("TLS", &format_args!("{shown}: there was no connection"));
                }
                return None;
            };
            let (_, key) = server.resolved();
            let cure = if matches!(error, HttpError::ProxyPassword { .. }) {
                String::new()
            } else {
                let origin = around.origin(key);
                format!(
                    "; start the proxy {host}:{port}, correct {key} ({origin}), or name {} in config.no_proxy",
                    server.host
                )
            };
            report.bad("proxy", &format_args!("{told}{cure}"));
            report.skip("connection", &format_args!("{shown}: the proxy did not let it through"));
        }
        FailureKind::Tls | FailureKind::Settings => report.bad("TLS", &told),
        _ => report.bad(if matches!(way, Way::Proxied(..)) { "proxy" } else { "connection" }, &told),
    }
    None
}

// ---- Sources -------------------------------------------------------------------------------------------------------

/// Asks each source once, and returns the first config.
fn look_at_sources(
    settings: &Settings,
    unreachable: &[&str],
    around: &Surroundings,
    report: &mut Report,
) -> Option<Arc<[u8]>> {
    let protocol = settings.config.protocol;
    let unasked = match protocol {
        ProtocolName::KloudMate => Some("KloudMate's service is not asked, since it announces a config only once"),
        ProtocolName::OpAmp if around.agent.is_some() => {
            Some("the agent that runs speaks with it; `otelet status` shows its last exchange")
        }
        ProtocolName::OpAmp | ProtocolName::Get => None,
    };
    let workspace = Workspace::new();
    let config = &settings.config;
    let source = match Source::new(config, &workspace.0) {
        Ok(source) => source,
        Err(failure) => {
            report.bad("source", &failure.message);
            return None;
        }
    };
    let (learned, ..) = trial::prepare(settings, &source);
    let mut body = None;
    for (index, shown) in source::locations(config).iter().enumerate() {
        let location = match index {
            0 => config.url.as_ref(),
            index => config.fallback.get(index - 1),
        };
        let is_server = matches!(location, Some(Location::Url(_)));
        if let Some(why) = unasked.filter(|_| index == 0) {
            report.skip("source", &format_args!("{shown}: {why}"));
            continue;
        }
        let is_lost = matches!(location, Some(Location::Url(url)) if unreachable.contains(&url.as_str()));
        if is_lost || around.is_late() {
            let why = if is_lost { "nothing there answers" } else { LATE };
            report.skip("source", &format_args!("{shown}: {why}"));
            continue;
        }
        let answer = source.exchange(index, &learned, false);
        if is_server && index == 0 {
            look_at_credentials(config, shown, &answer, report);
        }
        match answer {
            Ok((answer, _)) => match answer.offer {
                Offer::Config { body: offered } => {
                    if let Err(refusal) = otelet_config::inspect(&offered) {
                        report.bad("config", &refusal_of(shown, &refusal.to_string()));
                        continue;
                    }
                    let hash = otelet_config::hash(&offered);
                    let signed = if config.public_key.is_some() { ", with a valid signature" } else { "" };
                    report.good(
                        "source",
                        &format_args!("{shown}: offers config {hash}, {} bytes{signed}", offered.len()),
                    );
                    body = body.or(Some(offered));
                }
                Offer::Empty | Offer::Unchanged if protocol == ProtocolName::OpAmp => {
                    report.good("source", &format_args!("{shown}: offers no config now"));
                }
                Offer::Empty | Offer::Unchanged => {
                    report.bad("source", &format_args!("{shown}: offers an empty config; put one there"));
                }
            },
            Err(failure) if is_denied(&failure) || failure.kind == FailureKind::Settings => {
                report.skip("source", &format_args!("{shown}: see the token"));
            }
            Err(failure) => {
                let topic = if failure.kind == FailureKind::Signature { "signature" } else { "source" };
                report.bad(topic, &failure.message);
            }
        }
    }
    body
}

fn refusal_of(shown: &str, refusal: &str) -> String {
    // Some of them have the cure.
    let cure = if refusal.contains("; ") { "" } else { "; mend it there" };
    format!("{shown}: {refusal}{cure}")
}

/// Whether a server has refused the credentials.
fn is_denied(failure: &Failure) -> bool {
    let answered = |status: &str| failure.message.contains(status);
    failure.kind == FailureKind::Status && (answered("answered 401") || answered("answered 403"))
}

fn look_at_credentials<T>(config: &ConfigSettings, shown: &str, answer: &Result<T, Failure>, report: &mut Report) {
    let own = config.headers.iter().map(|(name, _)| name);
    let set = match &config.bearer_token_file {
        Some(path) => Some(format!("the token in config.bearer_token_file {}", path.display())),
        None if config.headers.is_empty() => None,
        None => Some(format!("config.headers ({})", own.cloned().collect::<Vec<_>>().join(", "))),
    };
    match (answer, set) {
        (Err(failure), _) if is_denied(failure) || failure.kind == FailureKind::Settings => {
            report.bad("token", &failure.message);
        }
        (Err(_), Some(_)) => {
            report.skip("token", &format_args!("{shown}: no config came, which would show that it is taken"))
        }
        (Err(_), None) => {}
        (Ok(_), Some(set)) => report.good("token", &format_args!("{shown} takes {set}")),
        (Ok(_), None) => report.good("token", &format_args!("none is set, and {shown} asks for none")),
    }
}
