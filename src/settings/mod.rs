//! The settings: flags, environment, settings file and defaults in, [`Settings`] out, or an error that says where.
//!
//! The rooms: `file` and `walk` read the settings file along [`cli::ROWS`], so a new row needs one line here, in
//! [`load`]; `said` finds the strongest value for a setting and judges it; `observe` has the sections of what the
//! agent sees and tells; `expand` and `location` read what stands in a value;
//! `explain` says who said what; `given` puts what an installer was given into the file. A value that a stronger place overrides is never looked at, beyond its key and shape. Nothing here reads the
//! process or the disk by itself: [`World`] does.

mod expand;
mod explain;
mod file;
pub mod given;
mod kloudmate;
mod location;
mod observe;
mod said;
mod secret;
#[cfg(test)]
mod tests;
mod walk;
mod way_out;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::cli::{self, Invocation, Row};
use crate::decide::AlertSettings;
use crate::os;
pub use crate::os::Environment;
pub use explain::{Explained, explain, secrets_said};
use file::File;
pub use kloudmate::{Adopted, KLOUDMATE_ROWS, KloudMateRow, Own, adopt, kloudmate_help, kloudmate_row};
pub use observe::{
    CheckSettings, CheckTarget, DockerSettings, ExportMetrics, ExportSettings, ExportTo, HostSettings, WebhookSettings,
};
use said::{Said, size_of, user_and_group};
pub use secret::Secret;
pub use way_out::{PROXY_PASSWORD, Target, WayOut};

/// The collector that is looked up when no other is named.
pub const DEFAULT_COLLECTOR: &str = "otelcol-contrib";

/// Where a Docker engine usually listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The most bytes that a settings file, or a file named in `${file:}`, may have.
const MOST: usize = 1 << 20;

/// What the agent was told, checked. Two of them are equal if a reload changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where configs come from, and how.
    pub config: ConfigSettings,
    /// The collector and its surroundings.
    pub collector: CollectorSettings,
    /// Plain reports.
    pub report: ReportSettings,
    /// The host, and how often it is sampled.
    pub host: HostSettings,
    /// Metrics and events by OTLP.
    pub export: ExportSettings,
    /// Synthetic checks.
    pub checks: Vec<CheckSettings>,
    /// Thresholds.
    pub alerts: Vec<AlertSettings>,
    /// Where alerts are sent.
    pub webhook: WebhookSettings,
    /// A Docker engine to watch.
    pub docker: DockerSettings,
    /// What the instance uid is derived from. None: it is made once and kept.
    pub identity: Option<String>,
    /// How long to wait for another agent that has the state directory.
    pub standby: Duration,
    /// Where the last good config is kept. Absolute.
    pub state_dir: PathBuf,
    /// Where the status is written. Absolute.
    pub runtime_dir: PathBuf,
    /// The least important log line to print.
    pub log_level: log::LevelFilter,
    /// Resource attributes of this host, in the order of the file.
    pub attributes: Vec<(String, String)>,
}

/// The section `config`: the source of configs.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigSettings {
    /// Where configs come from. `None`: from the one that is built in.
    pub url: Option<Location>,
    /// Whose built-in config it is.
    pub environment: Environment,
    /// How the server is spoken to.
    pub protocol: ProtocolName,
    /// As what KloudMate's server is asked.
    pub role: Environment,
    /// The name of the cluster that it is asked for.
    pub cluster: Option<String>,
    /// How KloudMate's server is asked, if it is one.
    pub kloudmate: Option<KloudMateSettings>,
    /// Who is asked while it is silent, in this order.
    pub fallback: Vec<Location>,
    /// How long it may be silent.
    pub fallback_after: Duration,
    /// A minisign public key, as its program writes it.
    pub public_key: Option<String>,
    /// Time between polls.
    pub poll_every: Duration,
    /// Time for one exchange in all.
    pub timeout: Duration,
    /// The largest config accepted, in bytes.
    pub max_size: u64,
    /// Headers for each request; names are valid and differ, values have no line breaks.
    pub headers: Vec<(String, Secret)>,
    /// A file with a bearer token. Never set together with an `Authorization` header.
    pub bearer_token_file: Option<PathBuf>,
    /// Certificate authorities, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate, in PEM. Set if and only if the key is.
    pub client_cert_file: Option<PathBuf>,
    /// Private key of the client certificate, in PEM.
    pub client_key_file: Option<PathBuf>,
    /// Proxy for `http://`. Its URL may hold a password.
    pub http_proxy: Option<Secret>,
    /// Proxy for `https://`. Its URL may hold a password.
    pub https_proxy: Option<Secret>,
    /// Hosts to reach without a proxy, separated by commas.
    pub no_proxy: String,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolName {
    /// A plain GET.
    Get,
    /// KloudMate's config-check.
    KloudMate,
    /// OpAMP over HTTP.
    OpAmp,
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::KloudMate => "kloudmate",
            Self::OpAmp => "opamp",
        })
    }
}

