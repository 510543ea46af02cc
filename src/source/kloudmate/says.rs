//! The request: how the agent describes itself with each poll. Pure.

use otelet_wire::kloudmate::Poll;

use super::Role;
use crate::os::Environment;
use crate::source::Report;
use otelet_wire::status::{AgentState, RemoteConfigStatus};

/// The longest error message that is reported, in bytes.
pub(super) const MAX_ERROR: usize = 2048;

pub(super) fn poll<'a>(report: &'a Report, role: &'a Role) -> Poll<'a> {
    let (status, host) = (&report.status, &report.status.host);
    let platform = match host.os_type.as_str() {
        "macos" => "darwin",
        other => other,
    };
    let (platform, hostname) = match role.environment {
        Environment::Host => (platform, &host.name),
        Environment::Docker => ("docker", &host.name),
        Environment::DaemonSet | Environment::Deployment => ("k8s", &role.cluster),
    };
    let version = &status.collector.version;
    let numbered = version.starts_with(|c: char| c.is_ascii_digit());
    let running = |is: bool| if is { "Running" } else { "Stopped" };
    Poll {
        is_docker: role.environment == Environment::Docker,
        hostname,
        platform,
        // Go's names.
        architecture: match host.arch.as_str() {
            "arm32" => "arm",
            "x86" => "386",
            other => other,
        },
        agent_version: &status.agent.version,
        collector_version: if numbered { format!("v{version}") } else { version.clone() },
        agent_status: running(status.agent.state == AgentState::Running),
        collector_status: running(status.collector.pid.is_some()),
        last_error_message: trouble(report),
    }
}

/// Everything that is wrong, in one text: why a config was refused, why the last poll failed, and why the collector
/// does not run or is not healthy.
fn trouble(report: &Report) -> String {
    let (config, collector) = (&report.status.config, &report.status.collector);
    let mut parts: Vec<String> = Vec::new();
    if config.remote_config_status == RemoteConfigStatus::Failed {
        parts.push(format!("config refused: {}", config.message));
    }
    // The answer to a failed poll may have been an announcement. The service does not repeat it, but a person can.
    parts.extend(report.status.exchanges.last_error.iter().map(|why| format!("last poll failed: {why}")));
    if let Some(trouble) = &collector.trouble {
        parts.push(format!("collector {}: {trouble}", collector.state));
    } else if let (None, Some(exit)) = (collector.pid, &collector.last_exit) {
        let words = if exit.last_words.is_empty() { "" } else { ": " };
        parts.push(format!("collector exited: {}{words}{}", exit.how, exit.last_words));
    }
    let mut text = parts.join("; ");
    text.truncate(text.floor_char_boundary(MAX_ERROR));
    text
}
