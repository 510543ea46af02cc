//! Replays thousands of made-up histories against the agent, from seeds, without a clock or a process.
//!
//! Each history is a world with a disk, config sources, a Docker engine, a webhook and collectors of every character.
//! Random disturbances hit it: crashes, hangs, stolen ports, full disks, a missing binary, silent sources, changed
//! offers, rollbacks by a person, and kills of the agent itself. "Soon" below means within a bounded made-up time.
//! These invariants hold in every history:
//!
//! The collector:
//!
//! 1. At most one collector is alive, over the life of many agents.
//! 2. Two starts are at least the first delay apart.
//! 3. A collector that ends at its start with additions is started without them next, and one without them is started
//!    with them next. So a collector that works only without additions runs in the end. A config is never refused or
//!    rolled back because of its additions.
//! 4. An agent that is asked to stop stops its collector first and leaves no process behind.
//!    The same if its first process has ended by itself and others that it started still run: they are asked to end, are
//!    killed only after the stop timeout, and the next start waits for their end.
//! 5. Two signals to stop within 50 ms count as one, and the collector gets its time to end. Two signals further apart
//!    end it at once.
//!
//! Configs:
//!
//! 6. A config becomes the last good one only after it was healthy throughout its probation.
//! 7. A refused config is not tried again until another one is offered, a person asks, or the collector is run in another
//!    way.
//! 8. Soon after the last disturbance the newest good config runs, and the report says so.
//! 9. A config whose body is torn or lost runs again soon, while its source offers it.
//! 10. One source is asked at a time, and each round begins with the first. Another source is asked only after all
//!     before it brought no usable config in the same round, and only while there is no config of the first on this
//!     host, or the first has brought none for the time of the settings. A round begins no earlier than one poll
//!     interval after an answer, or half a second after a failure, unless a person or a server asks for it.
//! 11. While the first source is silent, or a page comes in place of its config, the config of the first other source
//!     with a usable one runs soon. The first source serves again with the first poll that it answers, and its config
//!     runs soon.
//! 12. "Unchanged" is asked for only while a body of the same source is known: for an hour by its date, for a day by
//!     its tag, and never after an answer that was no config. So a config that a server calls unchanged by its date
//!     alone runs within an hour.
//! 13. The config received last is soon accepted or refused, also if the agent was killed or the body was torn
//!     between its arrival and its validation.
//! 24. Between any two good configs that alternate for ever, and among configs that are new at each poll, good or bad,
//!     the starts in an hour are bounded, and one of two that alternate becomes the last good one. The first change and
//!     one that a person asks for never wait.
//! 25. A config that differs from the running one in comments alone takes its place without a start.
//! 26. A collector that is still starting is not ended for its silence before the time of the settings. One that
//!     needs longer is healthy in the end, since each further start of a config that is not rolled back is given more.
//! 27. A program is asked before it is started, also one that took the place of another, unless it cannot be asked. A
//!     replaced program that takes the config runs soon; with `collector.on_replaced: wait` nothing is stopped for it, and
//!     a config in its probation is never disturbed. Changed files of the host are used soon in any case.
//!
//! Reports and the disk:
//!
//! 14. Every exchange carries a report, and the report is true: the config that it calls effective is running.
//! 15. Each decision is on disk soon after the disk works again.
//!
//! Time:
//!
//! 16. The agent always has a deadline, at most an hour away, and acting on it moves it on.
//! 17. A service manager gets a sign of life at least twice within the time for which it waits for one.
//! 18. The host is sampled at least as often as the settings say, also after they change.
//!
//! Exports, alerts, checks and the Docker engine:
//!
//! 19. At most one export is under way, none goes to a collector that does not run, and a waiting event is exported
//!     soon.
//! 20. An alert fires only after its value was bad for the whole time of the settings. Firing and resolution alternate,
//!     over the life of many agents. Soon after the value is good again the alert is resolved, and the webhook knows
//!     it.
//! 21. A webhook that shows its clock gets times by that clock.
//! 22. No check is under way twice, and only a few checks that have not stalled are under way together.
//! 23. One stream of the engine's events is open at a time, and one listing is under way at a time, never without the
//!     stream. The stream is open again soon after the engine is back. A config that reads the engine is never refused
//!     or rolled back because the engine is away.

