//! A config server on loopback. Every answer can be scripted, malicious ones included. It speaks just enough HTTP/1.1
//! for tests, one request a connection, and records the requests.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::wire::read_until;

/// How long [`Server::wait_for`] waits before it gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server's answer to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// 200 with this body and its ETag; 304 when the client has it already.
    Config(Vec<u8>),
    /// 200 with this body and its `Last-Modified`, as the file servers of Python and Go answer: 304 for a client that has
    /// a body of this date or a later one.
    Dated(String, Vec<u8>),
    /// A status with headers and a body.
    Status(u16, Vec<(String, String)>, Vec<u8>),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// No byte at all; the connection stays open.
    Stall,
    /// A config, one byte each time this has passed.
    Trickle(Duration),
    /// A body that goes on as long as the client reads it.
    NeverEnding,
    /// These bytes, and then the second part again and again as long as the client reads it.
    Endless(Vec<u8>, Vec<u8>),
    /// The head of a body of 10 GB.
    HugeContentLength,
    /// Half of the promised body, and then a reset.
    ResetMidBody,
    /// Bytes that are not HTTP at all.
    Garbage,
    /// A redirect to another path of this server each time.
    RedirectLoop,
    /// A redirect to this URL with 302.
    RedirectTo(String),
    /// This answer after a delay.
    Delay(Duration, Box<Answer>),
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), Vec::new())
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Status(status, ..) => Some(*status),
            Self::Delay(_, later) => later.code(),
            _ => None,
        }
    }
}

/// A request as the server received it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// The status of the answer, where it was scripted.
    pub answered: Option<u16>,
}

impl Request {
    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }
}

/// The server; dropping it ends it with all its threads.
pub struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when a request came and when the server stops.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    always: Option<Answer>,
    next: VecDeque<Answer>,
    requests: Vec<Request>,
    open: Vec<TcpStream>,
    handlers: Vec<JoinHandle<()>>,
    stopping: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// Listens on a free port of 127.0.0.1; answers 404 until a test sets another answer.
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, addr, &shared)
        });
        Self { addr, shared, accepting: Some(accepting) }
    }

    /// The URL of the config.
    pub fn url(&self) -> String {
        self.at("/config.yaml")
    }

    /// The URL of another path, which starts with a slash.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves this body from now on, with an ETag made of it.
    pub fn offer(&self, body: impl Into<Vec<u8>>) {
        self.answer(Answer::Config(body.into()));
    }

    /// Gives this answer to every request from now on.
    pub fn answer(&self, answer: Answer) {
        let mut state = self.shared.lock();
        state.next.clear();
        state.always = Some(answer);
    }

    /// Gives this answer to the next request, then the old one again; several calls queue up.
    pub fn answer_once(&self, answer: Answer) {
        self.shared.lock().next.push_back(answer);
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// Waits until this holds of the requests so far, and returns them.
    pub fn wait_for(&self, what: &str, holds: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let state = self.shared.lock();
        let (state, waited) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !holds(&state.requests)).unwrap();
        assert!(!waited.timed_out(), "waited {PATIENCE:?} in vain for {what}; requests so far: {:#?}", state.requests);
        state.requests.clone()
    }

    /// Waits until there were this many requests, and returns them.
    pub fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        self.wait_for(&format!("{count} requests"), |asked| asked.len() >= count)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (open, handlers) = {
            let mut state = self.shared.lock();
            state.stopping = true;
            (std::mem::take(&mut state.open), std::mem::take(&mut state.handlers))
        };
        self.shared.changed.notify_all();
        for stream in open {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then sees that the server stops. Under wine, once is not always enough.
        while self.accepting.as_ref().is_some_and(|thread| !thread.is_finished()) {
            let _ = TcpStream::connect(self.addr);
            std::thread::sleep(Duration::from_millis(1));
        }
        let accepting = self.accepting.take().into_iter();
        for thread in accepting.chain(handlers) {
            // A panic of a handler is a bug of the test; two panics at once would hide the first.
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("a thread of the test server panicked");
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Lets time pass; returns false as soon as the server stops.
    fn pause(&self, time: Duration) -> bool {
        let (state, _) = self.changed.wait_timeout_while(self.lock(), time, |state| !state.stopping).unwrap();
        !state.stopping
    }

    fn next_answer(&self) -> Answer {
        let mut state = self.lock();
        let next = state.next.pop_front();
        next.or_else(|| state.always.clone()).unwrap_or_else(|| Answer::status(404))
    }
}

fn accept(listener: &TcpListener, addr: SocketAddr, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        state.open.extend(stream.try_clone());
        let handler = std::thread::spawn({
            let shared = shared.clone();
            // A client may close its connection early: a test server need not care.
            move || drop(handle(stream, addr, &shared))
        });
        state.handlers.push(handler);
    }
}

