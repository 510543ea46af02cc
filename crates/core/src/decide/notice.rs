//! The lines of the agent's log: each says what happened and what comes next.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::data::alert::Alert;
use super::data::check::CheckKind;
use super::data::collector::{Exit, Witness};
use super::data::failure::{FailureKind, SourceTrouble};
use super::data::flapping::Flapping;
use super::data::hash::ConfigHash;
use crate::units::{counted, rfc3339, seconds};

mod attributes;

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A change that belongs in a timeline.
    Info,
    /// A failure that the agent is dealing with.
    Warn,
    /// A detail for a close look.
    Debug,
}

/// One line of the log, and perhaps an exported event.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are what the sentences below say")]
pub enum Notice {
    OrphanFound { pid: u32 },
    CollectorStarted { pid: u32, program: String, config: ConfigHash, witness: Witness },
    CollectorHealthy { config: ConfigHash, after: Duration },
    CollectorUnhealthy { why: String },
    CollectorWellAgain,
    CollectorHeld { reason: String },
    CollectorSlow { after: Duration, limit: Duration, why: String },
    // The time that the next start is given, if this one took too long.
    CollectorHung { why: String, next: Option<Duration> },
    // The ends in a row that count against its config, and the time until the next start.
    CollectorExited { pid: u32, exit: Exit, lived: Duration, crashes: u32, delay: Duration },
    CollectorStopped { pid: u32, exit: Exit },
    CollectorKilled { pid: u32, after: Duration },
    LeaderEnded { pid: u32 },
    ProgramReplaced { config: ConfigHash, version: String, starts: bool },
    ProgramRefuses { config: ConfigHash, why: String },
    LocalChanged { config: ConfigHash },
    LocalRefused { config: ConfigHash, why: String },
    ProgramNotAsked { why: String, delay: Duration },
    RestartPlanned { restart: u32, delay: Duration },
    PortStolen,
    // Without a location no source is known.
    ConfigOffered { hash: ConfigHash, location: Option<String> },
    ConfigHeld { hash: ConfigHash, flapping: Flapping, delay: Duration },
    ConfigAlike { hash: ConfigHash, news: bool },
    TrialBegins { hash: ConfigHash },
    Applied { hash: ConfigHash },
    Refused { hash: ConfigHash, reason: String, running: Option<ConfigHash> },
    StillRefused { hash: ConfigHash },
    RolledBack { from: ConfigHash, to: ConfigHash, reason: String },
    NothingToReturnTo { hash: ConfigHash, reason: String },
    Withdrawn { hash: ConfigHash, good: ConfigHash },
    CannotValidate { hash: ConfigHash, why: String, delay: Duration },
    CannotRecord { why: String, delay: Duration },
    Lost { hash: ConfigHash, message: String },
    RefusalsCleared { number: usize },
    ExchangeFailed { why: String, trouble: SourceTrouble, delay: Duration, running: Option<ConfigHash>, news: bool },
    SourceBack { failures: u32, location: Option<String> },
    FallbackServes { location: String, trouble: String },
    SourceServesAgain { location: String },
    ReportFailed { message: String, delay: Duration },
    RestartAsked,
    StopAsked,
    StopAskedAgain,
    ExportFailed { message: String, kind: FailureKind, delay: Duration },
    ExportRefused { message: String },
    ExportBack,
    AlertFired { alert: Box<Alert>, lasted: Duration },
    AlertResolved { alert: Box<Alert>, why: Cow<'static, str> },
    AlertsNotKept { why: String, delay: Duration },
    AlertsNotTaken { message: String, delay: Duration },
    ClocksDiffer { server: String, ahead: i64 },
    ClockSet { by: i64, again: bool },
    EngineWatched { engine: String, socket: String, again: bool },
    EngineLost { message: String, socket: String, delay: Duration, news: bool },
    AdditionsLeftOut { config: ConfigHash },
    EngineLeftOut { config: ConfigHash },
    EngineReadAgain { config: ConfigHash },
    CheckFailed { name: String, kind: CheckKind, message: String, every: Duration },
    CheckGoodAgain { name: String, kind: CheckKind, failed_for: Duration },
}

impl Notice {
    /// The level at which it is logged.
    pub fn level(&self) -> Level {
        match self {
            Self::CollectorStarted { .. }
            | Self::CollectorHealthy { .. }
            | Self::CollectorWellAgain
            | Self::CollectorStopped { .. }
            | Self::ConfigOffered { .. }
            | Self::TrialBegins { .. }
            | Self::Applied { .. }
            | Self::Withdrawn { .. }
            | Self::RefusalsCleared { .. }
            | Self::SourceBack { .. }
            | Self::SourceServesAgain { .. }
            | Self::RestartAsked
            | Self::ProgramReplaced { .. }
            | Self::LocalChanged { .. }
            | Self::StopAsked
            | Self::ExportBack
            | Self::AlertResolved { .. }
            | Self::EngineWatched { .. }
            | Self::EngineReadAgain { .. }
            | Self::CheckGoodAgain { .. } => Level::Info,
            Self::OrphanFound { .. }
            | Self::AdditionsLeftOut { .. }
            | Self::EngineLeftOut { .. }
            | Self::CollectorUnhealthy { .. }
            | Self::CollectorHeld { .. }
            | Self::CollectorSlow { .. }
            | Self::CollectorHung { .. }
            | Self::CollectorExited { .. }
            | Self::ProgramRefuses { .. }
            | Self::LocalRefused { .. }
            | Self::ProgramNotAsked { .. }
            | Self::LeaderEnded { .. }
            | Self::CollectorKilled { .. }
            | Self::RestartPlanned { .. }
            | Self::PortStolen
            | Self::Refused { .. }
            | Self::StillRefused { .. }
            | Self::ConfigHeld { .. }
            | Self::RolledBack { .. }
            | Self::NothingToReturnTo { .. }
            | Self::CannotValidate { .. }
            | Self::CannotRecord { .. }
            | Self::Lost { .. }
            | Self::FallbackServes { .. }
            | Self::ReportFailed { .. }
            | Self::StopAskedAgain
            | Self::ClocksDiffer { .. }
            | Self::CheckFailed { .. }
            | Self::ExportFailed { .. }
            | Self::ExportRefused { .. }
            | Self::AlertFired { .. }
            | Self::AlertsNotKept { .. }
            | Self::AlertsNotTaken { .. } => Level::Warn,
            Self::ConfigAlike { news: true, .. } => Level::Info,
            Self::ConfigAlike { news: false, .. } => Level::Debug,
            // A host that sleeps at night is no news each morning.
            Self::ClockSet { again: true, .. } => Level::Info,
            Self::ClockSet { again: false, .. } => Level::Debug,
            // A failure that repeats for a month is one line, not a million.
            Self::ExchangeFailed { news, .. } | Self::EngineLost { news, .. } => {
                if *news {
                    Level::Warn
                } else {
                    Level::Debug
                }
            }
        }
    }

