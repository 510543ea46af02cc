//! Exchanges and reports, each on a thread of its own; what they bring is taken up here.

use super::*;

impl Runner {
    /// Makes the source that the settings name. One that can never work is said, and there is none then.
    pub(super) fn open_source(&mut self) {
        (self.source, self.watch) = (None, None);
        if !has_source(&self.settings, &self.memory) {
            return;
        }
        let source = match Source::new(&self.settings.config, self.store.dir()) {
            Ok(source) => Arc::new(source),
            Err(error) => {
                log::error!("config source cannot be used: {error}");
                return;
            }
        };
        source.remember(&self.memory.source);
        let paths = source.watch_paths();
        if !paths.is_empty() {
            self.watch = self.watch_files(paths);
        }
        log::info!("config source: {}", source.describe());
        self.source = Some(source);
        if self.settings.config.protocol == ProtocolName::OpAmp {
            self.learn_components();
        }
    }

    /// The server of a source that is given up is told so; nobody waits for its answer.
    pub(super) fn part_from_source(&mut self) {
        if let Some(source) = self.source.take() {
            let report = self.report_for(&self.agent.report());
            let _ = work("goodbye", move || source.goodbye(&report.complete()));
        }
    }

    /// At the end the last message is waited for, but not for long.
    pub(super) async fn say_goodbye(&mut self) {
        let Some(source) = self.source.take() else { return };
        let report = self.report_for(&self.agent.report());
        let (done, told) = smol::channel::bounded(1);
        let started = work("goodbye", move || {
            source.goodbye(&report.complete());
            let _ = done.try_send(());
        });
        if started.is_ok() {
            let limit = Instant::now() + LAST_WORDS;
            let told = async {
                let _ = told.recv().await;
            };
            told.or(os::until(limit)).await;
        }
    }

    /// OpAMP servers want to know what the collector has. It says so itself, in the background.
    pub(super) fn learn_components(&self) {
        let (launcher, sender) = (self.launcher(), self.sender.clone());
        self.executor
            .spawn(async move {
                match launcher.components().await {
                    Ok(text) => send(&sender, Message::Components(text.into())),
                    Err(why) => log::debug!("the collector's components are not known: {why}"),
                }
            })
            .detach();
    }

    pub(super) fn watch_files(&self, paths: Vec<PathBuf>) -> Option<Task<()>> {
        let path = paths[0].clone();
        let mut watch = match os::Watch::new(paths) {
            Ok(watch) => watch,
            Err(error) => {
                log::warn!(
                    "{}: cannot be watched: {error}; looking at it every config.poll_every instead",
                    path.display()
                );
                return None;
            }
        };
        let sender = self.sender.clone();
        Some(self.executor.spawn(async move {
            loop {
                match watch.changed().await {
                    Ok(()) => send(&sender, Message::Event(Event::Nudged)),
                    Err(error) => {
                        log::warn!("{}: is no longer watched: {error}", path.display());
                        return;
                    }
                }
            }
        }))
    }

    /// Asks the source that was decided on.
    pub(super) fn exchange(
        &mut self,
        index: usize,
        report: &otelet_core::decide::AgentReport,
        conditional: bool,
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
        let trusted = [report.candidate, self.memory.record.last_good, self.memory.record.previous];
        let report = self.report_for(report);
        let store = self.store.clone();
        let started = self.work_along("exchange", move || {
            let answer = source.exchange(index, &report.complete(), conditional);
            let outcome = answer.map(|(answer, freshness)| {
                let brought = match answer.offer {
                    Offer::Unchanged => Brought::Nothing,
                    Offer::Empty => Brought::Empty,
                    Offer::Config { body } => Brought::Body(look_at(body, known, &trusted, &store)),
                };
                (brought, answer.orders, freshness)
            });
            Message::Exchanged(Box::new(ExchangeEnd { source, index, outcome }))
        });
        started.err().and_then(not_asked)
    }

    /// Has the store look whether a config is as it was received. That reads and hashes it, so it is done on a thread.
    pub(super) fn check_body(&self, hash: ConfigHash) -> Option<Event> {
        let store = self.store.clone();
        let started = self.work_along("body", move || {
            let whole = store.verify(hash).is_ok();
            Message::Event(Event::BodyChecked { hash, whole })
        });
        // Without a thread the source is not asked either, and the next round looks again.
        started.err().map(|_| Event::BodyChecked { hash, whole: true })
    }

