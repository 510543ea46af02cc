//! Follows the engine's stream of events: one connection on which nothing waits, as a task beside all the others.

use std::path::Path;
use std::time::{Duration, Instant};

use smol::channel::Sender;
use smol::future::FutureExt as _;

use super::answer::Answer;
use super::engine::{Engine, cannot_connect, complaint, request};
use super::events::{self, Happening, KINDS, Lines};
use crate::os::{self, LocalStream};

/// How long the engine may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of a short answer, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// What is read at once, in bytes: some ten events.
const PIECE: usize = 8 * 1024;

/// What the stream brings.
#[derive(Debug)]
pub enum News {
    /// It is open.
    Open(Engine),
    /// Something happened to a container.
    Happened(Box<Happening>),
    /// So many lines could not be read, or were too long.
    Lost(u64),
    /// No more is read until this is dropped, and with it everything before it has been taken.
    Pause(Sender<()>),
}

/// Follows the stream from this time on, in nanoseconds since 1970, until it breaks. Answers with the reason.
pub async fn watch(socket: &Path, since: u64, tell: impl FnMut(News)) -> String {
    let Err(why) = follow(socket, since, tell).await;
    // What concerns the socket itself says so already.
    if why.starts_with("docker.socket") { why } else { format!("docker.socket {}: {why}", socket.display()) }
}

async fn follow(socket: &Path, since: u64, mut tell: impl FnMut(News)) -> Result<std::convert::Infallible, String> {
    let limit = Instant::now() + PATIENCE;
    let mut version = Stream::open(socket, "/version", limit).await?;
    version.rest(limit).await?;
    let engine = Engine::read(&version.body)?;
    drop(version);
    let path = events_path(&engine, since);
    let mut stream = Stream::open(socket, &path, limit).await?;
    tell(News::Open(engine));
    let mut lines = Lines::default();
    loop {
        let lost = lines.take(&stream.body, |line| {
            let read = events::read(line);
            if let Ok(Some(happening)) = read {
                tell(News::Happened(Box::new(happening)));
                return true;
            }
            read.is_ok()
        });
        if lost > 0 {
            tell(News::Lost(lost));
        }
        if !stream.body.is_empty() {
            stream.body.clear();
            // What was told is dealt with before more is read: a flood does not pile up here, but at the engine.
            let (pause, over) = smol::channel::bounded(1);
            tell(News::Pause(pause));
            let _ = over.recv().await;
        }
        if !stream.read().await? {
            return Err("the engine ended its stream of events".into());
        }
    }
}

/// A connection, and what has come of its answer.
struct Stream {
    stream: LocalStream,
    answer: Answer,
    body: Vec<u8>,
}

impl Stream {
    /// Asks, and waits for a good head. The body may be as silent as its engine.
    async fn open(socket: &Path, path: &str, limit: Instant) -> Result<Self, String> {
        let stream = LocalStream::connect(socket).map_err(|error| cannot_connect(socket, &error))?;
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
            // Whatever it can say in time.
            let _ = stream.rest(limit).await;
            return Err(complaint(path, status, &stream.body));
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

    /// Waits for more. Answers whether there may be more after it.
    async fn read(&mut self) -> Result<bool, String> {
        let mut buffer = [0; PIECE];
        let read = self.stream.read(&mut buffer).await.map_err(|error| error.to_string())?;
        self.answer.take(&buffer[..read], &mut self.body).map_err(|error| error.to_string())?;
        Ok(read > 0 && !(self.answer.is_complete() && self.body.is_empty()))
    }
}

/// What is asked for: events of containers. Podman knows only some names of events and answers others with an error, so
/// it is asked for all.
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
    fn the_engine_filters_and_podman_is_asked_for_all() {
        let engine = |said: &str| {
            Engine::read(
                format!(r#"{{"Version":"1","ApiVersion":"1.41","Components":[{{"Name":"{said}"}}]}}"#).as_bytes(),
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
