//! Makes records of the engine's events, one line of JSON each, and remembers which events were recorded already.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::container::{Description, clip, identity, short};
use otelet_core::telemetry::{EventRecord, Severity};
use otelet_core::units;

/// The longest line that is read, in bytes. A line with forty labels has 4 KiB.
const LONGEST_LINE: usize = 64 * 1024;

/// The most labels of a container that a record carries, and the most bytes of each.
const MOST_LABELS: usize = 48;
const LONGEST_LABEL: usize = 512;

/// The most events that an engine repeats after a reconnect. Docker keeps this many.
const KEPT_BY_ENGINE: usize = 256;

/// The most kills, and the most ends, of containers that are remembered.
const REMEMBERED: usize = 64;

/// A container that was started longer ago may have been started again since then, in nanoseconds.
const JUST_NOW: u64 = 10_000_000_000;

/// The time of an end as the event gives it, and as the container's state gives it, differ by less than this.
const SAME_END: u64 = 2_000_000_000;

/// A reconnected stream begins this long before the last event, in nanoseconds: events of about the same time may come
/// out of order. [`Position`] drops the events that come a second time.
const OVERLAP: u64 = 1_000_000_000;

#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Docker's name of it.
    pub action: &'static str,
    /// The name of the record.
    pub event: &'static str,
    severity: Severity,
    /// The predicate of the record's sentence, after the container's name.
    words: &'static str,
    /// Whether the container may run since this event.
    pub starts: bool,
}

const fn kind(action: &'static str, event: &'static str, severity: Severity, words: &'static str) -> Kind {
    Kind { action, event, severity, words, starts: false }
}

/// The kinds that become records. Each `action` is also a filter for the engine.
pub static KINDS: [Kind; 12] = [
    kind("create", "docker.container.create", Severity::Info, "was created"),
    Kind { starts: true, ..kind("start", "docker.container.start", Severity::Info, "started") },
    kind("stop", "docker.container.stop", Severity::Info, "was stopped"),
    kind("die", "docker.container.die", Severity::Info, "ended"),
    Kind { starts: true, ..kind("restart", "docker.container.restart", Severity::Info, "was restarted") },
    kind(
        "oom",
        "docker.container.oom",
        Severity::Error,
        "ran out of memory, and the kernel killed one of its processes",
    ),
    kind("health_status", "docker.container.health_status", Severity::Info, "changed its health"),
    kind("pause", "docker.container.pause", Severity::Info, "was paused"),
    kind("unpause", "docker.container.unpause", Severity::Info, "was unpaused"),
    kind("destroy", "docker.container.destroy", Severity::Info, "was removed"),
    kind("kill", "docker.container.kill", Severity::Info, "got a signal"),
    kind("rename", "docker.container.rename", Severity::Info, "was renamed"),
];

/// An event of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerEvent {
    pub id: String,
    pub kind: &'static Kind,
    /// The engine's own time, in nanoseconds since 1970.
    pub time: u64,
    /// Tells events of the same time apart.
    pub mark: u64,
    /// The signal of a kill, and the exit code of an end.
    signal: Option<i64>,
    exit_code: Option<i64>,
    pub record: EventRecord,
}

/// Reads a line. None if the event is not one of [`KINDS`].
///
/// # Errors
///
/// If it is not an event.
pub fn read(line: &[u8]) -> Result<Option<ContainerEvent>, serde_json::Error> {
    #[derive(Deserialize)]
    struct EventLine {
        #[serde(rename = "Type")]
        object: String,
        #[serde(rename = "Action")]
        action: String,
        #[serde(rename = "Actor")]
        actor: Actor,
        #[serde(rename = "timeNano")]
        time: u64,
    }
    #[derive(Deserialize)]
    struct Actor {
        #[serde(rename = "ID")]
        id: String,
        #[serde(rename = "Attributes")]
        attributes: Option<BTreeMap<String, String>>,
    }
    let event: EventLine = serde_json::from_slice(line)?;
    // Docker writes `health_status: unhealthy`. Podman has other names for two kinds.
    let (action, detail) = event.action.split_once(':').unwrap_or((&event.action, ""));
    let action = match action {
        "died" => "die",
        "remove" => "destroy",
        action => action,
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.action == action).filter(|_| event.object == "container") else {
        return Ok(None);
    };
    let mark = otelet_config::hash(format!("{} {} {}", event.time, event.actor.id, event.action).as_bytes());
    let mark = u64::from_be_bytes(mark.0[..8].try_into().expect("a hash has 32 bytes"));
    let attributes = event.actor.attributes.unwrap_or_default();
    let number = |name: &str| attributes.get(name).and_then(|text| text.parse().ok());
    let (signal, exit_code) = (number("signal"), number("exitCode").or(number("containerExitCode")));
    let record = record(kind, event.time, &event.actor.id, detail.trim(), attributes);
    Ok(Some(ContainerEvent { id: event.actor.id, kind, time: event.time, mark, signal, exit_code, record }))
}

