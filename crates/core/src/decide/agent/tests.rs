use super::*;
use crate::decide::data::time::origin;
use crate::decide::{
    Additions, Child, EngineUse, Exit, ExportOutcome, ExportParams, Failure, FailureKind, Freshness, Probe,
    RemoteConfigStatus, Validator, Witness,
};
use std::time::SystemTime;

const EVERY: Duration = Duration::from_secs(60);
const AWAY: ExportParams = ExportParams { every: EVERY, to_collector: false, metrics: true };
const NEAR: ExportParams = ExportParams { every: EVERY, to_collector: true, metrics: true };

fn at(now: Instant) -> Moment {
    Moment { now, wall: SystemTime::UNIX_EPOCH, dice: u64::MAX }
}

/// An agent whose collector is healthy; its exports go to the collector or to a server.
fn agent(params: ExportParams, t0: Instant) -> Agent {
    const GOOD: ConfigHash = ConfigHash([1; 32]);
    let second = Duration::from_secs(1);
    let params = Params {
        sources: ["https://c.example/v1".to_owned()].into(),
        poll_every: EVERY,
        stop_timeout: EVERY,
        start_timeout: EVERY,
        probation: EVERY,
        report_every: None,
        watchdog: None,
        sample_every: EVERY,
        export: Some(params),
        ..Params::default()
    };
    let record = Record { last_good: Some(GOOD), ..Record::default() };
    let (mut agent, actions) = Agent::new(params, record, None, at(t0));
    assert!(
        actions.contains(&Action::Spawn {
            config: GOOD,
            without_engine: false,
            without_additions: false,
            only_known: true
        }),
        "{actions:?}"
    );
    let child = Child {
        pid: 7,
        program: String::new(),
        witness: Witness::HealthCheck,
        engine: EngineUse::Unused,
        additions: Additions::Unused,
    };
    agent.on(Event::Collector(CollectorEvent::Spawned(Ok(child))), at(t0));
    let (mut now, mut told) = (t0, Vec::new());
    while !agent.report().collector.healthy {
        now += second / 10;
        assert!(now < t0 + EVERY, "never probed");
        if agent.on(Event::Due, at(now)).contains(&Action::Probe(7)) {
            told = agent.on(Event::Collector(CollectorEvent::Probed { pid: 7, probe: Probe::Healthy }), at(now));
        }
    }
    // Everything that happened until now is exported.
    told.extend(agent.on(Event::Due, at(now + second * 2)));
    assert!(told.contains(&Action::Export), "{told:?}");
    agent.on(Event::Exported(Ok(ExportOutcome { sent: 1, ..ExportOutcome::default() })), at(now + second * 2));
    agent
}

/// An agent whose source fails and asks for an hour of rest, and whose exports fail.
fn failing(t0: Instant) -> Agent {
    let mut agent = agent(AWAY, t0);
    let failure = Failure { retry_after: Some(EVERY * 60), ..Failure::new(FailureKind::Tls, "not valid yet") };
    let outcome = ExchangeOutcome::Failed(failure.clone());
    // Both clocks go on together.
    let at = |now: Instant| Moment { wall: SystemTime::UNIX_EPOCH + (now - t0), ..at(now) };
    let now = t0 + EVERY;
    agent.on(Event::ExportQueued, at(now));
    agent.on(Event::Due, at(now + EVERY));
    let exchanged = Event::Exchanged { source: 0, freshness: Freshness::Fresh, validator: Validator::None, outcome };
    agent.on(exchanged, at(now + EVERY));
    agent.on(Event::Exported(Err(failure)), at(now + EVERY));
    agent
}

#[test]
fn what_failed_is_asked_again_at_once_when_the_clock_is_set() {
    let t0 = origin();
    let later = t0 + EVERY * 2 + Duration::from_secs(1);
    let asks = |actions: &[Action]| {
        let exchange = actions.iter().any(|action| matches!(action, Action::Exchange { .. }));
        (exchange, actions.contains(&Action::Export))
    };
    let gone_on = Moment { wall: SystemTime::UNIX_EPOCH + (later - t0), ..at(later) };
    let set = Moment { wall: gone_on.wall + EVERY * 1_000_000, ..gone_on };

    let actions = failing(t0).on(Event::Due, set);
    assert_eq!(asks(&actions), (true, true), "{actions:?}");
    assert!(failing(t0).waits_for_clock() && !agent(AWAY, t0).waits_for_clock());
    assert!(actions.contains(&Action::Tell(Notice::ClockSet { by: 60_000_000, again: true })), "{actions:?}");

    let actions = failing(t0).on(Event::Due, gone_on);
    assert_eq!(asks(&actions), (false, false), "nothing is set: {actions:?}");

    // A source that works is left alone.
    let actions = agent(AWAY, t0).on(Event::Due, set);
    assert!(!actions.contains(&Action::Export), "{actions:?}");
}

