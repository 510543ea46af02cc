//! Follows the engine's stream of events on one non-blocking connection, as a task of the event loop.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use smol::channel::Sender;
use smol::future::FutureExt as _;

use super::answer::Answer;
use super::ask::ask;
use super::container::{Description, LARGEST_DESCRIPTION};
use super::engine::{Engine, cannot_connect, dial, error_answer, request, tcp_address};
use super::events::{self, ContainerEvent, History, KINDS, Lines};
use crate::os::{self, LocalStream};

/// The time that the engine has to begin an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time that the engine has to describe a container that it has started again. The events after it wait.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(5);

/// The stack of a thread that asks, in bytes: resolvers keep answers on it, and answers may be nested deeply.
const STACK: usize = 256 * 1024;

/// The largest short answer that is read, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The size of one read, in bytes: about ten events.
const PIECE: usize = 8 * 1024;

/// An item of the stream, for the event loop.
#[derive(Debug)]
pub enum StreamItem {
    Open(Engine),
    Event(Box<ContainerEvent>),
    /// The number of lines that could not be read or were too long.
    Lost(u64),
    /// Nothing more is read until the receiver drops this. It does so after it has handled all items before it.
    Pause(Sender<()>),
}

/// Follows the stream until it breaks, and returns the reason. `since` is in nanoseconds since 1970.
pub async fn watch(socket: &Path, since: u64, tell: impl FnMut(StreamItem)) -> String {
    let Err(why) = follow(socket, since, tell).await;
    // Errors of the socket itself name it already.
    if why.starts_with("docker.socket") { why } else { format!("docker.socket {}: {why}", socket.display()) }
}

async fn follow(
    socket: &Path,
    since: u64,
    mut tell: impl FnMut(StreamItem),
) -> Result<std::convert::Infallible, String> {
    let limit = Instant::now() + PATIENCE;
    let mut version = Stream::open(socket, "/version", limit).await?;
    version.rest(limit).await?;
    let engine = Engine::read(&version.body)?;
    drop(version);
    let path = events_path(&engine, since);
    let mut stream = Stream::open(socket, &path, limit).await?;
    let api = engine.api;
    tell(StreamItem::Open(engine));
    let (mut lines, mut history) = (Lines::default(), History::default());
    loop {
        // One read holds about ten events.
        let mut events = Vec::new();
        let lost = lines.take(&stream.body, |line| {
            let read = events::read(line);
            let is_event = read.is_ok();
            events.extend(read.ok().flatten().map(Box::new));
            is_event
        });
        for mut event in events {
            if history.complete(&mut event, SystemTime::now())
                && let Some(description) = described(socket, format!("/v{api}/containers/{}/json", event.id)).await
                && !description.is_of_later_start(event.time)
            {
                event.restarted(description.restart_count);
            }
            tell(StreamItem::Event(event));
        }
        if lost > 0 {
            tell(StreamItem::Lost(lost));
        }
        if !stream.body.is_empty() {
            stream.body.clear();
            // The event loop handles these items before more is read: so a flood of events waits at the engine, not in
            // memory.
            let (pause, over) = smol::channel::bounded(1);
            tell(StreamItem::Pause(pause));
            let _ = over.recv().await;
        }
        if !stream.read().await? {
            return Err("the engine ended its stream of events".into());
        }
    }
}

/// Connects. A name and a far host may take their time, so they get a short-lived thread.
async fn connected(socket: &Path) -> io::Result<LocalStream> {
    let Some(address) = tcp_address(socket) else {
        return LocalStream::connect(socket);
    };
    let address = address.to_owned();
    let dialled = on_thread(move || dial(&address, PATIENCE)).await?;
    LocalStream::over_tcp(dialled.unwrap_or_else(|| Err(io::ErrorKind::ConnectionAborted.into()))?)
}

/// Describes a container; none if the engine does not.
async fn described(socket: &Path, path: String) -> Option<Description> {
    let socket = socket.to_owned();
    let described =
        on_thread(move || ask(&socket, path, DESCRIBED_WITHIN)?.read(LARGEST_DESCRIPTION, DESCRIBED_WITHIN)).await;
    described.ok()??.ok()
}

