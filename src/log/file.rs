//! A log file that limits its own size, for hosts without log rotation.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::os;

/// The limit of the file, in bytes. The file before it, `.old`, has the same limit.
pub const LIMIT: u64 = 4 * 1024 * 1024;

/// A log file. When it is full, it is renamed to `.old` and replaces the previous one, so there are never more than two
/// of this size.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    limit: u64,
    has_stderr: bool,
}

impl LogFile {
    /// Opens the file and appends to its content.
    ///
    /// # Errors
    ///
    /// The system's error, and one for anything but a regular file.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        // A FIFO would wait for its reader, and a device has no end.
        if path.metadata().is_ok_and(|it| !it.is_file()) {
            return Err(io::Error::other("not a regular file"));
        }
        let file = match os::new_private_file(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => OpenOptions::new().append(true).open(path)?,
            // Other code may write to it through stderr. Appending never overwrites their lines.
            made => made.and_then(|_| OpenOptions::new().append(true).open(path))?,
        };
        let length = file.metadata()?.len();
        let mut log = Self { path: path.into(), file, length, limit, has_stderr: false };
        // Lines that others wrote were not counted. Checked at the start too, since an agent that restarts often would
        // else never reach the limit.
        if length >= limit {
            log.set_aside()?;
        }
        Ok(log)
    }

    /// Writes whole lines.
    ///
    /// # Errors
    ///
    /// The system's error. A part may have been written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + bytes.len() as u64 > self.limit {
            self.set_aside()?;
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Redirects stderr into this file as well.
    ///
    /// # Errors
    ///
    /// The system's error, if stderr cannot be redirected.
    pub fn take_stderr(&mut self) -> io::Result<()> {
        self.has_stderr = true;
        os::stderr_into(&self.file)
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let mut old = self.path.as_os_str().to_owned();
        old.push(".old");
        match os::rename(&self.path, Path::new(&old)) {
            // Another program has it open, or the directory is not writable. The limit matters more than the content.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                OpenOptions::new().write(true).truncate(true).open(&self.path)?;
                self.length = 0;
            }
            _ => {
                let new = Self::open(&self.path, self.limit)?;
                let had_stderr = self.has_stderr;
                *self = new;
                if had_stderr {
                    self.take_stderr()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("otelet-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        os::private_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_full_file_is_renamed_to_old() {
        let dir = place("full");
        let path = dir.join("otelet.log");
        let mut file = LogFile::open(&path, 20).unwrap();
        for line in ["one line\n", "two lines\n", "three\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(fs::read_to_string(dir.join("otelet.log.old")).unwrap(), "one line\ntwo lines\n");
        LogFile::open(&path, 20).unwrap().write(b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\nfour\n");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn lines_of_others_count_at_the_next_start() {
        let dir = place("others");
        let path = dir.join("otelet.log");
        fs::write(&path, "a line that is longer than the limit\n").unwrap();
        drop(LogFile::open(&path, 20).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_renamed_is_emptied() {
        let dir = place("stuck");
        let path = dir.join("otelet.log");
        fs::create_dir_all(dir.join("otelet.log.old/taken")).unwrap();
        let mut file = LogFile::open(&path, 20).unwrap();
        for line in ["one line\n", "two lines\n", "three\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_is_refused() {
        assert_eq!(LogFile::open(&std::env::temp_dir(), 20).unwrap_err().to_string(), "not a regular file");
    }
}
