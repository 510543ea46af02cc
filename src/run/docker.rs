//! The Docker engine that is watched: a task follows its events, short-lived threads scan its containers.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::SystemTime;

use smol::Task;

use super::context::Context;
use super::decisions::moment;
use super::message::{EngineMessage, Finding, Message};
use crate::observe::docker::Engine;
use crate::observe::docker::events::{self, ContainerEvent, Position};
use crate::observe::docker::links::Links;
use crate::observe::docker::scan::{KnownContainers, LIMIT, Measured, Scan, ScanResult};
use crate::observe::docker::watch::{self, StreamItem};
use crate::store::{self, Store};
use otelet_core::decide::{EngineEvent, EngineTask, Event};
use otelet_core::telemetry::{EventRecord, Point, Snapshot};
use otelet_wire::status::DockerStatus;

/// The most that is read of the position among the events, in bytes. It has the running containers too.
const LARGEST_POSITION: u64 = 256 * 1024;

/// The trouble of an engine that is too slow. Its numbers are apart from it, so that it is news only once.
const CUT: &str = "the usage of some containers is read less often: the engine takes too long for all";

/// The engine of the settings, if they name one.
#[derive(Default)]
pub(super) struct Docker(Option<WatchedEngine>);

struct WatchedEngine {
    /// A random number for each change of the settings: messages about the engine before are ignored.
    generation: u64,
    /// Dropping it ends the task and closes the connection.
    stream: Option<Task<()>>,
    engine: Option<Engine>,
    known: KnownContainers,
    /// Containers that have started while a scan is out: its results on them may be old.
    renewed: Option<BTreeSet<String>>,
    /// Containers that have started since the last scan began.
    started: BTreeSet<String>,
    position: Position,
    /// The position has moved since it was written.
    moved: bool,
    /// Containers may have ended unheard since the position: the next list is compared with it.
    compares: bool,
    /// The ends that such a comparison has told.
    told: Vec<(String, SystemTime)>,
    /// The name of the container with which the next measuring begins.
    next: String,
    /// The last errors of the listing and of the measuring, and whether the log has said that the latter was cut.
    trouble: [Option<String>; 2],
    cut: bool,
    status: DockerStatus,
}

fn position_path(store: &Store) -> PathBuf {
    store.dir().join("docker.json")
}

/// The position at which an earlier agent stopped to listen. An unreadable one costs no more than a gap.
fn position(store: &Store, socket: &str, now: SystemTime) -> (Position, bool) {
    let mut text = Vec::new();
    let read = fs::File::open(position_path(store)).and_then(|file| file.take(LARGEST_POSITION).read_to_end(&mut text));
    match serde_json::from_slice::<Position>(&text) {
        Ok(position) if position.socket == socket => return (position, false),
        Err(error) if read.is_ok() => {
            log::warn!("{}: {error}; events of containers are told from now on", position_path(store).display());
        }
        Ok(_) | Err(_) => {}
    }
    (Position::new(socket.to_owned(), now), true)
}

impl Docker {
    /// Does something with the engine. A result that is known at once is returned.
    pub(super) fn perform(&mut self, context: &Context, task: EngineTask) -> Option<Event> {
        match task {
            EngineTask::OpenStream => self.watch(context),
            EngineTask::List { usage } => return self.scan(context, usage),
            EngineTask::KeepPosition => return self.keep_position(context).map(Event::Docker),
        }
        None
    }

    /// Takes up the engine of the settings, and gives up all work for the one before.
    pub(super) fn open(&mut self, context: &Context) {
        let before = self.0.take();
        let Some(socket) = &context.settings.docker.socket else { return };
        let socket = socket.display().to_string();
        // The position on disk may be older than the one in memory.
        let newest = before.filter(|engine| engine.position.socket == socket).map(|it| (it.position, it.moved));
        let at = moment();
        let (position, moved) = newest.unwrap_or_else(|| position(&context.store, &socket, at.wall));
        let status = DockerStatus { socket, ..DockerStatus::default() };
        self.0 = Some(WatchedEngine {
            generation: at.dice,
            stream: None,
            engine: None,
            known: KnownContainers::new(),
            renewed: None,
            started: BTreeSet::new(),
            position,
            moved,
            compares: false,
            told: Vec::new(),
            next: String::new(),
            trouble: [None, None],
            cut: false,
            status,
        });
    }

    fn watch(&mut self, context: &Context) {
        if self.0.is_none() {
            self.open(context);
        }
        let (Some(engine), Some(socket)) = (&mut self.0, context.settings.docker.socket.clone()) else { return };
        let (since, generation) = (engine.position.since(moment().wall), engine.generation);
        let outbox = context.outbox.clone();
        engine.stream = Some(context.executor.spawn(async move {
            let tell = |item| outbox.send(Message::Engine(generation, EngineMessage::Stream(item)));
            let why = watch::watch(&socket, since, tell).await;
            outbox.send(Message::Engine(generation, EngineMessage::Lost(why)));
        }));
    }

