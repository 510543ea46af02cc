//! The list `checks`: synthetic checks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use otelet_core::decide::{CheckKind, CheckPlan};

use crate::http::{self, Fingerprint};
use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::location::url;
use crate::settings::node::join;
use crate::settings::schema::ValueKind::{List, Map, Text, Time};
use crate::settings::schema::{CODES, Row, column, hours, ms, secs};
use crate::settings::secret::Secret;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    column("checks[].name", Text("NAME"), "", "The name of the check. Without it: the name of its target."),
    column("checks[].http", Text("URL"), "", "Request this URL with GET."),
    column("checks[].status", Text(CODES), "200-399", "With http: the status codes that are good, such as 200,204,300-399 or 2xx."),
    column("checks[].body", Text("TEXT"), "", "With http: a text that the first 64 KiB of the body must contain."),
    column("checks[].headers", Map, "", "With http: headers to send, by name."),
    column("checks[].ca_file", Text("PATH"), "", "With http: certificate authorities to trust, or the server's own certificate, in PEM. Without it: config.ca_file."),
    column("checks[].fingerprint", Text("SHA-256 such as AB:CD:..."), "", "With http: the SHA-256 of the only certificate that is accepted, whatever name, dates and CA it has."),
    column("checks[].tcp", Text("HOST:PORT"), "", "Connect to this address."),
    column("checks[].dns", Text("NAME"), "", "Resolve this name with the resolver of this host."),
    column("checks[].address", Text("IP"), "", "With dns: an address that must be among the answers."),
    column("checks[].exec", List, "", "Run this program with these arguments, without a shell. Exit status 0 is good."),
    column("checks[].docker", Text("CONTAINER"), "", "The container of this name, at the engine of docker.socket, must run, and be healthy if it has a health check."),
    column("checks[].every", Time(secs(1), hours(24)), "30s", "Time between checks, plus or minus a tenth."),
    column("checks[].timeout", Time(ms(100), secs(300)), "5s", "A check that takes longer has failed."),
];

#[derive(Debug, Clone, PartialEq, Hash)]
pub struct CheckSettings {
    /// No other check has the same name.
    pub name: String,
    pub target: CheckTarget,
    pub every: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
}

/// The target of a check.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum CheckTarget {
    Http {
        url: String,
        /// The status codes that are good.
        status: Vec<RangeInclusive<u16>>,
        /// A text that the body must contain.
        body: Option<String>,
        headers: Vec<(String, Secret)>,
        trust: CheckTrust,
    },
    Tcp {
        /// `host:port`, an IPv6 address in brackets.
        address: String,
    },
    /// A look-up of a name.
    Dns {
        name: String,
        /// An address that must be among the answers.
        address: Option<IpAddr>,
    },
    /// A program. Exit status 0 is good. Its arguments may be secrets.
    Exec {
        /// The program and its arguments; never empty.
        command: Vec<Secret>,
    },
    /// A container that must run.
    Docker {
        container: String,
        /// The engine, as in `docker.socket`.
        socket: PathBuf,
    },
}

/// Which certificate of the server is trusted.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
pub struct CheckTrust {
    /// Instead of `config.ca_file`.
    pub ca_file: Option<PathBuf>,
    /// The only certificate that is accepted.
    pub fingerprint: Option<Fingerprint>,
}

impl CheckTarget {
    /// Returns the kind of the check.
    pub fn kind(&self) -> CheckKind {
        match self {
            Self::Http { .. } => CheckKind::Http,
            Self::Tcp { .. } => CheckKind::Tcp,
            Self::Dns { .. } => CheckKind::Dns,
            Self::Exec { .. } => CheckKind::Exec,
            Self::Docker { .. } => CheckKind::Docker,
        }
    }
}

impl CheckSettings {
    /// The part that decisions depend on.
    pub fn plan(&self) -> CheckPlan {
        // Within one process, two of these hashers compute the same hash.
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        CheckPlan {
            name: self.name.clone(),
            kind: self.target.kind(),
            every: self.every,
            timeout: self.timeout,
            fingerprint: hasher.finish(),
        }
    }
}

/// Reads the checks. No two have the same name.
pub(crate) fn read(layers: &Layers, engine: Option<&Path>) -> Result<Vec<CheckSettings>, SettingsError> {
    let mut checks: Vec<CheckSettings> = Vec::new();
    for key in layers.maps("checks") {
        let check = check(layers, &key, engine)?;
        if checks.iter().any(|known| known.name == check.name) {
            let problem = "another check has this name; give it a name of its own".to_owned();
            return Err(layers.error_of(&key, problem));
        }
        checks.push(check);
    }
    Ok(checks)
}

