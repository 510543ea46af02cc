//! The tests of HTTP, and their helpers: a directory, settings, and servers on loopback.

mod answers;
pub(crate) mod proxies;
pub(crate) mod trust;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use otelet_testkit::wire::read_head;

use super::*;

/// A temporary directory of one test, removed at its end.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("otelet-http-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Settings with a long timeout and a small limit, without TLS files and proxies.
pub(crate) fn settings() -> HttpSettings {
    HttpSettings {
        timeout: Duration::from_secs(20),
        max_size: 64 * 1024,
        ca_file: None,
        fingerprint: None,
        client_cert_file: None,
        client_key_file: None,
        http_proxy: None,
        https_proxy: None,
        no_proxy: String::new(),
    }
}

/// The timeout of [`impatient`] clients, far shorter than that of [`settings`].
const SHORT: Duration = Duration::from_millis(400);

fn impatient() -> HttpSettings {
    HttpSettings { timeout: SHORT, ..settings() }
}

fn get(url: impl Into<String>) -> Request {
    Request {
        method: Method::Get,
        url: url.into(),
        headers: vec![("X-Token".into(), "s3cret".into())],
        body: Vec::new(),
        reads: Reads::Whole,
        redirects: Redirects::Same,
    }
}

/// Sends on a thread as small as the agent's.
fn send(client: &Client, request: &Request) -> Result<Response, HttpError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn_scoped(scope, || client.send(request))
            .unwrap()
            .join()
            .unwrap()
    })
}

fn fetch(settings: &HttpSettings, url: impl Into<String>) -> Result<Response, HttpError> {
    send(&Client::new(settings).unwrap(), &get(url))
}

/// A server on loopback that calls `serve` for each connection. It ends when it is dropped.
pub(crate) struct Listening {
    pub(crate) addr: SocketAddr,
    accepting: Option<JoinHandle<()>>,
    stop: Arc<Mutex<bool>>,
}

impl Listening {
    fn new(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = Arc::new(Mutex::new(false));
        let accepting = std::thread::spawn({
            let stop = stop.clone();
            move || {
                std::thread::scope(|scope| {
                    for stream in listener.incoming() {
                        if *stop.lock().unwrap() {
                            break;
                        }
                        let stream = stream.unwrap();
                        let limit = Some(Duration::from_secs(10));
                        stream.set_read_timeout(limit).unwrap();
                        // Many tests let the client break off, so an error of `serve` is expected.
                        scope.spawn(|| drop(serve(stream)));
                    }
                });
            }
        });
        Self { addr, accepting: Some(accepting), stop }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        let _ = TcpStream::connect(self.addr);
        let _ = self.accepting.take().unwrap().join();
    }
}

pub(crate) const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
