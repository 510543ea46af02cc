//! Any signature beside any config: nothing that the key did not sign is accepted, and the reason is one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otelet_config::signature::{PublicKey, verify};

/// A key whose private half does not exist any more.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fuzz_target!(|data: &[u8]| {
    let key = PublicKey::parse(KEY).expect("the key of minisign's own documentation");
    let (signature, body) = data.split_at(data.len().min(600));
    let error = verify(&key, body, signature, None, None).expect_err("nobody can sign for this key");
    assert!(!error.to_string().contains('\n'));
    let _ = std::str::from_utf8(data).map(PublicKey::parse);
});
