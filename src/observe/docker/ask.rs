//! Requests to the engine from a thread that may wait. An answer is parsed while it arrives, so that the list of a large
//! host is never in memory as text.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::container::{Description, LARGEST_DESCRIPTION};
use super::engine::{cannot_connect, connect, error_answer, request, shown};
use crate::os::{LocalStream, PatientStream};
use otelet_core::units;

/// The most that is read of an error answer, in bytes.
const LARGEST_ERROR: u64 = 4 * 1024;

/// The size of one read, in bytes. The buffer is on a small stack.
const PIECE: usize = 4 * 1024;

/// A request that was sent. Its answer may be read later: the engine works on several at once.
pub(super) struct Asked {
    path: String,
    stream: LocalStream,
}

/// Sends a GET request. `patience` is for the connection alone.
///
/// # Errors
///
/// A sentence, if the engine takes no request.
pub(super) fn ask(socket: &Path, path: String, patience: Duration) -> Result<Asked, String> {
    let stream = connect(socket, patience).map_err(|error| cannot_connect(socket, &error))?;
    stream.send(request(&path).as_bytes()).map_err(|why| about(&path, &why))?;
    Ok(Asked { path, stream })
}

impl Asked {
    /// Waits so long for the answer and parses it; `most` is the largest that is read, in bytes.
    ///
    /// # Errors
    ///
    /// A sentence: the engine's own, or what is wrong with the answer.
    pub(super) fn read<T: DeserializeOwned>(self, most: u64, patience: Duration) -> Result<T, String> {
        let (path, body) = self.begin(patience)?;
        serde_json::from_reader(body.take(most)).map_err(|why| failed(&path, patience, &why, why.io_error_kind()))
    }

    /// Waits for the head. Apart from [`Self::read`], which is linked for each kind of answer.
    #[inline(never)]
    fn begin(self, patience: Duration) -> Result<(String, Body), String> {
        let Self { path, stream } = self;
        let stream = stream.until(Instant::now() + patience).map_err(|why| about(&path, &why))?;
        let mut body = Body { stream, answer: Answer::default(), ready: Vec::new(), read: 0 };
        let status = body.head().map_err(|why| failed(&path, patience, &why, Some(why.kind())))?;
        if !(200..300).contains(&status) {
            let mut text = Vec::new();
            let _ = body.take(LARGEST_ERROR).read_to_end(&mut text);
            return Err(error_answer(&path, status, &text));
        }
        Ok((path, body))
    }
}

#[inline(never)]
fn failed(path: &str, patience: Duration, why: &dyn fmt::Display, kind: Option<io::ErrorKind>) -> String {
    match kind {
        Some(io::ErrorKind::TimedOut) => {
            about(path, &format!("the engine does not answer within {}", units::seconds(patience)))
        }
        _ => about(path, why),
    }
}

/// Asks whether a container runs, and is healthy if it has a health check. Blocks for this time at most.
///
/// # Errors
///
/// The reason that it is not so.
pub fn check_container(socket: &Path, name: &str, timeout: Duration) -> Result<String, String> {
    let described = ask(socket, format!("/containers/{name}/json"), timeout)
        .and_then(|asked| asked.read::<Description>(LARGEST_DESCRIPTION, timeout));
    match described {
        Ok(container) => container.judge(),
        Err(why) if is_missing(&why) => Err(format!("there is no container {name}")),
        Err(why) => Err(why),
    }
}

/// Whether an error says that the engine does not know the container. One that has just ended is none.
pub(super) fn is_missing(why: &str) -> bool {
    why.contains(" answered 404")
}

fn about(path: &str, why: &dyn fmt::Display) -> String {
    format!("{}: {why}", shown(path))
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
