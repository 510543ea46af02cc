//! Counts the wake-ups of an agent on a quiet host, with everything switched on, over made-up hours.
//! `tests/promises/stays_small.rs` counts the same in the kernel, with the wake-ups for the test's own processes.

use std::time::{Duration, Instant, SystemTime};

use super::data::time::origin;
use super::simulation::splitmix;
use super::*;
use crate::telemetry::{Kind, Metric, Point, Snapshot};

const SEEDS: u64 = 200;
const MINUTES: u32 = 31;
/// The collector is started in the first minute.
const SETTLED: usize = 1;
/// The number that the README promises.
const WAKE_UPS_A_MINUTE: u64 = 15;

static USAGE: Metric =
    Metric { name: "usage", unit: "1", kind: Kind::Gauge, owner: crate::telemetry::Owner::Host, help: "" };

fn params() -> Params {
    let check = |name: &str| CheckPlan {
        name: name.into(),
        kind: CheckKind::Tcp,
        every: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        fingerprint: 0,
    };
    Params {
        on_replaced: OnReplaced::Restart,
        sources: ["https://c.example/v1".to_owned()].into(),
        fallback_after: Duration::from_secs(600),
        poll_every: Duration::from_secs(30),
        start_timeout: Duration::from_secs(300),
        stop_timeout: Duration::from_secs(35),
        probation: Duration::from_secs(1),
        report_every: Some(Duration::from_secs(300)),
        watchdog: None,
        sample_every: Duration::from_secs(16),
        export: Some(ExportParams { every: Duration::from_secs(60), to_collector: false, metrics: true }),
        alerts: vec![AlertSettings {
            name: "used".into(),
            metric: "usage".into(),
            conditions: Vec::new(),
            rate: false,
            threshold: Threshold::Above(1.0),
            resolve_at: 1.0,
            lasting: Duration::ZERO,
            severity: AlertSeverity::Warning,
            summary: None,
            labels: Vec::new(),
        }],
        alert_labels: Vec::new(),
        webhook_every: Some(Duration::from_secs(60)),
        docker: Some(EngineSettings { socket: "/run/docker.sock".into(), usage_every: Duration::from_secs(32) }),
        checks: [check("web"), check("port")].into_iter().collect(),
    }
}

/// An agent, and the events that will wake it.
struct Quiet {
    random: u64,
    now: Instant,
    agent: Agent,
    /// The results of tasks begun in one turn come together; the answers of the collector come alone.
    ends: Vec<Event>,
    answers: Vec<Event>,
    begun: Instant,
    /// The times of its wake-ups, and those of its polls.
    woke: Vec<Instant>,
    polled: Vec<Instant>,
}

impl Quiet {
    fn new(params: Params, seed: u64) -> Self {
        let now = origin();
        let mut random = seed;
        let at = Moment { now, wall: SystemTime::UNIX_EPOCH, dice: splitmix(&mut random) };
        let (agent, actions) = Agent::new(params, Record::default(), None, at);
        let (ends, answers, woke, polled) = Default::default();
        let mut quiet = Self { random, now, agent, ends, answers, begun: now, woke, polled };
        quiet.perform(actions);
        quiet
    }

    fn feed(&mut self, event: Event) {
        let at = Moment { now: self.now, wall: SystemTime::UNIX_EPOCH, dice: splitmix(&mut self.random) };
        let actions = self.agent.on(event, at);
        self.perform(actions);
    }

    fn wake(&mut self, events: Vec<Event>) {
        self.woke.push(self.now);
        events.into_iter().for_each(|event| self.feed(event));
    }

