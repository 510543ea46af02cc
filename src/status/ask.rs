//! The status from outside: read what the agent wrote, have it write anew, put a request to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::os;
use crate::settings::Settings;
use crate::store::{self, StoreError};
use otelet_core::units;
use otelet_wire::status::{AgentState, Status};

/// How long a running agent may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The file of an agent that stands by.
const STANDBY: &str = "standby.json";

/// The file that tells whose runtime directory it is.
const OWNER: &str = "owner";

/// Time between looks for the answer.
const LOOK: Duration = Duration::from_millis(10);

/// What a person asks of a running agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Tells it from others.
    pub id: String,
    /// What.
    pub verb: Verb,
}

/// The requests there are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Back to the config before the last good one.
    RollBack,
    /// Let refused configs be tried again.
    ClearRefused,
    /// The same, and let a config be accepted whenever it was signed.
    ClearSigned,
    /// Leave the last lines of the log in a [`Diagnosis`](super::Diagnosis).
    Diagnose,
}

impl Verb {
    /// What is said when it is done, behind the words of the decisions.
    pub fn more(self) -> &'static str {
        match self {
            Self::ClearSigned => "; the next signed config is accepted whenever it was signed",
            Self::RollBack | Self::ClearRefused | Self::Diagnose => "",
        }
    }
}

/// Where the agent writes it.
pub fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("status.json")
}

/// Where a person's request is put.
pub fn request_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("request.json")
}

/// What an agent says of itself that has no status yet, since it waits for another one to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standby {
    pid: u32,
    /// In clock ticks since boot: with the pid, a name that is not used twice.
    start: u64,
    /// What it waits for: the lock on the state directory.
    lock: PathBuf,
}

impl Standby {
    /// Of this process.
    pub fn new(lock: &Path) -> Self {
        let pid = std::process::id();
        Self { pid, start: os::process_start(pid).unwrap_or_default(), lock: lock.into() }
    }

    /// Says so.
    ///
    /// # Errors
    ///
    /// In words, if it cannot be written.
    pub fn write(&self, runtime_dir: &Path) -> Result<(), String> {
        let text = serde_json::to_vec(self).expect("numbers and a path that came from the settings, which are text");
        store::write_atomically(&runtime_dir.join(STANDBY), &text).map_err(|error| error.chain())
    }

    /// The one that stands by now, if one does.
    pub fn read(runtime_dir: &Path) -> Option<Self> {
        let text = std::fs::read(runtime_dir.join(STANDBY)).ok()?;
        let standby: Self = serde_json::from_slice(&text).ok()?;
        (os::process_start(standby.pid) == Some(standby.start)).then_some(standby)
    }

    /// It stands by no more.
    pub fn remove(runtime_dir: &Path) {
        let _ = std::fs::remove_file(runtime_dir.join(STANDBY));
    }

    /// In words.
    pub fn describe(&self) -> String {
        format!("agent {} stands by: {} is another agent's until that ends", self.pid, self.lock.display())
    }
}

/// Writes down whose runtime directory this is, by the state directory in the agent's settings.
///
/// # Errors
///
/// [`StoreError`] if it cannot be written.
pub fn own(runtime_dir: &Path, state_dir: &Path) -> Result<(), StoreError> {
    store::write_atomically(&runtime_dir.join(OWNER), state_dir.display().to_string().as_bytes())
}

/// The state directory of the agent that has, or had, this runtime directory.
pub fn owner(runtime_dir: &Path) -> Option<String> {
    let text = std::fs::read(runtime_dir.join(OWNER)).ok()?;
    String::from_utf8(text).ok().filter(|text| !text.is_empty())
}

/// Says so if the agent in this runtime directory is not the one of these settings.
pub fn stranger(settings: &Settings) -> Option<String> {
    let (owner, own) = (owner(&settings.runtime_dir)?, settings.state_dir.display().to_string());
    (owner != own).then(|| {
        let dir = settings.runtime_dir.display();
        format!(
            "{dir}: has the status of the agent whose state_dir is {owner}; in these settings it is {own}; give each \
             agent a runtime_dir of its own, or name the settings of the one that is meant"
        )
    })
}

/// Reads what was written last.
///
/// # Errors
///
/// In words, with the way out.
pub fn read(runtime_dir: &Path) -> Result<Status, String> {
    let path = path(runtime_dir);
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{}: no agent has written its status there; is it running, with this runtime_dir?", path.display())
        }
        _ => format!("{}: cannot read: {error}", path.display()),
    })?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: not a status of this version: {error}", path.display()))
}

/// Has a running agent write a fresh status, and waits for it.
///
/// # Errors
///
/// In words, if it does not run or does not answer.
pub fn fresh(runtime_dir: &Path, awaited: impl Fn(&Status) -> bool) -> Result<Status, String> {
    let old = read(runtime_dir)?;
    if !agent_is_alive(&old) {
        return Err(format!("agent is not running; its last status is of {}", old.written_at));
    }
    os::poke(old.agent.pid).map_err(|error| {
        format!("agent {} cannot be asked: {error}; run this as its user or as root", old.agent.pid)
    })?;
    let limit = Instant::now() + ANSWER_LIMIT;
    while Instant::now() < limit {
        if let Ok(status) = read(runtime_dir)
            && status.serial != old.serial
            && awaited(&status)
        {
            return Ok(status);
        }
        std::thread::sleep(LOOK);
    }
    Err(format!("agent {} does not answer within {}", old.agent.pid, units::seconds(ANSWER_LIMIT)))
}

/// Puts a request where the agent looks, and waits for its answer.
///
/// # Errors
///
/// In words, if there is no answer, or it is no.
pub fn request(runtime_dir: &Path, verb: Verb) -> Result<String, String> {
    let request = Request { id: uuid::Uuid::now_v7().to_string(), verb };
    let text = serde_json::to_vec(&request).expect("two strings");
    store::write_atomically(&request_path(runtime_dir), &text).map_err(|error| error.chain())?;
    let answered = |status: &Status| status.answer.as_ref().is_some_and(|answer| answer.id == request.id);
    let answer = fresh(runtime_dir, answered)?.answer.expect("just looked at");
    if answer.done { Ok(answer.text) } else { Err(answer.text) }
}

/// Whether the agent that wrote this is alive, here.
pub fn agent_is_alive(status: &Status) -> bool {
    status.agent.state != AgentState::Stopped && os::process_start(status.agent.pid) == Some(status.agent.start)
}