fn handle(mut stream: TcpStream, addr: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let result = converse(&mut stream, addr, shared);
    // The clone kept for the end would hold the connection open. Bytes of the client that were not read make this a
    // reset.
    let peer = stream.peer_addr();
    let mut state = shared.lock();
    state.open.retain(|open| open.peer_addr().ok() != peer.as_ref().ok().copied());
    result
}

fn converse(stream: &mut TcpStream, addr: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    // Under wine the server now and then keeps the connection of a client that was killed: it never sees its end, and
    // no shutdown wakes a thread that waits for it.
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // The last byte of the head stays unread until it is known whether the connection is to end in a reset.
    let head = read_until(stream, b"\r\n\r")?;
    let mut answer = shared.next_answer();
    if !matches!(answer, Answer::ResetMidBody) {
        stream.read_exact(&mut [0])?;
    }
    let mut asked = parse(&head);
    asked.answered = answer.code();
    let length = asked.header("content-length").map(str::parse);
    if let Some(Ok(length)) = length {
        asked.body = vec![0; length];
        stream.read_exact(&mut asked.body)?;
    }
    let requests = {
        let mut state = shared.lock();
        state.requests.push(asked.clone());
        state.requests.len()
    };
    shared.changed.notify_all();

    while let Answer::Delay(time, then) = answer {
        if !shared.pause(time) {
            return Ok(());
        }
        answer = *then;
    }
    // An answer to HEAD has no body.
    let cut = |body: Vec<u8>| if asked.method == "HEAD" { Vec::new() } else { body };
    match answer {
        Answer::Dated(date, body) => {
            let headers = [("Last-Modified", &*date)];
            let known = asked.header("if-modified-since").is_some_and(|known| order(&date) <= order(known));
            match known {
                true => stream.write_all(&response(304, &[], b"")),
                false => stream.write_all(&response(200, &headers, &cut(body))),
            }
        }
        Answer::Config(body) => {
            let etag = etag(&body);
            if asked.header("if-none-match") == Some(&etag) {
                return stream.write_all(&response(304, &[("ETag", &etag)], b""));
            }
            stream.write_all(&response(200, &[("ETag", &etag)], &body))
        }
        Answer::Status(status, headers, body) => {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (&**k, &**v)).collect();
            stream.write_all(&response(status, &headers, &cut(body)))
        }
        Answer::Raw(bytes) => stream.write_all(&bytes),
        Answer::Stall => {
            while shared.pause(PATIENCE) {}
            Ok(())
        }
        Answer::Trickle(every) => {
            for byte in response(200, &[], &[b' '; 100_000]) {
                if !shared.pause(every) {
                    break;
                }
                stream.write_all(&[byte])?;
            }
            Ok(())
        }
        Answer::NeverEnding => endless(
            stream,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            &[b"1000\r\n".as_slice(), &[b'#'; 0x1000], b"\r\n"].concat(),
        ),
        Answer::Endless(start, again) => endless(stream, &start, &again),
        Answer::HugeContentLength => {
            endless(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", &[b'#'; 0x1000])
        }
        Answer::ResetMidBody => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nreceivers:\n"),
        Answer::Garbage => stream.write_all(b"\x00\xffSSH-2.0-OpenSSH_9.2p1\r\n\r\n\r\n"),
        Answer::RedirectLoop => {
            let to = format!("/loop/{requests}");
            stream.write_all(&response(302, &[("Location", &to)], b""))
        }
        Answer::RedirectTo(to) => stream.write_all(&response(302, &[("Location", &to)], b"")),
        Answer::Delay(..) => unreachable!("delays are taken off above; the server is {addr}"),
    }
}

/// The order of HTTP dates such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn order(date: &str) -> (String, usize, String, String) {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<&str> = date.split(' ').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
    (word(3), MONTHS.find(&word(2)).unwrap_or_default(), word(1), word(4))
}

fn endless(stream: &mut TcpStream, start: &[u8], again: &[u8]) -> std::io::Result<()> {
    stream.write_all(start)?;
    loop {
        stream.write_all(again)?;
    }
}

fn parse(head: &[u8]) -> Request {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Request {
        method: first.next().unwrap_or_default().to_owned(),
        path: first.next().unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
        at: Instant::now(),
        answered: None,
    }
}

/// The ETag that [`Answer::Config`] gives to a body.
pub fn etag(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if status != 304 && status != 204 {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}
