//! The inbox: the config that a server announced last. It is written to disk before the agent does anything else with
//! it.
//!
//! It is for servers that announce a config once and keep no acknowledgement. An agent that is killed between the
//! announcement and its first record finds the config here at its next start. An agent that lost a body to a full disk
//! takes it from here, since the server would not send it again. The file stays until the next announcement replaces
//! it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::http::read_regular;
use crate::store::{self, StoreError};
use otelet_core::decide::ConfigHash;

/// The largest file that is read, in bytes: the largest body that the settings allow, and the first line.
const MAX_FILE: u64 = (64 << 20) + 4096;

/// The beginning of the first line, before the hash. It identifies the file and the version of its format.
const MAGIC: &str = "otelet inbox 1 ";

/// The file `inbox` in the state directory: a line with the body's SHA-256 and the server that it came from, then the
/// body byte for byte.
pub struct Inbox {
    path: PathBuf,
    /// The URL of the server, without secrets. A config that another server announced is not used.
    server: String,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// The hash of the body that is in the file, or should be.
    hash: Option<ConfigHash>,
    /// The body itself, if it could not be written.
    body: Option<Arc<[u8]>>,
}

pub type Body = (ConfigHash, Arc<[u8]>);

/// Why the file cannot be used.
enum Trouble {
    /// The system's error message.
    Unreadable(String),
    /// The content is not as the agent wrote it.
    Foreign(String),
}

impl Inbox {
    /// Opens the inbox. The second value says what was wrong with the file, if anything was: that never stops a start.
    pub fn open(state_dir: &Path, server: &str) -> (Self, Option<String>) {
        let inbox = Self { path: state_dir.join("inbox"), server: one_line(server), contents: Mutex::default() };
        let complaint = match inbox.read() {
            Ok(found) => {
                inbox.lock().hash = found.map(|(hash, _)| hash);
                None
            }
            Err(Trouble::Unreadable(why)) => Some(format!("{}: cannot be read: {why}", inbox.path.display())),
            Err(Trouble::Foreign(why)) => Some(inbox.set_aside(&why)),
        };
        (inbox, complaint)
    }

    /// Writes a body to disk, unless it is there already. Once this returns, a power cut does not lose it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be made durable; the body is then kept in memory until the next one comes.
    pub fn put(&self, body: &Arc<[u8]>) -> Result<(), StoreError> {
        let hash = otelet_config::hash(body);
        let mut contents = self.lock();
        if contents.hash == Some(hash) && contents.body.is_none() {
            return Ok(());
        }
        let head = format!("{MAGIC}{} {}\n", hash.hex(), self.server);
        let written = store::write_durably(&self.path, &[head.as_bytes(), body].concat());
        *contents = Contents { hash: Some(hash), body: written.is_err().then(|| body.clone()) };
        written
    }

    /// The last body and its hash, if the file is whole. The file is read each time: an exchange that began before a
    /// reload of the settings may have written it since.
    pub fn last(&self) -> Option<Body> {
        let mut contents = self.lock();
        if let (Some(hash), Some(body)) = (contents.hash, &contents.body) {
            return Some((hash, body.clone()));
        }
        let found = self.read().ok().flatten();
        // If the file is gone, the next announcement is written, even the same one.
        contents.hash = found.as_ref().map(|(hash, _)| *hash);
        found
    }

