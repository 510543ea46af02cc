//! The sections of what the agent sees and whom it tells: host, export, checks, alerts, webhook, docker.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{Node, item, join};
use super::said::Said;
use super::way_out::{bad_url, credentials};
use super::{Secret, SettingsError};
use crate::decide::{AlertSettings, AlertSeverity, CheckKind, CheckPlan, Threshold};
use crate::{cli, http, telemetry};

/// The section `host`.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSettings {
    /// Where the host's root is mounted. `/` unless the agent is in a container.
    pub root: PathBuf,
    /// The most time between two samples.
    pub sample_every: Duration,
}

/// The section `export`: metrics and events by OTLP/HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportSettings {
    /// Where to. None: nowhere.
    pub to: Option<ExportTo>,
    /// Which metrics.
    pub metrics: ExportMetrics,
    /// Time between exports.
    pub every: Duration,
    /// The most that is kept while nobody takes it, in bytes.
    pub buffer: u64,
    /// Headers for each.
    pub headers: Vec<(String, Secret)>,
}

/// Where exports go.
#[derive(Debug, Clone, PartialEq)]
pub enum ExportTo {
    /// To the OTLP receiver of the collector that is looked after.
    Collector,
    /// To an endpoint without `/v1/metrics` and `/v1/logs`, and without a slash at its end.
    Url(String),
}

/// Which metrics are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportMetrics {
    /// All that are known.
    All,
    /// Those of the agent and the collector.
    Agent,
    /// None: events only.
    None,
}

/// One of `checks`.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct CheckSettings {
    /// Unlike that of any other check.
    pub name: String,
    /// What is looked at.
    pub target: CheckTarget,
    /// Time between two checks.
    pub every: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum CheckTarget {
    /// A GET.
    Http {
        /// `http://` or `https://`.
        url: String,
        /// The status codes that are good.
        status: Vec<RangeInclusive<u16>>,
        /// A text that the body must hold.
        body: Option<String>,
        /// Headers to send.
        headers: Vec<(String, Secret)>,
    },
    /// A connection.
    Tcp {
        /// `host:port`, an IPv6 address in brackets.
        address: String,
    },
    /// A look-up of a name.
    Dns {
        /// The name.
        name: String,
        /// What must be among the answers.
        address: Option<IpAddr>,
    },
    /// A program, which is good if it ends with 0. Its arguments may be secrets.
    Exec {
        /// The program and its arguments; never empty.
        command: Vec<Secret>,
    },
}

impl CheckTarget {
    /// Which kind of check this is.
    pub fn kind(&self) -> CheckKind {
        match self {
            Self::Http { .. } => CheckKind::Http,
            Self::Tcp { .. } => CheckKind::Tcp,
            Self::Dns { .. } => CheckKind::Dns,
            Self::Exec { .. } => CheckKind::Exec,
        }
    }
}

impl CheckSettings {
    /// The part that decisions depend on.
    pub fn plan(&self) -> CheckPlan {
        // Two hashers that are made like this give the same hash in one process.
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

/// The section `webhook`.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// Where alerts are sent. None: nowhere.
    pub url: Option<String>,
    /// Time between repetitions.
    pub every: Duration,
    /// Headers for each.
    pub headers: Vec<(String, Secret)>,
}

/// The section `docker`.
#[derive(Debug, Clone, PartialEq)]
pub struct DockerSettings {
    /// The engine's socket. None: no engine is watched.
    pub socket: Option<PathBuf>,
    /// The most time between two looks at the usage; zero is never.
    pub usage_every: Duration,
}

impl Said<'_> {
    pub(super) fn host(&self) -> Result<HostSettings, SettingsError> {
        Ok(HostSettings {
            root: self.path("host.root")?.unwrap_or_else(|| PathBuf::from("/")),
            sample_every: self.time("host.sample_every")?,
        })
    }

    pub(super) fn export(&self) -> Result<ExportSettings, SettingsError> {
        Ok(ExportSettings {
            to: self.optional("export.to", |text| match text {
                "collector" => Ok(ExportTo::Collector),
                url => endpoint(url).map(ExportTo::Url),
            })?,
            metrics: match self.choice("export.metrics")?.as_str() {
                "agent" => ExportMetrics::Agent,
                "none" => ExportMetrics::None,
                _ => ExportMetrics::All,
            },
            every: self.time("export.every")?,
            buffer: self.size("export.buffer")?,
            headers: self.headers("export.headers")?,
        })
    }

    pub(super) fn webhook(&self) -> Result<WebhookSettings, SettingsError> {
        Ok(WebhookSettings {
            url: self.optional("webhook.url", |text| url("webhook.url", text))?,
            every: self.time("webhook.every")?,
            headers: self.headers("webhook.headers")?,
        })
    }