mod calm;
mod characters;
mod outside;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use super::agent::SHORTEST_INTERVAL;
use super::collector::Phase;
use super::data::time::origin;
use super::sources::{BY_DATE, BY_TAG};
use super::*;
use calm::is_back;
use characters::{BAD_ADDITIONS, Character, NO_ENGINE, alike, character, has_additions, reads_engine};
use places::{FALLBACK_AFTER, OLDER_WITHIN, Rounds};

const SEEDS: u64 = 2_000;
const STEPS: u32 = 300;

/// The longest recovery: a delayed poll, the longest wait after many changes, the backoff of a crash, the stop timeout
/// and a probation.
const BACK_WITHIN: Duration = Duration::from_secs(55 * 60);

/// The most changes within an hour while configs change for ever: four that are free, nine that the waits of an hour allow,
/// and the first start.
const CHANGES_AN_HOUR: usize = 4 + 9 + 1;

/// The most time between two samples of the host.
const SAMPLE_EVERY: Duration = Duration::from_secs(16);
/// The longest backoff, a failed attempt before it and a successful one after it.
const ENGINE_BACK_WITHIN: Duration = Duration::from_secs(40);

const POLL_EVERY: Duration = Duration::from_secs(30);

const PROBATION: Duration = Duration::from_secs(30);

/// The time of our clock at the beginning.
const BEGUN: Duration = Duration::from_secs(1_000_000_000);

/// Clocks that differ by less count as equal.
const ALIKE: Duration = Duration::from_secs(30);

const STOP_TIMEOUT: Duration = Duration::from_secs(35);

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The time that a slow collector needs.
const SLOW_START: Duration = Duration::from_secs(400);

const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn every_history_keeps_the_promises() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        if !seed.is_multiple_of(8) {
            world.calm_down();
            match seed % 2 {
                0 => world.lose_the_body(),
                _ => world.first_falls_silent(),
            }
            world.alerts_calm_down();
        }
        world.stop();
    }
}

/// The config that a source offers at the poll with this number.
type Offers = fn(u8) -> ConfigHash;

fn good_or_deadly(poll: u8) -> ConfigHash {
    match poll % 2 {
        0 => hash(0),
        _ => ConfigHash(std::array::from_fn(|index| if index == 0 { 6 } else { poll })),
    }
}

#[test]
fn sources_that_change_for_ever_are_damped() {
    // The last number is that of starts for each change: one that dies is started with and without additions, and then
    // the last good one is.
    let cases: [(&str, Offers, usize); 5] = [
        ("two good ones", |poll| hash(poll % 2), 1),
        ("two good ones, each for some polls", |poll| hash(poll / 3 % 2), 1),
        ("three good ones", |poll| hash([0, 1, 2][poll as usize % 3]), 1),
        ("a new good one each time", |poll| hash(13 + poll % 200), 1),
        ("a good one, and each time a new one that dies", good_or_deadly, 3),
    ];
    for (seed, (name, offers, each)) in (0..10_u64).flat_map(|seed| cases.map(|case| (seed * 8 + 1, case))) {
        let mut world = World::new(seed);
        (world.quiet, world.engine_away, world.deadly_additions) = (true, false, false);
        world.rounds.places[0].offers = Some(offers(0));
        let (mut polls, mut first_change, mut last_good) = (0_u8, None, BTreeSet::new());
        let end = world.now + Duration::from_secs(6 * 3600);
        while world.now < end {
            let before = world.polls();
            world.let_time_pass();
            if world.polls() != before {
                polls = polls.wrapping_add(1);
                world.rounds.places[0].offers = Some(offers(polls));
                first_change = first_change.or_else(|| (world.starts.len() >= 2).then_some(polls));
            }
            last_good.extend(world.agent.report().last_good);
        }
        let starts = &world.starts;
        let hour = Duration::from_secs(3600);
        let most = (0..starts.len()).map(|at| starts[at..].iter().take_while(|it| **it < starts[at] + hour).count());
        let most = most.max().unwrap_or_default();
        assert!(most <= CHANGES_AN_HOUR * each, "{seed}, {name}: {most} starts within an hour");
        assert!(
            first_change.is_some_and(|poll| poll <= 5),
            "{seed}, {name}: the first change waited: {first_change:?}"
        );
        assert!(!last_good.is_empty(), "{seed}, {name}: no config ever was the last good one");

        // A person is not made to wait, however many changes there were.
        let newest = hash(220);
        world.rounds.places[0].offers = Some(newest);
        world.feed(Event::ClearRefused);
        let soon = world.now + Duration::from_secs(120);
        while world.agent.report().effective != Some(newest) {
            assert!(world.now < soon, "{seed}, {name}: a person is made to wait");
            world.let_time_pass();
        }
    }
}

