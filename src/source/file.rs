//! A config in a file. It is read only when it has changed, and only if it is a regular file of a size that is allowed.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::{Failure, FailureKind, Offer};
use crate::http::{Stamp, read_regular, stamp};
use otelet_core::units::format_size;

/// How old a change must be for the file to count as known. Clocks of file systems tick slowly (Linux: up to 10 ms,
/// FAT: 2 s), so a second change within the same tick would go unnoticed.
const SETTLED: Duration = Duration::from_secs(3);

/// The file that the settings name.
pub struct ConfigFile {
    path: PathBuf,
    max_size: u64,
    /// The version that was read last, once it is old enough to be told from the next one.
    last_read: Mutex<Option<FileVersion>>,
}

/// Tells one config from the next without reading it.
#[derive(Debug, Clone, PartialEq)]
struct FileVersion {
    /// The path with all links followed: in Kubernetes a new config is a new folder behind the link `..data`.
    resolved: PathBuf,
    stamp: Stamp,
}

impl ConfigFile {
    /// The path need not exist yet.
    pub fn new(path: PathBuf, max_size: u64) -> Self {
        Self { path, max_size, last_read: Mutex::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, or finds it unchanged if `conditional`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the kind `missing`, `size` or `read`.
    pub fn read(&self, conditional: bool) -> Result<Offer, Failure> {
        let mut last_read = self.last_read.lock().expect("no panic while it is held");
        let before = self.version()?;
        if conditional && *last_read == Some(before.clone()) {
            return Ok(Offer::Unchanged);
        }
        *last_read = None;
        if before.stamp.len > self.max_size {
            let [size, limit] = [before.stamp.len, self.max_size].map(format_size);
            let why = format!("is {size}, larger than config.max_size {limit}");
            return Err(self.failure(FailureKind::Size, &why));
        }
        let body = read_regular(&before.resolved, self.max_size).map_err(|e| self.unreadable(&e))?;
        if self.version()? != before || body.len() as u64 != before.stamp.len {
            return Err(self.failure(FailureKind::Read, "changed while it was read; waiting for its writer"));
        }
        let age = SystemTime::now().duration_since(before.stamp.modified);
        if age.is_ok_and(|age| age >= SETTLED) {
            *last_read = Some(before);
        }
        Ok(Offer::of(body))
    }

    /// Makes the next [`read`](Self::read) read the file, changed or not.
    pub fn forget(&self) {
        *self.last_read.lock().expect("no panic while it is held") = None;
    }

    fn version(&self) -> Result<FileVersion, Failure> {
        let resolved = self.path.canonicalize().map_err(|e| self.unreadable(&e))?;
        let stamp = stamp(&resolved).map_err(|e| self.unreadable(&e))?;
        Ok(FileVersion { resolved, stamp })
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::NotFound => self.failure(FailureKind::Missing, "does not exist yet; waiting for it"),
            std::io::ErrorKind::Other => self.failure(FailureKind::Read, &error.to_string()),
            _ => self.failure(FailureKind::Read, &format!("cannot read: {error}")),
        }
    }

    fn failure(&self, kind: FailureKind, why: &str) -> Failure {
        Failure { message: format!("{}: {why}", self.path.display()), kind, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::http::tests::Dir;

    /// Writes a file and makes it old enough to be remembered.
    fn write_old(path: &Path, body: &str, age: u64) {
        fs::write(path, body).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }

    fn body(offer: Result<Offer, Failure>) -> String {
        match offer {
            Ok(Offer::Config { body }) => String::from_utf8(body.to_vec()).unwrap(),
            other => panic!("a config, not {other:?}"),
        }
    }

    #[test]
    fn a_file_is_read_once_until_it_changes() {
        let dir = Dir::new();
        let path = dir.path("config.yaml");
        write_old(&path, "a: 1", 60);
        let config = ConfigFile::new(path.clone(), 100);

        assert_eq!(body(config.read(true)), "a: 1");
        assert_eq!(config.read(true), Ok(Offer::Unchanged));
        assert_eq!(body(config.read(false)), "a: 1", "when asked for it again");
        assert_eq!(config.read(true), Ok(Offer::Unchanged));

        write_old(&path, "a: 2", 50);
        assert_eq!(body(config.read(true)), "a: 2", "same size, another time");
        write_old(&path, "a: 33", 50);
        assert_eq!(body(config.read(true)), "a: 33");
    }

    #[test]
    fn a_file_written_a_moment_ago_is_read_again() {
        let dir = Dir::new();
        let path = dir.path("config.yaml");
        let config = ConfigFile::new(path.clone(), 100);
        fs::write(&path, "a: 1").unwrap();
        assert_eq!(body(config.read(true)), "a: 1");
        fs::write(&path, "a: 2").unwrap();
        assert_eq!(body(config.read(true)), "a: 2");
    }

    #[test]
    fn a_link_to_another_file_is_a_change_even_with_the_same_size_and_time() {
        let dir = Dir::new();
        let version = |name| {
            let path = dir.path(name);
            write_old(&path, "a: 1", 60);
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            ConfigFile::new(path, 100).version().unwrap()
        };
        let (one, two) = (version("one"), version("two"));
        assert_eq!(one.stamp, two.stamp);
        assert_ne!(one, two);
        assert_eq!(one, version("one"));
    }

    #[test]
    fn an_unreadable_file_is_named_with_the_reason() {
        let dir = Dir::new();
        let path = dir.path("config.yaml");
        let config = ConfigFile::new(path.clone(), 2048);
        let shown = path.display();

        let missing = config.read(true).unwrap_err();
        assert_eq!(missing.message, format!("{shown}: does not exist yet; waiting for it"));
        assert_eq!(missing.kind.word(), "missing");

        fs::write(&path, vec![b'#'; 2049]).unwrap();
        let large = config.read(true).unwrap_err();
        assert_eq!(large.message, format!("{shown}: is 2049B, larger than config.max_size 2KiB"));
        assert_eq!(large.kind.word(), "size");

        fs::write(&path, " \n").unwrap();
        assert_eq!(config.read(true), Ok(Offer::Empty));

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let folder = config.read(true).unwrap_err();
        assert_eq!(folder.message, format!("{shown}: not a regular file"));
        assert_eq!(folder.kind.word(), "read");
    }

    #[test]
    fn an_endless_device_is_refused() {
        // On Windows there is no such path, which is a failure as well.
        let failure = ConfigFile::new("/dev/zero".into(), 100).read(true).unwrap_err();
        assert!(["read", "missing"].contains(&failure.kind.word()), "{failure}");
    }
}
