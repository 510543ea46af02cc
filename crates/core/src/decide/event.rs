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
use super::data::source::{ExchangeOutcome, Freshness};
use super::params::Params;
use crate::telemetry::Snapshot;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A deadline was reached; also harmless at any other time.
    Due,
    /// An exchange with a source ended.
    Exchanged {
        /// Which, as in `Action::Exchange`.
        source: usize,
        /// When an answer was heard.
        freshness: Freshness,
        /// How.
        outcome: ExchangeOutcome,
    },
    /// The store has looked at the body of a kept config.
    BodyChecked {
        /// Which config.
        hash: ConfigHash,
        /// Whether it is there as it was received.
        whole: bool,
    },
    /// The source may have changed, or a person wants it asked: ask at once.
    Nudged,
    /// The body of an offered config is on disk, or could not be put there.
    Kept {
        /// Which config.
        hash: ConfigHash,
        /// The reason, when it failed.
        result: Result<(), String>,
    },
    /// The collector's own `validate` ended.
    Validated {
        /// Which config.
        hash: ConfigHash,
        /// What it said.
        verdict: Verdict,
    },
    /// A record is on disk, or could not be put there.
    Recorded {
        /// Which write, as numbered in `Action::Record`.
        generation: u64,
        /// The reason, when it failed.
        result: Result<(), String>,
    },
    /// Something happened to the collector.
    Collector(CollectorEvent),
    /// The settings were read again.
    Reconfigured {
        /// What decisions depend on.
        params: Box<Params>,
        /// The sources are other ones, if only by a header: what is known of the old ones does not hold for them.
        sources_replaced: bool,
        /// The collector must be started anew to see the change.
        restart: bool,
    },
    /// The server wants to be asked this often; zero gives the settings their say again.
    Interval(Duration),
    /// Something was measured.
    Measured(Arc<Snapshot>),
    /// Something that reports tell has changed.
    ReportChanged,
    /// A plain report was taken, or was not.
    Reported(Result<(), Failure>),
    /// A person wants the config before the last good one.
    RollBack,
    /// A person wants refused configs to be tried again.
    ClearRefused,
    /// A signal to stop came: the first asks to end in order, a second one to end at once.
    Stop,
    /// Something happened elsewhere that is exported.
    ExportQueued,
    /// An export ended, or failed.
    Exported(Result<ExportOutcome, Failure>),
    /// A batch of alerts was taken, or was not.
    AlertsSent {
        /// The reason, when it was not.
        result: Result<(), Failure>,
        /// The clock of the receiver, if it answered and told it.
        clocks: Option<Clocks>,
    },
    /// Alerts that fire from now on have these labels of the host.
    Relabelled(Vec<(String, String)>),
    /// What must survive of the alerts is on disk, or could not be put there: the reason.
    AlertsKept(Result<(), String>),
    /// A Docker engine did something.
    Docker(EngineEvent),
    /// A check came back.
    Checked {
        /// As in `Action::Check`.
        generation: u64,
        /// What came of it.
        outcome: CheckOutcome,
    },
}