    /// The name of the exported event; none for a step on the way to one.
    pub fn event(&self) -> Option<&'static str> {
        Some(match self {
            Self::OrphanFound { .. } => "otelet.collector.orphaned",
            Self::CollectorStarted { .. } => "otelet.collector.started",
            Self::CollectorHealthy { .. } | Self::CollectorWellAgain => "otelet.collector.healthy",
            Self::CollectorUnhealthy { .. } => "otelet.collector.unhealthy",
            Self::CollectorHeld { .. } => "otelet.collector.held",
            Self::CollectorSlow { .. } => "otelet.collector.slow",
            Self::CollectorHung { .. } => "otelet.collector.hung",
            Self::CollectorExited { .. } => "otelet.collector.crashed",
            Self::CollectorStopped { .. } => "otelet.collector.stopped",
            Self::CollectorKilled { .. } => "otelet.collector.killed",
            Self::ConfigOffered { .. } => "otelet.config.offered",
            Self::ConfigHeld { .. } => "otelet.config.held",
            Self::Applied { .. } => "otelet.config.applied",
            Self::Refused { .. } => "otelet.config.refused",
            Self::RolledBack { .. } | Self::NothingToReturnTo { .. } => "otelet.config.rolled_back",
            Self::Withdrawn { .. } => "otelet.config.withdrawn",
            Self::Lost { .. } => "otelet.config.lost",
            Self::CannotValidate { .. } => "otelet.config.not_validated",
            Self::CannotRecord { .. } | Self::AlertsNotKept { .. } => "otelet.state.not_written",
            // The first failure is an event; later ones are only counted.
            Self::ExchangeFailed { news: true, .. } => "otelet.source.lost",
            Self::SourceBack { .. } => "otelet.source.back",
            Self::FallbackServes { .. } => "otelet.source.fallback",
            Self::SourceServesAgain { .. } => "otelet.source.returned",
            Self::RestartAsked => "otelet.collector.restart_asked",
            Self::ProgramReplaced { .. } => "otelet.collector.replaced",
            Self::ProgramRefuses { .. } => "otelet.collector.replacement_refused",
            Self::LocalChanged { .. } => "otelet.config.local_changed",
            Self::LocalRefused { .. } => "otelet.config.local_refused",
            Self::ExportFailed { .. } => "otelet.export.lost",
            Self::ExportBack => "otelet.export.back",
            Self::EngineWatched { .. } => "otelet.docker.watched",
            Self::EngineLost { news: true, .. } => "otelet.docker.lost",
            Self::AdditionsLeftOut { .. } => "otelet.config.additions_left_out",
            Self::EngineLeftOut { .. } => "otelet.docker.left_out",
            Self::EngineReadAgain { .. } => "otelet.docker.read_again",
            Self::CheckFailed { .. } => "otelet.check.failed",
            Self::CheckGoodAgain { .. } => "otelet.check.good",
            Self::AlertFired { .. } => "otelet.alert.fired",
            Self::AlertResolved { .. } => "otelet.alert.resolved",
            Self::ExchangeFailed { news: false, .. }
            | Self::EngineLost { news: false, .. }
            | Self::LeaderEnded { .. }
            | Self::ProgramNotAsked { .. }
            | Self::RestartPlanned { .. }
            | Self::PortStolen
            | Self::TrialBegins { .. }
            | Self::ConfigAlike { .. }
            | Self::StillRefused { .. }
            | Self::RefusalsCleared { .. }
            | Self::ReportFailed { .. }
            | Self::StopAsked
            | Self::StopAskedAgain
            | Self::ClocksDiffer { .. }
            | Self::ClockSet { .. }
            | Self::AlertsNotTaken { .. }
            // The export of this event would be refused, too.
            | Self::ExportRefused { .. } => return None,
        })
    }

