//! The loop: waits for a message, has it decided, and hands the actions to the concerns.

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smol::channel::Receiver;
use smol::future::FutureExt as _;
use smol::{LocalExecutor, Task};

use super::answers::take_request;
use super::child::{Child, follow_orphans, reap_strangers};
use super::configs::{Configs, LAST_WORDS, part, say_goodbye};
use super::context::{Context, Identity, redactor};
use super::decisions::{ask, moment};
use super::draft::Draft;
use super::message::{ExchangeEnd, Finding, Message, Outbox};
use super::observations::Observations;
use super::params::params;
use super::tellers::Tellers;
use crate::collector::MARKER;
use crate::http;
use crate::observe::check::FinishedCheck;
use crate::observe::host;
use crate::os::{self, Signal};
use crate::settings::{self, CheckSettings, ExportTo, Flags, Settings, World};
use crate::source;
use crate::status::{self, Facts, Request, Verb};
use crate::store::Store;
use crate::tell::otlp;
use otelet_core::decide::{self, Action, Agent, AgentReport, CollectorEvent, ConfigHash, Event, OnReplaced};
use otelet_core::examine::BEFORE_OTELET;
use otelet_core::telemetry::Snapshot;
use otelet_core::{text, units};
use otelet_wire::status::{AgentState, Losses, Status};

/// How long the end waits for writes to the state directory.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Time that a stop may take beyond all these limits.
const STOP_MARGIN: Duration = Duration::from_secs(2);

pub(super) struct Runner {
    flags: Flags,
    context: Context,
    messages: Receiver<Message>,
    agent: Agent,
    configs: Configs,
    child: Child,
    observations: Observations,
    tellers: Tellers,
    clock_watch: Option<Task<()>>,
    quit: bool,
}

impl Runner {
    // It makes room on the stack for three of itself, which is given back only if it is a function of its own.
    #[inline(never)]
    pub(super) fn new(
        flags: Flags,
        settings: Settings,
        store: Store,
        runtime_dir: PathBuf,
        executor: Rc<LocalExecutor<'static>>,
    ) -> (Self, Vec<Action>) {
        let (sender, messages) = smol::channel::unbounded();
        let (memory, mut warnings) = store.load();
        let (instance_uid, more) = store.identity(settings.identity.as_deref(), &settings.host.root);
        warnings.extend(more);
        let layers = store.layers();
        let (alerts, more) = crate::tell::alerts::load(store.dir());
        warnings.extend(more);
        log::info!("otelet {} started: instance uid {instance_uid}", env!("CARGO_PKG_VERSION"));
        settings.notes.iter().chain(&warnings).for_each(|warning| log::warn!("{warning}"));

        let marker = store.marker().unwrap_or_else(|| instance_uid.clone());
        let orphans = os::find_marked(&format!("{MARKER}={marker}"));
        let orphan = orphans.first().copied();

        let at = moment();
        let mut host = host::identity(&settings.host.root);
        // Two hosts without a machine id may have one name, such as localhost.
        if host.id.is_empty() {
            host.id.clone_from(&marker);
        }
        let identity = Identity {
            instance_uid,
            marker,
            host,
            started: at.wall,
            start: os::process_start(std::process::id()).unwrap_or_default(),
        };
        let params = params(&settings, &memory.record, &memory.source, identity.alert_labels());
        let served = Some(memory.source.location.clone());
        let (agent, actions) = Agent::resume(params, memory.record.clone(), served, alerts, orphan, at);
        let context = Context {
            redactor: redactor(&settings),
            settings,
            identity,
            store,
            runtime_dir,
            executor,
            outbox: Outbox(sender),
            jobs: Arc::default(),
            children: Rc::default(),
            writes: Cell::new(0),
        };
        let mut runner = Self {
            flags,
            messages,
            agent,
            configs: Configs::new(memory.record, memory.source),
            child: Child::new(memory.binary, orphans.clone(), layers),
            observations: Observations::new(&context),
            tellers: Tellers::default(),
            clock_watch: None,
            quit: false,
            context,
        };
        follow_orphans(&runner.context, orphans);
        runner.open(at.wall);
        (runner, actions)
    }

