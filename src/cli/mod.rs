//! Every flag once. Each row of [`ROWS`] gives a flag, its environment name, its key in the settings file, its
//! default, its limits and its help; `pages` prints the help text, the man page and the settings reference from it.

pub mod completions;
mod installer;
mod pages;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::settings::{Flags, kloudmate_row};
pub use installer::installer_args;
use otelet_core::text::{clip, nearest};
use otelet_core::units::{format_size, format_time};
pub use pages::{help, man, settings_reference};

/// What the agent is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Command {
    /// Run the agent.
    #[default]
    Run,
    /// Read the settings, ask the source once, validate what it offers.
    Validate,
    /// Print what runs.
    Status,
    /// Go back to the config before the last good one.
    Rollback,
    /// Put what support asks for into one archive.
    Diagnose,
    /// Print the version.
    Version,
    /// Print [`help`].
    Help,
}

/// The commands, their names and their help.
pub static COMMANDS: &[(Command, &str, &str)] = &[
    (Command::Run, "run", "Run the agent. This is the default."),
    (Command::Validate, "validate", "Read the settings, ask the config source once, validate; start nothing."),
    (
        Command::Status,
        "status",
        "What runs, since when, from where; --watch, --json for machines, --healthy for probes.",
    ),
    (Command::Rollback, "rollback", "Back to the config before the last good one; --clear forgets refused configs."),
    (
        Command::Diagnose,
        "diagnose",
        "Write settings, status, configs and the last logs to one archive, without secrets.",
    ),
    (Command::Version, "version", "Print the version."),
    (Command::Help, "help", "Print this text."),
];

/// The commands that read the settings.
const READS_SETTINGS: &[Command] =
    &[Command::Run, Command::Validate, Command::Status, Command::Rollback, Command::Diagnose];
const EVERY: &[Command] = &[
    Command::Run,
    Command::Validate,
    Command::Status,
    Command::Rollback,
    Command::Diagnose,
    Command::Version,
    Command::Help,
];

/// One flag, or one key of the settings file.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The key in the settings file, `config.poll_every`. A flag that is no setting has a key of the same form.
    pub key: &'static str,
    /// What values it takes, and within which limits.
    pub takes: Takes,
    /// What happens if nothing is said. Empty: nothing is set.
    pub default: &'static str,
    /// One or two sentences, without the default.
    pub help: &'static str,
    /// Where it may be given.
    pub kind: Kind,
}

