//! The errors of the state directory.

use std::io;
use std::path::PathBuf;

use otelet_core::decide::ConfigHash;

/// What is wrong with the state directory.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another agent runs on it.
    #[error(
        "{path}: another agent is running on this state directory; stop it, or give this one a state_dir of its own"
    )]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// A file or directory cannot be read or written.
    #[error("{path}: cannot {what}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// What is read is not what was written.
    #[error("{path}: {size} bytes, the most read is {limit}")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A body whose hash is not its name.
    #[error("{path}: is not what was written there: its SHA-256 is {found}")]
    Torn {
        /// Which.
        path: PathBuf,
        /// The hash of what is there.
        found: ConfigHash,
    },
}

impl StoreError {
    /// The message with its causes, in one line.
    pub fn chain(&self) -> String {
        otelet_core::text::chain(self)
    }
}
