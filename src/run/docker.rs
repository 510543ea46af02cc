//! The Docker engine as the event loop sees it: followed by a task, looked at on short-lived threads.

use std::collections::BTreeSet;

use super::*;
use crate::collector::DIRECTORY_NAME as COLLECTOR_DIRECTORY;
use crate::observe::docker::Engine;
use crate::observe::docker::events::{ContainerEvent, Position};
use crate::observe::docker::links::Links;
use crate::observe::docker::scan::{KnownContainers, Scan, ScanResult};
use crate::observe::docker::watch;
use crate::observe::docker::watch::StreamItem;
use otelet_core::decide::{EngineEvent, EngineSettings, EngineTask};
use otelet_core::telemetry::Snapshot;
use otelet_wire::status::DockerStatus;

/// The most that is read of the position among the events, in bytes.
const LARGEST_POSITION: u64 = 64 * 1024;

/// What an engine brings.
pub(super) enum DockerMessage {
    News(StreamItem),
    Lost(String),
    Seen(Box<Result<ScanResult, String>>),
    Kept(Result<(), String>),
}

/// The engine that is watched, and what is known of it.
pub(super) struct DockerWatch {
    /// Picked anew with each change of the settings: what comes of the one before has no say.
    generation: u64,
    /// Ends when it is dropped, and its connection with it.
    stream: Option<Task<()>>,
    engine: Option<Engine>,
    known: KnownContainers,
    /// Containers that have started while a look is out: what it says of their start may be old.
    renewed: Option<BTreeSet<String>>,
    /// Containers that have started since the last look began.
    started: BTreeSet<String>,
    position: Position,
    /// The position has moved since it was written.
    moved: bool,
    status: DockerStatus,
}

/// What the decisions need to know of the settings.
pub(super) fn wanted(settings: &Settings) -> Option<EngineSettings> {
    let socket = settings.docker.socket.clone()?;
    Some(EngineSettings { socket, usage_every: settings.docker.usage_every })
}

fn position_path(store: &Store) -> PathBuf {
    store.dir().join("docker.json")
}

