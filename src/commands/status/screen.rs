//! One screen for people: each section is a function from the status to lines, and this puts them under each other. Pure:
//! the time, the width and whether there are colours come in.
//!
//! A section that has nothing to say gives no lines. What a collector or a server said is shown without its control
//! characters: it cannot move the cursor of whoever looks.

use std::time::{Duration, SystemTime};

use otelet_core::decide::alert;
use otelet_core::examine::Verdict;
use otelet_core::units;
use otelet_wire::status::{AgentState, AlertState, CollectorState, RemoteConfigStatus, ReportsStatus, Status, short};

/// Columns of the names on the left.
const LEFT: usize = 12;

/// The least room for what stands beside the names, however narrow the terminal.
const LEAST: usize = 20;

/// Where a word that is too long for a row is broken: behind one of these.
const SOFT: &str = "/\\,;:=&?@-_.";

/// The sections, from top to bottom.
const SECTIONS: &[fn(&View) -> Vec<Line>] =
    &[agent, collector, config, source, refusals, alerts, checks, host, docker, export, reports, attributes, losses];

/// Columns and rows of a screen. Without columns no line is broken, without rows no section is shortened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    pub columns: Option<usize>,
    pub rows: Option<usize>,
}

/// One screen for people.
pub fn screen(status: &Status, now: SystemTime, size: Size, paint: bool) -> String {
    let view = View { status, now };
    let room = room(size.columns);
    let printed = |line: Line| {
        let mut text = String::new();
        line.print(room, paint, &mut text);
        Printed { rows: text.matches('\n').count(), stands_for: line.stands_for, text }
    };
    let mut sections: Vec<Section> = SECTIONS
        .iter()
        .map(|section| {
            let lines = section(&view).into_iter().map(printed).filter(|line| line.rows > 0);
            Section { lines: lines.collect(), left_out: 0 }
        })
        .collect();
    if let Some(rows) = size.rows {
        shorten(&mut sections, rows);
    }
    let mut text = String::new();
    for section in sections {
        section.lines.iter().for_each(|line| text += &line.text);
        if section.left_out > 0 {
            Line::new("").and(Faint, format!("… {} more", section.left_out)).print(room, paint, &mut text);
        }
    }
    text
}

/// A line as it is shown.
struct Printed {
    text: String,
    rows: usize,
    stands_for: u64,
}

struct Section {
    lines: Vec<Printed>,
    /// The number of things on the lines that are not shown.
    left_out: u64,
}

impl Section {
    fn rows(&self) -> usize {
        self.lines.iter().map(|line| line.rows).sum::<usize>() + usize::from(self.left_out > 0)
    }
}

/// Takes lines off the longest sections until all of them fit, so that a list does not push what is below it out of
/// sight.
fn shorten(sections: &mut [Section], rows: usize) {
    while sections.iter().map(Section::rows).sum::<usize>() > rows {
        let longest =
            sections.iter_mut().filter(|section| section.lines.len() > 1).max_by_key(|section| section.rows());
        let Some(longest) = longest.filter(|section| section.rows() > 2) else { return };
        longest.left_out += longest.lines.pop().map_or(0, |line| line.stands_for);
    }
}

/// A line of `otelet doctor`.
pub fn finding(topic: &'static str, verdict: Verdict, text: &str, width: Option<usize>, paint: bool) -> String {
    let tone = match verdict {
        Verdict::Good => Good,
        Verdict::Bad => Bad,
        Verdict::NotLookedAt => Faint,
    };
    let mut line = String::new();
    Line::new(topic).and(tone, verdict.word()).because(text).print(room(width), paint, &mut line);
    line
}

fn room(width: Option<usize>) -> Option<usize> {
    width.map(|width| width.saturating_sub(LEFT).max(LEAST))
}

/// What a section is made from.
struct View<'a> {
    status: &'a Status,
    now: SystemTime,
}

impl View<'_> {
    /// `3h 12m`: since a time of the status. The time itself where it lies ahead or is none.
    fn for_how_long(&self, time: &str) -> String {
        let since = units::parse_rfc3339(time).and_then(|since| self.now.duration_since(since).ok());
        since.map_or_else(|| format!("since {time}"), |since| format!("for {}", units::two_units(since)))
    }

    fn ago(&self, time: &str) -> String {
        let since = units::parse_rfc3339(time).and_then(|since| self.now.duration_since(since).ok());
        since.map_or_else(|| format!("at {time}"), |since| format!("{} ago", units::two_units(since)))
    }

    /// In how long, from when this was written: it is the agent's plan as of then.
    fn ahead(&self, time: &str) -> Option<Duration> {
        units::parse_rfc3339(time)?.duration_since(self.now).ok()
    }
}

