//! The inbox: the config that a server announced last, on disk before anything else is done with it.
//!
//! For servers that announce a config once and keep no acknowledgement. An agent that is killed between the announcement
//! and the first record of it finds it here at its next start, and one that has lost a body to a full disk need not ask
//! for what nobody would send again. It stays until the next announcement takes its place.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::http::read_regular;
use crate::store::{self, StoreError};
use otelet_core::decide::ConfigHash;

/// The most that is read of the file, in bytes: the largest body that the settings allow, and its first line.
const LARGEST: u64 = (64 << 20) + 4096;

/// The first line of the file, before the hash: what tells it from others, and this form from later ones.
const HEAD: &str = "otelet inbox 1 ";

/// The file `inbox` in the state directory: a line with the body's SHA-256 and the server that it came from, then the body
/// byte for byte.
pub struct Inbox {
    path: PathBuf,
    /// Who is asked, without secrets: what another server announced is not for this one's agents.
    server: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What is in the file, or should be.
    hash: Option<ConfigHash>,
    /// The body itself, while the disk would not take it.
    body: Option<Arc<[u8]>>,
}

/// A body with its hash.
pub type Body = (ConfigHash, Arc<[u8]>);

/// Why the file is of no use.
enum Trouble {
    /// The system's words.
    Unreadable(String),
    /// It was read, and is not what was written.
    Foreign(String),
}

impl Inbox {
    /// Reads what is there. The second value says what was wrong with it, if anything was: never a reason not to start.
    pub fn open(state_dir: &Path, server: &str) -> (Self, Option<String>) {
        let inbox = Self { path: state_dir.join("inbox"), server: one_line(server), held: Mutex::default() };
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

    /// Puts a body on disk, unless it is there already. When this returns, a power cut does not lose it any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be made durable; it is then held in memory until the next one.
    pub fn put(&self, body: &Arc<[u8]>) -> Result<(), StoreError> {
        let hash = otelet_config::hash(body);
        let mut held = self.lock();
        if held.hash == Some(hash) && held.body.is_none() {
            return Ok(());
        }
        let head = format!("{HEAD}{} {}\n", hash.hex(), self.server);
        let written = store::write_durably(&self.path, &[head.as_bytes(), body].concat());
        *held = Held { hash: Some(hash), body: written.is_err().then(|| body.clone()) };
        written
    }

    /// The body that was put last and its hash, if it is still whole. Reads the file: an exchange that began with other
    /// settings may have written it since.
    pub fn last(&self) -> Option<Body> {
        let mut held = self.lock();
        if let (Some(hash), Some(body)) = (held.hash, &held.body) {
            return Some((hash, body.clone()));
        }
        let found = self.read().ok().flatten();
        // If it is gone, the next announcement is written whatever it is.
        held.hash = found.as_ref().map(|(hash, _)| *hash);
        found
    }

    /// `None` if there is no file, or one of another server.
    fn read(&self) -> Result<Option<Body>, Trouble> {
        let foreign = |why: &str| Trouble::Foreign(why.to_owned());
        let bytes = match read_regular(&self.path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Trouble::Unreadable(error.to_string())),
        };
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| foreign("it has no first line"))?;
        let head = std::str::from_utf8(&bytes[..end]).ok();
        let head = head.and_then(|head| head.strip_prefix(HEAD)?.split_once(' '));
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

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while it is held")
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
    fn what_was_put_is_there_after_a_restart_until_the_next_one() {
        let dir = Dir::new();
        let inbox = open(&dir);
        assert_eq!(inbox.last(), None);

        for text in ["{\"a\":\r\n10485760}\u{2028}", "b", ""] {
            open(&dir).put(&body(text)).unwrap();
            assert_eq!(open(&dir).last(), last(text), "byte for byte");
        }
    }

    #[test]
    fn the_same_again_is_not_written_again() {
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
    fn a_torn_empty_or_foreign_inbox_is_set_aside_and_no_reason_to_stop() {
        let dir = Dir::new();
        let path = dir.path("inbox");
        open(&dir).put(&body("receivers: {}")).unwrap();
        let whole = fs::read(&path).unwrap();
        let flipped: Vec<u8> = whole.iter().enumerate().map(|(at, b)| b ^ u8::from(at + 1 == whole.len())).collect();
        let cuts = (0..whole.len()).map(|end| whole[..end].to_vec());
        for content in cuts.chain([flipped, b"{}\n".to_vec(), vec![0xff; 100], [&whole[..], b"#"].concat()]) {
            fs::write(&path, &content).unwrap();
            let (inbox, complaint) = Inbox::open(&dir.path(""), SERVER);
            let complaint = complaint.expect("it is said");
            assert!(complaint.contains("inbox: cannot be used: "), "{complaint}");
            assert!(complaint.contains("set aside as") && dir.path("inbox.broken").exists(), "{complaint}");
            assert_eq!(inbox.last(), None);
            inbox.put(&body("good")).unwrap();
            assert_eq!(open(&dir).last(), last("good"));
        }
    }

    #[test]
    fn what_another_server_announced_is_left_alone() {
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
    fn a_disk_that_takes_nothing_does_not_lose_it_while_the_agent_lives() {
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
