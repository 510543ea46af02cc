//! The child: validates configs, starts and probes the collector, and reports its end.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use smol::Task;

use super::configs::watch_files;
use super::context::Context;
use super::decisions::moment;
use super::message::Message;
use super::threads;
use crate::collector::{self, Launcher, Prober, Running, Stamp};
use crate::log::Relay;
use crate::os;
use crate::settings::ExportTo;
use crate::store::{Binary, Layers, LocalFile};
use otelet_config::{Capabilities, Inspection, Intake};
use otelet_core::decide::{
    self, Change, Changed, CollectorEvent, ConfigHash, Event, Exit, ProgramTrial, SpawnFailure, Verdict,
};
use otelet_core::units::counted;

pub(super) struct Child {
    collector: Option<Collector>,
    /// The process groups that an earlier agent left. The first one stands for all of them.
    orphans: Vec<u32>,
    validation: Option<Task<()>>,
    /// Asks a program that lies on disk since the last start.
    questions: Option<Task<()>>,
    /// The body that was inspected last.
    inspected: Rc<RefCell<Option<(ConfigHash, Inspection)>>>,
    /// The files of `collector.local`, as the collector gets them; and what is on disk of that.
    layers: Rc<RefCell<Layers>>,
    kept_layers: Layers,
    /// Watches these files.
    watch: Option<Task<()>>,
    /// The address of the collector's own metrics that was logged last.
    reader: Rc<Cell<Option<SocketAddr>>>,
    /// The `service.name` that the config of the last start gives to the collector's own telemetry.
    service_name: Option<String>,
    /// Why nothing leaves this host by the config of the last start.
    goes_nowhere: Option<&'static str>,
    /// The program of the last start: `collector.path` may be a name alone.
    program: Option<PathBuf>,
    /// The binary that was asked last.
    pub(super) binary: Option<Binary>,
    /// The output of its `components`.
    pub(super) components: Option<Arc<str>>,
    /// The program that was asked for them.
    asked_components: Option<String>,
    /// Log lines that were dropped of collectors that have ended.
    dropped_lines: u64,
}

/// The collector that runs.
struct Collector {
    pid: u32,
    /// The processes that it started are known by it.
    mark: String,
    /// Its program, as it was at its start.
    program: Option<Stamp>,
    version: String,
    /// The files of the host that it was given, and what was seen of them when they were chosen for its config.
    files: Arc<[LocalFile]>,
    seen: String,
    probe: Rc<Prober>,
    relay: Rc<RefCell<Relay>>,
}

impl Child {
    pub(super) fn new(binary: Option<Binary>, orphans: Vec<u32>, layers: Layers) -> Self {
        Self {
            collector: None,
            orphans,
            validation: None,
            questions: None,
            asked_components: None,
            inspected: Rc::default(),
            reader: Rc::default(),
            service_name: None,
            goes_nowhere: None,
            program: None,
            kept_layers: layers.clone(),
            layers: Rc::new(RefCell::new(layers)),
            watch: None,
            binary,
            components: None,
            dropped_lines: 0,
        }
    }

    fn launcher(&self, context: &Context) -> Launcher {
        let (settings, names) = (&context.settings, &context.identity);
        let mut identity = vec![("service.instance.id".to_owned(), names.instance_uid.clone())];
        if !names.host.name.is_empty() {
            identity.push(("host.name".into(), names.host.name.clone()));
        }
        identity.retain(|(name, _)| !settings.attributes.iter().any(|(given, _)| given == name));
        identity.extend(settings.attributes.iter().cloned());
        Launcher {
            settings: settings.collector.clone(),
            identity,
            instance_uid: names.instance_uid.clone(),
            host: names.host.clone(),
            host_root: settings.host.root.clone(),
            engine: settings.docker.socket.clone(),
            marker: names.marker.clone(),
            store: context.store.clone(),
            runtime_dir: context.runtime_dir.clone(),
            inspected: self.inspected.clone(),
            layers: self.layers.clone(),
            reader: self.reader.clone(),
            children: context.children.clone(),
            takes_exports: settings.export.to == Some(ExportTo::Collector),
        }
    }

    /// The capabilities of the collector, if this very binary was asked for them.
    fn known_capabilities(&self, launcher: &Launcher) -> Option<Capabilities> {
        let binary = self.binary.as_ref()?;
        let is_known = launcher.stamp().is_some_and(|stamp| stamp.all == binary.stamp)
            && binary.behind.iter().all(|(path, stamp)| is_still(path, stamp));
        is_known.then_some(binary.capabilities)
    }

