//! Decides, and touches nothing: events in, actions out.
//!
//! Time, wall time and random numbers come in with each event ([`Moment`]). The agent answers with [`Action`]s; the program
//! around it does them and reports each result with one [`Event`]. There is no I/O, no clock and no randomness in this
//! folder: the lints below hold the wall, `.clippy.toml` names the functions behind it.
//!
//! A file uses only files of the lines above its own; `collector` also uses `docker`, and `alert` uses `webhook`:
//!
//! 1. `data/`: the types that events and actions carry, and the report. They decide nothing.
//! 2. `notice` (the log), `params` (the settings), `event`, `action`.
//! 3. `backoff`, `damping` (of changes between configs), `clock` (whose clock is right), `delivery` (the pace of reports, exports and alerts), `health` (judges
//!    probes).
//! 4. The concerns: `collector` keeps one collector alive, `rollout` decides which configuration it should run, `poll` when
//!    the sources are asked and `sources` which of them, `reporting` when plain reports are sent, `export` when measurements
//!    and events are, `alert` compares measurements with thresholds, `webhook` decides when the webhook gets alerts, `docker`
//!    when containers are listed, `check` when checks are made, `sample` when the host is sampled, `watchdog` when the
//!    service manager gets a sign of life.
//! 5. `agent`: [`Agent`] joins them. After each event it compares the wanted state with the actual one.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod action;
pub mod agent;
pub mod alert;
pub mod backoff;
pub mod check;
pub mod clock;
pub mod collector;
pub mod damping;
pub mod data;
pub mod delivery;
pub mod docker;
pub mod event;
pub mod export;
pub mod health;
pub mod notice;
pub mod params;
pub mod poll;
#[cfg(test)]
mod quiet;
pub mod reporting;
pub mod rollout;
pub mod sample;
#[cfg(test)]
mod simulation;
pub mod sources;
pub mod watchdog;
pub mod webhook;

pub use action::Action;
pub use agent::Agent;
pub use data::alert::{
    Alert, AlertMemory, AlertReport, AlertSettings, AlertSeverity, AlertState, AlertsReport, ResolvedAlert, Threshold,
};
pub use data::check::{CheckKind, CheckOutcome, CheckPlan, CheckReport, CheckResult};
pub use data::clock::Clocks;
pub use data::collector::{
    Additions, Change, Changed, Child, CollectorEvent, EngineUse, Exit, LastExit, OnReplaced, Probe, ProgramTrial,
    SpawnFailure, Witness,
};
pub use data::delivery::Deliveries;
pub use data::docker::{EngineEvent, EngineSettings, EngineTask};
pub use data::export::{ExportOutcome, ExportParams};
pub use data::failure::{Failure, FailureKind};
pub use data::hash::ConfigHash;
pub use data::message::AlertMessage;
pub use data::record::{Candidate, Record, Refusal, Verdict};
pub use data::report::{AgentReport, CollectorState, RemoteConfigStatus};
pub use data::source::{ActiveSource, ExchangeOutcome, Exchanges, Freshness, Validator};
pub use data::time::{Due, Moment};
pub use event::Event;
pub use notice::{Level, Notice};
pub use params::Params;