    /// Sleeps until the next deadline, and handles everything that follows.
    fn turn(&mut self) {
        self.now = self.agent.deadline().max(self.now);
        self.wake(vec![Event::Due]);
        while !(self.answers.is_empty() && self.ends.is_empty()) {
            self.now += Duration::from_millis(1);
            let events = if self.answers.is_empty() { &mut self.ends } else { &mut self.answers };
            let events = std::mem::take(events);
            self.wake(events);
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        actions.into_iter().for_each(|action| self.perform_one(action));
    }

    fn perform_one(&mut self, action: Action) {
        let hash = ConfigHash([1; 32]);
        match action {
            Action::Exchange { .. } => {
                self.polled.push(self.now);
                let first = self.agent.report().effective.is_none();
                let outcome = if first { ExchangeOutcome::Offered(hash) } else { ExchangeOutcome::Unchanged };
                self.ends.push(Event::Exchanged {
                    source: 0,
                    freshness: Freshness::Fresh,
                    validator: Validator::Tag,
                    outcome,
                });
            }
            Action::Report(_) => self.ends.push(Event::Reported(Ok(()))),
            Action::Export => {
                let delivered = ExportOutcome { sent: 1, more: false, trouble: None };
                self.ends.push(Event::Exported(Ok(delivered)));
            }
            Action::SendAlerts(_) => self.ends.push(Event::AlertsSent { result: Ok(()), clocks: None }),
            Action::Check { generation, .. } => {
                let outcome = CheckOutcome { result: Ok(String::new()), took: Duration::ZERO };
                self.ends.push(Event::Checked { generation, outcome });
            }
            Action::Docker(EngineTask::List { usage }) => {
                self.ends.push(Event::Docker(EngineEvent::Listed));
                // No container runs. Otherwise this end comes seconds later, and alone.
                self.ends.extend(usage.then_some(Event::Docker(EngineEvent::Measured)));
            }
            Action::Docker(EngineTask::OpenStream) => {
                // The position in the stream is written soon, since this engine is new.
                self.answers.push(Event::Docker(EngineEvent::StreamOpened(String::new())));
                self.answers.push(Event::Docker(EngineEvent::Changed));
            }
            Action::Docker(EngineTask::KeepPosition) => {
                self.answers.push(Event::Docker(EngineEvent::PositionKept(Ok(()))))
            }
            Action::Probe(pid) => {
                self.answers.push(Event::Collector(CollectorEvent::Probed { pid, probe: Probe::Healthy }))
            }
            Action::Keep { hash, .. } => self.answers.push(Event::Kept { hash, alike: false, result: Ok(()) }),
            Action::Validate(hash) => self.answers.push(Event::Validated { hash, verdict: Verdict::Passed }),
            Action::Record { generation, .. } => {
                self.answers.push(Event::Recorded { generation, result: Ok(()) });
            }
            Action::KeepAlerts(_) => self.answers.push(Event::AlertsKept(Ok(()))),
            Action::Spawn { .. } => {
                let child = Child {
                    pid: 1,
                    program: String::new(),
                    witness: Witness::HealthCheck,
                    engine: EngineUse::Unused,
                    additions: Additions::Unused,
                };
                self.feed(Event::Collector(CollectorEvent::Spawned(Ok(child))));
            }
            Action::LookAtProgram => self.feed(Event::Collector(CollectorEvent::Looked(None))),
            Action::Sample => {
                let points = vec![Point::new(&USAGE, 2.0)];
                let snapshot = Snapshot { at: SystemTime::UNIX_EPOCH, points };
                self.feed(Event::Measured(std::sync::Arc::new(snapshot)));
            }
            Action::SignOfLife | Action::Tell(_) | Action::Answer(_) | Action::EndValidation => {}
            Action::CheckBody(_)
            | Action::Terminate(_)
            | Action::Kill(_)
            | Action::Learn
            | Action::TryProgram { .. }
            | Action::EndQuestions
            | Action::Quit => {
                panic!("{action:?} on a quiet host")
            }
        }
    }
}

/// Simulates this many minutes.
fn lived(params: Params, seed: u64, minutes: u32) -> Quiet {
    let mut quiet = Quiet::new(params, seed);
    let end = quiet.begun + Duration::from_secs(60) * minutes;
    while quiet.now < end {
        quiet.turn();
    }
    quiet
}

/// A turn has up to three wake-ups: one at its time, one for the collector's answer, and one for the results of the
/// tasks begun in it. There are four or five turns a minute.
#[test]
fn repeated_tasks_share_their_wake_ups() {
    let (mut all, mut many, mut sum) = (0, 0, 0);
    for seed in 0..SEEDS {
        let quiet = lived(params(), seed, MINUTES);
        let mut minutes = vec![0_u64; MINUTES as usize + 1];
        for at in &quiet.woke {
            minutes[(*at - quiet.begun).as_secs() as usize / 60] += 1;
        }
        let minutes = &minutes[SETTLED..MINUTES as usize];
        all += minutes.len();
        many += minutes.iter().filter(|count| **count > WAKE_UPS_A_MINUTE).count();
        sum += minutes.iter().sum::<u64>();
    }
    println!("{sum} wake-ups in {all} minutes, of which {many} have more than {WAKE_UPS_A_MINUTE}");
    assert!(many * 100 <= all, "{many} of {all} minutes have more than {WAKE_UPS_A_MINUTE} wake-ups");
    assert!(sum <= all as u64 * 11, "{sum} wake-ups in {all} minutes");
}

/// Tasks done together on one host must not be done at the same time on all hosts.
#[test]
fn agents_that_were_started_together_drift_apart() {
    for poll_every in [30, 600] {
        let poll_every = Duration::from_secs(poll_every);
        let mut polls = std::collections::BTreeMap::new();
        for seed in 0..SEEDS {
            let quiet = lived(Params { poll_every, ..params() }, seed, MINUTES);
            let last = quiet.polled.last().expect("polls").duration_since(quiet.begun);
            *polls.entry(last.as_secs() % poll_every.as_secs()).or_insert(0) += 1;
        }
        let most = polls.values().max().expect("polls");
        println!("every {poll_every:?}: in {} different seconds, {most} of {SEEDS} in the same", polls.len());
        assert!(*most <= SEEDS / 8, "{most} of {SEEDS} agents ask in the same second");
    }
}