    /// Opens sources and senders, and listens to signals.
    fn open(&mut self, started: SystemTime) {
        self.child.watch_files(&self.context);
        self.open_source();
        self.tellers.open_reporter(&self.context);
        self.tellers.exports.open(&self.context);
        self.tellers.record(&self.context, &otlp::own::started(started));
        self.tellers.open_webhook(&self.context);
        let outbox = self.context.outbox.clone();
        let listening = async move {
            loop {
                outbox.send(Message::Signal(os::signal().await));
            }
        };
        self.context.executor.spawn(listening).detach();
        if started < SystemTime::UNIX_EPOCH + BEFORE_OTELET {
            log::warn!(
                "the clock of this host says {}, so it is not set yet; certificates count as not valid until it is, and \
                 what fails is then asked again at once",
                units::rfc3339(started)
            );
        }
        if self.configs.has_nothing_to_run() {
            log::warn!(
                "config.url is not set, no config is built in for environment {} and none was kept: there is nothing to \
                 run; set one of the two and send SIGHUP",
                self.context.settings.config.environment
            );
        }
    }

    /// Wakes the loop when the clock is set, while that matters: it costs a descriptor. The decisions compare the clocks at
    /// each event, also at the one that makes it matter.
    fn watch_clock(&mut self) {
        if !self.agent.waits_for_clock() {
            self.clock_watch = None;
        } else if self.clock_watch.is_none() {
            let outbox = self.context.outbox.clone();
            self.clock_watch = Some(self.context.executor.spawn(async move {
                if let Err(error) = os::watch_clock(|| outbox.send(Message::Event(Event::Due))).await {
                    log::debug!("a set clock is noticed with the next wake-up only: {error}");
                }
            }));
        }
    }

