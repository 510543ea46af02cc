//! The agent's own telemetry: counts of its notices as metrics, and the notices themselves as log records. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use otelet_core::decide::data::failure::SourceTrouble;
use otelet_core::decide::{AgentReport, AlertSeverity, ConfigHash, Deliveries, Level, Notice};
use otelet_core::telemetry::agent::*;
use otelet_core::telemetry::{EventRecord, Point, Severity};
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
            Notice::ExchangeFailed { trouble: SourceTrouble { kind: Some(kind), .. }, .. } => {
                *self.failures.entry(kind.word()).or_default() += 1
            }
            Notice::ConfigAlike { hash, .. } => self.started = self.started.map(|_| *hash),
            Notice::CollectorHealthy { after, .. } => self.time_to_healthy = Some(*after),
            Notice::OrphanFound { .. }
            | Notice::CollectorUnhealthy { .. }
            | Notice::CollectorWellAgain
            | Notice::CollectorHeld { .. }
            | Notice::CollectorSlow { .. }
            | Notice::CollectorStopped { .. }
            | Notice::CollectorKilled { .. }
            | Notice::LeaderEnded { .. }
            | Notice::ProgramReplaced { .. }
            | Notice::ProgramRefuses { .. }
            | Notice::LocalRefused { .. }
            | Notice::ProgramNotAsked { .. }
            | Notice::RestartPlanned { .. }
            | Notice::ConfigOffered { .. }
            | Notice::ConfigHeld { .. }
            | Notice::TrialBegins { .. }
            | Notice::StillRefused { .. }
            | Notice::NothingToReturnTo { .. }
            | Notice::CannotValidate { .. }
            | Notice::CannotRecord { .. }
            | Notice::Lost { .. }
            | Notice::RefusalsCleared { .. }
            | Notice::ExchangeFailed { trouble: SourceTrouble { kind: None, .. }, .. }
            | Notice::SourceBack { .. }
            | Notice::StopAsked
            | Notice::ClocksDiffer { .. }
            | Notice::ClockSet { .. }
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
        let severity = match (notice, notice.level()) {
            (Notice::AlertFired { alert, .. }, _) => match alert.severity {
                AlertSeverity::Info => Severity::Info,
                AlertSeverity::Warning => Severity::Warn,
                AlertSeverity::Critical => Severity::Error,
            },
            (_, Level::Info | Level::Debug) => Severity::Info,
            (_, Level::Warn) => Severity::Warn,
        };
        let running = self.started.filter(|_| event.starts_with("otelet.collector."));
        let mut attributes = notice.attributes();
        if let Some(hash) = notice.config().or(running) {
            attributes.push(("otelet.config.hash".into(), hash.hex().into()));
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
        attributes: vec![
            ("process.pid".into(), i64::from(std::process::id()).into()),
            ("service.version".into(), env!("CARGO_PKG_VERSION").into()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otelet_core::decide::{Exit, FailureKind, Witness};
    use otelet_core::telemetry::Value;

    const A: ConfigHash = ConfigHash([1; 32]);
    const B: ConfigHash = ConfigHash([2; 32]);

    fn start(config: ConfigHash) -> Notice {
        Notice::CollectorStarted { pid: 7, program: String::new(), config, witness: Witness::HealthCheck }
    }

    #[test]
    fn each_restart_has_its_cause() {
        let mut counts = Counts::default();
        let exit = || {
            let exit = Exit { how: "code 1".into(), code: Some(1), ..Exit::default() };
            Notice::CollectorExited { pid: 7, exit, lived: Duration::ZERO, crashes: 1, delay: Duration::ZERO }
        };
        for notice in [
            start(A),
            start(B),
            exit(),
            start(B),
            Notice::CollectorHung { why: "no answer".into(), next: None },
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
    fn an_event_about_the_collector_carries_the_config_of_its_last_start() {
        let mut counts = Counts::default();
        let hash = |counts: &Counts, notice: &Notice| {
            let record = counts.record(notice, SystemTime::UNIX_EPOCH).expect("an event");
            record.attributes.into_iter().find(|(name, _)| name == "otelet.config.hash").map(|(_, value)| value)
        };
        let hung = Notice::CollectorHung { why: "no answer".into(), next: None };
        assert_eq!(hash(&counts, &hung), None);
        counts.take(&start(A));
        assert_eq!(hash(&counts, &hung), Some(Value::from(A.hex())));
        let back = Notice::RolledBack { from: B, to: A, reason: "it died".into() };
        assert_eq!(hash(&counts, &back), Some(Value::from(B.hex())));
        let again = Notice::StillRefused { hash: A };
        assert_eq!(counts.record(&again, SystemTime::UNIX_EPOCH), None, "an event only when it is refused first");
    }

    #[test]
    fn a_change_of_the_source_is_an_event_and_failures_are_counted_by_kind() {
        let mut counts = Counts::default();
        let location = "http://10.0.0.5/site-12.yaml".to_owned();
        let turned = Notice::FallbackServes { location: location.clone(), trouble: "answered 503".into() };
        let record = counts.record(&turned, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((record.event, record.severity), ("otelet.source.fallback", Severity::Warn));
        assert_eq!(record.attributes[0], ("otelet.source.location".into(), Value::from(location)));
        assert!(record.body.ends_with("/site-12.yaml now: answered 503"), "{}", record.body);

        for kind in [Some(FailureKind::Status), None] {
            let (why, delay, running) = ("answered 503".to_owned(), Duration::ZERO, None);
            let trouble = SourceTrouble { kind, location: None };
            counts.take(&Notice::ExchangeFailed { why, trouble, delay, running, news: false });
        }
        assert_eq!(
            counts.failures,
            BTreeMap::from([("status", 1)]),
            "an exchange without a request is no failure of a source"
        );
    }
}
