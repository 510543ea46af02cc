//! Does the checks that are due, and knows how the agent and the collector themselves are.

use super::*;
use crate::observe::check::{self, FinishedCheck};
use crate::settings::CheckTarget;
use otelet_core::decide::CheckOutcome;
use otelet_wire::status::CheckStatus;

/// How the agent and the collector are: two checks that are always there, and cost nothing, since they are computed.
#[derive(Debug, Default)]
pub(super) struct BuiltInChecks {
    /// What is wrong with the settings that were read last.
    pub(super) settings: Option<String>,
    /// Why the last write to the state directory failed.
    disk: Option<String>,
    agent: Option<(bool, SystemTime)>,
    collector: Option<(bool, SystemTime)>,
}

impl BuiltInChecks {
    /// Learns from a write to the state directory how that is.
    pub(super) fn heard(&mut self, event: &Event) {
        if let Event::Kept { result, .. } | Event::Recorded { result, .. } = event {
            self.disk = result.as_ref().err().cloned();
        }
    }
}

impl Runner {
    /// Begins a check. One that cannot even begin has failed.
    pub(super) fn check(&self, index: usize, generation: u64) -> Option<Event> {
        let settings = self.settings.checks.get(index)?.clone();
        let redactor = check::redactor(&settings, &self.settings.secrets());
        if let CheckTarget::Exec { command } = &settings.target {
            let sender = self.sender.clone();
            let running = check::exec::check(command.clone(), settings.timeout, redactor, self.children.clone());
            let task = self.executor.spawn(async move {
                let checked = running.await;
                send(&sender, Message::Checked { generation, settings: Box::new(settings), checked });
            });
            task.detach();
            return None;
        }
        let http = self.settings.config.http();
        let job = move || {
            let checked = check::check(&settings, &http, &redactor);
            Message::Checked { generation, settings: Box::new(settings), checked }
        };
        let why = self.work_along("check", job).err()?;
        Some(Event::Checked { generation, outcome: CheckOutcome { result: Err(why.message), took: Duration::ZERO } })
    }

    pub(super) fn take_checked(&mut self, generation: u64, settings: &settings::CheckSettings, checked: FinishedCheck) {
        if self.told_of_points() {
            self.observed(check::points(settings, &checked, SystemTime::now()));
        }
        self.feed(Event::Checked { generation, outcome: checked.outcome });
    }

    /// Whether anybody wants points.
    pub(super) fn told_of_points(&self) -> bool {
        self.settings.export.to.is_some() || !self.settings.alerts.is_empty()
    }

    /// The states of the checks, told with each sample.
    pub(super) fn sample_checks(&mut self) {
        if self.told_of_points() {
            let checks = self.check_statuses(&self.agent.report());
            self.observed(check::state_points(checks.iter(), SystemTime::now()));
        }
    }

    /// Keeps since when the agent and the collector are as they are.
    pub(super) fn look_at_ourselves(&mut self, report: &otelet_core::decide::AgentReport) {
        let now = SystemTime::now();
        let agent = self.trouble_of_agent(report).is_none();
        let keep = |known: &mut Option<(bool, SystemTime)>, ok: bool| {
            if known.is_none_or(|(was, _)| was != ok) {
                *known = Some((ok, now));
            }
        };
        keep(&mut self.built_in_checks.agent, agent);
        keep(&mut self.built_in_checks.collector, report.collector.healthy);
    }

    fn trouble_of_agent(&self, report: &otelet_core::decide::AgentReport) -> Option<String> {
        let known = &self.built_in_checks;
        let settings = known.settings.as_ref().map(|why| format!("settings cannot be used: {why}"));
        let disk = known.disk.as_ref().map(|why| format!("state cannot be written: {why}"));
        let source = report.exchanges.last_error.as_ref().map(|why| format!("config source does not answer: {why}"));
        settings.or(disk).or(source)
    }

    pub(super) fn check_statuses(&self, report: &otelet_core::decide::AgentReport) -> Vec<CheckStatus> {
        let now = SystemTime::now();
        let since = |known: Option<(bool, SystemTime)>| known.map_or(now, |(_, since)| since);
        let collector = &report.collector;
        let trouble = (!collector.healthy).then(|| {
            collector
                .trouble
                .clone()
                .unwrap_or_else(|| format!("collector is {}", status::collector_state(collector.state)))
        });
        let known = &self.built_in_checks;
        let agent = check::built_in_status("otelet", "agent", self.trouble_of_agent(report), since(known.agent), now);
        let collector = check::built_in_status("collector", "collector", trouble, since(known.collector), now);
        [agent, collector].into_iter().chain(report.checks.iter().cloned().map(check::status_of)).collect()
    }
}
