//! The Docker engine: its settings, its events and the tasks with it.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of the Docker engine that is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// The path of its socket.
    pub socket: PathBuf,
    /// The most time between two readings of the usage; zero means never.
    pub usage_every: Duration,
}

/// An event of the engine, or the end of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// The stream of events is open. The text names the engine and its version.
    StreamOpened(String),
    /// The stream broke or could not be opened, for this reason.
    StreamLost(String),
    /// A container has changed.
    Changed,
    /// The containers were listed, or the listing failed.
    Listed,
    /// The usage of the listed containers was read, or could not be.
    Measured,
    /// The position in the stream was written to disk, or the write failed for this reason.
    PositionKept(Result<(), String>),
}

/// A task with the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EngineTask {
    /// Open the stream of events; answered by [`EngineEvent::StreamOpened`] and at its end by [`EngineEvent::StreamLost`].
    OpenStream,
    /// List the containers; answered by [`EngineEvent::Listed`].
    List {
        /// Whether to read the usage of each container after that; answered by [`EngineEvent::Measured`]. The containers
        /// may be listed again meanwhile.
        usage: bool,
    },
    /// Write the position in the stream to disk; answered by [`EngineEvent::PositionKept`].
    KeepPosition,
}
