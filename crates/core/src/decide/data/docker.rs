//! The Docker engine: which is watched, what it reports, and what is to be done with it.

use std::path::PathBuf;
use std::time::Duration;

/// Which engine is watched, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its socket.
    pub socket: PathBuf,
    /// The most time between two looks at the usage, zero being never.
    pub usage_every: Duration,
}

/// What the engine did.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The stream is open; in words, by whom.
    Watching(String),
    /// The stream broke, or could not be opened.
    Lost(String),
    /// A container changed.
    News,
    /// A look ended, well or not.
    Looked,
    /// The position among the events is on disk, or could not be put there.
    Kept(Result<(), String>),
}

/// What is to be done with the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Do {
    /// Open the stream of events; answered by [`Input::Watching`] and at its end by [`Input::Lost`].
    Watch,
    /// List the containers; answered by [`Input::Looked`].
    Look {
        /// Read the usage of each as well.
        usage: bool,
    },
    /// Put the position among the events on disk; answered by [`Input::Kept`].
    Keep,
}
