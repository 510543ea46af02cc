//! The report: the state of the agent, computed when it is asked for and never stored beside that state.

use std::time::Instant;

use super::alert::AlertsReport;
use super::check::CheckReport;
use super::collector::{LastExit, Witness};
use super::delivery::Deliveries;
use super::hash::ConfigHash;
use super::record::Refusal;
use super::source::{ActiveSource, Exchanges};

/// Remote config status, in OpAMP's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteConfigStatus {
    /// Nothing was ever received.
    Unset,
    /// What was received last is being checked or tried.
    Applying,
    /// What was received last runs and has survived its probation.
    Applied,
    /// What was received last does not run, for a reason.
    Failed,
}

/// The state of the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorState {
    /// There is no config to run.
    Idle,
    /// It cannot be started.
    Held,
    /// It is started again after a while.
    Waiting,
    /// It is being started.
    Starting,
    /// It runs.
    Up,
    /// It was asked to end.
    Stopping,
}

/// What every exchange carries, and what `otelet status` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentReport {
    /// What became of the config received last.
    pub status: RemoteConfigStatus,
    /// Why it failed, else empty.
    pub message: String,
    /// The hash received last.
    pub remote: Option<ConfigHash>,
    /// The config that the collector runs on.
    pub effective: Option<ConfigHash>,
    /// The newest config that survived its probation.
    pub last_good: Option<ConfigHash>,
    /// The one before.
    pub previous: Option<ConfigHash>,
    /// The config in its probation.
    pub candidate: Option<ConfigHash>,
    /// Configs that were refused, oldest first.
    pub refused: Vec<Refusal>,
    /// The collector.
    pub collector: CollectorReport,
    /// The source that answered last.
    pub serving: Option<ActiveSource>,
    /// Exchanges so far.
    pub exchanges: Exchanges,
    /// Plain reports so far.
    pub reports: Deliveries,
    /// Exports so far.
    pub exports: Deliveries,
    /// When the next exchange is due, unless one is out.
    pub next_exchange: Option<Instant>,
    /// What is held against thresholds.
    pub alerts: AlertsReport,
    /// The checks that the settings name.
    pub checks: Vec<CheckReport>,
}

/// What is known of the collector.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectorReport {
    /// The state that it is in.
    pub state: CollectorState,
    /// Its process.
    pub pid: Option<u32>,
    /// Since when it runs.
    pub since: Option<Instant>,
    /// What vouches for its health.
    pub witness: Option<Witness>,
    /// Whether it is up and the witness vouches for it.
    pub healthy: bool,
    /// What the last probe complained of, or why it cannot be started.
    pub trouble: Option<String>,
    /// Whether it runs without what reads a Docker engine in its config, until there is one.
    pub without_engine: bool,
    /// Starts after an end that nobody asked for.
    pub restarts: u64,
    /// The last end that nobody asked for.
    pub last_exit: Option<LastExit>,
}
