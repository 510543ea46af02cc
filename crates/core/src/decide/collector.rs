//! Keeps one collector alive: starts, probes, stops and kills it, and never runs two at a time.
//!
//! [`Collector::want`] sets the config that should run. A [`CollectorEvent`] reports what happened. Each phase has a
//! function that handles each event: below, or in `ending` for the last ones. `program` follows a replaced program.

use std::time::{Duration, Instant};

use super::action::Action;
use super::backoff;
use super::data::collector::{
    Additions, Child, CollectorEvent, EngineUse, LastExit, OnReplaced, Probe, SpawnFailure, Witness,
};
use super::data::hash::ConfigHash;
use super::data::report::{CollectorReport, CollectorState};
use super::data::time::{Due, Moment};
use super::docker::Presence;
use super::health::{Finding, Health};
use super::notice::Notice;

mod ending;
mod program;

pub use program::{Replacement, ReplacementState};

/// The least time between two starts.
pub const FIRST_DELAY: Duration = Duration::from_millis(50);

/// The longest delay of a restart.
pub const CAP: Duration = Duration::from_secs(60);

/// After a run of at least this length the delays begin anew.
const STABLE: Duration = Duration::from_secs(60);

/// Time between attempts to start a collector that cannot be started.
const HELD: Duration = Duration::from_secs(8);

/// The most time that a start is given after starts that took too long.
const LONGEST_START: Duration = Duration::from_secs(24 * 3600);

/// The kernel may hold a killed process for a while. The next kill follows after this time.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// The phase of the collector.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Nothing runs, and nothing should.
    Idle,
    /// It cannot be started. The next attempt follows after a while.
    Held {
        /// The time of the next attempt.
        retry: Due,
        /// The reason why it cannot be started.
        reason: String,
    },
    /// It will be started.
    Waiting {
        /// The time of the start.
        until: Instant,
    },
    /// Another program lies on disk than the one that was asked last. It is asked before it is started.
    Learning,
    /// It is being started.
    Starting {
        /// The config of this start.
        config: ConfigHash,
    },
    /// It is running.
    Up(Run),
    /// Its first process has ended by itself. The others are asked to end: only one collector may run.
    Ending {
        /// The run that ended.
        run: Run,
        /// The time of that end.
        ended: Instant,
        /// The time at which the others are killed if they still run.
        kill_at: Instant,
    },
    /// It was asked to end.
    Stopping {
        /// The process id.
        pid: u32,
        /// The config that it ran on; unknown for a collector of an earlier agent.
        config: Option<ConfigHash>,
        /// The time at which it is killed if it still runs.
        kill_at: Instant,
        /// The reason, if it had to be ended because it hung.
        hung: Option<String>,
    },
}

/// A running collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The process id.
    pub pid: u32,
    /// The config that it runs on.
    pub config: ConfigHash,
    /// The time of its start.
    pub since: Instant,
    /// The source of its health.
    pub witness: Witness,
    /// Whether it reads a Docker engine.
    pub engine: EngineUse,
    /// Whether it was given `more.yaml` or files of `collector.local`.
    pub additions: Additions,
    /// The results of its probes so far.
    pub health: Health,
    /// The time of the last look at the program on disk.
    pub looked: Instant,
    /// The program or files on disk by now, if they are not those of the start.
    pub replacement: Option<Replacement>,
}

/// A run that ended badly, for the rollout, which chose its config.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFailure {
    /// The config of the run.
    pub config: ConfigHash,
    /// The reason, in the collector's words if there are any.
    pub reason: String,
}

