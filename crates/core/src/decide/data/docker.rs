//! The Docker engine: which is watched, what it reports, and what is to be done with it.

use std::path::PathBuf;
use std::time::Duration;

/// Which engine is watched, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// Its socket.
    pub socket: PathBuf,
    /// The most time between two looks at the usage, zero being never.
    pub usage_every: Duration,
}

/// What the engine did.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// The stream is open; in words, by whom.
    StreamOpened(String),
    /// The stream broke, or could not be opened.
    StreamLost(String),
    /// A container changed.
    Changed,
    /// A look ended, well or not.
    Listed,
    /// The position among the events is on disk, or could not be put there.
    PositionKept(Result<(), String>),
}

/// What is to be done with the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EngineTask {
    /// Open the stream of events; answered by [`EngineEvent::StreamOpened`] and at its end by [`EngineEvent::StreamLost`].
    OpenStream,
    /// List the containers; answered by [`EngineEvent::Listed`].
    List {
        /// Read the usage of each as well.
        usage: bool,
    },
    /// Put the position among the events on disk; answered by [`EngineEvent::PositionKept`].
    KeepPosition,
}
