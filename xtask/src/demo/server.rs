//! The config server of the demo: one directory on loopback with ETags, which can be taken down and brought back.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::demo::http::Connection;
use crate::places;

/// The requests that the server has seen, for the summary.
#[derive(Default)]
pub struct Traffic {
    /// Requests answered with a body.
    pub bodies: AtomicU64,
    /// Requests answered with 304.
    pub unchanged: AtomicU64,
    /// Bytes of HTTP, both ways, of the last exchange that was answered with 304.
    pub unchanged_bytes: AtomicU64,
}

/// A directory served on a port of loopback that stays the same.
pub struct Server {
    address: SocketAddr,
    folder: PathBuf,
    traffic: Arc<Traffic>,
    running: Mutex<Option<(Arc<AtomicBool>, JoinHandle<()>)>>,
}

impl Server {
    /// Serves `folder` on a free port.
    pub fn new(folder: &Path) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let server = Server {
            address: listener.local_addr()?,
            folder: folder.to_path_buf(),
            traffic: Arc::default(),
            running: Mutex::new(None),
        };
        server.run(listener);
        Ok(server)
    }

    /// The URL of a file of the directory.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// The requests so far.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// Ends it: connections are refused from now on.
    pub fn down(&self) {
        let running = self.running.lock().expect("no holder panics").take();
        if let Some((stop, thread)) = running {
            stop.store(true, Relaxed);
            // A connection wakes the thread that waits in `accept`.
            TcpStream::connect(self.address).ok();
            thread.join().ok();
        }
    }

    /// Brings it back on the same port.
    pub fn up(&self) -> io::Result<()> {
        self.run(TcpListener::bind(self.address)?);
        Ok(())
    }

    fn run(&self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, folder, traffic) = (stop.clone(), self.folder.clone(), self.traffic.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Relaxed) {
                    return;
                }
                let (folder, traffic) = (folder.clone(), traffic.clone());
                thread::spawn(move || stream.and_then(|stream| serve(stream, &folder, &traffic)));
            }
        });
        *self.running.lock().expect("no holder panics") = Some((stop, thread));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

/// Answers one request and closes: whoever polls every half minute keeps no connection.
fn serve(stream: TcpStream, folder: &Path, traffic: &Traffic) -> io::Result<()> {
    let mut connection = Connection::new(stream)?;
    let Some(request) = connection.next()? else {
        return Ok(());
    };
    let close = ("Connection", "close");
    let name = request.path.trim_start_matches('/');
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let body = match fs::read(folder.join(name)) {
        Ok(body) if plain && request.method == "GET" => body,
        _ => {
            connection.answer("404 Not Found", &[("Content-Length", "0"), close], b"")?;
            return Ok(());
        }
    };
    let etag = format!("\"{}\"", &places::sha256_of(&[&body])[..16]);
    if request.field("if-none-match") == Some(etag.as_str()) {
        let sent = connection.answer("304 Not Modified", &[("ETag", &etag), close], b"")?;
        traffic.unchanged_bytes.store(request.bytes + sent, Relaxed);
        traffic.unchanged.fetch_add(1, Relaxed);
    } else {
        let length = body.len().to_string();
        let fields = [("Content-Type", "application/yaml"), ("Content-Length", &length), ("ETag", &etag), close];
        connection.answer("200 OK", &fields, &body)?;
        traffic.bodies.fetch_add(1, Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn get(server: &Server, name: &str, etag: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(server.address)?;
        write!(stream, "GET /{name} HTTP/1.1\r\nIf-None-Match: {etag}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn an_unchanged_file_costs_a_304_and_a_server_that_is_down_refuses() {
        let folder = std::env::temp_dir().join(format!("otelet-served-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.yaml"), "a: b\n").unwrap();
        let server = Server::new(&folder).unwrap();

        let first = get(&server, "config.yaml", "\"\"").unwrap();
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.ends_with("a: b\n"));
        let etag = first.split("ETag: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let second = get(&server, "config.yaml", etag).unwrap();
        assert!(second.starts_with("HTTP/1.1 304 "));
        assert_eq!(server.traffic().unchanged.load(Relaxed), 1);
        assert!(get(&server, "../Cargo.toml", "").unwrap().starts_with("HTTP/1.1 404 "));

        server.down();
        assert!(get(&server, "config.yaml", "").is_err());
        server.up().unwrap();
        assert!(get(&server, "config.yaml", "").is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
