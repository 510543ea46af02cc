//! The collector as the event loop sees it: started, validated, probed, mourned.

use super::*;
use crate::settings::ExportTo;

impl Runner {
    pub(super) fn launcher(&self) -> Launcher {
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
            host: self.host_identity.clone(),
            host_root: self.settings.host.root.clone(),
            engine: self.settings.docker.socket.clone(),
            marker: self.marker.clone(),
            store: self.store.clone(),
            runtime_dir: self.runtime_dir.clone(),
            looked_at: self.looked_at.clone(),
            children: self.children.clone(),
            takes_exports: self.settings.export.to == Some(ExportTo::Collector),
        }
    }

    /// What the collector can do, if that is known of this very binary.
    pub(super) fn known_capabilities(&self, launcher: &Launcher) -> Option<Capabilities> {
        let binary = self.memory.binary.as_ref()?;
        (launcher.stamp().as_ref() == Some(&binary.stamp)).then_some(binary.capabilities)
    }

    pub(super) fn validate(&mut self, hash: ConfigHash) {
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

    pub(super) fn spawn(
        &mut self,
        hash: ConfigHash,
        without_engine: bool,
        without_additions: bool,
    ) -> Result<otelet_core::decide::Child, otelet_core::decide::SpawnFailure> {
        let launcher = self.launcher();
        // A binary that was replaced is taken to be as able as the one before, until the next validation asks it.
        let capabilities = self
            .known_capabilities(&launcher)
            .or(self.memory.binary.as_ref().map(|binary| binary.capabilities))
            .unwrap_or_default();
        let running = launcher.spawn(hash, without_engine, without_additions, capabilities, Instant::now())?;
        let child = running.child.clone();
        self.learn_targets(running.intake);
        self.collector = Some((child.pid, running.probe.clone(), running.relay.clone()));
        self.attend(running);
        Ok(child)
    }

    pub(super) fn attend(&self, running: Running) {
        let (sender, children, pid) = (self.sender.clone(), self.children.clone(), running.child.pid);
        self.executor
            .spawn(async move {
                let exit = running.attend(children).await;
                send(&sender, Message::Event(Event::Collector(CollectorEvent::Exited { pid, exit })));
            })
            .detach();
    }

    pub(super) fn forget_collector(&mut self, pid: u32) {
        if let Some((_, _, relay)) = self.collector.take_if(|(known, _, _)| *known == pid) {
            self.losses.collector_log_lines += relay.borrow().dropped();
        }
        if os::is_pid_1() {
            os::reap_strangers(&self.children.borrow().iter().copied().collect::<Vec<_>>());
        }
    }

    pub(super) fn follow_orphan(&self, pid: u32) {
        let sender = self.sender.clone();
        self.executor
            .spawn(async move {
                os::gone(pid).await;
                os::sweep_group(pid);
                let exit = Exit { how: "ended".into(), ..Exit::default() };
                send(&sender, Message::Event(Event::Collector(CollectorEvent::Exited { pid, exit })));
            })
            .detach();
    }

    pub(super) fn probe(&self, pid: u32) {
        let Some((_, probe, _)) = self.collector.as_ref().filter(|(known, _, _)| *known == pid) else { return };
        let (probe, sender) = (probe.clone(), self.sender.clone());
        self.executor
            .spawn(async move {
                let probe = probe.probe(pid).await;
                send(&sender, Message::Event(Event::Collector(CollectorEvent::Probed { pid, probe })));
            })
            .detach();
    }
}
