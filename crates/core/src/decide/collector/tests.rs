use super::*;
use crate::decide::data::collector::Exit;
use std::time::SystemTime;

const CONFIG: ConfigHash = ConfigHash([7; 32]);
const START: Duration = Duration::from_secs(300);

fn at(now: Instant) -> Moment {
    Moment { now, wall: SystemTime::UNIX_EPOCH, dice: 0 }
}

/// Starts a collector while the engine is in this state. Returns whether its Docker receivers were left out.
fn started(engine: Presence, now: Instant) -> (Collector, bool) {
    let mut collector = Collector::new(None, [Duration::from_secs(35), START], now, &mut Vec::new());
    collector.engine = engine;
    collector.want(Some(CONFIG));
    let mut out = Vec::new();
    collector.on(CollectorEvent::Due, at(now), &mut out);
    let [Action::Spawn { without_engine, .. }] = out[..] else { panic!("{out:?}") };
    let engine = if without_engine { EngineUse::LeftOut } else { EngineUse::Read };
    let child =
        Child { pid: 7, program: String::new(), witness: Witness::HealthCheck, engine, additions: Additions::Unused };
    collector.on(CollectorEvent::Spawned(Ok(child)), at(now), &mut Vec::new());
    (collector, without_engine)
}

fn dies(collector: &mut Collector, now: Instant) -> Option<RunFailure> {
    let exit = Exit { how: "code 1".into(), ..Exit::default() };
    collector.on(CollectorEvent::Exited { pid: 7, exit }, at(now), &mut Vec::new())
}

#[test]
fn a_failed_start_counts_against_its_config_only_if_the_engine_was_there() {
    use Presence::{Away, Coming, There, Unknown, Unwanted};
    let t0 = crate::decide::data::time::origin();
    for (before, after, without, guilty) in [
        (There, There, false, true),
        (Unwanted, Unwanted, false, true),
        (Unknown, Away, false, false),
        (Unknown, Coming, false, false),
        (Coming, There, false, false),
        (There, Away, false, false),
        // It was started without its Docker receivers.
        (Away, Away, true, true),
    ] {
        let (mut collector, is_without) = started(before, t0);
        assert_eq!(is_without, without, "{before:?}");
        collector.engine = after;
        assert_eq!(dies(&mut collector, t0 + FIRST_DELAY).is_some(), guilty, "{before:?}, then {after:?}");
    }
}

#[test]
fn what_a_script_has_started_is_asked_to_end_before_the_next_start() {
    let t0 = crate::decide::data::time::origin();
    let (mut collector, _) = started(Presence::Unwanted, t0);
    let mut out = Vec::new();
    collector.on(CollectorEvent::LeaderEnded { pid: 7 }, at(t0 + STABLE), &mut out);
    assert!(out.contains(&Action::Terminate(7)), "{out:?}");
    let until = t0 + STABLE + Duration::from_secs(35);
    assert_eq!(collector.due(), Some(Due::at(until)));
    assert!(!collector.is_down() && collector.running() == Some(CONFIG));

    let mut killed = Vec::new();
    collector.on(CollectorEvent::Due, at(until), &mut killed);
    assert!(killed.contains(&Action::Kill(7)), "{killed:?}");

    let mut out = Vec::new();
    let exit = Exit { how: "code 0".into(), ..Exit::default() };
    let failed = collector.on(CollectorEvent::Exited { pid: 7, exit }, at(until), &mut out);
    assert!(collector.is_down() && failed.is_some());
    let exit = Exit { how: "code 0".into(), ..Exit::default() };
    let told = Notice::CollectorExited { pid: 7, exit, lived: STABLE, crashes: 1, delay: Duration::ZERO };
    assert!(out.contains(&Action::Tell(told)), "its life ended with its first process: {out:?}");
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
        let child = Child { pid: 7, program: String::new(), witness, engine, additions: Additions::Unused };
        collector.on(CollectorEvent::Spawned(Ok(child)), Moment { now, ..at }, &mut Vec::new());
    }
    assert!(delays[0] <= Duration::from_millis(100), "the first restart is at once: {delays:?}");
    assert!(delays.is_sorted(), "each delay is at least as long as the one before: {delays:?}");
    // docs/behaviour.md promises backoff up to 60 s.
    let longest = delays[19].as_secs_f64();
    assert!((59.9..=60.0).contains(&longest), "{delays:?}");
}

/// Probes a collector that refuses each probe until it is ended. Returns the time that it was given.
fn waits_for_health(collector: &mut Collector, now: Instant) -> Duration {
    for second in 0..100_000 {
        let time = now + Duration::from_secs(second);
        let refused = Probe::Silent("connection refused".into());
        let mut out = Vec::new();
        collector.on(CollectorEvent::Probed { pid: 7, probe: refused }, at(time), &mut out);
        if out.contains(&Action::Terminate(7)) {
            return time - now;
        }
    }
    panic!("it is never ended");
}

#[test]
fn a_slow_collector_is_given_more_time_with_each_start_until_it_is_healthy() {
    let mut now = crate::decide::data::time::origin();
    let (mut collector, _) = started(Presence::Unwanted, now);
    let mut start = |collector: &mut Collector, gap: Duration| {
        now += gap;
        let exit = Exit { how: "signal 15".into(), ..Exit::default() };
        collector.on(CollectorEvent::Exited { pid: 7, exit }, at(now), &mut Vec::new());
        now += CAP;
        collector.on(CollectorEvent::Due, at(now), &mut Vec::new());
        let (witness, engine) = (Witness::HealthCheck, EngineUse::Read);
        let child = Child { pid: 7, program: String::new(), witness, engine, additions: Additions::Unused };
        collector.on(CollectorEvent::Spawned(Ok(child)), at(now), &mut Vec::new());
        now
    };
    let mut begun = start(&mut collector, Duration::ZERO);
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(waits_for_health(&mut collector, begun));
        begun = start(&mut collector, given[given.len() - 1]);
    }
    assert_eq!(given, [START, START * 2, START * 4, START * 8]);

    let healthy = CollectorEvent::Probed { pid: 7, probe: Probe::Healthy };
    collector.on(healthy, at(begun), &mut Vec::new());
    begun = start(&mut collector, START);
    assert_eq!(waits_for_health(&mut collector, begun), START, "what was healthy begins anew");
}

#[test]
fn a_longer_start_timeout_holds_for_the_start_under_way() {
    let now = crate::decide::data::time::origin();
    let (mut collector, _) = started(Presence::Unwanted, now);
    collector.reconfigure(START, START * 3);
    assert_eq!(waits_for_health(&mut collector, now), START * 3);
}

#[test]
fn a_collector_without_the_engine_is_started_anew_when_the_engine_is_back() {
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
