//! The status: written by the agent to its runtime directory, read by `otelet status` and by whoever likes JSON.
//!
//! The agent writes it when something changes, and when it is poked: so it costs nothing while nothing happens, and an
//! agent that does not answer a poke is known to hang.
//!
//! The rooms: here is what it says; `ask` reads it and asks for more; `screen` makes a page for people
//! of it; `show` puts that on a terminal.

mod ask;
mod screen;
mod show;
mod states;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::observe::check::CheckStatus;
use crate::observe::docker::DockerStatus;
use crate::observe::host::Sample;
use crate::os;
use crate::tell::alerts::{AlertStatus, WebhookStatus};
pub use ask::{Diagnosis, Request, Standby, Verb, diagnosis_path, fresh, path, read, request, request_path};
use otelet_config::redact::Redactor;
use otelet_core::decide::{AgentReport, ConfigHash, Moment};
use otelet_core::units;
pub use screen::screen;
pub use show::show;
pub use states::{AgentState, CollectorState, RemoteConfigStatus};

/// `status.json`. Times are RFC 3339 in UTC, hashes SHA-256 in hex, sizes bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The agent.
    pub agent: AgentStatus,
    /// Its child.
    pub collector: CollectorStatus,
    /// What it runs on, and what was offered.
    pub config: ConfigStatus,
    /// Round trips with the source.
    pub exchanges: ExchangesStatus,
    /// Plain reports to `report.url`.
    pub reports: ReportsStatus,
    /// What was lost, by kind.
    pub losses: Losses,
    /// The last sample of the host.
    pub host: HostStatus,
    /// What became of the last request by a person.
    pub answer: Option<Answer>,
    /// The checks: first those of the agent and the collector themselves.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
    /// Counts up with each one that is written: two may fall into one tick of the clock.
    pub serial: u64,
    /// When this was written.
    pub written_at: String,
    /// Metrics and events by OTLP.
    pub export: ExportStatus,
    /// What is held against thresholds.
    #[serde(default)]
    pub alerts: Vec<AlertStatus>,
    /// What became of it at `webhook.url`.
    #[serde(default)]
    pub webhook: WebhookStatus,
    /// The Docker engine, if one is watched.
    #[serde(default)]
    pub docker: Option<DockerStatus>,
}

/// The agent itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct AgentStatus {
    pub version: String,
    pub pid: u32,
    /// With the pid, a name that is not used twice: clock ticks since boot.
    pub start: u64,
    pub instance_uid: String,
    pub since: String,
    pub state: AgentState,
    pub attributes: BTreeMap<String, String>,
    pub memory_bytes: Option<u64>,
}

/// The collector.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct CollectorStatus {
    pub path: String,
    pub version: String,
    pub state: CollectorState,
    pub pid: Option<u32>,
    pub since: Option<String>,
    pub config: Option<String>,
    /// health_check, sd_notify, alive.
    pub witness: Option<String>,
    pub healthy: bool,
    pub trouble: Option<String>,
    #[serde(default)]
    pub without_engine: bool,
    pub restarts: u64,
    pub last_exit: Option<ExitStatus>,
    pub memory_bytes: Option<u64>,
}

/// The last end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct ExitStatus {
    pub how: String,
    pub at: String,
    pub last_words: String,
}

/// Configurations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct ConfigStatus {
    pub source: Option<String>,
    pub serving: Option<String>,
    pub source_trouble: Option<String>,
    pub remote_config_status: RemoteConfigStatus,
    pub message: String,
    pub remote_hash: Option<String>,
    pub effective_hash: Option<String>,
    pub last_good_hash: Option<String>,
    pub previous_hash: Option<String>,
    pub candidate_hash: Option<String>,
    pub effective_path: Option<String>,
    pub refused: Vec<RefusedStatus>,
}

/// A config that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct RefusedStatus {
    pub hash: String,
    pub reason: String,
    pub at: String,
    pub times: u32,
    /// Whether it is still not tried when it is offered.
    pub barred: bool,
}

