//! The settings of KloudMate's own agent, so that a host that had it needs no change: its flags, its `KM_` variables
//! and its `agent.yaml`. Pure, but for the reads of [`World`].
//!
//! They count after otelet's own settings and before its defaults. An API key is never sent to a guessed host: the
//! server is derived from the endpoint of the telemetry only if that is a host of KloudMate's.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::http;
use crate::settings::error::{Place, SettingsError};
use crate::settings::expand::flaw;
use crate::settings::flags::Flags;
use crate::settings::layers::unwrapped;
use crate::settings::secret::Secret;
use crate::settings::way_out::bad_url;
use crate::settings::world::{LARGEST_FILE, World};
use otelet_core::text::{self, clip};

/// The settings file of KloudMate's agent.
const AGENT_YAML: &str = "/etc/kmagent/agent.yaml";

/// The longest time between polls, in seconds: otelet's own limit.
const LONGEST_INTERVAL: u64 = 24 * 60 * 60;

/// A setting of KloudMate's agent.
#[derive(Debug)]
pub struct KloudMateRow {
    /// Its flag without the dashes, and its key in `agent.yaml`. Empty if it is only a variable.
    pub name: &'static str,
    pub variable: &'static str,
    /// The placeholder for its value in help. Empty if the flag alone means `true`.
    pub value: &'static str,
    /// The value if none is given.
    pub default: &'static str,
    /// A sentence, without the default.
    pub help: &'static str,
}

/// All rows, in the order of help.
#[rustfmt::skip] // A row is a line.
pub static KLOUDMATE_ROWS: &[KloudMateRow] = &[
    row("agent-config", "KM_AGENT_CONFIG", "PATH", AGENT_YAML, "KloudMate's settings file. The default is read if otelet has none."),
    row("config", "KM_COLLECTOR_CONFIG", "PATH", "/etc/kmagent/config.yaml", "The collector's config until the server announces one."),
    row("collector-endpoint", "KM_COLLECTOR_ENDPOINT", "URL", "https://otel.kloudmate.com:4318", "Where telemetry goes; passed on to the collector."),
    row("api-key", "KM_API_KEY", "KEY", "", "The API key, passed on to the collector as KM_API_KEY. Other users can see this flag."),
    row("config-check-interval", "KM_CONFIG_CHECK_INTERVAL", "SECONDS", "60", "Time between polls. 0: never ask; run the collector's config as it is."),
    row("update-endpoint", "KM_UPDATE_ENDPOINT", "URL", "", "The server that announces configs. Without it: KloudMate's, if telemetry goes to KloudMate."),
    row("docker-mode", "KM_DOCKER_MODE", "", "false", "Report as the agent of a Docker host."),
    row("", "KM_LOG_LEVEL", "LEVEL", "info", "The same as log_level."),
];

const fn row(
    name: &'static str,
    variable: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> KloudMateRow {
    KloudMateRow { name, variable, value, default, help }
}

/// The row of a flag, whose name is given without dashes.
pub fn kloudmate_row(flag: &str) -> Option<&'static KloudMateRow> {
    KLOUDMATE_ROWS.iter().find(|row| !row.name.is_empty() && row.name == flag)
}

/// The section of help about these settings, at most 100 columns wide.
pub fn kloudmate_help() -> String {
    let mut text =
        "\nOn a host that had KloudMate's agent, its settings still count, after otelet's own: each is a flag,\n\
                    a variable and a key in agent.yaml.\n\n"
            .to_owned();
    for row in KLOUDMATE_ROWS {
        let mut names = match (row.name, row.value) {
            ("", _) => String::new(),
            (name, "") => format!("--{name}, "),
            (name, value) => format!("--{name}={value}, "),
        };
        names += row.variable;
        let default = if row.default.is_empty() { String::new() } else { format!(" [{}]", row.default) };
        text += &format!("  {names}\n      {}{default}\n", row.help);
    }
    text
}