/// The kind of value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Takes {
    /// No value: the flag alone says it.
    Nothing,
    /// Any text, under the name that help shows for it.
    Text(&'static str),
    /// One of the words between the bars.
    Choice(&'static str),
    /// A time between two limits.
    Time(Duration, Duration),
    /// A number of bytes between two limits.
    Size(u64, u64),
    /// A whole number between two limits.
    Number(i64, i64),
    /// A list of texts, in the settings file only.
    List,
    /// A map from names to texts, in the settings file only.
    Map,
}

/// Where a row may be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Flag, environment and settings file.
    Setting,
    /// The settings file only: it has more than one value.
    File,
    /// A flag of these commands; if it takes a value, the environment too.
    Flag(&'static [Command]),
}

use Takes::{Choice, List, Map, Nothing, Number, Size, Text, Time};

/// Every flag and every setting, in the order in which help shows them.
#[rustfmt::skip] // A row is a line.
pub static ROWS: &[Row] = &[
    flag("settings", Text("PATH"), "/etc/otelet/otelet.yaml", READS_SETTINGS, "The settings file. The default one may be missing."),

    setting("config.url", Text("URL"), "", "Where configs come from: http://, https://, file:// or a path. An unchanged config costs one 304; a file is watched, not polled. Without it: the config that is built in for the environment."),
    setting("config.protocol", Choice("get|kloudmate|opamp"), "get", "How the server at config.url is spoken to: a plain GET, KloudMate's config-check, or OpAMP over HTTP."),
    setting("config.role", Choice("host|docker|daemonset|deployment"), "host", "With KloudMate: as what the agent asks. In a pod it takes the part of the answer that is meant for it."),
    setting("config.cluster", Text("NAME"), "", "With KloudMate in a pod: the name of the cluster."),
    file_only("config.fallback", List, "Files and URLs, asked in turn by plain GET while config.url has never answered or has been silent for config.fallback_after."),
    setting("config.fallback_after", Time(ms(0), hours(24)), "10m", "How long config.url may be silent before config.fallback is asked."),
    setting("config.public_key", Text("KEY"), "", "A minisign public key: only configs with a signature of it beside them (.minisig) are accepted, and none older than the newest."),
    setting("config.poll_every", Time(ms(10), hours(24)), "30s", "Time between polls."),
    setting("config.timeout", Time(secs(1), secs(600)), "30s", "Time for one exchange with the source in all."),
    setting("config.max_size", Size(KIB, 64 * MIB), "4MiB", "A config above this size is refused."),
    file_only("config.headers", Map, "Headers sent with each request, by name."),
    setting("config.bearer_token_file", Text("PATH"), "", "A file with a token to send as `Authorization: Bearer`. Read again when it changes."),
    setting("config.ca_file", Text("PATH"), "", "Certificate authorities to trust, in PEM, instead of the built-in ones."),
    setting("config.client_cert_file", Text("PATH"), "", "The certificate to show to the server, in PEM. Needs the key."),
    setting("config.client_key_file", Text("PATH"), "", "The private key of that certificate, in PEM."),
    setting("config.http_proxy", Text("URL"), "", "Proxy for http://. Without it: http_proxy, HTTP_PROXY."),
    setting("config.https_proxy", Text("URL"), "", "Proxy for https://. Without it: https_proxy, HTTPS_PROXY."),
    setting("config.no_proxy", Text("HOSTS"), "", "Hosts to reach without a proxy, separated by commas. Without it: no_proxy, NO_PROXY."),

    setting("collector.path", Text("PATH"), "otelcol-contrib, from PATH", "The collector to run. A name without a slash is looked up in PATH. If nothing is said, otelcol-contrib, otelcol and otelcol-* are tried in turn."),
    file_only("collector.args", List, "More arguments for the collector, but neither --config nor --set: only checked configs run."),
    file_only("collector.env", Map, "More environment variables for the collector, by name."),
    setting("collector.stop_timeout", Time(ms(0), secs(600)), "35s", "Time that a stopping collector has before it is killed."),
    setting("collector.probation", Time(ms(0), hours(1)), "30s", "Time that a new config has to stay healthy for before it is the last good one."),
    setting("collector.log", Choice("pass|drop"), "pass", "What happens to the collector's own log lines."),
    setting("collector.log_rate", Size(KIB, 1024 * MIB), "64KiB", "Log lines of the collector above this many bytes per second are dropped and counted."),
    setting("collector.memory_limit", Size(16 * MIB, 16 * 1024 * 1024 * MIB), "", "Memory for the collector: 90 % of it is its GOMEMLIMIT, and a cgroup holds it where the agent may make one."),
    setting("collector.nice", Number(-20, 19), "", "Scheduling priority of the collector, -20 (first) to 19 (last)."),
    setting("collector.oom_score_adj", Number(-1000, 1000), "", "How soon the kernel kills the collector when memory runs out, -1000 (never) to 1000 (first)."),
    setting("collector.run_as", Text("USER[:GROUP]"), "", "Run the collector as this user and group, by name or number."),

    setting("report.url", Text("URL"), "", "Where reports are sent by POST, as JSON: what `otelet status --json` shows, and the config that runs."),
    setting("report.every", Time(secs(1), hours(24)), "5m", "Time between reports while nothing changes. A change is reported after a second."),
    file_only("report.headers", Map, "Headers sent with each report, by name."),

    setting("host.root", Text("PATH"), "/", "Where the root of the host is mounted, when the agent runs in a container: /hostfs. CPU, memory, disks, mounts and interfaces are then the host's."),
    setting("host.sample_every", Time(ms(100), hours(1)), "16s", "The host is sampled at least this often. A sample waits for up to half of it for another reason to wake up."),

    setting("export.to", Text("collector|URL"), "", "Where metrics and events go by OTLP/HTTP: the collector that is looked after (a receiver on loopback is added if its config has none), or a URL to which /v1/metrics and /v1/logs are added."),
    setting("export.metrics", Choice("all|agent|none"), "all", "Which metrics are exported: those of the host, its containers and checks too, those of agent and collector alone, or none. Events always are."),
    setting("export.every", Time(ms(100), hours(1)), "1m", "Time between exports. An event is exported after a second."),
    setting("export.buffer", Size(16 * KIB, 64 * MIB), "1MiB", "What is kept in memory while nobody takes it. Beyond this the oldest is dropped and counted."),
    file_only("export.headers", Map, "Headers sent with each export, by name."),

    column("checks[].name", Text("NAME"), "", "What the check is called. Without it: what it looks at."),
    column("checks[].http", Text("URL"), "", "Ask this URL by GET."),
    column("checks[].status", Text("CODES"), "200-399", "With http: which status codes are good, such as 200,204,300-399."),
    column("checks[].body", Text("TEXT"), "", "With http: a text that the body must hold, in its first 64 KiB."),
    column("checks[].headers", Map, "", "With http: headers to send, by name."),
    column("checks[].tcp", Text("HOST:PORT"), "", "Connect to this address."),
    column("checks[].dns", Text("NAME"), "", "Look this name up, as this host does."),
    column("checks[].address", Text("IP"), "", "With dns: an address that must be among the answers."),
    column("checks[].exec", List, "", "Run this program with these arguments; it is good if it ends with 0. There is no shell."),
    column("checks[].every", Time(secs(1), hours(24)), "30s", "Time between checks, give or take a tenth."),
    column("checks[].timeout", Time(ms(100), secs(300)), "5s", "A check that takes longer has failed."),

    column("alerts[].name", Text("NAME"), "", "What the alert is called. Must be there."),
    column("alerts[].metric", Text("METRIC"), "", "The metric that is looked at, such as system.filesystem.utilization. Must be there."),
    column("alerts[].where", Map, "", "Attributes that a series must have, by name. Each series that has them is an alert of its own."),
    column("alerts[].rate", Choice("true|false"), "false", "Whether to look at its change per second instead of its value."),
    column("alerts[].above", Text("NUMBER"), "", "It is bad above this value."),
    column("alerts[].below", Text("NUMBER"), "", "It is bad below this value."),
    column("alerts[].resolve_at", Text("NUMBER"), "", "It is good again only at this value. Without it: at the value where it became bad."),
    column("alerts[].for", Time(ms(0), hours(24)), "0s", "It must have been bad for this long."),
    column("alerts[].severity", Choice("info|warning|critical"), "warning", "How bad it is."),
    column("alerts[].summary", Text("TEXT"), "", "A sentence for whoever reads it."),
    column("alerts[].labels", Map, "", "Labels for whoever routes it, by name."),

    setting("webhook.url", Text("URL"), "", "Where alerts are sent by POST, as Alertmanager's API takes them: http://alertmanager:9093/api/v2/alerts."),
    setting("webhook.every", Time(secs(1), hours(24)), "1m", "Time between repetitions while an alert fires. A change is sent at once. An alert that is not repeated for four times this long is over for the receiver."),
    file_only("webhook.headers", Map, "Headers sent with each POST, by name."),

    setting("docker.socket", Text("PATH"), "", "The socket of a Docker engine, /var/run/docker.sock: its containers are watched. In a container that runs what is built in, that one is looked for by itself."),
    setting("docker.usage_every", Time(ms(0), hours(1)), "32s", "The usage of each container is read at least this often. 0s: never."),

    file_only("attributes", Map, "Resource attributes of this host, by name."),
    setting("environment", Choice("auto|host|docker|daemonset|deployment"), "auto", "Where the agent runs. auto looks by itself; in a pod it takes daemonset."),
    setting("identity", Text("TEXT"), "", "A text that the instance uid is derived from, for a state directory that does not outlive the agent. Without it: a uid is made once and kept."),
    setting("standby", Time(ms(0), hours(24)), "0s", "How long to wait for another agent to end that has the state directory. Until then the config is only validated."),
    setting("state_dir", Text("PATH"), "/var/lib/otelet", "Where the last good config is kept."),
    setting("runtime_dir", Text("PATH"), "/run/otelet", "Where the status and the files of the running collector are."),
    setting("log_level", Choice("error|warn|info|debug|trace"), "info", "The least important log line to print."),

    flag("log_file", Text("PATH"), "", &[Command::Run], "Print the log to this file instead of stderr. It is set aside as PATH.old when it has 4 MiB, and never grows beyond that."),
    flag("json", Nothing, "", &[Command::Status], "Print the status as JSON."),
    flag("watch", Nothing, "", &[Command::Status], "Show the status anew every two seconds until ^C; with --json an object on a line each time."),
    flag("healthy", Nothing, "", &[Command::Status], "Print no more than a line; exit with 0 if the collector is healthy, else with 1."),
    flag("clear", Nothing, "", &[Command::Rollback], "Stay on this config, and forget which ones were refused."),
    flag("output", Text("PATH"), "", &[Command::Diagnose], "The archive to write; one that is there is replaced. Without it: otelet-HOST-TIME.tar, here."),
    flag("clear_signed", Nothing, "", &[Command::Rollback], "The same, and forget when the newest signed config was signed: for when the clock of whoever signed was ahead."),
    flag("help", Nothing, "", EVERY, "Print this text. Also -h."),
    flag("version", Nothing, "", EVERY, "Print the version."),
];

/// A command line, read but not yet judged: values of settings are checked by [`crate::settings::load`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// `status --json`
    pub json: bool,
    /// `status --watch`
    pub watch: bool,
    /// `status --healthy`
    pub healthy: bool,
    /// `rollback --clear`
    pub clear: bool,
    /// `diagnose --output=`
    pub output: Option<PathBuf>,
    /// `run --log-file=`
    pub log_file: Option<PathBuf>,
    /// `rollback --clear-signed`
    pub clear_signed: bool,
    /// Settings.
    pub flags: Flags,
}

