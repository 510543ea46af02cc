//! What the engine says of its containers, a line of JSON each, as records; and how far it has been heard.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{clip, identity, short};
use otelet_core::telemetry::{EventRecord, Severity};

/// The longest line that is read, in bytes. One with forty labels has 4 KiB.
const LONGEST_LINE: usize = 64 * 1024;

/// The most labels of a container that a record carries, and the most bytes of each.
const MOST_LABELS: usize = 48;
const LONGEST_LABEL: usize = 512;

/// The most events that an engine keeps for those who were away: Docker's own number.
const KEPT_BY_ENGINE: usize = 256;

/// How far before the last event the stream is taken up again, in nanoseconds: events that happen at the same time may
/// come in another order than their times. What was heard already is known by [`Position`].
const OVERLAP: u64 = 1_000_000_000;

/// A kind of event.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// As Docker says it.
    pub action: &'static str,
    /// The name of the record.
    pub event: &'static str,
    /// How much it matters.
    severity: Severity,
    /// What happened, after the name of the container.
    words: &'static str,
    /// Whether the container may have begun to run with it.
    pub starts: bool,
}

const fn kind(action: &'static str, event: &'static str, severity: Severity, words: &'static str) -> Kind {
    Kind { action, event, severity, words, starts: false }
}

/// The kinds that are told. Each name is also a filter for the engine.
pub static KINDS: [Kind; 12] = [
    kind("create", "docker.container.create", Severity::Info, "was created"),
    Kind { starts: true, ..kind("start", "docker.container.start", Severity::Info, "started") },
    kind("stop", "docker.container.stop", Severity::Info, "was stopped"),
    kind("die", "docker.container.die", Severity::Info, "ended"),
    Kind { starts: true, ..kind("restart", "docker.container.restart", Severity::Info, "was restarted") },
    kind("oom", "docker.container.oom", Severity::Error, "ran out of memory, and the kernel ended a process of it"),
    kind("health_status", "docker.container.health_status", Severity::Info, "has another health"),
    kind("pause", "docker.container.pause", Severity::Info, "was paused"),
    kind("unpause", "docker.container.unpause", Severity::Info, "goes on"),
    kind("destroy", "docker.container.destroy", Severity::Info, "was removed"),
    kind("kill", "docker.container.kill", Severity::Info, "got a signal"),
    kind("rename", "docker.container.rename", Severity::Info, "was renamed"),
];

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// Which container.
    pub id: String,
    /// What.
    pub kind: &'static Kind,
    /// The engine's own time, in nanoseconds since 1970.
    pub time: u64,
    /// Tells it from others of the same time.
    pub mark: u64,
    /// For whoever wants to know.
    pub record: EventRecord,
}

/// Reads a line. None if it is of no interest.
///
/// # Errors
///
/// If it is not an event.
pub fn read(line: &[u8]) -> Result<Option<Happening>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Said {
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
    let said: Said = serde_json::from_slice(line)?;
    // `health_status: unhealthy`, and Podman's own names.
    let (action, detail) = said.action.split_once(':').unwrap_or((&said.action, ""));
    let action = match action {
        "died" => "die",
        "remove" => "destroy",
        action => action,
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.action == action).filter(|_| said.object == "container") else {
        return Ok(None);
    };
    let mark = otelet_config::hash(format!("{} {} {}", said.time, said.actor.id, said.action).as_bytes());
    let mark = u64::from_be_bytes(mark.0[..8].try_into().expect("a hash has 32 bytes"));
    let attributes = said.actor.attributes.unwrap_or_default();
    let record = record(kind, said.time, &said.actor.id, detail.trim(), attributes);
    Ok(Some(Happening { id: said.actor.id, kind, time: said.time, mark, record }))
}

/// Beside its labels the engine gives some attributes of the event itself.
fn record(
    kind: &'static Kind,
    time: u64,
    id: &str,
    detail: &str,
    mut attributes: BTreeMap<String, String>,
) -> EventRecord {
    let mut taken = |name: &str| attributes.remove(name);
    let (name, image) = (taken("name").unwrap_or_default(), taken("image").unwrap_or_default());
    let (exit_code, podmans) = (taken("exitCode"), taken("containerExitCode"));
    let exit_code: Option<i64> = exit_code.or(podmans).and_then(|code| code.parse().ok());
    let (signal, old_name) = (taken("signal"), taken("oldName"));
    let health = taken("health_status").filter(|_| detail.is_empty()).unwrap_or_else(|| detail.to_owned());
    // How long it ran is known from its start.
    taken("execDuration");

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
                facts.push(("docker.container.signal".into(), clip(&signal, 40).to_owned().into()));
            }
        }
        "rename" => {
            if let Some(old) = old_name {
                body += &format!(", it was {}", clip(old.trim_start_matches('/'), 255));
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

/// Puts lines together from pieces.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// The line is too long; its rest is not kept.
    skipping: bool,
}

impl Lines {
    /// Gives each line that is complete to `each`, which says whether it could be read. Answers with how many could not,
    /// or were too long.
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
        // A long line is rare: what it needed is given back.
        if self.begun.is_empty() {
            self.begun = Vec::new();
        }
        lost
    }
}

/// How far the events of an engine have been heard, over restarts of the agent too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Of which engine.
    pub socket: String,
    /// The time of the event heard last, in nanoseconds since 1970.
    last: u64,
    /// Time and mark of those that may be told again.
    heard: VecDeque<(u64, u64)>,
}

impl Position {
    /// Nothing was heard yet: what happens from now on is wanted.
    pub fn new(socket: String, now: SystemTime) -> Self {
        Self { socket, last: nanoseconds(now) + OVERLAP, heard: VecDeque::new() }
    }

