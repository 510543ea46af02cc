//! The status: what `status.json`, reports and a hub say of one agent. Pure data, and the sentences that follow from it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::states::{AgentState, CollectorState, RemoteConfigStatus};

/// `status.json`. Times are RFC 3339 in UTC, hashes SHA-256 in hex, sizes bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The agent.
    pub agent: AgentStatus,
    /// Its child.
    pub collector: CollectorStatus,
    /// The config that runs and the one that was offered.
    pub config: ConfigStatus,
    /// Round trips with the source.
    pub exchanges: ExchangesStatus,
    /// Plain reports to `report.url`.
    pub reports: ReportsStatus,
    /// The losses, by kind.
    pub losses: Losses,
    /// The last sample of the host.
    pub host: HostStatus,
    /// The outcome of the last request by a person.
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
    /// The alerts of the settings.
    #[serde(default)]
    pub alerts: Vec<AlertStatus>,
    /// The deliveries to `webhook.url`.
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
    #[serde(default)]
    pub name: String,
    pub version: String,
    pub state: CollectorState,
    pub pid: Option<u32>,
    pub since: Option<String>,
    /// When it will be started, while it waits for that.
    #[serde(default)]
    pub next_start_at: Option<String>,
    pub config: Option<String>,
    /// health_check, sd_notify, alive.
    pub witness: Option<String>,
    pub healthy: bool,
    pub trouble: Option<String>,
    #[serde(default)]
    pub without_engine: bool,
    /// Why nothing that it takes in leaves this host; none if it may.
    #[serde(default)]
    pub goes_nowhere: Option<String>,
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
    /// The time until which the offered config waits, because there were many changes.
    #[serde(default)]
    pub held_until: Option<String>,
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

/// The losses since the agent started.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Losses {
    /// Lines of the collector over `collector.log_rate`, or that stderr would not take.
    pub collector_log_lines: u64,
    /// Lines of the agent that stderr would not take.
    pub agent_log_lines: u64,
    /// Points and records that could not be exported.
    #[serde(flatten)]
    pub export: ExportLosses,
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

impl Status {
    /// The same without what changes all the time.
    pub fn lasting(&self) -> Self {
        let mut essence = self.clone();
        essence.written_at.clear();
        essence.serial = 0;
        essence.config.held_until = self.config.held_until.as_ref().map(|_| String::new());
        essence.agent.memory_bytes = None;
        essence.collector.memory_bytes = None;
        essence.collector.since = None;
        essence.collector.next_start_at = None;
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

    /// Why this is not healthy, if it is not.
    pub fn complaint(&self) -> Option<String> {
        self.why_unhealthy().map(|why| format!("collector is {}: {why}", self.collector.state))
    }

    /// The reason of [`complaint`](Self::complaint) alone. It follows from what runs and from what was offered, and has
    /// no times in it: those would make it news at each look.
    pub fn why_unhealthy(&self) -> Option<String> {
        let collector = &self.collector;
        if collector.healthy {
            return None;
        }
        if let Some(trouble) = &collector.trouble {
            return Some(trouble.clone());
        }
        let ending = matches!(self.agent.state, AgentState::Stopping | AgentState::Stopped);
        let exit = collector.last_exit.as_ref().map(|exit| match exit.last_words.as_str() {
            "" => format!("; last exit: {}", exit.how),
            words => format!("; last exit: {}: {words}", exit.how),
        });
        let with_exit = |words: &str| format!("{words}{}", exit.unwrap_or_default());
        Some(match collector.state {
            CollectorState::Idle if ending => "the agent is ending".into(),
            CollectorState::Idle => self.why_idle(),
            CollectorState::Held => "it cannot be started".into(),
            CollectorState::Waiting => with_exit("it will be started again"),
            CollectorState::Starting => with_exit("it is being started"),
            CollectorState::Up => with_exit("it was started and has given no sign of health yet"),
            CollectorState::Stopping if ending => "the agent is ending".into(),
            CollectorState::Stopping => "it was asked to stop, to be started anew".into(),
            CollectorState::Unknown => "its state is known to a later version of otelet".into(),
        })
    }

    /// Why no collector runs although the agent does.
    fn why_idle(&self) -> String {
        let config = &self.config;
        let offered = short(config.remote_hash.as_deref());
        let refused = config.refused.iter().any(|it| it.barred && Some(&it.hash) == config.remote_hash.as_ref());
        match config.remote_config_status {
            RemoteConfigStatus::Unset | RemoteConfigStatus::Unknown => "there is no config to run yet".into(),
            RemoteConfigStatus::Applying if config.message.is_empty() => format!("config {offered} is being checked"),
            RemoteConfigStatus::Applying => format!("config {offered} waits: {}", config.message),
            RemoteConfigStatus::Applied => format!("config {offered} will be started"),
            RemoteConfigStatus::Failed if refused => {
                format!("config {offered} was refused and there is no other one: {}", config.message)
            }
            RemoteConfigStatus::Failed => format!("config {offered} cannot be tried: {}", config.message),
        }
    }

    /// One line for service managers.
    pub fn summary(&self) -> String {
        let (collector, config) = (&self.collector, &self.config);
        let health = if collector.healthy { "healthy" } else { "not healthy" };
        let state = if collector.state == CollectorState::Up { health } else { collector.state.word() };
        // A service manager takes the next line for another message.
        let why = self.why_unhealthy().map(|why| format!(": {}", why.replace(char::is_control, " ")));
        format!(
            "collector {state}, config {}, {}{}",
            short(config.effective_hash.as_deref()),
            config.remote_config_status,
            why.unwrap_or_default()
        )
    }
}

/// The first eight digits of a hash, enough for a person.
pub fn short(hash: Option<&str>) -> String {
    hash.map_or_else(|| "none".into(), |hash| hash.chars().take(8).collect())
}

/// A check in the status.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct CheckStatus {
    pub name: String,
    /// agent, collector, http, tcp, dns, exec.
    pub kind: String,
    /// None before the first result.
    pub ok: Option<bool>,
    pub since: Option<String>,
    pub last_at: Option<String>,
    pub duration_ms: Option<u64>,
    pub message: String,
}

