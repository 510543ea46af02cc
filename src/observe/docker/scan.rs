//! One scan of the containers: the list, the time since which each runs, and its usage. It runs on a thread of its own,
//! for a limited time.
//!
//! An engine takes a second or two for the statistics of a container, whatever its version, and works on many at once. So
//! several requests are out at a time, and the answers are read one after the other: no more than one is in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ask::{Asked, ask, is_missing};
use super::container::{COMPOSE_LABELS, Description, LARGEST_DESCRIPTION, MOST_CONTAINERS, clip, identity, short};
use super::engine::{Engine, shown};
use super::events::{self, RunningContainer};
use super::links::{Link, Links};
use super::usage::{CpuMark, Stats};
use otelet_core::telemetry::{Attributes, EventRecord, Point};
use otelet_core::units;
use otelet_wire::status::ContainerStatus;

/// The time that the listing may take, and the time that the measuring after it may take. 128 containers of an engine that
/// takes two seconds for each need 16.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The part of that time that the engine has for one answer. A container that hangs must not take the time of all others.
const PATIENCE: u32 = 2;

/// The time for all containers together that the engine did not describe at the listing before.
const AGAIN: Duration = Duration::from_secs(2);

/// The most requests that are out at a time.
const AT_ONCE: usize = 16;

/// The points of so many containers are handed on together: those of all would take a megabyte.
const BATCH: usize = 32;

/// The largest list that is read, in bytes. The list of a thousand containers has about 2 MB.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

/// The most names of containers beyond the limit that are told.
const MOST_NAMES: usize = 16;

/// One scan, with all that it needs.
#[derive(Debug)]
pub struct Scan {
    pub socket: PathBuf,
    pub engine: Engine,
    /// The findings of the scan before.
    pub known: KnownContainers,
    /// The links to logs that the collector reads. None makes no links.
    pub links: Option<Links>,
    /// Ids of containers that have started since the scan before. Some may have ended already, and their logs need a
    /// link too.
    pub started: BTreeSet<String>,
    /// The containers that ran when the engine was last heard: some may have ended since then. Empty if it was heard all
    /// the time.
    pub before: Vec<RunningContainer>,
}

/// Known containers by their ids.
pub type KnownContainers = BTreeMap<String, KnownContainer>;

/// The findings about a container that later scans use again.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KnownContainer {
    pub started: Option<SystemTime>,
    pub cpu: Option<CpuMark>,
    /// The engine did not describe it when it was asked last.
    failed: bool,
}

/// The result of the listing.
#[derive(Debug)]
pub struct ScanResult {
    /// Sorted by name.
    pub containers: Vec<ContainerStatus>,
    /// The number of further containers, and the names of some of them.
    pub left_out: u64,
    pub left_out_names: Vec<String>,
    /// For the next scan.
    pub known: KnownContainers,
    /// The same for the file of the position.
    pub running: Vec<RunningContainer>,
    /// Ends that the engine could not tell, by the id of the container.
    pub missed: Vec<(String, EventRecord)>,
    /// The first error: because of it some containers are missing.
    pub trouble: Option<String>,
}

/// The containers that are to be measured, sorted by name.
#[derive(Debug)]
pub struct Measuring {
    socket: PathBuf,
    engine: Engine,
    containers: Vec<(ListEntry, KnownContainer)>,
}

/// The usage of some containers.
#[derive(Debug, Default)]
pub struct Measured {
    pub points: Vec<Point>,
    /// By the ids of the containers. The mark belongs to the run that began at this time.
    pub marks: Vec<(String, KnownContainer)>,
    /// None if more follows.
    pub end: Option<MeasuringEnd>,
}

/// The end of a measuring.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct MeasuringEnd {
    /// How many containers were looked at, of all that were to be.
    pub looked_at: usize,
    pub of: usize,
    /// The name of the container with which the next measuring begins.
    pub next: String,
    /// The first error.
    pub trouble: Option<String>,
}