    /// `None` if there is no file, or if it is from another server.
    fn read(&self) -> Result<Option<Body>, Trouble> {
        let foreign = |why: &str| Trouble::Foreign(why.to_owned());
        let bytes = match read_regular(&self.path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Trouble::Unreadable(error.to_string())),
        };
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| foreign("it has no first line"))?;
        let head = std::str::from_utf8(&bytes[..end]).ok();
        let head = head.and_then(|head| head.strip_prefix(MAGIC)?.split_once(' '));
        let head = head.and_then(|(hash, server)| Some((ConfigHash::from_hex(hash)?, server)));
        let (hash, server) = head.ok_or_else(|| foreign("its first line is not one of ours"))?;
        let body = &bytes[end + 1..];
        if otelet_config::hash(body) != hash {
            return Err(foreign("it is torn: its bytes are not those that were written"));
        }
        Ok((server == self.server).then(|| (hash, body.into())))
    }

    fn set_aside(&self, why: &str) -> String {
        let (path, aside) = (&self.path, self.path.with_extension("broken"));
        match std::fs::rename(path, &aside) {
            Ok(()) => format!("{}: cannot be used: {why}; set aside as {}", path.display(), aside.display()),
            Err(error) => format!("{}: cannot be used: {why}; and not set aside: {error}", path.display()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no panic while it is held")
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, "")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::http::tests::Dir;

    const SERVER: &str = "https://api.example/agents/config-check";

    fn open(dir: &Dir) -> Inbox {
        let (inbox, complaint) = Inbox::open(&dir.path(""), SERVER);
        assert_eq!(complaint, None);
        inbox
    }

    fn body(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    fn last(text: &str) -> Option<Body> {
        Some((otelet_config::hash(text.as_bytes()), body(text)))
    }

    #[test]
    fn a_body_survives_a_restart_until_the_next_one_replaces_it() {
        let dir = Dir::new();
        let inbox = open(&dir);
        assert_eq!(inbox.last(), None);

        for text in ["{\"a\":\r\n10485760}\u{2028}", "b", ""] {
            open(&dir).put(&body(text)).unwrap();
            assert_eq!(open(&dir).last(), last(text), "byte for byte");
        }
    }

    #[test]
    fn the_same_body_is_written_once() {
        let dir = Dir::new();
        let inbox = open(&dir);
        inbox.put(&body("a")).unwrap();
        fs::remove_file(dir.path("inbox")).unwrap();
        inbox.put(&body("a")).unwrap();
        assert!(!dir.path("inbox").exists(), "not written");
        assert_eq!(inbox.last(), None, "and seen to be gone");
        inbox.put(&body("a")).unwrap();
        assert_eq!(open(&dir).last(), last("a"));
    }

    #[test]
    fn a_torn_empty_or_foreign_inbox_is_set_aside_with_a_warning() {
        let dir = Dir::new();
        let path = dir.path("inbox");
        open(&dir).put(&body("receivers: {}")).unwrap();
        let whole = fs::read(&path).unwrap();
        let flipped: Vec<u8> = whole.iter().enumerate().map(|(at, b)| b ^ u8::from(at + 1 == whole.len())).collect();
        let cuts = (0..whole.len()).map(|end| whole[..end].to_vec());
        for content in cuts.chain([flipped, b"{}\n".to_vec(), vec![0xff; 100], [&whole[..], b"#"].concat()]) {
            fs::write(&path, &content).unwrap();
            let (inbox, complaint) = Inbox::open(&dir.path(""), SERVER);
            let complaint = complaint.expect("a warning");
            assert!(complaint.contains("inbox: cannot be used: "), "{complaint}");
            assert!(complaint.contains("set aside as") && dir.path("inbox.broken").exists(), "{complaint}");
            assert_eq!(inbox.last(), None);
            inbox.put(&body("good")).unwrap();
            assert_eq!(open(&dir).last(), last("good"));
        }
    }

    #[test]
    fn the_inbox_of_another_server_is_not_used() {
        let dir = Dir::new();
        open(&dir).put(&body("theirs")).unwrap();
        let (other, complaint) = Inbox::open(&dir.path(""), "https://other.example/\r\n x");
        assert_eq!((complaint, other.last()), (None, None));
        assert_eq!(open(&dir).last(), last("theirs"));
        other.put(&body("ours")).unwrap();
        assert_eq!(open(&dir).last(), None);
        assert_eq!(Inbox::open(&dir.path(""), "https://other.example/\r\n x").0.last(), last("ours"));
    }

    #[test]
    fn a_body_that_cannot_be_written_is_kept_in_memory() {
        let dir = Dir::new();
        let inbox = open(&dir);
        // A directory in the way stands for a disk that is full.
        fs::create_dir_all(dir.path("inbox.new/x")).unwrap();
        let error = inbox.put(&body("a")).unwrap_err();
        assert!(error.chain().contains("cannot write"), "{}", error.chain());
        assert_eq!(inbox.last(), last("a"));
        fs::remove_dir_all(dir.path("inbox.new")).unwrap();
        inbox.put(&body("a")).unwrap();
        assert_eq!(open(&dir).last(), last("a"));
    }
}
