//! The section `collector`: how the collector is run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::{Layers, size_of};
use crate::settings::schema::ValueKind::{Choice, List, Map, Number, Size, Text, Time};
use crate::settings::schema::{KIB, MIB, Row, file_only, hours, ms, secs, setting};
use crate::settings::secret::Secret;
use otelet_core::decide::OnReplaced;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("collector.path", Text("PATH"), "otelcol-contrib, from PATH", "The collector to run. A name without a slash is looked up in PATH. Without it: otelcol-contrib, otelcol and otelcol-* are tried in turn."),
    file_only("collector.args", List, "More arguments for the collector, in its runs and when it validates, except --config and --set: only checked configs run."),
    file_only("collector.local", List, "Configs of this host, passed before the offered one, which wins: mappings are merged, lists replaced. A broken one is named and left out."),
    file_only("collector.env", Map, "More environment variables for the collector, by name."),
    setting("collector.stop_timeout", Time(ms(0), secs(600)), "35s", "How long a stopping collector has before it is killed."),
    setting("collector.probation", Time(ms(0), hours(1)), "30s", "How long a new config must stay healthy before it becomes the last good one."),
    setting("collector.on_replaced", Choice("restart|wait"), "restart", "When another program takes the place of the collector's and takes the config that runs: start it, or wait for the next start."),
    setting("collector.log", Choice("pass|drop"), "pass", "Whether the collector's own log lines are passed on or dropped."),
    setting("collector.log_rate", Size(KIB, 1024 * MIB), "64KiB", "Log lines of the collector above this many bytes per second are dropped and counted."),
    setting("collector.memory_limit", Size(16 * MIB, 16 * 1024 * 1024 * MIB), "", "Memory for the collector. 90 % of it becomes its GOMEMLIMIT; where the agent may make a cgroup, that enforces the limit."),
    setting("collector.nice", Number(-20, 19), "", "Scheduling priority of the collector, -20 (first) to 19 (last)."),
    setting("collector.oom_score_adj", Number(-1000, 1000), "", "How soon the kernel kills the collector when memory runs out, -1000 (never) to 1000 (first)."),
    setting("collector.run_as", Text("USER[:GROUP]"), "", "Run the collector as this user and group, by name or number."),
];

/// The collector that is looked up when no other is named.
pub const DEFAULT_COLLECTOR: &str = "otelcol-contrib";

#[derive(Debug, Clone, PartialEq)]
pub struct CollectorSettings {
    /// A name to look up in PATH, or an absolute path. [`DEFAULT_COLLECTOR`] if none is given.
    pub path: PathBuf,
    pub args: Vec<String>,
    /// Files that are passed before the offered config, absolute.
    pub local: Vec<PathBuf>,
    pub env: Vec<(String, Secret)>,
    /// Time between asking the collector to stop and killing it.
    pub stop_timeout: Duration,
    /// How long a new config must stay healthy.
    pub probation: Duration,
    pub on_replaced: OnReplaced,
    pub log: CollectorLog,
    /// The most output that is passed on, in bytes per second.
    pub log_rate: u64,
    /// In bytes.
    pub memory_limit: Option<u64>,
    /// Scheduling priority, -20 to 19.
    pub nice: Option<i32>,
    /// -1000 to 1000. Source: proc(5).
    pub oom_score_adj: Option<i32>,
    /// `user` or `user:group`, names or numbers. Neither part is empty.
    pub run_as: Option<String>,
}

/// Whether the collector's log lines are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorLog {
    Pass,
    /// Lines are dropped, but the last ones are kept for reports.
    Drop,
}

impl CollectorSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self {
            path: program(layers, "collector.path")?,
            args: arguments(layers, "collector.args")?,
            local: local(layers, "collector.local")?,
            env: variables(layers, "collector.env")?,
            stop_timeout: layers.time("collector.stop_timeout")?,
            probation: layers.time("collector.probation")?,
            on_replaced: layers.choice("collector.on_replaced", [OnReplaced::Restart, OnReplaced::Wait])?,
            log: layers.choice("collector.log", [CollectorLog::Pass, CollectorLog::Drop])?,
            log_rate: layers.size("collector.log_rate")?,
            memory_limit: layers.optional("collector.memory_limit", size_of(layers.row("collector.memory_limit")))?,
            nice: layers.number("collector.nice")?,
            oom_score_adj: layers.number("collector.oom_score_adj")?,
            run_as: layers.optional("collector.run_as", user_and_group)?,
        })
    }
}

/// Reads a path and makes it absolute. A name without a slash stays: it is looked up in PATH.
fn program(layers: &Layers, key: &str) -> Result<PathBuf, SettingsError> {
    let program = layers.optional(key, |text| {
        let path = Path::new(text);
        Ok(if path.components().count() == 1 && path.file_name().is_some_and(|name| name == text) {
            path.to_owned()
        } else {
            layers.world.absolute(path)
        })
    })?;
    Ok(program.unwrap_or_else(|| DEFAULT_COLLECTOR.into()))
}

/// Reads the collector's arguments. None of them may add a config.
fn arguments(layers: &Layers, key: &str) -> Result<Vec<String>, SettingsError> {
    let checked = |text: &str| Ok(text.to_owned());
    let raws = layers.list(key).map(|raw| {
        let raw = raw?;
        let flag = raw.text.split('=').next().unwrap_or_default();
        if ["--config", "--set"].contains(&flag) {
            let problem = format!("{flag} would run a config that was not checked; change the config at config.url");
            return Err(layers.error(key, &raw, problem));
        }
        layers.parsed(key, &raw, checked)
    });
    raws.collect()
}

/// The most files of `collector.local`: each may be left out by itself, which takes a `validate` to find out.
const MOST_LOCAL: usize = 8;

/// Reads the paths of the host's own configs and makes them absolute.
fn local(layers: &Layers, key: &str) -> Result<Vec<PathBuf>, SettingsError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for raw in layers.list(key) {
        let raw = raw?;
        let problem = if raw.text.trim().is_empty() {
            Some("a path is missing".to_owned())
        } else if paths.len() == MOST_LOCAL {
            Some(format!("there are more than {MOST_LOCAL} files; join some of them"))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(layers.error(key, &raw, problem));
        }
        let path = layers.world.absolute(Path::new(&raw.text));
        if paths.contains(&path) {
            return Err(layers.error(key, &raw, "the file is named twice".to_owned()));
        }
        paths.push(path);
    }
    Ok(paths)
}

fn variables(layers: &Layers, key: &str) -> Result<Vec<(String, Secret)>, SettingsError> {
    let mut variables = Vec::new();
    for (name, raw) in layers.map(key)? {
        if name.is_empty() || name.contains(['=', '\0']) || raw.text.contains('\0') {
            let problem = "a variable has a name without \"=\", and no NUL character";
            return Err(layers.error(key, &raw, problem.to_owned()));
        }
        variables.push((name, raw.text.into()));
    }
    Ok(variables)
}

fn user_and_group(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let bad = |part: &&str| part.is_empty() || part.contains(|c: char| c.is_whitespace() || c.is_control());
    if parts.len() > 2 || parts.iter().any(bad) {
        return Err("write user or user:group, names or numbers".to_owned());
    }
    Ok(text.to_owned())
}
