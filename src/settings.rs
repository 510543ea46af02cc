//! The settings: flags, environment, settings file and defaults in, [`Settings`] out, or an error that says where.
//!
//! The file is walked along [`cli::ROWS`], so a new row needs one line here, in [`load`]. A value that a stronger
//! place overrides is never looked at, beyond its key and shape. Nothing here reads the process or the disk by
//! itself: [`World`] does.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::cli::{self, Invocation, Row, Takes};
use crate::os;
use crate::units;

/// The collector that is looked up when no other is named.
pub const DEFAULT_COLLECTOR: &str = "otelcol-contrib";

/// The most bytes that a settings file, or a file named in `${file:}`, may have.
const MOST: usize = 1 << 20;

/// What the agent was told, checked. Two of them are equal if a reload changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where configs come from, and how.
    pub config: ConfigSettings,
    /// The collector and its surroundings.
    pub collector: CollectorSettings,
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
    /// Where configs come from. `None`: only what is on disk already can run.
    pub url: Option<Location>,
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

/// A text that is never printed: both `Debug` and `Display` print `<set>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("<set>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("<set>")
    }
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
    let settings = Settings {
        config: ConfigSettings {
            url: said.location("config.url")?,
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
            args: said.list("collector.args")?,
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
        state_dir: said.path("state_dir")?.unwrap_or_else(os::default_state_dir),
        runtime_dir: said.path("runtime_dir")?.unwrap_or_else(os::default_runtime_dir),
        log_level: log::LevelFilter::from_str(&said.choice("log_level")?).expect("the choices are levels of log"),
        attributes: said.attributes("attributes")?,
    };
    cross_check(&settings, &said)?;
    Ok(settings)
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
    let authorization = |(name, _): &(String, Secret)| name.eq_ignore_ascii_case("authorization");
    if config.bearer_token_file.is_some() && config.headers.iter().any(authorization) {
        let problem = "config.headers has an Authorization header already; keep one of the two";
        return Err(said.error_at("config.bearer_token_file", problem.to_owned()));
    }
    Ok(())
}

/// Everything that was said, in order of strength.
struct Said<'a> {
    invocation: &'a Invocation,
    world: &'a World,
    file: File,
}

/// A value as it was said.
struct Raw {
    text: String,
    from: Origin,
    /// Whether a message may show it: not if it may be a secret.
    shown: bool,
}

/// Who said it.
enum Origin {
    Flag,
    Variable(String),
    /// The dotted key; that of an item of a list or map is longer than that of its row.
    File(String),
    Default,
}

