//! The settings, as far as decisions depend on them.

use std::sync::Arc;
use std::time::Duration;

use super::data::alert::AlertSettings;
use super::data::check::CheckPlan;
use super::data::collector::OnReplaced;
use super::data::docker::EngineSettings;
use super::data::export::ExportParams;

/// The settings that decisions depend on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params {
    /// The locations of the config sources, in order and without secrets. Without any, the last good config simply
    /// runs.
    pub sources: Arc<[String]>,
    /// How long the first source may be silent before the others are asked.
    pub fallback_after: Duration,
    /// Time between polls, unless a server sets another.
    pub poll_every: Duration,
    /// Time between asking the collector to stop and killing it.
    pub stop_timeout: Duration,
    /// The time that a collector has to become healthy after its start.
    pub start_timeout: Duration,
    /// The reaction to a collector's program that was replaced.
    pub on_replaced: OnReplaced,
    /// How long a new config must stay healthy to become the last good one.
    pub probation: Duration,
    /// Time between plain reports; none without `report.url`.
    pub report_every: Option<Duration>,
    /// How long the service manager waits for a sign of life; none without a watchdog.
    pub watchdog: Option<Duration>,
    /// The most time between two samples of the host.
    pub sample_every: Duration,
    /// The settings of exports; none if nothing is exported.
    pub export: Option<ExportParams>,
    /// The rules of the alerts: a metric, a threshold and a time each.
    pub alerts: Vec<AlertSettings>,
    /// Labels that each alert of this host has.
    pub alert_labels: Vec<(String, String)>,
    /// Time between repetitions to the webhook; none without `webhook.url`.
    pub webhook_every: Option<Duration>,
    /// The Docker engine to watch; none if no engine is watched.
    pub docker: Option<EngineSettings>,
    /// The checks, in the order of the settings.
    pub checks: Arc<[CheckPlan]>,
}