    pub(super) fn validate(&mut self, context: &Context, hash: ConfigHash) {
        let launcher = self.launcher(context);
        let known = self.known_capabilities(&launcher);
        let outbox = context.outbox.clone();
        self.validation = Some(context.executor.spawn(async move {
            let verdict = match known {
                Some(capabilities) => launcher.validate(hash, capabilities).await,
                None => match launcher.binary().await {
                    Ok(binary) => {
                        let capabilities = binary.capabilities;
                        outbox.send(Message::Binary(binary));
                        launcher.validate(hash, capabilities).await
                    }
                    Err(why) => Verdict::Unable(why),
                },
            };
            outbox.send(Message::Event(Event::Validated { hash, verdict }));
        }));
    }

    pub(super) fn end_validation(&mut self) {
        self.validation = None;
    }

    /// Asks the program on disk for its version and its capabilities.
    pub(super) fn learn(&mut self, context: &Context) {
        let (launcher, outbox) = (self.launcher(context), context.outbox.clone());
        self.questions = Some(context.executor.spawn(async move {
            match launcher.binary().await {
                Ok(binary) => outbox.send(Message::Binary(binary)),
                Err(why) => {
                    log::warn!("the collector cannot be asked: {why}; it is started without the agent's additions");
                }
            }
            outbox.send(Message::Event(Event::Collector(CollectorEvent::Learned)));
        }));
    }

    /// Asks the program on disk the same, and whether it takes the config that runs.
    pub(super) fn try_program(&mut self, context: &Context, config: ConfigHash, change: Change) {
        let (launcher, outbox) = (self.launcher(context), context.outbox.clone());
        let known = self.known_capabilities(&launcher);
        let files = self.collector.as_ref().map(|collector| collector.files.clone()).unwrap_or_default();
        self.questions = Some(context.executor.spawn(async move {
            let asked = match known {
                Some(capabilities) => Ok((capabilities, String::new())),
                None => launcher.binary().await.map(|binary| {
                    let known = (binary.capabilities, binary.version.clone());
                    outbox.send(Message::Binary(binary));
                    known
                }),
            };
            let trial = match asked {
                Err(why) => ProgramTrial::Unable(why),
                Ok((capabilities, version)) => match launcher.validate(config, capabilities).await {
                    Verdict::Passed if change.of == Changed::Local && collector::is_same(&launcher.files(), &files) => {
                        ProgramTrial::Same
                    }
                    Verdict::Passed => ProgramTrial::Takes(version),
                    Verdict::Refused(why) => ProgramTrial::Refuses(why),
                    Verdict::Unable(why) | Verdict::Lost(why) => ProgramTrial::Unable(why),
                },
            };
            outbox.send(Message::Event(Event::Collector(CollectorEvent::ProgramTried { change, trial })));
        }));
    }

    pub(super) fn end_questions(&mut self) {
        self.questions = None;
    }

    /// The change on disk since the start of the collector: its program, or a file of `collector.local`.
    pub(super) fn look(&mut self, context: &Context) -> Option<Change> {
        let (program, files) = (self.look_at_program(context), self.look_at_files(context));
        // With other files the collector is started anew in any case, and that starts the program on disk.
        let of = match (program, files) {
            (_, Some(_)) => Changed::Local,
            (Some(_), None) => Changed::Program,
            (None, None) => return None,
        };
        Some(Change { of, number: number(&(program, files)) })
    }

    fn look_at_files(&self, context: &Context) -> Option<u64> {
        let paths = &context.settings.collector.local;
        let collector = self.collector.as_ref()?;
        if paths.is_empty() && collector.files.is_empty() {
            return None;
        }
        let seen = collector::look(paths);
        (seen != collector.seen).then(|| number(&seen))
    }

    /// Watches the files of `collector.local`.
    pub(super) fn watch_files(&mut self, context: &Context) {
        let paths = context.settings.collector.local.clone();
        self.watch = if paths.is_empty() { None } else { watch_files(context, paths, || Message::LocalChanged) };
    }

    /// The files of the host that the running collector was given.
    pub(super) fn files(&self) -> Arc<[LocalFile]> {
        self.collector.as_ref().map(|collector| collector.files.clone()).unwrap_or_default()
    }

    /// Puts the files that a config was validated with on disk, for the next agent.
    pub(super) fn keep_layers(&mut self, context: &Context) {
        let layers = self.layers.borrow().clone();
        if layers.config == self.kept_layers.config && layers.files == self.kept_layers.files {
            return;
        }
        self.kept_layers = layers.clone();
        let store = context.store.clone();
        let _ = threads::start("local", move || {
            if let Err(error) = store.keep_layers(&layers) {
                log::debug!("collector.local cannot be kept: {}", error.chain());
            }
        });
    }

