//! Messages to the loop, from tasks and from threads; and the findings that a concern hands back to it.

use std::sync::Arc;

use smol::channel::Sender;

use crate::observe::check::FinishedCheck;
use crate::observe::docker::scan::{Measured, ScanResult};
use crate::observe::docker::watch::StreamItem;
use crate::os::Signal;
use crate::settings::CheckSettings;
use crate::source::{Orders, Source};
use crate::store::Binary;
use otelet_core::decide::{ConfigHash, Event, Failure, Freshness};
use otelet_core::telemetry::{EventRecord, Snapshot};
use otelet_wire::status::Answer;

/// Something that arrives at the loop.
pub(super) enum Message {
    Event(Event),
    /// The end of a write to the state directory.
    Written(Event),
    Exchanged(Box<ExchangeEnd>),
    Binary(Binary),
    Components(Arc<str>),
    /// A file of `collector.local` may have changed.
    LocalChanged,
    Signal(Signal),
    /// From the Docker engine of one generation of the settings.
    Engine(u64, EngineMessage),
    Checked {
        generation: u64,
        settings: Box<CheckSettings>,
        checked: FinishedCheck,
    },
    Answered(Answer),
    /// Of jobs that ended at about the same time.
    Together(Vec<Message>),
}

/// The end of an exchange. Its own thread has looked at the body.
pub(super) struct ExchangeEnd {
    /// A source that was replaced in the meantime is not listened to.
    pub source: Arc<Source>,
    /// The index of its location.
    pub index: usize,
    pub outcome: Result<(Offered, Orders, Freshness), Failure>,
}

/// The config in an answer.
pub(super) enum Offered {
    Unchanged,
    Empty,
    Body(OfferedBody),
}

pub(super) struct OfferedBody {
    pub hash: ConfigHash,
    pub body: Arc<[u8]>,
    /// Why it is refused, and whether it is something else than a config.
    pub malformed: Option<(String, bool)>,
}

/// News of the Docker engine.
pub(super) enum EngineMessage {
    Stream(StreamItem),
    Lost(String),
    /// A listing has ended. The second is whether the usage was to be read and there is none.
    Scanned(Box<Result<ScanResult, String>>, bool),
    Measured(Measured),
}

/// Something that a concern hands back to the loop, in the order in which the loop has to deal with it.
pub(super) enum Finding {
    Event(Event),
    /// Measured at one time.
    Snapshot(Snapshot),
    /// An event for the log of the host.
    Record(EventRecord),
}

/// Where messages to the loop are put.
#[derive(Clone)]
pub(super) struct Outbox(pub Sender<Message>);

impl Outbox {
    pub(super) fn send(&self, message: Message) {
        // It fails only when the loop has ended, and then nobody waits for it.
        let _ = self.0.try_send(message);
    }
}
