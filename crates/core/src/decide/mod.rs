//! Decides, and touches nothing: events in, actions out.
//!
//! Time, wall time and randomness come in with each event ([`Moment`]); what is to be done goes out as [`Action`]s, and
//! whoever does it reports back with one [`Event`]. There is no I/O, no clock and no randomness in this folder: the lints
//! below hold the wall, `.clippy.toml` names what stands behind it.
//!
//! `collector` keeps one collector alive, `rollout` decides which configuration it should run, `poll` decides when the sources are
//! asked and `sources` which of them, `reporting` when plain reports are sent, `export` when measurements and events are,
//! `delivery` paces these two and the webhook, `health` judges probes, `sample` paces host samples, `alert` holds what was
//! measured against thresholds, `notify` decides when a webhook hears of it, `clock` by whose clock, `docker` looks at containers,
//! `check` paces the checks. [`Agent`] lets them meet: after each event it compares what is wanted with what is.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod alert;
pub mod backoff;
pub mod check;
pub mod clock;
pub mod collector;
pub mod delivery;
pub mod docker;
pub mod export;
pub mod failure;
pub mod health;
pub mod notice;
pub mod notify;
pub mod poll;
#[cfg(test)]
mod quiet;
pub mod report;
pub mod reporting;
pub mod rollout;
pub mod sample;
#[cfg(test)]
mod simulation;
pub mod sources;
pub mod watchdog;

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

pub use alert::settings::{AlertSettings, AlertSeverity, Threshold};
pub use alert::{Alert, AlertMemory, AlertReport, AlertState, AlertsReport, Resolved};
pub use check::{CheckKind, CheckPlan};
pub use clock::Clocks;
pub use collector::{Additions, Child, EngineUse, Exit, LastExit, Phase, SpawnFailure};
pub use delivery::Deliveries;
pub use export::{Delivered, ExportParams};
pub use failure::{Failure, FailureKind};
pub use health::{Probe, Witness};
pub use notice::{Level, Notice};
pub use notify::Notification;
pub use poll::{Exchanged, Exchanges};
pub use report::{CollectorState, Report, Status};
pub use rollout::{Candidate, Record, Refused, Verdict};
pub use sources::{Heard, Serving};

/// SHA-256 of a configuration's body, byte for byte as it was offered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigHash(pub [u8; 32]);

impl ConfigHash {
    /// All 64 hexadecimal digits, as in file names, status and reports.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`hex`](Self::hex) wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// The first eight digits: enough for a person to tell configs apart in a log.
impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the outside gives to each decision.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock, for what people read; it may jump and decides nothing.
    pub wall: SystemTime,
    /// A fresh random number, for jitter.
    pub dice: u64,
}

/// A time at which something is to be done, and how much later still serves: one wake-up then does several things.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    /// Not before.
    pub at: Instant,
    /// Not later than this after `at`.
    pub slack: Duration,
}

impl Due {
    /// Exactly at this time.
    pub fn at(at: Instant) -> Self {
        Self { at, slack: Duration::ZERO }
    }

    /// Whether the time has come.
    pub fn reached(&self, now: Instant) -> bool {
        now >= self.at
    }

    /// The time at which it can wait no longer.
    pub fn latest(&self) -> Instant {
        self.at + self.slack
    }
}