/// What is wrong with a command line. Its exit status is [`exit::USAGE`](crate::exit::USAGE).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Reads a command line, without the name of the program.
///
/// `--flag=value` and `--flag value` are the same. A repeated flag counts as its last value.
///
/// # Errors
///
/// [`UsageError`] for an unknown command or flag (with the nearest known one), a missing or needless value, text
/// that is not UTF-8, and a flag that the command has no use for. No value is repeated in it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    use lexopt::Arg;

    let mut parser = lexopt::Parser::from_args(args);
    let mut command = None;
    let mut given: Vec<&Row> = Vec::new();
    let mut invocation = Invocation::default();
    while let Some(arg) = parser.next().map_err(|e| UsageError(e.to_string()))? {
        let row = match arg {
            Arg::Short('h') => ROWS.iter().find(|row| row.key == "help").expect("help has a row"),
            Arg::Short(other) => return Err(unknown_flag(&format!("-{other}"))),
            Arg::Long(name) => match kloudmate_row(name) {
                None => by_flag(name)?,
                Some(row) => {
                    let value = match parser.optional_value() {
                        Some(value) => value,
                        None if row.value.is_empty() => "true".into(),
                        None => parser.value().map_err(|_| {
                            UsageError(format!("--{} needs a value: --{}={}", row.name, row.name, row.value))
                        })?,
                    };
                    let value = value
                        .into_string()
                        .map_err(|_| UsageError(format!("--{}: its value is not UTF-8", row.name)))?;
                    invocation.flags.push(row.name, value);
                    continue;
                }
            },
            Arg::Value(name) if command.is_none() => {
                command = Some(by_name(&name.to_string_lossy())?);
                continue;
            }
            Arg::Value(_) => {
                return Err(UsageError("one command is enough; values of flags follow the flag".to_owned()));
            }
        };
        given.push(row);
        let name = row.flag().expect("it was found by its flag");
        if row.takes == Nothing {
            if parser.optional_value().is_some() {
                return Err(UsageError(format!("{name} takes no value")));
            }
            match row.key {
                "json" => invocation.json = true,
                "watch" => invocation.watch = true,
                "healthy" => invocation.healthy = true,
                "clear" => invocation.clear = true,
                "clear_signed" => invocation.clear_signed = true,
                "help" => command = Some(Command::Help),
                _ => command = Some(Command::Version),
            }
            continue;
        }
        let value = match parser.optional_value() {
            Some(value) => Some(value),
            None => parser.value().ok().filter(|value| !value.as_encoded_bytes().starts_with(b"--")),
        };
        let value = value.ok_or_else(|| UsageError(format!("{name} needs a value: {name}={}", row.value())))?;
        let path = match row.key {
            "settings" => Some(&mut invocation.flags.file),
            "output" => Some(&mut invocation.output),
            "log_file" => Some(&mut invocation.log_file),
            _ => None,
        };
        if let Some(path) = path {
            *path = Some(value.into());
            continue;
        }
        let value = value.into_string().map_err(|_| UsageError(format!("{name}: its value is not UTF-8")))?;
        invocation.flags.push(row.key, value);
    }
    invocation.command = command.unwrap_or_default();
    // Help helps whatever else was said.
    if invocation.command == Command::Help {
        return Ok(invocation);
    }
    if invocation.watch && invocation.healthy {
        return Err(UsageError("--watch does not go with --healthy, which answers once".to_owned()));
    }
    match given.iter().find(|row| !row.commands().contains(&invocation.command)) {
        None => Ok(invocation),
        Some(row) => Err(UsageError(format!(
            "{} does not go with {}, only with {}",
            row.flag().expect("it was found by its flag"),
            name_of(invocation.command),
            row.commands().iter().map(|command| name_of(*command)).collect::<Vec<_>>().join(", "),
        ))),
    }
}

