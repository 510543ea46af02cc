//! Parses an HTTP answer of the engine piece by piece: the head, then the body without its chunk headers. It reads
//! nothing itself, and keeps no more than one line.

use httparse::{EMPTY_HEADER, Response};

/// The largest head that is accepted, in bytes. Engines send about 300.
const LONGEST_HEAD: usize = 16 * 1024;

/// The most headers that a head may have.
const MOST_HEADERS: usize = 64;

/// The longest line between chunks that is accepted, in bytes.
const LONGEST_CHUNK_LINE: usize = 1024;

/// An answer that is being parsed.
#[derive(Debug)]
pub struct Answer {
    at: Part,
    /// The part of the head, or of a line between chunks, that has arrived.
    line: Vec<u8>,
    status: Option<u16>,
}

/// The part of the answer that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Head,
    /// A body with this many bytes to come.
    Counted(u64),
    /// A body that ends with the connection.
    Endless,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    End,
}

/// The bytes are not an HTTP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the program that listens there does not speak HTTP")]
    Head,
    #[error("the answer's Content-Length is not a number")]
    Length,
    #[error("the answer is broken between two chunks")]
    Chunk,
    #[error("the head of the answer, or a line between its chunks, is too long")]
    TooLong,
}

impl Default for Answer {
    fn default() -> Self {
        Self { at: Part::Head, line: Vec::new(), status: None }
    }
}

impl Answer {
    /// Parses the next bytes, and appends those of the body to `body`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if this is not an answer. The bytes after that mean nothing.
    pub fn take(&mut self, mut bytes: &[u8], body: &mut Vec<u8>) -> Result<(), Malformed> {
        while let Some((first, rest)) = bytes.split_first() {
            match self.at {
                Part::Counted(left) | Part::Chunk(left) => {
                    let length = left.min(bytes.len() as u64) as usize;
                    body.extend_from_slice(&bytes[..length]);
                    bytes = &bytes[length..];
                    let left = left - length as u64;
                    self.at = match (self.at, left) {
                        (Part::Chunk(_), 0) => Part::ChunkEnd,
                        (Part::Chunk(_), left) => Part::Chunk(left),
                        (_, 0) => Part::End,
                        (_, left) => Part::Counted(left),
                    };
                }
                Part::Endless => {
                    body.extend_from_slice(bytes);
                    return Ok(());
                }
                Part::End => return Ok(()),
                Part::Head => {
                    self.line.push(*first);
                    bytes = rest;
                    if self.line.ends_with(b"\r\n\r\n") {
                        self.at = self.head()?;
                        self.line = Vec::new();
                    } else if self.line.len() >= LONGEST_HEAD {
                        return Err(Malformed::TooLong);
                    }
                }
                Part::ChunkSize | Part::ChunkEnd | Part::Trailer => {
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

    /// The status, once the head is complete.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the whole answer has arrived.
    pub fn is_complete(&self) -> bool {
        self.at == Part::End
    }

    /// Whether the connection may end here without cutting the answer off.
    pub fn may_end(&self) -> bool {
        matches!(self.at, Part::End | Part::Endless)
    }

    fn head(&mut self) -> Result<Part, Malformed> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut response = Response::new(&mut headers);
        match response.parse(&self.line) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed::Head),
        }
        let status = response.code.ok_or(Malformed::Head)?;
        if (100..200).contains(&status) {
            return Ok(Part::Head);
        }
        self.status = Some(status);
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(found.value).trim().to_ascii_lowercase())
        };
        if header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            return Ok(Part::ChunkSize);
        }
        Ok(match header("content-length") {
            _ if status == 204 || status == 304 => Part::End,
            None => Part::Endless,
            Some(length) => match number(&length, 10).ok_or(Malformed::Length)? {
                0 => Part::End,
                length => Part::Counted(length),
            },
        })
    }

    /// Parses a line between chunks.
    fn between(&self) -> Result<Part, Malformed> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match self.at {
            Part::ChunkSize => {
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size).ok().and_then(|size| number(size.trim(), 16));
                match size.ok_or(Malformed::Chunk)? {
                    0 => Ok(Part::Trailer),
                    size => Ok(Part::Chunk(size)),
                }
            }
            Part::Trailer if line.is_empty() => Ok(Part::End),
            Part::Trailer => Ok(Part::Trailer),
            Part::ChunkEnd if line.is_empty() => Ok(Part::ChunkSize),
            Part::ChunkEnd | Part::Head | Part::Counted(_) | Part::Endless | Part::Chunk(_) | Part::End => {
                Err(Malformed::Chunk)
            }
        }
    }
}

/// Parses a number without a sign. `from_str_radix` alone would accept `+4`.
fn number(text: &str, radix: u32) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
    digits.then(|| u64::from_str_radix(text, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                             5\r\nabc\nd\r\nB;note=1\r\ne\nfghijklmn\r\n0\r\nTrailer: 1\r\n\r\n";

    fn parsed(answer: &[u8], step: usize) -> Result<(Answer, Vec<u8>), Malformed> {
        let (mut parser, mut body) = (Answer::default(), Vec::new());
        for piece in answer.chunks(step) {
            parser.take(piece, &mut body)?;
        }
        Ok((parser, body))
    }

    #[test]
    fn a_body_is_the_same_in_pieces_of_any_length() {
        for step in 1..CHUNKED.len() {
            let (answer, body) = parsed(CHUNKED, step).unwrap();
            assert_eq!(body, b"abc\nde\nfghijklmn");
            assert_eq!((answer.status(), answer.is_complete()), (Some(200), true), "in pieces of {step}");
        }
    }

    #[test]
    fn a_body_with_a_length_ends_and_one_without_does_not() {
        let (answer, body) = parsed(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nabcd", 1).unwrap();
        assert_eq!((body.as_slice(), answer.status(), answer.is_complete()), (&b"abc"[..], Some(400), true));

        let (answer, body) = parsed(b"HTTP/1.0 200 OK\r\n\r\nabcd", 3).unwrap();
        assert_eq!((body.as_slice(), answer.is_complete(), answer.may_end()), (&b"abcd"[..], false, true));

        let (answer, _) = parsed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcd", 3).unwrap();
        assert!(!answer.may_end(), "it was cut");
    }

    #[test]
    fn malformed_answers_are_refused() {
        let refused = |answer: &[u8]| parsed(answer, 7).map(|_| ()).unwrap_err();
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
