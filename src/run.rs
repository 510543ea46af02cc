//! The event loop: the only place that waits, reads the clock or draws a random number.
//!
//! One queue, one thread. What may block (an exchange, a write to disk) gets a short-lived thread with a small stack and
//! comes back as a message; there is never more than one of each kind.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use smol::channel::{Receiver, Sender};
use smol::future::{self, FutureExt as _};
use smol::{LocalExecutor, Task};

use crate::cli::{self, Invocation};
use crate::collector::{Launcher, MARKER, Prober, Running};
use crate::config::{Capabilities, Inspected};
use crate::decide::{Action, Agent, ConfigHash, Event, Exchanged, Exit, Level, Moment, Notice, Params, Verdict};
use crate::host::{self, Host, Sample};
use crate::log::Relay;
use crate::os::{self, Signal};
use crate::settings::{self, Location, Settings, World};
use crate::source::{self, Failure, Offer, Source};
use crate::status::{self, Answer, Facts, Losses, Status, Verb};
use crate::store::{self, Binary, Memory, Store, StoreError};

/// Stack of the short-lived threads, in bytes. The tests of `http` and `config` run on one of this size.
const STACK: usize = 256 * 1024;

/// How long the end waits for what is being written.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Two signals closer than this are one: some send it to the process and then to its whole group.
const ONE_STOP: Duration = Duration::from_millis(50);

/// The status when neither directory can be made: `EX_CANTCREAT` of sysexits(3).
const EXIT_CANTCREAT: u8 = 73;

/// What comes in from outside the decisions.
enum Message {
    Event(Event),
    Exchanged(Box<ExchangeEnd>),
    Binary(Binary),
    Signal(Signal),
}

/// What an exchange brought, looked at on its own thread.
struct ExchangeEnd {
    /// Which source: one that was replaced in the meantime has no say.
    source: Arc<Source>,
    outcome: Result<Option<Arrived>, Failure>,
    empty: bool,
}

/// A body that came.
struct Arrived {
    hash: ConfigHash,
    body: Arc<[u8]>,
    malformed: Option<String>,
}

/// Runs the agent until it is asked to stop. Answers with its exit status.
pub fn run(invocation: Invocation, settings: Settings) -> u8 {
    crate::log::init(settings.log_level);
    if let Err(error) = os::catch_signals() {
        log::error!("cannot catch signals: {error}");
        return cli::EXIT_BUG;
    }
    let (store, runtime_dir) = match places(&settings) {
        Ok(places) => places,
        Err(error) => {
            log::error!("{}", error.chain());
            return if matches!(error, StoreError::InUse { .. }) { cli::EXIT_NO } else { EXIT_CANTCREAT };
        }
    };
    let ended = os::block_on(async {
        let executor = Rc::new(LocalExecutor::new());
        // Polled once before the first child, so that no thread is started to do the same.
        let driver = executor.spawn(smol::process::driver());
        let running = async {
            future::yield_now().await;
            let (mut runner, actions) = Runner::new(invocation, settings, store, runtime_dir, executor.clone());
            runner.perform_all(actions);
            runner.go().await;
        };
        executor.run(running).await;
        drop(driver);
    });
    match ended {
        Ok(()) => cli::EXIT_OK,
        Err(error) => {
            log::error!("cannot wait for events: {error}");
            cli::EXIT_BUG
        }
    }
}

/// The state directory, locked, and the runtime directory; others if these cannot be made.
fn places(settings: &Settings) -> Result<(Store, PathBuf), StoreError> {
    let mut store = Store::new(&settings.state_dir);
    if let Err(error) = store.create() {
        // A state directory on a file system that has become read-only still holds the last good config.
        if !settings.state_dir.is_dir() {
            let volatile = settings.runtime_dir.join("state");
            log::warn!("{}; state is kept in {} and lost at the next boot", error.chain(), volatile.display());
            store = Store::new(&volatile);
            store.create().map_err(|_| error)?;
        } else {
            log::warn!("{}; going on with what is there", error.chain());
        }
    }
    match store.lock() {
        Err(error @ StoreError::InUse { .. }) => return Err(error),
        Err(error) => log::warn!("{}; make sure that no other agent uses it", error.chain()),
        Ok(()) => {}
    }
    let mut runtime_dir = settings.runtime_dir.clone();
    if let Err(cause) = os::private_dir(&runtime_dir) {
        let instead = settings.state_dir.join("run");
        log::warn!("{}: cannot make the directory: {cause}; using {}", runtime_dir.display(), instead.display());
        os::private_dir(&instead).map_err(|cause| StoreError::Io {
            path: instead.clone(),
            what: "make the directory",
            cause,
        })?;
        runtime_dir = instead;
    }
    Ok((store, runtime_dir))
}

