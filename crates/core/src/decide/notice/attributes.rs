//! The parts of a notice as attributes of its event. OpenTelemetry's names where its conventions have one, `otelet.` where
//! they have none. docs/export.md lists them; a test holds the page.

use std::time::Duration;

use super::Notice;
use crate::decide::data::alert::{Alert, Threshold};
use crate::decide::data::collector::Exit;
use crate::decide::data::hash::ConfigHash;
use crate::telemetry::{Attributes, Value};
use crate::units::rfc3339;

/// The attributes so far.
struct Parts(Attributes);

impl Parts {
    fn add(&mut self, name: &'static str, value: Value) {
        self.0.push((name.into(), value));
    }

    fn text(&mut self, name: &'static str, text: &str) {
        if !text.is_empty() {
            self.add(name, text.to_owned().into());
        }
    }

    fn number(&mut self, name: &'static str, number: u32) {
        self.add(name, i64::from(number).into());
    }

    fn seconds(&mut self, name: &'static str, time: Duration) {
        self.add(name, time.as_secs_f64().into());
    }

    fn pid(&mut self, pid: u32) {
        self.number("process.pid", pid);
    }

    fn hash(&mut self, name: &'static str, hash: ConfigHash) {
        self.add(name, hash.hex().into());
    }

    fn message(&mut self, why: &str) {
        self.text("otelet.error.message", why);
    }

    fn location(&mut self, location: Option<&str>) {
        self.text("otelet.source.location", location.unwrap_or_default());
    }

    fn delay(&mut self, delay: Duration) {
        self.seconds("otelet.retry.delay", delay);
    }

    fn exit(&mut self, exit: &Exit) {
        for (name, number) in [("process.exit.code", exit.code), ("otelet.exit.signal", exit.signal)] {
            if let Some(number) = number {
                self.add(name, i64::from(number).into());
            }
        }
    }

    fn alert(&mut self, alert: &Alert) {
        let (condition, threshold) = match alert.threshold {
            Threshold::Above(value) => ("above", value),
            Threshold::Below(value) => ("below", value),
        };
        self.text("otelet.alert.name", &alert.name);
        self.text("otelet.alert.severity", alert.severity.word());
        self.text("otelet.alert.metric", &alert.metric);
        self.add("otelet.alert.value", alert.value.into());
        self.text("otelet.alert.condition", condition);
        self.add("otelet.alert.threshold", threshold.into());
        self.text("otelet.alert.since", &rfc3339(alert.since));
        self.text("otelet.alert.summary", alert.summary.as_deref().unwrap_or_default());
        self.0.extend(alert.attributes.iter().cloned());
    }
}

