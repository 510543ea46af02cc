//! The collector as a process: how it was started, how it is, how it ended.

use std::fmt;
use std::time::SystemTime;

/// A collector that has been started.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Its process, also its process group.
    pub pid: u32,
    /// What vouches for its health.
    pub witness: Witness,
    /// What became of that which reads a Docker engine in its config.
    pub engine: EngineUse,
    /// Whether it was given what can be passed beside its config.
    pub additions: Additions,
}

/// Whether a collector was given the file that can be passed beside the built-in config, `more.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Additions {
    /// There is none for its config, or the collector finds it invalid.
    Unused,
    /// It was given the file.
    Given,
    /// It was started without the file.
    LeftOut,
}

/// What becomes of that which reads a Docker engine in a config. A collector that is started while the engine is away does
/// not come up with it; one that is up stays up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineUse {
    /// There is nothing of the kind, or nothing that could be left out.
    Unused,
    /// It is used.
    Read,
    /// It was left out.
    LeftOut,
}

/// Why a collector could not be started.
#[derive(Debug, Clone, PartialEq)]
pub struct SpawnFailure {
    /// For people.
    pub reason: String,
}

/// How a collector ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exit {
    /// For people: `code 1` or `signal 9`.
    pub how: String,
    /// The last of what it printed, made short.
    pub last_words: String,
    /// It ended because the port that the agent picked for it was taken.
    pub stolen_port: bool,
}

/// The last end that nobody asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct LastExit {
    /// How it ended, or why it was ended.
    pub how: String,
    /// The last of what it printed.
    pub last_words: String,
    /// When.
    pub at: SystemTime,
}

/// What happens to the collector.
#[derive(Debug, Clone, PartialEq)]
pub enum CollectorEvent {
    /// Time has passed, or what is wanted has changed.
    Due,
    /// The answer to `Action::Spawn`.
    Spawned(Result<Child, SpawnFailure>),
    /// A process ended.
    Exited {
        /// Which.
        pid: u32,
        /// How.
        exit: Exit,
    },
    /// A probe ended.
    Probed {
        /// Of which process.
        pid: u32,
        /// What it saw.
        probe: Probe,
    },
    /// Start it anew: the server wants that, or its arguments or environment have changed.
    Restart,
    /// Whatever is ending ends now.
    Hurry,
}

/// What vouches for the collector's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Its `health_check` extension answers 200.
    HealthCheck,
    /// It sends `READY=1` and `WATCHDOG=1` to the agent's notify socket.
    SdNotify,
    /// Nothing better than the process being alive and not stopped.
    Alive,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HealthCheck => "health_check",
            Self::SdNotify => "sd_notify",
            Self::Alive => "alive",
        })
    }
}

/// What one probe saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// The witness vouches for it.
    Healthy,
    /// The collector answers, and says that it is not well.
    Unhealthy(String),
    /// No answer: refused, timed out, or the process is stopped.
    Silent(String),
}
