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
use crate::collector::DIRECTORY_NAME as COLLECTOR_DIRECTORY;
use crate::observe::docker::Engine;
use crate::observe::docker::events::{ContainerEvent, Position};
use crate::observe::docker::links::Links;
use crate::observe::docker::scan::{KnownContainers, Scan, ScanResult};
use crate::observe::docker::watch::{self, StreamItem};
use crate::store::{self, Store};
use otelet_core::decide::{EngineEvent, EngineTask, Event};
use otelet_core::telemetry::{Point, Snapshot};
use otelet_wire::status::DockerStatus;

/// The most that is read of the position among the events, in bytes.
const LARGEST_POSITION: u64 = 64 * 1024;

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
            EngineTask::List { usage } => return self.scan(context, usage).map(Event::Docker),
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

    fn scan(&mut self, context: &Context, usage: bool) -> Option<EngineEvent> {
        let (Some(watched), Some(socket)) = (&mut self.0, context.settings.docker.socket.clone()) else {
            return Some(EngineEvent::Listed);
        };
        let Some(engine) = watched.engine.clone() else { return Some(EngineEvent::Listed) };
        let (generation, known) = (watched.generation, watched.known.clone());
        watched.renewed = Some(BTreeSet::new());
        let started = std::mem::take(&mut watched.started);
        let directory = context.store.dir().join(COLLECTOR_DIRECTORY);
        let links = Links { directory, root: context.settings.host.root.clone() };
        let scan = Scan { socket, engine, known, usage, links: Some(links), started };
        let started = context.start("containers", move || {
            let result = Box::new(scan.run());
            Message::Engine(generation, EngineMessage::Scanned(result))
        });
        started.err().map(|why| {
            log::debug!("containers are not looked at: {why}");
            EngineEvent::Listed
        })
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
                self.status.containers_left_out = 0;
                self.stream = None;
                vec![event(EngineEvent::StreamLost(why))]
            }
            EngineMessage::Scanned(seen) => {
                let renewed = self.renewed.take().unwrap_or_default();
                let points = self.take_seen(*seen, &renewed);
                let snapshot = (!points.is_empty()).then(|| Finding::Snapshot(Snapshot { at: moment().wall, points }));
                [event(EngineEvent::Listed)].into_iter().chain(snapshot).collect()
            }
        }
    }

    fn take_event(&mut self, event: ContainerEvent) -> Vec<Finding> {
        if !self.position.hear(&event) {
            return Vec::new();
        }
        self.moved = true;
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

    /// Takes the result of a scan, and returns its points.
    fn take_seen(&mut self, seen: Result<ScanResult, String>, renewed: &BTreeSet<String>) -> Vec<Point> {
        // The stream has broken in the meantime, and reports the reason itself.
        if !self.status.connected {
            return Vec::new();
        }
        let (seen, trouble) = match seen {
            Ok(mut seen) => {
                let trouble = seen.trouble.take();
                (Some(seen), trouble)
            }
            Err(why) => (None, Some(why)),
        };
        if trouble.is_some() && trouble != self.status.trouble {
            log::warn!("containers: {}", trouble.as_deref().unwrap_or_default());
        }
        self.status.trouble = trouble;
        let Some(seen) = seen else { return Vec::new() };
        self.status.containers = seen.containers;
        self.status.containers_left_out = seen.left_out;
        self.known = seen.known;
        self.known.retain(|id, _| !renewed.contains(id));
        seen.points
    }
}