impl Notice {
    /// The parts of its event, without the hash of the config, see [`Notice::config`].
    pub fn attributes(&self) -> Attributes {
        let mut parts = Parts(Attributes::new());
        match self {
            Self::OrphanFound { pid } => parts.pid(*pid),
            Self::CollectorStarted { pid, program, config: _, witness } => {
                parts.pid(*pid);
                parts.text("process.executable.path", program);
                parts.add("otelet.collector.watched_by", witness.to_string().into());
            }
            Self::CollectorHealthy { config: _, after } => parts.seconds("otelet.collector.uptime", *after),
            Self::CollectorSlow { after, limit, why } => {
                parts.seconds("otelet.collector.uptime", *after);
                parts.seconds("otelet.collector.start_limit", *limit);
                parts.message(why);
            }
            Self::CollectorHung { why, next } => {
                if let Some(next) = next {
                    parts.seconds("otelet.collector.start_limit", *next);
                }
                parts.message(why);
            }
            Self::CollectorExited { pid, exit, lived, crashes, delay } => {
                parts.pid(*pid);
                parts.exit(exit);
                parts.seconds("otelet.collector.uptime", *lived);
                parts.number("otelet.collector.crashes", *crashes);
                parts.delay(*delay);
                parts.message(&exit.last_words);
            }
            Self::CollectorStopped { pid, exit } => {
                parts.pid(*pid);
                parts.exit(exit);
            }
            Self::CollectorKilled { pid, after } => {
                parts.pid(*pid);
                parts.seconds("otelet.collector.stop_timeout", *after);
            }
            Self::ProgramReplaced { config: _, version, starts } => {
                parts.text("otelet.collector.version", version);
                parts.text("otelet.collector.on_replaced", if *starts { "restart" } else { "wait" });
            }
            Self::ConfigHeld { hash, flapping, delay } => {
                parts.number("otelet.config.changes", flapping.times);
                parts.seconds("otelet.config.changes_within", flapping.within);
                if let Some((one, other)) = flapping.between {
                    parts.hash("otelet.config.other_hash", if one == *hash { other } else { one });
                }
                parts.delay(*delay);
            }
            Self::Refused { hash: _, reason, running } => {
                parts.message(reason);
                if let Some(running) = running {
                    parts.hash("otelet.config.running_hash", *running);
                }
            }
            Self::RolledBack { from: _, to, reason } => {
                parts.hash("otelet.config.restored_hash", *to);
                parts.message(reason);
            }
            Self::Withdrawn { hash: _, good } => parts.hash("otelet.config.restored_hash", *good),
            Self::CannotValidate { hash: _, why, delay }
            | Self::CannotRecord { why, delay }
            | Self::AlertsNotKept { why, delay } => {
                parts.message(why);
                parts.delay(*delay);
            }
            Self::ExchangeFailed { why, trouble, delay, running: _, news: _ } => {
                parts.location(trouble.location.as_deref());
                parts.text("error.type", trouble.kind.map_or("", |kind| kind.word()));
                parts.message(why);
                parts.delay(*delay);
            }
            Self::SourceBack { failures, location } => {
                parts.location(location.as_deref());
                parts.number("otelet.source.failures", *failures);
            }
            Self::ConfigOffered { hash: _, location } => parts.location(location.as_deref()),
            Self::FallbackServes { location, trouble } => {
                parts.location(Some(location));
                parts.message(trouble);
            }
            Self::SourceServesAgain { location } => parts.location(Some(location)),
            Self::ExportFailed { message, kind, delay } => {
                parts.text("error.type", kind.word());
                parts.message(message);
                parts.delay(*delay);
            }
            Self::EngineWatched { engine, socket, again: _ } => {
                parts.text("container.runtime.description", engine);
                parts.text("otelet.docker.socket", socket);
            }
            Self::EngineLost { message, socket, delay, news: _ } => {
                parts.text("otelet.docker.socket", socket);
                parts.message(message);
                parts.delay(*delay);
            }
            Self::CheckFailed { name, kind, message, every } => {
                parts.text("otelet.check.name", name);
                parts.text("otelet.check.kind", kind.word());
                parts.message(message);
                parts.seconds("otelet.check.every", *every);
            }
            Self::CheckGoodAgain { name, kind, failed_for } => {
                parts.text("otelet.check.name", name);
                parts.text("otelet.check.kind", kind.word());
                parts.seconds("otelet.check.failed_for", *failed_for);
            }
            Self::AlertFired { alert, lasted } => {
                parts.alert(alert);
                parts.seconds("otelet.alert.for", *lasted);
            }
            Self::AlertResolved { alert, why } => {
                parts.alert(alert);
                parts.text("otelet.alert.resolved_because", why);
            }
            Self::CollectorUnhealthy { why }
            | Self::CollectorHeld { reason: why }
            | Self::ProgramRefuses { config: _, why }
            | Self::LocalRefused { config: _, why }
            | Self::Lost { hash: _, message: why }
            | Self::NothingToReturnTo { hash: _, reason: why } => parts.message(why),
            // The hash of the config is their only part.
            Self::CollectorWellAgain
            | Self::LocalChanged { config: _ }
            | Self::Applied { hash: _ }
            | Self::RestartAsked
            | Self::ExportBack
            | Self::AdditionsLeftOut { config: _ }
            | Self::EngineLeftOut { config: _ }
            | Self::EngineReadAgain { config: _ } => {}
            // These are no events.
            Self::LeaderEnded { .. }
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
            | Self::ExportRefused { .. } => {}
        }
        parts.0
    }
}
