//! The settings: flags, environment, settings file and defaults in, [`Settings`] out, or an error that says where.
//!
//! A setting is a row of its section. `schema` defines rows; `sections` has the rows, each beside the code that reads
//! it; `layers` finds the strongest value of a setting and checks it. `file` and `walk` read the settings file, guided
//! by the rows. `expand` replaces `${}` in a value, `location` reads URLs and paths. `explain` lists where each value
//! is set. `installer_args` writes an installer's settings into the file. A value that a stronger place overrides is
//! not checked, beyond its key and shape. Only [`World`] reads the process and the disk.

mod error;
mod expand;
mod explain;
mod file;
mod flags;
pub mod installer_args;
mod layers;
mod location;
mod node;
pub mod schema;
mod secret;
mod sections;
#[cfg(test)]
mod tests;
mod walk;
mod way_out;
mod world;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use otelet_core::decide::AlertSettings;

use crate::os;
pub use crate::os::Environment;
use file::File;
use layers::{Layers, unwrapped};
use sections::docker::engine;
use sections::general::General;
use sections::kloudmate::{OwnSettings, adopt};
use sections::{alerts, checks};
pub use way_out::{PROXY_PASSWORD, Target, WayOut};

pub use error::{Place, SettingsError};
pub use explain::{EffectiveSetting, explain, secrets_in};
pub use flags::Flags;
pub use location::Location;
pub use secret::Secret;
pub use sections::SCHEMA;
pub use sections::checks::{CheckSettings, CheckTarget, CheckTrust};
pub use sections::collector::{CollectorLog, CollectorSettings, DEFAULT_COLLECTOR};
pub use sections::config::{ConfigSettings, ProtocolName};
pub use sections::docker::DockerSettings;
pub use sections::export::{ExportMetrics, ExportSettings, ExportTo};
pub use sections::general::SETTINGS_FILE;
pub use sections::host::HostSettings;
pub use sections::kloudmate::{KloudMateSettings, kloudmate_help, kloudmate_row};
pub use sections::report::ReportSettings;
pub use sections::webhook::WebhookSettings;
pub use world::{Files, Variables, World};

/// Where a Docker engine usually listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The settings, checked. Two values are equal if a reload changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where configs come from, and how.
    pub config: ConfigSettings,
    /// The collector and its surroundings.
    pub collector: CollectorSettings,
    pub report: ReportSettings,
    /// The host, and how often it is sampled.
    pub host: HostSettings,
    /// Metrics and events by OTLP.
    pub export: ExportSettings,
    pub checks: Vec<CheckSettings>,
    pub alerts: Vec<AlertSettings>,
    pub webhook: WebhookSettings,
    /// A Docker engine to watch.
    pub docker: DockerSettings,
    /// A text from which the instance uid is derived. `None`: a uid is made once and kept.
    pub identity: Option<String>,
    /// How long to wait for another agent that holds the state directory.
    pub standby: Duration,
    /// Where the last good config is kept. Absolute.
    pub state_dir: PathBuf,
    /// Where the status is written. Absolute.
    pub runtime_dir: PathBuf,
    /// The least important log line to print.
    pub log_level: log::LevelFilter,
    /// Resource attributes of this host, in the order of the file.
    pub attributes: Vec<(String, String)>,
    /// Notes for a person about variables: each is said once, at the start and after a reload.
    pub notes: Vec<String>,
}

/// Returns the absolute path of the settings file: from the flag, else from `OTELET_SETTINGS`, else the default.
pub fn path(flags: &Flags, world: &World) -> PathBuf {
    let variable = SETTINGS_FILE.env().and_then(|name| (world.var)(&name));
    let variable =
        variable.map(|path| path.to_str().map(unwrapped).map_or_else(|| PathBuf::from(&path), PathBuf::from));
    let mut named = [flags.file.clone(), variable].into_iter().flatten();
    match named.find(|path| !path.as_os_str().is_empty()) {
        Some(path) => world.absolute(&path),
        None => os::default_settings_path(),
    }
}

/// Reads the settings. Flags count before the environment, the environment before the file, the file before the
/// defaults.
///
/// An empty variable counts as not set. An empty flag or key unsets a setting that has no default, such as a proxy.
///
/// # Errors
///
/// [`SettingsError`] for a settings file that cannot be read (missing is allowed at its default path), is not YAML, or
/// has an unknown or repeated key or a value of the wrong shape; and for every invalid value that is not overridden.
pub fn load(flags: &Flags, world: &World) -> Result<Settings, SettingsError> {
    if let Some(name) = SETTINGS_FILE.env()
        && let Some(flaw) =
            (world.var)(&name).and_then(|value| expand::flaw(unwrapped(value.to_str()?)).filter(|_| !value.is_empty()))
        && flags.file.is_none()
    {
        return Err(SettingsError::new(Place::Variable(name), format!("its value {flaw}")));
    }
    let layers =
        &Layers { flags, world, file: File::read(SCHEMA, path(flags, world), world)?, notes: RefCell::default() };
    let config = ConfigSettings::read(layers)?;
    let collector = CollectorSettings::read(layers)?;
    let report = ReportSettings::read(layers)?;
    let host = HostSettings::read(layers)?;
    let export = ExportSettings::read(layers)?;
    let alerts = alerts::read(layers)?;
    let webhook = WebhookSettings::read(layers)?;
    let docker = DockerSettings::read(layers)?;
    let General { identity, standby, state_dir, runtime_dir, log_level, attributes } = General::read(layers)?;
    let mut settings = Settings {
        config,
        collector,
        report,
        host,
        export,
        checks: Vec::new(),
        alerts,
        webhook,
        docker,
        identity,
        standby,
        state_dir,
        runtime_dir,
        log_level,
        attributes,
        notes: Vec::new(),
    };
    adopt_kloudmate(&mut settings, layers)?;
    if settings.config.environment == Environment::Docker && settings.config.url.is_none() {
        // The built-in config for a Docker host reads the engine.
        // Other forms than those of this setting are for programs that can use them.
        let named = (world.var)("DOCKER_HOST").and_then(|host| engine(unwrapped(host.to_str()?), world).ok());
        settings.docker.socket.get_or_insert_with(|| named.unwrap_or_else(|| DOCKER_SOCKET.into()));
    }
    settings.checks = checks::read(layers, settings.docker.socket.as_deref())?;
    cross_check(&settings, layers)?;
    settings.notes = layers.notes.take();
    Ok(settings)
}