    pub(super) fn take_exchange(&mut self, end: ExchangeEnd) {
        let ExchangeEnd { source, index, outcome } = end;
        let exchanged = |freshness, outcome| Event::Exchanged { source: index, freshness, outcome };
        if !self.source.as_ref().is_some_and(|known| Arc::ptr_eq(known, &source)) {
            self.feed(exchanged(Freshness::Fresh, ExchangeOutcome::Replaced));
            return;
        }
        let (brought, orders, freshness) = match outcome {
            Ok(brought) => brought,
            Err(failure) => {
                self.feed(exchanged(Freshness::Fresh, ExchangeOutcome::Failed(failure)));
                return;
            }
        };
        // First, so that the next exchange is planned by it.
        if let Some(every) = orders.poll_every {
            self.feed(Event::Interval(every));
        }
        let brought = match brought {
            Brought::Nothing => ExchangeOutcome::Unchanged,
            Brought::Empty => ExchangeOutcome::Empty,
            Brought::Body(Arrived { hash, body, malformed }) => {
                self.offered = Some((hash, Some(body)));
                match malformed {
                    Some(reason) => ExchangeOutcome::Malformed { hash, reason },
                    None => ExchangeOutcome::Offered(hash),
                }
            }
        };
        self.memory.source = source.memory(index);
        self.feed(exchanged(freshness, brought));
        if let Some(uid) = orders.instance_uid {
            self.adopt(uid);
        }
        if orders.restart {
            self.feed(Event::Collector(CollectorEvent::Restart));
        }
        if orders.again {
            self.feed(Event::Nudged);
        }
    }

    /// The server gives the agent another name.
    pub(super) fn adopt(&mut self, uid: String) {
        match self.store.adopt(&uid) {
            Ok(()) => {
                log::info!(
                    "instance uid is {uid} from now on, as the config server wants; it was {}",
                    self.instance_uid
                );
                self.instance_uid = uid;
                let labels = alerts::labels(&self.instance_uid, &self.host_identity);
                self.feed(Event::Relabelled(labels));
                self.open_exporter();
            }
            Err(error) => log::warn!("instance uid {uid} of the config server cannot be kept: {}", error.chain()),
        }
    }

    /// Everything that is told in an exchange, but for what takes a look at the disk: that is done on its thread.
    pub(super) fn report_for(&self, report: &otelet_core::decide::AgentReport) -> Incomplete {
        Incomplete {
            report: source::Report {
                status: self.status(report, otelet_wire::status::AgentState::Running),
                effective_config: None,
                components: self.components.clone(),
            },
            effective: report.effective,
            store: self.store.clone(),
            redactor: self.redactor.clone(),
            cache: self.effective.clone(),
        }
    }

    /// Something has changed that is told: reports hurry, and a server that wants to hear of it at once is asked now.
    pub(super) fn spread_news(&mut self, essence: Essence) {
        if self.told == Some(essence) {
            return;
        }
        self.told = Some(essence);
        self.feed(Event::ReportChanged);
        if self.settings.config.protocol == ProtocolName::OpAmp
            && let Some(source) = self.source.clone()
        {
            let (report, sender) = (self.report_for(&self.agent.report()), self.sender.clone());
            let _ = work("news", move || {
                if source.has_news(&report.complete()) {
                    send(&sender, Message::Event(Event::Nudged));
                }
            });
        }
    }

    pub(super) fn send_report(&mut self, report: &otelet_core::decide::AgentReport) -> Option<Event> {
        let reporter = self.reporter.clone()?;
        let report = self.report_for(report);
        let started = self.work_along("report", move || {
            let result = reporter.send(&report.complete());
            Message::Event(Event::Reported(result))
        });
        started.err().map(|why| Event::Reported(Err(why)))
    }

    pub(super) fn open_reporter(&mut self) {
        self.reporter = match Reporter::new(&self.settings) {
            Ok(reporter) => reporter.map(Arc::new),
            Err(error) => {
                log::error!("report.url cannot be used: {error}");
                None
            }
        };
    }
}

/// Looks at a body on the thread of its exchange.
fn look_at(body: Arc<[u8]>, known: Option<ConfigHash>, trusted: &[Option<ConfigHash>], store: &Store) -> Arrived {
    let hash = otelet_config::hash(&body);
    // A server that knows no validators sends the same body again and again.
    let malformed = match known {
        Some(known) if known == hash && store.verify(hash).is_ok() => None,
        _ => otelet_config::inspect(&body).err().map(|refusal| refusal.to_string()),
    };
    // Somebody may have lost the body of a config that is to run again: here it is.
    if trusted.contains(&Some(hash)) {
        let _ = store.keep(hash, &body);
    }
    Arrived { hash, body, malformed }
}

/// A report that lacks what takes a look at the disk.
pub(super) struct Incomplete {
    report: source::Report,
    effective: Option<ConfigHash>,
    store: Store,
    redactor: Arc<Redactor>,
    cache: EffectiveCache,
}

/// The text of the config that runs, without its secrets.
pub(super) type EffectiveCache = Arc<Mutex<Option<(ConfigHash, Arc<str>)>>>;

impl Incomplete {
    /// Reads the config that runs and takes its secrets out, once for each.
    fn complete(self) -> source::Report {
        let Self { mut report, effective, store, redactor, cache } = self;
        if let (Some(hash), Ok(mut cache)) = (effective, cache.lock()) {
            if cache.as_ref().is_none_or(|(known, _)| *known != hash) {
                let text = store.verify(hash).ok().map(|body| redactor.config(&String::from_utf8_lossy(&body)));
                *cache = text.map(|text| (hash, text.into()));
            }
            report.effective_config = cache.as_ref().map(|(_, text)| text.clone());
        }
        report
    }
}