fn params(settings: &Settings) -> Params {
    Params {
        has_source: settings.config.url.is_some(),
        poll_every: settings.config.poll_every,
        stop_timeout: settings.collector.stop_timeout,
        probation: settings.collector.probation,
    }
}

/// Everything around the decisions.
struct Runner {
    invocation: Invocation,
    settings: Settings,
    started: SystemTime,
    /// In clock ticks since boot: with the pid, a name that is not used twice.
    start: u64,
    instance_uid: String,
    host_identity: host::Identity,
    store: Store,
    runtime_dir: PathBuf,
    executor: Rc<LocalExecutor<'static>>,
    messages: Receiver<Message>,
    sender: Sender<Message>,

    agent: Agent,
    source: Option<Arc<Source>>,
    watch: Option<Task<()>>,
    memory: Memory,
    /// The config offered last, and its body for as long as it is not on disk.
    offered: Option<(ConfigHash, Option<Arc<[u8]>>)>,
    validation: Option<Task<()>>,
    collector: Option<(u32, Rc<Prober>, Rc<RefCell<Relay>>)>,
    looked_at: Rc<RefCell<Option<(ConfigHash, Inspected)>>>,
    children: Rc<RefCell<BTreeSet<u32>>>,
    writes: usize,

    host: Host,
    sample: Sample,
    losses: Losses,
    request: Option<String>,
    answer: Option<Answer>,
    written: Option<Status>,
    serial: u64,
    stops: u32,
    stopped_at: Option<Instant>,
    quit: bool,
}

impl Runner {
    fn new(
        invocation: Invocation,
        settings: Settings,
        store: Store,
        runtime_dir: PathBuf,
        executor: Rc<LocalExecutor<'static>>,
    ) -> (Self, Vec<Action>) {
        let (sender, messages) = smol::channel::unbounded();
        let (memory, mut warnings) = store.load();
        let (instance_uid, more) = store.identity();
        warnings.extend(more);
        log::info!("otelet {} started: instance uid {instance_uid}", env!("CARGO_PKG_VERSION"));
        warnings.iter().for_each(|warning| log::warn!("{warning}"));

        let orphans = os::find_marked(&format!("{MARKER}={instance_uid}"));
        let (orphan, more) = match orphans.split_first() {
            Some((first, more)) => (Some(*first), more),
            None => (None, &[][..]),
        };
        more.iter().for_each(|pid| os::kill_group(*pid));

        let at = Moment { now: Instant::now(), wall: SystemTime::now(), dice: fastrand::u64(..) };
        let (agent, actions) = Agent::new(params(&settings), memory.record.clone(), orphan, at);
        let mut runner = Self {
            started: at.wall,
            start: os::process_start(std::process::id()).unwrap_or_default(),
            host_identity: host::identity(),
            messages,
            sender,
            agent,
            source: None,
            watch: None,
            memory,
            offered: None,
            validation: None,
            collector: None,
            looked_at: Rc::default(),
            children: Rc::default(),
            writes: 0,
            host: Host::new(),
            sample: Sample::default(),
            losses: Losses::default(),
            request: None,
            answer: None,
            written: None,
            serial: 0,
            stops: 0,
            stopped_at: None,
            quit: false,
            invocation,
            settings,
            instance_uid,
            store,
            runtime_dir,
            executor,
        };
        if let Some(pid) = orphan {
            runner.follow_orphan(pid);
        }
        runner.open_source();
        runner.listen_to_signals();
        if runner.source.is_none() && runner.memory.record.last_good.is_none() {
            log::warn!("config.url is not set and no config was kept: there is nothing to run; set it and send SIGHUP");
        }
        (runner, actions)
    }

