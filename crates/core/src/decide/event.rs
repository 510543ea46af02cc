//! Everything that can happen to the agent.

use std::sync::Arc;
use std::time::Duration;

use super::data::check::CheckOutcome;
use super::data::clock::Clocks;
use super::data::collector::CollectorEvent;
use super::data::docker::EngineEvent;
use super::data::export::ExportOutcome;
use super::data::failure::Failure;
use super::data::hash::ConfigHash;
use super::data::record::Verdict;
use super::data::source::{ExchangeOutcome, Freshness, Validator};
use super::params::Params;
use crate::telemetry::Snapshot;

/// An occurrence outside the decisions: the result of an action, the end of a wait, or the wish of a person or a
/// server.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A deadline was reached. Harmless at any other time.
    Due,
    /// An exchange with a source ended.
    Exchanged {
        /// The source, as in `Action::Exchange`.
        source: usize,
        /// Whether the source was asked or an earlier answer was used.
        freshness: Freshness,
        /// The kind of value by which it can be asked for changes from now on.
        validator: Validator,
        /// The answer or the failure.
        outcome: ExchangeOutcome,
    },
    /// The store has checked the body of a kept config.
    BodyChecked {
        /// The config, as in `Action::CheckBody`.
        hash: ConfigHash,
        /// Whether the body on disk has the hash of the config.
        whole: bool,
    },
    /// Ask the source at once: it may have changed, or a person asked for it.
    Nudged,
    /// The body of an offered config was written to disk, or the write failed.
    Kept {
        /// The config, as in `Action::Keep`.
        hash: ConfigHash,
        /// Whether it differs from the config beside it in comments and blank lines alone.
        alike: bool,
        /// The reason of a failed write.
        result: Result<(), String>,
    },
    /// The collector's own `validate` ended.
    Validated {
        /// The config, as in `Action::Validate`.
        hash: ConfigHash,
        /// The verdict on the config.
        verdict: Verdict,
    },
    /// The record was written to disk, or the write failed.
    Recorded {
        /// The number of the write, as in `Action::Record`.
        generation: u64,
        /// The reason of a failed write.
        result: Result<(), String>,
    },
    /// An event of the collector's process.
    Collector(CollectorEvent),
    /// The settings were read again.
    Reconfigured {
        /// The new settings.
        params: Box<Params>,
        /// Whether the sources changed, even by a header alone. Knowledge about the old ones is then void.
        sources_replaced: bool,
        /// Whether only a new start lets the collector see the change.
        restart: bool,
    },
    /// The server sets the time between polls; zero returns to the time of the settings.
    Interval(Duration),
    /// The host, a container or a check was measured.
    Measured(Arc<Snapshot>),
    /// A part of the plain report has changed.
    ReportChanged,
    /// A plain report was accepted, or failed.
    Reported(Result<(), Failure>),
    /// A person asks for the config before the last good one.
    RollBack,
    /// A person asks that refused configs may be tried again.
    ClearRefused,
    /// A signal to stop came. The first one stops in order, a second one at once.
    Stop,
    /// An event from outside the decisions waits for an export.
    ExportQueued,
    /// An export ended, or failed.
    Exported(Result<ExportOutcome, Failure>),
    /// The webhook accepted a batch of alerts, or the sending failed.
    AlertsSent {
        /// The reason of a failure.
        result: Result<(), Failure>,
        /// The clock of the receiver, if its answer had a date.
        clocks: Option<Clocks>,
    },
    /// The labels of the host have changed, for alerts that fire from now on.
    Relabelled(Vec<(String, String)>),
    /// The memory of the alerts was written to disk, or the write failed for this reason.
    AlertsKept(Result<(), String>),
    /// An event of the Docker engine, or the end of a task with it.
    Docker(EngineEvent),
    /// A check ended.
    Checked {
        /// The number, as in `Action::Check`.
        generation: u64,
        /// The result and the time it took.
        outcome: CheckOutcome,
    },
}