    pub(super) fn docker(&self) -> Result<DockerSettings, SettingsError> {
        Ok(DockerSettings { socket: self.path("docker.socket")?, usage_every: self.time("docker.usage_every")? })
    }

    pub(super) fn checks(&self) -> Result<Vec<CheckSettings>, SettingsError> {
        let mut checks: Vec<CheckSettings> = Vec::new();
        for key in self.maps("checks") {
            let check = self.check(&key)?;
            if checks.iter().any(|known| known.name == check.name) {
                let problem = "another check has this name; give it a name of its own".to_owned();
                return Err(self.error_of(&key, problem));
            }
            checks.push(check);
        }
        Ok(checks)
    }

    fn check(&self, key: &str) -> Result<CheckSettings, SettingsError> {
        const KINDS: [&str; 4] = ["http", "tcp", "dns", "exec"];
        let said: Vec<&str> = KINDS.into_iter().filter(|kind| self.file.get(&join(key, kind)).is_some()).collect();
        let [kind] = said[..] else {
            return Err(
                self.error_of(key, format!("a check has one of {}; this one has {}", KINDS.join(", "), said.len()))
            );
        };
        for (column, only) in [("status", "http"), ("body", "http"), ("headers", "http"), ("address", "dns")] {
            if kind != only && self.file.get(&join(key, column)).is_some() {
                return Err(self.error_of(&join(key, column), format!("goes with {only} only")));
            }
        }
        let text = |column: &str, parse: &dyn Fn(&str) -> Result<String, String>| {
            let at = join(key, column);
            self.optional(&at, parse)?.ok_or_else(|| self.error_of(&at, "is empty".to_owned()))
        };
        let target = match kind {
            "http" => CheckTarget::Http {
                url: text("http", &|text| url(&join(key, "http"), text))?,
                status: self.required(&join(key, "status"), codes)?,
                body: self.optional(&join(key, "body"), |text| Ok(text.to_owned()))?,
                headers: self.headers(&join(key, "headers"))?,
            },
            "tcp" => CheckTarget::Tcp { address: text("tcp", &host_and_port)? },
            "dns" => CheckTarget::Dns {
                name: text("dns", &|text| Ok(text.to_owned()))?,
                address: self.optional(&join(key, "address"), |text| {
                    text.parse().map_err(|_| "not an IPv4 or IPv6 address".to_owned())
                })?,
            },
            _ => CheckTarget::Exec { command: self.command(&join(key, "exec"))? },
        };
        let called = match &target {
            // A query may hold a token.
            CheckTarget::Http { url, .. } => url.split('?').next().unwrap_or_default().to_owned(),
            CheckTarget::Tcp { address } => address.clone(),
            CheckTarget::Dns { name, .. } => name.clone(),
            CheckTarget::Exec { command } => command[0].expose().to_owned(),
        };
        Ok(CheckSettings {
            name: self.optional(&join(key, "name"), |text| Ok(text.to_owned()))?.unwrap_or(called),
            target,
            every: self.time(&join(key, "every"))?,
            timeout: self.time(&join(key, "timeout"))?,
        })
    }

    fn command(&self, key: &str) -> Result<Vec<Secret>, SettingsError> {
        let Some(Node::List(items)) = self.file.get(key) else { return Ok(Vec::new()) };
        let raws = items.iter().enumerate().map(|(number, text)| self.expand(item(key, number), text));
        let command: Vec<Secret> = raws.map(|raw| Ok(raw?.text.into())).collect::<Result<_, SettingsError>>()?;
        match command.first().map(|program: &Secret| program.expose()) {
            None | Some("") => Err(self.error_of(key, "names no program".to_owned())),
            Some(program) if !program.starts_with('/') && program.contains('/') => {
                Err(self.error_of(key, "the program is a relative path; give an absolute one".to_owned()))
            }
            Some(_) if command.iter().any(|part| part.expose().contains('\0')) => {
                Err(self.error_of(key, "holds a NUL character".to_owned()))
            }
            Some(_) => Ok(command),
        }
    }

    pub(super) fn alerts(&self) -> Result<Vec<AlertSettings>, SettingsError> {
        let mut alerts: Vec<AlertSettings> = Vec::new();
        for key in self.maps("alerts") {
            let alert = self.alert(&key)?;
            if alerts.iter().any(|known| known.name == alert.name) {
                return Err(self.error_of(&join(&key, "name"), "another alert has this name".to_owned()));
            }
            alerts.push(alert);
        }
        Ok(alerts)
    }