fn check(layers: &Layers, key: &str, engine: Option<&Path>) -> Result<CheckSettings, SettingsError> {
    const KINDS: [CheckKind; 5] = [CheckKind::Http, CheckKind::Tcp, CheckKind::Dns, CheckKind::Exec, CheckKind::Docker];
    let has = |column: &str| layers.file.get(&join(key, column)).is_some();
    let there: Vec<CheckKind> = KINDS.into_iter().filter(|kind| has(kind.word())).collect();
    let [kind] = there[..] else {
        let words = KINDS.map(CheckKind::word).join(", ");
        return Err(layers.error_of(key, format!("a check needs exactly one of {words}; this one has {}", there.len())));
    };
    let http = ["status", "body", "headers", "ca_file", "fingerprint"].map(|column| (column, CheckKind::Http));
    for (column, only) in http.into_iter().chain([("address", CheckKind::Dns)]) {
        if kind != only && has(column) {
            return Err(layers.error_of(&join(key, column), format!("goes with {} only", only.word())));
        }
    }
    let text = |column: &str, parse: &dyn Fn(&str) -> Result<String, String>| {
        let at = join(key, column);
        layers.optional(&at, parse)?.ok_or_else(|| layers.error_of(&at, "is empty".to_owned()))
    };
    let target = match kind {
        CheckKind::Http => CheckTarget::Http {
            url: text("http", &|text| {
                let url = url(&join(key, "http"), text)?;
                match has("fingerprint") && !url.get(..8).is_some_and(|it| it.eq_ignore_ascii_case("https://")) {
                    true => Err("a fingerprint needs https://: over http:// no certificate is shown".to_owned()),
                    false => Ok(url),
                }
            })?,
            status: layers.required(&join(key, "status"), codes)?,
            body: layers.optional(&join(key, "body"), |text| Ok(text.to_owned()))?,
            headers: layers.headers(&join(key, "headers"))?,
            trust: trust(layers, key)?,
        },
        CheckKind::Tcp => CheckTarget::Tcp { address: text("tcp", &tcp)? },
        CheckKind::Dns => CheckTarget::Dns {
            name: text("dns", &name)?,
            address: layers.optional(&join(key, "address"), |text| {
                text.parse().map_err(|_| "not an IPv4 or IPv6 address".to_owned())
            })?,
        },
        CheckKind::Exec => CheckTarget::Exec { command: command(layers, &join(key, "exec"))? },
        CheckKind::Docker => CheckTarget::Docker {
            container: text("docker", &container)?,
            socket: engine
                .ok_or_else(|| layers.error_of(&join(key, "docker"), "needs docker.socket as well".to_owned()))?
                .to_owned(),
        },
    };
    let called = match &target {
        // A query may hold a token.
        CheckTarget::Http { url, .. } => http::public_text(url.split('?').next().unwrap_or_default()),
        CheckTarget::Tcp { address } => address.clone(),
        CheckTarget::Dns { name, .. } => name.clone(),
        CheckTarget::Exec { command } => command[0].expose().to_owned(),
        CheckTarget::Docker { container, .. } => container.clone(),
    };
    Ok(CheckSettings {
        name: layers.optional(&join(key, "name"), |text| Ok(text.to_owned()))?.unwrap_or(called),
        target,
        every: layers.time(&join(key, "every"))?,
        timeout: layers.time(&join(key, "timeout"))?,
    })
}

fn trust(layers: &Layers, key: &str) -> Result<CheckTrust, SettingsError> {
    let trust = CheckTrust {
        ca_file: layers.path(&join(key, "ca_file"))?,
        fingerprint: layers.optional(&join(key, "fingerprint"), fingerprint)?,
    };
    if trust.ca_file.is_some() && trust.fingerprint.is_some() {
        let problem = "with a fingerprint no CA is asked; keep one of ca_file and fingerprint".to_owned();
        return Err(layers.error_of(&join(key, "fingerprint"), problem));
    }
    Ok(trust)
}

/// Reads a SHA-256 as openssl, browsers and curl print it.
fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    const COMMAND: &str = "openssl x509 -noout -fingerprint -sha256 -in CERTIFICATE prints it";
    // `sha256 Fingerprint=AB:CD`
    let text = text.rsplit('=').next().unwrap_or_default();
    let between = |c: &char| [':', ' ', '-'].contains(c);
    let all = text.chars().all(|c| c.is_ascii_hexdigit() || between(&c));
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    match (all, digits.len()) {
        (true, 64) => {
            let mut bytes = [0; 32];
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = (pair[0] * 16 + pair[1]) as u8;
            }
            Ok(bytes)
        }
        (true, 40) => Err(format!("this is a SHA-1; {COMMAND}")),
        _ => Err(format!("not 64 hexadecimal digits; {COMMAND}")),
    }
}

fn command(layers: &Layers, key: &str) -> Result<Vec<Secret>, SettingsError> {
    let command: Vec<Secret> =
        layers.list(key).map(|raw| Ok(raw?.text.into())).collect::<Result<_, SettingsError>>()?;
    match command.first().map(|program: &Secret| program.expose()) {
        None | Some("") => Err(layers.error_of(key, "names no program".to_owned())),
        Some(program) if !program.starts_with('/') && program.contains('/') => {
            Err(layers.error_of(key, "the program is a relative path; give an absolute one".to_owned()))
        }
        Some(_) if command.iter().any(|part| part.expose().contains('\0')) => {
            Err(layers.error_of(key, "holds a NUL character".to_owned()))
        }
        Some(_) => Ok(command),
    }
}

