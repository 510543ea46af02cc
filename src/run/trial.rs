//! Tries a config without starting it: one exchange with the source, then the collector's own `validate`. For
//! `otelet validate`, for an agent that stands by, and in parts for `otelet doctor`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use smol::LocalExecutor;

use super::decisions::{ask, moment};
use crate::collector::Launcher;
use crate::observe::host::{self, Sample};
use crate::os;
use crate::settings::{ProtocolName, Settings};
use crate::source::{self, Offer, Source};
use crate::status::{self, Facts};
use crate::store::{Binary, Store};
use otelet_config as config;
use otelet_core::decide::{
    Action, Agent, ConfigHash, Event, ExchangeOutcome, Freshness, Moment, Params, Record, Validator, Verdict,
};
use otelet_core::units;
use otelet_wire::status::{AgentState, ExportStatus, Losses};

/// A temporary directory for the files that the collector reads.
pub struct Workspace(pub PathBuf);

impl Workspace {
    /// A name that no other has. Whoever writes there first makes it.
    #[expect(clippy::new_without_default, reason = "each one differs")]
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("otelet-validate-{}", uuid::Uuid::now_v7())))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Prints each step that works.
///
/// # Errors
///
/// The first step that does not, in words.
// It needs its stack only until the agent's turn comes.
#[inline(never)]
pub fn run(settings: &Settings) -> Result<(), String> {
    println!("settings: good");
    settings.notes.iter().for_each(|note| println!("settings: {note}"));
    let workspace = Workspace::new();
    let source = Source::new(&settings.config, &workspace.0).map_err(|error| format!("source: {error}"))?;
    let (report, mut agent, actions, at) = prepare(settings, &source);
    let body = match settings.config.protocol {
        ProtocolName::KloudMate => kept_config(settings)?,
        ProtocolName::Get | ProtocolName::OpAmp => match first_offer(&source, &report, &mut agent, actions, at)? {
            Offer::Config { body } => body,
            Offer::Empty | Offer::Unchanged => {
                return Err(format!("source: {} offers an empty config", source.describe()));
            }
        },
    };
    let hash = otelet_config::hash(&body);
    let origin = match settings.config.protocol {
        ProtocolName::KloudMate => "not asked, since it announces a config only once; looking at".to_owned(),
        ProtocolName::Get | ProtocolName::OpAmp => format!("{} offers", source.describe()),
    };
    println!("source: {origin} config {hash}, {} bytes", body.len());
    config::inspect(&body).map_err(|refusal| format!("config: {refusal}"))?;

    let store = Store::new(&workspace.0);
    store.keep(hash, &body).map_err(|error| error.chain())?;
    let launcher = launcher(settings, store, &workspace);
    let program = launcher.program().map_err(|why| format!("collector: {why}"))?;
    let started = moment().now;
    let verdict = match ask_collector(&launcher, Some(hash)) {
        Ok((_, verdict)) => verdict,
        Err(why) => Verdict::Unable(why),
    };
    launcher.layers.borrow().blamed.iter().for_each(|complaint| println!("{complaint}"));
    match verdict {
        Verdict::Passed => {
            println!("collector: {} takes it, asked for {}", program.display(), units::seconds(moment().now - started));
            Ok(())
        }
        Verdict::Refused(why) => Err(format!("collector: {} refuses it: {why}", program.display())),
        Verdict::Unable(why) | Verdict::Lost(why) => Err(format!("collector: cannot be asked: {why}")),
    }
}

/// What a server may learn of this host, on which nothing runs; and an agent that starts for the first time.
pub fn prepare(settings: &Settings, source: &Source) -> (source::Report, Agent, Vec<Action>, Moment) {
    let at = Moment { dice: 0, ..moment() };
    let params = Params {
        sources: source::locations(&settings.config).into(),
        fallback_after: settings.config.fallback_after,
        poll_every: settings.config.poll_every,
        stop_timeout: settings.collector.stop_timeout,
        start_timeout: settings.collector.start_timeout,
        probation: settings.collector.probation,
        report_every: None,
        watchdog: None,
        sample_every: settings.host.sample_every,
        export: None,
        ..Params::default()
    };
    let (agent, actions) = Agent::new(params, Record::default(), None, at);
    let empty = agent.report();
    // The agent's own uid, if it has one: a server should not see another agent come and go.
    let uid = Store::new(&settings.state_dir).known_uid().unwrap_or_default();
    let facts = Facts {
        instance_uid: &uid,
        started: at.wall,
        start: 0,
        state: AgentState::Validating,
        source: Some(source.describe()),
        collector_path: settings.collector.path.display().to_string(),
        collector_name: "",
        collector_version: "",
        effective_path: None,
        losses: Losses::default(),
        sample: &Sample::default(),
        host: &host::identity(&settings.host.root),
        attributes: &settings.attributes,
        answer: None,
        checks: Vec::new(),
        serial: 0,
        export: ExportStatus::default(),
        docker: None,
    };
    let status = status::compute(&empty, facts, at);
    (source::Report { status, effective_config: None, components: None }, agent, actions, at)
}

