//! Any answer of KloudMate's service: an announced config is an object that is good YAML, or there is none. YAML
//! accepts no key of more than 1,024 characters as it is written; the agent's own check refuses such a config with its
//! place.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use otelet::source::kloudmate::{Instruction, Part, instruction};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

fuzz_target!(|data: &[u8]| {
    for part in [Part::Whole, Part::DaemonSet, Part::Deployment] {
        if let Ok(Instruction::Config(text)) = instruction(data, part) {
            match serde_yaml::from_str(&text) {
                Ok(Object) => {}
                Err(error) => assert!(longest_string(&text) >= 1024, "JSON that is no YAML: {error}"),
            }
        }
    }
});

/// The longest string in a JSON text, in bytes as it is written.
fn longest_string(text: &str) -> usize {
    let (mut longest, mut length, mut within, mut escaped) = (0, 0, false, false);
    for byte in text.bytes() {
        if within {
            length += 1;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within => escaped = true,
            b'"' => {
                longest = longest.max(length);
                (length, within) = (0, !within);
            }
            _ => {}
        }
    }
    longest
}

/// An object with any content. A key may stand twice in JSON: the collector refuses that, and says so.
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}
