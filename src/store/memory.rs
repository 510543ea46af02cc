//! What a source wants to be remembered between two runs.

use serde::{Deserialize, Serialize};

use otelet_config::Capabilities;
use otelet_config::signature::AcceptedSignature;
use otelet_core::decide::{ConfigHash, Record};

/// What the state directory holds beside the decisions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// What decisions go on from.
    pub record: Record,
    /// What the source wants to be remembered.
    pub source: SourceMemory,
    /// What is known of the collector's binary.
    pub binary: Option<Binary>,
}

/// What is known of a collector's binary, so that a start without network need not ask it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// Path, size and time of change: what tells it from another.
    pub stamp: String,
    /// As it prints it itself, `0.149.0`; empty if it does not.
    pub version: String,
    /// Which of the extensions it has that can vouch for its health.
    pub capabilities: Capabilities,
}

/// What a source wants to be remembered, with the location that it is about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SourceMemory {
    /// Who said it.
    pub location: String,
    /// What it said of its last body.
    #[serde(default)]
    pub validators: Validators,
    /// The newest signed config that was accepted, from whomever.
    #[serde(default)]
    pub signed: Option<NewestSignature>,
}

/// The newest signed config that was accepted, as it is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewestSignature {
    /// When it was signed, in Unix seconds.
    pub(crate) at: u64,
    /// SHA-256 of its body, in hex.
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

/// What an HTTP server answers with when it has the same config as before.
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
    /// The same without those that cannot or should not be sent.
    pub fn bounded(mut self) -> Self {
        let fits =
            |value: &String| value.len() <= MAX_VALIDATOR && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        self.etag = self.etag.filter(fits);
        self.last_modified = self.last_modified.filter(fits);
        self
    }
}
