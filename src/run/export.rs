//! Exports, each on a thread of its own; what waits for them is kept here.

use std::net::SocketAddr;
use std::sync::MutexGuard;

use super::*;
use crate::settings::{ExportMetrics, ExportSettings, ExportTo};
use otelet_config::Intake;
use otelet_core::decide::ExportParams;
use otelet_core::telemetry::EventRecord;
use otelet_wire::status::{ExportLosses, ExportStatus};

/// What the decisions need to know of the settings.
pub(super) fn params(settings: &ExportSettings) -> Option<ExportParams> {
    let to = settings.to.as_ref()?;
    Some(ExportParams {
        every: settings.every,
        to_collector: *to == ExportTo::Collector,
        metrics: settings.metrics != ExportMetrics::None,
    })
}

impl Runner {
    /// Makes what exports, by the settings. What waits stays, unless nothing is to be exported any more.
    pub(super) fn open_exporter(&mut self) {
        self.exporter = match Exporter::new(&self.settings, &self.resource()) {
            Ok(exporter) => exporter.map(Arc::new),
            Err(error) => {
                log::error!("export.to cannot be used: {error}");
                None
            }
        };
        if self.settings.export.to.is_none() {
            self.buffer = None;
            return;
        }
        let limit = self.settings.export.buffer as usize;
        match &self.buffer {
            Some(_) => self.buffer().into_iter().for_each(|mut buffer| buffer.set_limit(limit)),
            None => self.buffer = Some(Arc::new(Mutex::new(Buffer::new(limit)))),
        }
    }

    /// Who it is that was measured, in the words of the semantic conventions. The user's own words for the host count more
    /// than its own.
    fn resource(&self) -> Vec<(String, String)> {
        let host = &self.host_identity;
        let service = [("service.name", "otelet"), ("service.version", env!("CARGO_PKG_VERSION"))];
        let known = [
            ("service.instance.id", &self.instance_uid),
            ("host.name", &host.name),
            ("host.id", &host.id),
            ("host.arch", &host.arch),
            ("os.type", &host.os_type),
            ("os.version", &host.os_version),
        ];
        let given = &self.settings.attributes;
        let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
        let known = known.iter().filter(|(name, value)| !value.is_empty() && !is_given(name));
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let given = given.iter().filter(|(name, _)| !service.iter().any(|(ours, _)| ours == name));
        let known = known.map(|(name, value)| (*name, value.as_str()));
        let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
        service.into_iter().chain(known).chain(given).map(owned).collect()
    }

    /// A collector was started that takes exports there. What it does not take is said when that changes.
    pub(super) fn learn_targets(&mut self, intake: Intake) {
        if self.settings.export.to != Some(ExportTo::Collector) {
            return;
        }
        let below = |address: Option<SocketAddr>, path| address.map(|address| format!("http://{address}/v1/{path}"));
        let targets = Targets { metrics: below(intake.metrics, "metrics"), logs: below(intake.logs, "logs") };
        let missing = |targets: &Targets| (targets.metrics.is_none(), targets.logs.is_none());
        let what = match missing(&targets) {
            (true, true) => Some("neither metrics nor events are"),
            (true, false) => Some("metrics are not"),
            (false, true) => Some("events are not"),
            (false, false) => None,
        };
        let said = self.untaken.replace(missing(&targets));
        if let Some(what) = what.filter(|_| said != Some(missing(&targets))) {
            log::warn!(
                "{what} exported: the collector has no otlp receiver, or its config no pipeline for them whose                  receivers can be read and added to"
            );
        }
        self.targets = targets;
    }

    pub(super) fn export(&mut self) -> Option<Event> {
        let (Some(exporter), Some(buffer)) = (self.exporter.clone(), self.buffer.clone()) else {
            let why = "export.to cannot be used, see the error above; mend the settings and send SIGHUP";
            return Some(Event::Exported(Err(Failure::new(FailureKind::Settings, why))));
        };
        let targets = match &self.settings.export.to {
            Some(ExportTo::Url(endpoint)) => Targets::below(endpoint),
            Some(ExportTo::Collector) | None => self.targets.clone(),
        };
        let started = self.work_along("export", move || {
            let result = exporter.export(&buffer, &targets);
            Message::Event(Event::Exported(result))
        });
        started.err().map(|why| Event::Exported(Err(why)))
    }

    /// What waits, if anything is exported. It is held for a moment only.
    pub(super) fn buffer(&self) -> Option<MutexGuard<'_, Buffer>> {
        Some(self.buffer.as_ref()?.lock().expect("nobody panics who holds it"))
    }

    pub(super) fn keep_record(&self, record: &EventRecord) {
        if let Some(mut buffer) = self.buffer() {
            buffer.keep_record(otlp::record(record, |text| self.redactor.line(text), SystemTime::now()));
        }
    }

    pub(super) fn export_losses(&self) -> ExportLosses {
        self.buffer().map(|buffer| buffer.losses()).unwrap_or_default()
    }

    pub(super) fn export_status(&self) -> ExportStatus {
        let Some(to) = &self.settings.export.to else { return ExportStatus::default() };
        let (to, targets) = match to {
            ExportTo::Collector => ("collector".to_owned(), self.targets.clone()),
            ExportTo::Url(url) => (url.clone(), Targets::below(url)),
        };
        let (points, records, bytes) = self.buffer().map_or((0, 0, 0), |buffer| {
            let (points, records) = buffer.waiting();
            (points, records, buffer.used() as u64)
        });
        ExportStatus {
            to: Some(to),
            metrics_to: targets.metrics,
            logs_to: targets.logs,
            waiting_points: points,
            waiting_records: records,
            buffer_bytes: bytes,
            ..ExportStatus::default()
        }
    }
}