/// What the settings say that decisions depend on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params {
    /// Where configs come from, in order and without secrets: without any the last good config simply runs.
    pub sources: std::sync::Arc<[String]>,
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
    pub notify_every: Option<Duration>,
    /// The Docker engine that is watched.
    pub docker: Option<docker::Wanted>,
    /// The checks.
    pub checks: std::sync::Arc<[CheckPlan]>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A deadline was reached; also harmless at any other time.
    Due,
    /// An exchange with a source ended.
    Exchanged {
        /// Which, as in [`Action::Exchange`].
        source: usize,
        /// When an answer was heard.
        heard: Heard,
        /// How.
        exchanged: Exchanged,
    },
    /// The store has looked at the body of a kept config.
    BodyChecked {
        /// Which config.
        hash: ConfigHash,
        /// Whether it is there as it was received.
        whole: bool,
    },
    /// The source may have changed, or a person wants it asked: ask at once.
    Nudged,
    /// The body of an offered config is on disk, or could not be put there.
    Kept {
        /// Which config.
        hash: ConfigHash,
        /// The reason, when it failed.
        result: Result<(), String>,
    },
    /// The collector's own `validate` ended.
    Validated {
        /// Which config.
        hash: ConfigHash,
        /// What it said.
        verdict: Verdict,
    },
    /// A [`Record`] is on disk, or could not be put there.
    Recorded {
        /// Which write, as numbered in [`Action::Record`].
        generation: u64,
        /// The reason, when it failed.
        result: Result<(), String>,
    },
    /// Something happened to the collector.
    Collector(collector::Input),
    /// The settings were read again.
    Reconfigured {
        /// What decisions depend on.
        params: Box<Params>,
        /// The sources are other ones, if only by a header: what is known of the old ones does not hold for them.
        sources_replaced: bool,
        /// The collector must be started anew to see the change.
        restart: bool,
    },
    /// The server wants to be asked this often; zero gives the settings their say again.
    Interval(Duration),
    /// Something was measured.
    Measured(std::sync::Arc<crate::telemetry::Snapshot>),
    /// Something that reports tell has changed.
    Changed,
    /// A plain report was taken, or was not.
    Reported(Result<(), Failure>),
    /// A person wants the config before the last good one.
    RollBack,
    /// A person wants refused configs to be tried again.
    ClearRefused,
    /// A signal to stop came: the first asks to end in order, a second one to end at once.
    Stop,
    /// Something happened elsewhere that is exported.
    Happened,
    /// An export ended, or failed.
    Exported(Result<Delivered, Failure>),
    /// A batch of alerts was taken, or was not.
    Notified {
        /// The reason, when it was not.
        result: Result<(), Failure>,
        /// The clock of the receiver, if it answered and told it.
        clocks: Option<Clocks>,
    },
    /// Alerts that fire from now on have these labels of the host.
    Relabelled(Vec<(String, String)>),
    /// What must survive of the alerts is on disk, or could not be put there: the reason.
    AlertsKept(Result<(), String>),
    /// A Docker engine did something.
    Docker(docker::Input),
    /// A check came back.
    Checked {
        /// As in [`Action::Check`].
        generation: u64,
        /// What came of it.
        outcome: check::Outcome,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask a source; answered by [`Event::Exchanged`].
    Exchange {
        /// Which, counted from the first of [`Params::sources`].
        source: usize,
        /// What the source is told.
        report: Box<Report>,
        /// Whether "unchanged" is an answer that serves.
        conditional: bool,
    },
    /// Look whether the body of a kept config is whole; answered by [`Event::BodyChecked`].
    CheckBody(ConfigHash),
    /// Send a plain report; answered by [`Event::Reported`].
    Report(Box<Report>),
    /// Put the offered body on disk; answered by [`Event::Kept`].
    Keep(ConfigHash),
    /// Have the collector validate a kept body; answered by [`Event::Validated`].
    Validate(ConfigHash),
    /// End a validation that is running; its answer still comes.
    EndValidation,
    /// Put the record on disk; answered by [`Event::Recorded`].
    Record {
        /// Counts up; a later write holds all that an earlier one did.
        generation: u64,
        /// What to write.
        record: Record,
    },
    /// Start the collector; answered by [`collector::Input::Spawned`].
    Spawn {
        /// On which config.
        config: ConfigHash,
        /// Without what reads a Docker engine in it.
        without_engine: bool,
        /// Without what can be passed beside it.
        without_additions: bool,
    },
    /// Ask the collector to end.
    Terminate(u32),
    /// End the collector and its process group now.
    Kill(u32),
    /// Look at the collector's health; answered by [`collector::Input::Probed`].
    Probe(u32),
    /// Take a sample of the host.
    Sample,
    /// Give the service manager a sign of life.
    SignOfLife,
    /// Log it, and keep it for reports.
    Tell(Notice),
    /// Tell the person who asked what became of it.
    Answer(Result<String, String>),
    /// Nothing is left to do: end the process.
    Quit,
    /// Export a batch of what waits; answered by [`Event::Exported`].
    Export,
    /// Send a batch of alerts to the webhook; answered by [`Event::Notified`].
    Notify(Vec<Notification>),
    /// Put what must survive of the alerts on disk; answered by [`Event::AlertsKept`].
    KeepAlerts(AlertMemory),
    /// Do something with the Docker engine.
    Docker(docker::Do),
    /// Do one of the checks; answered by [`Event::Checked`].
    Check {
        /// Which one, in the settings.
        index: usize,
        /// A number that no check of other settings has.
        generation: u64,
    },
}