/// Settings that only KloudMate's protocol needs.
#[derive(Debug, Clone, PartialEq)]
pub struct KloudMateSettings {
    pub api_key: Option<Secret>,
    /// Whether to report as the agent of a Docker host.
    pub docker: bool,
    /// The collector's config until there is another.
    pub first_config: Option<PathBuf>,
}

/// Facts about otelet's own settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnSettings {
    /// Whether there is a settings file, or one was named.
    pub has_file: bool,
    /// Whether `config.url` is set, so that no URL has to be derived.
    pub has_url: bool,
}

/// The settings of KloudMate's agent.
#[derive(Debug, Clone, PartialEq)]
pub struct KloudMateAgentSettings {
    /// The URL of the server. `None` if there is none, or if otelet's own settings have it.
    pub url: Option<String>,
    pub poll_every: Duration,
    /// The API key. It is never empty.
    pub api_key: Option<Secret>,
    pub collector_endpoint: String,
    /// The collector's config until there is another. Absolute; it may be missing.
    pub first_config: PathBuf,
    /// Whether to report as the agent of a Docker host.
    pub docker: bool,
    /// The least important log line to print, if it is given.
    pub log_level: Option<log::LevelFilter>,
}

impl KloudMateAgentSettings {
    /// The variables that announced configs refer to as `${env:…}`, for the collector's environment.
    pub fn collector_env(&self) -> Vec<(String, Secret)> {
        let endpoint = ("KM_COLLECTOR_ENDPOINT".to_owned(), Secret::from(self.collector_endpoint.clone()));
        let key = self.api_key.clone().map(|key| ("KM_API_KEY".to_owned(), key));
        std::iter::once(endpoint).chain(key).collect()
    }
}

/// Reads KloudMate's settings. `None` if there are none: no flag, no variable but `KM_LOG_LEVEL`, and no `agent.yaml`.
///
/// # Errors
///
/// [`SettingsError`] for an `agent.yaml` that was named and is missing, one that cannot be read, an invalid value, and
/// a server that would have to be guessed.
pub fn adopt(flags: &Flags, world: &World, own: OwnSettings) -> Result<Option<KloudMateAgentSettings>, SettingsError> {
    let mut layers = KloudMateLayers { flags, world, file: None };
    layers.file = layers.read_file(own)?;
    let told = |row: &KloudMateRow| {
        flags.get(row.name).is_some() || (world.var)(row.variable).is_some_and(|value| !value.is_empty())
    };
    if layers.file.is_none() && !KLOUDMATE_ROWS.iter().any(|row| !row.name.is_empty() && told(row)) {
        return Ok(None);
    }
    let interval = layers.value("config-check-interval")?;
    let poll_every = interval.text.trim().parse().ok().filter(|seconds| *seconds <= LONGEST_INTERVAL);
    let Some(seconds) = poll_every else {
        let problem = format!(
            "expected whole seconds such as 60, found \"{}\"; allowed is 0 to {LONGEST_INTERVAL}",
            clip(&interval.text)
        );
        return Err(interval.error(problem));
    };
    let endpoint = layers.value("collector-endpoint")?;
    let url = match seconds {
        0 => None,
        _ if own.has_url => None,
        _ => Some(layers.url(&endpoint)?),
    };
    let key = layers.value("api-key")?;
    if http::check_header("Authorization", key.text.trim()).is_err() {
        return Err(key.error("has a line break or a control character in it".to_owned()));
    }
    let docker = layers.value("docker-mode")?;
    Ok(Some(KloudMateAgentSettings {
        url,
        poll_every: Duration::from_secs(seconds),
        api_key: Some(key.text.trim()).filter(|key| !key.is_empty()).map(|key| Secret::from(key.to_owned())),
        collector_endpoint: endpoint.text,
        first_config: world.absolute(Path::new(&layers.value("config")?.text)),
        docker: truth(&docker.text)
            .ok_or_else(|| docker.error(format!("expected true or false, found \"{}\"", clip(&docker.text))))?,
        log_level: level(&layers.value("")?.text),
    }))
}

