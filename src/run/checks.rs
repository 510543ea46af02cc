//! Begins the checks that are due, and computes the two built-in ones: the agent itself and its collector.

use std::time::{Duration, SystemTime};

use super::context::Context;
use super::decisions::moment;
use super::message::Message;
use crate::observe::check;
use crate::settings::CheckTarget;
use otelet_core::decide::{AgentReport, CheckOutcome, Event};
use otelet_wire::status::CheckStatus;

/// Begins a check of the settings. If it cannot begin, it has failed.
pub(super) fn begin(context: &Context, index: usize, generation: u64) -> Option<Event> {
    let settings = context.settings.checks.get(index)?.clone();
    let redactor = check::redactor(&settings, &context.settings.secrets());
    if let CheckTarget::Exec { command } = &settings.target {
        let outbox = context.outbox.clone();
        let running = check::exec::check(command.clone(), settings.timeout, redactor, context.children.clone());
        let task = context.executor.spawn(async move {
            let checked = running.await;
            outbox.send(Message::Checked { generation, settings: Box::new(settings), checked });
        });
        task.detach();
        return None;
    }
    let http = context.settings.config.http();
    let job = move || {
        let checked = check::check(&settings, &http, &redactor);
        Message::Checked { generation, settings: Box::new(settings), checked }
    };
    let why = context.start("check", job).err()?;
    Some(Event::Checked { generation, outcome: CheckOutcome { result: Err(why.message), took: Duration::ZERO } })
}

/// The checks of agent and collector. They are always there and cost nothing, since they are computed.
#[derive(Debug, Default)]
pub(super) struct BuiltInChecks {
    /// Why the settings that were read last cannot be used.
    pub(super) settings_trouble: Option<String>,
    /// Why the last write to the state directory failed.
    disk_trouble: Option<String>,
    agent: Option<(bool, SystemTime)>,
    collector: Option<(bool, SystemTime)>,
}

impl BuiltInChecks {
    /// Learns from the end of a write whether the state directory takes writes.
    pub(super) fn learn(&mut self, event: &Event) {
        if let Event::Kept { result, .. } | Event::Recorded { result, .. } = event {
            self.disk_trouble = result.as_ref().err().cloned();
        }
    }

    /// Keeps the time of each change.
    pub(super) fn update(&mut self, report: &AgentReport) {
        let now = moment().wall;
        let keep = |known: &mut Option<(bool, SystemTime)>, ok: bool| {
            if known.is_none_or(|(before, _)| before != ok) {
                *known = Some((ok, now));
            }
        };
        let agent = self.agent_trouble(report).is_none();
        keep(&mut self.agent, agent);
        keep(&mut self.collector, report.collector.healthy);
    }

    fn agent_trouble(&self, report: &AgentReport) -> Option<String> {
        let settings = self.settings_trouble.as_ref().map(|why| format!("settings cannot be used: {why}"));
        let disk = self.disk_trouble.as_ref().map(|why| format!("state cannot be written: {why}"));
        let source = report.exchanges.last_error.as_ref().map(|why| format!("config source does not answer: {why}"));
        settings.or(disk).or(source)
    }

    /// All checks for the status: first the built-in ones, then those of the settings.
    pub(super) fn statuses(&self, report: &AgentReport) -> Vec<CheckStatus> {
        let now = moment().wall;
        let since = |known: Option<(bool, SystemTime)>| known.map_or(now, |(_, since)| since);
        let collector = &report.collector;
        // The status fills in the reason, which depends on the configs too.
        let trouble = (!collector.healthy).then(String::new);
        let agent = check::built_in_status("otelet", "agent", self.agent_trouble(report), since(self.agent), now);
        let collector = check::built_in_status("collector", "collector", trouble, since(self.collector), now);
        [agent, collector].into_iter().chain(report.checks.iter().cloned().map(check::status_of)).collect()
    }
}
