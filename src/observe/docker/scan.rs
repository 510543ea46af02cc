//! One look at the containers: the list, since when each runs, and what it uses. On a thread that may wait, but not long.
//!
//! One answer is read at a time, straight into what is kept of it: the list of a large host and the statistics of its
//! containers are never in memory as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::answer::Answer;
use super::links::{Link, Links, Logged};
use super::usage::{CpuMark, Stats};
use otelet_wire::status::ContainerStatus;

use super::container::{COMPOSE_LABELS, MOST_CONTAINERS, clip, identity, short};
use super::engine::{Engine, cannot_connect, complaint, request};
use crate::os::{LocalStream, PatientStream};
use otelet_core::telemetry::{Attributes, Point};
use otelet_core::units;

/// How long one look may take. An engine that cannot list without the usage of a second (before API 1.41) takes about a
/// second or two for each container, and is told no more than it can say in this time.
const LIMIT: Duration = Duration::from_secs(20);

/// The most that is read of the list, in bytes: one of a thousand containers has some 2 MB.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

/// The most that is read of what is said of one container, in bytes: some 10 KB, more with many labels and variables.
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// The most that is read of a complaint, in bytes.
const LARGEST_COMPLAINT: u64 = 4 * 1024;

/// What is read at once, in bytes. It is on a small stack.
const PIECE: usize = 4 * 1024;

/// What one look needs to know.
#[derive(Debug)]
pub struct Looker {
    /// Where.
    pub socket: PathBuf,
    /// Who.
    pub engine: Engine,
    /// What the look before has found out.
    pub known: Known,
    /// Whether to read the usage as well.
    pub usage: bool,
    /// Where a collector finds the logs.
    pub links: Option<Links>,
    /// Containers that have started since the look before: some may have ended already, and left a log.
    pub started: BTreeSet<String>,
}

/// What is known of containers by their ids.
pub type Known = BTreeMap<String, Acquaintance>;

/// What is known of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acquaintance {
    started: Option<SystemTime>,
    cpu: Option<CpuMark>,
}

/// What one look saw.
#[derive(Debug)]
pub struct Seen {
    /// By name.
    pub containers: Vec<ContainerStatus>,
    /// How many more there are.
    pub left_out: u64,
    /// For the next look.
    pub known: Known,
    /// What they use.
    pub points: Vec<Point>,
    /// Why some of them are missing.
    pub trouble: Option<String>,
}

/// An entry of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    labels: Option<Labels>,
}

/// Compose's labels, in the order of [`COMPOSE_LABELS`]; the others are not held.
#[derive(Debug, Default)]
struct Labels([Option<String>; COMPOSE_LABELS.len()]);

/// The list, as far as it is held.
#[derive(Debug, Default)]
struct List {
    containers: Vec<Listed>,
    left_out: u64,
}

/// What is asked of one container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    state: DetailedState,
    #[serde(flatten)]
    logged: Logged,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DetailedState {
    started_at: String,
}

