//! Everything that the agent can ask for.

use super::data::alert::AlertMemory;
use super::data::docker::EngineTask;
use super::data::hash::ConfigHash;
use super::data::message::AlertMessage;
use super::data::record::Record;
use super::data::report::AgentReport;
use super::notice::Notice;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask a source; answered by `Event::Exchanged`.
    Exchange {
        /// Which, counted from the first of `Params::sources`.
        source: usize,
        /// What the source is told.
        report: Box<AgentReport>,
        /// Whether "unchanged" is an answer that serves.
        conditional: bool,
    },
    /// Look whether the body of a kept config is whole; answered by `Event::BodyChecked`.
    CheckBody(ConfigHash),
    /// Send a plain report; answered by `Event::Reported`.
    Report(Box<AgentReport>),
    /// Put the offered body on disk; answered by `Event::Kept`.
    Keep(ConfigHash),
    /// Have the collector validate a kept body; answered by `Event::Validated`.
    Validate(ConfigHash),
    /// End a validation that is running; its answer still comes.
    EndValidation,
    /// Put the record on disk; answered by `Event::Recorded`.
    Record {
        /// Counts up; a later write holds all that an earlier one did.
        generation: u64,
        /// What to write.
        record: Record,
    },
    /// Start the collector; answered by `CollectorEvent::Spawned`.
    Spawn {
        /// On which config.
        config: ConfigHash,
        /// Without what reads a Docker engine in it.
        without_engine: bool,
        /// Without what can be passed beside it.
        without_additions: bool,
    },
    /// Ask the collector to end.
    Terminate(u32),
    /// End the collector and its process group now.
    Kill(u32),
    /// Look at the collector's health; answered by `CollectorEvent::Probed`.
    Probe(u32),
    /// Take a sample of the host.
    Sample,
    /// Give the service manager a sign of life.
    SignOfLife,
    /// Log it, and keep it for reports.
    Tell(Notice),
    /// Tell the person who asked what became of it.
    Answer(Result<String, String>),
    /// Nothing is left to do: end the process.
    Quit,
    /// Export a batch of what waits; answered by `Event::Exported`.
    Export,
    /// Send a batch of alerts to the webhook; answered by `Event::AlertsSent`.
    SendAlerts(Vec<AlertMessage>),
    /// Put what must survive of the alerts on disk; answered by `Event::AlertsKept`.
    KeepAlerts(AlertMemory),
    /// Do something with the Docker engine.
    Docker(EngineTask),
    /// Do one of the checks; answered by `Event::Checked`.
    Check {
        /// Which one, in the settings.
        index: usize,
        /// A number that no check of other settings has.
        generation: u64,
    },
}
