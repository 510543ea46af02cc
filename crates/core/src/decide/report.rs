//! What is true now, computed from the state and never stored beside it.

use std::time::Instant;

use super::alert::AlertsReport;
use super::collector::{Collector, LastExit, Phase, Run};
use super::delivery::Deliveries;
use super::poll::Exchanges;
use super::rollout::{Refused, Rollout};
use super::sources::Serving;
use super::{Agent, ConfigHash, Witness};

/// Remote config status, in OpAMP's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
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
pub struct Report {
    /// What became of the config received last.
    pub status: Status,
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
    pub refused: Vec<Refused>,
    /// The collector.
    pub collector: CollectorReport,
    /// The source that answered last.
    pub serving: Option<Serving>,
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
    pub checks: Vec<super::check::Seen>,
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

pub(super) fn compute(agent: &Agent) -> Report {
    let Agent { collector, rollout, poll, sources, reporting, exporting, alerts, checks, .. } = agent;
    let record = rollout.record();
    let (status, message) = status(rollout);
    Report {
        status,
        message,
        remote: record.remote,
        effective: collector.running(),
        last_good: record.last_good,
        previous: record.previous,
        candidate: rollout.on_trial(),
        refused: record.refused.clone(),
        collector: collector_report(collector),
        serving: sources.shown().cloned(),
        exchanges: poll.exchanges().clone(),
        reports: reporting.reports().clone(),
        exports: exporting.exports().clone(),
        next_exchange: poll.due().map(|due| due.at),
        alerts: alerts.report(),
        checks: checks.seen(),
    }
}

fn status(rollout: &Rollout) -> (Status, String) {
    let Some(remote) = rollout.record().remote else {
        return (Status::Unset, String::new());
    };
    if let Some(refused) = rollout.barred(remote) {
        return (Status::Failed, refused.reason.clone());
    }
    if let Some(trouble) = rollout.trouble(remote) {
        return (Status::Failed, trouble.into());
    }
    if rollout.record().last_good == Some(remote) && rollout.on_trial().is_none() {
        return (Status::Applied, String::new());
    }
    (Status::Applying, String::new())
}

fn collector_report(collector: &Collector) -> CollectorReport {
    let (state, pid, since, witness, healthy, trouble) = match collector.phase() {
        Phase::Idle => (CollectorState::Idle, None, None, None, false, None),
        Phase::Held { reason, .. } => (CollectorState::Held, None, None, None, false, Some(reason.clone())),
        Phase::Waiting { .. } => (CollectorState::Waiting, None, None, None, false, None),
        Phase::Starting { .. } => (CollectorState::Starting, None, None, None, false, None),
        Phase::Up(Run { pid, since, witness, health, .. }) => (
            CollectorState::Up,
            Some(*pid),
            Some(*since),
            Some(*witness),
            health.is_healthy(),
            health.trouble().map(str::to_owned),
        ),
        Phase::Stopping { pid, hung, .. } => (CollectorState::Stopping, Some(*pid), None, None, false, hung.clone()),
    };
    let (restarts, last_exit) = (collector.restarts(), collector.last_exit().cloned());
    let without_engine = collector.waits_for_engine();
    CollectorReport { state, pid, since, witness, healthy, trouble, without_engine, restarts, last_exit }
}
