//! The context that each concern is handed: settings, directories, names, and the ways to start work and to report its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use smol::LocalExecutor;

use super::message::{Message, Outbox};
use super::threads::{self, Jobs};
use crate::settings::Settings;
use crate::store::Store;
use otelet_config::redact::Redactor;
use otelet_core::decide::{Event, Failure};
use otelet_core::telemetry::HostIdentity;

pub(super) struct Context {
    pub settings: Settings,
    /// Takes the secrets of the settings out of everything that is told.
    pub redactor: Arc<Redactor>,
    pub identity: Identity,
    pub store: Store,
    pub runtime_dir: PathBuf,
    pub executor: Rc<LocalExecutor<'static>>,
    pub outbox: Outbox,
    pub jobs: Arc<Jobs>,
    /// Processes that a task waits for. PID 1 must not reap them.
    pub children: Rc<RefCell<BTreeSet<u32>>>,
    /// Writes to the state directory that have not ended yet.
    pub writes: Cell<usize>,
}

/// The agent's identity.
pub(super) struct Identity {
    pub instance_uid: String,
    /// A later agent knows the collectors of this one by it.
    pub marker: String,
    pub host: HostIdentity,
    pub started: SystemTime,
    /// In clock ticks since boot: with the pid, a name that is not used twice.
    pub start: u64,
}

impl Identity {
    /// The labels that each alert of this host has. `instance` is Prometheus' label for `service.instance.id`.
    pub(super) fn alert_labels(&self) -> Vec<(String, String)> {
        vec![("instance".into(), self.instance_uid.clone()), ("host_name".into(), self.host.name.clone())]
    }
}

/// Takes the secrets of these settings out of a text.
pub(super) fn redactor(settings: &Settings) -> Arc<Redactor> {
    let redactor = Redactor::new(settings.secrets().iter().map(String::as_str));
    Arc::new(redactor.hiding_url_paths(settings.config.hide_url_paths))
}

impl Context {
    /// Runs a job that may block. Its message comes together with those of other jobs.
    pub(super) fn start(&self, name: &str, job: impl FnOnce() -> Message + Send + 'static) -> Result<(), Failure> {
        self.jobs.start(name, self.outbox.clone(), job)
    }

    /// Writes to the state directory, on a thread of its own: a slow disk must not stall supervision. Answers with the
    /// reason if no thread can be started.
    pub(super) fn write(&self, name: &str, job: impl FnOnce() -> Event + Send + 'static) -> Option<String> {
        let outbox = self.outbox.clone();
        let started = threads::start(name, move || outbox.send(Message::Written(job())));
        if started.is_ok() {
            self.writes.set(self.writes.get() + 1);
        }
        started.err()
    }

    pub(super) fn count_written(&self) {
        self.writes.set(self.writes.get() - 1);
    }

    pub(super) fn send(&self, event: Event) {
        self.outbox.send(Message::Event(event));
    }

    /// Whether points are used: by an export or by an alert.
    pub(super) fn wants_points(&self) -> bool {
        self.settings.export.to.is_some() || !self.settings.alerts.is_empty()
    }
}