impl Said<'_> {
    /// The strongest thing said about a setting.
    fn raw(&self, key: &str) -> Result<Option<Raw>, SettingsError> {
        self.raw_or(key, &[])
    }

    /// The same, with variables that other programs know too, weaker than the file.
    fn raw_or(&self, key: &str, variables: &[&str]) -> Result<Option<Raw>, SettingsError> {
        if let Some(text) = self.invocation.flag(key) {
            return Ok(Some(Raw { text: text.to_owned(), from: Origin::Flag, shown: true }));
        }
        let name = row_of(key).env().expect("a setting with one value has a variable");
        if let Some(raw) = self.variable(&name)? {
            return Ok(Some(raw));
        }
        if let Some(Node::Text(text)) = self.file.get(key) {
            return self.expand(key.to_owned(), text).map(Some);
        }
        for name in variables {
            // A CGI server sets HTTP_PROXY from the request's `Proxy` header (CVE-2016-5385).
            if *name == "HTTP_PROXY" && (self.world.var)("REQUEST_METHOD").is_some() {
                continue;
            }
            if let Some(raw) = self.variable(name)? {
                return Ok(Some(raw));
            }
        }
        Ok(None)
    }

    fn variable(&self, name: &str) -> Result<Option<Raw>, SettingsError> {
        let Some(value) = (self.world.var)(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let from = Origin::Variable(name.to_owned());
        match value.into_string() {
            Ok(text) => Ok(Some(Raw { text, from, shown: true })),
            Err(_) => Err(error(Place::Variable(name.to_owned()), "its value is not UTF-8".to_owned())),
        }
    }

    /// A value of the file, with what stands in for parts of it.
    fn expand(&self, key: String, text: &str) -> Result<Raw, SettingsError> {
        match expand(text, self.world) {
            Ok(expanded) => {
                let shown = expanded.is_none();
                let text = expanded.unwrap_or_else(|| text.replace("$$", "$"));
                Ok(Raw { text, from: Origin::File(key), shown })
            }
            Err((problem, cause)) => Err(SettingsError { place: self.file.place(&key), problem, cause }),
        }
    }

    /// A setting that may be absent. `parse` says what is wrong with a text that it refuses.
    fn optional<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, SettingsError> {
        match self.raw(key)? {
            Some(raw) if !raw.text.is_empty() => self.parsed(key, &raw, parse).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// A setting with a default, which is the one that help shows.
    fn required<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        let default = || Raw { text: row_of(key).default.to_owned(), from: Origin::Default, shown: true };
        let raw = self.raw(key)?.unwrap_or_else(default);
        self.parsed(key, &raw, parse)
    }

    fn parsed<T>(&self, key: &str, raw: &Raw, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        if raw.text.contains('\0') {
            return Err(self.error(key, raw, "its value holds a NUL character".to_owned()));
        }
        parse(&raw.text).map_err(|problem| {
            let found = match (raw.text.is_empty(), raw.shown) {
                (true, _) => "nothing".to_owned(),
                (false, true) => format!("\"{}\"", cli::clip(&raw.text)),
                (false, false) => "<set>".to_owned(),
            };
            self.error(key, raw, format!("expected {}, found {found}: {problem}", row_of(key).expected()))
        })
    }

    fn time(&self, key: &str) -> Result<Duration, SettingsError> {
        self.required(key, |text| {
            let time = units::parse_time(text).map_err(|e| e.to_string())?;
            match row_of(key).takes {
                Takes::Time(least, most) if time < least || time > most => Err(outside(key)),
                _ => Ok(time),
            }
        })
    }

    fn size(&self, key: &'static str) -> Result<u64, SettingsError> {
        self.required(key, size_of(key))
    }

    fn number(&self, key: &str) -> Result<Option<i32>, SettingsError> {
        self.optional(key, |text| {
            let number: i32 = text.parse().map_err(|_| outside(key))?;
            match row_of(key).takes {
                Takes::Number(least, most) if !(least..=most).contains(&number.into()) => Err(outside(key)),
                _ => Ok(number),
            }
        })
    }

    fn choice(&self, key: &str) -> Result<String, SettingsError> {
        let words = row_of(key).value();
        self.required(key, |text| {
            if words.split('|').any(|word| word == text) {
                return Ok(text.to_owned());
            }
            Err(match cli::nearest(text, words.split('|')) {
                Some(near) => format!("did you mean {near}?"),
                None => "no such choice".to_owned(),
            })
        })
    }

    /// A path, made absolute.
    fn path(&self, key: &str) -> Result<Option<PathBuf>, SettingsError> {
        self.optional(key, |text| Ok(self.world.absolute(Path::new(text))))
    }

    /// A path, made absolute unless it is a bare name for PATH.
    fn program(&self, key: &str) -> Result<PathBuf, SettingsError> {
        let program = self.optional(key, |text| {
            let path = Path::new(text);
            Ok(if path.components().count() == 1 && path.file_name().is_some_and(|name| name == text) {
                path.to_owned()
            } else {
                self.world.absolute(path)
            })
        })?;
        Ok(program.unwrap_or_else(|| DEFAULT_COLLECTOR.into()))
    }

    fn location(&self, key: &str) -> Result<Option<Location>, SettingsError> {
        let Some(mut raw) = self.raw(key)?.filter(|raw| !raw.text.is_empty()) else {
            return Ok(None);
        };
        // Passwords stand before an `@`, tokens in the query.
        raw.shown &= !raw.text.contains(['@', '?']);
        self.parsed(key, &raw, |text| location(text, self.world)).map(Some)
    }

    fn proxy(&self, key: &str, variables: &[&str]) -> Result<Option<Secret>, SettingsError> {
        let raw = self.raw_or(key, variables)?.filter(|raw| !raw.text.is_empty());
        let Some(raw) = raw.map(|raw| Raw { shown: false, ..raw }) else {
            return Ok(None);
        };
        self.parsed(key, &raw, |text| {
            let host = match text.split_once("://") {
                None => text,
                Some((scheme, host)) if ["http", "https"].contains(&&*scheme.to_ascii_lowercase()) => host,
                Some(_) => return Err("a proxy is spoken to by http:// or https://".to_owned()),
            };
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            if host.trim_end_matches('/').is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err("write http://host:port".to_owned());
            }
            Ok(Secret(text.to_owned()))
        })
        .map(Some)
    }

    fn list(&self, key: &str) -> Result<Vec<String>, SettingsError> {
        let Some(Node::List(items)) = self.file.get(key) else {
            return Ok(Vec::new());
        };
        let raws = items.iter().enumerate().map(|(number, text)| self.expand(item(key, number), text));
        raws.map(|raw| raw.and_then(|raw| self.parsed(key, &raw, |text| Ok(text.to_owned())))).collect()
    }

    fn map(&self, key: &str) -> Result<Vec<(String, Raw)>, SettingsError> {
        let Some(Node::Map(entries)) = self.file.get(key) else {
            return Ok(Vec::new());
        };
        entries.iter().map(|(name, text)| Ok((name.clone(), self.expand(join(key, name), text)?))).collect()
    }

    fn headers(&self, key: &str) -> Result<Vec<(String, Secret)>, SettingsError> {
        let mut headers: Vec<(String, Secret)> = Vec::new();
        for (name, raw) in self.map(key)? {
            // Source: RFC 9110, section 5.6.2 (token) and 5.5 (field values).
            let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(self.error(key, &raw, "not the name of a header; write it as {Name: value}".to_owned()));
            }
            if raw.text.chars().any(|c| c.is_control() && c != '\t') {
                let problem = "a header cannot hold a line break or another control character";
                return Err(self.error(key, &raw, problem.to_owned()));
            }
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                return Err(self.error(key, &raw, "this header stands twice; keep one".to_owned()));
            }
            headers.push((name, Secret(raw.text)));
        }
        Ok(headers)
    }

    fn environment(&self, key: &str) -> Result<Vec<(String, Secret)>, SettingsError> {
        let mut variables = Vec::new();
        for (name, raw) in self.map(key)? {
            if name.is_empty() || name.contains(['=', '\0']) || raw.text.contains('\0') {
                let problem = "a variable has a name without \"=\", and no NUL character";
                return Err(self.error(key, &raw, problem.to_owned()));
            }
            variables.push((name, Secret(raw.text)));
        }
        Ok(variables)
    }

    fn attributes(&self, key: &str) -> Result<Vec<(String, String)>, SettingsError> {
        let mut attributes = Vec::new();
        for (name, raw) in self.map(key)? {
            if name.is_empty() {
                return Err(self.error(key, &raw, "an attribute needs a name".to_owned()));
            }
            attributes.push((name, raw.text));
        }
        Ok(attributes)
    }

    /// An error about a value that was said.
    fn error(&self, key: &str, raw: &Raw, problem: String) -> SettingsError {
        let place = match &raw.from {
            Origin::Flag => Place::Flag(row_of(key).flag().expect("a flag said it")),
            Origin::Variable(name) => Place::Variable(name.clone()),
            Origin::File(key) => self.file.place(key),
            Origin::Default => unreachable!("the default of {key} is refused"),
        };
        error(place, problem)
    }

    /// An error about a setting that was said somewhere.
    fn error_at(&self, key: &str, problem: String) -> SettingsError {
        match self.raw(key) {
            Ok(Some(raw)) => self.error(key, &raw, problem),
            Ok(None) => error(Place::File(self.file.path.clone()), problem),
            Err(e) => e,
        }
    }
}

/// Why nothing can stand in, and what the operating system says to it.
type NoStandIn = (String, Option<io::Error>);

/// Replaces `${env:NAME}`, `${env:NAME:-text}`, `${file:PATH}` and `$$`. `None` if there is no `${}` in it.
///
/// As in the Collector, a lone `$` stays, and what is put in is not looked at again.
fn expand(text: &str, world: &World) -> Result<Option<String>, NoStandIn> {
    let mut out = String::new();
    let mut replaced = false;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(inner) = rest.strip_prefix('{') {
            let (inner, after) =
                inner.split_once('}').ok_or(("\"${\" without \"}\"; write $$ for a dollar sign".to_owned(), None))?;
            out += &stand_in(inner, world)?;
            rest = after;
            replaced = true;
        } else {
            out.push('$');
            rest = rest.strip_prefix('$').unwrap_or(rest);
        }
    }
    out += rest;
    Ok(replaced.then_some(out))
}

/// What stands in for `${inner}`.
fn stand_in(inner: &str, world: &World) -> Result<String, NoStandIn> {
    let fail = |problem: &str| Err((problem.to_owned(), None));
    if let Some(name) = inner.strip_prefix("env:") {
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        if name.is_empty() || name.contains(['=', '\0']) {
            return fail("${env:} needs the name of a variable");
        }
        let shown = cli::clip(name);
        // As in the Collector, the default is for a variable that is not set, not for an empty one.
        return match ((world.var)(name).map(OsString::into_string), default) {
            (Some(Ok(value)), _) => Ok(value),
            (Some(Err(_)), _) => fail(&format!("the value of the variable {shown} is not UTF-8")),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => fail(&format!("the variable {shown} is not set; set it, or write ${{env:{shown}:-text}}")),
        };
    }
    let Some(path) = inner.strip_prefix("file:") else {
        return fail("only ${env:NAME} and ${file:PATH} are known; write $$ for a dollar sign");
    };
    let path = world.absolute(Path::new(path));
    let shown = path.display();
    let bytes = (world.read)(&path).map_err(|cause| (format!("cannot read {shown}"), Some(cause)))?;
    if bytes.len() > MOST {
        return fail(&format!("{shown} is larger than 1MiB"));
    }
    let Ok(mut text) = String::from_utf8(bytes) else {
        return fail(&format!("{shown} is not UTF-8"));
    };
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    text.truncate(line.map_or(text.len(), str::len));
    Ok(text)
}

