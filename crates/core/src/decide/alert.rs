//! Compares measurements with the thresholds of the settings. An alert fires when a series has been bad for long
//! enough. It is resolved when the series is good again, or is no longer measured.
//!
//! A series is one set of attributes of a metric, and each bad series is an alert of its own. A good series takes no
//! memory unless its rate is compared. The wall clock is kept for people and decides nothing.

mod labels;
mod rule;

use std::time::{Duration, Instant, SystemTime};

pub use super::data::alert::{pair, rounded, text};
pub use rule::{GONE_AFTER, MOST_SERIES};
use rule::{Rule, Series, SeriesState, Transition, whole_second};

use super::action::Action;
use super::backoff;
use super::data::alert::{Alert, AlertMemory, AlertSettings, AlertsReport, ResolvedAlert};
use super::data::clock::Clocks;
use super::data::failure::Failure;
use super::data::message::AlertMessage;
use super::data::time::{Due, Moment};
use super::notice::Notice;
use super::webhook::WebhookSchedule;
use crate::telemetry::Snapshot;

/// The most resolved alerts that wait for the webhook.
pub const MOST_RESOLVED: usize = 256;

/// The end of a series that is gone is not urgent.
const GONE_SLACK: Duration = Duration::from_secs(60);

/// The base and the cap of the backoff after a failed write of the memory.
const BASE: Duration = Duration::from_secs(5);
const CAP: Duration = Duration::from_secs(300);

/// All rules, their series, and the resolved alerts that wait for the webhook.
#[derive(Debug)]
pub struct Alerts {
    rules: Vec<Rule>,
    /// The labels of the host, which every alert has.
    labels: Vec<(String, String)>,
    webhook: WebhookSchedule,
    resolved: Vec<(u64, ResolvedAlert)>,
    /// The number of the last resolved alert.
    number: u64,
    dropped: u64,
    writing: MemoryWrite,
}

/// The state of the write to disk.
#[derive(Debug, Default)]
struct MemoryWrite {
    dirty: bool,
    in_flight: bool,
    failures: u32,
    not_before: Option<Instant>,
}

impl Alerts {
    /// Starts without any firing alert.
    pub fn new(rules: &[AlertSettings], labels: &[(String, String)], webhook_every: Option<Duration>) -> Self {
        Self {
            rules: rules.iter().cloned().map(Rule::new).collect(),
            labels: labels.to_vec(),
            webhook: WebhookSchedule::new(webhook_every),
            resolved: Vec::new(),
            number: 0,
            dropped: 0,
            writing: MemoryWrite::default(),
        }
    }

    /// Continues with the alerts of an earlier agent. They keep their start and their labels and are not announced
    /// again.
    pub fn restore(&mut self, memory: AlertMemory, at: Moment, out: &mut Vec<Action>) {
        self.writing.dirty |= !memory.resolved.is_empty() && !self.webhook.is_wanted();
        for resolved in memory.resolved {
            self.put_out(resolved);
        }
        let mut orphans = Vec::new();
        for (alert, gap) in memory.firing {
            match self.rules.iter_mut().find(|rule| rule.settings.name == alert.name) {
                Some(rule) if rule.fits(&alert) && rule.series.len() < MOST_SERIES => {
                    rule.series.push(Series {
                        attributes: alert.attributes.clone(),
                        state: SeriesState::Firing(Box::new(alert)),
                        base: None,
                        measured: at.now,
                        round: 0,
                        gap,
                        misses: 0,
                    });
                }
                Some(_) => orphans.push((alert, "its settings have changed")),
                None => orphans.push((alert, "it is no longer in the settings")),
            }
        }
        for (alert, why) in orphans {
            self.tell(Transition::Resolved(Box::new(alert), why.into()), at, out);
        }
        self.webhook.changed(at.now);
    }