    /// A number for the program on disk, if it is another one than the one that runs.
    fn look_at_program(&mut self, context: &Context) -> Option<u64> {
        let launcher = self.launcher(context);
        let collector = self.collector.as_ref()?;
        // A program that is gone for a moment is being replaced.
        let stamp = launcher.stamp()?;
        if collector.program.as_ref().is_some_and(|program| program.file != stamp.file) {
            return Some(number(&stamp.file));
        }
        // Behind a script, the script stays the same.
        let mut behind = Vec::new();
        for (path, gone) in os::running_programs(collector.pid) {
            // One that is gone for good is no replacement.
            let Ok((stamp, _)) = os::stamp(&path) else { continue };
            if gone {
                return Some(number(&stamp));
            }
            behind.push((path, stamp));
        }
        let program = launcher.program().ok().and_then(|program| program.canonicalize().ok());
        behind.retain(|(path, _)| Some(path) != program.as_ref());
        if let Some(binary) = &mut self.binary
            && binary.stamp == stamp.all
            && binary.behind.is_empty()
            && !behind.is_empty()
        {
            binary.behind = behind;
            context.send(Event::Collector(CollectorEvent::Learned));
        }
        None
    }

    /// Starts the collector. Its intake is where it takes exports. None if its program was not asked yet, and
    /// `only_known` ones may be started.
    pub(super) fn spawn(
        &mut self,
        context: &Context,
        hash: ConfigHash,
        without_engine: bool,
        without_additions: bool,
        only_known: bool,
    ) -> Option<Result<(decide::Child, Intake), SpawnFailure>> {
        let launcher = self.launcher(context);
        self.program = launcher.program().ok();
        let program = launcher.stamp();
        let known = self.known_capabilities(&launcher);
        if only_known && known.is_none() && program.is_some() {
            return None;
        }
        Some(self.spawn_known(context, &launcher, hash, without_engine, without_additions, known, program))
    }

    #[expect(clippy::too_many_arguments, reason = "what the decision and the look at the disk found")]
    fn spawn_known(
        &mut self,
        context: &Context,
        launcher: &Launcher,
        hash: ConfigHash,
        without_engine: bool,
        without_additions: bool,
        known: Option<Capabilities>,
        program: Option<Stamp>,
    ) -> Result<(decide::Child, Intake), SpawnFailure> {
        let version = self.binary.as_ref().filter(|_| known.is_some()).map(|binary| binary.version.clone());
        let layers = self.layers.borrow();
        // Files that were chosen for another config are chosen anew for this one.
        let seen = if layers.config == hash.hex() { layers.seen.clone() } else { String::new() };
        drop(layers);
        // One that cannot be asked runs without any addition: it might refuse it.
        let capabilities = known.unwrap_or_default();
        let running = launcher.spawn(hash, without_engine, without_additions, capabilities, moment().now)?;
        self.service_name = self
            .inspected
            .borrow()
            .as_ref()
            .and_then(|(of, inspected)| inspected.service_name.clone().filter(|_| *of == hash));
        self.goes_nowhere = launcher.goes_nowhere(hash);
        let (child, intake) = (running.child.clone(), running.intake);
        self.collector = Some(Collector {
            pid: child.pid,
            mark: running.mark.clone(),
            program,
            version: version.unwrap_or_default(),
            files: running.files.clone().into(),
            seen,
            probe: running.probe.clone(),
            relay: running.relay.clone(),
        });
        attend(context, running);
        Ok((child, intake))
    }

    /// Asks a collector to end, with all that it has started.
    pub(super) fn terminate(&self, pid: u32) {
        match self.collector.as_ref().filter(|collector| collector.pid == pid) {
            Some(collector) => os::terminate(pid, &collector.mark),
            None => self.orphans.iter().for_each(|group| os::terminate_group(*group)),
        }
    }

    /// Ends a collector now, with all that it has started.
    pub(super) fn kill(&self, pid: u32) {
        match self.collector.as_ref().filter(|collector| collector.pid == pid) {
            Some(collector) => os::kill(pid, &collector.mark),
            None => self.orphans.iter().for_each(|group| os::kill_group(*group)),
        }
    }

    /// Forgets a collector that has ended.
    pub(super) fn forget(&mut self, context: &Context, pid: u32) {
        self.orphans.clear();
        if let Some(collector) = self.collector.take_if(|collector| collector.pid == pid) {
            self.dropped_lines += collector.relay.borrow().dropped();
        }
        if os::is_pid_1() {
            reap_strangers(context);
        }
    }