impl Row {
    /// The flag, `--config-poll-every`. `None` for what stands in the settings file only.
    pub fn flag(&self) -> Option<String> {
        (self.kind != Kind::File).then(|| format!("--{}", self.key.replace(['.', '_'], "-")))
    }

    /// The environment name, `OTELET_CONFIG_POLL_EVERY`. `None` for what takes no single value.
    pub fn env(&self) -> Option<String> {
        let has = self.kind != Kind::File && self.takes != Nothing;
        has.then(|| format!("OTELET_{}", self.key.replace('.', "_").to_ascii_uppercase()))
    }

    /// The name that help gives the value: `TIME`, `pass|drop`.
    pub fn value(&self) -> &'static str {
        match self.takes {
            Nothing => "",
            Text(name) | Choice(name) => name,
            Time(..) => "TIME",
            Size(..) => "SIZE",
            Number(..) => "NUMBER",
            List => "LIST",
            Map => "MAP",
        }
    }

    /// What is expected, in words for an error.
    pub fn expected(&self) -> String {
        match self.takes {
            Time(..) => "TIME such as 30s".to_owned(),
            Size(..) => "SIZE such as 4MiB".to_owned(),
            Number(..) => "a whole NUMBER".to_owned(),
            Choice(words) => format!("one of {}", words.replace('|', ", ")),
            List => "a list such as [a, b]".to_owned(),
            Map => "a map such as {name: value}".to_owned(),
            Text(name) => name.to_owned(),
            Nothing => "nothing".to_owned(),
        }
    }

    /// The limits, `100ms to 24h`, if it has some.
    pub fn limits(&self) -> Option<String> {
        match self.takes {
            Time(least, most) => Some(format!("{} to {}", format_time(least), format_time(most))),
            Size(least, most) => Some(format!("{} to {}", format_size(least), format_size(most))),
            Number(least, most) => Some(format!("{least} to {most}")),
            Nothing | Text(_) | Choice(_) | List | Map => None,
        }
    }

    fn commands(&self) -> &'static [Command] {
        match self.kind {
            Kind::Flag(commands) => commands,
            Kind::Setting | Kind::File => READS_SETTINGS,
        }
    }

    /// `--config-url=URL`
    fn flag_with_value(&self) -> Option<String> {
        let flag = self.flag()?;
        Some(if self.takes == Nothing { flag } else { format!("{flag}={}", self.value()) })
    }

    /// The part of the key before the last point: rows of one section stand together.
    fn section(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

/// The row of a key of the settings file. That of `checks[3].tcp` is `checks[].tcp`.
pub fn setting_row(key: &str) -> Option<&'static Row> {
    let key = without_numbers(key);
    settings().find(|row| row.key == key)
}

