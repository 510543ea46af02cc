//! `otelet doctor`: looks at everything that the agent needs on this host, for the first bad hour. Each line is good, bad
//! with the cure, or not looked at with the reason. It changes nothing, works beside a running agent and in any state, and
//! ends within five minutes, whatever hangs.
//!
//! `reach` looks at the way to the servers and at the config there, `collector` at the Collector and at that config on this
//! host. The verdicts about facts are `otelet_core::examine`'s.

mod collector;
mod reach;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::cli::Invocation;
use crate::commands::diagnose::{directories, read};
use crate::commands::status::{Paper, screen::finding};
use crate::exit;
use crate::http;
use crate::os::{self, Rights, Wanted};
use crate::settings::{self, EffectiveSetting, Location, Settings, World};
use crate::status::{self, secret_variables};
use otelet_config::redact::Redactor;
use otelet_core::examine::{self, Judged, Verdict};
use otelet_core::text::chain;
use otelet_wire::status::Status;

/// The time for all looks at the network.
const NETWORK: Duration = Duration::from_secs(60);

/// The longest wait for one server.
const LONGEST: Duration = Duration::from_secs(30);

/// The size of the largest config, where the settings do not tell it: the default.
const LARGEST_CONFIG: u64 = 4 << 20;

/// The lines, printed as they come. JSON is printed at the end.
struct Report {
    json: bool,
    paper: Paper,
    lines: Vec<(&'static str, Verdict, String)>,
    /// Values that are in no line.
    secrets: Vec<String>,
    redactor: Redactor,
}

impl Report {
    fn add(&mut self, topic: &'static str, (verdict, text): Judged) {
        let text = self.redactor.line(&text);
        if !self.json {
            let width = self.paper.size.map(|(columns, _)| columns);
            print(&finding(topic, verdict, &text, width, self.paper.paint));
        }
        self.lines.push((topic, verdict, text));
    }

    fn good(&mut self, topic: &'static str, text: &dyn Display) {
        self.add(topic, (Verdict::Good, text.to_string()));
    }

    fn bad(&mut self, topic: &'static str, text: &dyn Display) {
        self.add(topic, (Verdict::Bad, text.to_string()));
    }

    fn skip(&mut self, topic: &'static str, why: &dyn Display) {
        self.add(topic, (Verdict::NotLookedAt, why.to_string()));
    }

    /// Keeps more values out of the lines to come.
    fn hide(&mut self, secrets: Vec<String>) {
        self.secrets.extend(secrets);
        let redactor = Redactor::new(self.secrets.iter().map(String::as_str));
        self.redactor = redactor.hiding_url_paths(http::hides_paths());
    }

    fn count(&self, wanted: Verdict) -> usize {
        self.lines.iter().filter(|(_, verdict, _)| *verdict == wanted).count()
    }

