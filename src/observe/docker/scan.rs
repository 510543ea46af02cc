//! One scan of the containers: the list, the time since which each runs, and its usage. It runs on a thread of its own,
//! for a limited time.
//!
//! Answers are read one at a time, and parsed while they arrive: the list of a large host and the statistics of its
//! containers are never in memory as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::answer::Answer;
use super::links::{Link, Links, LoggedContainer};
use super::usage::{CpuMark, Stats};
use otelet_wire::status::ContainerStatus;

use super::container::{COMPOSE_LABELS, MOST_CONTAINERS, clip, identity, short};
use super::engine::{Engine, cannot_connect, connect, error_answer, request};
use crate::os::PatientStream;
use otelet_core::telemetry::{Attributes, Point};
use otelet_core::units;

/// The time that one scan may take. Before API 1.41 an engine measures the usage over a second, so that each container
/// takes one or two seconds: the containers that do not fit into this time are left out.
const LIMIT: Duration = Duration::from_secs(20);

/// The largest list that is read, in bytes. The list of a thousand containers has about 2 MB.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

/// The largest answer about one container that is read, in bytes. It has about 10 KB, more with many labels and variables.
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// The most that is read of an error answer, in bytes.
const LARGEST_ERROR: u64 = 4 * 1024;

/// The size of one read, in bytes. The buffer is on a small stack.
const PIECE: usize = 4 * 1024;

/// One scan, with all that it needs.
#[derive(Debug)]
pub struct Scan {
    pub socket: PathBuf,
    pub engine: Engine,
    /// The findings of the scan before.
    pub known: KnownContainers,
    /// Whether to read the usage too.
    pub usage: bool,
    /// The links to logs that the collector reads. None makes no links.
    pub links: Option<Links>,
    /// Ids of containers that have started since the scan before. Some may have ended already, and their logs need a
    /// link too.
    pub started: BTreeSet<String>,
}

/// Known containers by their ids.
pub type KnownContainers = BTreeMap<String, KnownContainer>;

/// The findings about a container that later scans use again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownContainer {
    started: Option<SystemTime>,
    cpu: Option<CpuMark>,
}

/// The result of one scan.
#[derive(Debug)]
pub struct ScanResult {
    /// Sorted by name.
    pub containers: Vec<ContainerStatus>,
    /// The number of further containers.
    pub left_out: u64,
    /// For the next scan.
    pub known: KnownContainers,
    pub points: Vec<Point>,
    /// The first error: because of it some points or containers are missing.
    pub trouble: Option<String>,
}

/// An entry of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListEntry {
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

/// Compose's labels, in the order of [`COMPOSE_LABELS`]. The other labels are dropped while parsing.
#[derive(Debug, Default)]
struct Labels([Option<String>; COMPOSE_LABELS.len()]);

/// The first containers of the list, and the number of the others.
#[derive(Debug, Default)]
struct List {
    containers: Vec<ListEntry>,
    left_out: u64,
}

/// The fields of `/containers/ID/json` that a scan needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    state: DetailedState,
    #[serde(flatten)]
    logged: LoggedContainer,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DetailedState {
    started_at: String,
}

impl Scan {
    /// Runs the scan.
    ///
    /// # Errors
    ///
    /// A sentence, if the engine gives no list.
    pub fn run(mut self) -> Result<ScanResult, String> {
        let deadline = Instant::now() + LIMIT;
        let mut list: List = self.get("/containers/json", LARGEST_LIST, deadline)?;
        list.containers.sort_by(|one, other| one.name().cmp(other.name()));
        let left_out = list.left_out;
        let mut seen = ScanResult {
            containers: Vec::new(),
            left_out,
            known: KnownContainers::new(),
            points: Vec::new(),
            trouble: None,
        };
        let (mut links, mut ended) = (Vec::new(), std::mem::take(&mut self.started));
        for listed in list.containers {
            ended.remove(&listed.id);
            if !listed.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                seen.complain(format!("the engine lists a container whose id is {:?}", clip(&listed.id, 80)));
                continue;
            }
            let mut known = self.known.remove(&listed.id).unwrap_or_default();
            // A container that has just ended is no error, and neither is one that the next scan will find.
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
        // The ids that are left in `known` belong to containers that are gone.
        if let Some(places) = self.links.as_ref().filter(|_| !links.is_empty() || !self.known.is_empty()) {
            places.update(&links, SystemTime::now()).unwrap_or_else(|why| {
                seen.complain(format!("cannot link the logs of containers for the collector: {why}"));
            });
        }
        Ok(seen)
    }

    fn link(&self, logged: &LoggedContainer) -> Option<Link> {
        logged.link(&self.links.as_ref()?.root)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, most: u64, deadline: Instant) -> Result<T, String> {
        let path = format!("/v{}{path}", self.engine.api);
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = connect(&self.socket, left).map_err(|error| cannot_connect(&self.socket, &error))?;
        let error = |error: &dyn fmt::Display| format!("{}: {error}", path.split('?').next().unwrap_or_default());
        stream.send(request(&path).as_bytes()).map_err(|it| error(&it))?;
        let stream = stream.until(deadline).map_err(|it| error(&it))?;
        let mut body = Body { stream, answer: Answer::default(), ready: Vec::new(), read: 0 };
        let status = body.head().map_err(|it| error(&described(&it)))?;
        if !(200..300).contains(&status) {
            let mut text = Vec::new();
            let _ = body.take(LARGEST_ERROR).read_to_end(&mut text);
            return Err(error_answer(&path, status, &text));
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

fn described(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut { late() } else { error.to_string() }
}

impl ScanResult {
    /// Keeps the first error: it stands for all.
    fn complain(&mut self, why: String) {
        if !why.contains(" answered 404") {
            self.trouble.get_or_insert(why);
        }
    }
}

impl ListEntry {
    /// The container's own name. The engine lists `/web`, and also `/other/alias` for each container that links to it.
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
        // The text is for people: `Up 5 minutes (unhealthy)`, `(health: starting)`. Only the health in it has a fixed form.
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

/// The body of an answer, read while it arrives.
struct Body {
    stream: PatientStream,
    answer: Answer,
    ready: Vec<u8>,
    read: usize,
}

impl Body {
    /// Waits for the head, and returns the status.
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

    /// Reads more. Returns whether there may be still more.
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
        while self.read == self.ready.len() {
            self.ready.clear();
            self.read = 0;
            if self.answer.is_complete() || !self.more()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.ready.len() - self.read);
        buffer[..length].copy_from_slice(&self.ready[self.read..self.read + length]);
        self.read += length;
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
    fn an_entry_has_the_containers_own_name_its_health_and_composes_labels() {
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
    fn a_long_list_is_cut_and_the_rest_is_counted() {
        let crowd: Vec<String> = (0..1000).map(|number| format!(r#"{{"Id":"{number}","Names":["/n"]}}"#)).collect();
        let list = list(&format!("[{}]", crowd.join(",")));
        assert_eq!((list.containers.len(), list.left_out), (MOST_CONTAINERS, 1000 - MOST_CONTAINERS as u64));
    }

    #[test]
    fn deeply_nested_fields_are_skipped_on_a_small_stack() {
        let deep = |depth: usize| format!(r#"[{{"Id":"1","Ports":{}{}}}]"#, "[".repeat(depth), "]".repeat(depth));
        let job = move || {
            let list: List = serde_json::from_reader(deep(100_000).as_bytes()).unwrap();
            assert_eq!(list.containers.len(), 1);
        };
        std::thread::Builder::new().stack_size(256 * 1024).spawn(job).unwrap().join().unwrap();
    }
}
