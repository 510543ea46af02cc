//! A Docker engine on a socket of its own, on Windows a named pipe. Every answer can be scripted, malicious ones
//! included.
#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use otelet_testkit::wire::read_head;

use super::host::{Agent, Host, Signal, signal, wait_for};
use super::system::{LocalListener, LocalStream, forget, is_open, local};

/// The head of an answer in chunks.
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The engine's answer to a request.
#[derive(Debug, Clone)]
pub enum EngineAnswer {
    Body(String),
    /// The same, this long after the request.
    Late(Duration, String),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// No byte at all; the connection stays open.
    Stall,
    /// An open stream of events that begins with these.
    Stream(Vec<String>),
}

/// The engine; dropping it ends it with all its threads.
pub struct Engine {
    path: PathBuf,
    shared: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    requests: Vec<String>,
    /// By the path of the request, without the version.
    answers: BTreeMap<String, EngineAnswer>,
    streams: Vec<LocalStream>,
    /// How often each stream was opened and closed by the other side.
    held: Vec<LocalStream>,
    ended: bool,
}

impl Engine {
    /// The path of this host's engine.
    pub fn path(host: &Host) -> PathBuf {
        local(&host.path("docker.sock"))
    }

    /// An engine like Docker 20.10 without containers.
    pub fn new(host: &Host) -> Self {
        let mut engine = Self { path: Self::path(host), shared: Arc::default(), accepting: None };
        engine.answers(
            "/version",
            EngineAnswer::Body(
                r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Components":[{"Name":"Engine"}]}"#
                    .into(),
            ),
        );
        engine.answers("/events", EngineAnswer::Stream(Vec::new()));
        engine.answers("/containers/json", EngineAnswer::Body("[]".into()));
        engine.start();
        engine
    }

    pub fn start(&mut self) {
        let mut listener = LocalListener::bind(&self.path).unwrap();
        let shared = self.shared.clone();
        lock(&shared).ended = false;
        self.accepting = Some(thread::spawn(move || {
            while let Ok(stream) = listener.accept() {
                if lock(&shared).ended {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || {
                    let _ = answer(stream, &shared);
                });
            }
        }));
    }

    /// Ends as an engine does: its socket is removed and its streams break.
    pub fn stop(&mut self) {
        self.cut();
        lock(&self.shared).ended = true;
        forget(&self.path);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }

    /// Sets the answer to this request.
    pub fn answers(&self, what: &str, answer: EngineAnswer) {
        lock(&self.shared).answers.insert(what.into(), answer);
    }

    /// All requests so far, oldest first, each with its query.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared).requests.clone()
    }

    pub fn times_asked(&self, what: &str) -> usize {
        self.requests().iter().filter(|path| path_alone(path) == what).count()
    }

    /// Waits until this was requested so often, and returns the last of these paths.
    pub fn was_asked(&self, what: &str, times: usize) -> String {
        let look = || self.requests().into_iter().filter(|path| path_alone(path) == what).nth(times - 1);
        wait_for(&format!("question {times} for {what}"), look, || format!("{:#?}", self.requests()))
    }

    /// Sends this line on each open stream, in one chunk.
    pub fn tell(&self, line: &str) {
        self.say(&chunk(line));
    }

    /// Sends these bytes on each open stream.
    pub fn say(&self, bytes: &[u8]) {
        for mut stream in &lock(&self.shared).streams {
            let _ = stream.write_all(bytes);
        }
    }

    pub fn cut(&self) {
        lock(&self.shared).streams.clear();
    }

    /// The number of streams that the agent holds open.
    pub fn open_streams(&self) -> usize {
        let mut state = lock(&self.shared);
        state.streams.retain(is_open);
        state.streams.len()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn chunk(line: &str) -> Vec<u8> {
    format!("{:x}\r\n{line}\n\r\n", line.len() + 1).into_bytes()
}

/// An event as Docker sends it, this many milliseconds after a time in 2026.
pub fn event(action: &str, name: &str, millis: u64, more: &str) -> String {
    let time = 1_795_000_000_000 + millis;
    format!(
        r#"{{"status":"{action}","id":"{name}0123456789abcdef","from":"nginx:1","Type":"container","Action":"{action}","Actor":{{"ID":"{name}0123456789abcdef","Attributes":{{"image":"nginx:1","name":"{name}"{more}}}}},"scope":"local","time":{},"timeNano":{time}000000}}"#,
        time / 1000
    )
}

/// A container as Docker lists it.
pub fn listed(name: &str, status: &str) -> String {
    format!(
        r#"{{"Id":"{name}0123456789abcdef","Names":["/{name}"],"Image":"nginx:1","Command":"x","Created":1,"Ports":[],"Labels":{{"com.docker.compose.project":"shop","com.docker.compose.service":"front"}},"State":"running","Status":"{status}"}}"#
    )
}

/// The path of a request, without the version before it and the query after it.
fn path_alone(path: &str) -> &str {
    let path = path.split('?').next().unwrap();
    match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((version, _)) => &path["/v1.".len() + version.len()..],
        None => path,
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap()
}

fn answer(mut stream: LocalStream, shared: &Mutex<State>) -> std::io::Result<()> {
    let head = read_head(&mut stream)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let missing = || EngineAnswer::Raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    let answer = lock(shared).answers.get(path_alone(&path)).cloned().unwrap_or_else(missing);
    match answer {
        EngineAnswer::Body(body) => {
            lock(shared).requests.push(path);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        EngineAnswer::Late(delay, body) => {
            lock(shared).requests.push(path);
            thread::sleep(delay);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        EngineAnswer::Raw(bytes) => {
            lock(shared).requests.push(path);
            stream.write_all(&bytes)
        }
        EngineAnswer::Stall => {
            let mut state = lock(shared);
            state.requests.push(path);
            state.held.push(stream);
            Ok(())
        }
        EngineAnswer::Stream(lines) => {
            stream.write_all(CHUNKED.as_bytes())?;
            for line in lines {
                stream.write_all(&chunk(&line))?;
            }
            let mut state = lock(shared);
            state.requests.push(path);
            state.streams.push(stream);
            Ok(())
        }
    }
}

/// Has the collector crash again and again while an engine stalls at each of its requests, and looks at the agent then.
pub fn while_one_hangs(watching: fn(&Host) -> Agent, look: fn(&Agent)) {
    for what in ["/version", "/events", "/containers/json"] {
        let host = Host::new();
        let engine = Engine::new(&host);
        engine.answers(what, EngineAnswer::Stall);
        let mut agent = watching(&host);
        engine.was_asked(what, 1);

        for times in 2..5 {
            signal(host.collector(), Signal::KILL);
            host.started(times);
        }

        look(&agent);
        assert_eq!(engine.times_asked(what), 1, "no request is repeated while it hangs");
        assert_eq!(agent.stop(), 0);
    }
}