impl Looker {
    /// Looks.
    ///
    /// # Errors
    ///
    /// In words, if there is no list.
    pub fn look(mut self) -> Result<Seen, String> {
        let deadline = Instant::now() + LIMIT;
        let mut list: List = self.get("/containers/json", LARGEST_LIST, deadline)?;
        list.containers.sort_by(|one, other| one.name().cmp(other.name()));
        let left_out = list.left_out;
        let mut seen =
            Seen { containers: Vec::new(), left_out, known: Known::new(), points: Vec::new(), trouble: None };
        let (mut links, mut ended) = (Vec::new(), std::mem::take(&mut self.started));
        for listed in list.containers {
            ended.remove(&listed.id);
            if !listed.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                seen.complain(format!("the engine lists a container whose id is {:?}", clip(&listed.id, 80)));
                continue;
            }
            let mut known = self.known.remove(&listed.id).unwrap_or_default();
            // One that has just ended is no trouble, and neither is one that the next look will see.
            if known.started.is_none() {
                match self.get::<Details>(&format!("/containers/{}/json", listed.id), LARGEST_ANSWER, deadline) {
                    Ok(details) => {
                        known.started = units::parse_rfc3339(&details.state.started_at);
                        links.extend(self.link(&details.logged));
                    }
                    Err(why) => seen.complain(why),
                }
            }
            if self.usage {
                let path = format!("/containers/{}/stats?stream=false&one-shot=true", listed.id);
                match self.get::<Stats>(&path, LARGEST_ANSWER, deadline) {
                    Ok(stats) => {
                        if let Some((points, cpu)) = stats.points(&listed.identity(), known.started, known.cpu) {
                            seen.points.extend(points);
                            known.cpu = Some(cpu);
                        }
                    }
                    Err(why) => seen.complain(why),
                }
            }
            seen.containers.push(listed.status(known.started));
            seen.known.insert(listed.id, known);
        }
        for id in ended.iter().take(MOST_CONTAINERS).filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            match self.get::<Details>(&format!("/containers/{id}/json"), LARGEST_ANSWER, deadline) {
                Ok(details) => links.extend(self.link(&details.logged)),
                Err(why) => seen.complain(why),
            }
        }
        // Those that are left are of containers that are gone.
        if let Some(places) = self.links.as_ref().filter(|_| !links.is_empty() || !self.known.is_empty()) {
            places.update(&links, SystemTime::now()).unwrap_or_else(|why| {
                seen.complain(format!("the collector is not led to the logs of containers: {why}"));
            });
        }
        Ok(seen)
    }

    fn link(&self, logged: &Logged) -> Option<Link> {
        logged.link(&self.links.as_ref()?.root)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, most: u64, deadline: Instant) -> Result<T, String> {
        let path = format!("/v{}{path}", self.engine.api);
        let stream = LocalStream::connect(&self.socket).map_err(|error| cannot_connect(&self.socket, &error))?;
        let error = |error: &dyn fmt::Display| format!("{}: {error}", path.split('?').next().unwrap_or_default());
        stream.send(request(&path).as_bytes()).map_err(|it| error(&it))?;
        let stream = stream.until(deadline).map_err(|it| error(&it))?;
        let mut body = Body { stream, answer: Answer::default(), ready: Vec::new(), taken: 0 };
        let status = body.head().map_err(|it| error(&said(&it)))?;
        if !(200..300).contains(&status) {
            let mut text = Vec::new();
            let _ = body.take(LARGEST_COMPLAINT).read_to_end(&mut text);
            return Err(complaint(&path, status, &text));
        }
        serde_json::from_reader(body.take(most)).map_err(|it| match it.io_error_kind() {
            Some(io::ErrorKind::TimedOut) => error(&late()),
            _ => error(&it),
        })
    }
}

fn late() -> String {
    format!("the engine does not answer within {}", units::seconds(LIMIT))
}

fn said(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut { late() } else { error.to_string() }
}

impl Seen {
    /// The first complaint stands for all.
    fn complain(&mut self, why: String) {
        if !why.contains(" answered 404") {
            self.trouble.get_or_insert(why);
        }
    }
}

impl Listed {
    /// The engine lists `/web`, and with it `/other/alias` of those that link to it.
    fn name(&self) -> &str {
        let names = || self.names.iter().flatten().map(|name| name.strip_prefix('/').unwrap_or(name));
        names().find(|name| !name.contains('/')).or_else(|| names().next()).unwrap_or_default()
    }

    fn identity(&self) -> Attributes {
        let mut identity = identity(&self.id, self.name(), &self.image);
        let labels = self.labels.iter().flat_map(|labels| COMPOSE_LABELS.iter().zip(&labels.0));
        identity.extend(labels.filter_map(|(name, value)| {
            let value = clip(value.as_ref()?, 255).to_owned();
            Some((format!("container.label.{name}").into(), value.into()))
        }));
        identity
    }

