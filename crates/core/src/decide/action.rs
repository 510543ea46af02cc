//! Everything that the agent can ask the program around it to do.

use super::data::alert::AlertMemory;
use super::data::collector::Change;
use super::data::docker::EngineTask;
use super::data::hash::ConfigHash;
use super::data::message::AlertMessage;
use super::data::record::Record;
use super::data::report::AgentReport;
use super::notice::Notice;

/// A task for the program around the decisions.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask a source; answered by `Event::Exchanged`.
    Exchange {
        /// The source, counted from the first of `Params::sources`.
        source: usize,
        /// The report that the source gets.
        report: Box<AgentReport>,
        /// Whether the source may answer "unchanged".
        conditional: bool,
    },
    /// Check whether the body of a kept config is whole; answered by `Event::BodyChecked`.
    CheckBody(ConfigHash),
    /// Send a plain report to `report.url`; answered by `Event::Reported`.
    Report(Box<AgentReport>),
    /// Write the offered body to disk; answered by `Event::Kept`.
    Keep {
        /// The offered config.
        hash: ConfigHash,
        /// The config that should run, to be compared with it.
        beside: Option<ConfigHash>,
    },
    /// Have the collector validate a kept body; answered by `Event::Validated`.
    Validate(ConfigHash),
    /// End a validation that is running; its answer still comes.
    EndValidation,
    /// Write the record to disk; answered by `Event::Recorded`.
    Record {
        /// Counts up. A later write holds everything that an earlier one did.
        generation: u64,
        /// The whole record.
        record: Record,
    },
    /// Start the collector; answered by `CollectorEvent::Spawned`, or by `CollectorEvent::Unknown`.
    Spawn {
        /// The config to run on.
        config: ConfigHash,
        /// Whether to leave out the receivers that read a Docker engine.
        without_engine: bool,
        /// Whether to leave out the file that can be passed beside the config.
        without_additions: bool,
        /// Whether a program that was not asked for its capabilities yet must not be started.
        only_known: bool,
    },
    /// Ask the program on disk for its version and its capabilities; answered by `CollectorEvent::Learned`.
    Learn,
    /// Look whether another program, or another file of `collector.local`, lies on disk than at the start; answered by
    /// `CollectorEvent::Looked`.
    LookAtProgram,
    /// Ask the program on disk as above and have it validate this config with what lies on disk; answered by
    /// `CollectorEvent::ProgramTried`.
    TryProgram {
        /// The config that runs.
        config: ConfigHash,
        /// The reason for it.
        change: Change,
    },
    /// End both kinds of questions. Nobody waits for their answers any more.
    EndQuestions,
    /// Ask the collector with this process id to end.
    Terminate(u32),
    /// Kill the collector and its process group now.
    Kill(u32),
    /// Probe the collector's health; answered by `CollectorEvent::Probed`.
    Probe(u32),
    /// Take a sample of the host; answered by `Event::Measured`.
    Sample,
    /// Tell the service manager that the agent is alive.
    SignOfLife,
    /// Write this line to the log, and export it as an event if it is one.
    Tell(Notice),
    /// Answer the person who asked for a rollback or for cleared refusals.
    Answer(Result<String, String>),
    /// End the process: nothing is left to do.
    Quit,
    /// Export a batch of the waiting points and records; answered by `Event::Exported`.
    Export,
    /// Send a batch of alerts to the webhook; answered by `Event::AlertsSent`.
    SendAlerts(Vec<AlertMessage>),
    /// Write the memory of the alerts to disk; answered by `Event::AlertsKept`.
    KeepAlerts(AlertMemory),
    /// Do this task with the Docker engine.
    Docker(EngineTask),
    /// Run one of the checks; answered by `Event::Checked`.
    Check {
        /// The index of the check in the settings.
        index: usize,
        /// A number that no other check has, also after the settings changed.
        generation: u64,
    },
}
