//! The status, put together from what the decisions report and from facts beside it.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use otelet_config::redact::Redactor;
use otelet_core::decide::{self, AgentReport, ConfigHash, Moment};
use otelet_core::telemetry::HostIdentity;
use otelet_core::units;
use otelet_wire::status::{
    AgentState, AgentStatus, Answer, CheckStatus, CollectorState, CollectorStatus, ConfigStatus, DockerStatus,
    ExchangesStatus, ExitStatus, ExportStatus, FileSystemStatus, HostStatus, Losses, RefusedStatus, RemoteConfigStatus,
    ReportsStatus, Status,
};

use crate::observe::host::Sample;
use crate::tell::alerts;

/// What the status needs to know beside the report.
#[derive(Debug)]
#[allow(missing_docs, reason = "each goes where its name is above")]
pub struct Facts<'a> {
    pub instance_uid: &'a str,
    pub started: SystemTime,
    pub start: u64,
    pub state: AgentState,
    pub source: Option<String>,
    pub collector_path: String,
    pub effective_path: Option<PathBuf>,
    pub losses: Losses,
    pub sample: &'a Sample,
    pub host: &'a HostIdentity,
    pub attributes: &'a [(String, String)],
    pub collector_name: &'a str,
    pub collector_version: &'a str,
    /// Why nothing that the collector takes in leaves this host.
    pub goes_nowhere: Option<String>,
    pub answer: Option<Answer>,
    pub checks: Vec<CheckStatus>,
    pub serial: u64,
    /// What the report knows of it is filled in.
    pub export: ExportStatus,
    pub docker: Option<DockerStatus>,
}

/// Puts together what is known.
pub fn compute(report: &AgentReport, facts: Facts<'_>, at: Moment) -> Status {
    let wall = |instant: Instant| {
        let time = match instant.checked_duration_since(at.now) {
            Some(ahead) => at.wall + ahead,
            None => at.wall.checked_sub(at.now - instant).unwrap_or(SystemTime::UNIX_EPOCH),
        };
        units::rfc3339(time)
    };
    let hex = |hash: Option<ConfigHash>| hash.map(|hash| hash.hex());
    let collector = &report.collector;
    let mut status = Status {
        agent: AgentStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            start: facts.start,
            instance_uid: facts.instance_uid.into(),
            since: units::rfc3339(facts.started),
            state: facts.state,
            attributes: facts.attributes.iter().cloned().collect(),
            memory_bytes: facts.sample.agent_memory,
        },
        collector: CollectorStatus {
            path: facts.collector_path,
            name: facts.collector_name.into(),
            version: facts.collector_version.into(),
            state: collector_state(collector.state),
            pid: collector.pid,
            since: collector.since.map(wall),
            next_start_at: collector.next_start.map(wall),
            config: hex(report.effective),
            witness: collector.witness.map(|it| it.to_string()),
            healthy: collector.healthy,
            trouble: collector.trouble.clone(),
            without_engine: collector.without_engine,
            goes_nowhere: facts.goes_nowhere,
            restarts: collector.restarts,
            last_exit: collector.last_exit.as_ref().map(|exit| ExitStatus {
                how: exit.how.clone(),
                at: units::rfc3339(exit.at),
                last_words: exit.last_words.clone(),
            }),
            memory_bytes: facts.sample.collector_memory,
        },
        config: ConfigStatus {
            source: facts.source,
            serving: report.serving.as_ref().map(|serving| serving.location.clone()),
            source_trouble: report.serving.as_ref().and_then(|serving| serving.trouble.clone()),
            remote_config_status: remote_config_status(report.status),
            message: report.message.clone(),
            remote_hash: hex(report.remote),
            effective_hash: hex(report.effective),
            last_good_hash: hex(report.last_good),
            previous_hash: hex(report.previous),
            candidate_hash: hex(report.candidate),
            held_until: report.held_until.map(wall),
            effective_path: facts.effective_path.map(|path| path.display().to_string()),
            refused: report
                .refused
                .iter()
                .map(|it| RefusedStatus {
                    hash: it.hash.hex(),
                    reason: it.reason.clone(),
                    at: units::rfc3339(it.at),
                    times: it.times,
                    barred: it.barred,
                })
                .collect(),
        },
        exchanges: ExchangesStatus {
            offered: report.exchanges.offered,
            unchanged: report.exchanges.unchanged,
            failed: report.exchanges.failed,
            last_error: report.exchanges.last_error.clone(),
            last_success: report.exchanges.last_success.map(units::rfc3339),
            next_at: report.next_exchange.map(wall),
        },
        reports: ReportsStatus {
            sent: report.reports.sent,
            failed: report.reports.failed,
            last_error: report.reports.last_error.clone(),
        },
        losses: Losses {
            alert_series: report.alerts.overlooked,
            alert_notifications: report.alerts.dropped,
            ..facts.losses
        },
        host: HostStatus {
            name: facts.host.name.clone(),
            id: facts.host.id.clone(),
            os_type: facts.host.os_type.clone(),
            os_version: facts.host.os_version.clone(),
            arch: facts.host.arch.clone(),
            memory_total_bytes: facts.sample.memory_total,
            memory_used_bytes: facts.sample.memory_used,
            load_1m: facts.sample.load_1m,
            cpu_utilization: facts.sample.cpu_utilization,
            uptime_seconds: facts.sample.uptime,
            memory_limit_bytes: facts.sample.memory_limit,
            cpu_limit: facts.sample.cpu_limit,
            file_systems: facts
                .sample
                .fullest
                .iter()
                .map(|it| FileSystemStatus {
                    mountpoint: it.mountpoint.clone(),
                    used_bytes: it.used,
                    free_bytes: it.free,
                    utilization: it.utilization(),
                })
                .collect(),
            hanging_mounts: facts.sample.hanging.clone(),
        },
        answer: facts.answer,
        checks: facts.checks,
        serial: facts.serial,
        written_at: units::rfc3339(at.wall),
        export: ExportStatus {
            sent: report.exports.sent,
            failed: report.exports.failed,
            last_error: report.exports.last_error.clone(),
            ..facts.export
        },
        alerts: report.alerts.alerts.iter().map(alerts::status_of).collect(),
        webhook: alerts::webhook_status(&report.alerts.messages),
        docker: facts.docker,
    };
    let why = status.why_unhealthy();
    let built_in = status.checks.iter_mut().find(|check| check.kind == "collector");
    if let (Some(check), Some(why)) = (built_in, why) {
        check.message = why;
    }
    status
}