/// What only KloudMate's protocol needs.
#[derive(Debug, Clone, PartialEq)]
pub struct KloudMateSettings {
    /// The key.
    pub api_key: Option<Secret>,
    /// Whether to report as the agent of a Docker host.
    pub docker: bool,
    /// The collector's config until there is another.
    pub first_config: Option<PathBuf>,
}

/// The section `report`: plain reports.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportSettings {
    /// Where they are sent. None: nowhere.
    pub url: Option<String>,
    /// Time between them while nothing changes.
    pub every: Duration,
    /// Headers for each.
    pub headers: Vec<(String, Secret)>,
}

/// The section `collector`: the child.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectorSettings {
    /// A name to look up in PATH, or an absolute path. [`DEFAULT_COLLECTOR`] if nothing was said.
    pub path: PathBuf,
    /// More arguments.
    pub args: Vec<String>,
    /// More environment variables.
    pub env: Vec<(String, Secret)>,
    /// Time between asking the collector to stop and killing it.
    pub stop_timeout: Duration,
    /// Time that a new config has to stay healthy for.
    pub probation: Duration,
    /// What happens to the collector's log lines.
    pub log: CollectorLog,
    /// The most log that is passed on, in bytes per second.
    pub log_rate: u64,
    /// Memory budget, in bytes.
    pub memory_limit: Option<u64>,
    /// Scheduling priority, -20 to 19.
    pub nice: Option<i32>,
    /// -1000 to 1000. Source: proc(5).
    pub oom_score_adj: Option<i32>,
    /// `user` or `user:group`, names or numbers. Neither part is empty.
    pub run_as: Option<String>,
}

/// What happens to the collector's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorLog {
    /// They are passed on.
    Pass,
    /// They are read and dropped; the last ones are still kept for reports.
    Drop,
}

/// Where a config comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, to watch. Absolute.
    File(PathBuf),
    /// An `http://` or `https://` URL without a user name, to poll.
    Url(String),
}

/// Gives an environment variable.
pub type Variables = dyn Fn(&str) -> Option<OsString>;
/// Gives the content of a file.
pub type Files = dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// What is read besides the flags.
pub struct World {
    /// An environment variable.
    pub var: Box<Variables>,
    /// The content of a file. One byte more than 1 MiB is enough of it.
    pub read: Box<Files>,
    /// The working directory, which relative paths start from.
    pub here: PathBuf,
}

impl World {
    /// The environment of this process and the files of this host.
    pub fn real() -> World {
        World {
            var: Box::new(|name| std::env::var_os(name)),
            read: Box::new(|path| {
                use io::Read;
                let mut bytes = Vec::new();
                std::fs::File::open(path)?.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
                Ok(bytes)
            }),
            here: std::env::current_dir().unwrap_or_default(),
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.here.join(path).components().filter(|part| *part != Component::CurDir).collect()
    }
}

/// What is wrong with the settings, and where. It never holds a secret.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsError {
    /// Where it was said.
    pub place: Place,
    problem: String,
    #[source]
    cause: Option<io::Error>,
}

impl SettingsError {
    /// [`cli::EXIT_USAGE`] if a flag said it, else [`cli::EXIT_SETTINGS`].
    pub fn exit_status(&self) -> u8 {
        match self.place {
            Place::Flag(_) => cli::EXIT_USAGE,
            Place::Variable(_) | Place::File(_) | Place::Spot { .. } => cli::EXIT_SETTINGS,
        }
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A flag, `--config-url`.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// The settings file as a whole.
    File(PathBuf),
    /// A spot in the settings file.
    Spot {
        /// The settings file.
        path: PathBuf,
        /// Line of the value, or of the key if that is what is wrong, from 1.
        line: usize,
        /// Column there, in characters, from 1.
        column: usize,
        /// The key, `config.poll_every`. Empty for the file as such.
        key: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Place::Flag(name) | Place::Variable(name) => f.write_str(name),
            Place::File(path) => path.display().fmt(f),
            Place::Spot { path, line, column, key } => {
                write!(f, "{}:{line}:{column}", path.display())?;
                if key.is_empty() { Ok(()) } else { write!(f, ": {key}") }
            }
        }
    }
}

