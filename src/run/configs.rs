//! Configs: asks the source, each time on a thread of its own, and keeps the offered ones and their record on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smol::Task;
use smol::future::FutureExt as _;

use super::context::Context;
use super::decisions::moment;
use super::draft::{Draft, EffectiveCache};
use super::message::{ExchangeEnd, Message, Offered, OfferedBody};
use super::params::has_source;
use super::threads;
use crate::os;
use crate::settings::ProtocolName;
use crate::source::{Failure, FailureKind, Offer, Orders, Source, SourceMemory};
use crate::store::{Binary, Memory, Store};
use otelet_core::decide::{ConfigHash, Event, ExchangeOutcome, Freshness, Record};

/// How long the end waits for the last message to the server.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(3);

pub(super) struct Configs {
    source: Option<Arc<Source>>,
    /// Watches the files of the source.
    watch: Option<Task<()>>,
    pub(super) effective: EffectiveCache,
    pub(super) record: Record,
    pub(super) source_memory: SourceMemory,
    /// The config offered last, and its body for as long as it is not on disk.
    offered: Option<(ConfigHash, Option<Arc<[u8]>>)>,
}

impl Configs {
    pub(super) fn new(record: Record, source_memory: SourceMemory) -> Self {
        Self { source: None, watch: None, effective: Arc::default(), record, source_memory, offered: None }
    }

    /// Makes the source that the settings name, or none if it can never work: the reason is logged. Answers whether its
    /// server wants to know the components of the collector.
    pub(super) fn open_source(&mut self, context: &Context) -> bool {
        (self.source, self.watch) = (None, None);
        let settings = &context.settings;
        if !has_source(settings, &self.record, &self.source_memory) {
            return false;
        }
        let source = match Source::new(&settings.config, context.store.dir()) {
            Ok(source) => Arc::new(source),
            Err(error) => {
                log::error!("config source cannot be used: {error}");
                return false;
            }
        };
        source.remember(&self.source_memory);
        let paths = source.watch_paths();
        if !paths.is_empty() {
            self.watch = watch_files(context, paths, || Message::Event(Event::Nudged));
        }
        log::info!("config source: {}", source.describe());
        self.source = Some(source);
        settings.config.protocol == ProtocolName::OpAmp
    }

    /// Whether the server of the source wants to know the components of the collector.
    pub(super) fn tells_components(&self, context: &Context) -> bool {
        self.source.is_some() && context.settings.config.protocol == ProtocolName::OpAmp
    }

    /// Gives the source up, for [`part`] or [`say_goodbye`].
    pub(super) fn take_source(&mut self) -> Option<Arc<Source>> {
        self.source.take()
    }

    /// The location of the source, without secrets.
    pub(super) fn describe_source(&self) -> Option<String> {
        self.source.as_ref().map(|source| source.describe())
    }

    /// Whether no source can bring a config, and none was kept.
    pub(super) fn has_nothing_to_run(&self) -> bool {
        self.source.is_none() && self.record.last_good.is_none()
    }

    /// Asks the source that was decided on.
    pub(super) fn exchange(
        &self,
        context: &Context,
        index: usize,
        candidate: Option<ConfigHash>,
        conditional: bool,
        draft: Draft,
    ) -> Option<Event> {
        let not_asked = move |failure| {
            let outcome = ExchangeOutcome::NotAsked(failure);
            Some(Event::Exchanged { source: index, freshness: Freshness::Fresh, outcome })
        };
        let Some(source) = self.source.clone() else {
            let why = "config source cannot be used, see the error above; mend the settings and send SIGHUP";
            return not_asked(Failure::new(FailureKind::Settings, why));
        };
        let known = self.offered.as_ref().map(|(hash, _)| *hash);
        let trusted = [candidate, self.record.last_good, self.record.previous];
        let store = context.store.clone();
        let started = context.start("exchange", move || {
            let answer = source.exchange(index, &draft.complete(), conditional);
            let outcome = answer.map(|(answer, freshness)| {
                let offered = match answer.offer {
                    Offer::Unchanged => Offered::Unchanged,
                    Offer::Empty => Offered::Empty,
                    Offer::Config { body } => Offered::Body(look_at(body, known, &trusted, &store)),
                };
                (offered, answer.orders, freshness)
            });
            Message::Exchanged(Box::new(ExchangeEnd { source, index, outcome }))
        });
        started.err().and_then(not_asked)
    }

    /// Checks whether a kept config is as it was received. That reads and hashes it, so it is done on a thread.
    pub(super) fn check_body(&self, context: &Context, hash: ConfigHash) -> Option<Event> {
        let store = context.store.clone();
        let started = context.start("body", move || {
            let whole = store.verify(hash).is_ok();
            Message::Event(Event::BodyChecked { hash, whole })
        });
        // Without a thread the source is not asked either, and the next round looks again.
        started.err().map(|_| Event::BodyChecked { hash, whole: true })
    }

