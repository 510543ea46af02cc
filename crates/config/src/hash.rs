//! The hash of a config's body.

use otelet_core::decide::ConfigHash;

/// Returns the SHA-256 of a body.
pub fn hash(body: &[u8]) -> ConfigHash {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    ConfigHash(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}