    pub(super) fn probe(&self, context: &Context, pid: u32) {
        let Some(collector) = self.collector.as_ref().filter(|collector| collector.pid == pid) else { return };
        let (probe, outbox) = (collector.probe.clone(), context.outbox.clone());
        context
            .executor
            .spawn(async move {
                let probe = probe.probe(pid).await;
                outbox.send(Message::Event(Event::Collector(CollectorEvent::Probed { pid, probe })));
            })
            .detach();
    }

    /// Asks the collector for its components, in the background: OpAMP servers want to know them. A program that has
    /// answered is not asked again.
    pub(super) fn learn_components(&mut self, context: &Context) {
        let (launcher, outbox) = (self.launcher(context), context.outbox.clone());
        let asked = launcher.stamp().map(|stamp| stamp.all);
        if asked.is_some() && self.asked_components == asked {
            return;
        }
        self.asked_components = asked;
        context
            .executor
            .spawn(async move {
                match launcher.components().await {
                    Ok(text) => outbox.send(Message::Components(text.into())),
                    Err(why) => log::debug!("the collector's components are not known: {why}"),
                }
            })
            .detach();
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.collector.as_ref().map(|collector| collector.pid)
    }

    /// The name that the collector gives to its own telemetry, or nothing: by its config, else its own.
    pub(super) fn name(&self) -> &str {
        let own = self.binary.as_ref().map(|binary| binary.name.as_str());
        self.service_name.as_deref().or(own).unwrap_or_default()
    }

    /// The program that was started last, else the one of the settings.
    pub(super) fn program<'a>(&'a self, context: &'a Context) -> &'a Path {
        self.program.as_deref().unwrap_or(&context.settings.collector.path)
    }

    /// Why nothing leaves this host, neither by the collector nor by the agent itself; none if something may.
    pub(super) fn goes_nowhere(&self, context: &Context) -> Option<String> {
        let settings = &context.settings;
        let sends = settings.report.url.is_some() || matches!(settings.export.to, Some(ExportTo::Url(_)));
        self.goes_nowhere.filter(|_| !sends && self.collector.is_some()).map(str::to_owned)
    }

    /// The version of the collector that runs, else of the one that would; or nothing.
    pub(super) fn version(&self) -> &str {
        if let Some(collector) = &self.collector {
            return &collector.version;
        }
        self.binary.as_ref().map(|binary| binary.version.as_str()).unwrap_or_default()
    }

    /// Log lines that were dropped, of all collectors.
    pub(super) fn dropped_lines(&self) -> u64 {
        self.dropped_lines + self.collector.as_ref().map_or(0, |collector| collector.relay.borrow().dropped())
    }

    pub(super) fn warn_of_dropped_lines(&self) {
        if let Some(collector) = &self.collector {
            let dropped = collector.relay.borrow_mut().newly_dropped();
            if dropped > 0 {
                let lines = counted(dropped, "log line");
                log::warn!("{lines} of the collector dropped: more than collector.log_rate allows");
            }
        }
    }
}

/// Whether this is still the file of that stamp.
fn is_still(path: &Path, known: &str) -> bool {
    os::stamp(path).is_ok_and(|(stamp, _)| stamp == known)
}

/// A number that another one does not have.
fn number(stamp: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    stamp.hash(&mut hasher);
    hasher.finish()
}

fn attend(context: &Context, running: Running) {
    let (outbox, children, pid) = (context.outbox.clone(), context.children.clone(), running.child.pid);
    context
        .executor
        .spawn(async move {
            let leader_ended = || outbox.send(Message::Event(Event::Collector(CollectorEvent::LeaderEnded { pid })));
            let exit = running.attend(children, leader_ended).await;
            outbox.send(Message::Event(Event::Collector(CollectorEvent::Exited { pid, exit })));
        })
        .detach();
}

/// Waits for the end of a collector that an earlier agent left: of all its process groups.
pub(super) fn follow_orphans(context: &Context, groups: Vec<u32>) {
    let Some(pid) = groups.first().copied() else { return };
    let outbox = context.outbox.clone();
    context
        .executor
        .spawn(async move {
            for group in groups {
                os::group_gone(group).await;
            }
            let exit = Exit { how: "ended".into(), ..Exit::default() };
            outbox.send(Message::Event(Event::Collector(CollectorEvent::Exited { pid, exit })));
        })
        .detach();
}

/// As PID 1, reaps the processes that no task waits for.
pub(super) fn reap_strangers(context: &Context) {
    os::reap_strangers(&context.children.borrow().iter().copied().collect::<Vec<_>>());
}