/// Exchanges with the source since the agent started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct ExchangesStatus {
    pub offered: u64,
    pub unchanged: u64,
    pub failed: u64,
    pub last_error: Option<String>,
    pub last_success: Option<String>,
    pub next_at: Option<String>,
}

/// Plain reports since the agent started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct ReportsStatus {
    pub sent: u64,
    pub failed: u64,
    pub last_error: Option<String>,
}

/// What was lost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Losses {
    /// Lines of the collector over `collector.log_rate`, or that stderr would not take.
    pub collector_log_lines: u64,
    /// Lines of the agent that stderr would not take.
    pub agent_log_lines: u64,
    /// What could not be exported.
    #[serde(flatten)]
    pub export: crate::tell::otlp::ExportLosses,
    /// Series that are not looked at now, because an alert has more of them than it keeps in mind.
    #[serde(default)]
    pub alert_series: u64,
    /// Resolved alerts that the webhook did not take before too many others came after them.
    #[serde(default)]
    pub alert_notifications: u64,
}

/// Metrics and events by OTLP since the agent started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct ExportStatus {
    pub to: Option<String>,
    /// Where each goes; none while the collector that takes them has nobody for them.
    pub metrics_to: Option<String>,
    pub logs_to: Option<String>,
    pub sent: u64,
    pub failed: u64,
    pub last_error: Option<String>,
    pub waiting_points: u64,
    pub waiting_records: u64,
    pub buffer_bytes: u64,
}

/// The last sample of the host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct HostStatus {
    pub name: String,
    pub id: String,
    pub os_type: String,
    pub os_version: String,
    pub arch: String,
    pub memory_total_bytes: Option<u64>,
    pub memory_used_bytes: Option<u64>,
    pub load_1m: Option<f64>,
    pub cpu_utilization: Option<f64>,
    pub uptime_seconds: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub cpu_limit: Option<f64>,
    /// The fullest, the fullest first.
    pub file_systems: Vec<FileSystemStatus>,
    /// Mount points that do not answer.
    pub hanging_mounts: Vec<String>,
}

/// How full a file system is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct FileSystemStatus {
    pub mountpoint: String,
    pub used_bytes: u64,
    pub free_bytes: u64,
    pub utilization: f64,
}

/// What became of a request by a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Which request.
    pub id: String,
    /// Whether it was done.
    pub done: bool,
    /// In words.
    pub text: String,
}

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
    pub host: &'a crate::observe::host::Identity,
    pub attributes: &'a [(String, String)],
    pub collector_version: &'a str,
    pub answer: Option<Answer>,
    pub checks: Vec<CheckStatus>,
    pub serial: u64,
    /// What the report knows of it is filled in.
    pub export: ExportStatus,
    pub docker: Option<DockerStatus>,
}

/// What [`Status::essence`] sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Essence([u8; 32]);

impl Status {
    /// Puts together what is known.
    pub fn new(report: &AgentReport, facts: Facts<'_>, at: Moment) -> Self {
        let wall = |instant: Instant| {
            let time = match instant.checked_duration_since(at.now) {
                Some(ahead) => at.wall + ahead,
                None => at.wall.checked_sub(at.now - instant).unwrap_or(SystemTime::UNIX_EPOCH),
            };
            units::rfc3339(time)
        };
        let hex = |hash: Option<ConfigHash>| hash.map(|hash| hash.hex());
        let collector = &report.collector;
        Self {
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
                version: facts.collector_version.into(),
                state: collector.state.into(),
                pid: collector.pid,
                since: collector.since.map(wall),
                config: hex(report.effective),
                witness: collector.witness.map(|it| it.to_string()),
                healthy: collector.healthy,
                trouble: collector.trouble.clone(),
                without_engine: collector.without_engine,
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
                remote_config_status: report.status.into(),
                message: report.message.clone(),
                remote_hash: hex(report.remote),
                effective_hash: hex(report.effective),
                last_good_hash: hex(report.last_good),
                previous_hash: hex(report.previous),
                candidate_hash: hex(report.candidate),
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
            alerts: report.alerts.alerts.iter().map(AlertStatus::from).collect(),
            webhook: (&report.alerts.messages).into(),
            docker: facts.docker,
        }
    }