/// The collector: its phase, the config that should run, and the history of its crashes.
#[derive(Debug)]
pub struct Collector {
    /// Time between asking it to stop and killing it.
    pub stop_timeout: Duration,
    /// The time that a collector has to become healthy after its start.
    pub start_timeout: Duration,
    /// The reaction to a program that was replaced.
    pub on_replaced: OnReplaced,
    /// The config in its probation, which is judged more strictly.
    pub on_trial: Option<ConfigHash>,
    /// Whether a config on trial that fails is rolled back, because there is a last good one.
    pub is_judged: bool,
    /// Whether the Docker engine is there.
    pub engine: Presence,
    /// Whether the Docker engine was there at the last start.
    engine_at_start: Presence,
    /// Whether the next start leaves out `more.yaml` and the files of `collector.local`.
    without_additions: bool,
    phase: Phase,
    wanted: Option<ConfigHash>,
    last_start: Option<Instant>,
    crashes: u32,
    crashed: Option<ConfigHash>,
    stolen_ports: u32,
    restarts: u64,
    last_exit: Option<LastExit>,
    /// Whether it could not be started last time.
    not_started: bool,
    /// The config whose last starts took too long, and their number.
    slow: Option<(ConfigHash, u32)>,
}

impl Collector {
    /// Starts without a collector. An `orphan` of an earlier agent is asked to end.
    pub fn new(
        orphan: Option<u32>,
        [stop_timeout, start_timeout]: [Duration; 2],
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Self {
        let phase = match orphan {
            Some(pid) => {
                out.push(Action::Tell(Notice::OrphanFound { pid }));
                out.push(Action::Terminate(pid));
                Phase::Stopping { pid, config: None, kill_at: now + stop_timeout, hung: None }
            }
            None => Phase::Idle,
        };
        Self {
            stop_timeout,
            start_timeout,
            on_replaced: OnReplaced::default(),
            on_trial: None,
            is_judged: false,
            engine: Presence::Unwanted,
            engine_at_start: Presence::Unwanted,
            without_additions: false,
            phase,
            wanted: None,
            last_start: None,
            crashes: 0,
            crashed: None,
            stolen_ports: 0,
            restarts: 0,
            last_exit: None,
            not_started: false,
            slow: None,
        }
    }

    /// Sets the config that should run; takes effect with the next event.
    pub fn want(&mut self, config: Option<ConfigHash>) {
        self.wanted = config;
    }

    /// Learns that a config has taken the place of one with the same content, so nothing has to be started.
    pub fn rename(&mut self, old: ConfigHash, new: ConfigHash) {
        let running = match &mut self.phase {
            Phase::Up(run) | Phase::Ending { run, .. } => Some(&mut run.config),
            Phase::Starting { config } => Some(config),
            Phase::Stopping { config, .. } => config.as_mut(),
            Phase::Idle | Phase::Held { .. } | Phase::Waiting { .. } | Phase::Learning => None,
        };
        let slow = self.slow.as_mut().map(|(config, _)| config);
        for config in running.into_iter().chain(&mut self.wanted).chain(&mut self.crashed).chain(slow) {
            if *config == old {
                *config = new;
            }
        }
    }

    /// Handles one event. Returns the run that ended badly, if one did.
    pub fn on(&mut self, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Option<RunFailure> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let (phase, failed) = match phase {
            Phase::Idle => (self.idle(input, at, out), None),
            Phase::Held { retry, reason } => (self.held(retry, reason, input, at, out), None),
            Phase::Waiting { until } => (self.waiting(until, input, at, out), None),
            Phase::Learning => (self.learning(input, at, out), None),
            Phase::Starting { config } => self.starting(config, input, at, out),
            Phase::Up(run) => self.up(run, input, at, out),
            Phase::Ending { run, ended, kill_at } => self.ending(run, ended, kill_at, input, at, out),
            Phase::Stopping { pid, config, kill_at, hung } => {
                (self.stopping(pid, config, kill_at, hung, input, at, out), None)
            }
        };
        self.phase = phase;
        failed
    }

    /// The time at which it needs a [`CollectorEvent::Due`].
    pub fn due(&self) -> Option<Due> {
        match &self.phase {
            Phase::Idle | Phase::Learning | Phase::Starting { .. } => None,
            Phase::Held { retry, .. } => Some(*retry),
            Phase::Waiting { until } => Some(Due::at(*until)),
            Phase::Up(run) => Some(run.health.due()),
            Phase::Ending { kill_at, .. } | Phase::Stopping { kill_at, .. } => Some(Due::at(*kill_at)),
        }
    }

    /// The present phase.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Applies new settings; to a start that is under way as well.
    pub fn reconfigure(&mut self, stop_timeout: Duration, start_timeout: Duration) {
        (self.stop_timeout, self.start_timeout) = (stop_timeout, start_timeout);
        let limit = self.running().map(|config| self.start_limit(config));
        if let (Phase::Up(run), Some(limit)) = (&mut self.phase, limit) {
            run.health.allow(limit);
        }
    }

    /// Whether no process of it is left.
    pub fn is_down(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::Held { .. } | Phase::Waiting { .. } | Phase::Learning => true,
            Phase::Starting { .. } | Phase::Up(_) | Phase::Ending { .. } | Phase::Stopping { .. } => false,
        }
    }