    fn scan(&mut self, context: &Context, usage: bool) -> Option<Event> {
        let engine = self.0.as_ref().and_then(|watched| watched.engine.clone());
        let (Some(watched), Some(socket), Some(engine)) = (&mut self.0, context.settings.docker.socket.clone(), engine)
        else {
            context.send(Event::Docker(EngineEvent::Measured));
            return Some(Event::Docker(EngineEvent::Listed));
        };
        let (generation, known, next) = (watched.generation, watched.known.clone(), watched.next.clone());
        let before = if watched.compares { watched.position.running.clone() } else { Vec::new() };
        watched.renewed = Some(BTreeSet::new());
        let started = std::mem::take(&mut watched.started);
        let directory = context.store.collector_dir();
        let links = Links { directory, root: context.settings.host.root.clone() };
        let scan = Scan { socket, engine, known, links: Some(links), started, before };
        let outbox = context.outbox.clone();
        let job = move || {
            let message = |message| Message::Engine(generation, message);
            let (listed, measuring) = match scan.list() {
                Ok((listed, measuring)) => (Ok(listed), Some(measuring).filter(|it| usage && !it.is_empty())),
                Err(why) => (Err(why), None),
            };
            let listed = message(EngineMessage::Scanned(Box::new(listed), usage && measuring.is_none()));
            let Some(measuring) = measuring else { return listed };
            // An engine takes seconds to measure: the list does not wait for that.
            outbox.send(listed);
            let last = measuring.run(&next, LIMIT, &mut |part| outbox.send(message(EngineMessage::Measured(part))));
            message(EngineMessage::Measured(last))
        };
        if let Err(why) = context.start("containers", job) {
            let ended = EngineMessage::Scanned(Box::new(Err(why.message)), usage);
            context.outbox.send(Message::Engine(generation, ended));
        }
        None
    }

    fn keep_position(&mut self, context: &Context) -> Option<EngineEvent> {
        let engine = self.0.as_mut().filter(|engine| engine.moved)?;
        engine.moved = false;
        let text = serde_json::to_vec(&engine.position).expect("a text and numbers");
        let path = position_path(&context.store);
        let failed = context.write("position", move || {
            Event::Docker(EngineEvent::PositionKept(store::write_durably(&path, &text).map_err(|error| error.chain())))
        });
        failed.map(|why| EngineEvent::PositionKept(Err(why)))
    }

    /// Keeps the position when the agent ends, so that the next one goes on from there.
    pub(super) fn keep_position_at_the_end(&mut self, context: &Context) {
        if context.writes.get() == 0 {
            let _ = self.keep_position(context);
        }
    }

    /// Learns from the end of a write whether the position is on disk.
    pub(super) fn learn_of_write(&mut self, event: &Event) {
        if let (Event::Docker(EngineEvent::PositionKept(Err(_))), Some(engine)) = (event, &mut self.0) {
            engine.moved = true;
        }
    }

    /// Takes news of the engine of one generation.
    pub(super) fn take(&mut self, generation: u64, message: EngineMessage) -> Vec<Finding> {
        match self.0.as_mut().filter(|engine| engine.generation == generation) {
            Some(engine) => engine.take(message),
            None => Vec::new(),
        }
    }

    pub(super) fn status(&self) -> Option<DockerStatus> {
        self.0.as_ref().map(|engine| engine.status.clone())
    }
}

impl WatchedEngine {
    fn take(&mut self, message: EngineMessage) -> Vec<Finding> {
        let event = |input| Finding::Event(Event::Docker(input));
        match message {
            EngineMessage::Stream(StreamItem::Open(engine)) => {
                let name = engine.to_string();
                self.status.engine = Some(engine.name.into());
                self.status.version = Some(engine.version.clone());
                self.status.api = Some(engine.api.to_string());
                (self.status.connected, self.status.trouble) = (true, None);
                self.engine = Some(engine);
                // Containers may have been started again unheard.
                self.known.clear();
                self.compares = true;
                // A position that has moved is to be written: a restart of the agent would lose it from now on.
                let moved = self.moved.then(|| event(EngineEvent::Changed));
                [event(EngineEvent::StreamOpened(name))].into_iter().chain(moved).collect()
            }
            EngineMessage::Stream(StreamItem::Event(event)) => self.take_event(*event),
            EngineMessage::Stream(StreamItem::Lost(lines)) => {
                self.status.events_lost += lines;
                Vec::new()
            }
            EngineMessage::Stream(StreamItem::Pause(pause)) => {
                drop(pause);
                Vec::new()
            }
            EngineMessage::Lost(why) => {
                (self.status.connected, self.status.trouble) = (false, Some(why.clone()));
                self.status.containers.clear();
                (self.status.containers_left_out, self.status.containers_looked_at) = (0, None);
                self.status.left_out.clear();
                (self.trouble, self.cut) = ([None, None], false);
                self.stream = None;
                vec![event(EngineEvent::StreamLost(why))]
            }
            EngineMessage::Scanned(seen, ends) => {
                let renewed = self.renewed.take().unwrap_or_default();
                let (missed, changed) = self.take_seen(*seen, &renewed);
                let measured = ends.then(|| event(EngineEvent::Measured));
                let changed = changed.then(|| event(EngineEvent::Changed));
                let told = missed.into_iter().map(Finding::Record);
                [event(EngineEvent::Listed)].into_iter().chain(measured).chain(changed).chain(told).collect()
            }
            EngineMessage::Measured(part) => {
                let ended = part.end.is_some().then(|| event(EngineEvent::Measured));
                let points = self.take_measured(part);
                let snapshot = (!points.is_empty()).then(|| Finding::Snapshot(Snapshot { at: moment().wall, points }));
                ended.into_iter().chain(snapshot).collect()
            }
        }
    }

