//! The agent: every concern meets here. After each event it compares the wanted state with the actual one.

use std::time::{Duration, Instant};

use super::action::Action;
use super::data::alert::AlertMemory;
use super::data::collector::CollectorEvent;
use super::data::hash::ConfigHash;
use super::data::record::{Record, Verdict};
use super::data::report::AgentReport;
use super::data::source::ExchangeOutcome;
use super::data::time::{Due, Moment};
use super::event::Event;
use super::notice::Notice;
use super::params::Params;
use super::{alert, check, clock, collector, docker, export, poll, reporting, rollout, sample, sources, watchdog};
/// The agent: the state behind every decision.
#[derive(Debug)]
pub struct Agent {
    params: Params,
    pub(super) collector: collector::Collector,
    pub(super) rollout: rollout::Rollout,
    poll: poll::Poll,
    sources: sources::Sources,
    /// The time between polls that the server has set.
    interval: Option<Duration>,
    reports: reporting::ReportSchedule,
    sample: sample::SampleSchedule,
    watchdog: watchdog::Watchdog,
    pub(super) exports: export::ExportSchedule,
    pub(super) docker: docker::Docker,
    checks: check::Checks,
    shutdown: Shutdown,
    /// The time of the first signal to stop.
    first_stop: Option<Instant>,
    alerts: alert::Alerts,
    clock: clock::HostClock,
}

/// The limits of a time between polls that a server sets. A typing error there must not require a visit here.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// How long a shutdown waits for the last export, either before the collector is stopped or after it.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Two signals to stop within this time count as one: some service managers signal the process and then its whole
/// group.
const ONE_STOP: Duration = Duration::from_millis(50);

/// The steps of a shutdown, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shutdown {
    NotAsked,
    /// The last export may take until this time to reach the collector, which is stopped after it.
    ExportFirst(Instant),
    /// The collector is being stopped, since this time. Only the collector still has deadlines.
    StopCollector(Instant),
    /// The collector has ended. The last export may take until this time to reach its server.
    ExportLast(Instant),
    Done,
}

impl Agent {
    /// Starts from the record on disk. `orphan` is a collector that an earlier agent left running; it is stopped first.
    pub fn new(params: Params, record: Record, orphan: Option<u32>, at: Moment) -> (Self, Vec<Action>) {
        Self::resume(params, record, None, AlertMemory::default(), orphan, at)
    }

    /// Starts likewise, and continues with the memory of an earlier agent: `served` is the location of the source that
    /// answered last.
    pub fn resume(
        params: Params,
        record: Record,
        served: Option<String>,
        alerts: AlertMemory,
        orphan: Option<u32>,
        at: Moment,
    ) -> (Self, Vec<Action>) {
        let mut actions = Vec::new();
        let answered = record.last_good.is_some() || record.candidate.is_some();
        let (collector, rollout) = (
            collector::Collector::new(orphan, [params.stop_timeout, params.start_timeout], at.now, &mut actions),
            rollout::Rollout::new(record, at, &mut actions),
        );
        let mut agent = Self {
            collector,
            rollout,
            poll: poll::Poll::new(!params.sources.is_empty(), at.now),
            sources: sources::Sources::new(params.sources.clone(), params.fallback_after, served, answered),
            interval: None,
            reports: reporting::ReportSchedule::new(params.report_every, at.now),
            sample: sample::SampleSchedule::new(params.sample_every, at.now),
            watchdog: watchdog::Watchdog::new(params.watchdog, at.now),
            exports: export::ExportSchedule::new(params.export, at.now),
            docker: docker::Docker::new(params.docker.clone(), at.now),
            checks: check::Checks::new(&params.checks, at),
            shutdown: Shutdown::NotAsked,
            first_stop: None,
            clock: clock::HostClock::new(at),
            alerts: alert::Alerts::new(&params.alerts, &params.alert_labels, params.webhook_every),
            params,
        };
        agent.rollout.probation = agent.params.probation;
        agent.collector.on_replaced = agent.params.on_replaced;
        agent.alerts.restore(alerts, at, &mut actions);
        agent.settle(at, &mut actions);
        (agent, actions)
    }