impl CheckStatus {
    /// The same without what changes with each result.
    pub fn essence(&self) -> Self {
        Self { last_at: None, duration_ms: None, message: String::new(), ..self.clone() }
    }
}

/// An alert of the settings, or one of its series, as the status has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct AlertStatus {
    pub name: String,
    pub metric: String,
    pub state: AlertState,
    pub severity: String,
    pub since: Option<String>,
    pub value: Option<f64>,
    pub threshold: String,
    pub attributes: BTreeMap<String, String>,
    pub summary: Option<String>,
}

/// The state of an alert, or of one of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nothing was measured.
    Unmeasured,
    /// The value is good.
    Good,
    /// The value is bad, but not yet for long enough.
    Pending,
    /// The value was bad for long enough.
    Firing,
    /// Written by another version of otelet.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmeasured => "unmeasured",
            Self::Good => "good",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Unknown => "unknown",
        })
    }
}

/// Batches of alerts to `webhook.url` since the agent started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct WebhookStatus {
    pub sent: u64,
    pub failed: u64,
    pub last_error: Option<String>,
}

impl AlertStatus {
    /// The same without the part that changes with each sample.
    pub fn essence(&self) -> Self {
        Self { value: None, ..self.clone() }
    }
}

/// The part of the status that is about a Docker engine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct DockerStatus {
    pub socket: String,
    pub engine: Option<String>,
    pub version: Option<String>,
    pub api: Option<String>,
    pub connected: bool,
    pub trouble: Option<String>,
    pub events: u64,
    pub events_lost: u64,
    pub containers: Vec<ContainerStatus>,
    /// Beyond the limit, and the names of some of them.
    pub containers_left_out: u64,
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Of the containers of the list, in the last round. None before its end.
    #[serde(default)]
    pub containers_looked_at: Option<u64>,
}

impl DockerStatus {
    /// The same without what changes all the time.
    pub fn essence(&self) -> Self {
        Self { events: 0, events_lost: 0, containers_looked_at: None, ..self.clone() }
    }

    /// The containers beyond the limit, for people.
    pub fn not_looked_at(&self) -> Option<String> {
        let (names, number) = (&self.left_out, self.containers_left_out);
        let rest = if number > names.len() as u64 { ", ..." } else { "" };
        let all = format!("not looked at: {number} that were created last: {}{rest}", names.join(", "));
        (number > 0).then_some(all)
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let engine = match (&self.engine, &self.version) {
            (Some(engine), Some(version)) => format!("{engine} {version} at {}", self.socket),
            _ => self.socket.clone(),
        };
        let number = self.containers.len() as u64 + self.containers_left_out;
        match self.connected {
            true => {
                let run = if number == 1 { "runs" } else { "run" };
                let s = |number| if number == 1 { "" } else { "s" };
                format!("{engine}, {number} container{} {run}, {} event{}", s(number), self.events, s(self.events))
            }
            false => format!("{engine}, not connected"),
        }
    }
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct ContainerStatus {
    /// The first twelve digits, as the engine's own client shows them.
    pub id: String,
    pub name: String,
    pub image: String,
    /// running, paused, restarting.
    pub state: String,
    /// healthy, unhealthy, starting.
    pub health: Option<String>,
    /// Compose's project and service.
    pub project: Option<String>,
    pub service: Option<String>,
    pub since: Option<String>,
}

/// What was lost on the way, in points and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct ExportLosses {
    /// The buffer was full.
    pub dropped_points: u64,
    pub dropped_records: u64,
    /// The endpoint would not have them.
    pub refused_points: u64,
    pub refused_records: u64,
}