/// Replaces the references in a text of a config as the Collector does.
///
/// # Errors
///
/// In words, for a reference without a value.
pub fn expand_references(text: &str, world: &World) -> Result<String, String> {
    let expanded = expand::expand(text, world).map_err(|(why, _)| why)?;
    Ok(expanded.unwrap_or_else(|| text.to_owned()))
}

/// The shortest value that counts as a secret, in bytes. A shorter one may be in a text by chance.
const SHORTEST_SECRET: usize = 6;

impl Settings {
    /// Returns the values that no report may show.
    pub fn secrets(&self) -> Vec<String> {
        let maps = [
            &self.config.headers,
            &self.config.fallback_headers,
            &self.report.headers,
            &self.export.headers,
            &self.webhook.headers,
            &self.collector.env,
        ];
        let of_checks = self.checks.iter().filter_map(|check| match &check.target {
            CheckTarget::Http { headers, .. } => Some(headers),
            CheckTarget::Tcp { .. }
            | CheckTarget::Dns { .. }
            | CheckTarget::Exec { .. }
            | CheckTarget::Docker { .. } => None,
        });
        let values = maps.into_iter().chain(of_checks).flatten().map(|(_, value)| value);
        let proxies = [&self.config.http_proxy, &self.config.https_proxy];
        let values = values.chain(proxies.into_iter().flatten()).map(|value| value.expose().to_owned());
        values.filter(|value| value.len() >= SHORTEST_SECRET).collect()
    }
}

/// Adopts the settings of KloudMate's agent where otelet's own are not set.
fn adopt_kloudmate(settings: &mut Settings, layers: &Layers) -> Result<(), SettingsError> {
    let has_url = settings.config.url.is_some();
    let asked_for = settings.config.protocol == ProtocolName::KloudMate;
    if has_url && !asked_for {
        return Ok(());
    }
    let own = OwnSettings { has_file: layers.file.is_there, has_url };
    let adopted = adopt(layers.flags, layers.world, own)?;
    if adopted.is_some() {
        note_flaws(layers);
    }
    let Some(adopted) = adopted else {
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
    if !layers.is_set("log_level") {
        settings.log_level = adopted.log_level.unwrap_or(settings.log_level);
    }
    match adopted.url {
        // The server is never asked, so the collector's config file is the source.
        None if !has_url => settings.config.url = Some(Location::File(adopted.first_config)),
        url => {
            settings.config.url = url.map(Location::Url).or(settings.config.url.take());
            if !layers.is_set("config.poll_every") && !adopted.poll_every.is_zero() {
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

/// Notes the flaws of KloudMate's variables.
fn note_flaws(layers: &Layers) {
    for row in sections::kloudmate::KLOUDMATE_ROWS {
        let value = (layers.world.var)(row.variable).filter(|value| !value.is_empty());
        let Some(text) = value.as_ref().and_then(|value| value.to_str()) else { continue };
        layers.note_unwrapped(row.variable, text);
        if let Some(flaw) = expand::flaw(unwrapped(text)) {
            layers.note(format!("{} {flaw}", row.variable));
        }
    }
}

/// Checks settings that need or exclude each other.
fn cross_check(settings: &Settings, layers: &Layers) -> Result<(), SettingsError> {
    let config = &settings.config;
    let (cert, key) = ("config.client_cert_file", "config.client_key_file");
    match (&config.client_cert_file, &config.client_key_file) {
        (Some(_), None) => return Err(layers.error_at(cert, format!("needs {key} as well"))),
        (None, Some(_)) => return Err(layers.error_at(key, format!("needs {cert} as well"))),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if matches!(config.url, Some(Location::File(_))) && config.protocol != ProtocolName::Get {
        let problem = format!("{} needs a server, but config.url is a file", config.protocol);
        return Err(layers.error_at("config.protocol", problem));
    }
    if let Some((key, why)) = os::SENSELESS.iter().find(|(key, _)| layers.is_set(key)) {
        return Err(layers.error_at(key, (*why).to_owned()));
    }
    if matches!(config.role, Environment::DaemonSet | Environment::Deployment) && config.cluster.is_none() {
        let problem = "needs config.cluster as well: the name under which KloudMate knows the cluster";
        return Err(layers.error_at("config.role", problem.to_owned()));
    }
    let authorization = |(name, _): &(String, Secret)| name.eq_ignore_ascii_case("authorization");
    if config.bearer_token_file.is_some() && config.headers.iter().any(authorization) {
        let problem = "config.headers has an Authorization header already; keep one of the two";
        return Err(layers.error_at("config.bearer_token_file", problem.to_owned()));
    }
    Ok(())
}