    /// Waits, decides, acts, until the decision is to quit.
    async fn go(&mut self) {
        self.publish(false);
        while !self.quit {
            let deadline = self.agent.deadline();
            let message = async { self.messages.recv().await.ok() }.or(async {
                os::until(deadline).await;
                None
            });
            match message.await {
                Some(message) => self.take(message),
                None => self.feed(Event::Due),
            }
            while let Ok(message) = self.messages.try_recv() {
                self.take(message);
            }
            self.publish(false);
        }
        self.finish_writes().await;
        self.publish(true);
        log::info!("otelet stopped");
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                match &event {
                    Event::Kept { .. } | Event::Recorded { .. } => self.writes -= 1,
                    Event::Exited { pid, .. } => self.forget_collector(*pid),
                    _ => {}
                }
                self.feed(event);
            }
            Message::Exchanged(end) => self.take_exchange(*end),
            Message::Binary(binary) => self.memory.binary = Some(binary),
            Message::Signal(signal) => self.take_signal(signal),
        }
    }

    fn feed(&mut self, event: Event) {
        let actions = self.agent.on(event, self.moment());
        self.perform_all(actions);
        // On disk, or not wanted: the body need not be held in memory too.
        if let Some((hash, body)) = &mut self.offered
            && !self.agent.awaits_body(*hash)
        {
            *body = None;
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: Instant::now(), wall: SystemTime::now(), dice: fastrand::u64(..) }
    }

    /// Does what was decided, and what is decided about how that went.
    fn perform_all(&mut self, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.perform(action) {
                actions.extend(self.agent.on(event, self.moment()));
            }
        }
    }

    /// Does one thing. What is known at once is answered at once.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Exchange { report, conditional } => return self.exchange(&report, conditional),
            Action::Keep(hash) => return self.keep(hash),
            Action::Record { generation, record } => return self.record(generation, record),
            Action::Validate(hash) => self.validate(hash),
            Action::EndValidation => self.validation = None,
            Action::Spawn(hash) => return Some(Event::Spawned(self.spawn(hash))),
            Action::Terminate(pid) => os::terminate(pid),
            Action::Kill(pid) => os::kill_group(pid),
            Action::Probe(pid) => self.probe(pid),
            Action::Sample => self.take_sample(),
            Action::Tell(notice) => tell(&notice),
            Action::Answer(answer) => self.answer(answer),
            Action::Quit => self.quit = true,
        }
        None
    }

    // ---- The source --------------------------------------------------------------------------------------------

    /// Makes the source that the settings name. One that can never work is said, and there is none then.
    fn open_source(&mut self) {
        (self.source, self.watch) = (None, None);
        if self.settings.config.url.is_none() {
            return;
        }
        let source = match Source::new(&self.settings.config) {
            Ok(source) => Arc::new(source),
            Err(error) => {
                log::error!("config source cannot be used: {error}");
                return;
            }
        };
        if let Some((location, validators)) = &self.memory.validators
            && *location == source.describe()
        {
            source.seed(validators.clone());
        }
        if let Some(path) = source.watch_path() {
            self.watch = self.watch_file(path.into());
        }
        log::info!("config source: {}", source.describe());
        self.source = Some(source);
    }

    fn watch_file(&self, path: PathBuf) -> Option<Task<()>> {
        let mut watch = match os::Watch::new(&path) {
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

    fn exchange(&mut self, report: &crate::decide::Report, conditional: bool) -> Option<Event> {
        let Some(source) = self.source.clone() else {
            let message = "config source cannot be used, see the error above; mend the settings and send SIGHUP".into();
            return Some(Event::Exchanged(Exchanged::Failed { message, retry_after: None }));
        };
        let known = self.offered.as_ref().map(|(hash, _)| *hash);
        // A collector may be held because its config was lost or torn on disk: the source has it still.
        let wanted = report.candidate.or(report.last_good);
        let lost = report.collector.state == "held" && wanted.is_some_and(|hash| self.store.verify(hash).is_err());
        let conditional = conditional && !lost;
        let trusted = [report.candidate, self.memory.record.last_good, self.memory.record.previous];
        let report = source::Report { status: self.status(report, "running") };
        let (sender, store) = (self.sender.clone(), self.store.clone());
        let started = work("exchange", move || {
            let offer = source.exchange(&report, conditional).map(|answer| answer.offer);
            let empty = offer == Ok(Offer::Empty);
            let outcome = offer.map(|offer| match offer {
                Offer::Unchanged | Offer::Empty => None,
                Offer::Config { body } => Some(look_at(body, known, &trusted, &store)),
            });
            send(&sender, Message::Exchanged(Box::new(ExchangeEnd { source, outcome, empty })));
        });
        started.err().map(|message| Event::Exchanged(Exchanged::Failed { message, retry_after: None }))
    }

    fn take_exchange(&mut self, end: ExchangeEnd) {
        let current = self.source.as_ref().is_some_and(|source| Arc::ptr_eq(source, &end.source));
        let exchanged = match end.outcome {
            _ if !current => Exchanged::Replaced,
            Err(Failure { message, retry_after, .. }) => Exchanged::Failed { message, retry_after },
            Ok(None) if end.empty => Exchanged::Empty,
            Ok(None) => Exchanged::Unchanged,
            Ok(Some(Arrived { hash, body, malformed })) => {
                self.memory.validators = Some((end.source.describe(), end.source.validators()));
                self.offered = Some((hash, Some(body)));
                match malformed {
                    Some(reason) => Exchanged::Malformed { hash, reason },
                    None => Exchanged::Offered(hash),
                }
            }
        };
        self.feed(Event::Exchanged(exchanged));
    }

    // ---- The disk ----------------------------------------------------------------------------------------------

    fn keep(&mut self, hash: ConfigHash) -> Option<Event> {
        let body = match &self.offered {
            Some((offered, Some(body))) if *offered == hash => body.clone(),
            _ => return Some(Event::Kept { hash, result: Err("its body is gone".into()) }),
        };
        let (sender, store) = (self.sender.clone(), self.store.clone());
        let started = work("keep", move || {
            let result = store.keep(hash, &body).map_err(|error| error.chain());
            send(&sender, Message::Event(Event::Kept { hash, result }));
        });
        self.count_write(started).map(|result| Event::Kept { hash, result })
    }

    fn record(&mut self, generation: u64, record: crate::decide::Record) -> Option<Event> {
        self.memory.record = record;
        let (memory, sender, store) = (self.memory.clone(), self.sender.clone(), self.store.clone());
        let started = work("record", move || {
            let result = store.save(&memory).map_err(|error| error.chain());
            send(&sender, Message::Event(Event::Recorded { generation, result }));
        });
        self.count_write(started).map(|result| Event::Recorded { generation, result })
    }

    fn count_write(&mut self, started: Result<(), String>) -> Option<Result<(), String>> {
        match started {
            Ok(()) => {
                self.writes += 1;
                None
            }
            Err(why) => Some(Err(why)),
        }
    }

    /// What is being written is waited for, but not for ever: the disk may be gone.
    async fn finish_writes(&mut self) {
        let limit = Instant::now() + LAST_WRITES;
        while self.writes > 0 {
            let message = async { self.messages.recv().await.ok() }.or(async {
                os::until(limit).await;
                None
            });
            match message.await {
                Some(Message::Event(Event::Kept { .. } | Event::Recorded { .. })) => self.writes -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    // ---- The collector -----------------------------------------------------------------------------------------

    fn launcher(&self) -> Launcher {
        let mut identity = vec![("service.instance.id".to_owned(), self.instance_uid.clone())];
        if !self.host_identity.name.is_empty() {
            identity.push(("host.name".into(), self.host_identity.name.clone()));
        }
        identity.retain(|(name, _)| !self.settings.attributes.iter().any(|(given, _)| given == name));
        identity.extend(self.settings.attributes.iter().cloned());
        Launcher {
            settings: self.settings.collector.clone(),
            identity,
            instance_uid: self.instance_uid.clone(),
            store: self.store.clone(),
            runtime_dir: self.runtime_dir.clone(),
            looked_at: self.looked_at.clone(),
            children: self.children.clone(),
        }
    }

    /// What the collector can do, if that is known of this very binary.
    fn known_capabilities(&self, launcher: &Launcher) -> Option<Capabilities> {
        let binary = self.memory.binary.as_ref()?;
        (launcher.stamp().as_ref() == Some(&binary.stamp)).then_some(binary.capabilities)
    }

    fn validate(&mut self, hash: ConfigHash) {
        let launcher = self.launcher();
        let known = self.known_capabilities(&launcher);
        let sender = self.sender.clone();
        self.validation = Some(self.executor.spawn(async move {
            let verdict = match known {
                Some(capabilities) => launcher.validate(hash, capabilities).await,
                None => match launcher.binary().await {
                    Ok(binary) => {
                        let capabilities = binary.capabilities;
                        send(&sender, Message::Binary(binary));
                        launcher.validate(hash, capabilities).await
                    }
                    Err(why) => Verdict::Unable(why),
                },
            };
            send(&sender, Message::Event(Event::Validated { hash, verdict }));
        }));
    }

    fn spawn(&mut self, hash: ConfigHash) -> Result<crate::decide::Child, crate::decide::SpawnFailure> {
        let launcher = self.launcher();
        // A binary that was replaced is taken to be as able as the one before, until the next validation asks it.
        let capabilities = self
            .known_capabilities(&launcher)
            .or(self.memory.binary.as_ref().map(|binary| binary.capabilities))
            .unwrap_or_default();
        let running = launcher.spawn(hash, capabilities, Instant::now())?;
        let child = running.child.clone();
        self.collector = Some((child.pid, running.probe.clone(), running.relay.clone()));
        self.attend(running);
        Ok(child)
    }

    fn attend(&self, running: Running) {
        let (sender, children, pid) = (self.sender.clone(), self.children.clone(), running.child.pid);
        self.executor
            .spawn(async move {
                let exit = running.attend(children).await;
                send(&sender, Message::Event(Event::Exited { pid, exit }));
            })
            .detach();
    }

    fn forget_collector(&mut self, pid: u32) {
        if let Some((_, _, relay)) = self.collector.take_if(|(known, _, _)| *known == pid) {
            self.losses.collector_log_lines += relay.borrow().dropped();
        }
        if os::is_pid_1() {
            os::reap_strangers(&self.children.borrow().iter().copied().collect::<Vec<_>>());
        }
    }

    fn follow_orphan(&self, pid: u32) {
        let sender = self.sender.clone();
        self.executor
            .spawn(async move {
                os::gone(pid).await;
                os::sweep_group(pid);
                let exit = Exit { how: "ended".into(), ..Exit::default() };
                send(&sender, Message::Event(Event::Exited { pid, exit }));
            })
            .detach();
    }

    fn probe(&self, pid: u32) {
        let Some((_, probe, _)) = self.collector.as_ref().filter(|(known, _, _)| *known == pid) else { return };
        let (probe, sender) = (probe.clone(), self.sender.clone());
        self.executor
            .spawn(async move {
                let probe = probe.probe(pid).await;
                send(&sender, Message::Event(Event::Probed { pid, probe }));
            })
            .detach();
    }

    fn take_sample(&mut self) {
        let pid = self.collector.as_ref().map(|(pid, _, _)| *pid);
        self.sample = self.host.sample(pid);
        if let Some((_, _, relay)) = &self.collector {
            let dropped = relay.borrow_mut().newly_dropped();
            if dropped > 0 {
                log::warn!("{dropped} log lines of the collector were dropped: more than collector.log_rate allows");
            }
        }
    }

    // ---- People ------------------------------------------------------------------------------------------------

    fn listen_to_signals(&self) {
        let sender = self.sender.clone();
        self.executor
            .spawn(async move {
                loop {
                    send(&sender, Message::Signal(os::signal().await));
                }
            })
            .detach();
    }

    fn take_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Stop => {
                let now = Instant::now();
                let first = *self.stopped_at.get_or_insert(now);
                if self.stops == 0 {
                    self.stops = 1;
                    log::info!("asked to stop; stopping the collector");
                    self.feed(Event::Stop);
                } else if now >= first + ONE_STOP {
                    self.stops += 1;
                    log::warn!("asked to stop again; killing the collector");
                    self.feed(Event::StopNow);
                }
            }
            Signal::Reload => self.reload(),
            Signal::Poke => self.look_for_request(),
            Signal::ChildEnded => os::reap_strangers(&self.children.borrow().iter().copied().collect::<Vec<_>>()),
        }
    }

    /// Reads the settings again. What is wrong with them is said, and the old ones stay.
    fn reload(&mut self) {
        let settings = match settings::load(&self.invocation, &World::real()) {
            Ok(settings) => settings,
            Err(error) => {
                log::error!("settings cannot be used: {}; going on with the old ones", store::chain(&error));
                self.feed(Event::Nudged);
                return;
            }
        };
        for (name, old, new) in [
            ("state_dir", &self.settings.state_dir, &settings.state_dir),
            ("runtime_dir", &self.settings.runtime_dir, &settings.runtime_dir),
        ] {
            if old != new {
                log::warn!(
                    "{name} changes from {} to {} only when the agent is restarted",
                    old.display(),
                    new.display()
                );
            }
        }
        log::info!("settings read again; asking the config source");
        crate::log::set_level(settings.log_level);
        let old = std::mem::replace(&mut self.settings, settings);
        if old.config != self.settings.config {
            if source_of(&old) != source_of(&self.settings) {
                self.memory.validators = None;
            }
            self.open_source();
        }
        // What only the agent does with its child takes effect without a restart.
        let apart_from_supervision = |settings: &Settings| {
            let mut collector = settings.collector.clone();
            (collector.stop_timeout, collector.probation) = (Duration::ZERO, Duration::ZERO);
            (collector, settings.attributes.clone())
        };
        let restart = apart_from_supervision(&old) != apart_from_supervision(&self.settings);
        // This asks the source as well.
        self.feed(Event::Reconfigured { params: params(&self.settings), restart });
    }

    fn look_for_request(&mut self) {
        let path = status::request_path(&self.runtime_dir);
        if let Ok(text) = fs::read(&path) {
            let _ = fs::remove_file(&path);
            match serde_json::from_slice::<status::Request>(&text) {
                Ok(request) => {
                    self.request = Some(request.id);
                    self.feed(match request.verb {
                        Verb::RollBack => Event::RollBack,
                        Verb::ClearRefused => Event::ClearRefused,
                    });
                }
                Err(error) => log::warn!("{}: not a request: {error}", path.display()),
            }
        }
        self.written = None;
    }

    fn answer(&mut self, answer: Result<String, String>) {
        if let Some(id) = self.request.take() {
            let done = answer.is_ok();
            let text = answer.unwrap_or_else(|why| why);
            self.answer = Some(Answer { id, done, text });
        }
    }

    /// Writes the status if something in it has changed that matters.
    fn publish(&mut self, last: bool) {
        let state = match (last, self.stops) {
            (true, _) => "stopped",
            (false, 0) => "running",
            (false, _) => "stopping",
        };
        let status = self.status(&self.agent.report(), state);
        let essence = status.essence();
        if self.written.as_ref() == Some(&essence) {
            return;
        }
        let text = serde_json::to_vec(&status).expect("maps with string keys and numbers only");
        match store::write_atomically(&status::path(&self.runtime_dir), &text) {
            Ok(()) => {
                self.serial += 1;
                self.written = Some(essence);
            }
            Err(error) => log::debug!("{}", error.chain()),
        }
    }

    /// Everything that is known now: for the status file and for the source.
    fn status(&self, report: &crate::decide::Report, state: &str) -> Status {
        let relay = self.collector.as_ref().map_or(0, |(_, _, relay)| relay.borrow().dropped());
        let losses = Losses {
            collector_log_lines: self.losses.collector_log_lines + relay,
            agent_log_lines: crate::log::lost(),
        };
        let collector = self.settings.collector.path.display().to_string();
        let facts = Facts {
            instance_uid: &self.instance_uid,
            started: self.started,
            start: self.start,
            state,
            source: self.source.as_ref().map(|source| source.describe()),
            collector_path: collector,
            effective_path: report.effective.map(|hash| self.store.config_path(hash)),
            losses,
            sample: &self.sample,
            host: &self.host_identity,
            attributes: &self.settings.attributes,
            collector_version: self.memory.binary.as_ref().map(|binary| binary.version.as_str()).unwrap_or_default(),
            answer: self.answer.clone(),
            serial: self.serial + 1,
        };
        Status::new(report, facts, self.moment())
    }
}

fn source_of(settings: &Settings) -> Option<&Location> {
    settings.config.url.as_ref()
}

/// Looks at a body on the thread of its exchange.
fn look_at(body: Arc<[u8]>, known: Option<ConfigHash>, trusted: &[Option<ConfigHash>], store: &Store) -> Arrived {
    let hash = store::hash(&body);
    // A server that knows no validators sends the same body again and again.
    let malformed = match known {
        Some(known) if known == hash && store.verify(hash).is_ok() => None,
        _ => crate::config::inspect(&body).err().map(|refusal| refusal.to_string()),
    };
    // Somebody may have lost the body of a config that is to run again: here it is.
    if trusted.contains(&Some(hash)) {
        let _ = store.keep(hash, &body);
    }
    Arrived { hash, body, malformed }
}

/// Does something that may block, on a thread of its own that ends with it.
fn work(name: &str, job: impl FnOnce() + Send + 'static) -> Result<(), String> {
    match std::thread::Builder::new().name(name.into()).stack_size(STACK).spawn(job) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot start a thread: {error}; is a limit on processes reached?")),
    }
}

fn send(sender: &Sender<Message>, message: Message) {
    // It fails only when the loop has ended, and then nobody waits for it.
    let _ = sender.try_send(message);
}

fn tell(notice: &Notice) {
    match notice.level() {
        Level::Info => log::info!("{notice}"),
        Level::Warn => log::warn!("{notice}"),
        Level::Debug => log::debug!("{notice}"),
    }
}
