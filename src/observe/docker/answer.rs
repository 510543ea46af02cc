//! An answer of the engine as it comes, piece by piece: the head, then the body out of its chunks. Reads nothing itself,
//! and holds no more than one line.

use httparse::{EMPTY_HEADER, Response};

/// The most that a head may have, in bytes: engines send some 300.
const LONGEST_HEAD: usize = 16 * 1024;

/// The most headers in it.
const MOST_HEADERS: usize = 64;

/// The most that a line between chunks may have, in bytes.
const LONGEST_CHUNK_LINE: usize = 1024;

/// Takes an answer apart.
#[derive(Debug)]
pub struct Answer {
    at: At,
    /// The head, or the line between chunks, as far as it has come.
    line: Vec<u8>,
    status: Option<u16>,
}

/// Where in the answer the next byte is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Head,
    /// In a body with so many more bytes.
    Counted(u64),
    /// In a body that the end of the connection ends.
    Endless,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    End,
}

/// What comes is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The head.
    #[error("what listens there does not speak HTTP")]
    Head,
    /// The length of the body.
    #[error("the answer has a length that is no number")]
    Length,
    /// A line between chunks.
    #[error("the answer is broken between two chunks")]
    Chunk,
    /// A line or the head.
    #[error("the head of the answer, or a line between its chunks, is too long")]
    TooLong,
}

impl Default for Answer {
    fn default() -> Self {
        Self { at: At::Head, line: Vec::new(), status: None }
    }
}

impl Answer {
    /// Takes what came, appends what is of the body.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if this is no answer; what follows makes no sense then.
    pub fn take(&mut self, mut bytes: &[u8], body: &mut Vec<u8>) -> Result<(), Malformed> {
        while let Some((first, rest)) = bytes.split_first() {
            match self.at {
                At::Counted(left) | At::Chunk(left) => {
                    let length = left.min(bytes.len() as u64) as usize;
                    body.extend_from_slice(&bytes[..length]);
                    bytes = &bytes[length..];
                    let left = left - length as u64;
                    self.at = match (self.at, left) {
                        (At::Chunk(_), 0) => At::ChunkEnd,
                        (At::Chunk(_), left) => At::Chunk(left),
                        (_, 0) => At::End,
                        (_, left) => At::Counted(left),
                    };
                }
                At::Endless => {
                    body.extend_from_slice(bytes);
                    return Ok(());
                }
                At::End => return Ok(()),
                At::Head => {
                    self.line.push(*first);
                    bytes = rest;
                    if self.line.ends_with(b"\r\n\r\n") {
                        self.at = self.head()?;
                        self.line = Vec::new();
                    } else if self.line.len() >= LONGEST_HEAD {
                        return Err(Malformed::TooLong);
                    }
                }
                At::ChunkSize | At::ChunkEnd | At::Trailer => {
                    bytes = rest;
                    if *first == b'\n' {
                        self.at = self.between()?;
                        self.line.clear();
                    } else if self.line.len() >= LONGEST_CHUNK_LINE {
                        return Err(Malformed::TooLong);
                    } else {
                        self.line.push(*first);
                    }
                }
            }
        }
        Ok(())
    }

    /// The status, once the head is there.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether all of it is there.
    pub fn is_complete(&self) -> bool {
        self.at == At::End
    }

    /// Whether the end of the connection is the end of the answer.
    pub fn may_end(&self) -> bool {
        matches!(self.at, At::End | At::Endless)
    }

    fn head(&mut self) -> Result<At, Malformed> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut response = Response::new(&mut headers);
        match response.parse(&self.line) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed::Head),
        }
        let status = response.code.ok_or(Malformed::Head)?;
        if (100..200).contains(&status) {
            return Ok(At::Head);
        }
        self.status = Some(status);
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(found.value).trim().to_ascii_lowercase())
        };
        if header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            return Ok(At::ChunkSize);
        }
        Ok(match header("content-length") {
            _ if status == 204 || status == 304 => At::End,
            None => At::Endless,
            Some(length) => match number(&length, 10).ok_or(Malformed::Length)? {
                0 => At::End,
                length => At::Counted(length),
            },
        })
    }

    /// Takes a line between chunks.
    fn between(&self) -> Result<At, Malformed> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match self.at {
            At::ChunkSize => {
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size).ok().and_then(|size| number(size.trim(), 16));
                match size.ok_or(Malformed::Chunk)? {
                    0 => Ok(At::Trailer),
                    size => Ok(At::Chunk(size)),
                }
            }
            At::Trailer if line.is_empty() => Ok(At::End),
            At::Trailer => Ok(At::Trailer),
            At::ChunkEnd if line.is_empty() => Ok(At::ChunkSize),
            At::ChunkEnd | At::Head | At::Counted(_) | At::Endless | At::Chunk(_) | At::End => Err(Malformed::Chunk),
        }
    }
}

/// A number without a sign, which Rust would take too.
fn number(text: &str, radix: u32) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
    digits.then(|| u64::from_str_radix(text, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                             5\r\nabc\nd\r\nB;note=1\r\ne\nfghijklmn\r\n0\r\nTrailer: 1\r\n\r\n";

    fn taken(answer: &[u8], step: usize) -> Result<(Answer, Vec<u8>), Malformed> {
        let (mut taker, mut body) = (Answer::default(), Vec::new());
        for piece in answer.chunks(step) {
            taker.take(piece, &mut body)?;
        }
        Ok((taker, body))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_torn() {
        for step in 1..CHUNKED.len() {
            let (answer, body) = taken(CHUNKED, step).unwrap();
            assert_eq!(body, b"abc\nde\nfghijklmn");
            assert_eq!((answer.status(), answer.is_complete()), (Some(200), true), "in pieces of {step}");
        }
    }

    #[test]
    fn a_counted_body_ends_and_an_uncounted_one_does_not() {
        let (answer, body) = taken(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nabcd", 1).unwrap();
        assert_eq!((body.as_slice(), answer.status(), answer.is_complete()), (&b"abc"[..], Some(400), true));

        let (answer, body) = taken(b"HTTP/1.0 200 OK\r\n\r\nabcd", 3).unwrap();
        assert_eq!((body.as_slice(), answer.is_complete(), answer.may_end()), (&b"abcd"[..], false, true));

        let (answer, _) = taken(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcd", 3).unwrap();
        assert!(!answer.may_end(), "it was cut");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = |answer: &[u8]| taken(answer, 7).map(|_| ()).unwrap_err();
        assert_eq!(refused(b"SSH-2.0-x\r\n\r\n"), Malformed::Head);
        assert_eq!(refused(b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nabcd"), Malformed::Length);
        assert_eq!(refused(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"), Malformed::Length);
        for chunk in ["x\r\n", "-1\r\n", "\r\n", "FFFFFFFFFFFFFFFFF\r\n", "1\r\nab\r\n"] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
            assert_eq!(refused(answer.as_bytes()), Malformed::Chunk, "{chunk:?}");
        }
        assert_eq!(refused(&b"HTTP/1.1 200 OK\r\nX: ".repeat(1000)), Malformed::TooLong);
        let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        endless.extend([b'1'; 2 * LONGEST_CHUNK_LINE]);
        assert_eq!(refused(&endless), Malformed::TooLong);
    }
}
