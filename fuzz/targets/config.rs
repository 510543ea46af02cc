//! An offered body of any content, and a collector's last words of any content: the body is accepted or refused, within
//! the memory that libFuzzer is given, and the overlay made from it is YAML with the right content.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use otelet_config::{Capabilities, Inspection, Witness, capabilities, inspect, last_words, overlay};
use serde::Deserialize;
use serde_yaml::Value;

fuzz_target!(|data: &[u8]| {
    match inspect(data) {
        Ok(inspected) => {
            compare(&inspected, data);
            for bits in 0..8 {
                let [health_check, sd_notify, otlp] = [1, 2, 4].map(|bit| bits & bit != 0);
                check(&inspected, Capabilities { health_check, sd_notify, otlp, more: false }, data);
            }
        }
        Err(refusal) => {
            let said = refusal.to_string();
            assert!(said.len() < 600 && !said.contains('\n'), "{said}");
        }
    }
    let words = last_words(data);
    assert!(words.len() <= 1024 && !words.contains(char::is_control), "{words:?}");
    let said = String::from_utf8_lossy(data);
    capabilities(&said);
});

fn check(inspected: &Inspection, capabilities: Capabilities, data: &[u8]) {
    // Any text may be an attribute of this host.
    let value = String::from_utf8_lossy(&data[..data.len().min(40)]).into_owned();
    let identity = [("name".to_owned(), value.clone()), (value, "value".to_owned())];
    let made = overlay(inspected, capabilities, [4711, 4712], &identity);
    let text: Value = match serde_yaml::from_str(&made.text) {
        Ok(text) => text,
        Err(error) => panic!("{error}: {}", made.text),
    };
    let listed = text.get("service").and_then(|service| service.get("extensions")).and_then(Value::as_sequence);
    if let Some(listed) = listed {
        assert!(inspected.extensions_readable);
        let listed: Vec<&str> = listed.iter().map(|id| id.as_str().expect("ids are text")).collect();
        for id in &inspected.extensions {
            assert!(listed.contains(&id.as_str()), "{id} is lost: {}", made.text);
        }
    }
    if let Some(resource) = text.get("service").and_then(|service| service.get("telemetry")) {
        assert!(!inspected.has_telemetry_resource);
        let name = resource.get("resource").and_then(|resource| resource.get("name")).and_then(Value::as_str);
        assert_eq!(name.map(|name| name.replace("$$", "$")), Some(identity[0].1.clone()));
    }
    if let Witness::HealthCheck { host, port, path } = made.witness {
        assert!(host.parse::<IpAddr>().is_ok(), "{host}");
        assert!(port != 0 && path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    }
}

/// Values that were read in passing equal those of a full parse, wherever both are known.
fn compare(inspected: &Inspection, data: &[u8]) {
    let text = std::str::from_utf8(data).expect("it was taken");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = serde_yaml::Deserializer::from_str(text).next().expect("it was taken");
    // A duplicate key ends the comparison; the collector refuses it too.
    let Ok(body) = Value::deserialize(document) else { return };
    let at = |value: &Value, key: &str| untagged(value).get(key).cloned().unwrap_or_default();
    let service = at(&body, "service");
    if inspected.extensions_readable {
        let enabled = at(&service, "extensions");
        let enabled = untagged(&enabled).as_sequence().cloned().unwrap_or_default();
        let enabled: Vec<_> = enabled.iter().map(|id| untagged(id).as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(inspected.extensions, enabled);
    }
    if !inspected.has_telemetry_resource {
        assert!(untagged(&at(&at(&service, "telemetry"), "resource")).is_null());
    }
}

fn untagged(value: &Value) -> &Value {
    match value {
        Value::Tagged(tagged) => untagged(&tagged.value),
        other => other,
    }
}
