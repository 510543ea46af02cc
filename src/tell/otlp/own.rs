//! The agent's own telemetry: counts of its notices as metrics, and the notices themselves as log records. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use otelet_core::decide::{AgentReport, ConfigHash, Deliveries, Level, Notice};
use otelet_core::telemetry::agent::*;
use otelet_core::telemetry::{Attributes, EventRecord, Point, Severity, Value};
use otelet_wire::status::Losses;

use otelet_wire::status::ExportLosses;

/// Counts since the agent started.
#[derive(Debug, Default)]
pub struct Counts {
    failures: BTreeMap<&'static str, u64>,
    rollouts: BTreeMap<&'static str, u64>,
    refusals: u64,
    restarts: BTreeMap<&'static str, u64>,
    time_to_healthy: Option<Duration>,
    /// The config of the collector's last start.
    started: Option<ConfigHash>,
    /// The reason for the next start of the collector.
    cause: Option<&'static str>,
}

impl Counts {
    pub fn take(&mut self, notice: &Notice) {
        match notice {
            Notice::Applied { .. } => self.rollout("applied"),
            Notice::RolledBack { .. } => self.rollout("rolled_back"),
            Notice::Withdrawn { .. } => self.rollout("withdrawn"),
            Notice::Refused { .. } => self.refusals += 1,
            Notice::CollectorExited { .. } => self.cause = Some("crash"),
            Notice::CollectorHung { .. } => self.cause = Some("hung"),
            Notice::PortStolen => self.cause = Some("port"),
            Notice::RestartAsked => self.cause = Some("asked"),
            Notice::ProgramReplaced { starts: true, .. } => self.cause = Some("program"),
            Notice::LocalChanged { .. } => self.cause = Some("local"),
            Notice::EngineReadAgain { .. } => self.cause = Some("engine"),
            Notice::CollectorStarted { config, .. } => {
                let cause = self.cause.take();
                if let Some(last) = self.started.replace(*config) {
                    let without = if last == *config { "settings" } else { "config" };
                    *self.restarts.entry(cause.unwrap_or(without)).or_default() += 1;
                }
            }
            Notice::ExchangeFailed { kind: Some(kind), .. } => *self.failures.entry(kind.word()).or_default() += 1,
            Notice::CollectorHealthy { after, .. } => self.time_to_healthy = Some(*after),
            Notice::OrphanFound { .. }
            | Notice::CollectorUnhealthy { .. }
            | Notice::CollectorWellAgain
            | Notice::CollectorHeld { .. }
            | Notice::CollectorStopped { .. }
            | Notice::CollectorKilled { .. }
            | Notice::LeaderEnded { .. }
            | Notice::ProgramReplaced { .. }
            | Notice::ProgramRefuses { .. }
            | Notice::LocalRefused { .. }
            | Notice::ProgramNotAsked { .. }
            | Notice::RestartPlanned { .. }
            | Notice::ConfigOffered { .. }
            | Notice::TrialBegins { .. }
            | Notice::StillRefused { .. }
            | Notice::NothingToReturnTo { .. }
            | Notice::CannotValidate { .. }
            | Notice::CannotRecord { .. }
            | Notice::Lost { .. }
            | Notice::RefusalsCleared { .. }
            | Notice::ExchangeFailed { kind: None, .. }
            | Notice::SourceBack { .. }
            | Notice::StopAsked
            | Notice::ClocksDiffer { .. }
            | Notice::StopAskedAgain
            | Notice::FallbackServes { .. }
            | Notice::SourceServesAgain { .. }
            | Notice::ReportFailed { .. }
            | Notice::ExportFailed { .. }
            | Notice::ExportRefused { .. }
            | Notice::ExportBack
            | Notice::AlertFired { .. }
            | Notice::AlertResolved { .. }
            | Notice::AlertsNotKept { .. }
            | Notice::AlertsNotTaken { .. }
            | Notice::EngineWatched { .. }
            | Notice::EngineLost { .. }
            | Notice::AdditionsLeftOut { .. }
            | Notice::EngineLeftOut { .. }
            | Notice::CheckFailed { .. }
            | Notice::CheckGoodAgain { .. } => {}
        }
    }