/// Where an earlier agent stopped to listen. What cannot be read is no more than a gap.
fn position(store: &Store, socket: &str, now: SystemTime) -> (Position, bool) {
    use std::io::Read as _;
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

impl Runner {
    /// Does something with the engine. What is known at once is answered at once.
    pub(super) fn use_engine(&mut self, what: EngineTask) -> Option<Event> {
        match what {
            EngineTask::OpenStream => self.watch_engine(),
            EngineTask::List { usage } => return self.look_at_containers(usage).map(Event::Docker),
            EngineTask::KeepPosition => return self.keep_position().map(Event::Docker),
        }
        None
    }

    /// The settings say something else of the engine: whatever is out for the one before is given up.
    pub(super) fn forget_engine(&mut self) {
        let before = self.docker.take();
        let Some(socket) = &self.settings.docker.socket else { return };
        let socket = socket.display().to_string();
        // The disk may not know yet what was heard last.
        let heard = before.filter(|docker| docker.position.socket == socket).map(|it| (it.position, it.moved));
        let (position, moved) = heard.unwrap_or_else(|| position(&self.store, &socket, SystemTime::now()));
        let status = DockerStatus { socket, ..DockerStatus::default() };
        self.docker = Some(DockerWatch {
            generation: fastrand::u64(..),
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

    fn watch_engine(&mut self) {
        if self.docker.is_none() {
            self.forget_engine();
        }
        let (Some(docker), Some(socket)) = (&mut self.docker, self.settings.docker.socket.clone()) else { return };
        let (since, generation) = (docker.position.since(SystemTime::now()), docker.generation);
        let sender = self.sender.clone();
        docker.stream = Some(self.executor.spawn(async move {
            let tell = |news| send(&sender, Message::Docker(generation, DockerMessage::News(news)));
            let why = watch::watch(&socket, since, tell).await;
            send(&sender, Message::Docker(generation, DockerMessage::Lost(why)));
        }));
    }

    fn look_at_containers(&mut self, usage: bool) -> Option<EngineEvent> {
        let (Some(docker), Some(socket)) = (&mut self.docker, self.settings.docker.socket.clone()) else {
            return Some(EngineEvent::Listed);
        };
        let Some(engine) = docker.engine.clone() else { return Some(EngineEvent::Listed) };
        let (generation, known) = (docker.generation, docker.known.clone());
        docker.renewed = Some(BTreeSet::new());
        let started = std::mem::take(&mut docker.started);
        let links =
            Links { directory: self.store.dir().join(COLLECTOR_DIRECTORY), root: self.settings.host.root.clone() };
        let scan = Scan { socket, engine, known, usage, links: Some(links), started };
        let started = self.work_along("containers", move || {
            let seen = Box::new(scan.run());
            Message::Docker(generation, DockerMessage::Seen(seen))
        });
        started.err().map(|why| {
            log::debug!("containers are not looked at: {why}");
            EngineEvent::Listed
        })
    }

    fn keep_position(&mut self) -> Option<EngineEvent> {
        let docker = self.docker.as_mut().filter(|docker| docker.moved)?;
        docker.moved = false;
        let text = serde_json::to_vec(&docker.position).expect("a text and numbers");
        let (path, sender, generation) = (position_path(&self.store), self.sender.clone(), docker.generation);
        let started = work("position", move || {
            let result = store::write_durably(&path, &text).map_err(|error| error.chain());
            send(&sender, Message::Docker(generation, DockerMessage::Kept(result)));
        });
        self.count_write(started).map(EngineEvent::PositionKept)
    }

    /// At the end, so that the next agent goes on where this one stopped.
    pub(super) fn keep_position_at_last(&mut self) {
        if let Some(docker) = &mut self.docker {
            docker.stream = None;
        }
        // A disk that hangs has one write to hang on already.
        if self.writes == 0 {
            let _ = self.keep_position();
        }
    }

    pub(super) fn take_docker(&mut self, generation: u64, message: DockerMessage) {
        if let DockerMessage::Kept(result) = message {
            self.writes -= 1;
            if let (Err(_), Some(docker)) = (&result, &mut self.docker) {
                docker.moved = true;
            }
            self.feed(Event::Docker(EngineEvent::PositionKept(result)));
            return;
        }
        let Some(docker) = self.docker.as_mut().filter(|docker| docker.generation == generation) else { return };
        match message {
            DockerMessage::News(StreamItem::Open(engine)) => {
                let said = format!("{engine} at {}", docker.status.socket);
                docker.status.engine = Some(engine.name.into());
                docker.status.version = Some(engine.version.clone());
                docker.status.api = Some(engine.api.to_string());
                (docker.status.connected, docker.status.trouble) = (true, None);
                docker.engine = Some(engine);
                let moved = docker.moved;
                self.feed(Event::Docker(EngineEvent::StreamOpened(said)));
                if moved {
                    // From now on something would be lost if the agent were restarted.
                    self.feed(Event::Docker(EngineEvent::Changed));
                }
            }
            DockerMessage::News(StreamItem::Event(event)) => self.take_event(*event),
            DockerMessage::News(StreamItem::Lost(lines)) => docker.status.events_lost += lines,
            DockerMessage::News(StreamItem::Pause(pause)) => drop(pause),
            DockerMessage::Lost(why) => {
                (docker.status.connected, docker.status.trouble) = (false, Some(why.clone()));
                docker.status.containers.clear();
                docker.status.containers_left_out = 0;
                docker.stream = None;
                self.feed(Event::Docker(EngineEvent::StreamLost(why)));
            }
            DockerMessage::Seen(seen) => {
                let renewed = docker.renewed.take().unwrap_or_default();
                let points = docker.take_seen(*seen, &renewed);
                self.feed(Event::Docker(EngineEvent::Listed));
                if !points.is_empty() {
                    self.observed(Snapshot { at: SystemTime::now(), points });
                }
            }
            DockerMessage::Kept(_) => unreachable!("taken above"),
        }
    }

    fn take_event(&mut self, event: ContainerEvent) {
        let Some(docker) = &mut self.docker else { return };
        if !docker.position.hear(&event) {
            return;
        }
        docker.moved = true;
        docker.status.events += 1;
        if event.kind.starts {
            docker.started.insert(event.id.clone());
        }
        // Another start, or another name: whatever was known is asked for again.
        if event.kind.starts || event.kind.action == "rename" {
            docker.known.remove(&event.id);
            if let Some(renewed) = &mut docker.renewed {
                renewed.insert(event.id.clone());
            }
        }
        self.feed(Event::Docker(EngineEvent::Changed));
        self.happened(event.record);
    }

    /// The part of the status that is about the engine.
    pub(super) fn docker_status(&self) -> Option<DockerStatus> {
        self.docker.as_ref().map(|docker| docker.status.clone())
    }
}

impl DockerWatch {
    /// Takes what a look saw. Answers with the points.
    fn take_seen(
        &mut self,
        seen: Result<ScanResult, String>,
        renewed: &BTreeSet<String>,
    ) -> Vec<otelet_core::telemetry::Point> {
        // The stream has broken in the meantime, and says why itself.
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