/// How a piece of text is meant.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tone {
    Plain,
    Name,
    Good,
    Warn,
    Bad,
    Faint,
}

impl Tone {
    /// Select Graphic Rendition: the eight colours that every terminal has. Source: ECMA-48, 8.3.117.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Name => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

use Tone::{Bad, Faint, Good, Plain, Warn};

/// A name and what there is to say about it. Without anything to say it is not shown.
struct Line {
    name: &'static str,
    pieces: Vec<(Tone, String)>,
    /// The number of things that it shows.
    stands_for: u64,
}

impl Line {
    fn new(name: &'static str) -> Self {
        Self { name, pieces: Vec::new(), stands_for: 1 }
    }

    /// One more thing, behind a comma. An empty text says nothing.
    fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            if !self.pieces.is_empty() {
                self.pieces.push((Plain, ", ".into()));
            }
            self.pieces.push((tone, text));
        }
        self
    }

    /// One more thing, if there is one.
    fn and_some(self, tone: Tone, text: Option<String>) -> Self {
        self.and(tone, text.unwrap_or_default())
    }

    /// The reason for what was said last, behind a colon.
    fn because(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.pieces.push((Plain, format!(": {text}")));
        }
        self
    }

    /// Notes that the line is about so many things.
    fn of(mut self, number: u64) -> Self {
        self.stands_for = number;
        self
    }

    fn print(&self, room: Option<usize>, paint: bool, text: &mut String) {
        if self.pieces.is_empty() {
            return;
        }
        let chars: Vec<(Tone, char)> = self
            .pieces
            .iter()
            .flat_map(|(tone, piece)| piece.chars().map(|c| (*tone, if is_unfit(c) { ' ' } else { c })))
            .collect();
        let mut name = self.name;
        for row in rows(&chars, room) {
            run(Tone::Name, &format!("{name:<LEFT$}"), paint, text);
            for piece in row.chunk_by(|one, other| one.0 == other.0) {
                run(piece[0].0, &piece.iter().map(|(_, c)| *c).collect::<String>(), paint, text);
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
            name = "";
        }
    }
}

/// Whether a terminal would do something else than show it: controls, and what turns the direction of writing.
fn is_unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn run(tone: Tone, piece: &str, paint: bool, text: &mut String) {
    let code = tone.code();
    if paint && !code.is_empty() && !piece.trim().is_empty() {
        text.push_str(&format!("\x1b[{code}m{piece}\x1b[0m"));
    } else {
        text.push_str(piece);
    }
}

/// Breaks at the last space that fits. A word that is too long for a row of its own is broken behind its last mark that
/// fits, and within only if it has none.
fn rows(chars: &[(Tone, char)], room: Option<usize>) -> Vec<&[(Tone, char)]> {
    let Some(room) = room else { return vec![chars] };
    let mut rows = Vec::new();
    let mut rest = chars;
    while rest.len() > room {
        let space = rest[..=room].iter().rposition(|(_, c)| *c == ' ').filter(|at| *at > 0);
        let mark = || rest[..room].iter().rposition(|(_, c)| SOFT.contains(*c)).map(|at| at + 1);
        let (row, after) = rest.split_at(space.or_else(mark).unwrap_or(room));
        rows.push(row);
        let spaces = after.iter().take_while(|(_, c)| *c == ' ').count();
        rest = &after[spaces..];
    }
    if !rest.is_empty() {
        rows.push(rest);
    }
    rows
}

// ---- Sections ------------------------------------------------------------------------------------------------------

fn agent(view: &View) -> Vec<Line> {
    let agent = &view.status.agent;
    let alive = view.status.agent.state == AgentState::Running;
    vec![
        Line::new("agent")
            .and(if alive { Good } else { Bad }, agent.state.word())
            .and(Plain, view.for_how_long(&agent.since))
            .and(Plain, format!("pid {}", agent.pid))
            .and_some(Plain, agent.memory_bytes.map(units::rounded_size))
            .and(Plain, format!("otelet {}", agent.version)),
        Line::new("").and(Faint, format!("uid {}", agent.instance_uid)),
    ]
}