    /// The log record of a notice, if it is an event for the log of the host. A notice about the collector that names
    /// no config gets the config of the last start.
    pub fn record(&self, notice: &Notice, at: SystemTime) -> Option<EventRecord> {
        let event = notice.event()?;
        let severity = match notice.level() {
            Level::Info | Level::Debug => Severity::Info,
            Level::Warn => Severity::Warn,
        };
        let running = self.started.filter(|_| event.starts_with("otelet.collector."));
        let mut attributes = Attributes::new();
        let mut with = |name: &'static str, value: Value| attributes.push((name.into(), value));
        if let Some(hash) = notice.config().or(running) {
            with("otelet.config.hash", hash.hex().into());
        }
        match notice {
            Notice::CollectorStarted { pid, .. }
            | Notice::CollectorStopped { pid, .. }
            | Notice::CollectorKilled { pid, .. }
            | Notice::OrphanFound { pid } => with("process.pid", i64::from(*pid).into()),
            Notice::FallbackServes { location, .. } | Notice::SourceServesAgain { location } => {
                with("otelet.source.location", location.clone().into());
            }
            Notice::RolledBack { to, .. } => with("otelet.config.restored_hash", to.hex().into()),
            _ => {}
        }
        Some(EventRecord { at, severity, event, body: notice.to_string(), attributes })
    }

    fn rollout(&mut self, outcome: &'static str) {
        *self.rollouts.entry(outcome).or_default() += 1;
    }

    /// All counts as points; sums count since `started`.
    pub fn points(&self, report: &AgentReport, losses: &Losses, started: SystemTime, now: SystemTime) -> Vec<Point> {
        let start = Some(started);
        let sum = |metric, value: u64| Point::new(metric, value).since(start);
        let by = |metric, attribute, value: &'static str, count| sum(metric, count).with(attribute, value);
        let uptime = now.duration_since(started).unwrap_or_default();
        let mut points = vec![Point::new(&UPTIME, uptime.as_secs_f64())];
        let exchanges = &report.exchanges;
        for (outcome, count) in
            [("offered", exchanges.offered), ("unchanged", exchanges.unchanged), ("failed", exchanges.failed)]
        {
            points.push(by(&EXCHANGES, "otelet.exchange.outcome", outcome, count));
        }
        for (metric, attribute, counts) in [
            (&EXCHANGE_FAILURES, "error.type", &self.failures),
            (&CONFIG_ROLLOUTS, "otelet.rollout.outcome", &self.rollouts),
            (&COLLECTOR_RESTARTS, "otelet.restart.cause", &self.restarts),
        ] {
            points.extend(counts.iter().map(|(value, count)| by(metric, attribute, value, *count)));
        }
        points.push(sum(&CONFIG_REFUSALS, self.refusals));
        let time = self.time_to_healthy.map(|time| time.as_secs_f64());
        points.extend(time.map(|time| Point::new(&COLLECTOR_TIME_TO_HEALTHY, time)));
        let ExportLosses { dropped_points, dropped_records, refused_points, refused_records } = losses.export;
        for (kind, reason, count) in [
            ("collector_log_line", "rate", losses.collector_log_lines),
            ("agent_log_line", "output", losses.agent_log_lines),
            ("point", "full", dropped_points),
            ("record", "full", dropped_records),
            ("point", "refused", refused_points),
            ("record", "refused", refused_records),
        ] {
            points.push(by(&LOSSES, "otelet.loss.kind", kind, count).with("otelet.loss.reason", reason));
        }
        let Deliveries { sent, failed, .. } = report.exports;
        for (outcome, count) in [("sent", sent), ("failed", failed)] {
            points.push(by(&EXPORTS, "otelet.export.outcome", outcome, count));
        }
        points
    }
}

