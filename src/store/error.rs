//! The errors of the state directory.

use std::io;
use std::path::PathBuf;

use otelet_core::decide::ConfigHash;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another agent uses it.
    #[error(
        "{path}: another agent is running on this state directory; stop it, or give this one a state_dir of its own"
    )]
    InUse { path: PathBuf },
    /// Another agent, with another state directory, has its status there.
    #[error(
        "{dir}: another agent has this runtime directory{}; stop it, or give this one a runtime_dir of its own",
        owner.as_ref().map_or(String::new(), |owner| format!(", the one whose state_dir is {owner}"))
    )]
    RuntimeInUse {
        dir: PathBuf,
        /// The other agent's state directory.
        owner: Option<String>,
    },
    /// A file or directory cannot be read or written.
    #[error("{path}: cannot {what}")]
    Io {
        path: PathBuf,
        what: &'static str,
        #[source]
        cause: io::Error,
    },
    /// A file is larger than any that the agent writes.
    #[error("{path}: {size} bytes, the most read is {limit}")]
    TooLarge { path: PathBuf, size: u64, limit: u64 },
    /// The hash of a body differs from its name.
    #[error("{path}: is not what was written there: its SHA-256 is {found}")]
    Torn {
        path: PathBuf,
        /// The hash of the content.
        found: ConfigHash,
    },
}

impl StoreError {
    /// Whether the content is gone, so that reading it again does not help.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Torn { .. } | Self::TooLarge { .. } => true,
            Self::Io { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
            Self::InUse { .. } | Self::RuntimeInUse { .. } => false,
        }
    }

    /// Whether there is no room for a file.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { cause, .. } if matches!(cause.kind(), StorageFull | QuotaExceeded))
    }

    /// The message with its causes, in one line.
    pub fn chain(&self) -> String {
        otelet_core::text::chain(self)
    }
}