#[test]
fn a_slow_collector_is_healthy_in_the_end() {
    for seed in 0..20_u64 {
        let mut world = World::new(seed * 8 + 1);
        (world.quiet, world.engine_away, world.deadly_additions) = (true, false, false);
        // Without a last good config, and then as the last good one after the agent was killed.
        let slow = hash(12);
        world.rounds.places[0].offers = Some(slow);
        while world.agent.report().candidate != Some(slow) {
            world.let_time_pass();
        }
        if world.agent.report().last_good.is_some() {
            // With one to return to, a config that takes too long is refused.
            continue;
        }
        for _ in 0..2 {
            let end = world.now + SLOW_START * 4 + BACK_WITHIN;
            while !is_back(&world.agent, slow) {
                assert!(world.now < end, "{seed}: never healthy: {:#?}", world.agent);
                world.let_time_pass();
            }
            let pids: Vec<u32> = world.processes.keys().copied().collect();
            pids.into_iter().for_each(|pid| world.end(pid, "signal 9", Duration::ZERO));
            while is_back(&world.agent, slow) {
                world.let_time_pass();
            }
            world.kill_agent();
        }
    }
}

#[test]
fn a_change_of_comments_starts_nothing() {
    for seed in 0..20_u64 {
        let mut world = World::new(seed * 8 + 1);
        (world.quiet, world.engine_away, world.deadly_additions) = (true, false, false);
        world.rounds.places[0].offers = Some(hash(1));
        let (mut polls, mut starts) = (0, 0);
        while polls < 40 {
            let before = world.polls();
            world.let_time_pass();
            if world.polls() != before {
                polls += 1;
                world.rounds.places[0].offers = Some(hash([1, 3][polls % 2]));
            }
            let report = world.agent.report();
            if starts == 0 && report.collector.healthy && report.effective.is_some_and(|it| alike(it, hash(1))) {
                starts = world.starts.len();
            }
        }
        assert_eq!(world.starts.len(), starts, "{seed}");
        let report = world.agent.report();
        assert!(report.last_good.is_some_and(|it| alike(it, hash(1))), "{seed}: {report:?}");
    }
}

struct Process {
    config: Option<ConfigHash>,
    since: Instant,
    /// The time since which each probe was good.
    well_since: Option<Instant>,
    ignores_terminate: bool,
    stopped: bool,
    /// Whether it will end before it is healthy.
    doomed: bool,
    additions: Additions,
    /// The program that it was started from.
    program: u64,
    /// The files of the host that it was given.
    local: u64,
    /// Whether the agent knows that it was healthy.
    known_healthy: bool,
}