#[test]
fn the_collector_gets_the_last_export_before_its_stop_within_two_seconds() {
    let t0 = origin();
    let (later, patience) = (t0 + EVERY / 2, Duration::from_secs(2));
    let stop = || {
        let mut agent = agent(NEAR, t0);
        agent.on(Event::ExportQueued, at(later));
        let actions = agent.on(Event::Stop, at(later));
        assert!(actions.contains(&Action::Export) && !actions.contains(&Action::Terminate(7)), "{actions:?}");
        agent
    };
    let taken = stop().on(Event::Exported(Ok(ExportOutcome { sent: 1, ..ExportOutcome::default() })), at(later));
    assert!(taken.contains(&Action::Terminate(7)), "{taken:?}");

    let mut stalled = stop();
    assert_eq!(stalled.deadline(), later + patience);
    let late = stalled.on(Event::Due, at(later + patience));
    assert!(late.contains(&Action::Terminate(7)), "{late:?}");

    let hurried = stop().on(Event::Stop, at(later + ONE_STOP));
    assert!(hurried.contains(&Action::Kill(7)) || hurried.contains(&Action::Terminate(7)), "{hurried:?}");

    // With nothing to export the collector is stopped at once.
    let quiet = agent(NEAR, t0).on(Event::Stop, at(t0 + EVERY / 2));
    assert!(quiet.contains(&Action::Terminate(7)), "{quiet:?}");
}

#[test]
fn a_server_gets_the_last_export_after_the_collector_has_ended() {
    let t0 = origin();
    let (later, patience) = (t0 + EVERY / 2, Duration::from_secs(2));
    let stop = || {
        let mut agent = agent(AWAY, t0);
        let actions = agent.on(Event::Stop, at(later));
        assert!(actions.contains(&Action::Terminate(7)) && !actions.contains(&Action::Export), "{actions:?}");
        let exited = agent.on(Event::Collector(CollectorEvent::Exited { pid: 7, exit: Exit::default() }), at(later));
        assert!(exited.contains(&Action::Export) && !exited.contains(&Action::Quit), "{exited:?}");
        agent
    };
    let taken = stop().on(Event::Exported(Ok(ExportOutcome { sent: 1, ..ExportOutcome::default() })), at(later));
    assert_eq!(taken, [Action::Quit]);
    let mut stalled = stop();
    assert_eq!(stalled.deadline(), later + patience);
    assert_eq!(stalled.on(Event::Due, at(later + patience)), [Action::Quit]);
    let hurried = stop().on(Event::Stop, at(later + ONE_STOP));
    assert_eq!(hurried, [Action::Tell(Notice::StopAskedAgain), Action::Quit]);
}

#[test]
fn a_first_config_that_works_after_a_failure_is_on_probation() {
    const FIRST: ConfigHash = ConfigHash([3; 32]);
    let t0 = origin();
    let params = Params { poll_every: EVERY, stop_timeout: EVERY, probation: EVERY, ..Params::default() };
    let candidate = super::super::Candidate { hash: FIRST, attempts: 0 };
    let record = Record { remote: Some(FIRST), candidate: Some(candidate), ..Record::default() };
    let (mut agent, _) = Agent::new(Params { sample_every: EVERY, ..params }, record, None, at(t0));
    agent.on(Event::Recorded { generation: 1, result: Ok(()) }, at(t0));
    let mut now = t0;
    let mut start = |agent: &mut Agent, pid| {
        now += EVERY;
        agent.on(Event::Due, at(now));
        let (witness, engine) = (Witness::HealthCheck, EngineUse::Unused);
        let child = Child { pid, program: String::new(), witness, engine, additions: Additions::Unused };
        agent.on(Event::Collector(CollectorEvent::Spawned(Ok(child))), at(now));
        now
    };
    let status = |agent: &Agent| agent.report().status;
    let now = start(&mut agent, 7);
    let exit = Exit { how: "code 1".into(), ..Exit::default() };
    agent.on(Event::Collector(CollectorEvent::Exited { pid: 7, exit }), at(now));
    assert_eq!(status(&agent), RemoteConfigStatus::Failed);

    let now = start(&mut agent, 8);
    assert_eq!(status(&agent), RemoteConfigStatus::Failed, "it may end as the one before");
    agent.on(Event::Collector(CollectorEvent::Probed { pid: 8, probe: Probe::Healthy }), at(now));
    assert_eq!((status(&agent), agent.report().message), (RemoteConfigStatus::Applying, String::new()));
}

#[test]
fn a_config_that_an_earlier_agent_did_not_decide_waits_for_the_source() {
    let params = Params {
        sources: ["https://c.example/v1".to_owned()].into(),
        poll_every: EVERY,
        sample_every: EVERY,
        ..Params::default()
    };
    let record = Record { remote: Some(ConfigHash([1; 32])), ..Record::default() };
    let (agent, _) = Agent::new(params, record, None, at(origin()));
    assert_eq!(agent.report().status, RemoteConfigStatus::Applying);
    assert!(agent.report().message.ends_with("the source is asked for it again"), "{}", agent.report().message);
}