/// The agent: every decision it will ever make, as state.
#[derive(Debug)]
pub struct Agent {
    params: Params,
    collector: collector::Collector,
    rollout: rollout::Rollout,
    poll: poll::Poll,
    sources: sources::Sources,
    /// The server's own wish for the time between polls.
    interval: Option<Duration>,
    reporting: reporting::Reporting,
    sample: sample::Sampling,
    watchdog: watchdog::Watchdog,
    exporting: export::Exporting,
    docker: docker::Docker,
    checks: check::Checks,
    ending: Ending,
    /// When the first signal to stop came.
    first_stop: Option<Instant>,
    alerts: alert::Alerts,
}

/// A place on the monotonic clock for tests to count from. There is no other way to get one.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up; tests only add to it")]
fn origin() -> Instant {
    Instant::now()
}

/// What a server may make of the time between polls: a typing error there must not cost a visit here.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// How long the end waits for an export, once before the collector is stopped or once after it.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Two signals to stop that are closer than this are one: some send it to the process and then to its whole group.
const ONE_STOP: Duration = Duration::from_millis(50);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    No,
    /// Until then the last export has time to reach the collector, which is stopped after it.
    Handing(Instant),
    /// Since then; only the collector still has deadlines.
    InOrder(Instant),
    /// The collector has ended. Until then the last export has time to reach whoever else takes it.
    Telling(Instant),
    Done,
}

impl Agent {
    /// Starts from what the disk holds. `orphan` is a collector that an earlier agent left running: it ends first.
    pub fn new(params: Params, record: Record, orphan: Option<u32>, at: Moment) -> (Self, Vec<Action>) {
        Self::resume(params, record, None, AlertMemory::default(), orphan, at)
    }

    /// The same, and what was known in an earlier life goes on: `served` is the location of the source that answered last.
    pub fn resume(
        params: Params,
        record: Record,
        served: Option<String>,
        alerts: AlertMemory,
        orphan: Option<u32>,
        at: Moment,
    ) -> (Self, Vec<Action>) {
        let mut actions = Vec::new();
        let answered = record.remote.is_some();
        let (collector, rollout) = (
            collector::Collector::new(orphan, params.stop_timeout, at.now, &mut actions),
            rollout::Rollout::new(record, at, &mut actions),
        );
        let mut agent = Self {
            collector,
            rollout,
            poll: poll::Poll::new(!params.sources.is_empty(), at.now),
            sources: sources::Sources::new(params.sources.clone(), params.fallback_after, served, answered),
            interval: None,
            reporting: reporting::Reporting::new(params.report_every, at.now),
            sample: sample::Sampling::new(params.sample_every, at.now),
            watchdog: watchdog::Watchdog::new(params.watchdog, at.now),
            exporting: export::Exporting::new(params.export, at.now),
            docker: docker::Docker::new(params.docker.clone(), at.now),
            checks: check::Checks::new(&params.checks, at),
            ending: Ending::No,
            first_stop: None,
            alerts: alert::Alerts::new(&params.alerts, &params.alert_labels, params.notify_every),
            params,
        };
        agent.alerts.restore(alerts, at, &mut actions);
        agent.settle(at, &mut actions);
        (agent, actions)
    }