    /// Takes secrets out of what others have said: a collector may quote its own environment.
    pub fn mask(&mut self, redactor: &Redactor) {
        let texts = [
            Some(&mut self.config.message),
            self.collector.trouble.as_mut(),
            self.exchanges.last_error.as_mut(),
            self.export.last_error.as_mut(),
        ];
        let exit = self.collector.last_exit.as_mut().map(|exit| &mut exit.last_words);
        let reasons = self.config.refused.iter_mut().map(|refused| &mut refused.reason);
        let checks = self.checks.iter_mut().map(|check| &mut check.message);
        for text in texts.into_iter().flatten().chain(exit).chain(reasons).chain(checks) {
            *text = redactor.line(text);
        }
        self.alerts.iter_mut().for_each(|alert| alert.mask(redactor));
    }

    /// Two that are alike in this need not both be written: a sum over all but what changes all the time. What was
    /// written is not kept itself, with its thousand small texts.
    pub fn essence(&self) -> Essence {
        struct Sum(ring::digest::Context);
        impl std::io::Write for Sum {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.update(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut sum = Sum(ring::digest::Context::new(&ring::digest::SHA256));
        serde_json::to_writer(&mut sum, &self.lasting()).expect("maps with string keys and numbers only");
        Essence(sum.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The same without what changes all the time.
    fn lasting(&self) -> Self {
        let mut essence = self.clone();
        essence.written_at.clear();
        essence.serial = 0;
        essence.agent.memory_bytes = None;
        essence.collector.memory_bytes = None;
        essence.collector.since = None;
        essence.host = HostStatus { hanging_mounts: self.host.hanging_mounts.clone(), ..HostStatus::default() };
        essence.alerts = self.alerts.iter().map(AlertStatus::essence).collect();
        essence.webhook = WebhookStatus { last_error: self.webhook.last_error.clone(), ..WebhookStatus::default() };
        essence.losses = Losses::default();
        essence.docker = self.docker.as_ref().map(DockerStatus::essence);
        essence.checks = self.checks.iter().map(CheckStatus::essence).collect();
        essence.reports = ReportsStatus { last_error: self.reports.last_error.clone(), ..ReportsStatus::default() };
        essence.export = ExportStatus {
            // On a collector of ours the port changes with each start.
            metrics_to: self.export.metrics_to.as_ref().map(|_| String::new()),
            logs_to: self.export.logs_to.as_ref().map(|_| String::new()),
            sent: 0,
            failed: 0,
            waiting_points: 0,
            waiting_records: 0,
            buffer_bytes: 0,
            ..self.export.clone()
        };
        essence.exchanges = ExchangesStatus {
            offered: 0,
            unchanged: 0,
            failed: 0,
            last_success: None,
            next_at: None,
            last_error: self.exchanges.last_error.clone(),
        };
        essence
    }

    /// Whether the agent that wrote this is alive, here.
    pub fn agent_is_alive(&self) -> bool {
        self.agent.state != AgentState::Stopped && os::process_start(self.agent.pid) == Some(self.agent.start)
    }

    /// Why this is not healthy, if it is not.
    pub fn complaint(&self) -> Option<String> {
        let collector = &self.collector;
        if collector.healthy {
            return None;
        }
        let idle = (collector.state == CollectorState::Idle).then_some("there is no config to run yet");
        let why = collector.trouble.as_deref().or(idle);
        Some(match why {
            Some(why) => format!("collector is {}: {why}", collector.state),
            None => format!("collector is {}", collector.state),
        })
    }

    /// One line for service managers.
    pub fn summary(&self) -> String {
        let (collector, config) = (&self.collector, &self.config);
        let health = if collector.healthy { "healthy" } else { "not healthy" };
        let state = if collector.state == CollectorState::Up { health } else { collector.state.word() };
        format!(
            "collector {state}, config {}, {}",
            short(config.effective_hash.as_deref()),
            config.remote_config_status
        )
    }
}

fn short(hash: Option<&str>) -> String {
    hash.map_or_else(|| "none".into(), |hash| hash.chars().take(8).collect())
}
