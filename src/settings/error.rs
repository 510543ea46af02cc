//! Errors in the settings.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::exit;

/// A fault in the settings, and its place. It never holds a secret.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsError {
    pub place: Place,
    problem: String,
    #[source]
    cause: Option<io::Error>,
}

impl SettingsError {
    pub(crate) fn new(place: Place, problem: String) -> Self {
        Self { place, problem, cause: None }
    }

    pub(crate) fn caused(place: Place, problem: String, cause: Option<io::Error>) -> Self {
        Self { place, problem, cause }
    }

    /// [`exit::USAGE`] if a flag is wrong, else [`exit::SETTINGS`].
    pub fn exit_status(&self) -> u8 {
        match self.place {
            Place::Flag(_) => exit::USAGE,
            Place::Variable(_) | Place::File(_) | Place::Spot { .. } => exit::SETTINGS,
        }
    }
}

/// The place where a setting is set.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A flag, such as `--config-url`.
    Flag(String),
    /// The name of an environment variable.
    Variable(String),
    /// The settings file as a whole.
    File(PathBuf),
    /// A spot in the settings file.
    Spot {
        path: PathBuf,
        /// The line of the value, or of the key if the key is wrong, from 1.
        line: usize,
        /// The column in that line, in characters, from 1.
        column: usize,
        /// The key, such as `config.poll_every`. Empty for the file as a whole.
        key: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Place::Flag(name) | Place::Variable(name) => f.write_str(name),
            Place::File(path) => path.display().fmt(f),
            Place::Spot { path, line, column, key } => {
                write!(f, "{}:{line}:{column}", path.display())?;
                if key.is_empty() { Ok(()) } else { write!(f, ": {key}") }
            }
        }
    }
}
