//! Keeps one collector alive: when it is started, probed, stopped and killed, and never two at a time.
//!
//! What should run is set by [`Collector::want`]; what happens comes in as [`CollectorEvent`]. Each phase meets each input below.

use std::time::{Duration, Instant};

use super::action::Action;
use super::backoff;
use super::data::collector::{
    Additions, Child, CollectorEvent, EngineUse, Exit, LastExit, Probe, SpawnFailure, Witness,
};
use super::data::hash::ConfigHash;
use super::data::report::{CollectorReport, CollectorState};
use super::data::time::{Due, Moment};
use super::docker::Presence;
use super::health::{Finding, Health};
use super::notice::Notice;

/// The least time between two starts, and the delay of a restart after the first crash.
pub const FIRST_DELAY: Duration = Duration::from_millis(50);

/// The longest delay of a restart.
pub const CAP: Duration = Duration::from_secs(60);

/// A run at least this long makes the next delay the first again.
const STABLE: Duration = Duration::from_secs(60);

/// Time between attempts to start a collector that cannot be started.
const HELD: Duration = Duration::from_secs(8);

/// The kernel may hold a killed process for a while: ask again after this long.
const KILL_AGAIN: Duration = Duration::from_secs(5);

/// Starts in a row that may fail because somebody took the port that the agent had picked, before it counts as a crash.
const STOLEN_PORTS: u32 = 3;

/// What the collector is doing.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Nothing runs and nothing is wanted.
    Idle,
    /// It cannot be started; tried again now and then.
    Held {
        /// When it is tried again.
        retry: Due,
        /// Why it cannot be started.
        reason: String,
    },
    /// It will be started.
    Waiting {
        /// When.
        until: Instant,
    },
    /// It is being started.
    Starting {
        /// With which config.
        config: ConfigHash,
    },
    /// It runs.
    Up(Run),
    /// It was asked to end.
    Stopping {
        /// Its process.
        pid: u32,
        /// With which config it ran; unknown of one that an earlier agent left.
        config: Option<ConfigHash>,
        /// When it is killed if it has not ended by then.
        kill_at: Instant,
        /// Whether it had to be ended because it hung.
        hung: Option<String>,
    },
}

/// A collector that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its process.
    pub pid: u32,
    /// With which config.
    pub config: ConfigHash,
    /// Since when.
    pub since: Instant,
    /// What vouches for its health.
    pub witness: Witness,
    /// What became of that which reads a Docker engine.
    pub engine: EngineUse,
    /// Whether it was given what can be passed beside its config.
    pub additions: Additions,
    /// What is known of its health.
    pub health: Health,
}

/// A run that ended badly, for whoever chose its config.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFailure {
    /// The config that it ran on.
    pub config: ConfigHash,
    /// Why, in the collector's words where there are any.
    pub reason: String,
}

/// The collector, as the agent knows it.
#[derive(Debug)]
pub struct Collector {
    /// Time between asking it to stop and killing it.
    pub stop_timeout: Duration,
    /// The config that is being tried, judged more strictly.
    pub on_trial: Option<ConfigHash>,
    /// Whether a Docker engine is there.
    pub engine: Presence,
    /// The same when the last collector was started.
    engine_at_start: Presence,
    /// Whether the next one is started without additions.
    without_additions: bool,
    phase: Phase,
    wanted: Option<ConfigHash>,
    last_start: Option<Instant>,
    crashes: u32,
    crashed: Option<ConfigHash>,
    stolen_ports: u32,
    restarts: u64,
    last_exit: Option<LastExit>,
}