/// The record of the agent's own start.
pub fn started(at: SystemTime) -> EventRecord {
    EventRecord {
        at,
        severity: Severity::Info,
        event: "otelet.agent.started",
        body: format!("otelet {} started", env!("CARGO_PKG_VERSION")),
        attributes: vec![("process.pid".into(), i64::from(std::process::id()).into())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otelet_core::decide::{FailureKind, Witness};

    const A: ConfigHash = ConfigHash([1; 32]);
    const B: ConfigHash = ConfigHash([2; 32]);

    fn start(config: ConfigHash) -> Notice {
        Notice::CollectorStarted { pid: 7, config, witness: Witness::HealthCheck }
    }

    #[test]
    fn each_restart_has_its_cause() {
        let mut counts = Counts::default();
        let exit =
            || Notice::CollectorExited { how: "code 1".into(), lived: Duration::ZERO, last_words: String::new() };
        for notice in [
            start(A),
            start(B),
            exit(),
            start(B),
            Notice::CollectorHung { why: "no answer".into() },
            start(B),
            Notice::RestartAsked,
            start(B),
            start(B),
            Notice::PortStolen,
            start(B),
            exit(),
            // After a rollback: the crash was the cause.
            start(A),
        ] {
            counts.take(&notice);
        }
        let expected = [("asked", 1), ("config", 1), ("crash", 2), ("hung", 1), ("port", 1), ("settings", 1)];
        assert_eq!(counts.restarts, BTreeMap::from(expected));
    }

    #[test]
    fn an_event_carries_its_config_and_its_process() {
        let mut counts = Counts::default();
        let record = counts.record(&start(A), SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((record.event, record.severity), ("otelet.collector.started", Severity::Info));
        assert_eq!(record.attributes[0], ("otelet.config.hash".into(), Value::from(A.hex())));
        assert_eq!(record.attributes[1], ("process.pid".into(), Value::Int(7)));
        let back = Notice::RolledBack { from: B, to: A, reason: "it died".into() };
        let record = counts.record(&back, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((record.event, record.severity), ("otelet.config.rolled_back", Severity::Warn));
        assert_eq!(record.attributes[0].1, Value::from(B.hex()));
        assert_eq!(record.attributes[1].1, Value::from(A.hex()));
        let again = Notice::StillRefused { hash: A };
        assert_eq!(counts.record(&again, SystemTime::UNIX_EPOCH), None, "an event only when it is refused first");
        counts.take(&start(A));
        let hung = Notice::CollectorHung { why: "no answer".into() };
        let record = counts.record(&hung, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(record.attributes, [("otelet.config.hash".into(), Value::from(A.hex()))]);
    }

    #[test]
    fn a_change_of_the_source_is_an_event_and_failures_are_counted_by_kind() {
        let mut counts = Counts::default();
        let location = "http://10.0.0.5/site-12.yaml".to_owned();
        let turned = Notice::FallbackServes { location: location.clone(), trouble: "answered 503".into() };
        let record = counts.record(&turned, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((record.event, record.severity), ("otelet.source.fallback", Severity::Warn));
        assert_eq!(record.attributes, [("otelet.source.location".into(), Value::from(location))]);
        assert!(record.body.ends_with("/site-12.yaml now: answered 503"), "{}", record.body);

        for kind in [Some(FailureKind::Status), None] {
            let (why, delay, running) = ("answered 503".to_owned(), Duration::ZERO, None);
            counts.take(&Notice::ExchangeFailed { why, kind, delay, running, news: false });
        }
        assert_eq!(
            counts.failures,
            BTreeMap::from([("status", 1)]),
            "an exchange without a request is no failure of a source"
        );
    }

    #[test]
    fn the_documentation_has_every_event() {
        let page = include_str!("../../../docs/export.md");
        // The names stand in the table of `Notice::event` only.
        let table = include_str!("../../../crates/core/src/decide/notice.rs");
        let quoted = table.split('"').filter(|text| text.starts_with("otelet.") && !text.contains(' '));
        let mut events: Vec<&str> = quoted.collect();
        let started = started(SystemTime::UNIX_EPOCH);
        events.push(started.event);
        assert!(events.len() > 20, "{events:?}");
        for event in events {
            assert!(page.contains(&format!("\n| `{event}` | ")), "docs/export.md lacks {event}");
        }
    }
}