    /// Whether it could not be started last time. The next attempt may be under way.
    pub fn is_held(&self) -> bool {
        self.not_started
    }

    /// The config that it runs on, also while it is stopping.
    pub fn running(&self) -> Option<ConfigHash> {
        match self.phase {
            Phase::Up(Run { config, .. }) | Phase::Ending { run: Run { config, .. }, .. } => Some(config),
            Phase::Stopping { config, .. } => config,
            Phase::Idle | Phase::Held { .. } | Phase::Waiting { .. } | Phase::Learning | Phase::Starting { .. } => None,
        }
    }

    /// The time since which it has been healthy on this config; none if it is not.
    pub fn healthy_since(&self, on: ConfigHash) -> Option<Instant> {
        match &self.phase {
            Phase::Up(run) if run.config == on && run.health.is_healthy() => run.health.healthy_since(),
            Phase::Up(_)
            | Phase::Idle
            | Phase::Held { .. }
            | Phase::Waiting { .. }
            | Phase::Learning
            | Phase::Starting { .. }
            | Phase::Ending { .. }
            | Phase::Stopping { .. } => None,
        }
    }

    /// Whether it is up and its last probe was good.
    pub fn is_healthy(&self) -> bool {
        matches!(&self.phase, Phase::Up(run) if run.health.is_healthy())
    }

    /// Whether it has crashed on the config that should run, and is not healthy now.
    pub fn is_failing(&self) -> bool {
        self.crashed.is_some() && self.crashed == self.wanted && !self.is_healthy()
    }

    /// Whether it runs without its Docker receivers.
    pub fn waits_for_engine(&self) -> bool {
        matches!(&self.phase, Phase::Up(Run { engine: EngineUse::LeftOut, .. }))
    }

    /// The number of starts after an end that was not asked for.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The last end that was not asked for.
    pub fn last_exit(&self) -> Option<&LastExit> {
        self.last_exit.as_ref()
    }

    /// The report on the collector.
    pub fn report(&self) -> CollectorReport {
        let (state, pid, since, witness, healthy, trouble) = match &self.phase {
            Phase::Idle => (CollectorState::Idle, None, None, None, false, None),
            Phase::Held { reason, .. } => (CollectorState::Held, None, None, None, false, Some(reason.clone())),
            Phase::Waiting { .. } => (CollectorState::Waiting, None, None, None, false, None),
            Phase::Learning | Phase::Starting { .. } => (CollectorState::Starting, None, None, None, false, None),
            Phase::Up(Run { pid, since, witness, health, .. }) => (
                CollectorState::Up,
                Some(*pid),
                Some(*since),
                Some(*witness),
                health.is_healthy(),
                health.trouble().map(str::to_owned),
            ),
            Phase::Ending { run: Run { pid, .. }, .. } => {
                let trouble = "its first process has ended, and what it started still runs";
                (CollectorState::Stopping, Some(*pid), None, None, false, Some(trouble.into()))
            }
            Phase::Stopping { pid, hung, .. } => {
                (CollectorState::Stopping, Some(*pid), None, None, false, hung.clone())
            }
        };
        let (restarts, last_exit) = (self.restarts(), self.last_exit().cloned());
        let without_engine = self.waits_for_engine();
        let next_start = if let Phase::Waiting { until } = self.phase { Some(until) } else { None };
        CollectorReport {
            state,
            pid,
            since,
            next_start,
            witness,
            healthy,
            trouble,
            without_engine,
            restarts,
            last_exit,
        }
    }