    /// From where on the stream is to be told.
    pub fn since(&self, now: SystemTime) -> u64 {
        // A clock that was wrong and is right now has left a time to come.
        self.last.min(nanoseconds(now) + OVERLAP).saturating_sub(OVERLAP)
    }

    /// Takes note of an event. Answers whether it is new.
    pub fn hear(&mut self, happening: &Happening) -> bool {
        let this = (happening.time, happening.mark);
        if self.heard.contains(&this) {
            return false;
        }
        self.last = happening.time;
        self.heard.retain(|(time, _)| time.saturating_add(OVERLAP) >= happening.time);
        if self.heard.len() >= KEPT_BY_ENGINE {
            self.heard.pop_front();
        }
        self.heard.push_back(this);
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

    fn happening(action: &str, time: u64, attributes: &str) -> Happening {
        read(&line(action, time, attributes)).unwrap().expect("of interest")
    }

    fn told(action: &str, attributes: &str) -> (Severity, String) {
        let record = happening(action, 7, attributes).record;
        (record.severity, record.body)
    }

    #[test]
    fn each_kind_is_a_sentence_with_a_severity() {
        let who = r#""name":"web","image":"nginx:1""#;
        let told = |action: &str, more: &str| told(action, &format!("{who}{more}"));
        assert_eq!(told("start", ""), (Severity::Info, "container web of nginx:1 started".into()));
        assert_eq!(told("die", r#","exitCode":"0""#).0, Severity::Info);
        assert_eq!(
            told("die", r#","exitCode":"137""#),
            (Severity::Warn, "container web of nginx:1 ended with code 137".into())
        );
        assert_eq!(told("died", r#","containerExitCode":"1""#).0, Severity::Warn, "as Podman says it");
        assert_eq!(told("oom", "").0, Severity::Error);
        assert_eq!(
            told("health_status: unhealthy", ""),
            (Severity::Warn, "container web of nginx:1 is unhealthy".into())
        );
        assert_eq!(told("health_status: healthy", "").0, Severity::Info);
        assert_eq!(told("kill", r#","signal":"15""#).1, "container web of nginx:1 got a signal: 15");
        assert_eq!(told("rename", r#","oldName":"/old""#).1, "container web of nginx:1 was renamed, it was old");
        assert_eq!(told("remove", "").1, "container web of nginx:1 was removed");
    }

    #[test]
    fn a_record_has_the_engines_time_and_the_words_of_the_conventions() {
        let record = happening(
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
            ("container.image.name", "nginx:1".into()),
            ("process.exit.code", 3.into()),
            ("container.label.com.docker.compose.service", "front".into()),
        ];
        let found: Vec<(&str, Value)> =
            record.attributes.iter().map(|(name, value)| (name.as_ref(), value.clone())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn labels_without_end_are_cut_at_their_limits() {
        let labels: Vec<String> =
            (0..500).map(|number| format!(r#""label{number:03}":"{}""#, "ä".repeat(LONGEST_LABEL))).collect();
        let record = happening("start", 7, &labels.join(",")).record;
        assert_eq!(record.attributes.len(), 3 + MOST_LABELS);
        let Value::Text(value) = &record.attributes.last().unwrap().1 else { panic!("a text") };
        assert_eq!(value.len(), LONGEST_LABEL);
    }

    #[test]
    fn what_is_of_no_interest_is_no_loss_and_what_is_no_event_is_one() {
        assert_eq!(read(&line("exec_start: sh", 7, "")).unwrap(), None);
        let image = String::from_utf8(line("kill", 7, "")).unwrap().replace("container", "image");
        assert_eq!(read(image.as_bytes()).unwrap(), None);
        for garbage in ["", "{}", "[1]", "null", r#"{"Type":"container","Action":"die"}"#] {
            assert!(read(garbage.as_bytes()).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn lines_are_the_same_however_they_are_torn_and_one_without_end_costs_only_itself() {
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
    fn what_is_told_again_after_a_reconnect_is_heard_once() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let mut position = Position::new("/s".into(), start);
        assert_eq!(position.since(start), 1_000_000_000_000, "nothing from before the first start");
        let second = 1_000_000_000;
        let events = [
            happening("create", 1002 * second, ""),
            happening("start", 1002 * second, ""),
            happening("oom", 1002 * second + 500, ""),
            // It happened earlier and comes later.
            happening("die", 1002 * second + 400, ""),
        ];
        assert!(events.iter().all(|event| position.hear(event)));

        // Through a restart of the agent.
        let text = serde_json::to_string(&position).unwrap();
        let mut position: Position = serde_json::from_str(&text).unwrap();
        let since = position.since(start + Duration::from_secs(60));
        assert!(since <= 1002 * second && since > 1000 * second, "{since}");
        assert!(!events.iter().any(|event| position.hear(event)));
        assert!(position.hear(&happening("destroy", 1002 * second, "")), "of the same time, and not heard");
    }

    #[test]
    fn a_clock_that_was_wrong_leaves_no_gap() {
        let right = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let mut position = Position::new("/s".into(), right);
        position.hear(&happening("start", 9_000_000_000_000_000, ""));
        assert_eq!(position.since(right), 1_000_000_000_000);
    }

    #[test]
    fn a_position_is_small_however_many_events_come_at_once() {
        let mut position = Position::new("/s".into(), SystemTime::UNIX_EPOCH);
        for time in 0..10_000 {
            assert!(position.hear(&happening("start", time, "")));
        }
        assert_eq!(position.heard.len(), KEPT_BY_ENGINE);
    }
}