    /// Performs the first actions; then waits, decides and acts, until the decision is to quit.
    pub(super) async fn run(&mut self, actions: Vec<Action>) {
        self.perform_all(actions);
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
            self.watch_clock();
            self.publish(false);
        }
        self.finish_writes().await;
        self.observations.docker.keep_position_at_the_end(&self.context);
        self.finish_writes().await;
        if let Some(source) = self.configs.take_source() {
            let draft = self.draft(&self.agent.report());
            say_goodbye(source, draft).await;
        }
        self.publish(true);
        log::info!("otelet stopped");
    }

    /// Waits for writes that are out, but not for ever: the disk may be gone.
    async fn finish_writes(&mut self) {
        let limit = moment().now + LAST_WRITES;
        while self.context.writes.get() > 0 {
            let message = async { self.messages.recv().await.ok() }.or(async {
                os::until(limit).await;
                None
            });
            match message.await {
                Some(Message::Written(_)) => self.context.count_written(),
                Some(_) => {}
                None => return,
            }
        }
    }

    // ---- Messages and decisions ------------------------------------------------------------------------------------

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                match &event {
                    Event::Collector(CollectorEvent::Exited { pid, .. }) => self.child.forget(&self.context, *pid),
                    Event::Validated { .. } | Event::Collector(CollectorEvent::ProgramTried { .. }) => {
                        self.child.keep_layers(&self.context);
                    }
                    _ => {}
                }
                self.feed(event);
            }
            Message::Written(event) => {
                self.context.count_written();
                self.observations.docker.learn_of_write(&event);
                self.feed(event);
            }
            Message::Exchanged(end) => self.take_exchange(*end),
            Message::Binary(binary) => self.child.binary = Some(binary),
            Message::LocalChanged => self.look(),
            Message::Components(text) => self.child.components = Some(text),
            Message::Signal(signal) => self.take_signal(signal),
            Message::Engine(generation, message) => {
                let findings = self.observations.docker.take(generation, message);
                self.take_findings(findings);
            }
            Message::Checked { generation, settings, checked } => self.take_checked(generation, &settings, checked),
            Message::Together(messages) => messages.into_iter().for_each(|message| self.take(message)),
            Message::Answered(answer) => {
                self.tellers.answers.answer = Some(answer);
                self.tellers.status_file.renew();
            }
        }
    }

    /// Looks whether something that the collector was given has changed.
    fn look(&mut self) {
        let other = self.child.look(&self.context);
        self.feed(Event::Collector(CollectorEvent::Looked(other)));
    }

    fn take_findings(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            match finding {
                Finding::Event(event) => self.feed(event),
                Finding::Snapshot(snapshot) => self.tellers.measured(&self.context, snapshot),
                Finding::Record(record) => self.tellers.record(&self.context, &record),
            }
        }
    }

    fn take_checked(&mut self, generation: u64, settings: &CheckSettings, checked: FinishedCheck) {
        if let Some(snapshot) = self.observations.check_points(&self.context, settings, &checked) {
            self.tellers.measured(&self.context, snapshot);
        }
        self.feed(Event::Checked { generation, outcome: checked.outcome });
    }

    fn take_exchange(&mut self, end: ExchangeEnd) {
        let (events, orders) = self.configs.take_exchange(end);
        self.feed_all(events);
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

    /// Takes another instance uid from the server.
    fn adopt(&mut self, uid: String) {
        match self.context.store.adopt(&uid, &self.context.settings.host.root) {
            Ok(()) => {
                let known = &mut self.context.identity.instance_uid;
                log::info!("instance uid is {uid} from now on, as the config server wants; it was {known}");
                *known = uid;
                self.feed(Event::Relabelled(self.context.identity.alert_labels()));
                self.tellers.exports.open(&self.context);
            }
            Err(error) => log::warn!("instance uid {uid} of the config server cannot be kept: {}", error.chain()),
        }
    }

    fn feed(&mut self, event: Event) {
        let actions = self.decide(event);
        self.perform_all(actions);
        self.configs.release_body(|hash| self.agent.awaits_body(hash));
    }

    /// Feeds events of one message. The body that it brought is awaited only after the last of them.
    fn feed_all(&mut self, events: Vec<Event>) {
        for event in events {
            let actions = self.decide(event);
            self.perform_all(actions);
        }
        self.configs.release_body(|hash| self.agent.awaits_body(hash));
    }

    fn decide(&mut self, event: Event) -> Vec<Action> {
        self.observations.built_in.learn(&event);
        ask(&mut self.agent, event, moment())
    }

    // ---- Actions ---------------------------------------------------------------------------------------------------

    /// Performs the actions, and those that follow from how they went.
    fn perform_all(&mut self, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.perform(action) {
                actions.extend(self.decide(event));
            }
        }
    }

    /// Performs one action. A result that is known at once is returned.
    fn perform(&mut self, action: Action) -> Option<Event> {
        let context = &self.context;
        match action {
            Action::Exchange { source, report, conditional } => {
                let draft = self.draft(&report);
                return self.configs.exchange(context, source, report.candidate, conditional, draft);
            }
            Action::CheckBody(hash) => return self.configs.check_body(context, hash),
            Action::Report(report) => return self.tellers.send_report(context, || self.draft(&report)),
            Action::Keep { hash, beside } => return self.configs.keep(context, hash, beside),
            Action::Record { generation, record } => {
                return self.configs.keep_record(context, generation, record, self.child.binary.clone());
            }
            Action::Validate(hash) => self.child.validate(context, hash),
            Action::EndValidation => self.child.end_validation(),
            Action::Spawn { config, without_engine, without_additions, only_known } => {
                let spawned = self.spawn(config, without_engine, without_additions, only_known);
                return Some(Event::Collector(spawned.map_or(CollectorEvent::Unknown, CollectorEvent::Spawned)));
            }
            Action::Learn => self.child.learn(context),
            Action::TryProgram { config, change } => self.child.try_program(context, config, change),
            Action::EndQuestions => self.child.end_questions(),
            Action::LookAtProgram => {
                let other = self.child.look(context);
                return Some(Event::Collector(CollectorEvent::Looked(other)));
            }
            Action::Terminate(pid) => self.child.terminate(pid),
            Action::Kill(pid) => self.child.kill(pid),
            Action::Probe(pid) => self.child.probe(context, pid),
            Action::SignOfLife => os::tell_manager("WATCHDOG=1"),
            Action::Sample => self.sample(),
            Action::Tell(notice) => self.tellers.tell(context, &notice),
            Action::Answer(answer) => self.tellers.answers.finish(answer),
            Action::Quit => self.quit = true,
            Action::Export => return self.tellers.exports.export(context),
            Action::SendAlerts(batch) => return self.tellers.send_alerts(context, batch),
            Action::KeepAlerts(memory) => return self.tellers.keep_alerts(context, memory),
            Action::Docker(what) => return self.observations.docker.perform(context, what),
            Action::Check { index, generation } => return self.observations.begin_check(context, index, generation),
        }
        None
    }

    fn spawn(
        &mut self,
        config: ConfigHash,
        without_engine: bool,
        without_additions: bool,
        only_known: bool,
    ) -> Option<Result<decide::Child, decide::SpawnFailure>> {
        let spawned = self.child.spawn(&self.context, config, without_engine, without_additions, only_known)?;
        Some(spawned.map(|(child, intake)| {
            self.tellers.exports.learn_targets(&self.context, intake);
            if self.configs.tells_components(&self.context) {
                self.child.learn_components(&self.context);
            }
            // The files of the host may have changed since they were validated.
            if !self.context.settings.collector.local.is_empty() {
                self.context.outbox.send(Message::LocalChanged);
            }
            child
        }))
    }

    /// Samples the host, the checks and the agent itself.
    fn sample(&mut self) {
        for snapshot in self.observations.take_sample(&self.context, self.child.pid()) {
            self.tellers.measured(&self.context, snapshot);
        }
        self.child.warn_of_dropped_lines();
        if self.context.wants_points() {
            let report = self.agent.report();
            self.tellers.measured(&self.context, self.observations.check_states(&report));
            let at = moment().wall;
            let points = self.tellers.counts.points(&report, &self.losses(), self.context.identity.started, at);
            self.tellers.measured(&self.context, Snapshot { at, points });
        }
    }

    // ---- Signals and requests --------------------------------------------------------------------------------------

    fn take_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Stop => {
                if !self.agent.is_ending() {
                    self.announce_stop();
                }
                self.feed(Event::Stop);
            }
            Signal::Reload => {
                os::tell_manager(&format!("RELOADING=1\nMONOTONIC_USEC={}", os::monotonic_microseconds()));
                self.reload();
                os::tell_manager("READY=1");
            }
            Signal::Poke => {
                if let Some(request) = take_request(&self.context) {
                    self.take_request(request);
                }
                self.tellers.status_file.renew();
                // The agent is awake now: tasks that are nearly due are done, and a clock that was set is noticed.
                self.feed(Event::Due);
            }
            Signal::ChildEnded => reap_strangers(&self.context),
        }
    }

    /// The service manager would kill an agent whose collector drains for longer than its own patience.
    fn announce_stop(&self) {
        let patience = self.context.settings.collector.stop_timeout + LAST_WRITES + LAST_WORDS + STOP_MARGIN;
        os::tell_manager(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", patience.as_micros()));
    }

    fn take_request(&mut self, Request { id, verb }: Request) {
        let event = match verb {
            Verb::RollBack => Event::RollBack,
            Verb::ClearRefused => Event::ClearRefused,
            Verb::ClearSigned => {
                self.configs.forget_signed();
                Event::ClearRefused
            }
            Verb::Diagnose => {
                let effective = self.agent.report().effective;
                return self.tellers.answers.leave_logs(&self.context, id, effective);
            }
        };
        self.tellers.answers.begin(id, verb);
        self.feed(event);
    }

    /// Reads the settings again. If they cannot be used, the reason is logged and the old ones stay.
    fn reload(&mut self) {
        let settings = match settings::load(&self.flags, &World::real()) {
            Ok(settings) => settings,
            Err(error) => {
                let why = text::chain(&error);
                log::error!("settings cannot be used: {why}; going on with the old ones");
                self.observations.built_in.settings_trouble = Some(why);
                self.feed(Event::Nudged);
                return;
            }
        };
        warn_of_new_directories(&self.context.settings, &settings);
        http::hide_paths(settings.config.hide_url_paths);
        self.observations.built_in.settings_trouble = None;
        log::info!("settings read again; asking the config source");
        settings.notes.iter().for_each(|note| log::warn!("{note}"));
        crate::log::set_level(settings.log_level);
        let old = std::mem::replace(&mut self.context.settings, settings);
        let sources_replaced = old.config != self.context.settings.config;
        if sources_replaced {
            if let Some(source) = self.configs.take_source() {
                part(source, self.draft(&self.agent.report()));
            }
            self.open_source();
        }
        let context = &mut self.context;
        context.redactor = redactor(&context.settings);
        self.configs.effective = Arc::default();
        self.tellers.reopen(context, &old);
        if old.docker != context.settings.docker {
            self.observations.docker.open(context);
        }
        let restart = of_collector(&old) != of_collector(&context.settings);
        let (record, memory) = (&self.configs.record, &self.configs.source_memory);
        let params = Box::new(params(&context.settings, record, memory, context.identity.alert_labels()));
        // This asks the source as well.
        self.feed(Event::Reconfigured { params, sources_replaced, restart });
        if old.collector.local != self.context.settings.collector.local {
            self.child.watch_files(&self.context);
            self.look();
        }
    }

    fn open_source(&mut self) {
        if self.configs.open_source(&self.context) {
            self.child.learn_components(&self.context);
        }
    }

    // ---- Status ----------------------------------------------------------------------------------------------------

    /// Writes the status if its essence has changed.
    fn publish(&mut self, last: bool) {
        let state = match (last, self.agent.is_ending()) {
            (true, _) => AgentState::Stopped,
            (false, false) => AgentState::Running,
            (false, true) => AgentState::Stopping,
        };
        let report = self.agent.report();
        self.observations.built_in.update(&report);
        let status = self.status(&report, state);
        let essence = status::essence(&status);
        if self.tellers.status_file.is_written(essence) {
            return;
        }
        if !last && self.tellers.status_file.is_news(essence) {
            // Reports hurry, and a server that wants to know at once is asked now.
            self.feed(Event::ReportChanged);
            self.configs.tell_news(&self.context, || self.draft(&self.agent.report()));
        }
        self.tellers.status_file.write(&self.context, &status, essence);
    }

    /// The status, for its file and for the source.
    fn status(&self, report: &AgentReport, state: AgentState) -> Status {
        let (context, identity) = (&self.context, &self.context.identity);
        let facts = Facts {
            instance_uid: &identity.instance_uid,
            started: identity.started,
            start: identity.start,
            state,
            source: self.configs.describe_source(),
            collector_path: self.child.program(context).display().to_string(),
            effective_path: report.effective.map(|hash| context.store.config_path(hash)),
            losses: self.losses(),
            sample: &self.observations.sample,
            host: &identity.host,
            attributes: &context.settings.attributes,
            collector_name: self.child.name(),
            collector_version: self.child.version(),
            goes_nowhere: self.child.goes_nowhere(context),
            answer: self.tellers.answers.answer.clone(),
            checks: self.observations.built_in.statuses(report),
            serial: self.tellers.status_file.next_serial(),
            export: self.tellers.exports.status(context),
            docker: self.observations.docker.status(),
        };
        let mut status = status::compute(report, facts, moment());
        status::mask(&mut status, &context.redactor);
        status
    }

    fn losses(&self) -> Losses {
        Losses {
            collector_log_lines: self.child.dropped_lines(),
            agent_log_lines: crate::log::lost(),
            export: self.tellers.exports.losses(),
            ..Losses::default()
        }
    }

    /// The report of an exchange, but for the text of the effective config.
    fn draft(&self, report: &AgentReport) -> Draft {
        Draft {
            report: source::Report {
                status: self.status(report, AgentState::Running),
                effective_config: None,
                components: self.child.components.clone(),
            },
            effective: report.effective,
            files: self.child.files(),
            store: self.context.store.clone(),
            redactor: self.context.redactor.clone(),
            cache: self.configs.effective.clone(),
        }
    }
}

fn warn_of_new_directories(old: &Settings, new: &Settings) {
    for (name, old, new) in
        [("state_dir", &old.state_dir, &new.state_dir), ("runtime_dir", &old.runtime_dir, &new.runtime_dir)]
    {
        if old != new {
            log::warn!("{name} changes from {} to {} only when the agent is restarted", old.display(), new.display());
        }
    }
}

/// The settings that a running collector sees only after a restart. Supervision is the agent's own business.
fn of_collector(settings: &Settings) -> (settings::CollectorSettings, Vec<(String, String)>, bool) {
    let mut collector = settings.collector.clone();
    (collector.stop_timeout, collector.probation) = (Duration::ZERO, Duration::ZERO);
    (collector.start_timeout, collector.validate_timeout) = (Duration::ZERO, Duration::ZERO);
    // Its files are looked at by themselves.
    (collector.on_replaced, collector.local) = (OnReplaced::default(), Vec::new());
    let takes_exports = settings.export.to == Some(ExportTo::Collector);
    (collector, settings.attributes.clone(), takes_exports)
}
