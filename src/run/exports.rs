//! Exports by OTLP, each on a thread of its own, and the buffer of points and records that wait for one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use super::context::Context;
use super::decisions::moment;
use super::message::Message;
use crate::http::public_text;
use crate::settings::{ExportMetrics, ExportTo};
use crate::tell::otlp::{self, Buffer, Exporter, Targets};
use otelet_config::Intake;
use otelet_core::decide::{Event, Failure, FailureKind};
use otelet_core::telemetry::{EventRecord, Owner, Point, Snapshot};
use otelet_wire::status::{ExportLosses, ExportStatus};

#[derive(Default)]
pub(super) struct Exports {
    exporter: Option<Arc<Exporter>>,
    /// None if nothing is ever exported.
    buffer: Option<Arc<Mutex<Buffer>>>,
    /// Where the collector that runs takes exports.
    targets: Targets,
    /// Whether it takes no metrics and no events, as it was logged last.
    untaken: Option<(bool, bool)>,
}

impl Exports {
    /// Makes the exporter of the settings. The buffer stays, unless nothing is exported any more.
    pub(super) fn open(&mut self, context: &Context) {
        let settings = &context.settings;
        self.exporter = match Exporter::new(settings, &resource(context)) {
            Ok(exporter) => exporter.map(Arc::new),
            Err(error) => {
                log::error!("export.to cannot be used: {error}");
                None
            }
        };
        if settings.export.to.is_none() {
            self.buffer = None;
            return;
        }
        let limit = settings.export.buffer as usize;
        match &self.buffer {
            Some(_) => self.buffer().into_iter().for_each(|mut buffer| buffer.set_limit(limit)),
            None => self.buffer = Some(Arc::new(Mutex::new(Buffer::new(limit)))),
        }
    }

    /// Learns where a started collector takes exports. A signal that it does not take is logged when that changes.
    pub(super) fn learn_targets(&mut self, context: &Context, intake: Intake) {
        if context.settings.export.to != Some(ExportTo::Collector) {
            return;
        }
        let below = |address: Option<SocketAddr>, path| address.map(|address| format!("http://{address}/v1/{path}"));
        let targets = Targets { metrics: below(intake.metrics, "metrics"), logs: below(intake.logs, "logs") };
        let missing = (targets.metrics.is_none(), targets.logs.is_none());
        let signals = match missing {
            (true, true) => Some("neither metrics nor events are"),
            (true, false) => Some("metrics are not"),
            (false, true) => Some("events are not"),
            (false, false) => None,
        };
        let logged = self.untaken.replace(missing);
        if let Some(signals) = signals.filter(|_| logged != Some(missing)) {
            log::warn!(
                "{signals} exported: the collector has no otlp receiver, or its config no pipeline for them whose \
                 receivers can be read and added to"
            );
        }
        self.targets = targets;
    }

    pub(super) fn export(&self, context: &Context) -> Option<Event> {
        let (Some(exporter), Some(buffer)) = (self.exporter.clone(), self.buffer.clone()) else {
            let why = "export.to cannot be used, see the error above; mend the settings and send SIGHUP";
            return Some(Event::Exported(Err(Failure::new(FailureKind::Settings, why))));
        };
        let targets = match &context.settings.export.to {
            Some(ExportTo::Url(endpoint)) => Targets::below(endpoint),
            Some(ExportTo::Collector) | None => self.targets.clone(),
        };
        let started = context.start("export", move || {
            let result = exporter.export(&buffer, &targets);
            Message::Event(Event::Exported(result))
        });
        started.err().map(|why| Event::Exported(Err(why)))
    }

    /// Whether anything is exported.
    pub(super) fn is_on(&self) -> bool {
        self.buffer.is_some()
    }

    pub(super) fn keep_points(&self, context: &Context, snapshot: &Snapshot) {
        if let Some(mut buffer) = self.buffer() {
            let exported = |point: &&Point| match context.settings.export.metrics {
                ExportMetrics::All => true,
                ExportMetrics::Agent => point.metric.owner == Owner::Agent,
                ExportMetrics::None => false,
            };
            buffer.keep_points(snapshot.at, snapshot.points.iter().filter(exported));
            complain(&mut buffer);
        }
    }

    pub(super) fn keep_record(&self, context: &Context, record: &EventRecord) {
        if let Some(mut buffer) = self.buffer() {
            buffer.keep_record(otlp::record(record, |text| context.redactor.line(text), moment().wall));
            complain(&mut buffer);
        }
    }

    pub(super) fn losses(&self) -> ExportLosses {
        self.buffer().map(|buffer| buffer.losses()).unwrap_or_default()
    }

    pub(super) fn status(&self, context: &Context) -> ExportStatus {
        let Some(to) = &context.settings.export.to else { return ExportStatus::default() };
        let (to, targets) = match to {
            ExportTo::Collector => ("collector".to_owned(), self.targets.clone()),
            ExportTo::Url(url) => (url.clone(), Targets::below(url)),
        };
        let (points, records, bytes) = self.buffer().map_or((0, 0, 0), |buffer| {
            let (points, records) = buffer.waiting();
            (points, records, buffer.used() as u64)
        });
        // A URL may have a secret in its path.
        ExportStatus {
            to: Some(public_text(&to)),
            metrics_to: targets.metrics.as_deref().map(public_text),
            logs_to: targets.logs.as_deref().map(public_text),
            waiting_points: points,
            waiting_records: records,
            buffer_bytes: bytes,
            ..ExportStatus::default()
        }
    }

    /// The buffer, if anything is exported. The lock is held for a moment only.
    fn buffer(&self) -> Option<MutexGuard<'_, Buffer>> {
        Some(self.buffer.as_ref()?.lock().expect("no panic while it is held"))
    }
}

fn complain(buffer: &mut Buffer) {
    if let Some(complaint) = buffer.complaint(moment().now) {
        log::warn!("{complaint}");
    }
}

/// The attributes of the resource, named by the semantic conventions. For the host, the settings go before its own names.
fn resource(context: &Context) -> Vec<(String, String)> {
    let host = &context.identity.host;
    let service = [("service.name", "otelet"), ("service.version", env!("CARGO_PKG_VERSION"))];
    let known = [
        ("service.instance.id", &context.identity.instance_uid),
        ("host.name", &host.name),
        ("host.id", &host.id),
        ("host.arch", &host.arch),
        ("os.type", &host.os_type),
        ("os.version", &host.os_version),
    ];
    let given = &context.settings.attributes;
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    let known = known.iter().filter(|(name, value)| !value.is_empty() && !is_given(name));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let given = given.iter().filter(|(name, _)| !service.iter().any(|(ours, _)| ours == name));
    let known = known.map(|(name, value)| (*name, value.as_str()));
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    service.into_iter().chain(known).chain(given).map(owned).collect()
}
