//! Tellers: logs and exports what happened, sends reports and alerts, writes the status file, answers people.

use std::sync::Arc;

use super::answers::Answers;
use super::context::Context;
use super::decisions::moment;
use super::draft::Draft;
use super::exports::Exports;
use super::message::Message;
use super::status_file::StatusFile;
use crate::settings::Settings;
use crate::tell::otlp::own::Counts;
use crate::tell::report::Reporter;
use crate::tell::webhook::Webhook;
use otelet_core::decide::{AlertMemory, AlertMessage, Event, Failure, FailureKind, Level, Notice};
use otelet_core::telemetry::{EventRecord, Snapshot};

#[derive(Default)]
pub(super) struct Tellers {
    reporter: Option<Arc<Reporter>>,
    webhook: Option<Arc<Webhook>>,
    pub(super) exports: Exports,
    /// Counts of what was told, as metrics of the agent.
    pub(super) counts: Counts,
    pub(super) status_file: StatusFile,
    pub(super) answers: Answers,
}

impl Tellers {
    pub(super) fn open_reporter(&mut self, context: &Context) {
        self.reporter = match Reporter::new(&context.settings) {
            Ok(reporter) => reporter.map(Arc::new),
            Err(error) => {
                log::error!("report.url cannot be used: {error}");
                None
            }
        };
    }

    pub(super) fn open_webhook(&mut self, context: &Context) {
        self.webhook = match Webhook::new(&context.settings) {
            Ok(webhook) => webhook.map(Arc::new),
            Err(error) => {
                log::error!("webhook.url cannot be used: {error}");
                None
            }
        };
    }

    /// Makes those senders anew whose settings have changed.
    pub(super) fn reopen(&mut self, context: &Context, old: &Settings) {
        let new = &context.settings;
        if old.report != new.report || old.config != new.config {
            self.open_reporter(context);
        }
        if old.export != new.export || old.config != new.config || old.attributes != new.attributes {
            self.exports.open(context);
        }
        if old.webhook != new.webhook || old.config != new.config {
            self.open_webhook(context);
        }
    }

    /// Logs a decision, and keeps it if it is an event: the decisions know that it waits.
    pub(super) fn tell(&mut self, context: &Context, notice: &Notice) {
        match notice.level() {
            Level::Info => log::info!("{notice}"),
            Level::Warn => log::warn!("{notice}"),
            Level::Debug => log::debug!("{notice}"),
        }
        self.counts.take(notice);
        if let Some(record) = self.counts.record(notice, moment().wall) {
            self.exports.keep_record(context, &record);
        }
    }

    /// Keeps an event that belongs in the log of the host.
    pub(super) fn record(&self, context: &Context, record: &EventRecord) {
        log::debug!("{}: {}", record.event, record.body);
        self.exports.keep_record(context, record);
        if self.exports.is_on() {
            context.send(Event::ExportQueued);
        }
    }

    /// Keeps points for an export, and hands them to the alerts. The decision comes in its turn, not in the middle of other
    /// work.
    pub(super) fn measured(&self, context: &Context, snapshot: Snapshot) {
        self.exports.keep_points(context, &snapshot);
        context.send(Event::Measured(Arc::new(snapshot)));
    }

    pub(super) fn send_report(&self, context: &Context, draft: impl FnOnce() -> Draft) -> Option<Event> {
        let reporter = self.reporter.clone()?;
        let draft = draft();
        let started = context.start("report", move || {
            let result = reporter.send(&draft.complete());
            Message::Event(Event::Reported(result))
        });
        started.err().map(|why| Event::Reported(Err(why)))
    }

    pub(super) fn send_alerts(&self, context: &Context, batch: Vec<AlertMessage>) -> Option<Event> {
        let Some(webhook) = self.webhook.clone() else {
            let why = "webhook.url cannot be used, see the error above; mend the settings and send SIGHUP";
            let result = Err(Failure::new(FailureKind::Settings, why));
            return Some(Event::AlertsSent { result, clocks: None });
        };
        let redactor = context.redactor.clone();
        let started = context.start("webhook", move || {
            let (result, clocks) = webhook.send(&batch, &redactor);
            Message::Event(Event::AlertsSent { result, clocks })
        });
        started.err().map(|why| Event::AlertsSent { result: Err(why), clocks: None })
    }

    pub(super) fn keep_alerts(&self, context: &Context, memory: AlertMemory) -> Option<Event> {
        let store = context.store.clone();
        let failed = context.write("alerts", move || {
            let result = store.create().and_then(|()| crate::tell::alerts::save(store.dir(), &memory));
            Event::AlertsKept(result.map_err(|error| error.chain()))
        });
        failed.map(|why| Event::AlertsKept(Err(why)))
    }
}

#[cfg(test)]
mod tests;