impl Collector {
    /// Nothing runs yet, but perhaps an `orphan` of an earlier agent, which is asked to end.
    pub fn new(orphan: Option<u32>, stop_timeout: Duration, now: Instant, out: &mut Vec<Action>) -> Self {
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
            on_trial: None,
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
        }
    }

    /// Says which config should run; takes effect with the next input.
    pub fn want(&mut self, config: Option<ConfigHash>) {
        self.wanted = config;
    }

    /// Takes one input. Answers with a run that ended badly, if one did.
    pub fn on(&mut self, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Option<RunFailure> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let (phase, failed) = match phase {
            Phase::Idle => (self.idle(input, at, out), None),
            Phase::Held { retry, reason } => (self.held(retry, reason, input, at, out), None),
            Phase::Waiting { until } => (self.waiting(until, input, at, out), None),
            Phase::Starting { config } => self.starting(config, input, at, out),
            Phase::Up(run) => self.up(run, input, at, out),
            Phase::Stopping { pid, config, kill_at, hung } => {
                (self.stopping(pid, config, kill_at, hung, input, at, out), None)
            }
        };
        self.phase = phase;
        failed
    }

    /// When it next wants an [`CollectorEvent::Due`].
    pub fn due(&self) -> Option<Due> {
        match &self.phase {
            Phase::Idle | Phase::Starting { .. } => None,
            Phase::Held { retry, .. } => Some(*retry),
            Phase::Waiting { until } => Some(Due::at(*until)),
            Phase::Up(run) => Some(run.health.due()),
            Phase::Stopping { kill_at, .. } => Some(Due::at(*kill_at)),
        }
    }

    /// What it is doing.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether no process of it is left.
    pub fn is_down(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::Held { .. } | Phase::Waiting { .. } => true,
            Phase::Starting { .. } | Phase::Up(_) | Phase::Stopping { .. } => false,
        }
    }

    /// Whether it could not be started.
    pub fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held { .. })
    }

    /// The config that it runs on.
    pub fn running(&self) -> Option<ConfigHash> {
        match self.phase {
            Phase::Up(Run { config, .. }) => Some(config),
            Phase::Stopping { config, .. } => config,
            Phase::Idle | Phase::Held { .. } | Phase::Waiting { .. } | Phase::Starting { .. } => None,
        }
    }

    /// Since when it has been healthy on this config, if it is.
    pub fn healthy_since(&self, on: ConfigHash) -> Option<Instant> {
        match &self.phase {
            Phase::Up(run) if run.config == on && run.health.is_healthy() => run.health.healthy_since(),
            Phase::Up(_)
            | Phase::Idle
            | Phase::Held { .. }
            | Phase::Waiting { .. }
            | Phase::Starting { .. }
            | Phase::Stopping { .. } => None,
        }
    }

    /// Whether it is up and was well when it was looked at last.
    pub fn is_healthy(&self) -> bool {
        matches!(&self.phase, Phase::Up(run) if run.health.is_healthy())
    }

    /// Whether what reads a Docker engine is left out until there is one.
    pub fn waits_for_engine(&self) -> bool {
        matches!(&self.phase, Phase::Up(Run { engine: EngineUse::LeftOut, .. }))
    }

    /// Starts after an end that nobody asked for.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The last end that nobody asked for.
    pub fn last_exit(&self) -> Option<&LastExit> {
        self.last_exit.as_ref()
    }

    /// The report on it.
    pub fn report(&self) -> CollectorReport {
        let (state, pid, since, witness, healthy, trouble) = match &self.phase {
            Phase::Idle => (CollectorState::Idle, None, None, None, false, None),
            Phase::Held { reason, .. } => (CollectorState::Held, None, None, None, false, Some(reason.clone())),
            Phase::Waiting { .. } => (CollectorState::Waiting, None, None, None, false, None),
            Phase::Starting { .. } => (CollectorState::Starting, None, None, None, false, None),
            Phase::Up(Run { pid, since, witness, health, .. }) => (
                CollectorState::Up,
                Some(*pid),
                Some(*since),
                Some(*witness),
                health.is_healthy(),
                health.trouble().map(str::to_owned),
            ),
            Phase::Stopping { pid, hung, .. } => {
                (CollectorState::Stopping, Some(*pid), None, None, false, hung.clone())
            }
        };
        let (restarts, last_exit) = (self.restarts(), self.last_exit().cloned());
        let without_engine = self.waits_for_engine();
        CollectorReport { state, pid, since, witness, healthy, trouble, without_engine, restarts, last_exit }
    }

    fn idle(&mut self, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Phase {
        match input {
            CollectorEvent::Due | CollectorEvent::Restart => {
                self.waiting(self.earliest(at.now), CollectorEvent::Due, at, out)
            }
            // Only an answer to a spawn of ours could come, and there is none out.
            CollectorEvent::Spawned(_)
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Hurry => Phase::Idle,
        }
    }

    fn held(&mut self, retry: Due, reason: String, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Phase {
        match input {
            CollectorEvent::Due => match self.wanted {
                None => Phase::Idle,
                Some(config) if retry.reached(at.now) => self.start(config, at.now, out),
                Some(_) => Phase::Held { retry, reason },
            },
            // The settings may name another binary now.
            CollectorEvent::Restart => Phase::Waiting { until: self.earliest(at.now) },
            CollectorEvent::Spawned(_)
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Hurry => Phase::Held { retry, reason },
        }
    }

    fn waiting(&mut self, until: Instant, input: CollectorEvent, at: Moment, out: &mut Vec<Action>) -> Phase {
        match input {
            CollectorEvent::Due | CollectorEvent::Restart => match self.wanted {
                None => Phase::Idle,
                // Another config than the one that crashed does not wait for its sins.
                Some(config) if self.crashed.is_some_and(|crashed| crashed != config) => {
                    self.forgive();
                    self.waiting(self.earliest(at.now), CollectorEvent::Due, at, out)
                }
                Some(config) if at.now >= until => self.start(config, at.now, out),
                Some(_) => Phase::Waiting { until },
            },
            CollectorEvent::Spawned(_)
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Hurry => Phase::Waiting { until },
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
            CollectorEvent::Spawned(Ok(Child { pid, witness, engine, additions })) => {
                out.push(Action::Tell(Notice::CollectorStarted { pid, config, witness }));
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
                        health: Health::new(at.now),
                    }),
                    None,
                )
            }
            CollectorEvent::Spawned(Err(SpawnFailure { reason })) => {
                let news = self.last_exit.as_ref().is_none_or(|last| last.how != reason);
                if news {
                    out.push(Action::Tell(Notice::CollectorHeld { reason: reason.clone() }));
                    self.last_exit = Some(LastExit { how: reason.clone(), last_words: String::new(), at: at.wall });
                }
                (Phase::Held { retry: Due { at: at.now + HELD, slack: HELD }, reason }, None)
            }
            // What is wanted is looked at again when the start has been answered.
            CollectorEvent::Due
            | CollectorEvent::Restart
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
                (Phase::Up(run), None)
            }
            CollectorEvent::Probed { pid, probe } if pid == run.pid => self.up_probed(run, probe, at, out),
            CollectorEvent::Exited { pid, exit } if pid == run.pid => self.crash(run, exit, at, out),
            CollectorEvent::Restart => (self.stop(run, None, at.now, out), None),
            // Of an earlier run, or nothing that concerns a collector which is up.
            CollectorEvent::Probed { .. } | CollectorEvent::Exited { .. } | CollectorEvent::Spawned(_) => {
                (Phase::Up(run), None)
            }
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
                    self.stolen_ports = 0;
                    if first {
                        out.push(Action::Tell(Notice::CollectorHealthy { config, after: at.now - run.since }));
                    } else if !was_healthy {
                        out.push(Action::Tell(Notice::CollectorWellAgain));
                    }
                } else if was_healthy && let Some(why) = run.health.trouble() {
                    out.push(Action::Tell(Notice::CollectorUnhealthy { why: why.into() }));
                }
                (Phase::Up(run), None)
            }
            Finding::Hung(reason) => {
                out.push(Action::Tell(Notice::CollectorHung { why: reason.clone() }));
                self.count_failure(&run, at.now);
                self.last_exit = Some(LastExit { how: reason.clone(), last_words: String::new(), at: at.wall });
                (self.stop(run, Some(reason.clone()), at.now, out), Some(RunFailure { config, reason }))
            }
            // It answers: away from a trial that is reported, and left to recover.
            Finding::Sick(reason) => {
                let failed = on_trial.then(|| RunFailure { config, reason: format!("unhealthy: {reason}") });
                (Phase::Up(run), failed)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one phase")]
    fn stopping(
        &mut self,
        pid: u32,
        config: Option<ConfigHash>,
        kill_at: Instant,
        hung: Option<String>,
        input: CollectorEvent,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> Phase {
        let same = Phase::Stopping { pid, config, kill_at, hung: hung.clone() };
        match input {
            CollectorEvent::Exited { pid: ended, exit } if ended == pid => {
                out.push(Action::Tell(Notice::CollectorStopped { pid, how: exit.how }));
                match (self.wanted, hung) {
                    (None, _) => Phase::Idle,
                    (Some(wanted), Some(_)) if self.crashed == Some(wanted) => {
                        self.restarts += 1;
                        self.wait(at, out)
                    }
                    (Some(_), _) => Phase::Waiting { until: self.earliest(at.now) },
                }
            }
            CollectorEvent::Due if at.now >= kill_at => {
                out.push(Action::Tell(Notice::CollectorKilled { pid, after: self.stop_timeout }));
                out.push(Action::Kill(pid));
                Phase::Stopping { pid, config, kill_at: at.now + KILL_AGAIN, hung }
            }
            CollectorEvent::Hurry => self.hurry(same, at.now, out),
            CollectorEvent::Due
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Spawned(_)
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Restart => same,
        }
    }

    /// An end that nobody asked for, whatever its code: a fatal error of a component ends the real one with 0.
    fn crash(&mut self, run: Run, exit: Exit, at: Moment, out: &mut Vec<Action>) -> (Phase, Option<RunFailure>) {
        let config = run.config;
        if exit.stolen_port && self.stolen_ports < STOLEN_PORTS {
            self.stolen_ports += 1;
            out.push(Action::Tell(Notice::PortStolen));
            return (Phase::Waiting { until: self.earliest(at.now) }, None);
        }
        // The engine was not there, or may not have been: that says nothing of this config.
        let absent = |presence| matches!(presence, Presence::Away | Presence::Unknown);
        let bereft = run.engine == EngineUse::Read
            && (absent(self.engine) || absent(self.engine_at_start) || self.engine_at_start == Presence::Coming)
            && run.health.healthy_since().is_none();
        if !bereft {
            self.count_failure(&run, at.now);
        }
        self.restarts += 1;
        let lived = at.now - run.since;
        let Exit { how, last_words, .. } = exit;
        self.last_exit = Some(LastExit { how: how.clone(), last_words: last_words.clone(), at: at.wall });
        out.push(Action::Tell(Notice::CollectorExited { how: how.clone(), lived, last_words: last_words.clone() }));
        if bereft {
            return (Phase::Waiting { until: self.earliest(at.now) }, None);
        }
        let reason = match last_words.is_empty() {
            true => format!("collector exited: {how} after {}", crate::units::seconds(lived)),
            false => last_words,
        };
        // With additions the config itself has not failed yet: the next start tells which of the two it was.
        let guilty = !self.blames_additions(&run, out);
        (self.wait(at, out), guilty.then_some(RunFailure { config, reason }))
    }

    /// Whether the end of this run is put down to its additions. To be valid is not to work: a collector that ends before it
    /// was healthy is started again without them. If that one does no better, something else was to blame, and the next has
    /// them again.
    fn blames_additions(&mut self, run: &Run, out: &mut Vec<Action>) -> bool {
        if run.health.healthy_since().is_some() {
            return false;
        }
        match run.additions {
            Additions::Unused => {}
            Additions::Given => {
                self.without_additions = true;
                out.push(Action::Tell(Notice::AdditionsLeftOut { config: run.config }));
            }
            Additions::LeftOut => self.without_additions = false,
        }
        run.additions == Additions::Given
    }

    /// Waits for the next start: at once after the first failure, longer after each further one.
    fn wait(&mut self, at: Moment, out: &mut Vec<Action>) -> Phase {
        let attempt = self.crashes.saturating_sub(1);
        let delay = match attempt {
            0 => Duration::ZERO,
            _ => backoff::full_jitter(attempt, FIRST_DELAY * 2, CAP, at.dice),
        };
        let until = self.earliest(at.now).max(at.now + delay);
        out.push(Action::Tell(Notice::RestartPlanned { restart: self.crashes, delay: until - at.now }));
        Phase::Waiting { until }
    }

    fn start(&mut self, config: ConfigHash, now: Instant, out: &mut Vec<Action>) -> Phase {
        self.last_start = Some(now);
        self.engine_at_start = self.engine;
        let (without_engine, without_additions) = (self.engine == Presence::Away, self.without_additions);
        out.push(Action::Spawn { config, without_engine, without_additions });
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
            Phase::Idle | Phase::Held { .. } | Phase::Waiting { .. } | Phase::Starting { .. } | Phase::Up(_) => phase,
        }
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
mod tests {
    use super::*;
    use std::time::SystemTime;

    const CONFIG: ConfigHash = ConfigHash([7; 32]);

    fn at(now: Instant) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice: 0 }
    }

    /// A collector that reads the engine if it may, started while that is as said. Answers whether it was to do without.
    fn started(engine: Presence, now: Instant) -> (Collector, bool) {
        let mut collector = Collector::new(None, Duration::from_secs(35), now, &mut Vec::new());
        collector.engine = engine;
        collector.want(Some(CONFIG));
        let mut out = Vec::new();
        collector.on(CollectorEvent::Due, at(now), &mut out);
        let [Action::Spawn { without_engine, .. }] = out[..] else { panic!("{out:?}") };
        let engine = if without_engine { EngineUse::LeftOut } else { EngineUse::Read };
        let child = Child { pid: 7, witness: Witness::HealthCheck, engine, additions: Additions::Unused };
        collector.on(CollectorEvent::Spawned(Ok(child)), at(now), &mut Vec::new());
        (collector, without_engine)
    }

    fn dies(collector: &mut Collector, now: Instant) -> Option<RunFailure> {
        let exit = Exit { how: "code 1".into(), ..Exit::default() };
        collector.on(CollectorEvent::Exited { pid: 7, exit }, at(now), &mut Vec::new())
    }

    #[test]
    fn a_start_that_fails_is_held_against_its_config_only_if_the_engine_was_surely_there() {
        use Presence::{Away, Coming, There, Unknown, Unwanted};
        let t0 = crate::decide::data::time::origin();
        for (before, after, without, guilty) in [
            (There, There, false, true),
            (Unwanted, Unwanted, false, true),
            (Unknown, Away, false, false),
            (Unknown, Coming, false, false),
            (Coming, There, false, false),
            (There, Away, false, false),
            // It did not ask for the engine.
            (Away, Away, true, true),
        ] {
            let (mut collector, is_without) = started(before, t0);
            assert_eq!(is_without, without, "{before:?}");
            collector.engine = after;
            assert_eq!(dies(&mut collector, t0 + FIRST_DELAY).is_some(), guilty, "{before:?}, then {after:?}");
        }
    }

    #[test]
    fn a_collector_that_keeps_crashing_is_started_again_within_a_minute() {
        let mut now = crate::decide::data::time::origin();
        let (mut collector, _) = started(Presence::Unwanted, now);
        let mut delays = Vec::new();
        for _ in 0..20 {
            // The longest delays that chance can draw.
            let at = Moment { dice: u64::MAX, ..at(now) };
            let (exit, mut out) = (Exit { how: "code 1".into(), ..Exit::default() }, Vec::new());
            collector.on(CollectorEvent::Exited { pid: 7, exit }, at, &mut out);
            let delay = out.iter().find_map(|action| match action {
                Action::Tell(Notice::RestartPlanned { delay, .. }) => Some(*delay),
                _ => None,
            });
            delays.push(delay.expect("a crash plans a restart"));
            now += *delays.last().expect("it was just pushed");
            collector.on(CollectorEvent::Due, Moment { now, ..at }, &mut Vec::new());
            let (witness, engine) = (Witness::HealthCheck, EngineUse::Read);
            let child = Child { pid: 7, witness, engine, additions: Additions::Unused };
            collector.on(CollectorEvent::Spawned(Ok(child)), Moment { now, ..at }, &mut Vec::new());
        }
        assert!(delays[0] <= Duration::from_millis(100), "the first restart is at once: {delays:?}");
        assert!(delays.is_sorted(), "each delay is at least as long as the one before: {delays:?}");
        // docs/behaviour.md promises backoff up to 60 s.
        let longest = delays[19].as_secs_f64();
        assert!((59.9..=60.0).contains(&longest), "{delays:?}");
    }

    #[test]
    fn one_that_does_without_the_engine_is_started_anew_when_that_is_back_for_good() {
        let t0 = crate::decide::data::time::origin();
        let (mut collector, _) = started(Presence::Away, t0);
        assert!(collector.waits_for_engine());
        let mut out = Vec::new();
        collector.engine = Presence::Coming;
        collector.on(CollectorEvent::Due, at(t0), &mut out);
        assert!(!out.contains(&Action::Terminate(7)), "{out:?}");
        collector.engine = Presence::There;
        collector.on(CollectorEvent::Due, at(t0), &mut out);
        assert!(out.contains(&Action::Terminate(7)), "{out:?}");

        let (mut whole, _) = started(Presence::There, t0);
        whole.engine = Presence::Away;
        let mut out = Vec::new();
        whole.on(CollectorEvent::Due, at(t0), &mut out);
        assert!(!out.contains(&Action::Terminate(7)), "one that is up stays up: {out:?}");
    }
}