/// The settings file: as the flag says, else as `OTELET_SETTINGS` says, else the default one. Absolute.
pub fn path(invocation: &Invocation, world: &World) -> PathBuf {
    let row = cli::ROWS.iter().find(|row| row.key == "settings").expect("settings has a row");
    let variable = row.env().and_then(|name| (world.var)(&name)).map(PathBuf::from);
    let mut named = [invocation.settings.clone(), variable].into_iter().flatten();
    match named.find(|path| !path.as_os_str().is_empty()) {
        Some(path) => world.absolute(&path),
        None => os::default_settings_path(),
    }
}

/// Reads the settings. Flags count before the environment, that before the file, that before the defaults.
///
/// An empty variable counts as not set. An empty flag or key unsets what has no default, such as a proxy.
///
/// # Errors
///
/// [`SettingsError`] for a settings file that cannot be read (missing is allowed at its default path), is no YAML,
/// has an unknown or repeated key or a value of the wrong shape; and for every value that counts and is impossible.
pub fn load(invocation: &Invocation, world: &World) -> Result<Settings, SettingsError> {
    let file = File::read(path(invocation, world), world)?;
    let said = Said { invocation, world, file };
    let mut settings = Settings {
        config: ConfigSettings {
            url: said.location("config.url")?,
            environment: match said.choice("environment")?.as_str() {
                "auto" => os::environment(),
                word => word.parse().expect("all other words of the row are environments"),
            },
            protocol: match said.choice("config.protocol")?.as_str() {
                "kloudmate" => ProtocolName::KloudMate,
                "opamp" => ProtocolName::OpAmp,
                _ => ProtocolName::Get,
            },
            role: said.choice("config.role")?.parse().expect("the words of the row are environments"),
            cluster: said.optional("config.cluster", |text| Ok(text.to_owned()))?,
            kloudmate: None,
            fallback: said.locations("config.fallback")?,
            fallback_after: said.time("config.fallback_after")?,
            public_key: said.public_key("config.public_key")?,
            poll_every: said.time("config.poll_every")?,
            timeout: said.time("config.timeout")?,
            max_size: said.size("config.max_size")?,
            headers: said.headers("config.headers")?,
            bearer_token_file: said.path("config.bearer_token_file")?,
            ca_file: said.path("config.ca_file")?,
            client_cert_file: said.path("config.client_cert_file")?,
            client_key_file: said.path("config.client_key_file")?,
            http_proxy: said.proxy("config.http_proxy", &["http_proxy", "HTTP_PROXY"])?,
            https_proxy: said.proxy("config.https_proxy", &["https_proxy", "HTTPS_PROXY"])?,
            no_proxy: said.raw_or("config.no_proxy", &["no_proxy", "NO_PROXY"])?.map_or(String::new(), |raw| raw.text),
        },
        collector: CollectorSettings {
            path: said.program("collector.path")?,
            args: said.arguments("collector.args")?,
            env: said.environment("collector.env")?,
            stop_timeout: said.time("collector.stop_timeout")?,
            probation: said.time("collector.probation")?,
            log: match said.choice("collector.log")?.as_str() {
                "drop" => CollectorLog::Drop,
                _ => CollectorLog::Pass,
            },
            log_rate: said.size("collector.log_rate")?,
            memory_limit: said.optional("collector.memory_limit", size_of("collector.memory_limit"))?,
            nice: said.number("collector.nice")?,
            oom_score_adj: said.number("collector.oom_score_adj")?,
            run_as: said.optional("collector.run_as", user_and_group)?,
        },
        report: ReportSettings {
            url: match said.location("report.url")? {
                Some(Location::Url(url)) => Some(url),
                Some(Location::File(_)) => {
                    return Err(said.error_at("report.url", "give an http:// or https:// URL".to_owned()));
                }
                None => None,
            },
            every: said.time("report.every")?,
            headers: said.headers("report.headers")?,
        },
        host: said.host()?,
        export: said.export()?,
        checks: said.checks()?,
        alerts: said.alerts()?,
        webhook: said.webhook()?,
        docker: said.docker()?,
        identity: said.optional("identity", |text| Ok(text.to_owned()))?,
        standby: said.time("standby")?,
        state_dir: said.path("state_dir")?.unwrap_or_else(os::default_state_dir),
        runtime_dir: said.path("runtime_dir")?.unwrap_or_else(os::default_runtime_dir),
        log_level: log::LevelFilter::from_str(&said.choice("log_level")?).expect("the choices are levels of log"),
        attributes: said.attributes("attributes")?,
    };
    adopt_kloudmate(&mut settings, &said)?;
    if settings.config.environment == Environment::Docker && settings.config.url.is_none() {
        // The config that is built in for a Docker host reads the engine.
        settings.docker.socket.get_or_insert_with(|| DOCKER_SOCKET.into());
    }
    cross_check(&settings, &said)?;
    Ok(settings)
}