/// Flags, variables and `agent.yaml`, in order of strength.
struct KloudMateLayers<'a> {
    flags: &'a Flags,
    world: &'a World,
    file: Option<AgentFile>,
}

struct AgentFile {
    path: PathBuf,
    keys: Vec<(String, String)>,
}

/// A value, and the place where it is set.
struct Value {
    text: String,
    name: &'static str,
    place: Option<Place>,
}

impl Value {
    fn error(&self, problem: String) -> SettingsError {
        let of_variable = matches!(self.place, Some(Place::Variable(_)));
        let problem = match flaw(&self.text).filter(|_| of_variable) {
            Some(flaw) => format!("{problem}; its value {flaw}"),
            None => problem,
        };
        match &self.place {
            Some(place @ Place::File(_)) => SettingsError::new(place.clone(), format!("{}: {problem}", self.name)),
            Some(place) => SettingsError::new(place.clone(), problem),
            None => SettingsError::new(Place::Flag(format!("--{}", self.name)), problem),
        }
    }
}

impl KloudMateLayers<'_> {
    /// Reads `agent.yaml`, if there is one.
    fn read_file(&self, own: OwnSettings) -> Result<Option<AgentFile>, SettingsError> {
        let named = self.value("agent-config")?;
        let path = self.world.absolute(Path::new(&named.text));
        if named.place.is_none() && own.has_file {
            return Ok(None);
        }
        let bytes = match (self.world.read)(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && named.place.is_none() => return Ok(None),
            Err(cause) => {
                let problem = "cannot read the settings file of KloudMate's agent".to_owned();
                return Err(SettingsError::caused(Place::File(path), problem, Some(cause)));
            }
        };
        if bytes.len() > LARGEST_FILE {
            return Err(SettingsError::new(
                Place::File(path),
                "larger than 1MiB; is this the settings file?".to_owned(),
            ));
        }
        match text::decode(bytes).map(|text| serde_yaml::from_str::<Option<Keys>>(&text)) {
            Ok(Ok(keys)) => Ok(Some(AgentFile { path, keys: keys.unwrap_or_default().0 })),
            Ok(Err(e)) => {
                let (line, column) = e.location().map_or((1, 1), |at| (at.line(), at.column()));
                let place = Place::Spot { path, line, column, key: String::new() };
                Err(SettingsError::new(place, "expected a map of settings, each with a single value".to_owned()))
            }
            Err(why) => Err(SettingsError::new(Place::File(path), why.to_string())),
        }
    }

    /// The strongest value of a setting. An empty value counts as not set.
    fn value(&self, name: &'static str) -> Result<Value, SettingsError> {
        let row = KLOUDMATE_ROWS.iter().find(|row| row.name == name).expect("settings are asked for by their name");
        let value = |text: String, place| Value { text, name, place };
        if let Some(text) = self.flags.get(name).filter(|text| !text.is_empty()) {
            return Ok(value(text.to_owned(), Some(Place::Flag(format!("--{name}")))));
        }
        if let Some(text) = (self.world.var)(row.variable).filter(|text| !text.is_empty()) {
            let place = Place::Variable(row.variable.to_owned());
            return match text.into_string() {
                Ok(text) => Ok(value(unwrapped(&text).to_owned(), Some(place))),
                Err(_) => Err(SettingsError::new(place, "its value is not UTF-8".to_owned())),
            };
        }
        if let Some(AgentFile { path, keys }) = &self.file
            && let Some((_, text)) = keys.iter().rev().find(|(key, text)| key == name && !text.is_empty())
        {
            return Ok(value(text.clone(), Some(Place::File(path.clone()))));
        }
        Ok(value(row.default.to_owned(), None))
    }

    /// The URL of the server: the configured one, or else KloudMate's, if telemetry goes to KloudMate.
    fn url(&self, endpoint: &Value) -> Result<String, SettingsError> {
        let given = self.value("update-endpoint")?;
        if !given.text.is_empty() {
            return match http::parse_url(&given.text) {
                Ok(_) => Ok(given.text),
                Err(e) => Err(given.error(format!("expected URL: {}", bad_url(&e, "api-key (KM_API_KEY)")))),
            };
        }
        let host = host(&endpoint.text);
        let labels: Vec<&str> = host.split('.').collect();
        match labels[..] {
            [.., "kloudmate", top] if is_name(top) => Ok(format!("https://api.kloudmate.{top}/agents/config-check")),
            _ => Err(endpoint.error(format!(
                "host {} is not KloudMate's, and the key is not sent to a guessed host; set update-endpoint \
                 (KM_UPDATE_ENDPOINT) to the URL that ends in /agents/config-check, or config-check-interval to 0",
                clip(&host)
            ))),
        }
    }
}