fn collector(view: &View) -> Vec<Line> {
    let collector = &view.status.collector;
    let tone = match (collector.healthy, collector.state) {
        (true, _) => Good,
        (false, CollectorState::Held | CollectorState::Waiting) => Bad,
        (
            false,
            CollectorState::Idle
            | CollectorState::Starting
            | CollectorState::Up
            | CollectorState::Stopping
            | CollectorState::Unknown,
        ) => Warn,
    };
    let health = collector.witness.as_ref().map(|witness| match collector.healthy {
        true => format!("healthy by {witness}"),
        false => format!("not healthy by {witness}"),
    });
    let is_planned = view.status.agent.state == AgentState::Running;
    let next = collector.next_start_at.as_deref().filter(|_| is_planned);
    let next = next.map(|time| view.ahead(time).unwrap_or_default());
    let mut lines = vec![
        Line::new("collector")
            .and(tone, collector.state.word())
            .and_some(Plain, next.map(|next| format!("next start in {}", units::two_units(next))))
            .and_some(Plain, collector.since.as_ref().map(|since| view.for_how_long(since)))
            .and_some(tone, health)
            .and_some(Plain, collector.pid.map(|pid| format!("pid {pid}")))
            .and_some(Plain, collector.memory_bytes.map(units::rounded_size)),
        Line::new("")
            .and(Faint, collector.path.clone())
            .and_some(Faint, (!collector.version.is_empty()).then(|| format!("version {}", collector.version))),
        Line::new("trouble").and_some(Bad, collector.trouble.clone()),
        Line::new("").and_some(
            Warn,
            collector.without_engine.then(|| "runs without docker_stats until the Docker engine is back".to_owned()),
        ),
        Line::new("data")
            .and(Warn, if collector.goes_nowhere.is_some() { "goes nowhere" } else { "" })
            .because(collector.goes_nowhere.as_deref().unwrap_or_default()),
    ];
    if collector.restarts > 0 || collector.last_exit.is_some() {
        let exit = collector.last_exit.as_ref();
        lines.push(
            Line::new("restarts")
                .and(Warn, collector.restarts.to_string())
                .and_some(Plain, exit.map(|exit| format!("last exit {}", view.ago(&exit.at))))
                .because(exit.map_or("", |exit| &exit.how)),
        );
        lines.push(Line::new("").and_some(Plain, exit.map(|exit| exit.last_words.clone())));
    }
    lines
}

fn config(view: &View) -> Vec<Line> {
    let config = &view.status.config;
    let tone = match config.remote_config_status {
        RemoteConfigStatus::Applied => Good,
        RemoteConfigStatus::Failed => Bad,
        RemoteConfigStatus::Applying => Warn,
        RemoteConfigStatus::Unset | RemoteConfigStatus::Unknown => Plain,
    };
    let held = config.held_until.as_deref().and_then(|time| view.ahead(time));
    vec![
        Line::new("config").and(Plain, short(config.effective_hash.as_deref())),
        Line::new("").and_some(Faint, config.effective_path.clone()),
        Line::new("offered")
            .and(Plain, short(config.remote_hash.as_deref()))
            .and(tone, config.remote_config_status.word())
            .because(&config.message),
        Line::new("").and_some(Warn, held.map(|held| format!("waits for {}", units::two_units(held)))),
        Line::new("last good").and(Plain, short(config.last_good_hash.as_deref())),
        Line::new("previous").and(Plain, short(config.previous_hash.as_deref())),
    ]
}

fn source(view: &View) -> Vec<Line> {
    let (config, exchanges) = (&view.status.config, &view.status.exchanges);
    let mut lines =
        vec![Line::new("source").and(Plain, config.source.clone().unwrap_or_else(|| "none: set config.url".into()))];
    if config.serving != config.source {
        lines.push(Line::new("served by").and_some(Warn, config.serving.clone()));
        lines.push(Line::new("").and_some(Plain, config.source_trouble.clone()));
    }
    let next = exchanges.next_at.as_ref().and_then(|at| view.ahead(at));
    lines.push(
        Line::new("exchanges")
            .and(
                Plain,
                format!(
                    "{} offered, {} unchanged, {} failed",
                    exchanges.offered, exchanges.unchanged, exchanges.failed
                ),
            )
            .and_some(Plain, exchanges.last_success.as_ref().map(|at| format!("last answer {}", view.ago(at))))
            .and_some(Plain, next.map(|next| format!("next in {}", units::two_units(next)))),
    );
    lines.push(Line::new("").and_some(Bad, exchanges.last_error.clone()));
    lines
}