struct World {
    seed: u64,
    random: u64,
    begun: Instant,
    now: Instant,
    agent: Agent,
    disk: Record,
    disk_full: bool,
    engine_away: bool,
    /// Whether the engine's stream is open or being opened.
    stream: bool,
    rounds: Rounds,
    binary_missing: bool,
    /// The collector's program on disk, by number, and the one that the agent asked last.
    program: u64,
    asked: Option<u64>,
    /// The files of the host, by number.
    local: u64,
    /// Whether a collector with additions ends at its start.
    deadly_additions: bool,
    /// Whether the last collector had additions, if it ended at its start.
    ended_at_start: Option<bool>,
    processes: BTreeMap<u32, Process>,
    next_pid: u32,
    pending: Vec<(Instant, Event)>,
    last_spawn: Option<Instant>,
    /// The times of all starts.
    starts: Vec<Instant>,
    last_sign: Instant,
    checking: BTreeMap<u64, Instant>,
    /// The latest time of the next sample.
    sample_by: Instant,
    sample_every: Duration,
    stopping: bool,
    /// Until this time a collector that was asked to end must not be killed.
    gentle_until: Option<Instant>,
    last_good: Option<ConfigHash>,
    /// Configs that the agent refused, and that no other offer and no person has cleared since.
    refused: BTreeSet<ConfigHash>,
    person: bool,
    quit: bool,
    quiet: bool,
    /// The value of each series, and whether it is measured at all.
    gauges: [(f64, bool); 2],
    /// The time since which each value seen by the agent has been bad.
    bad_since: [Option<Instant>; 2],
    kept_alerts: AlertMemory,
    /// The series that fire according to the log.
    firing: BTreeSet<i64>,
    /// The alerts that fire according to the webhook.
    heard: BTreeSet<String>,
    webhook_away: bool,
    /// The seconds that the receiver's clock is ahead of ours, and the number that its answers showed the agent.
    receiver_ahead: i64,
    told_ahead: Option<i64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = origin();
        let mut random = seed;
        let dice = splitmix(&mut random);
        let at = Moment { now, wall: SystemTime::UNIX_EPOCH + BEGUN, dice };
        let rounds = Rounds::new(now, seed);
        let params = Params { sources: rounds.locations(), ..params(seed) };
        let (agent, actions) = Agent::new(params, Record::default(), None, at);
        let mut world = Self {
            seed,
            random,
            begun: now,
            now,
            agent,
            disk: Record::default(),
            disk_full: false,
            engine_away: !seed.is_multiple_of(4),
            stream: false,
            rounds,
            binary_missing: false,
            program: 0,
            asked: None,
            local: 0,
            deadly_additions: seed.is_multiple_of(3),
            ended_at_start: None,
            processes: BTreeMap::new(),
            next_pid: 100,
            pending: Vec::new(),
            last_spawn: None,
            starts: Vec::new(),
            last_sign: now,
            checking: BTreeMap::new(),
            sample_by: now,
            sample_every: SAMPLE_EVERY,
            stopping: false,
            gentle_until: None,
            last_good: None,
            refused: BTreeSet::new(),
            person: false,
            quit: false,
            quiet: false,
            gauges: [(0.0, true); 2],
            bad_since: [None; 2],
            kept_alerts: AlertMemory::default(),
            firing: BTreeSet::new(),
            heard: BTreeSet::new(),
            webhook_away: false,
            receiver_ahead: 0,
            told_ahead: None,
        };
        world.perform(actions);
        world
    }

    fn params(&self) -> Params {
        let (sources, sample_every) = (self.rounds.locations(), self.sample_every);
        Params { sources, sample_every, ..params(self.seed) }
    }

    fn below(&mut self, limit: u64) -> u64 {
        splitmix(&mut self.random) % limit
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most))
    }

    /// One step: mostly the next pending event, sometimes a disturbance.
    fn step(&mut self) {
        match self.below(10) {
            0 => self.disturb(),
            _ => self.let_time_pass(),
        }
    }

    fn disturb(&mut self) {
        match self.below(27) {
            24 => self.end_leader(),
            25 => self.program += 1,
            26 => self.local += 1,
            22 if self.tells_date() => {
                self.receiver_ahead = [0, 20, -45, 3_600, -86_400, 604_800][self.below(6) as usize]
            }
            21 => self.deadly_additions = !self.deadly_additions,
            23 => self.tear(),
            19 => self.feed(Event::ExportQueued),
            20 => {
                let points = Vec::new();
                let snapshot = crate::telemetry::Snapshot { at: SystemTime::UNIX_EPOCH, points };
                self.feed(Event::Measured(std::sync::Arc::new(snapshot)));
            }
            0..=4 => self.disturb_places(),
            5 => self.binary_missing = !self.binary_missing,
            6 => self.disk_full = !self.disk_full,
            7 => {
                self.person = true;
                self.feed(Event::RollBack);
            }
            8 => {
                self.person = true;
                self.feed(Event::ClearRefused);
            }
            9 => {
                let event = match self.below(4) {
                    0 => Event::Nudged,
                    1 => Event::ReportChanged,
                    2 => Event::Collector(CollectorEvent::Restart),
                    _ => Event::Interval(self.millis(100_000)),
                };
                self.feed(event);
            }
            10 => self.kill_agent(),
            11 => {
                let restart = self.below(2) == 0;
                self.sample_every = SAMPLE_EVERY / (1 + self.below(4) as u32);
                self.sample_by = self.now + self.sample_every;
                let sources_replaced = self.below(2) == 0;
                if sources_replaced {
                    self.replace_sources();
                }
                let params = Box::new(self.params());
                self.feed(Event::Reconfigured { params, sources_replaced, restart });
            }
            12 | 13 => {
                let index = self.below(2) as usize;
                self.gauges[index].0 = self.below(20) as f64;
            }
            14 => {
                let index = self.below(2) as usize;
                self.gauges[index].1 = !self.gauges[index].1;
            }
            15 => self.webhook_away = !self.webhook_away,
            16 => self.disturb_engine(),
            _ => {
                let pids: Vec<u32> = self.processes.keys().copied().collect();
                if let Some(&pid) = pids.first() {
                    match self.below(3) {
                        0 => self.end(pid, "signal 9", Duration::ZERO),
                        1 => {
                            if let Some(process) = self.processes.get_mut(&pid) {
                                process.stopped = true;
                            }
                        }
                        _ => {
                            if let Some(process) = self.processes.get_mut(&pid) {
                                process.ignores_terminate = true;
                            }
                        }
                    }
                }
            }
        }
    }

    /// The collector's first process ends, and what it has started goes on.
    fn end_leader(&mut self) {
        let up = |pid: &u32| matches!(self.agent.collector.phase(), Phase::Up(run) if run.pid == *pid);
        let Some(pid) = self.processes.keys().copied().find(up) else { return };
        self.feed(Event::Collector(CollectorEvent::LeaderEnded { pid }));
        let Phase::Ending { kill_at, .. } = self.agent.collector.phase() else {
            panic!("{}: what {pid} has started is not asked to end", self.seed);
        };
        assert_eq!(*kill_at, self.now + STOP_TIMEOUT, "{}: it does not get its time", self.seed);
    }

    /// The engine ends or comes back, or something happens in it.
    fn disturb_engine(&mut self) {
        if self.below(2) == 0 {
            self.engine_away = !self.engine_away;
            let open =
                !self.pending.iter().any(|(_, event)| matches!(event, Event::Docker(EngineEvent::StreamOpened(_))));
            if self.engine_away && self.stream && open {
                self.pending.push((self.now, Event::Docker(EngineEvent::StreamLost("the stream ended".into()))));
            }
        }
        if self.stream {
            self.pending.push((self.now, Event::Docker(EngineEvent::Changed)));
        }
    }

    fn use_engine(&mut self, what: EngineTask) {
        let away = self.engine_away;
        let out = |input: fn(&EngineEvent) -> bool, pending: &[(Instant, Event)]| {
            pending.iter().any(|(_, event)| matches!(event, Event::Docker(it) if input(it)))
        };
        match what {
            EngineTask::OpenStream => {
                assert!(!self.stream, "{}: a second stream of events", self.seed);
                self.stream = true;
                let answer = match away {
                    true => EngineEvent::StreamLost("no such socket".into()),
                    false => EngineEvent::StreamOpened("Docker".into()),
                };
                self.later(2_000, Event::Docker(answer));
                if !away && self.below(8) == 0 {
                    let after = Duration::from_secs(2) + self.millis(60_000);
                    self.pending.push((self.now + after, Event::Docker(EngineEvent::StreamLost("dropped".into()))));
                }
            }
            EngineTask::List { usage } => {
                let looking = out(|input| matches!(input, EngineEvent::Listed), &self.pending);
                assert!(!looking, "{}: a second look while one is out", self.seed);
                assert!(self.stream, "{}: a look without a stream", self.seed);
                self.later(5_000, Event::Docker(EngineEvent::Listed));
                if usage {
                    let measuring = out(|input| matches!(input, EngineEvent::Measured), &self.pending);
                    assert!(!measuring, "{}: a second measuring while one is out", self.seed);
                    self.later(60_000, Event::Docker(EngineEvent::Measured));
                }
            }
            EngineTask::KeepPosition => {
                let keeping = out(|input| matches!(input, EngineEvent::PositionKept(_)), &self.pending);
                assert!(!keeping, "{}: a second write while one is out", self.seed);
                let result = if self.disk_full { Err("no space left on device".into()) } else { Ok(()) };
                self.later(200, Event::Docker(EngineEvent::PositionKept(result)));
            }
        }
    }

    /// Kills the agent as by SIGKILL and starts another one from the disk. Its collector may live on.
    fn kill_agent(&mut self) {
        // The answers to its questions may not be on disk.
        self.asked = self.asked.filter(|_| self.disk_full);
        self.pending.retain(|(_, event)| matches!(event, Event::Collector(CollectorEvent::Exited { .. })));
        let orphan = self.processes.keys().next().copied();
        let dice = self.below(u64::MAX);
        (self.sample_by, self.sample_every) = (self.now, SAMPLE_EVERY);
        let ((record, served), alerts) = (self.load(), self.kept_alerts.clone());
        let (agent, actions) = Agent::resume(self.params(), record, served, alerts, orphan, self.moment(dice));
        // The next agent knows only the firing alerts that are on disk.
        self.firing = self.kept_alerts.firing.iter().map(|(alert, _)| series_number(&alert.attributes)).collect();
        // The webhook forgets alerts that are not repeated.
        let (firing, resolved) = (&self.kept_alerts.firing, &self.kept_alerts.resolved);
        let known = firing.iter().map(|(alert, _)| alert).chain(resolved.iter().map(|it| &it.alert));
        let known: Vec<String> = known.map(|alert| format!("{:?}", alert.labels)).collect();
        self.heard.retain(|labels| known.contains(labels));
        self.agent = agent;
        self.stream = false;
        (self.ended_at_start, self.told_ahead) = (None, None);
        self.last_good = self.agent.rollout.record().last_good;
        // The next agent knows only the refusals that are on disk.
        self.refused.retain(|hash| self.disk.refused.iter().any(|refused| refused.hash == *hash && refused.barred));
        // The next agent does not know the earlier starts.
        self.last_spawn = None;
        self.last_sign = self.now;
        self.checking.clear();
        self.perform(actions);
    }

    fn let_time_pass(&mut self) {
        let deadline = self.agent.deadline();
        assert!(
            deadline <= self.now + Duration::from_secs(3601),
            "{}: a deadline in {:?}",
            self.seed,
            deadline - self.now
        );
        let next = self.pending.iter().map(|(time, _)| *time).min();
        if let Some(time) = next.filter(|time| *time <= deadline) {
            self.now = self.now.max(time);
            let index = self.pending.iter().position(|(when, _)| *when == time).expect("just found");
            let (_, event) = self.pending.remove(index);
            match &event {
                Event::Collector(CollectorEvent::Exited { pid, exit }) => {
                    let process = self.processes.remove(pid);
                    self.ended_at_start = process.and_then(|process| self.ended_with_additions(*pid, &process, exit));
                }
                Event::Checked { generation, .. } => drop(self.checking.remove(generation)),
                _ => {}
            }
            self.feed(event);
        } else {
            self.now = self.now.max(deadline);
            self.feed(Event::Due);
            assert!(
                self.quit || self.agent.deadline() > self.now,
                "{}: acting on the deadline did not move it: {:#?}",
                self.seed,
                self.agent
            );
        }
        let silence = self.now - self.last_sign;
        assert!(self.quit || silence <= WATCHDOG / 2, "{}: no sign of life for {silence:?}", self.seed);
        assert!(self.stopping || self.now <= self.sample_by, "{}: no sample for too long", self.seed);
    }

    /// The number of answers with a config or "unchanged".
    fn polls(&self) -> u64 {
        let exchanges = self.agent.report().exchanges;
        exchanges.offered + exchanges.unchanged
    }

    /// Whether it had additions, if it ended at its start, additions exist for its config, and no other cause is
    /// possible.
    fn ended_with_additions(&self, pid: u32, process: &Process, exit: &Exit) -> Option<bool> {
        let unasked = matches!(self.agent.collector.phase(), Phase::Up(run) if run.pid == pid);
        let excused = exit.stolen_port || process.config.is_none_or(reads_engine);
        let at_start = unasked && !process.known_healthy && !excused;
        (at_start && process.additions != Additions::Unused).then_some(process.additions == Additions::Given)
    }

    fn moment(&self, dice: u64) -> Moment {
        Moment { now: self.now, wall: self.wall(), dice }
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + BEGUN + (self.now - self.begun)
    }

    /// Whether the receiver's answers have a date. Without one its clock equals ours, since nobody can know it.
    fn tells_date(&self) -> bool {
        !self.seed.is_multiple_of(4)
    }

    fn receivers_wall(&self) -> SystemTime {
        let seconds = Duration::from_secs(self.receiver_ahead.unsigned_abs());
        if self.receiver_ahead < 0 { self.wall() - seconds } else { self.wall() + seconds }
    }

    fn feed(&mut self, event: Event) {
        if self.quit {
            return;
        }
        match &event {
            Event::Exchanged {
                outcome: ExchangeOutcome::Offered(hash) | ExchangeOutcome::Malformed { hash, .. },
                ..
            } => {
                self.refused.retain(|refused| refused == hash);
            }
            Event::Exchanged { source, outcome: ExchangeOutcome::Unchanged, .. } => {
                let offered = self.rounds.places[*source].given;
                self.refused.retain(|refused| offered.is_none_or(|hash| *refused == hash));
            }
            Event::ClearRefused | Event::Reconfigured { restart: true, .. } => self.refused.clear(),
            Event::Collector(CollectorEvent::Probed { pid, probe: Probe::Healthy }) => {
                if let Some(process) = self.processes.get_mut(pid) {
                    process.known_healthy = true;
                }
            }
            Event::AlertsSent { clocks: Some(Clocks { theirs, ours, .. }), .. } => {
                let ahead = theirs.duration_since(*ours).map(|ahead| ahead.as_secs() as i64);
                self.told_ahead = Some(ahead.unwrap_or_else(|behind| -(behind.duration().as_secs() as i64)));
            }
            Event::Measured(snapshot) => {
                for point in &snapshot.points {
                    let since = &mut self.bad_since[series_number(&point.attributes) as usize];
                    *since = since.or(Some(self.now)).filter(|_| point.value.as_f64() > BAD);
                }
            }
            Event::Docker(EngineEvent::StreamLost(_)) => {
                self.stream = false;
                // One stream has one end.
                self.pending.retain(|(_, event)| !matches!(event, Event::Docker(EngineEvent::StreamLost(_))));
            }
            _ => {}
        }
        let dice = self.below(u64::MAX);
        self.note_event(&event);
        let actions = self.agent.on(event.clone(), self.moment(dice));
        self.note_end(&event, &actions);
        if matches!(event, Event::ClearRefused | Event::Reconfigured { .. }) {
            let held = self.agent.report().held_until;
            assert_eq!(held, None, "{}: a person is made to wait", self.seed);
        }
        self.check_last_good();
        self.perform(actions);
    }

    fn check_last_good(&mut self) {
        let good = self.agent.rollout.record().last_good;
        let renamed = self.last_good.zip(good).is_some_and(|(old, new)| alike(old, new));
        if good != self.last_good && !renamed && !self.person {
            let hash = good.expect("a last good config never vanishes");
            let proven = self.processes.values().any(|process| {
                process.config.is_some_and(|it| alike(it, hash))
                    && process.well_since.is_some_and(|since| self.now >= since + PROBATION)
            });
            assert!(proven, "{}: {hash} became the last good config without a probation", self.seed);
        }
        self.last_good = good;
        self.person = false;
    }
}