/// A key with nothing between its brackets.
pub fn without_numbers(key: &str) -> String {
    let mut within = false;
    let keep = |c: &char| {
        let digit = within && c.is_ascii_digit();
        within = *c == '[' || digit;
        !digit
    };
    key.chars().filter(keep).collect()
}

/// The rows that are keys of the settings file.
pub fn settings() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| !matches!(row.kind, Kind::Flag(_)))
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

const fn setting(key: &'static str, takes: Takes, default: &'static str, help: &'static str) -> Row {
    Row { key, takes, default, help, kind: Kind::Setting }
}

const fn file_only(key: &'static str, takes: Takes, help: &'static str) -> Row {
    Row { key, takes, default: "", help, kind: Kind::File }
}

/// A key of each map in a list, which the settings file only has.
const fn column(key: &'static str, takes: Takes, default: &'static str, help: &'static str) -> Row {
    Row { key, takes, default, help, kind: Kind::File }
}

const fn flag(
    key: &'static str,
    takes: Takes,
    default: &'static str,
    commands: &'static [Command],
    help: &'static str,
) -> Row {
    Row { key, takes, default, help, kind: Kind::Flag(commands) }
}

fn name_of(command: Command) -> &'static str {
    COMMANDS.iter().find(|(known, ..)| *known == command).map_or("", |(_, name, _)| name)
}