/// Reads the address of a check, with or without `tcp://`.
fn tcp(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tcp") => host_and_port(rest.trim_end_matches('/')),
        Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("http") => {
            Err("write host:port, or use http instead of tcp to request the URL".to_owned())
        }
        Some(_) => Err("write host:port".to_owned()),
        None => host_and_port(text),
    }
}

/// Reads the name of a look-up.
fn name(text: &str) -> Result<String, String> {
    if text.contains("://") || text.contains(['/', ' ']) {
        return Err("write the name alone, without a scheme, a path or spaces".to_owned());
    }
    match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("a name is looked up without a port; write {name}, or use tcp to connect to the port"))
        }
        Some(_) | None => Ok(text.to_owned()),
    }
}

pub(crate) fn host_and_port(text: &str) -> Result<String, String> {
    let host = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    match host {
        Some((host, _)) if host.starts_with('[') == host.ends_with(']') && !host.is_empty() => {
            if !host.starts_with('[') && host.contains(':') {
                return Err("put an IPv6 address in brackets: [::1]:80".to_owned());
            }
            Ok(text.to_owned())
        }
        Some(_) | None => Err("write host:port, such as 10.0.0.5:443 or db.example:5432".to_owned()),
    }
}

/// Reads the name of a container.
fn container(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('/').unwrap_or(text);
    match name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) && !name.is_empty() {
        true => Ok(name.to_owned()),
        false => Err("write the name of the container alone, as docker ps shows it".to_owned()),
    }
}

/// Reads status codes, ranges and classes, such as `200,204,300-399,4xx`.
fn codes(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let code = |text: &str| match text.trim().parse::<u16>() {
        Ok(code) if (100..=599).contains(&code) => Ok(code),
        Ok(_) | Err(_) => Err("status codes are 100 to 599".to_owned()),
    };
    let range = |part: &str| match part.split_once('-') {
        None if part.to_ascii_lowercase().trim().ends_with("xx") => {
            let first = code(&part.to_ascii_lowercase().replace("xx", "00"))?;
            Ok(first..=first + 99)
        }
        Some((first, last)) => match (code(first)?, code(last)?) {
            (first, last) if first <= last => Ok(first..=last),
            _ => Err("write the smaller end of a range first".to_owned()),
        },
        None => code(part).map(|code| code..=code),
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::{loaded, refused};

    #[test]
    fn status_codes_are_codes_ranges_and_classes() {
        let read = |status: &str| {
            let settings = loaded(&format!("checks:\n- http: http://a\n  status: {status}\n"));
            let CheckTarget::Http { status, .. } = &settings.checks[0].target else { panic!("an http check") };
            status.clone()
        };
        for text in ["200,204", "'200, 204'"] {
            assert_eq!(read(text), [200..=200, 204..=204], "{text}");
        }
        for text in ["2xx,401", "2XX,401", "200-299,401", "' 2xx , 401 '"] {
            assert_eq!(read(text), [200..=299, 401..=401], "{text}");
        }
        assert_eq!(read("204"), [204..=204]);
        let refused = |status: &str| refused(&format!("checks:\n- http: http://a\n  status: {status}\n"));
        for (status, words) in [
            ("200,99", "found \"200,99\": status codes are 100 to 599"),
            ("[200, 204]", "found a list"),
            ("6xx", "found \"6xx\": status codes are 100 to 599"),
            ("{ok: 200}", "found a map"),
            ("200 204", "found \"200 204\": status codes are 100 to 599"),
        ] {
            let why = refused(status);
            assert!(
                why.starts_with("FILE:3:")
                    && why.contains("checks[0].status: expected CODES such as 200,204")
                    && why.contains(words),
                "{why}"
            );
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let colons = "AB:".repeat(31) + "ab";
        for text in [colons.clone(), format!("sha256 Fingerprint={colons}"), "ab".repeat(32), "AB ".repeat(32)] {
            assert_eq!(fingerprint(&text), Ok([0xab; 32]), "{text}");
        }
        for (text, words) in [
            ("ab".repeat(20), "this is a SHA-1; openssl x509 -noout -fingerprint -sha256"),
            ("ab".repeat(31), "not 64 hexadecimal digits"),
            ("xy".repeat(32), "not 64 hexadecimal digits"),
        ] {
            let why = fingerprint(&text).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        assert_eq!(
            refused(&format!("checks: [{{http: 'https://a', ca_file: /a, fingerprint: '{}'}}]", "ab".repeat(32))),
            "FILE:1:56: checks[0].fingerprint: with a fingerprint no CA is asked; keep one of ca_file and fingerprint"
        );
        assert_eq!(
            refused(&format!("checks: [{{http: 'http://a', fingerprint: '{}'}}]", "ab".repeat(32))),
            "FILE:1:17: checks[0].http: expected URL, found \"http://a\": a fingerprint needs https://: over http:// no \
             certificate is shown"
        );
        assert_eq!(refused("checks: [{tcp: 'a:1', ca_file: /a}]"), "FILE:1:32: checks[0].ca_file: goes with http only");
    }
}
