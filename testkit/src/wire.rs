//! HTTP/1.1 as bytes on a connection, for servers of tests.

use std::io::{self, Read};

/// Reads a head, up to and including its empty line, and not a byte of what follows.
///
/// # Errors
///
/// The stream's own; `UnexpectedEof` if it ends before the head does.
pub fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let head = read_until(stream, b"\r\n\r\n")?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads up to and including these bytes, and not a byte of what follows.
///
/// # Errors
///
/// As [`read_head`].
pub fn read_until(stream: &mut impl Read, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line_and_the_body_stays_unread() {
        let mut stream = &b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"[..];
        assert_eq!(read_head(&mut stream).unwrap(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(stream, b"body");
        assert_eq!(read_head(&mut stream).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