/// The host in `https://host:4318/path` or `host:4318`, in lower case.
fn host(endpoint: &str) -> String {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host.trim().trim_end_matches('.').to_ascii_lowercase()
}

fn is_name(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Reads a truth value as Go does (`strconv.ParseBool`).
fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a level. An unknown one changes nothing, as in KloudMate's agent.
fn level(text: &str) -> Option<log::LevelFilter> {
    match text.trim().to_ascii_lowercase().as_str() {
        "debug" => Some(log::LevelFilter::Debug),
        "warn" | "warning" => Some(log::LevelFilter::Warn),
        "error" | "dpanic" | "panic" | "fatal" => Some(log::LevelFilter::Error),
        _ => None,
    }
}

/// The known keys, with their values as text. Unknown keys are ignored.
#[derive(Default)]
struct Keys(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match kloudmate_row(&key) {
                // Read as text: a key such as `010` must not become a number.
                Some(_) => keys.push((key, map.next_value::<Option<String>>()?.unwrap_or_default())),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Keys(keys))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const NOTHING: OwnSettings = OwnSettings { has_file: false, has_url: false };

    fn world(vars: &[(&str, &str)], files: &[(&str, &str)]) -> World {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
        };
        let (vars, files) = (own(vars), own(files));
        let find = |pairs: &[(String, String)], name: &str| {
            let found = pairs.iter().find(|(known, _)| known == name);
            found.map(|(_, text)| text.clone())
        };
        World {
            var: Box::new(move |name| find(&vars, name).map(OsString::from)),
            read: Box::new(move |path| match find(&files, path.to_str().unwrap()) {
                Some(text) => Ok(text.into_bytes()),
                None => Err(io::ErrorKind::NotFound.into()),
            }),
            here: "/here".into(),
        }
    }

    fn flags(line: &str) -> Flags {
        crate::cli::parse(line.split_whitespace().map(OsString::from)).unwrap().flags
    }

    fn adopted(line: &str, vars: &[(&str, &str)], file: &str) -> Option<KloudMateAgentSettings> {
        let files: &[(&str, &str)] = if file.is_empty() { &[] } else { &[(AGENT_YAML, file)] };
        adopt(&flags(line), &world(vars, files), NOTHING).unwrap()
    }

    fn refused(line: &str, vars: &[(&str, &str)], file: &str) -> String {
        let error = adopt(&flags(line), &world(vars, &[(AGENT_YAML, file)]), NOTHING).unwrap_err();
        otelet_core::text::chain(&error)
    }

    #[test]
    fn a_host_without_kloudmate_is_left_alone() {
        assert_eq!(adopted("", &[], ""), None);
        assert_eq!(adopted("", &[("KM_LOG_LEVEL", "debug"), ("KM_API_KEY", "")], ""), None);
        let world = world(&[], &[(AGENT_YAML, "api-key: k")]);
        assert_eq!(adopt(&flags(""), &world, OwnSettings { has_file: true, has_url: false }).unwrap(), None);
    }

    #[test]
    fn an_api_key_alone_selects_kloudmate() {
        let adopted = adopted("", &[("KM_API_KEY", "sk_1")], "").unwrap();
        assert_eq!(
            adopted,
            KloudMateAgentSettings {
                url: Some("https://api.kloudmate.com/agents/config-check".into()),
                poll_every: Duration::from_secs(60),
                api_key: Some(Secret::from("sk_1".to_owned())),
                collector_endpoint: "https://otel.kloudmate.com:4318".into(),
                first_config: "/etc/kmagent/config.yaml".into(),
                docker: false,
                log_level: None,
            }
        );
        let env: Vec<_> = adopted.collector_env().iter().map(|(k, v)| format!("{k}={}", v.expose())).collect();
        assert_eq!(env, ["KM_COLLECTOR_ENDPOINT=https://otel.kloudmate.com:4318", "KM_API_KEY=sk_1"]);
        assert!(!format!("{adopted:?}").contains("sk_1"));
    }

    #[test]
    fn every_row_is_read_from_flag_variable_and_file_in_this_order() {
        let file = "api-key: 007\ncollector-endpoint: https://otel.kloudmate.dev:4318\nconfig-check-interval: 30\n\
                    docker-mode: true\nconfig: /a/c.yaml\nupdate-endpoint: https://file.example/x\nunknown: {a: [1]}\n";
        let vars = [
            ("KM_API_KEY", "variable"),
            ("KM_COLLECTOR_ENDPOINT", "http://variable.example"),
            ("KM_CONFIG_CHECK_INTERVAL", "20"),
            ("KM_DOCKER_MODE", "0"),
            ("KM_COLLECTOR_CONFIG", "c.yaml"),
            ("KM_UPDATE_ENDPOINT", "https://variable.example/x"),
            ("KM_LOG_LEVEL", "DEBUG"),
        ];
        let line = "--api-key=flag --collector-endpoint http://flag.example --config-check-interval 10 --docker-mode \
                    --config=/f/c.yaml --update-endpoint=https://flag.example/x";
        let told = |adopted: Option<KloudMateAgentSettings>| {
            let it = adopted.unwrap();
            let key = it.api_key.unwrap().expose().to_owned();
            let url = it.url.unwrap();
            let path = it.first_config.display().to_string();
            (key, it.collector_endpoint, it.poll_every.as_secs(), it.docker, path, url, it.log_level)
        };
        let expected = |key: &str, endpoint: &str, seconds, docker, path: &str, url: &str, level| {
            (key.into(), endpoint.into(), seconds, docker, path.into(), url.into(), level)
        };
        assert_eq!(
            told(adopted("", &[], file)),
            expected("007", "https://otel.kloudmate.dev:4318", 30, true, "/a/c.yaml", "https://file.example/x", None)
        );
        let debug = Some(log::LevelFilter::Debug);
        let variables = expected(
            "variable",
            "http://variable.example",
            20,
            false,
            "/here/c.yaml",
            "https://variable.example/x",
            debug,
        );
        assert_eq!(told(adopted("", &vars, file)), variables);
        assert_eq!(
            told(adopted(line, &vars, file)),
            expected("flag", "http://flag.example", 10, true, "/f/c.yaml", "https://flag.example/x", debug)
        );
        assert!(!adopted("--docker-mode=false --api-key=k", &vars, file).unwrap().docker);
    }

    #[test]
    fn agent_yaml_may_be_elsewhere_and_is_then_read_beside_a_settings_file() {
        let world = world(&[("KM_AGENT_CONFIG", "agent.yaml")], &[("/here/agent.yaml", "api-key: k")]);
        let own = OwnSettings { has_file: true, has_url: true };
        let adopted = adopt(&flags(""), &world, own).unwrap().unwrap();
        assert_eq!((adopted.api_key.unwrap().expose(), adopted.url), ("k", None));
        let missing = adopt(&flags("--agent-config=/x.yaml"), &world, NOTHING).unwrap_err();
        assert!(missing.to_string().starts_with("/x.yaml: cannot read the settings file of Kloud"), "{missing}");
    }

    #[test]
    fn the_server_is_derived_from_kloudmates_hosts_only() {
        let url = |endpoint: &str| adopted("", &[("KM_COLLECTOR_ENDPOINT", endpoint)], "").and_then(|it| it.url);
        for (endpoint, top) in [
            ("https://otel.kloudmate.com:4318", "com"),
            ("https://otel.kloudmate.dev", "dev"),
            ("OTEL.KloudMate.IO.:4317", "io"),
            ("kloudmate.com", "com"),
            ("https://a.b.kloudmate.com/v1?x=y", "com"),
        ] {
            assert_eq!(url(endpoint), Some(format!("https://api.kloudmate.{top}/agents/config-check")), "{endpoint}");
        }
        for (endpoint, host) in [
            ("http://10.0.0.7:4318", "10.0.0.7"),
            ("http://[::1]:4318", "::1"),
            ("localhost:4318", "localhost"),
            ("https://otel.example.co.uk", "otel.example.co.uk"),
            ("https://otel.kloudmate.co.uk", "otel.kloudmate.co.uk"),
            ("https://notkloudmate.com", "notkloudmate.com"),
            ("https://kloudmate.com.evil.example", "kloudmate.com.evil.example"),
            ("https://kloudmate.com@evil.example/", "evil.example"),
            ("https://evil.example/.kloudmate.com", "evil.example"),
            ("https://evil.example\\.kloudmate.com", "evil.example"),
            ("https://kloudmate", "kloudmate"),
            ("https://kloudmate.7", "kloudmate.7"),
        ] {
            assert_eq!(
                refused("", &[("KM_COLLECTOR_ENDPOINT", endpoint)], ""),
                format!(
                    "KM_COLLECTOR_ENDPOINT: host {host} is not KloudMate's, and the key is not sent to a \
                     guessed host; set update-endpoint (KM_UPDATE_ENDPOINT) to the URL that ends in /agents/config-check, or \
                     config-check-interval to 0"
                )
            );
            let polls_not = [("KM_COLLECTOR_ENDPOINT", endpoint), ("KM_CONFIG_CHECK_INTERVAL", "0")];
            assert_eq!(adopted("", &polls_not, "").unwrap().url, None);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_was_said() {
        for (line, vars, file, why) in [
            (
                "--config-check-interval=60s",
                ("", ""),
                "",
                "--config-check-interval: expected whole seconds such as 60, found \"60s\"; allowed is 0 to 86400",
            ),
            (
                "",
                ("KM_CONFIG_CHECK_INTERVAL", "-1"),
                "",
                "KM_CONFIG_CHECK_INTERVAL: expected whole seconds such as 60, found \"-1\"; allowed is 0 to 86400",
            ),
            (
                "",
                ("", ""),
                "docker-mode: maybe",
                "/etc/kmagent/agent.yaml: docker-mode: expected true or false, found \"maybe\"",
            ),
            (
                "",
                ("KM_UPDATE_ENDPOINT", "api.kloudmate.com"),
                "",
                "KM_UPDATE_ENDPOINT: expected URL: must start with http:// or https://",
            ),
            (
                "",
                ("", ""),
                "api-key: \"hunter2\\nx\"",
                "/etc/kmagent/agent.yaml: api-key: has a line break or a control",
            ),
            (
                "",
                ("", ""),
                "a: 1\napi-key: [hunter2]",
                "/etc/kmagent/agent.yaml:2:10: expected a map of settings, each with a single value",
            ),
            ("", ("", ""), "hunter2", "/etc/kmagent/agent.yaml:1:1: expected a map of settings, each"),
            ("", ("", ""), "a: *hunter2", "/etc/kmagent/agent.yaml:1:4: expected a map of settings, each"),
        ] {
            let refused = refused(line, &[vars], file);
            assert!(refused.starts_with(why), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn help_names_every_row_within_100_columns() {
        let help = kloudmate_help();
        for row in KLOUDMATE_ROWS {
            assert!(help.contains(row.variable) && help.contains(row.name) && help.contains(row.help));
        }
        for line in help.lines() {
            assert!(line.len() <= 100, "{} columns: {line}", line.len());
        }
    }
}