/// The last refusal with its reason, those before it by name.
fn refusals(view: &View) -> Vec<Line> {
    let mut newest_first: Vec<_> = view.status.config.refused.iter().collect();
    newest_first.sort_by(|one, other| other.at.cmp(&one.at));
    let Some((last, before)) = newest_first.split_first() else { return Vec::new() };
    let again = |barred: bool| if barred { "" } else { "may be tried again" };
    let times = |times: u32| if times > 1 { format!("{times} times") } else { String::new() };
    let mut lines = vec![
        Line::new("refused")
            .and(Warn, format!("{} {}", short(Some(&last.hash)), view.ago(&last.at)))
            .and(Plain, times(last.times))
            .and(Plain, again(last.barred))
            .because(&last.reason),
    ];
    let mut earlier = Line::new("");
    for refused in before {
        let name = if earlier.pieces.is_empty() { "before: " } else { "" };
        earlier = earlier.and(Faint, format!("{name}{} {}", short(Some(&refused.hash)), view.ago(&refused.at)));
    }
    lines.push(earlier);
    lines
}

fn reports(view: &View) -> Vec<Line> {
    let reports = &view.status.reports;
    if *reports == ReportsStatus::default() {
        return Vec::new();
    }
    vec![
        Line::new("reports").and(Plain, format!("{} sent, {} failed", reports.sent, reports.failed)),
        Line::new("").and_some(Bad, reports.last_error.clone()),
    ]
}

fn host(view: &View) -> Vec<Line> {
    let host = &view.status.host;
    let size = units::rounded_size;
    let memory = match (host.memory_used_bytes, host.memory_total_bytes) {
        (Some(used), Some(total)) => Some(format!("memory {} of {}", size(used), size(total))),
        _ => None,
    };
    let cpus = |limit: f64| match format!("{limit:.1}").trim_end_matches(".0") {
        "1" => "limit 1 CPU".to_owned(),
        cpus => format!("limit {cpus} CPUs"),
    };
    vec![
        Line::new("host")
            .and(Plain, host.name.clone())
            .and(Plain, if host.os_version.is_empty() { host.os_type.clone() } else { host.os_version.clone() })
            .and(Plain, host.arch.clone())
            .and_some(Plain, host.uptime_seconds.map(|up| format!("up {}", units::two_units(Duration::from_secs(up))))),
        Line::new("")
            .and_some(Plain, memory)
            .and_some(Plain, host.memory_limit_bytes.map(|limit| format!("limit {}", size(limit))))
            .and_some(Plain, host.cpu_utilization.map(|share| format!("CPU {:.0} %", share * 100.0)))
            .and_some(Plain, host.cpu_limit.map(cpus))
            .and_some(Plain, host.load_1m.map(|load| format!("load {load:.2}"))),
        host.file_systems.iter().fold(Line::new("disks"), |line, it| {
            let tone = if it.utilization >= 0.9 { Warn } else { Plain };
            line.and(tone, format!("{} {:.0} % full", it.mountpoint, it.utilization * 100.0))
        }),
        host.hanging_mounts.iter().fold(Line::new("hanging"), |line, mount| line.and(Bad, mount.clone())),
    ]
}

