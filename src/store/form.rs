//! The forms of the files on disk, and their conversion from and to the agent's types.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::memory::{Binary, Memory, SourceMemory};
use otelet_core::decide::{Candidate, ConfigHash, Record, Refusal};

/// The content of the file `instance_uid`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IdentityFile {
    pub(super) instance_uid: String,
    pub(super) host: String,
    /// The first uid, if a server has assigned another one since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) marker: Option<String>,
}

/// The content of `state.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StateFile {
    version: u32,
    remote: Option<HexHash>,
    last_good: Option<HexHash>,
    previous: Option<HexHash>,
    candidate: Option<CandidateFile>,
    refused: Vec<RefusedFile>,
    #[serde(default)]
    source: SourceMemory,
    binary: Option<Binary>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CandidateFile {
    hash: HexHash,
    attempts: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct RefusedFile {
    hash: HexHash,
    reason: String,
    /// When it was refused, in Unix seconds.
    at: u64,
    times: u32,
    barred: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct HexHash(ConfigHash);

impl From<HexHash> for String {
    fn from(hash: HexHash) -> Self {
        hash.0.hex()
    }
}

impl TryFrom<String> for HexHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ConfigHash::from_hex(&text).map(Self).ok_or_else(|| format!("{text:?} is not a SHA-256 in hex"))
    }
}

impl From<&Memory> for StateFile {
    fn from(memory: &Memory) -> Self {
        let record = &memory.record;
        Self {
            version: 1,
            remote: record.remote.map(HexHash),
            last_good: record.last_good.map(HexHash),
            previous: record.previous.map(HexHash),
            candidate: record.candidate.map(|it| CandidateFile { hash: HexHash(it.hash), attempts: it.attempts }),
            refused: record.refused.iter().map(RefusedFile::from).collect(),
            source: memory.source.clone(),
            binary: memory.binary.clone(),
        }
    }
}

impl From<&Refusal> for RefusedFile {
    fn from(refused: &Refusal) -> Self {
        let at = refused.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            hash: HexHash(refused.hash),
            reason: refused.reason.clone(),
            at,
            times: refused.times,
            barred: refused.barred,
        }
    }
}

impl From<StateFile> for Memory {
    fn from(state: StateFile) -> Self {
        let refused = |it: RefusedFile| Refusal {
            hash: it.hash.0,
            reason: it.reason,
            // A broken clock may have written anything. A value that is no time becomes the epoch.
            at: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(it.at)).unwrap_or(SystemTime::UNIX_EPOCH),
            times: it.times,
            barred: it.barred,
        };
        let record = Record {
            remote: state.remote.map(|it| it.0),
            last_good: state.last_good.map(|it| it.0),
            previous: state.previous.map(|it| it.0),
            candidate: state.candidate.map(|it| Candidate { hash: it.hash.0, attempts: it.attempts }),
            refused: state.refused.into_iter().map(refused).collect(),
        };
        Self { record, source: state.source, binary: state.binary }
    }
}