/// The body of a plain report.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation: docs/status.md has a line for each")]
pub struct PlainReport<'a> {
    #[serde(flatten)]
    pub status: &'a Status,
    pub effective_config: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: CollectorState, offered: RemoteConfigStatus) -> Status {
        let mut status = Status::default();
        status.collector.state = state;
        status.config.remote_config_status = offered;
        if offered != RemoteConfigStatus::Unset {
            status.config.remote_hash = Some("7f3a51c0aa".into());
        }
        if offered == RemoteConfigStatus::Failed {
            status.config.message = "unknown type".into();
        }
        status
    }

    const STATES: [CollectorState; 6] = [
        CollectorState::Idle,
        CollectorState::Held,
        CollectorState::Waiting,
        CollectorState::Starting,
        CollectorState::Up,
        CollectorState::Stopping,
    ];

    /// Every pair of what runs and what was offered, with the words that a person, a probe and a server get.
    #[test]
    fn each_pair_of_what_runs_and_what_was_offered_has_its_words() {
        use RemoteConfigStatus::{Applied, Applying, Failed, Unset};
        let (waiting, starting, up, stopping) = (
            "collector is waiting: it will be started again",
            "collector is starting: it is being started",
            "collector is up: it was started and has given no sign of health yet",
            "collector is stopping: it was asked to stop, to be started anew",
        );
        for offered in [Unset, Applying, Applied, Failed] {
            let idle = match offered {
                Unset => "collector is idle: there is no config to run yet",
                Applying => "collector is idle: config 7f3a51c0 is being checked",
                Applied => "collector is idle: config 7f3a51c0 will be started",
                _ => "collector is idle: config 7f3a51c0 cannot be tried: unknown type",
            };
            let words = [idle, "collector is held: it cannot be started", waiting, starting, up, stopping];
            for (state, words) in STATES.into_iter().zip(words) {
                let mut status = status(state, offered);
                assert_eq!(status.complaint().as_deref(), Some(words), "{state} beside {offered}");

                status.collector.last_exit =
                    Some(ExitStatus { how: "code 1".into(), at: String::new(), last_words: "no such port".into() });
                let said = status.complaint().unwrap();
                let tells = [CollectorState::Waiting, CollectorState::Starting, CollectorState::Up].contains(&state);
                assert_eq!(said == format!("{words}; last exit: code 1: no such port"), tells, "{said}");
                assert!(tells || said == words, "{said}");

                status.collector.trouble = Some("/opt/otelcol: no such file".into());
                let said = status.complaint().unwrap();
                assert_eq!(said, format!("collector is {state}: /opt/otelcol: no such file"));

                status.collector.healthy = true;
                assert_eq!(status.complaint(), None, "what is healthy has no complaint, whatever was offered");
            }
        }
    }

    #[test]
    fn the_line_for_service_managers_is_one_and_has_the_reason() {
        let mut status = status(CollectorState::Waiting, RemoteConfigStatus::Failed);
        status.collector.last_exit =
            Some(ExitStatus { how: "code 1".into(), at: String::new(), last_words: "no such port\nMAINPID=1".into() });
        assert_eq!(
            status.summary(),
            "collector waiting, config none, failed: it will be started again; last exit: code 1: no such port MAINPID=1"
        );
        status.collector.healthy = true;
        assert!(!status.summary().contains(": "));
    }

    #[test]
    fn a_config_that_waits_is_told_from_one_that_is_being_checked() {
        let mut status = status(CollectorState::Idle, RemoteConfigStatus::Applying);
        status.config.message = "the source is asked for it again".into();
        let words = "collector is idle: config 7f3a51c0 waits: the source is asked for it again";
        assert_eq!(status.complaint().as_deref(), Some(words));
    }

    #[test]
    fn a_refused_config_is_told_from_one_that_this_host_cannot_try() {
        let mut status = status(CollectorState::Idle, RemoteConfigStatus::Failed);
        status.config.refused = vec![RefusedStatus {
            hash: "7f3a51c0aa".into(),
            reason: "unknown type".into(),
            at: String::new(),
            times: 1,
            barred: true,
        }];
        assert_eq!(
            status.complaint().as_deref(),
            Some("collector is idle: config 7f3a51c0 was refused and there is no other one: unknown type")
        );
        status.agent.state = AgentState::Stopping;
        assert_eq!(status.complaint().as_deref(), Some("collector is idle: the agent is ending"));
    }
}
