//! Files that a request is made from or that are a config themselves: only if they are regular, only up to a limit, and
//! with a stamp that says whether they need reading again.

use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use crate::os;
use otelet_core::units::format_size;

/// What tells one state of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) modified: SystemTime,
    pub(crate) len: u64,
}

/// Looks at a file, or at the one that a link leads to.
///
/// # Errors
///
/// For anything but a regular file, beside what the system says.
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Stamp { modified: metadata.modified()?, len: metadata.len() })
}

/// Reads a regular file up to a limit, in bytes. It never waits for a writer, as reading a FIFO does.
///
/// # Errors
///
/// For anything but a regular file, and for a larger one, beside what the system says.
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