impl MeasuringEnd {
    /// A sentence about a round that was cut.
    pub fn describe(&self) -> String {
        let Self { looked_at, of, next, .. } = self;
        let limit = units::seconds(LIMIT);
        format!("{looked_at} of {of} were looked at within {limit}; the next look begins with {next}")
    }
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
    created: i64,
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

/// The containers of the list that were created first, the number of the others, and the names of some of these.
#[derive(Debug, Default)]
struct List {
    containers: Vec<ListEntry>,
    left_out: u64,
    names: Vec<String>,
}

impl Scan {
    /// Lists the containers, and returns with the list what is to be measured.
    ///
    /// # Errors
    ///
    /// A sentence, if the engine gives no list.
    pub fn list(mut self) -> Result<(ScanResult, Measuring), String> {
        let deadline = Instant::now() + LIMIT;
        let mut list: List = self.get("/containers/json", LARGEST_LIST, deadline)?;
        list.containers.sort_by(|one, other| one.name().cmp(other.name()));
        let mut seen = ScanResult {
            containers: Vec::new(),
            left_out: list.left_out,
            left_out_names: list.names,
            known: KnownContainers::new(),
            running: Vec::new(),
            missed: Vec::new(),
            trouble: None,
        };
        let (mut links, mut ended) = (Vec::new(), std::mem::take(&mut self.started));
        let mut before = std::mem::take(&mut self.before);
        let mut containers = Vec::new();
        // Containers that hang must not take the time of the others at each listing.
        let again = Instant::now() + AGAIN;
        for listed in list.containers {
            ended.remove(&listed.id);
            if !is_id(&listed.id) {
                seen.complain(format!("the engine lists a container whose id is {:?}", clip(&listed.id, 80)));
                continue;
            }
            let mut known = self.known.remove(&listed.id).unwrap_or_default();
            let earlier = before.iter().position(|it| it.id == listed.id).map(|index| before.swap_remove(index));
            // A container that has just ended is no error, and neither is one that the next scan will find.
            if known.started.is_none() {
                let description = self.describe(&listed.id, if known.failed { again } else { deadline });
                known.failed = description.is_err();
                match description {
                    Ok(details) => {
                        known.started = units::parse_rfc3339(&details.state.started_at);
                        links.extend(self.link(&details));
                        let missed = earlier.and_then(|earlier| events::missed_end(&earlier, Some(details)));
                        seen.missed.extend(missed.map(|record| (listed.id.clone(), record)));
                    }
                    Err(why) => seen.complain(why),
                }
            }
            seen.containers.push(listed.status(known.started));
            seen.running.push(RunningContainer::new(&listed.id, listed.name(), &listed.image, known.started));
            seen.known.insert(listed.id.clone(), known);
            containers.push((listed, known));
        }
        let many = ended.len().saturating_sub(MOST_CONTAINERS);
        for id in ended.iter().take(MOST_CONTAINERS).filter(|id| is_id(id)) {
            match self.describe(id, deadline) {
                Ok(details) => links.extend(self.link(&details)),
                Err(why) => seen.complain(why),
            }
        }
        if many > 0 {
            seen.complain(format!("{many} containers have ended too soon for a look; their logs are not read"));
        }
        for earlier in before.into_iter().filter(|earlier| is_id(&earlier.id)) {
            let details = match self.describe(&earlier.id, deadline) {
                Ok(details) => Some(details),
                Err(why) if is_missing(&why) => None,
                Err(why) => {
                    seen.complain(why);
                    continue;
                }
            };
            let missed = events::missed_end(&earlier, details);
            seen.missed.extend(missed.map(|record| (earlier.id, record)));
        }
        // The ids that are left in `known` belong to containers that are gone.
        if let Some(places) = self.links.as_ref().filter(|_| !links.is_empty() || !self.known.is_empty()) {
            places.update(&links, SystemTime::now()).unwrap_or_else(|why| {
                seen.complain(format!("cannot link the logs of containers for the collector: {why}"));
            });
        }
        Ok((seen, Measuring { socket: self.socket, engine: self.engine, containers }))
    }

    fn link(&self, details: &Description) -> Option<Link> {
        details.link(&self.links.as_ref()?.root)
    }

