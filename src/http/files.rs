//! Reads the files that a request needs, or that are a config: only regular files, only up to a limit. A stamp tells
//! whether a file needs to be read again.

use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use crate::os;
use otelet_core::units::format_size;

/// Tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) modified: SystemTime,
    pub(crate) len: u64,
}

/// Takes the stamp of a file, or of the target of a link.
///
/// # Errors
///
/// The system's error, and one for anything but a regular file.
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Stamp { modified: metadata.modified()?, len: metadata.len() })
}

/// Reads a regular file up to a limit, in bytes. It never waits for a writer, as a read from a FIFO would.
///
/// # Errors
///
/// The system's error, and one for anything but a regular file and for a larger file.
pub(crate) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = os::open_regular(path)?;
    let len = file.metadata()?.len();
    let too_large = || io::Error::other(format!("is larger than {}", format_size(limit)));
    if len > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(len as usize + 1);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}
