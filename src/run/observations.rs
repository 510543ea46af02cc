//! Observations: samples of the host, the Docker engine, the checks. Each is measured when the decisions ask for it.

use super::checks::{self, BuiltInChecks};
use super::context::Context;
use super::decisions::moment;
use super::docker::Docker;
use super::threads;
use crate::observe::check::{self, FinishedCheck};
use crate::observe::host::{Host, Sample, SampleResult};
use crate::settings::CheckSettings;
use otelet_core::decide::{AgentReport, Event};
use otelet_core::telemetry::Snapshot;

pub(super) struct Observations {
    host: Host,
    /// The last sample.
    pub(super) sample: Sample,
    pub(super) docker: Docker,
    pub(super) built_in: BuiltInChecks,
}

impl Observations {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            host: Host::new(&context.settings.host.root),
            sample: Sample::default(),
            docker: Docker::default(),
            built_in: BuiltInChecks::default(),
        }
    }

    /// Takes a sample of the host and of its collector.
    pub(super) fn take_sample(&mut self, context: &Context, collector: Option<u32>) -> Vec<Snapshot> {
        self.host.set_root(&context.settings.host.root);
        let at = moment();
        let SampleResult { sample, snapshots, job } =
            self.host.sample(collector, at.now, at.wall, context.wants_points());
        self.sample = sample;
        if let Some(job) = job
            && let Err(why) = threads::start("mounts", job)
        {
            log::warn!("network file systems are not sampled: {why}");
        }
        snapshots
    }

    /// The states of all checks, which are told with each sample.
    pub(super) fn check_states(&self, report: &AgentReport) -> Snapshot {
        check::state_points(self.built_in.statuses(report).iter(), moment().wall)
    }

    pub(super) fn begin_check(&self, context: &Context, index: usize, generation: u64) -> Option<Event> {
        checks::begin(context, index, generation)
    }

    /// The points of a check that has ended, if they are used.
    pub(super) fn check_points(
        &self,
        context: &Context,
        settings: &CheckSettings,
        checked: &FinishedCheck,
    ) -> Option<Snapshot> {
        context.wants_points().then(|| check::points(settings, checked, moment().wall))
    }
}
