//! Any config with a secret planted in it: the secret is never shown, in any surroundings.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otelet_config::redact::Redactor;

const SECRET: &str = "hunter2-hunter2";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let text = text.replace('S', SECRET);
    let redactor = Redactor::new([SECRET]);
    assert!(!redactor.config(&text).contains(SECRET));
    assert!(!redactor.line(&text).contains(SECRET));
});
