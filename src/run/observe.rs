//! Where everything that was measured and everything that happened goes: to the alerts and to the export.

use super::*;
use crate::settings::ExportMetrics;
use otelet_core::telemetry::{EventRecord, Owner, Point, Snapshot};

impl Runner {
    /// Takes what was measured at one time, from whichever module. It is decided upon in its turn, not in the middle of
    /// what else is being done.
    pub(super) fn observed(&mut self, snapshot: Snapshot) {
        if let Some(mut buffer) = self.buffer() {
            let exported = |point: &&Point| match self.settings.export.metrics {
                ExportMetrics::All => true,
                ExportMetrics::Agent => point.metric.owner == Owner::Agent,
                ExportMetrics::None => false,
            };
            buffer.keep_points(snapshot.at, snapshot.points.iter().filter(exported));
        }
        send(&self.sender, Message::Event(Event::Measured(Arc::new(snapshot))));
    }

    /// Takes an event that belongs in the log of the host.
    pub(super) fn happened(&mut self, record: EventRecord) {
        log::debug!("{}: {}", record.event, record.body);
        self.keep_record(&record);
        if self.buffer.is_some() {
            send(&self.sender, Message::Event(Event::ExportQueued));
        }
    }

    /// Says what was decided or seen, and keeps it if it is an event: the decisions know that it waits.
    pub(super) fn tell(&mut self, notice: &Notice) {
        match notice.level() {
            Level::Info => log::info!("{notice}"),
            Level::Warn => log::warn!("{notice}"),
            Level::Debug => log::debug!("{notice}"),
        }
        self.counts.take(notice);
        if let Some(record) = self.counts.record(notice, SystemTime::now()) {
            self.keep_record(&record);
        }
    }

    /// Measures the agent itself, if anybody wants to know.
    pub(super) fn own_snapshot(&mut self) {
        if self.buffer.is_none() && self.settings.alerts.is_empty() {
            return;
        }
        let at = SystemTime::now();
        let points = self.counts.points(&self.agent.report(), &self.all_losses(), self.started, at);
        self.observed(Snapshot { at, points });
    }
}