fn by_name(name: &str) -> Result<Command, UsageError> {
    if let Some((command, ..)) = COMMANDS.iter().find(|(_, known, _)| *known == name) {
        return Ok(*command);
    }
    let known = COMMANDS.iter().map(|(_, known, _)| *known);
    let way_out = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the commands are {}", known.collect::<Vec<_>>().join(", ")),
    };
    Err(UsageError(format!("unknown command \"{}\"; {way_out}", clip(name))))
}

fn by_flag(name: &str) -> Result<&'static Row, UsageError> {
    let flag = format!("--{name}");
    ROWS.iter().find(|row| row.flag().as_ref() == Some(&flag)).ok_or_else(|| unknown_flag(&flag))
}

fn unknown_flag(flag: &str) -> UsageError {
    if let Some(row) = ROWS
        .iter()
        .find(|row| row.kind == Kind::File && row.key.replace(['.', '_'], "-") == flag.trim_start_matches('-'))
    {
        return UsageError(format!("{flag} has more than one value: set {} in the settings file", row.key));
    }
    let way_out = match nearest(flag, ROWS.iter().filter_map(Row::flag)) {
        Some(near) => format!("did you mean {near}?"),
        None => "otelet help lists them".to_owned(),
    };
    UsageError(format!("unknown flag {}; {way_out}", clip(flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Invocation {
        parse(line.split_whitespace().map(OsString::from)).unwrap()
    }

    fn refused(line: &str) -> String {
        parse(line.split_whitespace().map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn nothing_said_means_run() {
        assert_eq!(parsed(""), Invocation::default());
        assert_eq!(parsed("").command, Command::Run);
    }

    #[test]
    fn each_command_goes_by_its_name() {
        for (command, name, _) in COMMANDS {
            assert_eq!(parsed(name).command, *command);
        }
    }

    #[test]
    fn a_value_follows_an_equals_sign_or_a_space() {
        for line in ["--config-poll-every=5s run", "run --config-poll-every 5s"] {
            assert_eq!(parsed(line).flags.get("config.poll_every"), Some("5s"));
        }
        assert_eq!(parsed("--collector-nice -5").flags.get("collector.nice"), Some("-5"));
        assert_eq!(parsed("--config-url=").flags.get("config.url"), Some(""));
        assert_eq!(parsed("--settings=a.yaml").flags.file, Some(PathBuf::from("a.yaml")));
    }

    #[test]
    fn a_repeated_flag_counts_as_its_last_value() {
        assert_eq!(parsed("--config-url=a --config-url=b").flags.get("config.url"), Some("b"));
    }

    #[test]
    fn flags_without_a_value_go_with_their_command_in_any_order() {
        let status = parsed("--json status --healthy");
        assert!(status.json && status.healthy && !status.clear);
        assert!(parsed("rollback --clear").clear);
        assert!(parsed("rollback --clear-signed").clear_signed);
    }

    #[test]
    fn help_and_version_are_commands_and_flags() {
        for line in ["help", "--help", "-h", "status -h", "--clear --help", "validate --help"] {
            assert_eq!(parsed(line).command, Command::Help, "{line}");
        }
        assert_eq!(parsed("--version").command, Command::Version);
    }

    #[test]
    fn an_unknown_flag_names_the_nearest_known_one() {
        assert_eq!(refused("--config-ulr=x"), "unknown flag --config-ulr; did you mean --config-url?");
        assert_eq!(refused("--poll-every=1s"), "unknown flag --poll-every; did you mean --config-poll-every?");
        assert_eq!(refused("--config.url=x"), "unknown flag --config.url; did you mean --config-url?");
        assert_eq!(refused("--frobnicate"), "unknown flag --frobnicate; otelet help lists them");
        assert_eq!(refused("-x"), "unknown flag -x; otelet help lists them");
        assert_eq!(
            refused("--collector-args=-v"),
            "--collector-args has more than one value: set collector.args in the settings file"
        );
    }

    #[test]
    fn an_unknown_command_names_the_nearest_known_one() {
        assert_eq!(refused("statsu"), "unknown command \"statsu\"; did you mean status?");
        assert_eq!(
            refused("frob"),
            "unknown command \"frob\"; the commands are run, validate, status, rollback, diagnose, version, help"
        );
        assert_eq!(refused("run status"), "one command is enough; values of flags follow the flag");
    }

    #[test]
    fn a_flag_not_meant_for_the_command_is_refused() {
        assert_eq!(refused("status --clear"), "--clear does not go with status, only with rollback");
        assert_eq!(
            refused("version --state-dir=x"),
            "--state-dir does not go with version, only with run, validate, status, rollback, diagnose"
        );
    }

    #[test]
    fn a_missing_or_needless_value_is_refused() {
        assert_eq!(refused("--config-url"), "--config-url needs a value: --config-url=URL");
        assert_eq!(refused("--config-url --json"), "--config-url needs a value: --config-url=URL");
        assert_eq!(refused("status --json=hunter2"), "--json takes no value");
    }

    #[test]
    fn values_of_flags_are_not_printed_for_debugging() {
        assert!(!format!("{:?}", parsed("--config-http-proxy=http://u:hunter2@p")).contains("hunter2"));
    }

    #[test]
    fn flag_and_environment_name_come_from_the_key() {
        let row = setting_row("config.poll_every").unwrap();
        assert_eq!(row.flag().unwrap(), "--config-poll-every");
        assert_eq!(row.env().unwrap(), "OTELET_CONFIG_POLL_EVERY");
        assert_eq!(ROWS[0].env().unwrap(), "OTELET_SETTINGS");
        assert_eq!(setting_row("collector.env").unwrap().flag(), None);
        assert!(setting_row("json").is_none() && setting_row("settings").is_none());
    }

    #[test]
    fn no_key_stands_twice_and_none_is_the_section_of_another() {
        for (number, row) in ROWS.iter().enumerate() {
            for other in &ROWS[number + 1..] {
                assert_ne!(row.key, other.key);
                assert!(!other.key.starts_with(&format!("{}.", row.key)));
            }
        }
    }
}