    #[inline(never)]
    fn describe(&self, id: &str, deadline: Instant) -> Result<Description, String> {
        self.get(&format!("/containers/{id}/json"), LARGEST_DESCRIPTION, deadline)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, most: u64, deadline: Instant) -> Result<T, String> {
        let patience = deadline.saturating_duration_since(Instant::now()).min(LIMIT / PATIENCE);
        if patience.is_zero() {
            return Err(format!("{}: the engine was not asked, since it took too long for others", shown(path)));
        }
        ask(&self.socket, format!("/v{}{path}", self.engine.api), patience)?.read(most, patience)
    }
}

impl Measuring {
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Reads the usage of each container, beginning with the one of this name, and hands it to `tell` in parts.
    pub fn run(mut self, begin: &str, limit: Duration, tell: &mut dyn FnMut(Measured)) -> Measured {
        let deadline = Instant::now() + limit;
        let of = self.containers.len();
        let first = self.containers.iter().position(|(listed, _)| listed.name() >= begin).unwrap_or(0);
        self.containers.rotate_left(first);
        let (mut part, mut end) = (Measured::default(), MeasuringEnd { of, ..MeasuringEnd::default() });
        // The requests that are out: the oldest answer is read first.
        let mut out: VecDeque<Asked> = VecDeque::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(limit / PATIENCE);
            while out.len() < AT_ONCE && !left.is_zero() {
                let Some((listed, _)) = self.containers.get(end.looked_at + out.len()) else { break };
                let path = format!("/v{}/containers/{}/stats?stream=false&one-shot=true", self.engine.api, listed.id);
                match ask(&self.socket, path, left) {
                    Ok(asked) => out.push_back(asked),
                    // The engine may take more when it has answered the others.
                    Err(_) if !out.is_empty() => break,
                    Err(why) => {
                        end.complain(why);
                        end.looked_at += 1;
                    }
                }
            }
            let Some(asked) = out.pop_front() else { break };
            let stats = asked.read::<Stats>(LARGEST_DESCRIPTION, left);
            if stats.is_err() && Instant::now() >= deadline {
                break;
            }
            let (listed, known) = &self.containers[end.looked_at];
            end.looked_at += 1;
            match stats {
                Ok(stats) => {
                    if let Some((points, cpu)) = stats.points(&listed.identity(), known.started, known.cpu) {
                        part.points.extend(points);
                        part.marks.push((listed.id.clone(), KnownContainer { cpu: Some(cpu), ..*known }));
                    }
                }
                Err(why) => end.complain(why),
            }
            if part.marks.len() == BATCH {
                tell(std::mem::take(&mut part));
            }
        }
        if let Some((listed, _)) = self.containers.get(end.looked_at) {
            end.next = listed.name().to_owned();
        }
        part.end = Some(end);
        part
    }
}

fn is_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl ScanResult {
    /// Keeps the first error: it stands for all.
    fn complain(&mut self, why: String) {
        if !is_missing(&why) {
            self.trouble.get_or_insert(why);
        }
    }
}

