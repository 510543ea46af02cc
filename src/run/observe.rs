//! Where everything that was measured and everything that happened goes: to the alerts and to the export.

use super::*;
use crate::telemetry::{Record, Snapshot};

#[allow(dead_code, reason = "what calls these lands piece by piece")]
impl Runner {
    /// Takes what was measured at one time, from whichever module.
    pub(super) fn observed(&mut self, snapshot: Snapshot) {
        self.feed(Event::Measured(Arc::new(snapshot)));
    }

    /// Takes an event that belongs in the log of the host.
    pub(super) fn happened(&mut self, record: Record) {
        log::debug!("{}: {}", record.event, record.body);
    }
}
