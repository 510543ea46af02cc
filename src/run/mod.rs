//! The event loop: the only place that waits, reads the clock or draws a random number.
//!
//! One queue, one thread. What may block (an exchange, a write to disk) gets a short-lived thread with a small stack and
//! comes back as a message; there is never more than one of each kind.

mod alerts;
mod checks;
mod child;
mod disk;
mod docker;
mod exchange;
mod export;
mod gather;
mod observe;
mod people;
mod sample;
mod standby;
pub mod trial;

use exchange::EffectiveCache;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use smol::channel::{Receiver, Sender};
use smol::future::{self, FutureExt as _};
use smol::{LocalExecutor, Task};

use crate::collector::{Launcher, MARKER, Prober, Running};
use crate::exit;
use crate::log::Relay;
use crate::observe::host::{self, Host, Sample};
use crate::os::{self, Signal};
use crate::settings::{self, CheckSettings, Flags, ProtocolName, Settings, World};
use crate::source::builtin::BUILT_IN;
use crate::source::{self, Failure, Offer, Orders, Source};
use crate::status::{self, Essence, Facts, Verb};
use crate::store::{self, Binary, Memory, Store, StoreError};
use crate::tell::otlp::{self, Buffer, Exporter, Targets};
use crate::tell::report::Reporter;
use crate::tell::webhook::Webhook;
use otelet_config::redact::Redactor;
use otelet_config::{Capabilities, Inspection};
use otelet_core::decide::{
    Action, Agent, CollectorEvent, ConfigHash, Event, ExchangeOutcome, Exit, FailureKind, Freshness, Level, Moment,
    Notice, Params, Verdict,
};
use otelet_wire::status::{Answer, Losses, Status};

/// Stack of the short-lived threads, in bytes. The tests of `http` and `config` run on one of this size.
const STACK: usize = 256 * 1024;

/// How long the end waits for what is being written.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How long the end waits for the server to take its leave.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What a stop may take beyond what is waited for.
const STOP_MARGIN: Duration = Duration::from_secs(2);

/// What comes in from outside the decisions.
enum Message {
    Event(Event),
    Exchanged(Box<ExchangeEnd>),
    Binary(Binary),
    Components(Arc<str>),
    Signal(Signal),
    /// Of which generation of the settings.
    Docker(u64, docker::DockerMessage),
    Checked {
        generation: u64,
        settings: Box<settings::CheckSettings>,
        checked: crate::observe::check::FinishedCheck,
    },
    Answered(Answer),
    /// Of work that ended at about the same time.
    Ended(Vec<Message>),
}

/// What an exchange brought, looked at on its own thread.
struct ExchangeEnd {
    /// Which source: one that was replaced in the meantime has no say.
    source: Arc<Source>,
    /// Which of its locations was asked.
    index: usize,
    outcome: Result<(Brought, Orders, Freshness), Failure>,
}

/// What came with an answer.
enum Brought {
    Nothing,
    Empty,
    Body(Arrived),
}

/// A body that came.
struct Arrived {
    hash: ConfigHash,
    body: Arc<[u8]>,
    malformed: Option<String>,
}

