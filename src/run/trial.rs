//! Tries a config without starting it: one exchange with the source, then the collector's own `validate`. For
//! `otelet validate`, which judges as the agent of this host would, for an agent that stands by,
//! and in parts for `otelet doctor`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use smol::LocalExecutor;
use smol::future::{self, FutureExt as _};

use super::decisions::{ask, moment};
use super::params::has_source;
use crate::collector::Launcher;
use crate::observe::host::{self, Sample};
use crate::os;
use crate::settings::{ProtocolName, Settings};
use crate::source::{self, FailureKind, Offer, Source, SourceMemory, Validators};
use crate::status::{self, Facts};
use crate::store::{Binary, Memory, Store};
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

/// The one who asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Asker {
    /// A person, who wants to know what the agent of this host would do: so its state counts.
    Person {
        /// Whether a source was named that is not the agent's.
        names_source: bool,
    },
    /// An agent, which wants to know whether it could run anything. The state is still another agent's.
    Standby,
}

/// The file in which an OpAMP client keeps what its server offered of connection settings.
const OFFERED_CONNECTION: &str = "opamp.json";

/// A config to try.
struct Found {
    body: Arc<[u8]>,
    /// Whether `config.url` offers another one, which is refused.
    is_instead: bool,
}

/// Prints each step that works.
///
/// # Errors
///
/// The first step that does not, in words. To a person it is one too if what `config.url` offers is refused, although
/// another source serves.
// It needs its stack only until the agent's turn comes.
#[inline(never)]
pub fn run(settings: &Settings, asker: Asker) -> Result<(), String> {
    println!("settings: good");
    settings.notes.iter().for_each(|note| println!("settings: {note}"));
    let workspace = Workspace::new();
    let memory = match asker {
        Asker::Person { .. } => read_state(settings),
        Asker::Standby => Memory::default(),
    };
    // The server may have moved this agent to another endpoint.
    let offered = settings.state_dir.join(OFFERED_CONNECTION);
    if asker == (Asker::Person { names_source: false }) && settings.config.protocol == ProtocolName::OpAmp {
        let copied = std::fs::create_dir_all(&workspace.0)
            .and_then(|()| std::fs::copy(&offered, workspace.0.join(OFFERED_CONNECTION)));
        if copied.is_ok() {
            println!("state: {}: what the server offered of connection settings counts", offered.display());
        }
    }
    let found = find(settings, &memory, &workspace)?;
    let hash = otelet_config::hash(&found.body);
    config::inspect(&found.body).map_err(|refusal| format!("config: {refusal}"))?;
    if let Some(refusal) = memory.record.refused.iter().find(|it| it.hash == hash) {
        let told = format!("config {hash} was refused at {}: {}", units::rfc3339(refusal.at), refusal.reason);
        if refusal.barred {
            return Err(format!("state: {told}; `otelet rollback --clear` has it tried again"));
        }
        println!("state: {told}; it may be tried again");
    }
    have_validated(settings, &workspace, hash, &found.body)?;
    match asker {
        Asker::Person { .. } if found.is_instead => {
            Err("source: what config.url offers is refused, as said above; that config is of config.fallback".into())
        }
        Asker::Person { .. } | Asker::Standby => Ok(()),
    }
}

/// Reads the state of this host's agent, and says what is known.
fn read_state(settings: &Settings) -> Memory {
    // Where the state directory cannot be used, the agent keeps its state in the other one.
    let places = [settings.state_dir.clone(), settings.runtime_dir.join("state")];
    let read = places.iter().find_map(|dir| Some((dir, Store::new(dir).look().transpose()?)));
    match read {
        None => println!("state: there is none in {} yet: nothing was refused or signed before", places[0].display()),
        Some((dir, Ok(memory))) => {
            let Memory { record, source, .. } = &memory;
            let mut text = format!("state: {}", dir.display());
            match record.last_good {
                Some(hash) => text += &format!(": last good config {hash}"),
                None => text += ": no good config yet",
            }
            text += &format!(", {} refused", record.refused.iter().filter(|it| it.barred).count());
            if let Some(signed) = &source.signed {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(signed.at);
                text += &format!(", newest signature of {}", units::rfc3339(at));
            }
            println!("{text}");
            return memory;
        }
        Some((_, Err(why))) => println!(
            "state: {why}; whether a config was refused before, or is older than the newest signed one, was not looked \
             at: that takes the agent's user or root"
        ),
    }
    Memory::default()
}

/// Finds the config that an agent with these settings and this state would try, and prints whose it is.
fn find(settings: &Settings, memory: &Memory, workspace: &Workspace) -> Result<Found, String> {
    let locations = source::locations(&settings.config);
    if !has_source(settings, &memory.record, &memory.source) {
        let why = "config.url is not set, and a host that ran another config is not given the built-in one";
        return find_kept(settings, memory, why);
    }
    if settings.config.protocol == ProtocolName::KloudMate {
        let why = format!("{} is not asked, since it announces a config only once", locations[0]);
        return find_kept(settings, memory, &why);
    }
    let source = Source::new(&settings.config, &workspace.0).map_err(|error| format!("source: {error}"))?;
    source.remember(&SourceMemory { validators: Validators::default(), ..memory.source.clone() });
    let (report, mut agent, actions, at) = prepare(settings, &source);
    first_usable(&source, &locations, &report, &mut agent, actions, memory, at)
}

