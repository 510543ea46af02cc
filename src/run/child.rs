//! The child: validates configs, starts and probes the collector, and reports its end.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use smol::Task;

use super::context::Context;
use super::decisions::moment;
use super::message::Message;
use crate::collector::{Launcher, Prober, Running};
use crate::log::Relay;
use crate::os;
use crate::settings::ExportTo;
use crate::store::Binary;
use otelet_config::{Capabilities, Inspection, Intake};
use otelet_core::decide::{self, CollectorEvent, ConfigHash, Event, Exit, SpawnFailure, Verdict};

pub(super) struct Child {
    collector: Option<Collector>,
    validation: Option<Task<()>>,
    /// The body that was inspected last.
    inspected: Rc<RefCell<Option<(ConfigHash, Inspection)>>>,
    /// The address of the collector's own metrics that was logged last.
    reader: Rc<Cell<Option<SocketAddr>>>,
    /// The `service.name` that the config of the last start gives to the collector's own telemetry.
    service_name: Option<String>,
    /// The binary that was asked last.
    pub(super) binary: Option<Binary>,
    /// The output of its `components`.
    pub(super) components: Option<Arc<str>>,
    /// Log lines that were dropped of collectors that have ended.
    dropped_lines: u64,
}

/// The collector that runs.
struct Collector {
    pid: u32,
    probe: Rc<Prober>,
    relay: Rc<RefCell<Relay>>,
}

impl Child {
    pub(super) fn new(binary: Option<Binary>) -> Self {
        Self {
            collector: None,
            validation: None,
            inspected: Rc::default(),
            reader: Rc::default(),
            service_name: None,
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
            reader: self.reader.clone(),
            children: context.children.clone(),
            takes_exports: settings.export.to == Some(ExportTo::Collector),
        }
    }

    /// The capabilities of the collector, if this very binary was asked for them.
    fn known_capabilities(&self, launcher: &Launcher) -> Option<Capabilities> {
        let binary = self.binary.as_ref()?;
        (launcher.stamp().as_ref() == Some(&binary.stamp)).then_some(binary.capabilities)
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

    /// Starts the collector. Its intake is where it takes exports.
    pub(super) fn spawn(
        &mut self,
        context: &Context,
        hash: ConfigHash,
        without_engine: bool,
        without_additions: bool,
    ) -> Result<(decide::Child, Intake), SpawnFailure> {
        let launcher = self.launcher(context);
        // A binary that was replaced is taken to be as able as the one before, until the next validation asks it.
        let capabilities = self
            .known_capabilities(&launcher)
            .or(self.binary.as_ref().map(|binary| binary.capabilities))
            .unwrap_or_default();
        let running = launcher.spawn(hash, without_engine, without_additions, capabilities, moment().now)?;
        self.service_name = self
            .inspected
            .borrow()
            .as_ref()
            .and_then(|(of, inspected)| inspected.service_name.clone().filter(|_| *of == hash));
        let (child, intake) = (running.child.clone(), running.intake);
        self.collector = Some(Collector { pid: child.pid, probe: running.probe.clone(), relay: running.relay.clone() });
        attend(context, running);
        Ok((child, intake))
    }

    /// Forgets a collector that has ended.
    pub(super) fn forget(&mut self, context: &Context, pid: u32) {
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

    /// Asks the collector for its components, in the background: OpAMP servers want to know them.
    pub(super) fn learn_components(&self, context: &Context) {
        let (launcher, outbox) = (self.launcher(context), context.outbox.clone());
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

    /// The version of the collector, or nothing.
    pub(super) fn version(&self) -> &str {
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
                log::warn!("{dropped} log lines of the collector were dropped: more than collector.log_rate allows");
            }
        }
    }
}

fn attend(context: &Context, running: Running) {
    let (outbox, children, pid) = (context.outbox.clone(), context.children.clone(), running.child.pid);
    context
        .executor
        .spawn(async move {
            let exit = running.attend(children).await;
            outbox.send(Message::Event(Event::Collector(CollectorEvent::Exited { pid, exit })));
        })
        .detach();
}

/// Waits for the end of a collector that an earlier agent left.
pub(super) fn follow_orphan(context: &Context, pid: u32) {
    let outbox = context.outbox.clone();
    context
        .executor
        .spawn(async move {
            os::gone(pid).await;
            os::sweep_group(pid);
            let exit = Exit { how: "ended".into(), ..Exit::default() };
            outbox.send(Message::Event(Event::Collector(CollectorEvent::Exited { pid, exit })));
        })
        .detach();
}

/// As PID 1, reaps the processes that no task waits for.
pub(super) fn reap_strangers(context: &Context) {
    os::reap_strangers(&context.children.borrow().iter().copied().collect::<Vec<_>>());
}