/// Shorter values are too likely to stand somewhere by chance.
const SHORTEST_SECRET: usize = 6;

impl Settings {
    /// Values that must not be seen in a report, wherever they stand.
    pub fn secrets(&self) -> Vec<String> {
        let maps = [
            &self.config.headers,
            &self.report.headers,
            &self.export.headers,
            &self.webhook.headers,
            &self.collector.env,
        ];
        let of_checks = self.checks.iter().filter_map(|check| match &check.target {
            CheckTarget::Http { headers, .. } => Some(headers),
            CheckTarget::Tcp { .. } | CheckTarget::Dns { .. } | CheckTarget::Exec { .. } => None,
        });
        let values = maps.into_iter().chain(of_checks).flatten().map(|(_, value)| value);
        let proxies = [&self.config.http_proxy, &self.config.https_proxy];
        let values = values.chain(proxies.into_iter().flatten()).map(|value| value.expose().to_owned());
        values.filter(|value| value.len() >= SHORTEST_SECRET).collect()
    }
}

/// Takes up what KloudMate's agent was told, where nothing else is said.
fn adopt_kloudmate(settings: &mut Settings, said: &Said) -> Result<(), SettingsError> {
    let has_url = settings.config.url.is_some();
    let asked_for = settings.config.protocol == ProtocolName::KloudMate;
    if has_url && !asked_for {
        return Ok(());
    }
    let own = Own { has_file: said.file.is_there, has_url };
    let Some(adopted) = adopt(said.invocation, said.world, own)? else {
        if asked_for {
            settings.config.kloudmate = Some(KloudMateSettings { api_key: None, docker: false, first_config: None });
        }
        return Ok(());
    };
    for (name, value) in adopted.collector_env() {
        if !settings.collector.env.iter().any(|(known, _)| *known == name) {
            settings.collector.env.push((name, value));
        }
    }
    if !said.is_said("log_level") {
        settings.log_level = adopted.log_level.unwrap_or(settings.log_level);
    }
    match adopted.url {
        // Never asked: the collector's config is the source, as a file.
        None if !has_url => settings.config.url = Some(Location::File(adopted.first_config)),
        url => {
            settings.config.url = url.map(Location::Url).or(settings.config.url.take());
            if !said.is_said("config.poll_every") && !adopted.poll_every.is_zero() {
                settings.config.poll_every = adopted.poll_every;
            }
            settings.config.protocol = ProtocolName::KloudMate;
            settings.config.kloudmate = Some(KloudMateSettings {
                api_key: adopted.api_key,
                docker: adopted.docker,
                first_config: Some(adopted.first_config),
            });
        }
    }
    Ok(())
}

/// What one setting alone cannot tell.
fn cross_check(settings: &Settings, said: &Said) -> Result<(), SettingsError> {
    let config = &settings.config;
    let (cert, key) = ("config.client_cert_file", "config.client_key_file");
    match (&config.client_cert_file, &config.client_key_file) {
        (Some(_), None) => return Err(said.error_at(cert, format!("needs {key} beside it"))),
        (None, Some(_)) => return Err(said.error_at(key, format!("needs {cert} beside it"))),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if matches!(config.url, Some(Location::File(_))) && config.protocol != ProtocolName::Get {
        let problem = format!("{} is spoken with a server; config.url is a file", config.protocol);
        return Err(said.error_at("config.protocol", problem));
    }
    if let Some((key, why)) = os::SENSELESS.iter().find(|(key, _)| said.is_said(key)) {
        return Err(said.error_at(key, (*why).to_owned()));
    }
    if matches!(config.role, Environment::DaemonSet | Environment::Deployment) && config.cluster.is_none() {
        let problem = "needs config.cluster beside it: the name under which KloudMate knows the cluster";
        return Err(said.error_at("config.role", problem.to_owned()));
    }
    let authorization = |(name, _): &(String, Secret)| name.eq_ignore_ascii_case("authorization");
    if config.bearer_token_file.is_some() && config.headers.iter().any(authorization) {
        let problem = "config.headers has an Authorization header already; keep one of the two";
        return Err(said.error_at("config.bearer_token_file", problem.to_owned()));
    }
    Ok(())
}

fn error(place: Place, problem: String) -> SettingsError {
    SettingsError { place, problem, cause: None }
}