/// The kills and the ends in a stream of events: they tell why a container ended, and why it started.
#[derive(Debug, Default)]
pub struct History {
    /// The last signal that the engine sent to a container.
    kills: VecDeque<(String, i64)>,
    ends: VecDeque<String>,
}

impl History {
    /// Completes an event from those before it. Returns whether this is the start of a container that has ended just now:
    /// the engine knows whether it did that by itself.
    pub fn complete(&mut self, event: &mut ContainerEvent, now: SystemTime) -> bool {
        match event.kind.action {
            "kill" => {
                self.kills.retain(|(id, _)| *id != event.id);
                if let Some(signal) = event.signal {
                    keep(&mut self.kills, (event.id.clone(), signal));
                }
            }
            "die" => {
                let killed = self.kills.iter().position(|(id, _)| *id == event.id).and_then(|at| self.kills.remove(at));
                if let Some((_, signal)) = killed {
                    event.record.attributes.push(("docker.container.signal".into(), signal.into()));
                    // A shell adds 128 to the signal that has ended a program, and so does the engine.
                    if event.exit_code.is_some() && event.exit_code == signal.checked_add(128) {
                        event.record.severity = Severity::Info;
                    }
                    event.record.body += &format!(" after the engine sent it signal {signal}");
                }
                self.ends.retain(|id| *id != event.id);
                keep(&mut self.ends, event.id.clone());
            }
            "start" => {
                let ended = self.ends.iter().position(|id| *id == event.id).and_then(|at| self.ends.remove(at));
                return ended.is_some() && event.time.saturating_add(JUST_NOW) > nanoseconds(now);
            }
            _ => {}
        }
        false
    }
}

fn keep<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() >= REMEMBERED {
        all.pop_front();
    }
    all.push_back(one);
}

impl ContainerEvent {
    /// Adds to a start whether the engine's restart policy did it.
    /// `count` is the engine's: how often the policy has started the container since a person did.
    pub fn restarted(&mut self, count: i64) {
        self.record.attributes.push(("docker.container.restarts".into(), count.into()));
        if count > 0 {
            self.record.body += &format!(": restart {count} by the engine, as its restart policy says");
        }
    }
}

/// A container that ran when it was last heard of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunningContainer {
    pub id: String,
    name: String,
    image: String,
    /// In nanoseconds since 1970.
    started: Option<u64>,
}

impl RunningContainer {
    pub fn new(id: &str, name: &str, image: &str, started: Option<SystemTime>) -> Self {
        let (name, image) = (clip(name, 255).to_owned(), clip(image, 255).to_owned());
        Self { id: id.to_owned(), name, image, started: started.map(nanoseconds) }
    }
}

/// The end of a container that ran before the engine was away. `now` is its description; none if it was removed. None if
/// it has run all the time.
pub fn missed_end(before: &RunningContainer, now: Option<Description>) -> Option<EventRecord> {
    // Filled one by one: a map made of a list would link a sort.
    let mut attributes = BTreeMap::new();
    attributes.insert("name".to_owned(), before.name.clone());
    attributes.insert("image".to_owned(), before.image.clone());
    let kind = KINDS.iter().find(|kind| kind.action == "die")?;
    let Some(Description { config, state, .. }) = now else {
        let mut record = record(kind, nanoseconds(SystemTime::now()), &before.id, "", attributes);
        record.body += " and was removed while the engine could not be heard";
        return Some(record);
    };
    let time = |text: &str| units::parse_rfc3339(text).map(nanoseconds);
    let started = time(&state.started_at);
    if state.running && (started == before.started || before.started.is_none()) {
        return None;
    }
    // The engine keeps the time of the end when it starts the container again, but not the exit code.
    let ended = time(&state.finished_at).filter(|at| Some(*at) >= before.started);
    for (name, value) in config.labels.unwrap_or_default() {
        attributes.entry(name).or_insert(value);
    }
    if !state.running {
        attributes.insert("exitCode".to_owned(), state.exit_code.to_string());
    }
    let at = ended.or(started).unwrap_or_else(|| nanoseconds(SystemTime::now()));
    let mut record = record(kind, at, &before.id, "", attributes);
    record.body += " while the engine could not be heard";
    if state.running {
        record.body += ", and runs again";
    }
    Some(record)
}