    /// Takes one event and returns the actions that follow from it.
    pub fn on(&mut self, event: Event, at: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        let out = &mut actions;
        if let Some(by) = self.clock.stepped(at) {
            self.clock_was_set(by, at.now, out);
        }
        match event {
            Event::Due => {}
            Event::Exchanged { source, freshness, validator, outcome } => {
                if let ExchangeOutcome::Malformed { hash, reason, .. } = &outcome
                    && self.rollout.barred(*hash).is_none()
                {
                    let others = self.sources.brought_by_others(source);
                    self.rollout.on_malformed(*hash, reason.clone(), &others, at, out);
                }
                let rollout = &self.rollout;
                let is_refused = |hash| rollout.barred(hash).is_some();
                let known = sources::Known { has_config: rollout.has_config(), is_refused: &is_refused };
                let how = (freshness, validator);
                if let Some(ended) = self.sources.on_exchanged(source, how, outcome, &known, at.now, out) {
                    self.end_round(source, ended, at, out);
                }
            }
            Event::BodyChecked { hash, whole } => {
                let conditional = !self.rollout.needs_body();
                if let Some(ended) = self.sources.on_body_checked(hash, whole, conditional, at.now) {
                    self.end_round(0, ended, at, out);
                }
            }
            Event::Nudged => self.poll.nudge(at.now),
            Event::Kept { hash, alike, result } => {
                if let Some(old) = self.rollout.on_kept(hash, alike, result, self.sources.location(), out) {
                    self.collector.rename(old, hash);
                }
            }
            Event::Validated { hash, verdict } => {
                // Asked for again at once, but only once: a disk that tears it again must not make a tight loop.
                if matches!(verdict, Verdict::Lost(_)) && self.rollout.trouble(hash).is_none() {
                    self.poll.nudge(at.now);
                }
                self.rollout.on_validated(hash, verdict, at, out);
            }
            Event::Recorded { generation, result } => self.rollout.on_recorded(generation, result, at, out),
            Event::Collector(input) => {
                match input {
                    CollectorEvent::Restart => out.push(Action::Tell(Notice::RestartAsked)),
                    // The facts about the program are on disk beside the record.
                    CollectorEvent::Learned | CollectorEvent::ProgramTried { .. } => self.rollout.record_again(out),
                    CollectorEvent::Due
                    | CollectorEvent::Spawned(_)
                    | CollectorEvent::Unknown
                    | CollectorEvent::Looked(_)
                    | CollectorEvent::LeaderEnded { .. }
                    | CollectorEvent::Exited { .. }
                    | CollectorEvent::Probed { .. }
                    | CollectorEvent::Hurry => {}
                }
                self.collect(input, at, out);
            }
            Event::Reconfigured { params, sources_replaced, restart } => {
                self.poll.reconfigure(!params.sources.is_empty(), at.now);
                if sources_replaced {
                    let answered = self.rollout.has_config();
                    self.sources.replace(params.sources.clone(), params.fallback_after, answered);
                }
                self.sources.look_again();
                self.reports.reconfigure(params.report_every, at.now);
                self.sample.reconfigure(params.sample_every, at.now);
                self.exports.reconfigure(params.export, at.now);
                self.checks.reconfigure(&params.checks, at);
                self.collector.reconfigure(params.stop_timeout, params.start_timeout);
                self.collector.on_replaced = params.on_replaced;
                self.rollout.probation = params.probation;
                self.rollout.hurry(out);
                let (rules, labels) = (&params.alerts, &params.alert_labels);
                self.alerts.reconfigure(rules, labels, params.webhook_every, at, out);
                self.docker.reconfigure(&params.docker, at.now);
                self.params = *params;
                if restart {
                    self.rollout.reconsider(out);
                    self.collect(CollectorEvent::Restart, at, out);
                }
            }
            Event::Interval(every) => {
                self.interval = (!every.is_zero()).then(|| every.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL));
            }
            Event::Measured(snapshot) => {
                self.exports.measured();
                self.alerts.on_measured(&snapshot, at, out);
            }
            Event::ReportChanged => self.reports.changed(at.now),
            Event::Reported(result) => {
                if let Some((message, delay)) = self.reports.on_reported(result, at) {
                    out.push(Action::Tell(Notice::ReportFailed { message, delay }));
                }
            }
            Event::RollBack => {
                let answer = self.rollout.roll_back(at.wall, out);
                out.push(Action::Answer(answer));
            }
            Event::ClearRefused => {
                let answer = self.rollout.clear_refused(out);
                self.poll.nudge(at.now);
                out.push(Action::Answer(Ok(answer)));
            }
            Event::Stop => match self.first_stop {
                None => {
                    self.first_stop = Some(at.now);
                    out.push(Action::Tell(Notice::StopAsked));
                    self.begin_to_end(at.now, out);
                }
                Some(first) if at.now < first + ONE_STOP => {}
                Some(_) => {
                    out.push(Action::Tell(Notice::StopAskedAgain));
                    self.end_at_once(at, out);
                }
            },
            Event::ExportQueued => self.exports.happened(at.now),
            Event::Exported(result) => {
                let notice = self.exports.on_exported(result, self.collector.is_healthy(), at);
                out.extend(notice.map(Action::Tell));
            }
            Event::AlertsSent { result, clocks } => self.alerts.on_sent(result, clocks.as_ref(), at, out),
            Event::Relabelled(labels) => self.alerts.relabel(labels),
            Event::AlertsKept(result) => self.alerts.on_kept(result, at, out),
            Event::Docker(input) => self.docker.on(input, at, out),
            Event::Checked { generation, outcome } => self.checks.on_checked(generation, outcome, at, out),
        }
        self.settle(at, out);
        actions
    }

    /// The time at which the agent needs an [`Event::Due`] at the latest. There always is one.
    pub fn deadline(&self) -> Instant {
        let watchdog = self.watchdog.due();
        let shutdown = match self.shutdown {
            Shutdown::ExportFirst(until) | Shutdown::ExportLast(until) => Some(until),
            Shutdown::StopCollector(since) => {
                Some(self.collector.due().map_or(since + self.params.stop_timeout, |due| due.latest()))
            }
            Shutdown::NotAsked | Shutdown::Done => None,
        };
        if let Some(shutdown) = shutdown {
            return watchdog.map_or(shutdown, |due| due.latest().min(shutdown));
        }
        [
            self.collector.due(),
            self.rollout.due(),
            self.promotion_due(),
            self.poll.due(),
            self.reports.due(),
            self.exports.due(self.collector.is_healthy()),
            watchdog,
            self.alerts.due(),
            self.docker.due(),
            self.docker.presence_due().filter(|_| self.collector.waits_for_engine()),
            self.checks.due(),
        ]
        .into_iter()
        .flatten()
        .map(|due| due.latest())
        .fold(self.sample.due().latest(), Instant::min)
    }

    /// Whether anything is tried again at once when the host's clock is set. Only then does it matter to learn of that
    /// soon.
    pub fn waits_for_clock(&self) -> bool {
        let Agent { poll, reports, exports, alerts, checks, .. } = self;
        poll.is_failing() || reports.is_failing() || exports.is_failing() || alerts.is_failing() || checks.is_failing()
    }

    /// Whether it was asked to stop.
    pub fn is_ending(&self) -> bool {
        self.shutdown != Shutdown::NotAsked
    }

    /// Whether the offered body of this config still has to be written to disk.
    pub fn awaits_body(&self, hash: ConfigHash) -> bool {
        self.rollout.awaits_body(hash)
    }

    /// Computes the report from the present state.
    pub fn report(&self) -> AgentReport {
        let Agent { collector, rollout, poll, sources, reports, exports, alerts, checks, .. } = self;
        let record = rollout.record();
        let healthy = collector.running().filter(|_| collector.is_healthy());
        let (status, message) = rollout.status(healthy);
        AgentReport {
            status,
            message,
            remote: record.remote,
            effective: collector.running(),
            last_good: record.last_good,
            previous: record.previous,
            candidate: rollout.on_trial(),
            held_until: rollout.held_until(),
            refused: record.refused.clone(),
            collector: collector.report(),
            serving: sources.shown().cloned(),
            exchanges: poll.exchanges().clone(),
            reports: reports.deliveries().clone(),
            exports: exports.deliveries().clone(),
            next_exchange: poll.due().map(|due| due.at),
            alerts: alerts.report(),
            checks: checks.reports(),
        }
    }

    /// Compares the wanted state with the actual one, and does every task that is due. One wake-up serves all of them.
    fn settle(&mut self, at: Moment, out: &mut Vec<Action>) {
        if self.shutdown == Shutdown::Done {
            return;
        }
        if self.watchdog.begin(at.now) {
            out.push(Action::SignOfLife);
        }
        if self.shutdown == Shutdown::NotAsked {
            self.alerts.on_due(at, out);
        }
        self.alerts.keep(at.now, out);
        if self.shutdown != Shutdown::NotAsked {
            self.note_events(at.now, out);
            self.settle_the_end(at, out);
            return;
        }
        // A held collector is often tried again on the wake-up of a poll, and is not held while it is.
        let was_held = self.collector.is_held();
        self.collector.want(self.rollout.wanted());
        self.collect(CollectorEvent::Due, at, out);
        if self.promotion_due().is_some_and(|due| due.reached(at.now)) {
            self.rollout.promote(out);
        }
        self.rollout.failing = self.collector.is_failing();
        self.rollout.on_due(at, out);
        self.checks.begin(at, out);
        if self.poll.begin(at.now) {
            // A collector may be held because its config was lost or torn on disk.
            let wanted = self.rollout.on_trial().or(self.rollout.record().last_good);
            let lost = wanted.filter(|_| was_held || self.collector.is_held());
            self.sources.begin(lost, !self.rollout.needs_body(), at.now, out);
        }
        if let Some(sources::Question { source, conditional }) = self.sources.take_question() {
            out.push(Action::Exchange { source, report: Box::new(self.report()), conditional });
        }
        if self.reports.begin(at.now) {
            out.push(Action::Report(Box::new(self.report())));
        }
        if self.sample.begin(at.now) {
            out.push(Action::Sample);
        }
        self.docker.settle(at, out);
        self.note_events(at.now, out);
        if self.exports.begin(self.collector.is_healthy(), at.now) {
            out.push(Action::Export);
        }
    }

    /// Exports to the collector come before its stop. Exports to a server come after it, so that they include its end.
    fn settle_the_end(&mut self, at: Moment, out: &mut Vec<Action>) {
        if let Shutdown::ExportFirst(until) = self.shutdown {
            if at.now < until && self.exports_last(at.now, out) {
                return;
            }
            self.shutdown = Shutdown::StopCollector(at.now);
        }
        if let Shutdown::StopCollector(_) = self.shutdown {
            self.collector.want(None);
            self.collect(CollectorEvent::Due, at, out);
            if !self.collector.is_down() {
                return;
            }
            self.note_events(at.now, out);
            self.shutdown = Shutdown::ExportLast(at.now + LAST_EXPORT);
        }
        if let Shutdown::ExportLast(until) = self.shutdown {
            if at.now < until && !self.exports.to_collector() && self.exports_last(at.now, out) {
                return;
            }
            self.shutdown = Shutdown::Done;
            out.push(Action::Quit);
        }
    }

    /// Begins an export regardless of its time, if anything waits. Returns whether an export is under way.
    fn exports_last(&mut self, now: Instant, out: &mut Vec<Action>) -> bool {
        if self.exports.begin_last(self.collector.is_healthy(), now) {
            out.push(Action::Export);
        }
        self.exports.in_flight()
    }

    /// The round of questions to the sources has ended with this one.
    fn end_round(&mut self, source: usize, ended: ExchangeOutcome, at: Moment, out: &mut Vec<Action>) {
        let every = self.interval.unwrap_or(self.params.poll_every);
        let about = (self.sources.location(), self.collector.running());
        self.poll.on_exchanged(&ended, every, about, at, out);
        let others = self.sources.brought_by_others(source);
        match ended {
            ExchangeOutcome::Offered(hash) => self.rollout.on_offered(hash, &others, at.now, out),
            ExchangeOutcome::Malformed { hash, reason, .. } => {
                self.rollout.on_malformed(hash, reason, &others, at, out);
            }
            ExchangeOutcome::Unchanged => {
                // A config that was passed over in this round may be the one that was received last.
                let brought = self.sources.brought(source);
                if let Some(hash) = brought.filter(|hash| self.rollout.record().remote != Some(*hash)) {
                    self.rollout.on_offered(hash, &others, at.now, out);
                }
            }
            ExchangeOutcome::Empty
            | ExchangeOutcome::Replaced
            | ExchangeOutcome::Failed(_)
            | ExchangeOutcome::NotAsked(_) => {}
        }
    }

    /// Requests that failed while the clock was wrong are sent again at once: certificates may be valid now.
    fn clock_was_set(&mut self, by: i64, now: Instant, out: &mut Vec<Action>) {
        let again = [
            self.poll.clock_was_set(now),
            self.reports.clock_was_set(now),
            self.exports.clock_was_set(now),
            self.alerts.clock_was_set(now),
            self.checks.clock_was_set(now),
        ];
        out.push(Action::Tell(Notice::ClockSet { by, again: again.contains(&true) }));
    }

    /// Notices that are events wait for an export.
    fn note_events(&mut self, now: Instant, out: &[Action]) {
        if out.iter().any(|action| matches!(action, Action::Tell(notice) if notice.event().is_some())) {
            self.exports.happened(now);
        }
    }

    fn begin_to_end(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.shutdown = match self.exports.to_collector() && self.collector.is_healthy() {
            true => Shutdown::ExportFirst(now + LAST_EXPORT),
            false => Shutdown::StopCollector(now),
        };
        out.push(Action::EndValidation);
    }

    /// From here on the agent waits only for the kernel to end the collector.
    fn end_at_once(&mut self, at: Moment, out: &mut Vec<Action>) {
        self.shutdown = match self.shutdown {
            Shutdown::ExportFirst(_) => Shutdown::StopCollector(at.now),
            Shutdown::ExportLast(_) => Shutdown::ExportLast(at.now),
            other @ (Shutdown::NotAsked | Shutdown::StopCollector(_) | Shutdown::Done) => other,
        };
        self.collect(CollectorEvent::Hurry, at, out);
    }

    /// Gives an event to the collector, and a failed run that follows from it to the rollout.
    fn collect(&mut self, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) {
        self.collector.on_trial = self.rollout.on_trial();
        self.collector.is_judged = self.collector.on_trial.is_some() && self.rollout.record().last_good.is_some();
        self.collector.engine = self.docker.presence(at.now);
        if let Some(failed) = self.collector.on(input, at, out) {
            self.rollout.on_failed(failed.config, failed.reason, at, out);
            if self.shutdown == Shutdown::NotAsked {
                self.collector.want(self.rollout.wanted());
            }
        }
    }

    /// The time at which the candidate will have survived its probation if it stays healthy.
    fn promotion_due(&self) -> Option<Due> {
        let candidate = self.rollout.on_trial()?;
        Some(Due::at(self.collector.healthy_since(candidate)? + self.params.probation))
    }
}

#[cfg(test)]
mod tests;