/// Has the collector validate it.
fn have_validated(settings: &Settings, workspace: &Workspace, hash: ConfigHash, body: &[u8]) -> Result<(), String> {
    let store = Store::new(&workspace.0);
    store.keep(hash, body).map_err(|error| error.chain())?;
    let launcher = launcher(settings, store, workspace);
    // A broken file of the host is used as it was when it was valid last.
    *launcher.layers.borrow_mut() = Store::new(&settings.state_dir).layers();
    let program = launcher.program().map_err(|why| format!("collector: {why}"))?;
    let started = moment().now;
    let verdict = match ask_collector(&launcher, Some(hash), None) {
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
        goes_nowhere: None,
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

/// Why there is no answer of a collector for which nobody waits any longer.
pub const LATE: &str = "it has not answered yet; `otelet validate` waits for collector.validate_timeout";

/// Asks the collector what it is, and whether it takes a kept config, until this time at most.
///
/// # Errors
///
/// In words, if it does not say what it is.
pub fn ask_collector(
    launcher: &Launcher,
    config: Option<ConfigHash>,
    until: Option<Instant>,
) -> Result<(Binary, Verdict), String> {
    let late = || async move {
        match until {
            Some(at) => os::until(at).await,
            None => future::pending().await,
        }
    };
    let asked = os::block_on(async {
        let executor = LocalExecutor::new();
        let driver = executor.spawn(smol::process::driver());
        let asked = executor.run(async {
            future::yield_now().await;
            let binary = async { launcher.binary().await };
            let binary = binary
                .or(async {
                    late().await;
                    Err(LATE.to_owned())
                })
                .await?;
            let Some(config) = config else { return Ok((binary, Verdict::Passed)) };
            let verdict = async { launcher.validate(config, binary.capabilities).await };
            let verdict = verdict
                .or(async {
                    late().await;
                    Verdict::Unable(LATE.into())
                })
                .await;
            Ok((binary, verdict))
        });
        let asked = asked.await;
        drop(driver);
        asked
    });
    asked.map_err(|error| error.to_string())?
}

/// Asks the sources in the order of an agent that starts for the first time, until one has a usable config. Prints which
/// one it is, and why those before it are not.
fn first_usable(
    source: &Source,
    locations: &[String],
    report: &source::Report,
    agent: &mut Agent,
    mut actions: Vec<Action>,
    memory: &Memory,
    at: Moment,
) -> Result<Found, String> {
    let is_barred = |hash: ConfigHash| memory.record.refused.iter().any(|it| it.hash == hash && it.barred);
    let mut is_instead = false;
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
            Ok((answer, _)) => {
                let outcome = looked_at(&answer.offer);
                (Some(answer.offer), outcome)
            }
            Err(failure) => (None, ExchangeOutcome::Failed(failure)),
        };
        let outcome = match outcome {
            // The agent that asks here knows of no refusal.
            ExchangeOutcome::Offered(hash) if is_barred(hash) => {
                let reason = format!("its config {hash} is refused");
                ExchangeOutcome::Malformed { hash, reason, foreign: false }
            }
            outcome => outcome,
        };
        // It answered, and the answer is of no use: an agent that runs would say so, and not count it as silence.
        is_instead |= index == 0
            && match &outcome {
                ExchangeOutcome::Failed(failure) => {
                    matches!(failure.kind, FailureKind::Signature | FailureKind::Config | FailureKind::Size)
                }
                _ => true,
            };
        let (freshness, validator) = (Freshness::Fresh, Validator::None);
        actions = ask(agent, Event::Exchanged { source: index, freshness, validator, outcome }, at);
        let asks = actions.iter().any(|action| matches!(action, Action::Exchange { .. }));
        let serving = agent.report().serving.filter(|serving| serving.location == locations[index]);
        // If there is no other source, the next steps say what is wrong with this config.
        let Some(offer) = offer.filter(|_| !asks && (serving.is_some() || index == 0)) else { continue };
        let Offer::Config { body } = offer else {
            return Err(format!("source: {} offers an empty config", locations[index]));
        };
        let of = if index == 0 { "" } else { " (config.fallback)" };
        if let Some(why) = serving.and_then(|serving| serving.trouble) {
            println!("source: config.url does not serve: {why}");
        }
        println!("source: {}{of} offers {}", locations[index], described(&body));
        return Ok(Found { body, is_instead: is_instead && index > 0 });
    }
}

/// A config in a few words.
fn described(body: &[u8]) -> String {
    format!("config {}, {}", otelet_config::hash(body), units::counted(body.len() as u64, "byte"))
}

/// The outcome of an offer, before a collector is asked.
fn looked_at(offer: &Offer) -> ExchangeOutcome {
    let Offer::Config { body } = offer else { return ExchangeOutcome::Empty };
    let hash = otelet_config::hash(body);
    match config::inspect(body) {
        Ok(_) => ExchangeOutcome::Offered(hash),
        Err(refusal) => ExchangeOutcome::Malformed { hash, reason: refusal.to_string(), foreign: refusal.is_foreign() },
    }
}

/// The config that is kept, and why nobody is asked for another one.
fn find_kept(settings: &Settings, memory: &Memory, why: &str) -> Result<Found, String> {
    let body = kept_config(settings)?;
    let from = &memory.source.location;
    let from = if from.is_empty() { String::new() } else { format!(", kept when {from} had answered last") };
    println!("source: {why}; looking at {}{from}", described(&body));
    Ok(Found { body, is_instead: false })
}

/// The last good config, or the first config of a host on which KloudMate's agent ran before. KloudMate's service is not
/// asked: it announces a config once, and the agent would miss it.
pub fn kept_config(settings: &Settings) -> Result<Arc<[u8]>, String> {
    let store = Store::new(&settings.state_dir);
    let memory = store.look().ok().flatten().unwrap_or_default();
    let kept = memory.record.last_good.and_then(|hash| store.verify(hash).ok());
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
