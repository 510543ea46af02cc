//! Reads the head of an answer before ureq does, so that heads that are unusual and harmless are understood: longer than
//! ureq's buffer, with more fields than it takes, with lines that are folded (RFC 9112, 5.2). Fields that nobody reads
//! are left out, and so are interim answers.

use ureq::unversioned::transport::Buffers;

/// The longest head, as in Chrome, in bytes.
const MAX_HEAD: usize = 256 * 1024;

/// The longest line that is kept, in bytes.
const MAX_LINE: usize = 9 * 1024;

/// The message about a head, or a line between chunks, that is too large.
pub(super) const TOO_LONG: &str = "a line or the head of the answer is too large";

/// The fields that the agent or ureq reads.
const READ: &[&str] = &[
    "age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "retry-after",
    "transfer-encoding",
    "www-authenticate",
];

/// A head: first it is fed, then ureq reads and consumes it.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The head for ureq.
    out: Vec<u8>,
    consumed: usize,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    /// The rest of the line is left out.
    skips: bool,
    /// The last field was kept, so a folded line belongs to it.
    keeps: bool,
    /// All bytes of this head.
    total: usize,
    is_complete: bool,
}

/// The head is longer than any honest one.
#[derive(Debug)]
pub(super) struct TooLong;

impl Head {
    /// Reads on, and returns how many of the bytes belong to the head.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, TooLong> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.is_complete {
                return Ok(at);
            }
            self.total += 1;
            if self.total > MAX_HEAD {
                return Err(TooLong);
            }
            match byte {
                b'\n' => self.end_line()?,
                _ if self.skips => {}
                _ => self.line.push(*byte),
            }
            if self.out.is_empty() && !b"HTTP/".starts_with(&self.line[..self.line.len().min(5)]) {
                // No HTTP at all: ureq finds the words for that.
                self.give_up();
                self.out.extend(&bytes[at + 1..]);
                return Ok(bytes.len());
            } else if self.line.len() > MAX_LINE {
                match self.field() {
                    Some(name) if !is_read(name) => (self.skips, self.line) = (true, b"x:".to_vec()),
                    Some(_) | None => return Err(TooLong),
                }
            }
        }
        Ok(bytes.len())
    }

    /// Hands on what there is, since the connection has ended or the bytes are no head.
    pub(super) fn give_up(&mut self) {
        self.out.append(&mut self.line);
        self.is_complete = true;
    }

    /// Whether nothing has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether ureq can read it.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether ureq has read all of it.
    pub(super) fn is_consumed(&self) -> bool {
        self.is_complete && self.consumed == self.out.len()
    }

    fn end_line(&mut self) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        self.skips = false;
        let is_status = self.out.is_empty();
        if line.is_empty() && !is_status {
            if self.is_interim() {
                *self = Self::default();
            } else {
                self.out.extend(b"\r\n");
                self.is_complete = true;
            }
            return Ok(());
        }
        if !is_status && line.starts_with(b" ") || line.starts_with(b"\t") {
            if self.keeps {
                self.out.truncate(self.out.len() - 2);
                self.out.push(b' ');
                self.out.extend(line.trim_ascii());
                self.out.extend(b"\r\n");
            }
        } else {
            // A line that is no field makes the answer invalid, which ureq says.
            self.keeps = !is_status && name(line).is_some_and(is_read);
            if is_status || self.keeps || name(line).is_none() {
                self.out.extend(line);
                self.out.extend(b"\r\n");
            }
        }
        if self.out.len() > super::wire::BUFFER { Err(TooLong) } else { Ok(()) }
    }

    /// Whether another head follows this one.
    fn is_interim(&self) -> bool {
        let status = self.out.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        matches!(status, [b'1', ..]) && !status.starts_with(b"101")
    }

    /// The name of the field that is being read.
    fn field(&self) -> Option<&[u8]> {
        name(&self.line).filter(|_| !self.out.is_empty())
    }
}

/// The name of the field on this line. None if it is none.
fn name(line: &[u8]) -> Option<&[u8]> {
    let name = &line[..line.iter().position(|byte| *byte == b':')?];
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    Some(name).filter(|name| !name.is_empty() && name.iter().all(is_token))
}

fn is_read(name: &[u8]) -> bool {
    READ.iter().any(|read| read.as_bytes().eq_ignore_ascii_case(name))
}

/// The bytes that ureq reads as the head. Nothing is written then.
impl Buffers for Head {
    fn output(&mut self) -> &mut [u8] {
        &mut []
    }

    fn input(&self) -> &[u8] {
        &self.out[self.consumed..]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        &mut []
    }

    fn input_appended(&mut self, _: usize) {}

    fn input_consume(&mut self, amount: usize) {
        self.consumed += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        (&mut [], &mut [])
    }

    fn can_use_input(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head for ureq, and how many bytes it had.
    fn read(bytes: &[u8], step: usize) -> Option<(String, usize)> {
        let mut head = Head::default();
        let mut used = 0;
        for part in bytes.chunks(step) {
            used += head.feed(part).ok()?;
            if head.is_complete() {
                break;
            }
        }
        Some((String::from_utf8_lossy(head.input()).into_owned(), used)).filter(|_| head.is_complete())
    }

    #[test]
    fn fields_that_are_read_are_kept_and_unfolded() {
        let large = format!("X-Policy: {}\r\n", "y".repeat(100_000));
        let many: String = (0..500).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let kept = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 2\r\n\r\n";
        for (sent, read_as) in [
            (kept.to_owned(), kept),
            (format!("HTTP/1.1 200 OK\r\n{large}ETag: \"a\"\r\n{large}Content-Length: 2\r\n\r\n"), kept),
            (format!("HTTP/1.1 200 OK\r\n{many}ETag: \"a\"\r\nContent-Length: 2\r\n{many}\r\n"), kept),
            ("HTTP/1.1 200 OK\nETag: \"a\"\nContent-Length: 2\n\n".into(), kept),
            ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc: d\r\nETag: \"a\"\r\nContent-Length: 2\r\n\r\n".into(), kept),
            ("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n".to_owned() + kept, kept),
            (
                "HTTP/1.1 302 Found\r\nlocation:\r\n  /a\r\n\t?b\r\n\r\n".into(),
                "HTTP/1.1 302 Found\r\nlocation: /a ?b\r\n\r\n",
            ),
            // A wrong line stays wrong.
            ("HTTP/1.1 200 OK\r\nno field\r\n\r\n".into(), "HTTP/1.1 200 OK\r\nno field\r\n\r\n"),
            ("HTTP/1.1 200\r\nContent-Length : 2\r\n\r\n".into(), "HTTP/1.1 200\r\nContent-Length : 2\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(),
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            ),
        ] {
            for step in [1, 7, 1 << 20] {
                let body = sent.clone() + "body\r\n";
                assert_eq!(read(body.as_bytes(), step), Some((read_as.to_owned(), sent.len())), "{step}");
            }
        }
        let garbage = b"SSH-2.0-OpenSSH\r\n";
        assert_eq!(read(garbage, 1), Some(("S".into(), 1)), "ureq gets it at once");
    }

    #[test]
    fn a_head_without_end_is_refused() {
        for again in ["a: b\r\n", "#", " folded\r\n", "ETag: a\r\n"] {
            let endless = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &again.repeat(MAX_HEAD);
            assert_eq!(read(endless.as_bytes(), 4096), None, "{again}");
        }
        for long in ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nETag: ", "HTTP/1.1 200 OK\r\n"] {
            assert!(Head::default().feed((long.to_owned() + &"#".repeat(MAX_LINE + 1)).as_bytes()).is_err(), "{long}");
        }
    }
}