    /// The config that it is about.
    pub fn config(&self) -> Option<ConfigHash> {
        match self {
            Self::CollectorStarted { config: hash, .. }
            | Self::CollectorHealthy { config: hash, .. }
            | Self::ConfigOffered { hash, .. }
            | Self::ConfigHeld { hash, .. }
            | Self::ConfigAlike { hash, .. }
            | Self::TrialBegins { hash }
            | Self::Applied { hash }
            | Self::Refused { hash, .. }
            | Self::StillRefused { hash }
            | Self::RolledBack { from: hash, .. }
            | Self::NothingToReturnTo { hash, .. }
            | Self::Lost { hash, .. }
            | Self::Withdrawn { hash, .. }
            | Self::AdditionsLeftOut { config: hash }
            | Self::EngineLeftOut { config: hash }
            | Self::EngineReadAgain { config: hash }
            | Self::ProgramReplaced { config: hash, .. }
            | Self::ProgramRefuses { config: hash, .. }
            | Self::LocalChanged { config: hash }
            | Self::LocalRefused { config: hash, .. }
            | Self::CannotValidate { hash, .. } => Some(*hash),
            Self::ExchangeFailed { running, .. } => *running,
            Self::OrphanFound { .. }
            | Self::CollectorUnhealthy { .. }
            | Self::CollectorWellAgain
            | Self::CollectorHeld { .. }
            | Self::CollectorSlow { .. }
            | Self::CollectorHung { .. }
            | Self::CollectorExited { .. }
            | Self::CollectorStopped { .. }
            | Self::ProgramNotAsked { .. }
            | Self::LeaderEnded { .. }
            | Self::CollectorKilled { .. }
            | Self::RestartPlanned { .. }
            | Self::PortStolen
            | Self::CannotRecord { .. }
            | Self::RefusalsCleared { .. }
            | Self::SourceBack { .. }
            | Self::FallbackServes { .. }
            | Self::SourceServesAgain { .. }
            | Self::ReportFailed { .. }
            | Self::RestartAsked
            | Self::StopAsked
            | Self::StopAskedAgain
            | Self::ClocksDiffer { .. }
            | Self::ClockSet { .. }
            | Self::ExportFailed { .. }
            | Self::ExportRefused { .. }
            | Self::ExportBack
            | Self::AlertFired { .. }
            | Self::AlertResolved { .. }
            | Self::AlertsNotKept { .. }
            | Self::AlertsNotTaken { .. }
            | Self::EngineWatched { .. }
            | Self::EngineLost { .. }
            | Self::CheckFailed { .. }
            | Self::CheckGoodAgain { .. } => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OrphanFound { pid } => {
                write!(f, "found collector {pid} of an earlier agent; it is stopped before another one starts")
            }
            Self::CollectorStarted { pid, config, witness, .. } => {
                write!(f, "collector started: pid {pid}, config {config}, watched by {witness}")
            }
            Self::CollectorHealthy { config, after } => {
                write!(f, "collector healthy: config {config}, {} after its start", seconds(*after))
            }
            Self::CollectorUnhealthy { why } => {
                write!(f, "collector gives no good sign of health: {why}; asking again soon")
            }
            Self::CollectorWellAgain => f.write_str("collector healthy again"),
            Self::CollectorHeld { reason } => {
                write!(f, "collector cannot be started: {reason}; trying again every few seconds")
            }
            Self::CollectorSlow { after, limit, why } => write!(
                f,
                "collector is not healthy {} after its start: {why}; waiting for it, up to {} (collector.start_timeout)",
                seconds(*after),
                crate::units::format_time(*limit)
            ),
            Self::CollectorHung { why, next } => {
                write!(f, "collector hangs: {why}; stopping it")?;
                match next {
                    Some(next) => write!(f, "; the next start is given {}", crate::units::format_time(*next)),
                    None => Ok(()),
                }
            }
            Self::CollectorExited { exit, lived, .. } => {
                write!(f, "collector exited: {} after {}", exit.how, seconds(*lived))?;
                if exit.last_words.is_empty() { Ok(()) } else { write!(f, "; its last words: {}", exit.last_words) }
            }
            Self::CollectorStopped { pid, exit } => write!(f, "collector stopped: pid {pid}, {}", exit.how),
            Self::CollectorKilled { pid, after } => {
                write!(f, "collector {pid} did not end within collector.stop_timeout {}; killing it", seconds(*after))
            }
            Self::LeaderEnded { pid } => {
                write!(f, "collector {pid} has ended, and what it started still runs; asking that to end")
            }
            Self::ProgramReplaced { config, version, starts } => {
                let version = if version.is_empty() { "" } else { &format!(", version {version},") };
                let next = match starts {
                    true => "starting it",
                    false => "it runs from the next start on (collector.on_replaced: wait)",
                };
                write!(f, "the collector's program was replaced; the new one{version} takes config {config}: {next}")
            }
            Self::ProgramRefuses { config, why } => write!(
                f,
                "the collector's program was replaced, and the new one refuses config {config}: {why}; the one that runs \
                 goes on until it ends"
            ),
            Self::LocalChanged { config } => {
                write!(f, "collector.local has changed: starting the collector anew with it and config {config}")
            }
            Self::LocalRefused { config, why } => write!(
                f,
                "collector.local has changed, and config {config} is not valid any more, with it or without: {why}; the \
                 collector goes on as before"
            ),
            Self::ProgramNotAsked { why, delay } => write!(
                f,
                "the collector's program or collector.local has changed, and the collector cannot be asked: {why}; next \
                 try in {}",
                seconds(*delay)
            ),
            Self::RestartPlanned { restart, delay } => write!(f, "collector restart {restart} in {}", seconds(*delay)),
            Self::PortStolen => f.write_str(
                "somebody took the port picked for the collector's health_check; starting it with another one",
            ),
            Self::ConfigOffered { hash, .. } => write!(f, "config {hash} offered; validating it"),
            Self::ConfigHeld { hash, flapping, delay } => write!(
                f,
                "config {hash} waits for {}: {flapping}; `otelet rollback --clear` has it tried at once",
                seconds(*delay)
            ),
            Self::ConfigAlike { hash, .. } => write!(
                f,
                "config {hash} takes the place of the one that runs: it differs in comments and blank lines alone"
            ),
            Self::TrialBegins { hash } => write!(f, "config {hash} is valid; changing to it"),
            Self::Applied { hash } => write!(f, "config {hash} applied; it has survived its probation"),
            Self::Refused { hash, reason, running: Some(running) } => {
                write!(f, "config {hash} refused: {reason}; staying on {running}")
            }
            Self::Refused { hash, reason, running: None } => {
                write!(f, "config {hash} refused: {reason}; waiting for another one")
            }
            Self::StillRefused { hash } => write!(
                f,
                "config {hash} is offered again and was refused before; `otelet rollback --clear` has it tried again"
            ),
            Self::RolledBack { from, to, reason } => write!(f, "config {from} failed: {reason}; restored {to}"),
            Self::NothingToReturnTo { hash, .. } => {
                write!(
                    f,
                    "config {hash} failed and there is no earlier one; trying it again until it works or another comes"
                )
            }
            Self::Withdrawn { hash, good } => write!(f, "config {hash} is no longer offered; back to {good}"),
            Self::CannotValidate { hash, why, delay } => {
                write!(f, "config {hash} cannot be validated: {why}; next try in {}", seconds(*delay))
            }
            Self::CannotRecord { why, delay } => {
                write!(f, "cannot write the state: {why}; next try in {}, all goes on from memory", seconds(*delay))
            }
            Self::Lost { message, .. } => write!(f, "{message}; it will be fetched again"),
            Self::RefusalsCleared { number } => {
                write!(f, "{} may be tried again", counted(*number as u64, "refused config"))
            }
            Self::ExchangeFailed { why, delay, running, .. } => {
                write!(f, "config poll failed: {why}; next try in {}", seconds(*delay))?;
                match running {
                    Some(running) => write!(f, ", still on {running}"),
                    None => Ok(()),
                }
            }
            Self::ReportFailed { message, delay } => {
                write!(f, "report not taken: {message}; next try in {}", seconds(*delay))
            }
            Self::CheckFailed { name, message, every, .. } => {
                write!(f, "check {name} failed: {message}; checking again every {}", crate::units::format_time(*every))
            }
            Self::CheckGoodAgain { name, .. } => write!(f, "check {name} is good again"),
            Self::RestartAsked => f.write_str("the config server wants the collector started anew"),
            Self::ClocksDiffer { server, ahead } => {
                let by = seconds(Duration::from_secs(ahead.unsigned_abs()));
                let which = if *ahead > 0 { "behind" } else { "ahead of" };
                write!(
                    f,
                    "the clock of this host is {by} {which} that of {server}; alerts are sent in the time of the latter"
                )
            }
            Self::ClockSet { by, again } => {
                let time = seconds(Duration::from_secs(by.unsigned_abs()));
                let which = if *by > 0 { "forward" } else { "back" };
                write!(f, "the clock of this host was set {which} by {time}")?;
                f.write_str(if *again { "; asking again at once what has failed before" } else { "" })
            }
            Self::StopAsked => f.write_str("asked to stop; stopping the collector"),
            Self::StopAskedAgain => f.write_str("asked to stop again; killing the collector"),
            Self::EngineWatched { engine, socket, again } => {
                write!(f, "{engine} at {socket} is watched{}", if *again { " again" } else { "" })
            }
            Self::EngineLost { message, delay, .. } => write!(f, "{message}; next try in {}", seconds(*delay)),
            Self::AdditionsLeftOut { .. } => f.write_str(
                "the collector ended at its start: the next one is started without more.yaml and collector.local",
            ),
            Self::EngineLeftOut { config } => {
                write!(f, "the Docker engine is away: docker_stats is left out of config {config} until it is back")
            }
            Self::EngineReadAgain { config } => {
                write!(f, "the Docker engine is back: starting the collector anew with docker_stats of config {config}")
            }
            Self::FallbackServes { location, trouble } => write!(f, "configs come from {location} now: {trouble}"),
            Self::SourceServesAgain { location } => write!(f, "configs come from {location} again"),
            Self::SourceBack { failures, .. } => {
                write!(f, "config source answers again after {}", counted(u64::from(*failures), "failed poll"))
            }
            Self::ExportFailed { message, delay, .. } => {
                write!(f, "export failed: {message}; it is kept, next try in {}", seconds(*delay))
            }
            Self::ExportRefused { message } => write!(f, "export refused: {message}; it is dropped and counted"),
            Self::ExportBack => f.write_str("exports are taken again"),
            Self::AlertFired { alert, lasted } => {
                write!(f, "alert {} ({}) fires: {alert}, {}", alert.name, alert.severity, alert.threshold)?;
                if lasted.is_zero() { Ok(()) } else { write!(f, " for {}", seconds(*lasted)) }
            }
            Self::AlertResolved { alert, why } => {
                write!(f, "alert {} resolved, {why}: {alert}; it fired since {}", alert.name, rfc3339(alert.since))
            }
            Self::AlertsNotKept { why, delay } => write!(
                f,
                "cannot write the state of the alerts: {why}; next try in {}, all goes on from memory",
                seconds(*delay)
            ),
            Self::AlertsNotTaken { message, delay } => {
                write!(f, "alerts not taken by the webhook: {message}; next try in {}", seconds(*delay))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened_and_what_comes_next() {
        let hash = ConfigHash([0x7f; 32]);
        let line = |notice: Notice| notice.to_string();

        assert_eq!(
            line(Notice::ExchangeFailed {
                why: "https://c.example/v1: answered 503".into(),
                trouble: SourceTrouble { kind: Some(FailureKind::Status), location: None },
                delay: Duration::from_secs(41),
                running: Some(hash),
                news: true,
            }),
            "config poll failed: https://c.example/v1: answered 503; next try in 41s, still on 7f7f7f7f"
        );
        assert_eq!(
            line(Notice::CollectorExited {
                pid: 7,
                exit: Exit { how: "signal 9".into(), ..Exit::default() },
                lived: Duration::from_secs(12),
                crashes: 1,
                delay: Duration::ZERO,
            }),
            "collector exited: signal 9 after 12s"
        );
        assert_eq!(
            line(Notice::Refused { hash, reason: "unknown type".into(), running: None }),
            "config 7f7f7f7f refused: unknown type; waiting for another one"
        );
    }

    #[test]
    fn the_same_failure_again_is_not_news() {
        let level = |news| {
            let (trouble, delay) = (SourceTrouble::default(), Duration::ZERO);
            Notice::ExchangeFailed { why: String::new(), trouble, delay, running: None, news }.level()
        };
        assert_eq!(level(true), Level::Warn);
        assert_eq!(level(false), Level::Debug);
    }
}
