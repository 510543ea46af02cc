//! What people and service managers ask for, and what they are shown.

use super::*;
use crate::settings::ExportTo;
use otelet_wire::status::AgentState;

impl Runner {
    pub(super) fn listen_to_signals(&self) {
        let sender = self.sender.clone();
        self.executor
            .spawn(async move {
                loop {
                    send(&sender, Message::Signal(os::signal().await));
                }
            })
            .detach();
    }

    pub(super) fn take_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Stop => {
                if !self.agent.is_ending() {
                    self.say_stopping();
                }
                self.feed(Event::Stop);
            }
            Signal::Reload => {
                os::tell_manager(&format!("RELOADING=1\nMONOTONIC_USEC={}", os::monotonic_microseconds()));
                self.reload();
                os::tell_manager("READY=1");
            }
            Signal::Poke => self.look_for_request(),
            Signal::ChildEnded => os::reap_strangers(&self.children.borrow().iter().copied().collect::<Vec<_>>()),
        }
    }

    /// The service manager would kill an agent whose collector drains for longer than its own patience.
    fn say_stopping(&self) {
        let patience = self.settings.collector.stop_timeout + LAST_WRITES + LAST_WORDS + STOP_MARGIN;
        os::tell_manager(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", patience.as_micros()));
    }

    /// Reads the settings again. What is wrong with them is said, and the old ones stay.
    pub(super) fn reload(&mut self) {
        let settings = match settings::load(&self.flags, &World::real()) {
            Ok(settings) => settings,
            Err(error) => {
                log::error!(
                    "settings cannot be used: {}; going on with the old ones",
                    otelet_core::text::chain(&error)
                );
                self.built_in_checks.settings = Some(otelet_core::text::chain(&error));
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
        self.built_in_checks.settings = None;
        log::info!("settings read again; asking the config source");
        crate::log::set_level(settings.log_level);
        let old = std::mem::replace(&mut self.settings, settings);
        let sources_replaced = old.config != self.settings.config;
        if sources_replaced {
            self.part_from_source();
            self.open_source();
        }
        self.redactor = redactor(&self.settings);
        self.effective = Arc::default();
        if old.report != self.settings.report || old.config != self.settings.config {
            self.open_reporter();
        }
        if old.export != self.settings.export
            || old.config != self.settings.config
            || old.attributes != self.settings.attributes
        {
            self.open_exporter();
        }
        if old.webhook != self.settings.webhook || old.config != self.settings.config {
            self.open_webhook();
        }
        if old.docker != self.settings.docker {
            self.forget_engine();
        }
        // What only the agent does with its child takes effect without a restart.
        let apart_from_supervision = |settings: &Settings| {
            let mut collector = settings.collector.clone();
            (collector.stop_timeout, collector.probation) = (Duration::ZERO, Duration::ZERO);
            let takes_exports = settings.export.to == Some(ExportTo::Collector);
            (collector, settings.attributes.clone(), takes_exports)
        };
        let restart = apart_from_supervision(&old) != apart_from_supervision(&self.settings);
        let alert_labels = alerts::labels(&self.instance_uid, &self.host_identity);
        let params = Box::new(Params { alert_labels, ..params(&self.settings, &self.memory) });
        // This asks the source as well.
        self.feed(Event::Reconfigured { params, sources_replaced, restart });
    }

    pub(super) fn look_for_request(&mut self) {
        let path = status::request_path(&self.runtime_dir);
        if let Ok(text) = fs::read(&path) {
            let _ = fs::remove_file(&path);
            match serde_json::from_slice::<status::Request>(&text) {
                Ok(request) => self.take_request(request),
                Err(error) => log::warn!("{}: not a request: {error}", path.display()),
            }
        }
        self.written = None;
    }

    fn take_request(&mut self, status::Request { id, verb }: status::Request) {
        let event = match verb {
            Verb::RollBack => Event::RollBack,
            Verb::ClearRefused => Event::ClearRefused,
            Verb::ClearSigned => {
                self.memory.source.signed = None;
                self.source.iter().for_each(|source| source.forget_signed());
                Event::ClearRefused
            }
            Verb::Diagnose => return self.leave_logs(id),
        };
        self.request = Some((id, verb));
        self.feed(event);
    }

    /// Taking the secrets out takes a while: it is done on a thread of its own, and answered when it is done.
    fn leave_logs(&mut self, id: String) {
        let (runtime_dir, store, sender) = (self.runtime_dir.clone(), self.store.clone(), self.sender.clone());
        let (secrets, config) = (self.settings.secrets(), self.agent.report().effective);
        let name = id.clone();
        let answer_with = |id: String, result: Result<String, String>| {
            let done = result.is_ok();
            Answer { id, done, text: result.unwrap_or_else(|why| why) }
        };
        let started = work("diagnose", move || {
            let config = config.and_then(|hash| store.verify(hash).ok());
            let result = status::Diagnosis::leave(&runtime_dir, secrets, config.as_deref());
            send(&sender, Message::Answered(answer_with(id, result)));
        });
        if let Err(why) = started {
            self.answer = Some(answer_with(name, Err(why)));
        }
    }

    pub(super) fn answer(&mut self, answer: Result<String, String>) {
        if let Some((id, verb)) = self.request.take() {
            let done = answer.is_ok();
            let text = answer.map_or_else(|why| why, |text| text + verb.more());
            self.answer = Some(Answer { id, done, text });
        }
    }

    /// Writes the status if something in it has changed that matters.
    pub(super) fn publish(&mut self, last: bool) {
        let state = match (last, self.agent.is_ending()) {
            (true, _) => AgentState::Stopped,
            (false, false) => AgentState::Running,
            (false, true) => AgentState::Stopping,
        };
        let report = self.agent.report();
        self.look_at_ourselves(&report);
        let status = self.status(&report, state);
        let essence = status::essence(&status);
        if self.written == Some(essence) {
            return;
        }
        if !last {
            self.spread_news(essence);
        }
        os::tell_manager(&format!("STATUS={}", status.summary()));
        let text = serde_json::to_vec(&status).expect("maps with string keys and numbers only");
        match store::write_atomically(&status::path(&self.runtime_dir), &text) {
            Ok(()) => {
                self.serial += 1;
                self.written = Some(essence);
            }
            Err(error) => log::debug!("{}", error.chain()),
        }
    }

    pub(super) fn all_losses(&self) -> Losses {
        let relay = self.collector.as_ref().map_or(0, |(_, _, relay)| relay.borrow().dropped());
        Losses {
            collector_log_lines: self.losses.collector_log_lines + relay,
            agent_log_lines: crate::log::lost(),
            export: self.export_losses(),
            ..Losses::default()
        }
    }

    /// Everything that is known now: for the status file and for the source.
    pub(super) fn status(&self, report: &otelet_core::decide::AgentReport, state: AgentState) -> Status {
        let collector = self.settings.collector.path.display().to_string();
        let facts = Facts {
            instance_uid: &self.instance_uid,
            started: self.started,
            start: self.start,
            state,
            source: self.source.as_ref().map(|source| source.describe()),
            collector_path: collector,
            effective_path: report.effective.map(|hash| self.store.config_path(hash)),
            losses: self.all_losses(),
            sample: &self.sample,
            host: &self.host_identity,
            attributes: &self.settings.attributes,
            collector_version: self.memory.binary.as_ref().map(|binary| binary.version.as_str()).unwrap_or_default(),
            answer: self.answer.clone(),
            checks: self.check_statuses(report),
            serial: self.serial + 1,
            export: self.export_status(),
            docker: self.docker_status(),
        };
        let mut status = status::compute(report, facts, self.moment());
        status::mask(&mut status, &self.redactor);
        status
    }
}
