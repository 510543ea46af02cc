//! The report: computed from the state of the agent on demand, never stored beside it.

use std::time::Instant;

use super::alert::AlertsReport;
use super::check::CheckReport;
use super::collector::{LastExit, Witness};
use super::delivery::Deliveries;
use super::hash::ConfigHash;
use super::record::Refusal;
use super::source::{ActiveSource, Exchanges};

/// The remote config status, in OpAMP's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteConfigStatus {
    /// No config was ever received.
    Unset,
    /// The config received last is being checked or tried.
    Applying,
    /// The config received last runs and has survived its probation.
    Applied,
    /// The config received last does not run; the report has the reason.
    Failed,
}

/// The state of the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorState {
    /// No config is there to run.
    Idle,
    /// The collector cannot be started.
    Held,
    /// The collector waits for its next start.
    Waiting,
    /// The collector is being started.
    Starting,
    /// The collector runs, healthy or not.
    Up,
    /// The collector was asked to end.
    Stopping,
}

/// The report of the agent on itself: each exchange carries it, and `otelet status` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentReport {
    /// The status of the config received last.
    pub status: RemoteConfigStatus,
    /// The reason of a failed status, else empty.
    pub message: String,
    /// The hash of the config received last.
    pub remote: Option<ConfigHash>,
    /// The config that the collector runs on.
    pub effective: Option<ConfigHash>,
    /// The newest config that survived its probation.
    pub last_good: Option<ConfigHash>,
    /// The last good config before that.
    pub previous: Option<ConfigHash>,
    /// The config in its probation.
    pub candidate: Option<ConfigHash>,
    /// The time until which the config received last waits, because there were many changes.
    pub held_until: Option<Instant>,
    /// The refused configs, oldest first.
    pub refused: Vec<Refusal>,
    /// The report on the collector.
    pub collector: CollectorReport,
    /// The source that answered last.
    pub serving: Option<ActiveSource>,
    /// The exchanges since the start of the agent.
    pub exchanges: Exchanges,
    /// The plain reports since the start of the agent.
    pub reports: Deliveries,
    /// The exports since the start of the agent.
    pub exports: Deliveries,
    /// The time of the next exchange; none while one is under way.
    pub next_exchange: Option<Instant>,
    /// The report on the alerts.
    pub alerts: AlertsReport,
    /// The reports on the checks, in the order of the settings.
    pub checks: Vec<CheckReport>,
}

/// The report on the collector.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectorReport {
    /// The phase that it is in.
    pub state: CollectorState,
    /// The process id, if a process is running.
    pub pid: Option<u32>,
    /// The time of its start, while it is up.
    pub since: Option<Instant>,
    /// The time of its next start, while it waits for that.
    pub next_start: Option<Instant>,
    /// The source of its health, while it is up.
    pub witness: Option<Witness>,
    /// Whether it is up and its last probe was good.
    pub healthy: bool,
    /// The complaint of the last probe, or the reason why it cannot be started.
    pub trouble: Option<String>,
    /// Whether its Docker receivers are left out until the engine is back.
    pub without_engine: bool,
    /// The number of starts after an end that was not asked for.
    pub restarts: u64,
    /// The last end that was not asked for.
    pub last_exit: Option<LastExit>,
}