/// A launcher that asks the collector, and starts none.
pub fn launcher(settings: &Settings, store: Store, workspace: &Workspace) -> Launcher {
    Launcher {
        settings: settings.collector.clone(),
        identity: settings.attributes.clone(),
        instance_uid: "validate".into(),
        host: host::identity(&settings.host.root),
        host_root: settings.host.root.clone(),
        engine: settings.docker.socket.clone(),
        marker: "validate".into(),
        store,
        runtime_dir: workspace.0.clone(),
        inspected: Rc::default(),
        layers: Rc::default(),
        reader: Default::default(),
        children: Rc::new(RefCell::default()),
        takes_exports: settings.export.to == Some(crate::settings::ExportTo::Collector),
    }
}

/// Asks the collector what it is, and whether it takes a kept config.
///
/// # Errors
///
/// In words, if it does not say what it is.
pub fn ask_collector(launcher: &Launcher, config: Option<ConfigHash>) -> Result<(Binary, Verdict), String> {
    let asked = os::block_on(async {
        let executor = LocalExecutor::new();
        let driver = executor.spawn(smol::process::driver());
        let asked = executor.run(async {
            smol::future::yield_now().await;
            let binary = launcher.binary().await?;
            let verdict = match config {
                Some(config) => launcher.validate(config, binary.capabilities).await,
                None => Verdict::Passed,
            };
            Ok((binary, verdict))
        });
        let asked = asked.await;
        drop(driver);
        asked
    });
    asked.map_err(|error| error.to_string())?
}

/// Asks the sources in the order of an agent that starts for the first time, until one answers.
fn first_offer(
    source: &Source,
    report: &source::Report,
    agent: &mut Agent,
    mut actions: Vec<Action>,
    at: Moment,
) -> Result<Offer, String> {
    loop {
        let asked = actions.iter().find_map(|action| match action {
            Action::Exchange { source, .. } => Some(*source),
            _ => None,
        });
        let Some(index) = asked else {
            let why = agent.report().exchanges.last_error.unwrap_or_else(|| "nobody is asked".into());
            return Err(format!("source: {why}"));
        };
        let (offer, outcome) = match source.exchange(index, report, false) {
            Ok((answer, _)) => match looked_at(&answer.offer) {
                Some(outcome) => (Some(answer.offer), outcome),
                None => return Ok(answer.offer),
            },
            Err(failure) => (None, ExchangeOutcome::Failed(failure)),
        };
        let (freshness, validator) = (Freshness::Fresh, Validator::None);
        actions = ask(agent, Event::Exchanged { source: index, freshness, validator, outcome }, at);
        let asks = actions.iter().any(|action| matches!(action, Action::Exchange { .. }));
        if let Some(offer) = offer.filter(|_| !asks && index == 0) {
            // There is no other source. The next steps say what is wrong with this config.
            return Ok(offer);
        }
    }
}

/// The outcome of an offer that is not usable: an agent goes on to the next source.
fn looked_at(offer: &Offer) -> Option<ExchangeOutcome> {
    match offer {
        Offer::Empty => Some(ExchangeOutcome::Empty),
        Offer::Unchanged => None,
        Offer::Config { body } => config::inspect(body).err().map(|refusal| ExchangeOutcome::Malformed {
            hash: otelet_config::hash(body),
            reason: refusal.to_string(),
            foreign: refusal.is_foreign(),
        }),
    }
}

/// The last good config, or the first config of a host on which KloudMate's agent ran before. KloudMate's service is not
/// asked: it announces a config once, and the agent would miss it.
pub fn kept_config(settings: &Settings) -> Result<Arc<[u8]>, String> {
    let store = Store::new(&settings.state_dir);
    let kept = store.load().0.record.last_good.and_then(|hash| store.verify(hash).ok());
    let first = || {
        let path = settings.config.kloudmate.as_ref().and_then(|own| own.first_config.clone());
        let path = path.ok_or("source: KloudMate's service is not asked, and no config is kept yet")?;
        std::fs::read(&path).map_err(|error| format!("source: {}: {error}", path.display()))
    };
    Ok(match kept {
        Some(body) => body.into(),
        None => first()?.into(),
    })
}