/// Whether an event tells the end that was told before from the container's state.
pub fn is_same_end(event: &ContainerEvent, told: SystemTime) -> bool {
    event.kind.action == "die" && event.time.abs_diff(nanoseconds(told)) < SAME_END
}

/// The attributes hold the container's labels, and some facts of the event itself, which are taken out first.
fn record(
    kind: &'static Kind,
    time: u64,
    id: &str,
    detail: &str,
    mut attributes: BTreeMap<String, String>,
) -> EventRecord {
    let mut fact = |name: &str| attributes.remove(name);
    let (name, image) = (fact("name").unwrap_or_default(), fact("image").unwrap_or_default());
    let (exit_code, podmans) = (fact("exitCode"), fact("containerExitCode"));
    let exit_code: Option<i64> = exit_code.or(podmans).and_then(|code| code.parse().ok());
    let (signal, old_name) = (fact("signal"), fact("oldName"));
    let health = fact("health_status").filter(|_| detail.is_empty()).unwrap_or_else(|| detail.to_owned());
    // The time that it ran is not recorded: it follows from the record of its start.
    fact("execDuration");

    let who = if name.is_empty() { short(id) } else { clip(&name, 255) };
    let mut body = format!("container {who} of {} {}", clip(&image, 255), kind.words);
    let mut severity = kind.severity;
    let mut facts = identity(id, &name, &image);
    match kind.action {
        "die" => {
            if let Some(code) = exit_code {
                body += &format!(" with code {code}");
                facts.push(("process.exit.code".into(), code.into()));
                if code != 0 {
                    severity = Severity::Warn;
                }
            }
        }
        "health_status" if !health.is_empty() => {
            let health = clip(&health, 40).to_owned();
            body = format!("container {who} of {} is {health}", clip(&image, 255));
            if health == "unhealthy" {
                severity = Severity::Warn;
            }
            facts.push(("docker.container.health".into(), health.into()));
        }
        "kill" => {
            if let Some(signal) = signal {
                body += &format!(": {}", clip(&signal, 40));
                if let Ok(number) = signal.parse::<i64>() {
                    facts.push(("docker.container.signal".into(), number.into()));
                }
            }
        }
        "rename" => {
            if let Some(old) = old_name {
                let old = clip(old.trim_start_matches('/'), 255);
                body += &format!(" from {old}");
                facts.push(("docker.container.old_name".into(), old.to_owned().into()));
            }
        }
        _ => {}
    }
    let labels = attributes.into_iter().filter(|(name, _)| name.len() <= LONGEST_LABEL).take(MOST_LABELS);
    facts.extend(labels.map(|(name, value)| {
        let value = clip(&value, LONGEST_LABEL).to_owned();
        (format!("container.label.{name}").into(), value.into())
    }));
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(time)).unwrap_or(SystemTime::UNIX_EPOCH);
    EventRecord { at, severity, event: kind.event, body, attributes: facts }
}

/// Assembles lines from pieces.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// The line is too long: its rest is skipped.
    skipping: bool,
}

impl Lines {
    /// Passes each complete line to `each`, which returns whether it could read it. Returns the number of lines that could
    /// not be read or were too long.
    pub fn take(&mut self, piece: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> u64 {
        let mut lost = 0;
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if !self.skipping {
                self.begun.extend_from_slice(part);
                if self.begun.len() > LONGEST_LINE {
                    (self.skipping, self.begun) = (true, Vec::new());
                    lost += 1;
                }
            }
            if part.ends_with(b"\n") {
                let line = self.begun.trim_ascii();
                if !line.is_empty() && !each(line) {
                    lost += 1;
                }
                self.skipping = false;
                self.begun.clear();
            }
        }
        // A long line is rare: its memory is freed.
        if self.begun.is_empty() {
            self.begun = Vec::new();
        }
        lost
    }
}

