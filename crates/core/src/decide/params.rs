//! The settings, as far as decisions depend on them.

use std::sync::Arc;
use std::time::Duration;

use super::data::alert::AlertSettings;
use super::data::check::CheckPlan;
use super::data::docker::EngineSettings;
use super::data::export::ExportParams;

/// What the settings say that decisions depend on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params {
    /// Where configs come from, in order and without secrets: without any the last good config simply runs.
    pub sources: Arc<[String]>,
    /// How long the first of them may be silent before the others are asked.
    pub fallback_after: Duration,
    /// Time between polls.
    pub poll_every: Duration,
    /// Time between asking the collector to stop and killing it.
    pub stop_timeout: Duration,
    /// How long a new config must stay healthy to become the last good one.
    pub probation: Duration,
    /// Time between plain reports, if somebody wants them.
    pub report_every: Option<Duration>,
    /// How long a service manager waits for a sign of life.
    pub watchdog: Option<Duration>,
    /// The most time between two samples of the host.
    pub sample_every: Duration,
    /// What the settings say of exports, if there are any.
    pub export: Option<ExportParams>,
    /// The thresholds.
    pub alerts: Vec<AlertSettings>,
    /// Labels that each alert of this host has.
    pub alert_labels: Vec<(String, String)>,
    /// Time between repetitions to the webhook, if there is one.
    pub webhook_every: Option<Duration>,
    /// The Docker engine that is watched.
    pub docker: Option<EngineSettings>,
    /// The checks.
    pub checks: Arc<[CheckPlan]>,
}