fn error(place: Place, problem: String) -> SettingsError {
    SettingsError { place, problem, cause: None }
}

fn row_of(key: &str) -> &'static Row {
    cli::setting_row(key).expect("settings are asked for by their key")
}

fn outside(key: &str) -> String {
    format!("allowed is {}", row_of(key).limits().expect("it was compared with its limits"))
}

fn size_of(key: &'static str) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let size = units::parse_size(text).map_err(|e| e.to_string())?;
        match row_of(key).takes {
            Takes::Size(least, most) if size < least || size > most => Err(outside(key)),
            _ => Ok(size),
        }
    }
}

fn user_and_group(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let bad = |part: &&str| part.is_empty() || part.contains(|c: char| c.is_whitespace() || c.is_control());
    if parts.len() > 2 || parts.iter().any(bad) {
        return Err("write user or user:group, names or numbers".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads `config.url`. The errors repeat nothing of it.
fn location(text: &str, world: &World) -> Result<Location, String> {
    const KNOWN: &str = "write http://, https://, file:/// or a path (./ in front of one with a colon)";
    // One letter before the colon is a drive.
    let scheme = match text.split_once(':') {
        Some((scheme, rest)) if scheme.len() > 1 && !scheme.contains(['/', '\\']) => Some((scheme, rest)),
        Some(_) | None => None,
    };
    let Some((scheme, rest)) = scheme else {
        return Ok(Location::File(world.absolute(Path::new(text))));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {
            let rest = rest.strip_prefix("//").ok_or(KNOWN)?;
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if authority.contains('@') {
                return Err("a URL with a user name or password ends up in logs; \
                            use config.headers or config.bearer_token_file"
                    .to_owned());
            }
            let url: ureq::http::Uri = text.parse().map_err(|e| format!("{e}"))?;
            match url.authority().map(|a| (a.host(), a.port_u16(), authority.ends_with(':'))) {
                Some((host, port, false)) if !host.is_empty() && port.is_some() == has_port(authority) => {
                    Ok(Location::Url(text.to_owned()))
                }
                Some(_) | None => Err("it needs a host, and a port up to 65535 if it has one".to_owned()),
            }
        }
        "file" => {
            let path = match rest.strip_prefix("//") {
                Some(rest) => match rest.find('/') {
                    Some(at) if at == 0 || rest[..at].eq_ignore_ascii_case("localhost") => &rest[at..],
                    Some(_) | None => {
                        return Err("it names another host; write file:/// and the absolute path".to_owned());
                    }
                },
                None => rest,
            };
            if !path.starts_with('/') {
                return Err("write file:/// and the absolute path".to_owned());
            }
            let path = percent_decoded(path).ok_or("write % as %25; what is escaped has to be UTF-8")?;
            // file:///C:/x means C:/x, but only where that is an absolute path.
            let path = match path.strip_prefix('/') {
                Some(drive) if Path::new(drive).is_absolute() => Path::new(drive),
                Some(_) | None => Path::new(&path),
            };
            Ok(Location::File(world.absolute(path)))
        }
        _ => Err(KNOWN.to_owned()),
    }
}

/// Whether something like a port follows the host, which may be an IPv6 address in brackets.
fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// The settings file, as far as it can be read without knowing what a value means.
struct File {
    path: PathBuf,
    text: String,
    nodes: Vec<(&'static str, Node)>,
}

/// The value of a key.
#[derive(Debug, PartialEq)]
enum Node {
    Text(String),
    List(Vec<String>),
    Map(Vec<(String, String)>),
}

impl File {
    fn read(path: PathBuf, world: &World) -> Result<File, SettingsError> {
        let bytes = match (world.read)(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && path == os::default_settings_path() => Vec::new(),
            Err(cause) => {
                let problem = "cannot read the settings file".to_owned();
                return Err(SettingsError { place: Place::File(path), problem, cause: Some(cause) });
            }
        };
        if bytes.len() > MOST {
            let problem = "larger than 1MiB; is this the settings file?".to_owned();
            return Err(error(Place::File(path), problem));
        }
        match String::from_utf8(bytes) {
            Ok(text) => File::parse(path, text),
            Err(e) => {
                let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
                let good = String::from_utf8_lossy(good);
                let column = 1 + good.rsplit('\n').next().map_or(0, |line| line.chars().count());
                let place = Place::Spot { path, line, column, key: String::new() };
                Err(error(place, "not UTF-8".to_owned()))
            }
        }
    }

    fn parse(path: PathBuf, text: String) -> Result<File, SettingsError> {
        let mut file = File { path, text, nodes: Vec::new() };
        file.nodes = file.walk()?;
        Ok(file)
    }

    fn walk(&self) -> Result<Vec<(&'static str, Node)>, SettingsError> {
        let mut documents = serde_yaml::Deserializer::from_str(&self.text);
        let Some(first) = documents.next() else {
            return Ok(Vec::new());
        };
        let mut walk = Walk::new(None);
        let section = Section { walk: &mut walk, key: "" };
        if let Err(e) = section.deserialize(first) {
            return Err(self.refusal(&walk, &e));
        }
        match documents.next().map(|second| second.deserialize_any(Refuse)) {
            Some(Err(e)) => {
                let problem = "a second document; the settings are one, without \"---\" in between";
                Err(error(self.spot(&e, ""), problem.to_owned()))
            }
            Some(Ok(())) | None => Ok(walk.nodes),
        }
    }

    fn get(&self, key: &str) -> Option<&Node> {
        self.nodes.iter().find(|(known, _)| *known == key).map(|(_, node)| node)
    }

    /// Where the value of a key stands: a second walk that fails there on purpose.
    fn place(&self, key: &str) -> Place {
        let mut walk = Walk::new(Some(key));
        let section = Section { walk: &mut walk, key: "" };
        let first = serde_yaml::Deserializer::from_str(&self.text).next();
        match first.map(|first| section.deserialize(first)) {
            Some(Err(e)) => self.spot(&e, key),
            Some(Ok(())) | None => Place::File(self.path.clone()),
        }
    }

    fn spot(&self, e: &serde_yaml::Error, key: &str) -> Place {
        let (line, column) = e.location().map_or((1, 1), |at| (at.line(), at.column()));
        Place::Spot { path: self.path.clone(), line, column, key: printable(key) }
    }

    /// Puts the walk's own words, or else the parser's, to the place where it stopped.
    fn refusal(&self, walk: &Walk, e: &serde_yaml::Error) -> SettingsError {
        let place = if walk.misplaced { self.place(&walk.at) } else { self.spot(e, &walk.at) };
        let text = e.to_string();
        if let Some(problem) = &walk.problem {
            return error(place, problem.clone());
        }
        if let Some((_, found)) = text.split_once("invalid type: ") {
            let problem = format!("expected {}, found {}", expected(&walk.at), kind(found));
            return error(place, problem);
        }
        let at = e.location().map(|at| format!(" at line {} column {}", at.line(), at.column()));
        let text = text.replacen(&at.unwrap_or_default(), "", 1);
        error(self.spot(e, ""), format!("no YAML: {text}"))
    }
}

/// What should stand at a key.
fn expected(key: &str) -> String {
    match cli::setting_row(key) {
        Some(row) => row.expected(),
        None if is_section(key) => "a map of settings".to_owned(),
        None => "text".to_owned(),
    }
}

/// What serde found, without the value, which its own words hold.
fn kind(found: &str) -> &'static str {
    let kinds = [("sequence", "a list"), ("map", "a map"), ("unit", "nothing"), ("null", "nothing"), ("enum", "a tag")];
    let texts = ["string", "integer", "float", "boolean"].map(|kind| (kind, "a single value"));
    let known = kinds.iter().chain(&texts).find(|(kind, _)| found.starts_with(kind));
    known.map_or("something else", |(_, words)| words)
}

/// A key for messages. Odd names under it are left out: somebody may have put a secret there by mistake.
fn printable(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_[]/".contains(c);
    if key.chars().all(plain) && key.len() <= 100 {
        return key.to_owned();
    }
    let row = cli::settings().find(|row| key.starts_with(&format!("{}.", row.key)));
    row.map_or("", |row| row.key).to_owned()
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn item(key: &str, number: usize) -> String {
    format!("{key}[{number}]")
}

fn is_section(key: &str) -> bool {
    key.is_empty() || cli::settings().any(|row| row.key.starts_with(&format!("{key}.")))
}

/// The way through the file.
///
/// serde_yaml gives each error the place of the innermost key or value whose own deserializer failed. So whatever
/// is wrong fails right there, and leaves its words in `problem`.
struct Walk<'a> {
    stop_at: Option<&'a str>,
    /// The dotted key of what is being read.
    at: String,
    nodes: Vec<(&'static str, Node)>,
    problem: Option<String>,
    /// Whether serde_yaml gives the place of the map around instead, as it does for a value that is null.
    misplaced: bool,
    /// Bytes of text so far. Only aliases can make it more than the file has.
    bytes: usize,
}

impl<'a> Walk<'a> {
    fn new(stop_at: Option<&'a str>) -> Walk<'a> {
        Walk { stop_at, at: String::new(), nodes: Vec::new(), problem: None, misplaced: false, bytes: 0 }
    }

    /// Goes to a key. True if that is where to stop.
    fn enter(&mut self, key: &str) -> bool {
        key.clone_into(&mut self.at);
        self.stop_at == Some(key)
    }

    fn fail<T, E: serde::de::Error>(&mut self, problem: String) -> Result<T, E> {
        self.problem = Some(problem);
        Err(E::custom(""))
    }
}

/// Refuses whatever it meets, for the sake of the place in the error.
struct Refuse;

impl Visitor<'_> for Refuse {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("nothing")
    }
}

/// A map whose keys are sections and settings.
struct Section<'w, 'a> {
    walk: &'w mut Walk<'a>,
    key: &'w str,
}

impl<'de> DeserializeSeed<'de> for Section<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        if self.walk.enter(self.key) { d.deserialize_any(Refuse) } else { d.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Section<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map")
    }

    /// A section whose keys are all comments.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    /// A file without anything.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Section { walk, key } = self;
        let mut seen = Vec::new();
        while let Some(name) = map.next_key_seed(Name { walk, key, seen: &seen, free: false })? {
            let key = &join(key, &name);
            match cli::setting_row(key) {
                None => map.next_value_seed(Section { walk, key })?,
                Some(row) => {
                    let node = map.next_value_seed(Value { walk, row })?;
                    walk.nodes.push((row.key, node));
                }
            }
            seen.push(name);
        }
        Ok(())
    }
}

/// A key of a map: known, unless it is free, and not a repetition.
struct Name<'w, 'a> {
    walk: &'w mut Walk<'a>,
    key: &'w str,
    seen: &'w [String],
    free: bool,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        self.walk.enter(self.key);
        // Not a map or a list: those would be refused without a word about keys.
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        let key = join(self.key, name);
        if self.seen.iter().any(|seen| seen == name) {
            self.walk.enter(&key);
            return self.walk.fail("stands twice; keep one".to_owned());
        }
        let known = !name.contains('.') && !name.is_empty() && (cli::setting_row(&key).is_some() || is_section(&key));
        if self.free || known {
            return Ok(name.to_owned());
        }
        self.walk.enter(&key);
        self.walk.fail(unknown_key(self.key, name))
    }
}

