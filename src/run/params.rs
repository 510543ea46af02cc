//! The settings that decisions depend on.

use std::sync::Arc;
use std::time::Duration;

use crate::os;
use crate::settings::{CheckSettings, ExportMetrics, ExportSettings, ExportTo, Settings};
use crate::source::builtin::BUILT_IN;
use crate::source::{self, SourceMemory};
use otelet_core::decide::{EngineSettings, ExportParams, Params, Record};

/// Time between looks at the built-in config, which never changes.
const BUILT_IN_EVERY: Duration = Duration::from_secs(3600);

/// Whether there is a source to ask. A host that ran another config before is not given the built-in one when `config.url`
/// is taken away.
pub(super) fn has_source(settings: &Settings, record: &Record, memory: &SourceMemory) -> bool {
    let fresh = record.last_good.is_none() || memory.location.starts_with(BUILT_IN);
    settings.config.url.is_some() || fresh
}

pub(super) fn params(
    settings: &Settings,
    record: &Record,
    memory: &SourceMemory,
    alert_labels: Vec<(String, String)>,
) -> Params {
    Params {
        sources: match has_source(settings, record, memory) {
            true => source::locations(&settings.config).into(),
            false => Arc::default(),
        },
        fallback_after: settings.config.fallback_after,
        poll_every: if settings.config.url.is_some() { settings.config.poll_every } else { BUILT_IN_EVERY },
        stop_timeout: settings.collector.stop_timeout,
        start_timeout: settings.collector.start_timeout,
        on_replaced: settings.collector.on_replaced,
        probation: settings.collector.probation,
        report_every: settings.report.url.as_ref().map(|_| settings.report.every),
        watchdog: os::watchdog_limit(),
        sample_every: settings.host.sample_every,
        export: export(&settings.export),
        alerts: settings.alerts.clone(),
        alert_labels,
        webhook_every: settings.webhook.url.as_ref().map(|_| settings.webhook.every),
        docker: docker(settings),
        checks: settings.checks.iter().map(CheckSettings::plan).collect(),
    }
}

fn export(settings: &ExportSettings) -> Option<ExportParams> {
    let to = settings.to.as_ref()?;
    Some(ExportParams {
        every: settings.every,
        to_collector: *to == ExportTo::Collector,
        metrics: settings.metrics != ExportMetrics::None,
    })
}

fn docker(settings: &Settings) -> Option<EngineSettings> {
    let socket = settings.docker.socket.clone()?;
    Some(EngineSettings { socket, usage_every: settings.docker.usage_every })
}