/// Waits for a short-lived thread that may block. None if it has failed.
async fn on_thread<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<Option<T>> {
    // A box and a channel of nothing: each kind of result would link its own thread and channel.
    let (end, ended) = smol::channel::bounded::<()>(1);
    let result = Arc::new(Mutex::new(None));
    let place = result.clone();
    let job: Box<dyn FnOnce() + Send> = Box::new(move || {
        let done = job();
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        drop(end);
    });
    std::thread::Builder::new().name("engine".to_owned()).stack_size(STACK).spawn(job)?;
    let _ = ended.recv().await;
    Ok(result.lock().unwrap_or_else(PoisonError::into_inner).take())
}

/// A connection, and the part of its answer that has arrived.
struct Stream {
    stream: LocalStream,
    answer: Answer,
    body: Vec<u8>,
}

impl Stream {
    /// Sends the request, and waits for a head with a status of 2xx. The body may follow at any time later.
    async fn open(socket: &Path, path: &str, limit: Instant) -> Result<Self, String> {
        let stream = connected(socket).await.map_err(|error| cannot_connect(socket, &error))?;
        stream.send(request(path).as_bytes()).map_err(|error| error.to_string())?;
        let mut stream = Self { stream, answer: Answer::default(), body: Vec::new() };
        let status = loop {
            match stream.answer.status() {
                Some(status) => break status,
                None if stream.read_within(limit).await? => {}
                None => return Err("the connection ended before the answer".into()),
            }
        };
        if !(200..300).contains(&status) {
            // For its message, if it comes in time.
            let _ = stream.rest(limit).await;
            return Err(error_answer(path, status, &stream.body));
        }
        Ok(stream)
    }

    /// Waits for the rest of a short answer.
    async fn rest(&mut self, limit: Instant) -> Result<(), String> {
        while !self.answer.is_complete() {
            if self.body.len() > LARGEST_ANSWER {
                return Err(format!("the answer is larger than {LARGEST_ANSWER} bytes"));
            }
            if !self.read_within(limit).await? {
                return match self.answer.may_end() {
                    true => Ok(()),
                    false => Err("the connection ended before the answer was complete".into()),
                };
            }
        }
        Ok(())
    }

    async fn read_within(&mut self, limit: Instant) -> Result<bool, String> {
        let late = async {
            os::until(limit).await;
            Err(format!("the engine does not answer within {}", otelet_core::units::seconds(PATIENCE)))
        };
        self.read().or(late).await
    }

    /// Waits for more of the answer. Returns whether more may come after it.
    async fn read(&mut self) -> Result<bool, String> {
        let mut buffer = [0; PIECE];
        let read = self.stream.read(&mut buffer).await.map_err(|error| error.to_string())?;
        self.answer.take(&buffer[..read], &mut self.body).map_err(|error| error.to_string())?;
        Ok(read > 0 && !(self.answer.is_complete() && self.body.is_empty()))
    }
}

/// The path that asks for events of containers. Docker filters them by kind. Podman answers names of events that it
/// does not know with an error, so it is asked for all of them.
fn events_path(engine: &Engine, since: u64) -> String {
    let mut filters = r#"{"type":["container"]"#.to_owned();
    if !engine.is_podman() {
        let names: Vec<String> = KINDS.iter().map(|kind| format!("\"{}\"", kind.action)).collect();
        filters += &format!(r#","event":[{}]"#, names.join(","));
    }
    filters.push('}');
    let filters: String = filters
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let (seconds, nanoseconds) = (since / 1_000_000_000, since % 1_000_000_000);
    format!("/v{}/events?since={seconds}.{nanoseconds:09}&filters={filters}", engine.api)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_filters_the_events_and_podman_sends_all() {
        let engine = |component: &str| {
            Engine::read(
                format!(r#"{{"Version":"1","ApiVersion":"1.41","Components":[{{"Name":"{component}"}}]}}"#).as_bytes(),
            )
            .unwrap()
        };
        let path = events_path(&engine("Engine"), 1_795_622_299_000_000_015);
        assert!(
            path.starts_with(
                "/v1.41/events?since=1795622299.000000015&filters=%7B%22type%22%3A%5B%22container%22%5D%2C"
            ),
            "{path}"
        );
        assert!(path.contains("%22oom%22") && path.contains("%22health_status%22"), "{path}");
        assert!(!events_path(&engine("Podman Engine"), 0).contains("oom"));
    }
}
