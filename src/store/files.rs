//! Files that are whole or not there: written beside, synced and renamed; what is broken is set aside.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::StoreError;
use crate::os;

/// Torn files that are kept for a person to look at.
pub(super) const BROKEN_KEPT: usize = 4;

/// Reads a file of at most this many bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let tell = |what| move |cause| StoreError::Io { path: path.into(), what, cause };
    let file = File::open(path).map_err(tell("open"))?;
    let size = file.metadata().map_err(tell("read"))?.len();
    if size > limit {
        return Err(StoreError::TooLarge { path: path.into(), size, limit });
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(tell("read"))?;
    Ok(bytes)
}

/// Writes a file so that there is the old one or the new one, whatever happens in between.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = write_synced(path, bytes)?;
    let tell = |what| move |cause| StoreError::Io { path: path.into(), what, cause };
    os::rename_durably(&temporary, path).map_err(tell("rename"))?;
    os::sync_dir(path.parent().unwrap_or(Path::new("."))).map_err(tell("sync the directory of"))
}

/// Writes a file that need not survive a power cut, but is never seen half written.
///
/// # Errors
///
/// [`StoreError::Io`] with what was tried.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary(path);
    let tell = |what| move |cause| StoreError::Io { path: path.into(), what, cause };
    let write = || os::private_file(&temporary).and_then(|mut file| file.write_all(bytes));
    let written = match (write(), path.parent()) {
        // Somebody tidied the directory away: it is needed for more than this file.
        (Err(cause), Some(directory)) if cause.kind() == io::ErrorKind::NotFound => {
            os::private_dir(directory).and_then(|()| write())
        }
        (written, _) => written,
    };
    written.map_err(tell("write"))?;
    os::rename(&temporary, path).map_err(tell("rename"))
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<PathBuf, StoreError> {
    let temporary = temporary(path);
    let write = || -> io::Result<()> {
        let mut file = os::private_file(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    match write() {
        Ok(()) => Ok(temporary),
        Err(cause) => {
            // Half a file on a full disk is in the way of a whole one.
            let _ = fs::remove_file(&temporary);
            Err(StoreError::Io { path: path.into(), what: "write", cause })
        }
    }
}

pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Renames what cannot be read, so that a person can look at it and nobody stumbles over it again.
pub(crate) fn set_aside(path: &Path, why: &str) -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".broken-{seconds}"));
    let aside = PathBuf::from(aside);
    forget_old_broken(path);
    match fs::rename(path, &aside) {
        Ok(()) => format!("{}: cannot be used: {why}; set aside as {}", path.display(), aside.display()),
        Err(error) => format!("{}: cannot be used: {why}; and not set aside: {error}", path.display()),
    }
}

fn forget_old_broken(path: &Path) {
    let Some(directory) = path.parent() else { return };
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut broken: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(".broken-"))
        .collect();
    broken.sort();
    for path in broken.iter().rev().skip(BROKEN_KEPT - 1) {
        let _ = fs::remove_file(path);
    }
}