/// What fires first, then what may; of those that are good only how many there are.
fn alerts(view: &View) -> Vec<Line> {
    let (alerts, webhook) = (&view.status.alerts, &view.status.webhook);
    let of = |state: AlertState| alerts.iter().filter(move |alert| alert.state == state);
    let mut lines = Vec::new();
    for (alert, tone) in of(AlertState::Firing).map(|it| (it, Bad)).chain(of(AlertState::Pending).map(|it| (it, Warn)))
    {
        let series: Vec<_> = alert.attributes.iter().map(|(name, value)| alert::pair(name, value)).collect();
        let value = alert.value.map(alert::rounded);
        let value = value.map(|value| format!("{} is {value}, {}", alert.metric, alert.threshold));
        lines.push(
            Line::new(if lines.is_empty() { "alerts" } else { "" })
                .and(tone, alert.summary.clone().unwrap_or_default())
                .and(tone, format!("{} {}", alert.name, alert.state))
                .and_some(Plain, alert.since.as_ref().map(|since| view.for_how_long(since)))
                .and(Plain, alert.severity.clone())
                .and_some(Plain, value)
                .and(Faint, series.join(" ")),
        );
    }
    let some = |number: usize, what: &str| if number > 0 { format!("{number} {what}") } else { String::new() };
    lines.push(
        Line::new(if lines.is_empty() { "alerts" } else { "" })
            .and(Good, some(of(AlertState::Good).count(), "good"))
            .and(Faint, some(of(AlertState::Unmeasured).count(), "not measured")),
    );
    if webhook.sent + webhook.failed > 0 {
        let tone = if webhook.last_error.is_some() { Bad } else { Plain };
        lines.push(
            Line::new("webhook")
                .and(tone, format!("{} sent, {} failed", webhook.sent, webhook.failed))
                .because(webhook.last_error.as_deref().unwrap_or_default()),
        );
    }
    lines
}

/// Those that failed each with its reason, the good ones by name.
fn checks(view: &View) -> Vec<Line> {
    // The two that are always there say no more than the lines above.
    let checks = view.status.checks.iter().filter(|check| !["agent", "collector"].contains(&check.kind.as_str()));
    let (failed, others): (Vec<_>, Vec<_>) = checks.partition(|check| check.ok == Some(false));
    let mut lines = Vec::new();
    for check in failed {
        lines.push(
            Line::new(if lines.is_empty() { "checks" } else { "" })
                .and(Bad, format!("{} failed", check.name))
                .and_some(Plain, check.since.as_ref().map(|since| view.for_how_long(since)))
                .because(&check.message),
        );
    }
    let name = if lines.is_empty() { "checks" } else { "" };
    lines.push(others.into_iter().fold(Line::new(name), |line, check| match (check.ok, check.duration_ms) {
        (Some(_), Some(took)) => {
            line.and(Good, format!("{} good in {}", check.name, units::seconds(Duration::from_millis(took))))
        }
        (Some(_), None) => line.and(Good, format!("{} good", check.name)),
        (None, _) => line.and(Faint, format!("{} not done yet", check.name)),
    }));
    lines
}

fn docker(view: &View) -> Vec<Line> {
    let Some(docker) = &view.status.docker else { return Vec::new() };
    let mut lines = vec![
        Line::new("docker").and(if docker.connected { Plain } else { Bad }, docker.summary()),
        Line::new("").and_some(Bad, docker.trouble.clone()),
    ];
    for it in &docker.containers {
        let tone = match (it.state.as_str(), it.health.as_deref()) {
            (_, Some("unhealthy")) | ("restarting", _) => Bad,
            ("running", _) => Good,
            _ => Warn,
        };
        lines.push(
            Line::new(if lines.len() == 2 { "containers" } else { "" })
                .and(Plain, it.name.clone())
                .and(tone, it.state.clone())
                .and_some(tone, it.health.clone())
                .and_some(Plain, it.since.as_ref().map(|since| view.for_how_long(since)))
                .and(Faint, it.image.clone())
                .and_some(Faint, it.service.clone().map(|service| format!("service {service}"))),
        );
    }
    let all = docker.containers.len() as u64;
    if let Some(some) = docker.containers_looked_at.filter(|some| *some < all) {
        lines.push(Line::new("").and(Warn, format!("{some} of {all} were looked at in the last round")));
    }
    let left_out = docker.containers_left_out;
    lines.extend(docker.not_looked_at().map(|not| Line::new("").and(Warn, not).of(left_out)));
    lines
}

fn export(view: &View) -> Vec<Line> {
    let export = &view.status.export;
    let Some(to) = &export.to else { return Vec::new() };
    let points = units::counted(export.waiting_points, "point");
    let records = units::counted(export.waiting_records, "event");
    let nobody = |to: &Option<String>, what: &str| match to {
        Some(_) => String::new(),
        None => format!("nobody takes {what}"),
    };
    vec![
        Line::new("export")
            .and(Plain, to.clone())
            .and(Warn, nobody(&export.metrics_to, "metrics"))
            .and(Warn, nobody(&export.logs_to, "events"))
            .and(Plain, format!("{} sent, {} failed", export.sent, export.failed))
            .and(Plain, format!("{points} and {records} wait")),
        Line::new("").and_some(Bad, export.last_error.clone()),
    ]
}