    fn status(&self, started: Option<SystemTime>) -> ContainerStatus {
        let label = |number: usize| {
            let label = self.labels.as_ref()?.0[number].as_ref()?;
            Some(clip(label, 255).to_owned())
        };
        // `Up 5 minutes (unhealthy)`, `(health: starting)`; of the text nothing else stays the same.
        let health = self.status.rsplit_once('(').map(|(_, health)| health.trim_end_matches(')'));
        let health = health.map(|health| health.strip_prefix("health: ").unwrap_or(health));
        ContainerStatus {
            id: short(&self.id).to_owned(),
            name: clip(self.name(), 255).to_owned(),
            image: clip(&self.image, 255).to_owned(),
            state: clip(&self.state, 40).to_owned(),
            health: health.filter(|health| ["healthy", "unhealthy", "starting"].contains(health)).map(str::to_owned),
            project: label(0),
            service: label(1),
            since: started.map(units::rfc3339),
        }
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of containers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
                let mut kept = List::default();
                while kept.containers.len() < MOST_CONTAINERS {
                    match list.next_element()? {
                        Some(container) => kept.containers.push(container),
                        None => return Ok(kept),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    kept.left_out += 1;
                }
                Ok(kept)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some(name) = map.next_key::<String>()? {
                    match COMPOSE_LABELS.iter().position(|known| *known == name) {
                        Some(number) => labels.0[number] = Some(map.next_value()?),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The body of an answer, read as it comes.
struct Body {
    stream: PatientStream,
    answer: Answer,
    ready: Vec<u8>,
    taken: usize,
}

impl Body {
    /// Waits for the head. Answers with the status.
    fn head(&mut self) -> io::Result<u16> {
        loop {
            if let Some(status) = self.answer.status() {
                return Ok(status);
            }
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads on. Answers whether there may be more.
    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = [0; PIECE];
        let read = self.stream.read(&mut buffer)?;
        if read == 0 && !self.answer.may_end() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the answer"));
        }
        self.answer.take(&buffer[..read], &mut self.ready).map_err(io::Error::other)?;
        Ok(read > 0)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            if self.answer.is_complete() || !self.more()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.ready.len() - self.taken);
        buffer[..length].copy_from_slice(&self.ready[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> List {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_entry_has_its_own_name_its_health_and_composes_labels() {
        let list = list(
            r#"[{"Id":"0123456789abcdef","Names":["/proxy/db","/db"],"Image":"pg:1","State":"running",
            "Status":"Up 5 minutes (health: starting)","Ports":[{"a":1}],
            "Labels":{"x":"y","com.docker.compose.service":"store","com.docker.compose.project":"shop"}},
            {"Id":"1","Names":null,"Labels":null,"Status":"Up 2 hours (Paused)"}]"#,
        );
        let status = list.containers[0].status(units::parse_rfc3339("2026-11-25T15:58:18.7Z"));
        assert_eq!(
            status,
            ContainerStatus {
                id: "0123456789ab".into(),
                name: "db".into(),
                image: "pg:1".into(),
                state: "running".into(),
                health: Some("starting".into()),
                project: Some("shop".into()),
                service: Some("store".into()),
                since: Some("2026-11-25T15:58:18Z".into()),
            }
        );
        assert_eq!(
            list.containers[0].identity()[3..],
            [
                ("container.label.com.docker.compose.project".into(), "shop".into()),
                ("container.label.com.docker.compose.service".into(), "store".into())
            ]
        );
        let bare = list.containers[1].status(None);
        assert_eq!((bare.name.as_str(), bare.health), ("", None));
    }

    #[test]
    fn of_a_crowd_some_are_kept_and_the_rest_are_counted() {
        let crowd: Vec<String> = (0..1000).map(|number| format!(r#"{{"Id":"{number}","Names":["/n"]}}"#)).collect();
        let list = list(&format!("[{}]", crowd.join(",")));
        assert_eq!((list.containers.len(), list.left_out), (MOST_CONTAINERS, 1000 - MOST_CONTAINERS as u64));
    }

    #[test]
    fn what_is_nested_deep_is_skipped_on_a_small_stack() {
        let deep = |depth: usize| format!(r#"[{{"Id":"1","Ports":{}{}}}]"#, "[".repeat(depth), "]".repeat(depth));
        let job = move || {
            let list: List = serde_json::from_reader(deep(100_000).as_bytes()).unwrap();
            assert_eq!(list.containers.len(), 1);
        };
        std::thread::Builder::new().stack_size(256 * 1024).spawn(job).unwrap().join().unwrap();
    }
}