fn unknown_key(section: &str, name: &str) -> String {
    if let (Some(row), Some((head, tail))) = (cli::setting_row(&join(section, name)), name.split_once('.')) {
        return format!("unknown key; nest it: {head}: {{{tail}: {}}}", row.value());
    }
    let head = join(section, "");
    let known = cli::settings().filter_map(|row| row.key.strip_prefix(&head));
    let mut here: Vec<&str> = known.map(|key| key.split('.').next().unwrap_or(key)).collect();
    here.dedup();
    let elsewhere = || {
        let keys = cli::settings().map(|row| row.key);
        keys.into_iter().find(|key| key.rsplit('.').next() == Some(name)).map(str::to_owned)
    };
    match cli::nearest(name, here.iter().copied()).map(|near| join(section, near)).or_else(elsewhere) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => format!("unknown key; known here: {}", here.join(", ")),
    }
}

/// The value of a setting, in the shape that its row takes.
struct Value<'w, 'a> {
    walk: &'w mut Walk<'a>,
    row: &'static Row,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        let key = self.row.key;
        match self.row.takes {
            Takes::List | Takes::Map if self.walk.enter(key) => {
                d.deserialize_any(Refuse).map(|()| Node::List(Vec::new()))
            }
            Takes::List => d.deserialize_any(Items(self)).map(Node::List),
            Takes::Map => d.deserialize_any(Entries(self)).map(Node::Map),
            Takes::Nothing
            | Takes::Text(_)
            | Takes::Choice(_)
            | Takes::Time(..)
            | Takes::Size(..)
            | Takes::Number(..) => Scalar { walk: self.walk, key }.deserialize(d).map(Node::Text),
        }
    }
}

struct Items<'w, 'a>(Value<'w, 'a>);

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let Value { walk, row } = self.0;
        let mut items = Vec::new();
        while let Some(text) = seq.next_element_seed(Scalar { walk, key: &item(row.key, items.len()) })? {
            items.push(text);
        }
        Ok(items)
    }
}