fn attributes(view: &View) -> Vec<Line> {
    let attributes = view.status.agent.attributes.iter();
    vec![attributes.fold(Line::new("attributes"), |line, (name, value)| line.and(Faint, format!("{name}={value}")))]
}

fn losses(view: &View) -> Vec<Line> {
    let losses = &view.status.losses;
    let some = |number: u64, noun: &str| if number > 0 { units::counted(number, noun) } else { String::new() };
    let of = |number: u64, noun: &str, more: &str| if number > 0 { some(number, noun) + more } else { String::new() };
    let series = losses.alert_series;
    let export = &losses.export;
    vec![
        Line::new("lost")
            .and(Warn, of(losses.collector_log_lines, "log line", " of the collector"))
            .and(Warn, of(losses.agent_log_lines, "log line", " of the agent"))
            .and(Warn, some(export.dropped_points + export.refused_points, "point"))
            .and(Warn, some(export.dropped_records + export.refused_records, "event"))
            .and(Warn, if series > 0 { format!("{series} series without an alert") } else { String::new() })
            .and(Warn, of(losses.alert_notifications, "end", " of alerts")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use otelet_wire::status::Losses;

    /// A status in which every section has something to say.
    fn status() -> Status {
        let hash = |digit: &str| digit.repeat(64);
        let refused = |hash: String, at: &str, reason: &str| serde_json::json!({"hash": hash, "reason": reason, "at": at, "times": 2, "barred": true});
        serde_json::from_value(serde_json::json!({
            "agent": {"version": "1.2.3", "pid": 4120, "start": 1, "instance_uid": "0198", "since": "2026-11-20T08:00:00Z",
                "state": "running", "attributes": {"site": "north"}, "memory_bytes": 5_347_737},
            "collector": {"path": "/usr/bin/otelcol", "version": "0.149.0", "state": "up", "pid": 4121,
                "since": "2026-11-23T11:30:00Z", "config": hash("a"), "witness": "health_check", "healthy": true,
                "trouble": null, "restarts": 2, "memory_bytes": 50_331_648,
                "last_exit": {"how": "signal 9", "at": "2026-11-23T11:29:00Z", "last_words": "panic: \u{1b}[2Jnil map"}},
            "config": {"source": "https://c.example/v1", "serving": "https://c.example/v1", "source_trouble": null,
                "remote_config_status": "failed", "message": "unknown receiver \"otpl\"", "remote_hash": hash("c"),
                "effective_hash": hash("a"), "last_good_hash": hash("a"), "previous_hash": null, "candidate_hash": null,
                "effective_path": "/var/lib/otelet/configs/a.yaml",
                "refused": [refused(hash("b"), "2026-11-21T12:00:00Z", "no exporter"),
                    refused(hash("c"), "2026-11-23T11:59:18Z", "unknown receiver \"otpl\"")]},
            "exchanges": {"offered": 3, "unchanged": 1200, "failed": 1, "last_error": "https://c.example/v1: answered 503",
                "last_success": "2026-11-23T11:59:48Z", "next_at": "2026-11-23T12:00:18Z"},
            "reports": {"sent": 0, "failed": 0, "last_error": null},
            "losses": {"collector_log_lines": 12, "agent_log_lines": 0, "dropped_points": 3, "dropped_records": 0,
                "refused_points": 1, "refused_records": 2},
            "host": {"name": "edge-7", "id": "x", "os_type": "linux", "os_version": "Debian 12", "arch": "amd64",
                "memory_total_bytes": 4_080_218_931_u64, "memory_used_bytes": 1_288_490_189, "load_1m": 0.314,
                "cpu_utilization": 0.125, "uptime_seconds": 273_600, "memory_limit_bytes": 1_073_741_824_u64, "cpu_limit": 0.5,
                "file_systems": [{"mountpoint": "/", "used_bytes": 91, "free_bytes": 9, "utilization": 0.91}],
                "hanging_mounts": ["/mnt/nfs"]},
            "export": {"to": "collector", "metrics_to": "http://127.0.0.1:4318/v1/metrics", "logs_to": null, "sent": 7,
                "failed": 1, "last_error": "answered 503", "waiting_points": 40, "waiting_records": 2, "buffer_bytes": 900},
            "alerts": [
                {"name": "full", "metric": "system.filesystem.utilization", "state": "firing", "severity": "critical",
                    "since": "2026-11-23T11:50:00Z", "value": 0.93, "threshold": "above 0.9",
                    "attributes": {"mountpoint": "/"}, "summary": "clean up"},
                {"name": "hot", "metric": "system.cpu.load_average.1m", "state": "good", "severity": "warning",
                    "since": null, "value": 0.3, "threshold": "above 4", "attributes": {}, "summary": null}],
            "webhook": {"sent": 2, "failed": 1, "last_error": null},
            "checks": [
                {"name": "otelet", "kind": "agent", "ok": true, "since": null, "last_at": null, "duration_ms": null, "message": ""},
                {"name": "web", "kind": "http", "ok": false, "since": "2026-11-23T11:58:00Z", "last_at": null,
                    "duration_ms": 12, "message": "answered 500"},
                {"name": "db", "kind": "tcp", "ok": true, "since": null, "last_at": null, "duration_ms": 3, "message": ""}],
            "docker": {"socket": "/var/run/docker.sock", "engine": "Docker", "version": "20.10.24", "api": "1.41",
                "connected": true, "trouble": null, "events": 4, "events_lost": 0, "containers_left_out": 1, "left_out": ["back"],
                "containers": [{"id": "0123456789ab", "name": "front", "image": "nginx:1", "state": "running",
                    "health": "healthy", "project": "shop", "service": "web", "since": "2026-11-23T10:00:00Z"}]},
            "answer": null, "serial": 9, "written_at": "2026-11-23T12:00:00Z"
        }))
        .expect("a status of this version")
    }

    fn wide(columns: usize) -> Size {
        Size { columns: Some(columns), rows: None }
    }

    /// Noon of 2026-11-23.
    fn now() -> SystemTime {
        units::parse_rfc3339("2026-11-23T12:00:00Z").expect("a time")
    }

    #[test]
    fn it_says_what_runs_since_when_from_where_and_what_was_refused() {
        let expected = "\
agent       running, for 3d 4h, pid 4120, 5.1 MiB, otelet 1.2.3
            uid 0198
collector   up, for 30m, healthy by health_check, pid 4121, 48 MiB
            /usr/bin/otelcol, version 0.149.0
restarts    2, last exit 31m ago: signal 9
            panic:  [2Jnil map
config      aaaaaaaa
            /var/lib/otelet/configs/a.yaml
offered     cccccccc, failed: unknown receiver \"otpl\"
last good   aaaaaaaa
previous    none
source      https://c.example/v1
exchanges   3 offered, 1200 unchanged, 1 failed, last answer 12s ago, next in 18s
            https://c.example/v1: answered 503
refused     cccccccc 42s ago, 2 times: unknown receiver \"otpl\"
            before: bbbbbbbb 2d ago
alerts      clean up, full firing, for 10m, critical, system.filesystem.utilization is 0.93, above 0.9, mountpoint=/
            1 good
webhook     2 sent, 1 failed
checks      web failed, for 2m: answered 500
            db good in 3ms
host        edge-7, Debian 12, amd64, up 3d 4h
            memory 1.2 GiB of 3.8 GiB, limit 1 GiB, CPU 12 %, limit 0.5 CPUs, load 0.31
disks       / 91 % full
hanging     /mnt/nfs
docker      Docker 20.10.24 at /var/run/docker.sock, 2 containers run, 4 events
containers  front, running, healthy, for 2h, nginx:1, service web
            not looked at: 1 that were created last: back
export      collector, nobody takes events, 7 sent, 1 failed, 40 points and 2 events wait
            answered 503
attributes  site=north
lost        12 log lines of the collector, 4 points, 2 events
";
        assert_eq!(screen(&status(), now(), Size::default(), false), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_nothing_is_left_out() {
        let words = |text: &str| text.split_whitespace().collect::<String>();
        let whole = words(&screen(&status(), now(), Size::default(), false));
        for width in [32, 40, 64, 80] {
            let screen = screen(&status(), now(), wide(width), false);
            assert!(screen.lines().all(|line| line.chars().count() <= width), "{width}:\n{screen}");
            assert_eq!(words(&screen), whole, "{width}");
        }
        assert_eq!(screen(&status(), now(), wide(1), false), screen(&status(), now(), wide(LEFT + LEAST), false));
    }

    #[test]
    fn a_word_is_broken_behind_a_mark_if_at_all() {
        let screen = screen(&status(), now(), wide(40), false);
        assert!(screen.contains("            system.filesystem.\n            utilization is 0.93,"), "{screen}");
        assert!(screen.contains("            /var/lib/otelet/configs/a.\n            yaml\n"), "{screen}");
    }

    #[test]
    fn a_long_list_pushes_nothing_out_of_sight() {
        let mut status = status();
        let docker = status.docker.as_mut().unwrap();
        docker.containers = vec![docker.containers[0].clone(); 29];
        docker.containers_left_out = 100;
        let rows = |rows| Size { columns: Some(120), rows: Some(rows) };
        let screen = |size| screen(&status, now(), size, false);
        let whole = screen(Size { columns: Some(120), rows: None });
        assert!(whole.lines().count() > 55 && whole.contains("\n            not looked at: 100 "), "{whole}");

        let fits = screen(rows(40));
        assert!(fits.lines().count() <= 40 && fits.contains("\nlost        12 log lines"), "{fits}");
        let shown = fits.matches("front, running").count();
        assert!(shown > 3 && fits.contains(&format!("\n            … {} more\n", 129 - shown)), "{fits}");

        // On a small one each section still has its first line.
        let small = screen(rows(24));
        let names = |text: &str| text.lines().filter(|line| line.starts_with(char::is_alphabetic)).count();
        assert!(small.lines().count() <= 26 && small.contains("\nlost  "), "{small}");
        assert!(names(&small) >= 12, "{small}");
        assert_eq!(screen(rows(whole.lines().count())), whole);
    }

    #[test]
    fn one_thing_is_told_as_one() {
        let mut status = status();
        let docker = status.docker.as_mut().unwrap();
        (docker.events, docker.containers_left_out) = (1, 0);
        (status.export.waiting_points, status.export.waiting_records) = (1, 1);
        status.losses = Losses { collector_log_lines: 1, alert_notifications: 1, ..Losses::default() };
        status.host.cpu_limit = Some(1.0);
        status.host.memory_limit_bytes = Some(256 << 20);
        let screen = screen(&status, now(), Size::default(), false);
        for words in [
            "1 container runs, 1 event\n",
            "1 point and 1 event wait\n",
            "lost        1 log line of the collector, 1 end of alerts\n",
            "limit 256 MiB, CPU 12 %, limit 1 CPU,",
        ] {
            assert!(screen.contains(words), "{words} in\n{screen}");
        }
    }

    #[test]
    fn it_says_when_the_next_start_is_and_that_data_goes_nowhere() {
        let mut status = status();
        let collector = &mut status.collector;
        (collector.state, collector.since, collector.pid) = (CollectorState::Waiting, None, None);
        (collector.healthy, collector.witness) = (false, None);
        collector.next_start_at = Some("2026-11-23T12:00:12Z".into());
        collector.goes_nowhere = Some("no backend is set".into());
        let screen = screen(&status, now(), Size::default(), false);
        assert!(screen.contains("collector   waiting, next start in 12s, 48 MiB\n"), "{screen}");
        assert!(screen.contains("data        goes nowhere: no backend is set\n"), "{screen}");
    }

    #[test]
    fn colours_add_nothing_but_themselves_and_end_with_each_piece() {
        let painted = screen(&status(), now(), wide(60), true);
        assert!(painted.contains("\x1b[1mcollector   \x1b[0m\x1b[32mup\x1b[0m, for 30m"), "{painted}");
        assert!(painted.contains("\x1b[31mfailed\x1b[0m"), "{painted}");
        let mut plain = painted.clone();
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, screen(&status(), now(), wide(60), false));
    }

    #[test]
    fn what_others_said_moves_no_cursor() {
        let mut status = status();
        status.config.message = "\x1b]0;title\x07\u{9b}2J\r\u{202e}end".into();
        let screen = screen(&status, now(), Size::default(), false);
        assert!(screen.chars().all(|c| c == '\n' || !is_unfit(c)), "{screen:?}");
        assert!(screen.contains("end"));
    }

    #[test]
    fn a_time_that_lies_ahead_is_shown_as_it_is() {
        let mut status = status();
        status.agent.since = "2027-01-01T00:00:00Z".into();
        assert!(
            screen(&status, now(), Size::default(), false)
                .starts_with("agent       running, since 2027-01-01T00:00:00Z, ")
        );
    }
}
