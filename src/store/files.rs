//! Writes files that are whole or absent, by writing a temporary file, syncing and renaming it. Sets broken files
//! aside.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::StoreError;
use crate::os;

/// The number of broken files that are kept for a person to inspect.
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

/// Writes a file durably: after a crash there is the old file or the new one.
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
/// [`StoreError::Io`] with the step that failed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary(path);
    let tell = |what| move |cause| StoreError::Io { path: path.into(), what, cause };
    let write = || os::private_file(&temporary).and_then(|mut file| file.write_all(bytes));
    let written = match (write(), path.parent()) {
        // The directory was removed. It is made again, since other files need it too.
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
            // On a full disk, half a file would take the space of a whole one.
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

/// Renames a file that cannot be read, so that a person can inspect it and the agent does not read it again. Returns
/// the warning.
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