    fn alert(&self, key: &str) -> Result<AlertSettings, SettingsError> {
        let needed = |column: &str| {
            let said = self.optional(&join(key, column), |text| Ok(text.to_owned()))?;
            said.ok_or_else(|| self.error_of(key, format!("an alert needs {column}")))
        };
        let number = |column: &str| {
            self.optional(&join(key, column), |text| match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                Ok(_) | Err(_) => Err("not a number".to_owned()),
            })
        };
        let (name, metric) = (needed("name")?, needed("metric")?);
        self.know_metric(&join(key, "metric"), &metric)?;
        let threshold = match (number("above")?, number("below")?) {
            (Some(value), None) => Threshold::Above(value),
            (None, Some(value)) => Threshold::Below(value),
            (None, None) | (Some(_), Some(_)) => {
                return Err(self.error_of(key, "an alert has one of above, below".to_owned()));
            }
        };
        let resolve_at = number("resolve_at")?;
        match (threshold, resolve_at) {
            (Threshold::Above(above), Some(good)) if good > above => {
                return Err(self.error_of(&join(key, "resolve_at"), format!("is above {above}, where it is bad")));
            }
            (Threshold::Below(below), Some(good)) if good < below => {
                return Err(self.error_of(&join(key, "resolve_at"), format!("is below {below}, where it is bad")));
            }
            _ => {}
        }
        let (Threshold::Above(bad) | Threshold::Below(bad)) = threshold;
        Ok(AlertSettings {
            name,
            metric,
            conditions: self.attributes(&join(key, "where"))?,
            rate: self.choice(&join(key, "rate"))? == "true",
            threshold,
            resolve_at: resolve_at.unwrap_or(bad),
            lasting: self.time(&join(key, "for"))?,
            severity: AlertSeverity::from_word(&self.choice(&join(key, "severity"))?)
                .expect("the row lists these words"),
            summary: self.optional(&join(key, "summary"), |text| Ok(text.to_owned()))?,
            labels: self.labels(&join(key, "labels"))?,
        })
    }

    /// A mistake in a name would be an alert that never fires.
    fn know_metric(&self, key: &str, name: &str) -> Result<(), SettingsError> {
        if telemetry::metrics().any(|metric| metric.name == name) {
            return Ok(());
        }
        let way_out = match cli::nearest(name, telemetry::metrics().map(|metric| metric.name)) {
            Some(near) => format!("did you mean {near}?"),
            None => "docs/metrics.md lists what is measured".to_owned(),
        };
        Err(self.error_of(key, format!("unknown metric {:?}; {way_out}", cli::clip(name))))
    }

    fn labels(&self, key: &str) -> Result<Vec<(String, String)>, SettingsError> {
        let labels = self.attributes(key)?;
        for (name, _) in &labels {
            if name == "alertname" {
                return Err(self.error_of(&join(key, name), "is the name of the alert; leave it out".to_owned()));
            }
            let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(valid) {
                let problem = "not the name of a label; use letters, digits and _, and no digit first";
                return Err(self.error_of(&join(key, name), problem.to_owned()));
            }
        }
        Ok(labels)
    }

    /// The keys of the maps in a list.
    fn maps(&self, key: &str) -> Vec<String> {
        match self.file.get(key) {
            Some(Node::Maps(number)) => (0..*number).map(|number| item(key, number)).collect(),
            Some(Node::Text(_) | Node::List(_) | Node::Map(_)) | None => Vec::new(),
        }
    }

    /// An error about something that the settings file says.
    fn error_of(&self, key: &str, problem: String) -> SettingsError {
        super::error(self.file.place(key), problem)
    }
}

fn url(key: &str, text: &str) -> Result<String, String> {
    http::parse_url(text).map(|_| text.to_owned()).map_err(|error| bad_url(&error, &credentials(key)))
}

fn endpoint(text: &str) -> Result<String, String> {
    let url = url("export.to", text)?;
    if url.contains('?') {
        return Err("a query cannot stand before /v1/metrics; use export.headers".to_owned());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn host_and_port(text: &str) -> Result<String, String> {
    let host = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    match host {
        Some((host, _)) if host.starts_with('[') == host.ends_with(']') && !host.is_empty() => {
            if !host.starts_with('[') && host.contains(':') {
                return Err("put an IPv6 address in brackets: [::1]:80".to_owned());
            }
            Ok(text.to_owned())
        }
        Some(_) | None => Err("write host:port".to_owned()),
    }
}

/// `200,204,300-399`
fn codes(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let code = |text: &str| match text.trim().parse::<u16>() {
        Ok(code) if (100..=599).contains(&code) => Ok(code),
        Ok(_) | Err(_) => Err("status codes are 100 to 599".to_owned()),
    };
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => match (code(first)?, code(last)?) {
            (first, last) if first <= last => Ok(first..=last),
            _ => Err("a range goes from the smaller to the larger".to_owned()),
        },
        None => code(part).map(|code| code..=code),
    };
    text.split(',').map(range).collect()
}