    fn take_event(&mut self, event: ContainerEvent) -> Vec<Finding> {
        if !self.position.hear(&event) {
            return Vec::new();
        }
        self.moved = true;
        // The end was told from the state of the container, and comes now from the stream.
        if self.told.iter().any(|(id, at)| *id == event.id && events::is_same_end(&event, *at)) {
            return Vec::new();
        }
        self.status.events += 1;
        if event.kind.starts {
            self.started.insert(event.id.clone());
        }
        // Another start or another name: the container is asked for again.
        if event.kind.starts || event.kind.action == "rename" {
            self.known.remove(&event.id);
            if let Some(renewed) = &mut self.renewed {
                renewed.insert(event.id.clone());
            }
        }
        vec![Finding::Event(Event::Docker(EngineEvent::Changed)), Finding::Record(event.record)]
    }

    /// Takes a list. Returns the ends that were missed, and whether the position has changed without an event.
    fn take_seen(&mut self, seen: Result<ScanResult, String>, renewed: &BTreeSet<String>) -> (Vec<EventRecord>, bool) {
        // The stream has broken in the meantime, and reports the reason itself.
        if !self.status.connected {
            return (Vec::new(), false);
        }
        let (seen, trouble) = match seen {
            Ok(mut seen) => {
                let trouble = seen.trouble.take();
                (Some(seen), trouble)
            }
            Err(why) => (None, Some(why)),
        };
        self.complain(0, trouble);
        let Some(mut seen) = seen else { return (Vec::new(), false) };
        // An event that came in the meantime has told the end of a container that is not in the position any more.
        let running = &self.position.running;
        seen.missed.retain(|(id, _)| running.iter().any(|it| it.id == *id));
        self.told = seen.missed.iter().map(|(id, record)| (id.clone(), record.at)).collect();
        let changed = self.position.running != seen.running;
        if changed {
            (self.moved, self.position.running) = (true, seen.running);
        }
        // Otherwise there was an event, after which the position is written.
        let changed = std::mem::take(&mut self.compares) && changed;
        let first = self.status.containers_left_out == 0;
        self.status.containers = seen.containers;
        self.status.containers_left_out = seen.left_out;
        self.status.left_out = seen.left_out_names;
        if let Some(not) = self.status.not_looked_at().filter(|_| first) {
            log::warn!("containers: {not}");
        }
        self.known = seen.known;
        self.known.retain(|id, _| !renewed.contains(id));
        (seen.missed.into_iter().map(|(_, record)| record).collect(), changed)
    }

    /// Takes the usage of some containers, and returns its points.
    fn take_measured(&mut self, part: Measured) -> Vec<Point> {
        if !self.status.connected {
            return Vec::new();
        }
        for (id, mark) in part.marks {
            // A container that was started again counts anew.
            if let Some(known) = self.known.get_mut(&id).filter(|known| known.started == mark.started) {
                known.cpu = mark.cpu;
            }
        }
        if let Some(end) = part.end {
            self.status.containers_looked_at = Some(end.looked_at as u64);
            // The numbers differ each time: the log has the first of them, and the status the last.
            let cut = end.looked_at < end.of;
            if cut && !self.cut {
                log::warn!("containers: {}", end.describe());
            }
            (self.cut, self.next) = (cut, end.next);
            self.complain(1, end.trouble);
        }
        part.points
    }

    /// Keeps the errors of the listing and of the measuring apart: each is logged when it changes.
    fn complain(&mut self, which: usize, trouble: Option<String>) {
        if trouble.is_some() && trouble != self.trouble[which] {
            log::warn!("containers: {}", trouble.as_deref().unwrap_or_default());
        }
        self.trouble[which] = trouble;
        let cut = || self.cut.then(|| CUT.to_owned());
        self.status.trouble = self.trouble.iter().flatten().next().cloned().or_else(cut);
    }
}