    /// Takes the end of an exchange. The server's orders are to be obeyed after the events.
    pub(super) fn take_exchange(&mut self, end: ExchangeEnd) -> (Vec<Event>, Orders) {
        let ExchangeEnd { source, index, outcome } = end;
        let event = |freshness, outcome| Event::Exchanged { source: index, freshness, outcome };
        if !self.source.as_ref().is_some_and(|known| Arc::ptr_eq(known, &source)) {
            return (vec![event(Freshness::Fresh, ExchangeOutcome::Replaced)], Orders::default());
        }
        let (offered, orders, freshness) = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                return (vec![event(Freshness::Fresh, ExchangeOutcome::Failed(failure))], Orders::default());
            }
        };
        let exchanged = match offered {
            Offered::Unchanged => ExchangeOutcome::Unchanged,
            Offered::Empty => ExchangeOutcome::Empty,
            Offered::Body(OfferedBody { hash, body, malformed }) => {
                self.offered = Some((hash, Some(body)));
                match malformed {
                    Some(reason) => ExchangeOutcome::Malformed { hash, reason },
                    None => ExchangeOutcome::Offered(hash),
                }
            }
        };
        self.source_memory = source.memory(index);
        // The interval first, so that the next exchange is planned by it.
        let interval = orders.poll_every.map(Event::Interval);
        (interval.into_iter().chain([event(freshness, exchanged)]).collect(), orders)
    }

    /// Frees the offered body once the decisions await it no more: it is on disk, or not wanted.
    pub(super) fn release_body(&mut self, is_awaited: impl Fn(ConfigHash) -> bool) {
        if let Some((hash, body)) = &mut self.offered
            && !is_awaited(*hash)
        {
            *body = None;
        }
    }

    /// Puts the offered body on disk.
    pub(super) fn keep(&self, context: &Context, hash: ConfigHash) -> Option<Event> {
        let body = match &self.offered {
            Some((offered, Some(body))) if *offered == hash => body.clone(),
            _ => return Some(Event::Kept { hash, result: Err("its body is gone".into()) }),
        };
        let store = context.store.clone();
        let failed = context.write("keep", move || {
            let result = store.keep(hash, &body).map_err(|error| error.chain());
            Event::Kept { hash, result }
        });
        failed.map(|why| Event::Kept { hash, result: Err(why) })
    }

    /// Puts the record on disk, together with the binary that the collector has.
    pub(super) fn keep_record(
        &mut self,
        context: &Context,
        generation: u64,
        record: Record,
        binary: Option<Binary>,
    ) -> Option<Event> {
        self.record = record;
        let memory = Memory { record: self.record.clone(), source: self.source_memory.clone(), binary };
        let store = context.store.clone();
        let failed = context.write("record", move || {
            let result = store.save(&memory).map_err(|error| error.chain());
            Event::Recorded { generation, result }
        });
        failed.map(|why| Event::Recorded { generation, result: Err(why) })
    }

    /// Forgets when the newest accepted config was signed, so that an older one is accepted.
    pub(super) fn forget_signed(&mut self) {
        self.source_memory.signed = None;
        self.source.iter().for_each(|source| source.forget_signed());
    }

    /// Asks an OpAMP server now, if this report has news for it.
    pub(super) fn tell_news(&self, context: &Context, draft: impl FnOnce() -> Draft) {
        if context.settings.config.protocol == ProtocolName::OpAmp
            && let Some(source) = self.source.clone()
        {
            let (draft, outbox) = (draft(), context.outbox.clone());
            let _ = threads::start("news", move || {
                if source.has_news(&draft.complete()) {
                    outbox.send(Message::Event(Event::Nudged));
                }
            });
        }
    }
}

/// Tells the server of a source that the agent leaves, and waits for no answer.
pub(super) fn part(source: Arc<Source>, draft: Draft) {
    let _ = threads::start("goodbye", move || source.goodbye(&draft.complete()));
}

/// Tells it at the end of the agent, and waits for the answer, but not for long.
pub(super) async fn say_goodbye(source: Arc<Source>, draft: Draft) {
    let (done, told) = smol::channel::bounded(1);
    let started = threads::start("goodbye", move || {
        source.goodbye(&draft.complete());
        let _ = done.try_send(());
    });
    if started.is_ok() {
        let limit = moment().now + LAST_WORDS;
        let told = async {
            let _ = told.recv().await;
        };
        told.or(os::until(limit)).await;
    }
}

pub(super) fn watch_files(context: &Context, paths: Vec<PathBuf>, changed: fn() -> Message) -> Option<Task<()>> {
    let path = paths[0].clone();
    let mut watch = match os::Watch::new(paths) {
        Ok(watch) => watch,
        Err(error) => {
            log::warn!("{}: cannot be watched: {error}; looking at it every config.poll_every instead", path.display());
            return None;
        }
    };
    let outbox = context.outbox.clone();
    Some(context.executor.spawn(async move {
        loop {
            match watch.changed().await {
                Ok(()) => outbox.send(changed()),
                Err(error) => {
                    log::warn!("{}: is no longer watched: {error}", path.display());
                    return;
                }
            }
        }
    }))
}

/// Looks at a body on the thread of its exchange.
fn look_at(body: Arc<[u8]>, known: Option<ConfigHash>, trusted: &[Option<ConfigHash>], store: &Store) -> OfferedBody {
    let hash = otelet_config::hash(&body);
    // A server that knows no validators sends the same body again and again.
    let malformed = match known {
        Some(known) if known == hash && store.verify(hash).is_ok() => None,
        _ => otelet_config::inspect(&body).err().map(|refusal| refusal.to_string()),
    };
    // The body of a config that is to run again may be lost or torn on disk.
    if trusted.contains(&Some(hash)) {
        let _ = store.keep(hash, &body);
    }
    OfferedBody { hash, body, malformed }
}
