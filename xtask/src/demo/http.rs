//! As much of HTTP/1.1 as two small servers on loopback need: one request in, one answer out, bytes counted.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of a head line or a body taken; far above what the demo's own clients send.
const MOST: u64 = 16 << 20;

/// A request as it came.
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// The path, with its query if it has one.
    pub path: String,
    /// The head's fields, names in lower case.
    fields: Vec<(String, String)>,
    /// The body, if `Content-Length` announced one.
    pub body: Vec<u8>,
    /// All of it on the wire, in bytes of HTTP.
    pub bytes: u64,
}

impl Request {
    /// A field of the head by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// One end of a connection that asks.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Takes over an accepted connection.
    pub fn new(stream: TcpStream) -> io::Result<Connection> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection { reader: BufReader::new(stream) })
    }

    /// The next request, or none when the other side has closed.
    pub fn next(&mut self) -> io::Result<Option<Request>> {
        let (first, mut bytes) = self.line()?;
        if bytes == 0 {
            return Ok(None);
        }
        let mut words = first.split_whitespace();
        let method = words.next().unwrap_or("").to_owned();
        let path = words.next().unwrap_or("").to_owned();
        let mut fields = Vec::new();
        loop {
            let (line, length) = self.line()?;
            bytes += length;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let mut request = Request { method, path, fields, body: Vec::new(), bytes };
        if let Some(length) = request.field("content-length") {
            let length: u64 = length.parse().map_err(|_| odd("content-length"))?;
            if length > MOST {
                return Err(odd("content-length"));
            }
            self.reader.by_ref().take(length).read_to_end(&mut request.body)?;
            if request.body.len() as u64 != length {
                return Err(odd("body"));
            }
            request.bytes += length;
        }
        Ok(Some(request))
    }

    /// Answers; returns how many bytes of HTTP that was.
    pub fn answer(&mut self, status: &str, fields: &[(&str, &str)], body: &[u8]) -> io::Result<u64> {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut whole = head.into_bytes();
        whole.extend_from_slice(body);
        self.reader.get_mut().write_all(&whole)?;
        Ok(whole.len() as u64)
    }

    fn line(&mut self) -> io::Result<(String, u64)> {
        let mut line = Vec::new();
        let length = self.reader.by_ref().take(MOST).read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        Ok((text, length as u64))
    }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("odd {what}"))
}