    /// Applies new settings. An alert continues if its rule still watches the same series.
    pub fn reconfigure(
        &mut self,
        rules: &[AlertSettings],
        labels: &[(String, String)],
        webhook_every: Option<Duration>,
        at: Moment,
        out: &mut Vec<Action>,
    ) {
        self.labels = labels.to_vec();
        self.webhook.reconfigure(webhook_every, at.now);
        if webhook_every.is_none() && !self.resolved.is_empty() {
            self.resolved.clear();
            self.writing.dirty = true;
        }
        if self.rules.iter().map(|rule| &rule.settings).eq(rules) {
            return;
        }
        let old = std::mem::replace(&mut self.rules, rules.iter().cloned().map(Rule::new).collect());
        for rule in old {
            let new = self.rules.iter_mut().find(|new| new.settings.name == rule.settings.name);
            let why = if new.is_some() { "its settings have changed" } else { "it is no longer in the settings" };
            let mut ended = Vec::new();
            match new {
                // The measurements stay the same, only the judgement may change.
                Some(new) if new.looks_at_the_same(&rule.settings) => {
                    (new.round, new.looked, new.worst) = (rule.round, rule.looked, rule.worst);
                    for mut series in rule.series {
                        match series.state {
                            SeriesState::Firing(alert) if !new.fits(&alert) => ended.push(alert),
                            // It was pending by another threshold.
                            SeriesState::Pending { .. } if new.settings.threshold != rule.settings.threshold => {
                                series.state = SeriesState::Good;
                                new.series.push(series);
                            }
                            SeriesState::Good | SeriesState::Pending { .. } | SeriesState::Firing(_) => {
                                new.series.push(series)
                            }
                        }
                    }
                }
                Some(_) | None => ended.extend(rule.series.into_iter().filter_map(|series| match series.state {
                    SeriesState::Firing(alert) => Some(alert),
                    SeriesState::Good | SeriesState::Pending { .. } => None,
                })),
            }
            for alert in ended {
                self.tell(Transition::Resolved(alert, why.into()), at, out);
            }
        }
    }

    /// Sets new labels of the host. Alerts that fire keep the labels that they have.
    pub fn relabel(&mut self, labels: Vec<(String, String)>) {
        self.labels = labels;
    }

    /// Compares new measurements with the rules.
    pub fn on_measured(&mut self, snapshot: &Snapshot, at: Moment, out: &mut Vec<Action>) {
        let mut news = Vec::new();
        for rule in &mut self.rules {
            rule.look(snapshot, &self.labels, at, &mut news);
        }
        for one in news {
            self.tell(one, at, out);
        }
    }

    /// Handles the webhook's answer to a batch, or its failure. The answer may show the receiver's clock.
    pub fn on_sent(&mut self, result: Result<(), Failure>, clocks: Option<&Clocks>, at: Moment, out: &mut Vec<Action>) {
        let wrong_times = self.webhook.learn(clocks, out);
        if wrong_times && self.webhook.send_again(at.now) {
            return;
        }
        let before = self.resolved.len();
        if result.is_ok() && !wrong_times {
            let taken = self.webhook.in_flight();
            self.resolved.retain(|(number, _)| Some(*number) > taken);
        }
        self.writing.dirty |= self.resolved.len() != before;
        let more = self.fires() || !self.resolved.is_empty();
        if let Some((message, delay)) = self.webhook.on_sent(result, more, at) {
            out.push(Action::Tell(Notice::AlertsNotTaken { message, delay }));
        }
    }

    /// Handles the end of a write to disk.
    pub fn on_kept(&mut self, result: Result<(), String>, at: Moment, out: &mut Vec<Action>) {
        self.writing.in_flight = false;
        match result {
            Ok(()) => (self.writing.failures, self.writing.not_before) = (0, None),
            Err(why) => {
                let delay = backoff::full_jitter(self.writing.failures, BASE, CAP, at.dice).max(BASE / 5);
                if self.writing.failures == 0 {
                    out.push(Action::Tell(Notice::AlertsNotKept { why, delay }));
                }
                self.writing.failures = self.writing.failures.saturating_add(1);
                self.writing.dirty = true;
                self.writing.not_before = Some(at.now + delay);
            }
        }
    }

