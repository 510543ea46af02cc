//! The collector as a process: its start, its health and its end.

use std::fmt;
use std::time::SystemTime;

/// A collector process that has been started.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// The process id, also that of its process group.
    pub pid: u32,
    /// The path of its program.
    pub program: String,
    /// The source of its health.
    pub witness: Witness,
    /// Whether its config reads a Docker engine.
    pub engine: EngineUse,
    /// Whether it was given `more.yaml` or files of `collector.local`.
    pub additions: Additions,
}

/// Whether a collector was given the files that may be left out: `more.yaml` beside the built-in config, and those of
/// `collector.local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Additions {
    /// There are none for its config, or the collector finds them invalid.
    Unused,
    /// They were passed.
    Given,
    /// They were left out at this start.
    LeftOut,
}

/// Whether a collector reads a Docker engine. A collector with a Docker receiver does not start while the engine is
/// away; once up, it survives the loss of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineUse {
    /// The config has no Docker receiver, or none that could be left out.
    Unused,
    /// The Docker receivers are part of the config.
    Read,
    /// The Docker receivers were left out at this start.
    LeftOut,
}

/// The failure to start a collector at all.
#[derive(Debug, Clone, PartialEq)]
pub struct SpawnFailure {
    /// The reason, for people.
    pub reason: String,
}

/// The reaction to a replaced program that takes the config that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReplaced {
    /// The new program is started.
    #[default]
    Restart,
    /// The running one goes on until it is started anew for another reason.
    Wait,
}

/// The part on disk that is not as it was at the start of the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The thing that was changed.
    pub of: Changed,
    /// A number for what lies there now.
    pub number: u64,
}

/// The thing that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The collector's program.
    Program,
    /// A file of `collector.local`.
    Local,
}

/// The answer of a collector's program about a config.
#[derive(Debug, Clone, PartialEq)]
pub enum ProgramTrial {
    /// It takes the config; this is its version, or nothing.
    Takes(String),
    /// It takes the config, and nothing that it gets has changed.
    Same,
    /// It refuses the config, for this reason.
    Refuses(String),
    /// It could not be asked, for this reason.
    Unable(String),
}

/// The end of a collector process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exit {
    /// The exit status for people: `code 1` or `signal 9`.
    pub how: String,
    /// The exit code; none if a signal ended it, or if the end of another agent's process was seen.
    pub code: Option<i32>,
    /// The signal that ended it, on Unix.
    pub signal: Option<i32>,
    /// The last lines of its output, shortened.
    pub last_words: String,
    /// Whether it ended because another program took the port that the agent had picked for it.
    pub stolen_port: bool,
}

/// The last end of a collector that was not asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct LastExit {
    /// The exit status, or the reason for which the agent ended it.
    pub how: String,
    /// The last lines of its output.
    pub last_words: String,
    /// The time of the end, by the wall clock.
    pub at: SystemTime,
}

/// An event of the collector, or a wish about it.
#[derive(Debug, Clone, PartialEq)]
pub enum CollectorEvent {
    /// Time has passed, or the wanted config has changed.
    Due,
    /// The answer to `Action::Spawn`.
    Spawned(Result<Child, SpawnFailure>),
    /// The answer to `Action::Spawn` if another program lies on disk than the one that was asked last. Nothing was started.
    Unknown,
    /// The answer to `Action::Learn`: the program on disk was asked, or cannot be asked. Also if more became known of the
    /// one that runs.
    Learned,
    /// The answer to `Action::LookAtProgram`, also when a file of the host has changed: what is another one now than at
    /// the start.
    Looked(Option<Change>),
    /// The answer to `Action::TryProgram`.
    ProgramTried {
        /// The change for which it was asked.
        change: Change,
        /// Its answer.
        trial: ProgramTrial,
    },
    /// The process that was started has ended, and others that it started still run, as behind a script without `exec`.
    LeaderEnded {
        /// The process id, which may be that of an earlier collector.
        pid: u32,
    },
    /// A process ended, and nothing that it started is left.
    Exited {
        /// The process id, which may be that of an earlier collector.
        pid: u32,
        /// The exit status and the last output.
        exit: Exit,
    },
    /// A probe ended.
    Probed {
        /// The process that was probed.
        pid: u32,
        /// The result.
        probe: Probe,
    },
    /// Start it anew: the server asks for it, or its arguments or environment have changed.
    Restart,
    /// End it now, without waiting for an end in order.
    Hurry,
}

/// The source of the collector's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Its `health_check` extension answers 200.
    HealthCheck,
    /// It sends `READY=1` and `WATCHDOG=1` to the agent's notify socket.
    SdNotify,
    /// Only the process itself: it is alive and not stopped.
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

/// The result of one probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// The collector is healthy.
    Healthy,
    /// The collector answers that it is unhealthy, for this reason.
    Unhealthy(String),
    /// No answer, for this reason: refused, timed out, or the process is stopped.
    Silent(String),
}
