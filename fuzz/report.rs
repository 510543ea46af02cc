//! A report of a fresh agent, which each exchange needs.

use std::time::{Duration, Instant, SystemTime};

use otelet_core::decide::{Agent, Moment, Params, Record};
use otelet_core::telemetry::HostIdentity;
use otelet::observe::host::Sample;
use otelet::source::Report;
use otelet::status::{self, Facts};
use otelet_wire::status::{AgentState, Losses};

/// Settings from these flags, on a host without files and variables.
#[allow(dead_code, reason = "not every target needs settings")]
pub fn settings(flags: &[&str]) -> otelet::settings::Settings {
    let invocation = otelet::cli::parse(flags.iter().map(Into::into)).expect("good flags");
    let world = otelet::settings::World {
        var: Box::new(|_| None),
        read: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
        here: "/".into(),
    };
    otelet::settings::load(&invocation.flags, &world).expect("good settings")
}

pub fn report() -> Report {
    let at = Moment { now: Instant::now(), wall: SystemTime::UNIX_EPOCH, dice: 0 };
    let second = Duration::from_secs(1);
    let params = Params {
        sources: vec!["https://c.example/".to_owned()].into(),
        poll_every: second,
        stop_timeout: second,
        probation: second,
        ..Params::default()
    };
    let facts = Facts {
        instance_uid: "",
        started: at.wall,
        start: 0,
        state: AgentState::Running,
        source: None,
        collector_path: String::new(),
        collector_name: "",
        goes_nowhere: None,
        collector_version: "",
        effective_path: None,
        losses: Losses::default(),
        sample: &Sample::default(),
        host: &HostIdentity::default(),
        attributes: &[],
        answer: None,
        checks: Vec::new(),
        export: Default::default(),
        docker: None,
        serial: 0,
    };
    let nothing_yet = Agent::new(params, Record::default(), None, at).0.report();
    Report { status: status::compute(&nothing_yet, facts, at), effective_config: None, components: None }
}
