//! Alerts on their way to the disk and to the webhook, on threads of their own, and into the log of the host.

use super::*;
use otelet_core::decide::{Alert, AlertMemory, AlertMessage, AlertSeverity, alert};
use otelet_core::telemetry::{EventRecord, Severity};

impl Runner {
    pub(super) fn keep_alerts(&mut self, memory: AlertMemory) -> Option<Event> {
        let (sender, store) = (self.sender.clone(), self.store.clone());
        let started = work("alerts", move || {
            let result = store.create().and_then(|()| crate::tell::alerts::save(store.dir(), &memory));
            send(&sender, Message::Event(Event::AlertsKept(result.map_err(|error| error.chain()))));
        });
        self.count_write(started).map(Event::AlertsKept)
    }

    pub(super) fn open_webhook(&mut self) {
        self.webhook = match Webhook::new(&self.settings) {
            Ok(webhook) => webhook.map(Arc::new),
            Err(error) => {
                log::error!("webhook.url cannot be used: {error}");
                None
            }
        };
    }

    pub(super) fn send_alerts(&mut self, batch: Vec<AlertMessage>) -> Option<Event> {
        let Some(webhook) = self.webhook.clone() else {
            let why = "webhook.url cannot be used, see the error above; mend the settings and send SIGHUP";
            let result = Err(Failure::new(FailureKind::Settings, why));
            return Some(Event::AlertsSent { result, clocks: None });
        };
        let redactor = self.redactor.clone();
        let started = self.work_along("webhook", move || {
            let (result, clocks) = webhook.send(&batch, &redactor);
            Message::Event(Event::AlertsSent { result, clocks })
        });
        started.err().map(|why| Event::AlertsSent { result: Err(why), clocks: None })
    }

    /// What fires and what no longer does belongs in the log of the host as well.
    pub(super) fn record_alert(&mut self, notice: &Notice) {
        let (alert, event) = match notice {
            Notice::AlertFired { alert, .. } => (alert, "otelet.alert.fired"),
            Notice::AlertResolved { alert, .. } => (alert, "otelet.alert.resolved"),
            _ => return,
        };
        let severity = match (event, alert.severity) {
            ("otelet.alert.resolved", _) | (_, AlertSeverity::Info) => Severity::Info,
            (_, AlertSeverity::Warning) => Severity::Warn,
            (_, AlertSeverity::Critical) => Severity::Error,
        };
        let body = self.redactor.line(&notice.to_string());
        self.happened(EventRecord { at: SystemTime::now(), severity, event, body, attributes: attributes(alert) });
    }
}

/// Labels that each alert of this host has. `instance` is what Prometheus makes of `service.instance.id`.
pub(super) fn labels(instance_uid: &str, host: &otelet_core::telemetry::HostIdentity) -> Vec<(String, String)> {
    vec![("instance".into(), instance_uid.into()), ("host_name".into(), host.name.clone())]
}

fn attributes(alert: &Alert) -> otelet_core::telemetry::Attributes {
    let mut attributes = vec![
        ("otelet.alert.name".into(), alert.name.clone().into()),
        ("otelet.alert.severity".into(), alert.severity.to_string().into()),
        ("otelet.alert.metric".into(), alert.metric.clone().into()),
        ("otelet.alert.value".into(), alert::rounded(alert.value).into()),
        ("otelet.alert.threshold".into(), alert.threshold.to_string().into()),
    ];
    attributes.extend(alert.attributes.iter().cloned());
    attributes
}