/// Takes secrets out of what others have said: a collector may quote its own environment.
pub fn mask(status: &mut Status, redactor: &Redactor) {
    let texts = [
        Some(&mut status.config.message),
        status.collector.trouble.as_mut(),
        status.exchanges.last_error.as_mut(),
        status.export.last_error.as_mut(),
    ];
    let exit = status.collector.last_exit.as_mut().map(|exit| &mut exit.last_words);
    let reasons = status.config.refused.iter_mut().map(|refused| &mut refused.reason);
    let checks = status.checks.iter_mut().map(|check| &mut check.message);
    for text in texts.into_iter().flatten().chain(exit).chain(reasons).chain(checks) {
        *text = redactor.line(text);
    }
    status.alerts.iter_mut().for_each(|alert| alerts::mask(alert, redactor));
}

/// The state of the collector, in the words of the status.
pub fn collector_state(state: decide::CollectorState) -> CollectorState {
    match state {
        decide::CollectorState::Idle => CollectorState::Idle,
        decide::CollectorState::Held => CollectorState::Held,
        decide::CollectorState::Waiting => CollectorState::Waiting,
        decide::CollectorState::Starting => CollectorState::Starting,
        decide::CollectorState::Up => CollectorState::Up,
        decide::CollectorState::Stopping => CollectorState::Stopping,
    }
}

fn remote_config_status(status: decide::RemoteConfigStatus) -> RemoteConfigStatus {
    match status {
        decide::RemoteConfigStatus::Unset => RemoteConfigStatus::Unset,
        decide::RemoteConfigStatus::Applying => RemoteConfigStatus::Applying,
        decide::RemoteConfigStatus::Applied => RemoteConfigStatus::Applied,
        decide::RemoteConfigStatus::Failed => RemoteConfigStatus::Failed,
    }
}