    /// Takes one event, answers with what is to be done.
    pub fn on(&mut self, event: Event, at: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        let out = &mut actions;
        match event {
            Event::Due => {}
            Event::Exchanged { source, heard, exchanged } => {
                if let Some(ended) = self.sources.on_exchanged(source, heard, exchanged, out) {
                    self.end_round(ended, at, out);
                }
            }
            Event::BodyChecked { hash, whole } => {
                let conditional = !self.rollout.needs_body();
                if let Some(ended) = self.sources.on_body_checked(hash, whole, conditional, at.now) {
                    self.end_round(ended, at, out);
                }
            }
            Event::Nudged => self.poll.nudge(at.now),
            Event::Kept { hash, result } => self.rollout.on_kept(hash, result, out),
            Event::Validated { hash, verdict } => self.rollout.on_validated(hash, verdict, at, out),
            Event::Recorded { generation, result } => self.rollout.on_recorded(generation, result, at, out),
            Event::Collector(input) => {
                if input == collector::Input::Restart {
                    out.push(Action::Tell(Notice::RestartAsked));
                }
                self.collect(input, at, out);
            }
            Event::Reconfigured { params, sources_replaced, restart } => {
                self.poll.reconfigure(!params.sources.is_empty(), at.now);
                if sources_replaced {
                    let answered = self.rollout.record().remote.is_some();
                    self.sources.replace(params.sources.clone(), params.fallback_after, answered);
                }
                self.reporting.reconfigure(params.report_every, at.now);
                self.sample.reconfigure(params.sample_every, at.now);
                self.exporting.reconfigure(params.export, at.now);
                self.checks.reconfigure(&params.checks, at);
                self.collector.stop_timeout = params.stop_timeout;
                let (rules, labels) = (&params.alerts, &params.alert_labels);
                self.alerts.reconfigure(rules, labels, params.notify_every, at, out);
                self.docker.reconfigure(&params.docker, at.now);
                self.params = *params;
                if restart {
                    self.collect(collector::Input::Restart, at, out);
                }
            }
            Event::Interval(every) => {
                self.interval = (!every.is_zero()).then(|| every.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL));
            }
            Event::Measured(snapshot) => {
                self.exporting.measured();
                self.alerts.on_measured(&snapshot, at, out);
            }
            Event::Changed => self.reporting.changed(at.now),
            Event::Reported(result) => {
                if let Some((message, delay)) = self.reporting.on_reported(result, at) {
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
            Event::Happened => self.exporting.happened(at.now),
            Event::Exported(result) => {
                let notice = self.exporting.on_exported(result, self.collector.is_healthy(), at);
                out.extend(notice.map(Action::Tell));
            }
            Event::Notified { result, clocks } => self.alerts.on_notified(result, clocks.as_ref(), at, out),
            Event::Relabelled(labels) => self.alerts.relabel(labels),
            Event::AlertsKept(result) => self.alerts.on_kept(result, at, out),
            Event::Docker(input) => self.docker.on(input, at, out),
            Event::Checked { generation, outcome } => self.checks.on_checked(generation, outcome, at, out),
        }
        self.settle(at, out);
        actions
    }

    /// The latest time at which the agent wants to be asked again. There always is one.
    pub fn deadline(&self) -> Instant {
        let watchdog = self.watchdog.due();
        let ending = match self.ending {
            Ending::Handing(until) | Ending::Telling(until) => Some(until),
            Ending::InOrder(since) => {
                Some(self.collector.due().map_or(since + self.params.stop_timeout, |due| due.latest()))
            }
            Ending::No | Ending::Done => None,
        };
        if let Some(ending) = ending {
            return watchdog.map_or(ending, |due| due.latest().min(ending));
        }
        [
            self.collector.due(),
            self.rollout.due(),
            self.promotion_due(),
            self.poll.due(),
            self.reporting.due(),
            self.exporting.due(self.collector.is_healthy()),
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

    /// Whether it was asked to stop.
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::No
    }

    /// Whether the offered body of this config is still to be put on disk.
    pub fn awaits_body(&self, hash: ConfigHash) -> bool {
        self.rollout.awaits_body(hash)
    }

    /// What is true now, computed from the state.
    pub fn report(&self) -> Report {
        report::compute(self)
    }

    /// Compares what is wanted with what is, and does what has come due. One wake-up serves all of it.
    fn settle(&mut self, at: Moment, out: &mut Vec<Action>) {
        if self.ending == Ending::Done {
            return;
        }
        if self.watchdog.begin(at.now) {
            out.push(Action::SignOfLife);
        }
        if self.ending == Ending::No {
            self.alerts.on_due(at, out);
        }
        self.alerts.keep(at.now, out);
        if self.ending != Ending::No {
            self.note_events(at.now, out);
            self.settle_the_end(at, out);
            return;
        }
        self.collector.want(self.rollout.wanted());
        self.collect(collector::Input::Due, at, out);
        if self.promotion_due().is_some_and(|due| due.reached(at.now)) {
            self.rollout.promote(out);
        }
        self.rollout.on_due(at, out);
        self.checks.begin(at, out);
        if self.poll.begin(at.now) {
            // A collector may be held because its config was lost or torn on disk.
            let wanted = self.rollout.on_trial().or(self.rollout.record().last_good);
            let lost = wanted.filter(|_| self.collector.is_held());
            self.sources.begin(lost, !self.rollout.needs_body(), at.now, out);
        }
        if let Some(sources::Question { source, conditional }) = self.sources.take_question() {
            out.push(Action::Exchange { source, report: Box::new(self.report()), conditional });
        }
        if self.reporting.begin(at.now) {
            out.push(Action::Report(Box::new(self.report())));
        }
        if self.sample.begin(at.now) {
            out.push(Action::Sample);
        }
        self.docker.settle(at, out);
        self.note_events(at.now, out);
        if self.exporting.begin(self.collector.is_healthy(), at.now) {
            out.push(Action::Export);
        }
    }

    /// The collector gets what it is to export before it is stopped, everybody else what also that had to tell.
    fn settle_the_end(&mut self, at: Moment, out: &mut Vec<Action>) {
        if let Ending::Handing(until) = self.ending {
            if at.now < until && self.exports_last(at.now, out) {
                return;
            }
            self.ending = Ending::InOrder(at.now);
        }
        if let Ending::InOrder(_) = self.ending {
            self.collector.want(None);
            self.collect(collector::Input::Due, at, out);
            if !self.collector.is_down() {
                return;
            }
            self.note_events(at.now, out);
            self.ending = Ending::Telling(at.now + LAST_EXPORT);
        }
        if let Ending::Telling(until) = self.ending {
            if at.now < until && !self.exporting.to_collector() && self.exports_last(at.now, out) {
                return;
            }
            self.ending = Ending::Done;
            out.push(Action::Quit);
        }
    }

    /// Makes an export that cannot wait for its time, if there is one to be made. Whether one is out.
    fn exports_last(&mut self, now: Instant, out: &mut Vec<Action>) -> bool {
        if self.exporting.begin_last(self.collector.is_healthy(), now) {
            out.push(Action::Export);
        }
        self.exporting.in_flight()
    }

    /// All sources that are asked for now have been asked.
    fn end_round(&mut self, ended: Exchanged, at: Moment, out: &mut Vec<Action>) {
        let every = self.interval.unwrap_or(self.params.poll_every);
        self.poll.on_exchanged(&ended, every, self.collector.running(), at, out);
        match ended {
            Exchanged::Offered(hash) => self.rollout.on_offered(hash, out),
            Exchanged::Malformed { hash, reason } => self.rollout.on_malformed(hash, reason, at, out),
            Exchanged::Unchanged
            | Exchanged::Empty
            | Exchanged::Replaced
            | Exchanged::Failed(_)
            | Exchanged::NotAsked(_) => {}
        }
    }

    /// What is told and is an event waits for an export.
    fn note_events(&mut self, now: Instant, out: &[Action]) {
        if out.iter().any(|action| matches!(action, Action::Tell(notice) if notice.event().is_some())) {
            self.exporting.happened(now);
        }
    }

    fn begin_to_end(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.ending = match self.exporting.to_collector() && self.collector.is_healthy() {
            true => Ending::Handing(now + LAST_EXPORT),
            false => Ending::InOrder(now),
        };
        out.push(Action::EndValidation);
    }

    /// Nothing is waited for any more but the kernel.
    fn end_at_once(&mut self, at: Moment, out: &mut Vec<Action>) {
        self.ending = match self.ending {
            Ending::Handing(_) => Ending::InOrder(at.now),
            Ending::Telling(_) => Ending::Telling(at.now),
            other @ (Ending::No | Ending::InOrder(_) | Ending::Done) => other,
        };
        self.collect(collector::Input::Hurry, at, out);
    }

    /// Gives an input to the collector's state and what comes of it to the rollout.
    fn collect(&mut self, input: collector::Input, at: Moment, out: &mut Vec<Action>) {
        self.collector.on_trial = self.rollout.on_trial();
        self.collector.engine = self.docker.presence(at.now);
        if let Some(failed) = self.collector.on(input, at, out) {
            self.rollout.on_failed(failed.config, failed.reason, at, out);
            if self.ending == Ending::No {
                self.collector.want(self.rollout.wanted());
            }
        }
    }

    /// When the candidate will have survived its probation, if nothing happens until then.
    fn promotion_due(&self) -> Option<Due> {
        let candidate = self.rollout.on_trial()?;
        Some(Due::at(self.collector.healthy_since(candidate)? + self.params.probation))
    }
}