    fn end(self) -> u8 {
        let [good, bad, rest] = [Verdict::Good, Verdict::Bad, Verdict::NotLookedAt].map(|verdict| self.count(verdict));
        if self.json {
            let finding = |(topic, verdict, text): &(&str, Verdict, String)| json!({"topic": topic, "verdict": verdict.word(), "text": text});
            let findings: Vec<_> = self.lines.iter().map(finding).collect();
            let all = json!({"bad": bad, "findings": findings});
            print(&(serde_json::to_string_pretty(&all).expect("texts and numbers") + "\n"));
        } else {
            print(&format!("\n{bad} bad, {good} good, {rest} not looked at\n"));
        }
        if bad > 0 { exit::NO } else { exit::OK }
    }
}

fn print(text: &str) {
    // A reader that has gone away is no reason to panic.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// What is known of this host before anything is asked.
struct Surroundings {
    /// The status of the agent that runs, if one does.
    agent: Option<Status>,
    /// Whose rights count, if not this process' own, and why.
    rights: Option<(Rights, &'static str)>,
    explained: Vec<EffectiveSetting>,
    /// When the looks at the network end.
    until: Instant,
}

impl Surroundings {
    /// Whether the time for the network is up. What has begun may end.
    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// The place where a setting is set.
    fn origin(&self, key: &str) -> &str {
        self.explained.iter().find(|one| one.key == key).map_or("default", |one| &one.from)
    }
}

/// Looks at everything, and prints what it has found. Returns the exit status.
pub fn doctor(invocation: &Invocation) -> u8 {
    let (flags, world) = (&invocation.flags, World::real());
    let mut settings = settings::load(flags, &world);
    // A person waits less long than the agent.
    if let Ok(Settings { config, collector, .. }) = &mut settings {
        config.timeout = config.timeout.min(LONGEST);
        collector.validate_timeout = collector.validate_timeout.min(NETWORK);
    }
    // Settings with a fault do not say what is secret.
    http::hide_paths(settings.as_ref().map_or(true, |settings| settings.config.hide_url_paths));
    let (json, paper) = (invocation.json, Paper::of_stdout());
    let mut report = Report { json, paper, lines: Vec::new(), secrets: Vec::new(), redactor: Redactor::default() };
    report.hide(secret_variables(|_| false));
    let file = settings::path(flags, &world);
    let text = read(&file).unwrap_or_default();
    report.hide(settings::secrets_in(&text, &world));
    let mut explained = Vec::new();
    if let Ok(settings) = &settings
        && let Ok((settings, secrets)) = settings::explain(flags, &world, settings)
    {
        report.hide(secrets);
        explained = settings;
    }
    let (state_dir, runtime_dir) = match &settings {
        Ok(settings) => (settings.state_dir.clone(), settings.runtime_dir.clone()),
        Err(_) => directories(flags, &world, &text),
    };
    let (alive, absent) = match status::read(&runtime_dir) {
        Ok(status) if status::agent_is_alive(&status) => (Some(status), String::new()),
        Ok(status) => (None, format!("it does not run; its last status is of {}", status.written_at)),
        Err(why) => (None, why),
    };
    let stranger = settings.as_ref().ok().and_then(status::stranger).filter(|_| alive.is_some());
    let agent = alive.filter(|_| stranger.is_none());
    let rights = rights(agent.as_ref(), &state_dir);
    let around = Surroundings { agent, rights, explained, until: Instant::now() + NETWORK };

    look_at_settings(&settings, &file, &mut report);
    match (&around.agent, stranger) {
        (_, Some(why)) => report.bad("agent", &why),
        (Some(status), None) => {
            let pid = status.agent.pid;
            match status.complaint() {
                None => report.good("agent", &format_args!("runs with pid {pid}, and its Collector is healthy")),
                Some(why) => {
                    let why = report.redactor.log(&why);
                    report
                        .bad("agent", &format_args!("runs with pid {pid}, but its {why}; `otelet status` shows more"));
                }
            }
        }
        (None, None) => report.skip("agent", &absent),
    }
    look_at_rights(settings.as_ref().ok(), &file, [&state_dir, &runtime_dir], &around, &mut report);
    let largest = settings.as_ref().map_or(LARGEST_CONFIG, |settings| settings.config.max_size);
    look_at_disks([("state_dir", &state_dir), ("runtime_dir", &runtime_dir)], largest, &mut report);
    match &settings {
        Ok(settings) => {
            let body = reach::look(settings, &around, &mut report);
            collector::look(settings, body, &around, &mut report);
        }
        Err(_) => {
            report.add("clock", examine::clock(SystemTime::now(), None, os::right_time().is_some(), os::SET_CLOCK));
            for topic in ["source", "Collector"] {
                report.skip(topic, &format_args!("the settings cannot be used"));
            }
        }
    }
    report.end()
}

fn look_at_settings(settings: &Result<Settings, settings::SettingsError>, file: &Path, report: &mut Report) {
    match settings {
        Ok(settings) => {
            let which = if file.exists() { "is read" } else { "is not there: the defaults count" };
            report.good("settings", &format_args!("{} {which}", file.display()));
            for note in &settings.notes {
                report.good("settings", &format_args!("a note: {note}"));
            }
        }
        Err(error) => {
            let told = chain(error);
            let denied = told.contains("ermission denied").then_some("; run this as the agent's user or as root");
            report.bad("settings", &(told + denied.unwrap_or_default()));
        }
    }
}

/// Whose rights count: those of the agent that runs, or of the user whose state directory it is. Only root can look with the
/// rights of another user.
fn rights(agent: Option<&Status>, state_dir: &Path) -> Option<(Rights, &'static str)> {
    let other = match agent {
        Some(status) => (Rights::of(status.agent.pid)?, "as whom the agent runs"),
        None => (Rights::of_owner(state_dir)?, "to whom state_dir belongs"),
    };
    (os::own_uid() == Some(0) && other.0.uid != 0).then_some(other)
}

fn look_at_rights(
    settings: Option<&Settings>,
    file: &Path,
    directories: [&Path; 2],
    around: &Surroundings,
    report: &mut Report,
) {
    let rights = around.rights.as_ref().map(|(rights, _)| rights);
    let user = match (&around.rights, os::own_uid()) {
        (Some((rights, why)), _) => format!("uid {}, {why},", rights.uid),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => "this user".to_owned(),
    };
    let mut wanted: Vec<(&str, PathBuf, Wanted)> = vec![("settings", file.to_owned(), Wanted::Read)];
    for (name, directory) in ["state_dir", "runtime_dir"].into_iter().zip(directories) {
        // The agent makes what is missing.
        let made = directory.ancestors().find(|place| place.exists()).unwrap_or(directory);
        wanted.push((name, made.to_owned(), Wanted::Write));
    }
    // A run by hand as root leaves files behind that the service cannot use. Others are replaced, which takes the rights of
    // the directory.
    let [state_dir, runtime_dir] = directories;
    wanted.extend(["lock", "configs"].map(|name| ("state_dir", state_dir.join(name), Wanted::Write)));
    wanted.push(("runtime_dir", runtime_dir.join("agent.lock"), Wanted::Write));
    let entries = std::fs::read_dir(state_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    wanted.extend(entries.filter(|path| path.is_file()).map(|path| ("state_dir", path, Wanted::Read)));
    if let Some(settings) = settings {
        let config = &settings.config;
        let files = [
            ("config.bearer_token_file", &config.bearer_token_file),
            ("config.ca_file", &config.ca_file),
            ("config.client_cert_file", &config.client_cert_file),
            ("config.client_key_file", &config.client_key_file),
        ];
        wanted.extend(files.into_iter().filter_map(|(key, path)| Some((key, path.clone()?, Wanted::Read))));
        for location in config.url.iter().chain(&config.fallback) {
            if let Location::File(path) = location {
                wanted.push(("config.url or config.fallback", path.clone(), Wanted::Read));
            }
        }
        wanted.extend(settings.collector.local.iter().map(|path| ("collector.local", path.clone(), Wanted::Read)));
        let socket = settings.docker.socket.as_ref().filter(|socket| !socket.to_string_lossy().starts_with("tcp:"));
        wanted.extend(socket.map(|socket| ("docker.socket", socket.clone(), Wanted::Write)));
    }
    let (mut good, mut others): (Vec<&str>, Vec<&str>) = Default::default();
    for (name, path, wanted) in &wanted {
        let error = match os::may(path, *wanted, rights) {
            Ok(()) => {
                if !good.contains(name) {
                    good.push(name);
                }
                continue;
            }
            // Whoever needs it says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound && *name != "docker.socket" => continue,
            Err(error) => error,
        };
        others.push(name);
        if *name == "docker.socket" && around.rights.is_some() && around.agent.is_none() {
            let why = "the groups of its user are not known while it does not run";
            report.skip("rights", &format_args!("{name} {}: {why}", path.display()));
            continue;
        }
        let verb = if *wanted == Wanted::Read { "read it" } else { "write there" };
        let mode = std::fs::metadata(path).map_or_else(|_| String::new(), |it| format!(", {}", os::describe_mode(&it)));
        let path = path.display();
        if error.kind() == io::ErrorKind::NotFound {
            report
                .bad("rights", &format_args!("{name} {path}: there is none; start the engine, or correct the setting"));
            continue;
        }
        let cure = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => {
                format!("make its file system writable, or set {name} to another place")
            }
            _ if rights.is_none() && os::own_uid() != Some(0) => {
                format!("run this as root or as the agent's user; if it is that user, give it {path} (chown)")
            }
            _ => "give it to that user (chown), or let it in (chmod, a group) with all directories above".to_owned(),
        };
        report.bad("rights", &format_args!("{name} {path}{mode}: {user} may not {verb}: {error}; {cure}"));
    }
    good.retain(|name| !others.contains(name));
    if !good.is_empty() {
        report.good("rights", &format_args!("{user} may read and write what it needs: {}", good.join(", ")));
    }
}

fn look_at_disks(directories: [(&str, &PathBuf); 2], largest: u64, report: &mut Report) {
    for (name, directory) in directories {
        let place = directory.ancestors().find(|place| place.exists()).unwrap_or(directory);
        let (verdict, words) = match os::room(place) {
            Ok(room) if room.is_read_only => {
                let words = format!("the file system is read-only; make it writable, or set {name} to another place");
                (Verdict::Bad, words)
            }
            Ok(room) => examine::room(room.free, room.inodes, largest, "config.max_size"),
            Err(error) => (Verdict::NotLookedAt, error.to_string()),
        };
        report.add("disk", (verdict, format!("{name} {}: {words}", directory.display())));
    }
}