impl MeasuringEnd {
    fn complain(&mut self, why: String) {
        if !is_missing(&why) {
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

impl List {
    /// Keeps a container. One too many pushes out the one that was created last, so that a crowd of new ones does not end
    /// the series of the others.
    fn add(&mut self, container: ListEntry) {
        self.containers.push(container);
        if self.containers.len() <= MOST_CONTAINERS {
            return;
        }
        // The times have whole seconds.
        let age = |index: &usize| (self.containers[*index].created, &self.containers[*index].id);
        let newest = (0..self.containers.len()).max_by_key(age).unwrap_or(0);
        let newest = self.containers.swap_remove(newest);
        self.left_out += 1;
        if self.names.len() < MOST_NAMES {
            self.names.push(clip(newest.name(), 255).to_owned());
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
                while let Some(container) = list.next_element()? {
                    kept.add(container);
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
            list.containers[0].identity()[4..],
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
        let crowd: Vec<String> =
            (0..1000).map(|number| format!(r#"{{"Id":"{number}","Names":["/n"],"Created":{number}}}"#)).rev().collect();
        let list = list(&format!("[{}]", crowd.join(",")));
        assert_eq!((list.containers.len(), list.left_out), (MOST_CONTAINERS, 1000 - MOST_CONTAINERS as u64));
        assert_eq!(list.names.len(), MOST_NAMES);
        assert!(
            list.containers.iter().all(|it| it.created < MOST_CONTAINERS as i64),
            "the ones that were created first"
        );
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

    /// An engine that answers one request for usage after the other, each after this time, and never that for `stalls`.
    #[cfg(unix)]
    fn slow_engine(name: &str, delay: Duration) -> (PathBuf, std::thread::JoinHandle<()>) {
        use std::io::{Read, Write};
        let path = std::env::temp_dir().join(format!("otelet-scan-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let serving = std::thread::spawn(move || {
            let mut held = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                if request.starts_with("END") {
                    return;
                }
                if request.contains("/stalls/") {
                    held.push(stream);
                    continue;
                }
                // As an engine does, it gives up a request whose connection has ended.
                stream.set_nonblocking(true).unwrap();
                if stream.read(&mut [0]).is_ok() {
                    continue;
                }
                std::thread::sleep(delay);
                let body = r#"{"read":"2026-11-25T15:58:28.5Z","memory_stats":{"usage":7}}"#;
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        (path, serving)
    }

    #[cfg(unix)]
    fn end(path: &std::path::Path, serving: std::thread::JoinHandle<()>) {
        use std::io::Write;
        std::os::unix::net::UnixStream::connect(path).unwrap().write_all(b"END").unwrap();
        serving.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    /// A round over containers of these names, and the names of those that were measured.
    #[cfg(unix)]
    fn round(socket: &std::path::Path, names: &[&str], begin: &str, limit: Duration) -> (Vec<String>, MeasuringEnd) {
        let entries: Vec<String> = names.iter().map(|it| format!(r#"{{"Id":"{it}","Names":["/{it}"]}}"#)).collect();
        let containers = list(&format!("[{}]", entries.join(","))).containers;
        let containers = containers.into_iter().map(|it| (it, KnownContainer::default())).collect();
        let engine = Engine::read(br#"{"Version":"1","ApiVersion":"1.41"}"#).unwrap();
        let mut marks = Vec::new();
        let mut measuring =
            Measuring { socket: socket.to_owned(), engine, containers }
                .run(begin, limit, &mut |part| marks.extend(part.marks));
        marks.extend(std::mem::take(&mut measuring.marks));
        (marks.into_iter().map(|(id, _)| id).collect(), measuring.end.unwrap())
    }

    #[cfg(unix)]
    #[test]
    fn a_round_that_is_cut_goes_on_where_it_ended_and_says_so() {
        let (socket, serving) = slow_engine("cut", Duration::from_millis(20));
        let names: Vec<String> = (0..AT_ONCE + 14).map(|number| format!("web{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut all, mut begin, mut rounds) = (BTreeSet::new(), String::new(), 0);
        while all.len() < names.len() {
            let (measured, end) = round(&socket, &names, &begin, Duration::from_millis(400));
            // A loaded machine may take longer for one.
            assert!(end.looked_at < end.of && end.of == names.len(), "{end:?}");
            assert!(measured.iter().all(|name| *name >= begin || *name < end.next), "{measured:?} from {begin}");
            assert!(end.describe().starts_with(&format!("{} of 30 were looked at within 20s", end.looked_at)));
            all.extend(measured);
            (begin, rounds) = (end.next, rounds + 1);
            assert!(rounds < 30, "{all:?}");
        }
        end(&socket, serving);
    }

    #[cfg(unix)]
    #[test]
    fn a_container_that_hangs_costs_the_others_nothing() {
        let (socket, serving) = slow_engine("hangs", Duration::ZERO);
        let names: Vec<String> = (0..AT_ONCE * 2).map(|number| format!("web{number:02}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.insert(0, "stalls");
        let (measured, over) = round(&socket, &names, "", Duration::from_secs(4));
        assert_eq!((measured.len(), over.looked_at), (names.len() - 1, names.len()));
        assert!(over.trouble.unwrap().ends_with("/containers/stalls/stats: the engine does not answer within 2s"));
        end(&socket, serving);
    }
}