    /// Does every task that is due, except writing.
    pub fn on_due(&mut self, at: Moment, out: &mut Vec<Action>) {
        let mut news = Vec::new();
        for rule in &mut self.rules {
            rule.end_what_is_gone(at.now, &mut news);
        }
        for one in news {
            self.tell(one, at, out);
        }
        if self.webhook.begin(at.now, self.fires() || !self.resolved.is_empty(), self.number) {
            out.push(Action::SendAlerts(self.batch(at.wall)));
        }
    }

    /// Writes the memory to disk if it has changed and no write is under way.
    pub fn keep(&mut self, now: Instant, out: &mut Vec<Action>) {
        let writing = &mut self.writing;
        if writing.dirty && !writing.in_flight && writing.not_before.is_none_or(|time| now >= time) {
            (writing.dirty, writing.in_flight) = (false, true);
            out.push(Action::KeepAlerts(self.memory()));
        }
    }

    /// Whether the webhook did not take the last batch.
    pub fn is_failing(&self) -> bool {
        self.webhook.is_failing()
    }

    /// The host's clock was set. Returns whether alerts that were not taken are sent again at once.
    pub fn clock_was_set(&mut self, now: Instant) -> bool {
        self.webhook.clock_was_set(now)
    }

    /// The time of the next task.
    pub fn due(&self) -> Option<Due> {
        let gone = self.firing().map(|(series, _)| Due { at: series.gone_at(), slack: GONE_SLACK });
        let write = self.writing.not_before.filter(|_| self.writing.dirty && !self.writing.in_flight).map(Due::at);
        gone.chain(write).chain(self.webhook.due()).min_by_key(Due::latest)
    }

    /// The report on all rules.
    pub fn report(&self) -> AlertsReport {
        AlertsReport {
            alerts: self.rules.iter().flat_map(Rule::report).collect(),
            messages: self.webhook.deliveries().clone(),
            overlooked: self.rules.iter().map(|rule| rule.overlooked as u64).sum(),
            dropped: self.dropped,
        }
    }

    /// The memory that survives a restart.
    pub fn memory(&self) -> AlertMemory {
        AlertMemory {
            firing: self.firing().map(|(series, alert)| (alert.clone(), series.gap)).collect(),
            resolved: self.resolved.iter().map(|(_, resolved)| resolved.clone()).collect(),
        }
    }

    fn firing(&self) -> impl Iterator<Item = (&Series, &Alert)> {
        self.rules.iter().flat_map(|rule| &rule.series).filter_map(|series| match &series.state {
            SeriesState::Firing(alert) => Some((series, &**alert)),
            SeriesState::Good | SeriesState::Pending { .. } => None,
        })
    }

    fn fires(&self) -> bool {
        self.firing().next().is_some()
    }

    fn tell(&mut self, news: Transition, at: Moment, out: &mut Vec<Action>) {
        match news {
            Transition::Fired { alert, lasted } => {
                // It fires again before the webhook got the resolution.
                self.resolved.retain(|(_, resolved)| resolved.alert.labels != alert.labels);
                out.push(Action::Tell(Notice::AlertFired { alert, lasted }));
            }
            Transition::Resolved(alert, why) => {
                let resolved = ResolvedAlert { alert: (*alert).clone(), at: whole_second(at.wall).max(alert.since) };
                self.put_out(resolved);
                out.push(Action::Tell(Notice::AlertResolved { alert, why }));
            }
        }
        self.writing.dirty = true;
        self.webhook.changed(at.now);
    }

    fn put_out(&mut self, resolved: ResolvedAlert) {
        if !self.webhook.is_wanted() {
            return;
        }
        if self.resolved.len() == MOST_RESOLVED {
            self.resolved.remove(0);
            self.dropped += 1;
        }
        self.number += 1;
        self.resolved.push((self.number, resolved));
    }

    fn batch(&self, wall: SystemTime) -> Vec<AlertMessage> {
        let ends_at = wall + self.webhook.fades_after();
        let firing = self.firing().map(|(_, alert)| AlertMessage::new(alert, ends_at));
        let resolved = self.resolved.iter().map(|(_, it)| AlertMessage::new(&it.alert, it.at));
        resolved.chain(firing).map(|one| self.webhook.in_their_time(one)).collect()
    }
}

#[cfg(test)]
mod tests;
