//! The state that outlives a run: of the decisions, of the source, and of the collector's binary.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use otelet_config::Capabilities;
use otelet_config::signature::AcceptedSignature;
use otelet_core::decide::{ConfigHash, Record};

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// The state from which the decisions continue.
    pub record: Record,
    /// The state of the source.
    pub source: SourceMemory,
    /// The facts about the collector's binary.
    pub binary: Option<Binary>,
}

/// The facts about a collector's binary. They are kept, so that a start without network need not ask the binary again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// The file and the way in which it is asked, to tell this binary from another.
    pub stamp: String,
    /// The programs that ran where `collector.path` is a script, with their stamps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<(PathBuf, String)>,
    /// The name that it gives to itself, such as `otelcol-contrib`, whatever its file is called; empty if it prints none.
    #[serde(default)]
    pub name: String,
    /// The version that it prints, such as `0.149.0`; empty if it prints none.
    pub version: String,
    /// Its extensions and receivers that the agent uses.
    pub capabilities: Capabilities,
}

/// The files that the collector is given, as they were when a config was validated with them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// The hash of that config, in hex.
    pub config: String,
    /// The mark that told the files on disk from others then, also of files that are left out.
    pub seen: String,
    pub files: Vec<LocalFile>,
    /// The complaints so far: each is logged once.
    #[serde(skip)]
    pub blamed: BTreeSet<String>,
}

/// A file of the host, with the content that the collector gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalFile {
    pub path: PathBuf,
    pub body: String,
}

impl Layers {
    /// The file with this name, as the collector gets it.
    pub fn file(&self, path: &Path) -> Option<&LocalFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// The state of a source, with the location that it belongs to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SourceMemory {
    /// The source that this state belongs to.
    pub location: String,
    /// What an OpAMP server knows its last config by, as an ETag. A plain server is asked for the body at each start.
    #[serde(default)]
    pub validators: Validators,
    /// The newest accepted signature, from any source.
    #[serde(default)]
    pub signed: Option<NewestSignature>,
}

/// The newest accepted signature, in its form on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewestSignature {
    /// When the config was signed, in Unix seconds.
    pub(crate) at: u64,
    /// SHA-256 of the config, in hex.
    hash: String,
}

impl From<AcceptedSignature> for NewestSignature {
    fn from(accepted: AcceptedSignature) -> Self {
        Self { at: accepted.signed_at, hash: accepted.hash.hex() }
    }
}

impl NewestSignature {
    pub(crate) fn accepted(&self) -> Option<AcceptedSignature> {
        Some(AcceptedSignature { signed_at: self.at, hash: ConfigHash::from_hex(&self.hash)? })
    }
}

/// The headers with which an HTTP server can be asked for changes only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// The `ETag` header as it came, at most [`MAX_VALIDATOR`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The `Last-Modified` header as it came, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// The longest validator that is kept, in bytes: it is sent with every poll.
pub const MAX_VALIDATOR: usize = 1024;

impl Validators {
    /// Removes validators that cannot or should not be sent.
    pub fn bounded(mut self) -> Self {
        let fits =
            |value: &String| value.len() <= MAX_VALIDATOR && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        self.etag = self.etag.filter(fits);
        self.last_modified = self.last_modified.filter(fits);
        self
    }
}