struct Entries<'w, 'a>(Value<'w, 'a>);

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_unit<E>(self) -> Result<Vec<(String, String)>, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<(String, String)>, A::Error> {
        let Value { walk, row } = self.0;
        let mut entries = Vec::new();
        let mut seen = Vec::new();
        while let Some(name) = map.next_key_seed(Name { walk, key: row.key, seen: &seen, free: true })? {
            let text = map.next_value_seed(Scalar { walk, key: &join(row.key, &name) })?;
            seen.push(name.clone());
            entries.push((name, text));
        }
        Ok(entries)
    }
}

/// One text, just as it is written: `1.10` stays `1.10`.
struct Scalar<'w, 'a> {
    walk: &'w mut Walk<'a>,
    key: &'w str,
}

impl<'de> DeserializeSeed<'de> for Scalar<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        if self.walk.enter(self.key) {
            return d.deserialize_any(Refuse).map(|()| String::new());
        }
        d.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<String, E> {
        let expected = expected(self.key);
        self.walk.misplaced = true;
        self.walk.fail(format!("expected {expected}, found nothing; leave the key out, or write \"\""))
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        d.deserialize_str(self)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        self.walk.bytes += text.len();
        if self.walk.bytes > MOST {
            return self.walk.fail("more than 1MiB of text; write it out without aliases".to_owned());
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::error::Error;

    use super::*;
    use crate::cli::ROWS;

    const FILE: &str = "/etc/otelet/otelet.yaml";

    /// A made-up host: its variables and files.
    fn world(vars: &[(&str, &str)], files: &[(&str, &str)]) -> World {
        let own = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
        };
        let (vars, files) = (own(vars), own(files));
        World {
            var: Box::new(move |name| vars.get(name).map(OsString::from)),
            read: Box::new(move |path| match files.get(path.to_str().unwrap()) {
                Some(text) => Ok(text.clone().into_bytes()),
                None => Err(io::ErrorKind::NotFound.into()),
            }),
            here: PathBuf::from("/here"),
        }
    }

    fn invocation(flags: &[String]) -> Invocation {
        cli::parse(flags.iter().map(OsString::from)).unwrap()
    }

    fn loaded(yaml: &str) -> Settings {
        load(&Invocation::default(), &world(&[], &[(FILE, yaml)])).unwrap_or_else(|e| panic!("{e}"))
    }

    fn with_vars(yaml: &str, vars: &[(&str, &str)]) -> Settings {
        load(&Invocation::default(), &world(vars, &[(FILE, yaml)])).unwrap_or_else(|e| panic!("{e}"))
    }

    fn refused_in(yaml: &str, world: &World) -> String {
        let e = load(&Invocation::default(), world).expect_err(yaml);
        let cause = e.source().map_or(String::new(), |cause| format!(": {cause}"));
        format!("{e}{cause}").replace(FILE, "FILE")
    }

    fn refused(yaml: &str) -> String {
        refused_in(yaml, &world(&[], &[(FILE, yaml)]))
    }

    /// A value for a row, which is not its default.
    fn sample(row: &Row) -> &'static str {
        match (row.key, row.takes) {
            ("config.url" | "config.http_proxy" | "config.https_proxy", _) => "http://example.org:1",
            (_, Takes::Time(..)) => "7s",
            (_, Takes::Size(..)) => "20MiB",
            (_, Takes::Number(..)) => "7",
            (_, Takes::Choice(words)) => words.rsplit('|').next().unwrap(),
            (_, Takes::Text(_)) => "some:thing",
            (_, Takes::List) => "[a]",
            (_, Takes::Map) => "{a: b}",
            (_, Takes::Nothing) => unreachable!(),
        }
    }

    /// A settings file that sets everything.
    fn everything() -> String {
        let mut yaml = String::new();
        let mut section = "";
        for row in cli::settings() {
            let value = sample(row);
            match row.key.split_once('.') {
                Some((head, name)) => {
                    if section != head {
                        yaml += &format!("{head}:\n");
                        section = head;
                    }
                    yaml += &format!("  {name}: {value}\n");
                }
                None => yaml += &format!("{}: {value}\n", row.key),
            }
        }
        yaml
    }

    fn in_yaml(row: &Row) -> String {
        match row.key.split_once('.') {
            Some((section, name)) => format!("{section}: {{{name}: \"{}\"}}", sample(row)),
            None => format!("{}: {}", row.key, sample(row)),
        }
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        let settings = load(&Invocation::default(), &world(&[], &[])).unwrap();

        assert_eq!(settings, loaded(""));
        assert_eq!(settings.config.url, None);
        assert_eq!(settings.config.poll_every, Duration::from_secs(30));
        assert_eq!(settings.config.timeout, Duration::from_secs(30));
        assert_eq!(settings.config.max_size, 4 << 20);
        assert_eq!(settings.collector.path, Path::new(DEFAULT_COLLECTOR));
        assert_eq!(settings.collector.stop_timeout, Duration::from_secs(35));
        assert_eq!(settings.collector.probation, Duration::from_secs(30));
        assert_eq!(settings.collector.log, CollectorLog::Pass);
        assert_eq!(settings.collector.log_rate, 64 << 10);
        assert_eq!(settings.collector.memory_limit, None);
        assert_eq!(settings.state_dir, os::default_state_dir());
        assert_eq!(settings.runtime_dir, os::default_runtime_dir());
        assert_eq!(settings.log_level, log::LevelFilter::Info);
    }

    #[test]
    fn each_setting_with_one_value_is_a_flag_a_variable_and_a_key() {
        // The two halves of a client certificate need each other.
        let halves = ["config.client_cert_file", "config.client_key_file"];
        for row in cli::settings().filter(|row| row.kind == cli::Kind::Setting) {
            let beside: Vec<String> = halves
                .iter()
                .filter(|half| halves.contains(&row.key) && **half != row.key)
                .map(|half| format!("{}=/half", setting_row(half).flag().unwrap()))
                .collect();
            let flag = format!("{}={}", row.flag().unwrap(), sample(row));
            let flags: Vec<String> = beside.iter().cloned().chain([flag]).collect();

            let by_flag = load(&invocation(&flags), &world(&[], &[])).unwrap();
            let by_variable = load(&invocation(&beside), &world(&[(&row.env().unwrap(), sample(row))], &[])).unwrap();
            let by_key = load(&invocation(&beside), &world(&[], &[(FILE, &in_yaml(row))])).unwrap();

            assert_eq!(by_flag, by_variable, "{}", row.key);
            assert_eq!(by_flag, by_key, "{}", row.key);
            assert_ne!(by_flag, loaded(""), "{} has no effect", row.key);
        }
    }

    fn setting_row(key: &str) -> &'static Row {
        cli::setting_row(key).unwrap()
    }

    #[test]
    fn lists_and_maps_come_from_the_file() {
        let settings = loaded(
            "config: {headers: {X-One: a}}\n\
             collector: {args: [--feature-gates=x, 7], env: {A: b, C: 1.10}}\n\
             attributes: {site: 12, edge: true, service.name: x}\n",
        );

        assert_eq!(settings.config.headers, [("X-One".to_owned(), Secret("a".to_owned()))]);
        assert_eq!(settings.collector.args, ["--feature-gates=x", "7"]);
        assert_eq!(settings.collector.env[1], ("C".to_owned(), Secret("1.10".to_owned())));
        let attributes = [("site", "12"), ("edge", "true"), ("service.name", "x")];
        assert_eq!(settings.attributes, attributes.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn flag_beats_variable_beats_file_beats_default() {
        let flag = ["--config-poll-every=1s".to_owned()];
        let vars = [("OTELET_CONFIG_POLL_EVERY", "2s")];
        let file = [(FILE, "config: {poll_every: 3s}")];
        let poll_every = |flags: &[String], vars: &[(&str, &str)], files: &[(&str, &str)]| {
            load(&invocation(flags), &world(vars, files)).unwrap().config.poll_every.as_secs()
        };

        assert_eq!(poll_every(&flag, &vars, &file), 1);
        assert_eq!(poll_every(&[], &vars, &file), 2);
        assert_eq!(poll_every(&[], &[("OTELET_CONFIG_POLL_EVERY", "")], &file), 3);
        assert_eq!(poll_every(&[], &[], &file), 3);
        assert_eq!(poll_every(&[], &[], &[]), 30);
    }

    #[test]
    fn a_value_that_is_overridden_is_not_judged() {
        let yaml = "config: {poll_every: fast, url: \"${env:UNSET}\"}";
        let flags = ["--config-poll-every=1s".to_owned(), "--config-url=".to_owned()];
        assert_eq!(load(&invocation(&flags), &world(&[], &[(FILE, yaml)])).unwrap().config.url, None);
    }

    #[test]
    fn the_settings_file_is_named_by_flag_then_by_variable() {
        let vars = [("OTELET_SETTINGS", "var.yaml")];
        let files = [("/here/flag.yaml", "state_dir: /flag"), ("/here/var.yaml", "state_dir: /var")];
        let state_dir = |flags: &[String], vars| load(&invocation(flags), &world(vars, &files)).unwrap().state_dir;

        assert_eq!(state_dir(&["--settings=./flag.yaml".to_owned()], &vars), Path::new("/flag"));
        assert_eq!(state_dir(&[], &vars), Path::new("/var"));
        assert_eq!(state_dir(&[], &[]), os::default_state_dir());
    }

    #[test]
    fn a_missing_settings_file_is_fine_only_at_the_default_path() {
        let e = load(&invocation(&["--settings=/x.yaml".to_owned()]), &world(&[], &[])).unwrap_err();
        assert_eq!(e.to_string(), "/x.yaml: cannot read the settings file");
        assert_eq!(e.source().unwrap().to_string(), "entity not found");
        assert_eq!(e.exit_status(), cli::EXIT_SETTINGS);
        assert!(load(&invocation(&[format!("--settings={FILE}")]), &world(&[], &[])).is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        for (yaml, message) in [
            ("config:\n  pol_every: 5s", "FILE:2:3: config.pol_every: unknown key; did you mean config.poll_every?"),
            ("colector: {}", "FILE:1:1: colector: unknown key; did you mean collector?"),
            ("poll_every: 5s", "FILE:1:1: poll_every: unknown key; did you mean config.poll_every?"),
            ("config.url: x", "FILE:1:1: config.url: unknown key; nest it: config: {url: URL}"),
            (
                "state_dir: /x\nfrobnicate: 1",
                "FILE:2:1: frobnicate: unknown key; known here: config, collector, attributes, state_dir, \
                 runtime_dir, log_level",
            ),
            (
                "json: true",
                "FILE:1:1: json: unknown key; known here: config, collector, attributes, state_dir, runtime_dir, log_level",
            ),
        ] {
            assert_eq!(refused(yaml), message);
        }
    }

    #[test]
    fn a_wrong_type_is_refused_with_what_was_expected() {
        for (yaml, message) in [
            ("config:\n  poll_every: [5s]", "FILE:2:15: config.poll_every: expected TIME such as 30s, found a list"),
            ("config:\n  url: {a: b}", "FILE:2:8: config.url: expected URL, found a map"),
            ("config: 5", "FILE:1:9: config: expected a map of settings, found a single value"),
            ("config: !x {url: a}", "FILE:1:9: config: expected a map of settings, found a tag"),
            ("- config", "FILE:1:1: expected a map of settings, found a list"),
            ("hello", "FILE:1:1: expected a map of settings, found a single value"),
            (
                "collector: {args: -v}",
                "FILE:1:19: collector.args: expected a list such as [a, b], found a single value",
            ),
            ("collector:\n  args:\n  - a\n  - [b]", "FILE:4:5: collector.args[1]: expected text, found a list"),
            ("attributes: [a]", "FILE:1:13: attributes: expected a map such as {name: value}, found a list"),
            ("attributes:\n  a: {b: c}", "FILE:2:6: attributes.a: expected text, found a map"),
            (
                "config:\n  url:\n  timeout: 5s",
                "FILE:2:7: config.url: expected URL, found nothing; leave the key out, or write \"\"",
            ),
            (
                "attributes: {a: ~}",
                "FILE:1:17: attributes.a: expected text, found nothing; leave the key out, or write \"\"",
            ),
            ("[a]: b", "FILE:1:1: expected a map of settings, found a list"),
        ] {
            assert_eq!(refused(yaml), message);
        }
    }

    #[test]
    fn an_impossible_value_is_refused_with_its_limits() {
        for (yaml, message) in [
            (
                "config: {poll_every: 30}",
                "FILE:1:22: config.poll_every: expected TIME such as 30s, found \"30\": give a unit, such as 30s",
            ),
            (
                "config:\n  timeout: 11m",
                "FILE:2:12: config.timeout: expected TIME such as 30s, found \"11m\": allowed is 1s to 10m",
            ),
            (
                "config: {max_size: 1GiB}",
                "FILE:1:20: config.max_size: expected SIZE such as 4MiB, found \"1GiB\": allowed is 1KiB to 64MiB",
            ),
            (
                "collector: {nice: 20}",
                "FILE:1:19: collector.nice: expected a whole NUMBER, found \"20\": allowed is -20 to 19",
            ),
            (
                "collector: {log: dorp}",
                "FILE:1:18: collector.log: expected one of pass, drop, found \"dorp\": did you mean drop?",
            ),
            (
                "log_level: loud",
                "FILE:1:12: log_level: expected one of error, warn, info, debug, trace, found \"loud\": no such choice",
            ),
            (
                "collector: {run_as: \"a:b:c\"}",
                "FILE:1:21: collector.run_as: expected USER[:GROUP], found \"a:b:c\": write user or user:group, names or numbers",
            ),
            (
                "config: {poll_every: ''}",
                "FILE:1:22: config.poll_every: expected TIME such as 30s, found nothing: give a number and a unit, such as 30s",
            ),
            ("state_dir: \"a\\0b\"", "FILE:1:12: state_dir: its value holds a NUL character"),
        ] {
            assert_eq!(refused(yaml), message);
        }
        for yaml in
            ["config: {poll_every: 99ms}", "collector: {memory_limit: 15MiB}", "collector: {oom_score_adj: 1001}"]
        {
            assert!(refused(yaml).contains("allowed is"), "{yaml}");
        }
    }

    #[test]
    fn a_flag_or_variable_is_named_in_its_error() {
        let e = load(&invocation(&["--config-poll-every=fast".to_owned()]), &world(&[], &[])).unwrap_err();
        assert_eq!(
            e.to_string(),
            "--config-poll-every: expected TIME such as 30s, found \"fast\": give a number and a unit, such as 30s"
        );
        assert_eq!(e.exit_status(), cli::EXIT_USAGE);

        let e = load(&Invocation::default(), &world(&[("OTELET_COLLECTOR_NICE", "x")], &[])).unwrap_err();
        assert_eq!(e.to_string(), "OTELET_COLLECTOR_NICE: expected a whole NUMBER, found \"x\": allowed is -20 to 19");
        assert_eq!(e.exit_status(), cli::EXIT_SETTINGS);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for (yaml, message) in [
            ("state_dir: /a\nstate_dir: /b", "FILE:2:1: state_dir: stands twice; keep one"),
            ("config:\n  url: a\nconfig:\n  url: b", "FILE:3:1: config: stands twice; keep one"),
            ("attributes: {a: b, a: c}", "FILE:1:20: attributes.a: stands twice; keep one"),
            ("config: {headers: {A: b, a: c}}", "FILE:1:29: config.headers.a: this header stands twice; keep one"),
        ] {
            assert_eq!(refused(yaml), message);
        }
    }

    #[test]
    fn what_is_not_one_short_yaml_document_is_refused() {
        assert_eq!(
            refused("state_dir: /a\n---\nstate_dir: /b"),
            "FILE:3:1: a second document; the settings are one, without \"---\" in between"
        );
        assert_eq!(
            refused("config:\n  url: a\n bad: b"),
            "FILE:3:2: no YAML: did not find expected key, while parsing a block mapping"
        );
        assert_eq!(refused(&"#".repeat(MOST + 1)), "FILE: larger than 1MiB; is this the settings file?");
        let mut binary = world(&[], &[]);
        binary.read = Box::new(|_| Ok(b"config:\n  url: \xff".to_vec()));
        assert_eq!(refused_in("binary", &binary), "FILE:2:8: not UTF-8");
    }

    #[test]
    fn a_file_of_comments_or_an_empty_section_says_nothing() {
        for yaml in ["", "\n", "# nothing\n", "---\n", "config:\n", "config: {}\ncollector:\nattributes:\n", "\u{feff}"]
        {
            assert_eq!(loaded(yaml), loaded(""), "{yaml:?}");
        }
    }

    #[test]
    fn aliases_cannot_blow_the_settings_up() {
        let anchor = format!("attributes: {{a: &a {}}}\n", "x".repeat(1 << 16));
        let yaml = format!("{anchor}collector: {{args: [{}*a]}}", "*a,".repeat(1 << 16));
        assert_eq!(refused(&yaml).split_once(": more").unwrap().1, " than 1MiB of text; write it out without aliases");
    }

    #[test]
    fn variables_and_files_stand_in_for_values() {
        let yaml = "config:\n  url: https://${env:HOST}/${env:NONE:-v1}\n  headers: {X-Token: \"${file:token}\"}\n\
                    collector: {args: [\"$$x\", \"$y\", \"a$\", \"${env:EMPTY:-no}\", \"${env:DOLLAR}\"]}\n\
                    attributes: {site: \"${file:/site}!\"}\n";
        let vars = [("HOST", "c.example"), ("EMPTY", ""), ("DOLLAR", "${env:HOST}")];
        let files = [(FILE, yaml), ("/here/token", "t0k\n"), ("/site", "berlin\r\n")];
        let settings = load(&Invocation::default(), &world(&vars, &files)).unwrap();

        assert_eq!(settings.config.url, Some(Location::Url("https://c.example/v1".to_owned())));
        assert_eq!(settings.config.headers[0].1.expose(), "t0k");
        assert_eq!(settings.collector.args, ["$x", "$y", "a$", "", "${env:HOST}"]);
        assert_eq!(settings.attributes[0].1, "berlin!");
    }

    #[test]
    fn what_cannot_stand_in_is_refused() {
        for (yaml, message) in [
            (
                "attributes:\n  a: x${env:NONE}",
                "FILE:2:6: attributes.a: the variable NONE is not set; set it, or write ${env:NONE:-text}",
            ),
            ("attributes: {a: \"${file:/none}\"}", "FILE:1:17: attributes.a: cannot read /none: entity not found"),
            (
                "attributes: {a: \"${env:X\"}",
                "FILE:1:17: attributes.a: \"${\" without \"}\"; write $$ for a dollar sign",
            ),
            (
                "attributes: {a: \"${X}\"}",
                "FILE:1:17: attributes.a: only ${env:NAME} and ${file:PATH} are known; write $$ for a dollar sign",
            ),
            ("attributes: {a: \"${env:}\"}", "FILE:1:17: attributes.a: ${env:} needs the name of a variable"),
        ] {
            assert_eq!(refused(yaml), message);
        }
    }

    #[test]
    fn a_location_is_a_url_or_an_absolute_path() {
        let file = |path: &str| Ok(Location::File(path.into()));
        let url = |url: &str| Ok(Location::Url(url.to_owned()));
        let world = world(&[], &[]);
        for (text, expected) in [
            ("https://c.example/v1?a=b", url("https://c.example/v1?a=b")),
            ("HTTP://[::1]:8080", url("HTTP://[::1]:8080")),
            ("http://c.example:80/x:y@z", url("http://c.example:80/x:y@z")),
            ("file:///etc/a%20b%2e.yaml", file("/etc/a b..yaml")),
            ("file://localhost/a", file("/a")),
            ("file:/a", file("/a")),
            ("/a/./b", file("/a/b")),
            ("a.yaml", file("/here/a.yaml")),
            ("./a:b.yaml", file("/here/a:b.yaml")),
            ("../a.yaml", file("/here/../a.yaml")),
        ] {
            assert_eq!(location(text, &world), expected, "{text}");
        }
        for text in [
            "ftp://c.example/x",
            "c.example:4318/x",
            "http:c.example",
            "http://",
            "http:///x",
            "http://c.example:99999/",
            "http://c.example:/",
            "http://c.example:x/",
            "http://a b/",
            "file://host/a",
            "file:a",
            "file://",
            "file:///a%2",
            "file:///a%ff",
            "file:///a%00",
        ] {
            assert!(location(text, &world).is_err(), "{text}");
        }
        assert_eq!(
            refused("config: {url: \"ftp://c.example\"}"),
            "FILE:1:15: config.url: expected URL, found \"ftp://c.example\": write http://, https://, file:/// or a \
             path (./ in front of one with a colon)"
        );
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        assert_eq!(
            refused("config: {url: \"https://me:hunter2@c.example\"}"),
            "FILE:1:15: config.url: expected URL, found <set>: a URL with a user name or password ends up in logs; \
             use config.headers or config.bearer_token_file"
        );
    }

    #[test]
    fn the_collector_is_a_name_for_path_or_an_absolute_path() {
        let program = |text: &str| loaded(&format!("collector: {{path: \"{text}\"}}")).collector.path;
        assert_eq!(program("otelcol"), Path::new("otelcol"));
        assert_eq!(program("./otelcol"), Path::new("/here/otelcol"));
        assert_eq!(program("bin/otelcol"), Path::new("/here/bin/otelcol"));
        assert_eq!(program("/bin/otelcol"), Path::new("/bin/otelcol"));
        assert_eq!(program(""), Path::new(DEFAULT_COLLECTOR));
    }

    #[test]
    fn proxies_come_from_the_ordinary_variables_last() {
        let both = [("HTTP_PROXY", "upper:1"), ("http_proxy", "lower:1"), ("HTTPS_PROXY", "s:1"), ("NO_PROXY", "x,y")];
        let config = with_vars("", &both).config;
        assert_eq!(config.http_proxy.unwrap().expose(), "lower:1");
        assert_eq!(config.https_proxy.unwrap().expose(), "s:1");
        assert_eq!(config.no_proxy, "x,y");

        let config = with_vars("config: {http_proxy: \"\", https_proxy: own:1, no_proxy: z}", &both).config;
        assert_eq!(config.http_proxy, None);
        assert_eq!(config.https_proxy.unwrap().expose(), "own:1");
        assert_eq!(config.no_proxy, "z");
    }

    #[test]
    fn upper_case_http_proxy_is_not_trusted_under_a_cgi_server() {
        let upper = ("HTTP_PROXY", "http://evil:1");
        assert!(with_vars("", &[upper]).config.http_proxy.is_some());
        assert!(with_vars("", &[upper, ("REQUEST_METHOD", "GET")]).config.http_proxy.is_none());
    }

    #[test]
    fn a_proxy_that_cannot_be_one_is_refused_without_repeating_it() {
        assert_eq!(
            refused_in("", &world(&[("https_proxy", "socks5://me:hunter2@p:1")], &[])),
            "https_proxy: expected URL, found <set>: a proxy is spoken to by http:// or https://"
        );
        for proxy in ["http://", "http://u:p@", "a b:1"] {
            assert!(refused(&format!("config: {{http_proxy: \"{proxy}\"}}")).contains("http://host:port"));
        }
    }

    #[test]
    fn settings_that_need_or_exclude_each_other_are_checked() {
        for (yaml, message) in [
            (
                "config:\n  client_cert_file: /c",
                "FILE:2:21: config.client_cert_file: needs config.client_key_file beside it",
            ),
            (
                "config:\n  client_key_file: /k",
                "FILE:2:20: config.client_key_file: needs config.client_cert_file beside it",
            ),
            (
                "config:\n  headers: {authorization: x}\n  bearer_token_file: /t",
                "FILE:3:22: config.bearer_token_file: config.headers has an Authorization header already; keep one \
                 of the two",
            ),
        ] {
            assert_eq!(refused(yaml), message);
        }
    }

    #[test]
    fn headers_and_variables_are_ones_that_can_be_sent() {
        assert_eq!(
            refused("config: {headers: {A: \"b\\r\\nc\"}}"),
            "FILE:1:23: config.headers.A: a header cannot hold a line break or another control character"
        );
        assert_eq!(
            refused("config: {headers: {\"Authorization: Bearer hunter2\": x}}"),
            "FILE:1:53: config.headers: not the name of a header; write it as {Name: value}"
        );
        assert_eq!(
            refused("collector: {env: {\"A=hunter2\": b}}"),
            "FILE:1:32: collector.env: a variable has a name without \"=\", and no NUL character"
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let yaml =
            "config: {headers: {A: hunter2}, http_proxy: \"http://u:hunter2@p\"}\ncollector: {env: {A: hunter2}}";
        let printed = format!("{:?} {}", loaded(yaml), Secret("hunter2".to_owned()));
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.ends_with(" <set>"));
    }

    #[test]
    fn a_secret_that_stands_in_the_wrong_place_is_not_printed() {
        for row in cli::settings() {
            let yaml = in_yaml(row).replace(sample(row), "ftp://${env:TOKEN} \\n");
            let world = world(&[("TOKEN", "hunter2")], &[(FILE, &yaml)]);
            if let Err(e) = load(&Invocation::default(), &world) {
                assert!(!format!("{e} {e:?}").contains("hunter2"), "{e}");
            }
        }
    }

    #[test]
    fn everything_together_is_accepted() {
        let settings = loaded(&everything());
        assert_eq!(settings.collector.log, CollectorLog::Drop);
        assert_eq!(settings.log_level, log::LevelFilter::Trace);
        assert!(settings.config.client_cert_file.is_some());
    }

    #[test]
    fn no_mutation_of_a_settings_file_panics_or_prints_a_secret() {
        const SPLICES: &[&str] = &[
            "\n", ": ", "- ", "[", "]", "{", "}", "&a ", "*a", "!t ", "|\n", "? ", "---\n", "'", "\"", "\\", "#",
            "<<: ", "${env:", "${file:", "}", "$$", "~", "\u{0}", "\u{feff}", "é", "%", "@", ":", "0", "-", "...",
        ];
        let vars = [("TOKEN", "hunter2"), ("TIME", "hunter2")];
        let valid = everything().replace("{a: b}", "{a: \"${env:TOKEN}\"}").replace("7s", "${env:TIME:-7s}");
        let mut random = fastrand::Rng::with_seed(3);
        let mut accepted = 0;
        for round in 0..4000 {
            let mut bytes = valid.clone().into_bytes();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                let end = bytes.len().min(at + random.usize(..20));
                match random.u8(..4) {
                    0 => drop(bytes.splice(at..at, random.choice(SPLICES).unwrap().bytes())),
                    1 => drop(bytes.drain(at..end)),
                    2 => bytes[at] = random.u8(..),
                    _ => {
                        let copy = bytes[at..end].to_vec();
                        let to = random.usize(..bytes.len());
                        bytes.splice(to..to, copy);
                    }
                }
            }
            let text = bytes.clone();
            let mut world = world(&vars[..1 + round % 2], &[]);
            world.read = Box::new(move |path| match path.to_str() {
                Some(FILE) => Ok(text.clone()),
                _ => Err(io::ErrorKind::NotFound.into()),
            });
            match load(&Invocation::default(), &world) {
                Ok(_) => accepted += 1,
                Err(e) => assert!(!format!("{e} {e:?}").contains("hunter2"), "{e}"),
            }
        }
        assert!(accepted > 0, "all mutations are refused: the file was not valid before them");
    }

    #[test]
    fn the_first_row_is_the_settings_file() {
        assert_eq!(ROWS[0].key, "settings");
        assert_eq!(ROWS[0].default, FILE);
    }
}