    fn idle(&mut self, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Phase {
        match input {
            CollectorEvent::Due | CollectorEvent::Restart => {
                self.waiting(self.earliest(at.now), CollectorEvent::Due, at, out)
            }
            // The others only answer a start or concern a process, and there is none.
            CollectorEvent::Spawned(_)
            | CollectorEvent::Unknown
            | CollectorEvent::Learned
            | CollectorEvent::Looked(_)
            | CollectorEvent::ProgramTried { .. }
            | CollectorEvent::LeaderEnded { .. }
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Hurry => Phase::Idle,
        }
    }

    fn held(&mut self, retry: Due, reason: String, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Phase {
        match input {
            CollectorEvent::Due => match self.wanted {
                None => Phase::Idle,
                Some(config) if retry.reached(at.now) => self.start(config, true, at.now, out),
                Some(_) => Phase::Held { retry, reason },
            },
            // The settings may name another binary now.
            CollectorEvent::Restart => Phase::Waiting { until: self.earliest(at.now) },
            CollectorEvent::Spawned(_)
            | CollectorEvent::Unknown
            | CollectorEvent::Learned
            | CollectorEvent::Looked(_)
            | CollectorEvent::ProgramTried { .. }
            | CollectorEvent::LeaderEnded { .. }
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Hurry => Phase::Held { retry, reason },
        }
    }

    fn waiting(&mut self, until: Instant, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Phase {
        match input {
            CollectorEvent::Due | CollectorEvent::Restart => match self.wanted {
                None => Phase::Idle,
                // Another config than the crashed one need not wait.
                Some(config) if self.crashed.is_some_and(|crashed| crashed != config) => {
                    self.forgive();
                    self.waiting(self.earliest(at.now), CollectorEvent::Due, at, out)
                }
                Some(config) if at.now >= until => self.start(config, true, at.now, out),
                Some(_) => Phase::Waiting { until },
            },
            CollectorEvent::Spawned(_)
            | CollectorEvent::Unknown
            | CollectorEvent::Learned
            | CollectorEvent::Looked(_)
            | CollectorEvent::ProgramTried { .. }
            | CollectorEvent::LeaderEnded { .. }
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Hurry => Phase::Waiting { until },
        }
    }

    fn learning(&mut self, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Phase {
        match (input, self.wanted) {
            (CollectorEvent::Learned, Some(config)) => self.start(config, false, at.now, out),
            (CollectorEvent::Due | CollectorEvent::Learned | CollectorEvent::Hurry, None) => {
                out.push(Action::EndQuestions);
                Phase::Idle
            }
            // The settings may name another program now.
            (CollectorEvent::Restart, _) => {
                out.push(Action::EndQuestions);
                Phase::Waiting { until: self.earliest(at.now) }
            }
            (
                CollectorEvent::Due
                | CollectorEvent::Spawned(_)
                | CollectorEvent::Unknown
                | CollectorEvent::Looked(_)
                | CollectorEvent::ProgramTried { .. }
                | CollectorEvent::LeaderEnded { .. }
                | CollectorEvent::Exited { .. }
                | CollectorEvent::Probed { .. }
                | CollectorEvent::Hurry,
                _,
            ) => Phase::Learning,
        }
    }

    fn starting(
        &mut self,
        config: ConfigHash,
        input: CollectorEvent,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> (Phase, Option<RunFailure>) {
        match input {
            CollectorEvent::Spawned(Ok(Child { pid, program, witness, engine, additions })) => {
                self.not_started = false;
                out.push(Action::Tell(Notice::CollectorStarted { pid, program, config, witness }));
                if engine == EngineUse::LeftOut {
                    out.push(Action::Tell(Notice::EngineLeftOut { config }));
                }
                (
                    Phase::Up(Run {
                        pid,
                        config,
                        since: at.now,
                        witness,
                        engine,
                        additions,
                        health: Health::new(self.start_limit(config), at.now),
                        looked: at.now,
                        replacement: None,
                    }),
                    None,
                )
            }
            CollectorEvent::Spawned(Err(SpawnFailure { reason })) => {
                self.not_started = true;
                let news = self.last_exit.as_ref().is_none_or(|last| last.how != reason);
                if news {
                    out.push(Action::Tell(Notice::CollectorHeld { reason: reason.clone() }));
                    self.last_exit = Some(LastExit { how: reason.clone(), last_words: String::new(), at: at.wall });
                }
                (Phase::Held { retry: Due { at: at.now + HELD, slack: HELD }, reason }, None)
            }
            CollectorEvent::Unknown => {
                out.push(Action::Learn);
                (Phase::Learning, None)
            }
            // The wanted config is compared again when the start has been answered.
            CollectorEvent::Due
            | CollectorEvent::Restart
            | CollectorEvent::Learned
            | CollectorEvent::Looked(_)
            | CollectorEvent::ProgramTried { .. }
            | CollectorEvent::LeaderEnded { .. }
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Hurry => (Phase::Starting { config }, None),
        }
    }

    fn up(
        &mut self,
        mut run: Run,
        input: CollectorEvent,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> (Phase, Option<RunFailure>) {
        match input {
            CollectorEvent::Due => {
                if self.wanted != Some(run.config) {
                    return (self.stop(run, None, at.now, out), None);
                }
                if run.engine == EngineUse::LeftOut && self.engine == Presence::There {
                    out.push(Action::Tell(Notice::EngineReadAgain { config: run.config }));
                    return (self.stop(run, None, at.now, out), None);
                }
                if run.health.lost(at.now) {
                    let probe = Probe::Silent("a probe was never answered".into());
                    return self.up_probed(run, probe, at, out);
                }
                if run.health.begin(at.now) {
                    out.push(Action::Probe(run.pid));
                }
                self.up_look(run, at.now, out)
            }
            CollectorEvent::Looked(other) => (Phase::Up(self.up_looked(run, other, at.now, out)), None),
            CollectorEvent::ProgramTried { change, trial } => {
                (Phase::Up(self.up_tried(run, change, trial, at.now, out)), None)
            }
            CollectorEvent::Probed { pid, probe } if pid == run.pid => self.up_probed(run, probe, at, out),
            CollectorEvent::LeaderEnded { pid } if pid == run.pid => {
                out.push(Action::Tell(Notice::LeaderEnded { pid }));
                out.push(Action::Terminate(pid));
                (Phase::Ending { run, ended: at.now, kill_at: at.now + self.stop_timeout }, None)
            }
            CollectorEvent::Exited { pid, exit } if pid == run.pid => self.crash(run, exit, at.now, at, out),
            CollectorEvent::Restart => (self.stop(run, None, at.now, out), None),
            // These concern an earlier run, or no collector that is up.
            CollectorEvent::Probed { .. }
            | CollectorEvent::Unknown
            | CollectorEvent::Learned
            | CollectorEvent::LeaderEnded { .. }
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Spawned(_) => (Phase::Up(run), None),
            CollectorEvent::Hurry => {
                let phase = self.stop(run, None, at.now, out);
                (self.hurry(phase, at.now, out), None)
            }
        }
    }

    fn up_probed(
        &mut self,
        mut run: Run,
        probe: Probe,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> (Phase, Option<RunFailure>) {
        let was_healthy = run.health.is_healthy();
        let first = run.health.healthy_since().is_none();
        let on_trial = self.on_trial == Some(run.config);
        let finding = run.health.on_probe(probe, on_trial, at);
        let config = run.config;
        match finding {
            Finding::Fine => {
                if run.health.is_healthy() {
                    (self.stolen_ports, self.slow) = (0, None);
                    if first {
                        out.push(Action::Tell(Notice::CollectorHealthy { config, after: at.now - run.since }));
                    } else if !was_healthy {
                        out.push(Action::Tell(Notice::CollectorWellAgain));
                    }
                } else if let Some(why) = run.health.trouble().map(str::to_owned) {
                    if was_healthy {
                        out.push(Action::Tell(Notice::CollectorUnhealthy { why }));
                    } else if let Some(limit) = run.health.slow_news(at.now) {
                        out.push(Action::Tell(Notice::CollectorSlow { after: at.now - run.since, limit, why }));
                    }
                }
                (Phase::Up(run), None)
            }
            Finding::Hung(reason) => {
                if first {
                    let earlier = self.slow.filter(|(slow, _)| *slow == config).map_or(0, |(_, times)| times);
                    self.slow = Some((config, earlier + 1));
                }
                // One that is rolled back gets no next start.
                let next = (first && !self.is_judged).then(|| self.start_limit(config));
                out.push(Action::Tell(Notice::CollectorHung { why: reason.clone(), next }));
                self.count_failure(&run, at.now);
                self.last_exit = Some(LastExit { how: reason.clone(), last_words: String::new(), at: at.wall });
                let guilty = !self.blames_additions(&run, out);
                let failed = guilty.then(|| RunFailure { config, reason: reason.clone() });
                (self.stop(run, Some(reason), at.now, out), failed)
            }
            // It still answers. A config on trial fails by this; any other collector may recover.
            Finding::Sick(reason) => {
                let failed = on_trial.then(|| RunFailure { config, reason: format!("unhealthy: {reason}") });
                (Phase::Up(run), failed)
            }
        }
    }

    /// Announces the next start, and waits for it.
    fn wait(&mut self, at: Moment, out: &mut Vec<Action>) -> Phase {
        let until = self.next_start(at);
        out.push(Action::Tell(Notice::RestartPlanned { restart: self.crashes, delay: until - at.now }));
        Phase::Waiting { until }
    }

    /// The time of the next start: at once after the first failure, later after each further one.
    fn next_start(&self, at: Moment) -> Instant {
        let attempt = self.crashes.saturating_sub(1);
        let delay = match attempt {
            0 => Duration::ZERO,
            _ => backoff::full_jitter(attempt, FIRST_DELAY * 2, CAP, at.dice),
        };
        self.earliest(at.now).max(at.now + delay)
    }

    fn start(&mut self, config: ConfigHash, only_known: bool, now: Instant, out: &mut Vec<Action>) -> Phase {
        self.last_start = Some(now);
        self.engine_at_start = self.engine;
        let (without_engine, without_additions) = (self.engine == Presence::Away, self.without_additions);
        out.push(Action::Spawn { config, without_engine, without_additions, only_known });
        Phase::Starting { config }
    }

    fn stop(&mut self, run: Run, hung: Option<String>, now: Instant, out: &mut Vec<Action>) -> Phase {
        out.push(Action::Terminate(run.pid));
        Phase::Stopping { pid: run.pid, config: Some(run.config), kill_at: now + self.stop_timeout, hung }
    }

    fn hurry(&self, phase: Phase, now: Instant, out: &mut Vec<Action>) -> Phase {
        match phase {
            Phase::Stopping { pid, config, hung, .. } => {
                out.push(Action::Kill(pid));
                Phase::Stopping { pid, config, kill_at: now + KILL_AGAIN, hung }
            }
            Phase::Idle
            | Phase::Held { .. }
            | Phase::Waiting { .. }
            | Phase::Learning
            | Phase::Starting { .. }
            | Phase::Up(_)
            | Phase::Ending { .. } => phase,
        }
    }

    /// The time that the next start on this config may take: twice as long after each one that took too long. Ending a
    /// slow collector again and again would be the one way to never get there.
    fn start_limit(&self, config: ConfigHash) -> Duration {
        let times = self.slow.filter(|(slow, _)| *slow == config).map_or(0, |(_, times)| times);
        self.start_timeout.saturating_mul(1 << times.min(20)).min(LONGEST_START.max(self.start_timeout))
    }

    /// The earliest time of the next start.
    fn earliest(&self, now: Instant) -> Instant {
        self.last_start.map_or(now, |start| now.max(start + FIRST_DELAY))
    }

    fn count_failure(&mut self, run: &Run, now: Instant) {
        if now - run.since >= STABLE || self.crashed != Some(run.config) {
            self.forgive();
        }
        self.crashes += 1;
        self.crashed = Some(run.config);
    }

    fn forgive(&mut self) {
        self.crashes = 0;
        self.crashed = None;
    }
}

#[cfg(test)]
mod tests;