/// Runs the agent until it is asked to stop. Answers with its exit status.
// Not one with its caller, which has room on its stack for every other command: 16 KiB for good.
#[inline(never)]
pub fn run(flags: Flags, settings: Settings) -> u8 {
    crate::log::init(settings.log_level);
    if let Err(error) = os::catch_signals() {
        log::error!("cannot catch signals: {error}");
        return exit::BUG;
    }
    let found = match places(&settings) {
        Err(StoreError::InUse { path }) if !settings.standby.is_zero() => {
            match standby::wait(&settings, &path, || places(&settings)) {
                standby::Ended::Turn(found) => found,
                standby::Ended::Stopped => return exit::OK,
                standby::Ended::Refused => return exit::NO,
            }
        }
        found => found,
    };
    let (store, runtime_dir) = match found {
        Ok(places) => places,
        Err(error) => {
            log::error!("{}", error.chain());
            return if matches!(error, StoreError::InUse { .. }) { exit::NO } else { exit::CANNOT_CREATE };
        }
    };
    let ended = os::block_on(async {
        let executor = Rc::new(LocalExecutor::new());
        // Polled once before the first child, so that no thread is started to do the same.
        let driver = executor.spawn(os::driver());
        // In a box: the executor holds what it runs four times over, and all of that would be on the stack for good.
        let running = Box::pin(async {
            future::yield_now().await;
            let (mut runner, actions) = Runner::new(flags, settings, store, runtime_dir, executor.clone());
            runner.perform_all(actions);
            runner.go().await;
        });
        executor.run(running).await;
        drop(driver);
    });
    match ended {
        Ok(()) => exit::OK,
        Err(error) => {
            log::error!("cannot wait for events: {error}");
            exit::BUG
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
    match os::keep_private(store.dir()) {
        Err(cause) => return Err(StoreError::Io { path: store.dir().into(), what: "use the directory", cause }),
        Ok(said) => said.iter().for_each(|said| log::warn!("{said}")),
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

/// Time between looks at the built-in config, which never changes.
const BUILT_IN_EVERY: Duration = Duration::from_secs(3600);

/// Whether there is anybody to ask. A host that ran another config before is not given the built-in one when
/// `config.url` is taken away.
fn has_source(settings: &Settings, memory: &Memory) -> bool {
    let fresh = memory.record.last_good.is_none() || memory.source.location.starts_with(BUILT_IN);
    settings.config.url.is_some() || fresh
}

fn params(settings: &Settings, memory: &Memory) -> Params {
    Params {
        sources: match has_source(settings, memory) {
            true => source::locations(&settings.config).into(),
            false => Arc::default(),
        },
        fallback_after: settings.config.fallback_after,
        poll_every: if settings.config.url.is_some() { settings.config.poll_every } else { BUILT_IN_EVERY },
        stop_timeout: settings.collector.stop_timeout,
        probation: settings.collector.probation,
        report_every: settings.report.url.as_ref().map(|_| settings.report.every),
        watchdog: os::watchdog_limit(),
        sample_every: settings.host.sample_every,
        export: export::params(&settings.export),
        alerts: settings.alerts.clone(),
        alert_labels: Vec::new(),
        webhook_every: settings.webhook.url.as_ref().map(|_| settings.webhook.every),
        docker: docker::wanted(settings),
        checks: settings.checks.iter().map(CheckSettings::plan).collect(),
    }
}

/// What takes the secrets of these settings out of whatever is told.
fn redactor(settings: &Settings) -> Arc<Redactor> {
    Arc::new(Redactor::new(settings.secrets().iter().map(String::as_str)))
}

/// Everything around the decisions.
struct Runner {
    flags: Flags,
    settings: Settings,
    started: SystemTime,
    /// In clock ticks since boot: with the pid, a name that is not used twice.
    start: u64,
    instance_uid: String,
    marker: String,
    host_identity: otelet_core::telemetry::HostIdentity,
    store: Store,
    runtime_dir: PathBuf,
    executor: Rc<LocalExecutor<'static>>,
    messages: Receiver<Message>,
    sender: Sender<Message>,
    gather: Arc<gather::Gather>,

    agent: Agent,
    source: Option<Arc<Source>>,
    reporter: Option<Arc<Reporter>>,
    effective: EffectiveCache,
    components: Option<Arc<str>>,
    /// Values that no report may carry.
    redactor: Arc<Redactor>,
    watch: Option<Task<()>>,
    memory: Memory,
    /// The config offered last, and its body for as long as it is not on disk.
    offered: Option<(ConfigHash, Option<Arc<[u8]>>)>,
    validation: Option<Task<()>>,
    collector: Option<(u32, Rc<Prober>, Rc<RefCell<Relay>>)>,
    looked_at: Rc<RefCell<Option<(ConfigHash, Inspection)>>>,
    children: Rc<RefCell<BTreeSet<u32>>>,
    writes: usize,

    host: Host,
    sample: Sample,
    losses: Losses,
    docker: Option<docker::DockerWatch>,
    built_in_checks: checks::BuiltInChecks,
    request: Option<(String, Verb)>,
    answer: Option<Answer>,
    written: Option<Essence>,
    /// What was told last to whoever wants to hear of changes.
    told: Option<Essence>,
    serial: u64,
    quit: bool,

    exporter: Option<Arc<Exporter>>,
    /// What waits to be exported; none if nothing ever is.
    buffer: Option<Arc<Mutex<Buffer>>>,
    /// Where the collector that runs takes it.
    targets: Targets,
    /// Whether it takes no metrics and no events, as it was said last.
    untaken: Option<(bool, bool)>,
    counts: otlp::own::Counts,
    /// Where alerts are sent.
    webhook: Option<Arc<Webhook>>,
}

impl Runner {
    // It makes room on the stack for three of itself, which is given back only if it is a function of its own.
    #[inline(never)]
    fn new(
        flags: Flags,
        settings: Settings,
        store: Store,
        runtime_dir: PathBuf,
        executor: Rc<LocalExecutor<'static>>,
    ) -> (Self, Vec<Action>) {
        let (sender, messages) = smol::channel::unbounded();
        let (memory, mut warnings) = store.load();
        let (instance_uid, more) = store.identity(settings.identity.as_deref());
        warnings.extend(more);
        let (alerts, more) = crate::tell::alerts::load(store.dir());
        warnings.extend(more);
        log::info!("otelet {} started: instance uid {instance_uid}", env!("CARGO_PKG_VERSION"));
        warnings.iter().for_each(|warning| log::warn!("{warning}"));

        let marker = store.marker().unwrap_or_else(|| instance_uid.clone());
        let orphans = os::find_marked(&format!("{MARKER}={marker}"));
        let (orphan, more) = match orphans.split_first() {
            Some((first, more)) => (Some(*first), more),
            None => (None, &[][..]),
        };
        more.iter().for_each(|pid| os::kill_group(*pid));

        let at = Moment { now: Instant::now(), wall: SystemTime::now(), dice: fastrand::u64(..) };
        let host_identity = host::identity(&settings.host.root);
        let alert_labels = alerts::labels(&instance_uid, &host_identity);
        let params = Params { alert_labels, ..params(&settings, &memory) };
        let served = Some(memory.source.location.clone());
        let (agent, actions) = Agent::resume(params, memory.record.clone(), served, alerts, orphan, at);
        let mut runner = Self {
            started: at.wall,
            start: os::process_start(std::process::id()).unwrap_or_default(),
            host_identity,
            messages,
            sender,
            gather: Arc::default(),
            agent,
            source: None,
            reporter: None,
            effective: Arc::default(),
            components: None,
            redactor: redactor(&settings),
            watch: None,
            memory,
            offered: None,
            validation: None,
            collector: None,
            looked_at: Rc::default(),
            children: Rc::default(),
            writes: 0,
            host: Host::new(&settings.host.root),
            sample: Sample::default(),
            losses: Losses::default(),
            docker: None,
            built_in_checks: checks::BuiltInChecks::default(),
            request: None,
            answer: None,
            written: None,
            told: None,
            serial: 0,
            quit: false,
            exporter: None,
            buffer: None,
            targets: Targets::default(),
            untaken: None,
            counts: otlp::own::Counts::default(),
            webhook: None,
            flags,
            settings,
            instance_uid,
            marker,
            store,
            runtime_dir,
            executor,
        };
        if let Some(pid) = orphan {
            runner.follow_orphan(pid);
        }
        runner.open_source();
        runner.open_reporter();
        runner.open_exporter();
        runner.happened(otlp::own::started(at.wall));
        runner.open_webhook();
        runner.listen_to_signals();
        if runner.source.is_none() && runner.memory.record.last_good.is_none() {
            log::warn!(
                "config.url is not set, no config is built in for environment {} and none was kept: there is nothing to \
                 run; set one of the two and send SIGHUP",
                runner.settings.config.environment
            );
        }
        (runner, actions)
    }

    /// Waits, decides, acts, until the decision is to quit.
    async fn go(&mut self) {
        os::tell_manager("READY=1");
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
        self.keep_position_at_last();
        self.finish_writes().await;
        self.say_goodbye().await;
        self.publish(true);
        log::info!("otelet stopped");
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                match &event {
                    Event::Kept { .. } | Event::Recorded { .. } | Event::AlertsKept(_) => self.writes -= 1,
                    Event::Collector(CollectorEvent::Exited { pid, .. }) => self.forget_collector(*pid),
                    _ => {}
                }
                self.feed(event);
            }
            Message::Exchanged(end) => self.take_exchange(*end),
            Message::Binary(binary) => self.memory.binary = Some(binary),
            Message::Components(text) => self.components = Some(text),
            Message::Signal(signal) => self.take_signal(signal),
            Message::Docker(generation, message) => self.take_docker(generation, message),
            Message::Checked { generation, settings, checked } => self.take_checked(generation, &settings, checked),
            Message::Ended(messages) => messages.into_iter().for_each(|message| self.take(message)),
            Message::Answered(answer) => (self.answer, self.written) = (Some(answer), None),
        }
    }

    fn feed(&mut self, event: Event) {
        let actions = self.decide(event);
        self.perform_all(actions);
        // On disk, or not wanted: the body need not be held in memory too.
        if let Some((hash, body)) = &mut self.offered
            && !self.agent.awaits_body(*hash)
        {
            *body = None;
        }
    }

    /// The one place that the decisions are asked.
    fn decide(&mut self, event: Event) -> Vec<Action> {
        self.built_in_checks.heard(&event);
        self.agent.on(event, self.moment())
    }

    fn moment(&self) -> Moment {
        Moment { now: Instant::now(), wall: SystemTime::now(), dice: fastrand::u64(..) }
    }

    /// Does what was decided, and what is decided about how that went.
    fn perform_all(&mut self, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.perform(action) {
                actions.extend(self.decide(event));
            }
        }
    }

    /// Does one thing. What is known at once is answered at once.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Exchange { source, report, conditional } => return self.exchange(source, &report, conditional),
            Action::CheckBody(hash) => return self.check_body(hash),
            Action::Report(report) => return self.send_report(&report),
            Action::Keep(hash) => return self.keep(hash),
            Action::Record { generation, record } => return self.record(generation, record),
            Action::Validate(hash) => self.validate(hash),
            Action::EndValidation => self.validation = None,
            Action::Spawn { config, without_engine, without_additions } => {
                return Some(Event::Collector(CollectorEvent::Spawned(self.spawn(
                    config,
                    without_engine,
                    without_additions,
                ))));
            }
            Action::Terminate(pid) => os::terminate(pid),
            Action::Kill(pid) => os::kill_group(pid),
            Action::Probe(pid) => self.probe(pid),
            Action::SignOfLife => os::tell_manager("WATCHDOG=1"),
            Action::Sample => {
                self.take_sample();
                self.own_snapshot();
            }
            Action::Tell(notice) => {
                self.tell(&notice);
                self.record_alert(&notice);
            }
            Action::Answer(answer) => self.answer(answer),
            Action::Quit => self.quit = true,
            Action::Export => return self.export(),
            Action::SendAlerts(batch) => return self.send_alerts(batch),
            Action::KeepAlerts(memory) => return self.keep_alerts(memory),
            Action::Docker(what) => return self.use_engine(what),
            Action::Check { index, generation } => return self.check(index, generation),
        }
        None
    }
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