/// Each so many programs one refuses all configs: the last before a multiple.
const REFUSING: u64 = 5;

/// Values of a gauge above this are bad; the alert fires after this time.
const BAD: f64 = 10.0;
const LASTING: Duration = Duration::from_secs(40);

static GAUGE: crate::telemetry::Metric = crate::telemetry::Metric {
    name: "gauge",
    unit: "1",
    kind: crate::telemetry::Kind::Gauge,
    owner: crate::telemetry::Owner::Host,
    help: "",
};

fn rules() -> Vec<AlertSettings> {
    vec![AlertSettings {
        name: "gauge".into(),
        metric: "gauge".into(),
        conditions: Vec::new(),
        rate: false,
        threshold: Threshold::Above(BAD),
        resolve_at: 5.0,
        lasting: LASTING,
        severity: AlertSeverity::Warning,
        summary: None,
        labels: Vec::new(),
    }]
}

fn series_number(attributes: &crate::telemetry::Attributes) -> i64 {
    match attributes[..] {
        [(_, crate::telemetry::Value::Int(number))] => number,
        _ => unreachable!("a series has one number"),
    }
}

/// More checks than may be under way at once.
fn checks() -> std::sync::Arc<[CheckPlan]> {
    let check = |number: u64| CheckPlan {
        name: number.to_string(),
        kind: CheckKind::Tcp,
        every: Duration::from_secs(10 * number),
        timeout: CHECK_TIMEOUT,
        fingerprint: 0,
    };
    (1..=6).map(check).collect()
}

fn params(seed: u64) -> Params {
    Params {
        fallback_after: FALLBACK_AFTER,
        poll_every: POLL_EVERY,
        stop_timeout: STOP_TIMEOUT,
        start_timeout: START_TIMEOUT,
        on_replaced: if seed.is_multiple_of(5) { OnReplaced::Wait } else { OnReplaced::Restart },
        probation: PROBATION,
        report_every: Some(Duration::from_secs(300)),
        watchdog: Some(WATCHDOG),
        sample_every: SAMPLE_EVERY,
        export: Some(ExportParams {
            every: Duration::from_secs(60),
            to_collector: seed.is_multiple_of(2),
            metrics: true,
        }),
        alerts: rules(),
        alert_labels: vec![("instance".into(), "made-up".into())],
        webhook_every: Some(Duration::from_secs(60)),
        docker: Some(EngineSettings { socket: "/run/docker.sock".into(), usage_every: Duration::from_secs(32) }),
        checks: checks(),
        sources: std::sync::Arc::default(),
    }
}

fn hash(number: u8) -> ConfigHash {
    ConfigHash([number; 32])
}

/// SplitMix64: tiny, and good enough for these choices.
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