/// The place in an engine's stream of events up to which they were recorded. It is kept over restarts of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The socket of the engine.
    pub socket: String,
    /// The time of the last event, in nanoseconds since 1970.
    last: u64,
    /// Time and mark of the events that the engine may repeat.
    heard: VecDeque<(u64, u64)>,
    /// The containers that ran when the engine was last heard.
    #[serde(default)]
    pub running: Vec<RunningContainer>,
}

impl Position {
    /// A first start: events before `now` are not asked for.
    pub fn new(socket: String, now: SystemTime) -> Self {
        Self { socket, last: nanoseconds(now) + OVERLAP, heard: VecDeque::new(), running: Vec::new() }
    }

    /// The time from which to ask for events, in nanoseconds since 1970.
    pub fn since(&self, now: SystemTime) -> u64 {
        // A clock that was ahead and has been corrected has left a time in the future.
        self.last.min(nanoseconds(now) + OVERLAP).saturating_sub(OVERLAP)
    }

    /// Records that this event was seen. Returns whether it is new.
    pub fn hear(&mut self, event: &ContainerEvent) -> bool {
        let this = (event.time, event.mark);
        if self.heard.contains(&this) {
            return false;
        }
        self.last = event.time;
        self.heard.retain(|(time, _)| time.saturating_add(OVERLAP) >= event.time);
        if self.heard.len() >= KEPT_BY_ENGINE {
            self.heard.pop_front();
        }
        self.heard.push_back(this);
        // Its end is told. A start is not: the next list brings it.
        if matches!(event.kind.action, "die" | "destroy") {
            self.running.retain(|it| it.id != event.id);
        }
        true
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use otelet_core::telemetry::Value;

    fn line(action: &str, time: u64, attributes: &str) -> Vec<u8> {
        format!(
            r#"{{"status":"x","Type":"container","Action":"{action}","Actor":{{"ID":"0123456789abcdef","Attributes":{{{attributes}}}}},"scope":"local","time":1,"timeNano":{time}}}"#
        )
        .into_bytes()
    }

    fn event(action: &str, time: u64, attributes: &str) -> ContainerEvent {
        read(&line(action, time, attributes)).unwrap().expect("one of the kinds")
    }

    fn sentence(action: &str, attributes: &str) -> (Severity, String) {
        let record = event(action, 7, attributes).record;
        (record.severity, record.body)
    }

    #[test]
    fn each_kind_is_a_sentence_with_a_severity() {
        let who = r#""name":"web","image":"nginx:1""#;
        let sentence = |action: &str, more: &str| sentence(action, &format!("{who}{more}"));
        assert_eq!(sentence("start", ""), (Severity::Info, "container web of nginx:1 started".into()));
        assert_eq!(sentence("die", r#","exitCode":"0""#).0, Severity::Info);
        assert_eq!(
            sentence("die", r#","exitCode":"137""#),
            (Severity::Warn, "container web of nginx:1 ended with code 137".into())
        );
        assert_eq!(sentence("died", r#","containerExitCode":"1""#).0, Severity::Warn, "Podman's name");
        assert_eq!(sentence("oom", "").0, Severity::Error);
        assert_eq!(
            sentence("health_status: unhealthy", ""),
            (Severity::Warn, "container web of nginx:1 is unhealthy".into())
        );
        assert_eq!(sentence("health_status: healthy", "").0, Severity::Info);
        assert_eq!(sentence("kill", r#","signal":"15""#).1, "container web of nginx:1 got a signal: 15");
        assert_eq!(sentence("rename", r#","oldName":"/old""#).1, "container web of nginx:1 was renamed from old");
        assert_eq!(sentence("remove", "").1, "container web of nginx:1 was removed");
    }

    #[test]
    fn a_record_has_the_engines_time_and_conventional_attribute_names() {
        let record = event(
            "die",
            1_795_622_299_756_963_268,
            r#""exitCode":"3","image":"nginx:1","name":"web","com.docker.compose.service":"front","execDuration":"5""#,
        )
        .record;
        assert_eq!(record.at, SystemTime::UNIX_EPOCH + Duration::from_nanos(1_795_622_299_756_963_268));
        assert_eq!(record.event, "docker.container.die");
        let expected: Vec<(&str, Value)> = vec![
            ("container.id", "0123456789abcdef".into()),
            ("container.name", "web".into()),
            ("container.image.name", "nginx".into()),
            ("container.image.tags", Value::List("1".into())),
            ("process.exit.code", 3.into()),
            ("container.label.com.docker.compose.service", "front".into()),
        ];
        let found: Vec<(&str, Value)> =
            record.attributes.iter().map(|(name, value)| (name.as_ref(), value.clone())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn many_long_labels_are_cut_at_their_limits() {
        let labels: Vec<String> =
            (0..500).map(|number| format!(r#""label{number:03}":"{}""#, "ä".repeat(LONGEST_LABEL))).collect();
        let record = event("start", 7, &labels.join(",")).record;
        assert_eq!(record.attributes.len(), 3 + MOST_LABELS);
        let Value::Text(value) = &record.attributes.last().unwrap().1 else { panic!("a text") };
        assert_eq!(value.len(), LONGEST_LABEL);
    }

    #[test]
    fn other_kinds_are_skipped_and_malformed_events_are_errors() {
        assert_eq!(read(&line("exec_start: sh", 7, "")).unwrap(), None);
        let image = String::from_utf8(line("kill", 7, "")).unwrap().replace("container", "image");
        assert_eq!(read(image.as_bytes()).unwrap(), None);
        for garbage in ["", "{}", "[1]", "null", r#"{"Type":"container","Action":"die"}"#] {
            assert!(read(garbage.as_bytes()).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn lines_are_the_same_in_pieces_of_any_length_and_a_long_one_costs_only_itself() {
        let long = "x".repeat(3 * LONGEST_LINE);
        let text = format!("one\r\ntwo\n\n{long}\nbad\nthree\nrest");
        for step in [1, 2, 3, 1000, text.len()] {
            let (mut lines, mut whole, mut lost) = (Lines::default(), Vec::new(), 0);
            for piece in text.as_bytes().chunks(step) {
                lost += lines.take(piece, |line| {
                    whole.push(String::from_utf8_lossy(line).into_owned());
                    line != b"bad"
                });
                assert!(lines.begun.len() <= LONGEST_LINE);
            }
            assert_eq!((whole, lost), (vec!["one".into(), "two".into(), "bad".into(), "three".to_owned()], 2));
        }
    }

    #[test]
    fn events_repeated_after_a_reconnect_count_once() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let mut position = Position::new("/s".into(), start);
        assert_eq!(position.since(start), 1_000_000_000_000, "nothing from before the first start");
        let second = 1_000_000_000;
        let events = [
            event("create", 1002 * second, ""),
            event("start", 1002 * second, ""),
            event("oom", 1002 * second + 500, ""),
            // It happened earlier than the one before, and comes after it.
            event("die", 1002 * second + 400, ""),
        ];
        assert!(events.iter().all(|event| position.hear(event)));

        // The agent restarts.
        let text = serde_json::to_string(&position).unwrap();
        let mut position: Position = serde_json::from_str(&text).unwrap();
        let since = position.since(start + Duration::from_secs(60));
        assert!(since <= 1002 * second && since > 1000 * second, "{since}");
        assert!(!events.iter().any(|event| position.hear(event)));
        assert!(position.hear(&event("destroy", 1002 * second, "")), "it has the same time and is new");
    }

    #[test]
    fn a_corrected_clock_leaves_no_gap() {
        let right = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let mut position = Position::new("/s".into(), right);
        position.hear(&event("start", 9_000_000_000_000_000, ""));
        assert_eq!(position.since(right), 1_000_000_000_000);
    }

    #[test]
    fn a_position_is_small_however_many_events_come_at_once() {
        let mut position = Position::new("/s".into(), SystemTime::UNIX_EPOCH);
        for time in 0..10_000 {
            assert!(position.hear(&event("start", time, "")));
        }
        assert_eq!(position.heard.len(), KEPT_BY_ENGINE);
    }
}
