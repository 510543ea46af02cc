//! Any answer of KloudMate's service: the config that it announces is an object that is good YAML, or there is none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use otelet::source::kloudmate::{Announced, Role, announced};

fuzz_target!(|data: &[u8]| {
    let roles =
        [Role::Host, Role::Docker, Role::DaemonSet { cluster: "c".into() }, Role::Deployment { cluster: "c".into() }];
    for role in roles {
        if let Ok(Announced::Config(text)) = announced(data, &role) {
            let value: serde_yaml::Value = serde_yaml::from_str(&text).expect("JSON that is YAML as well");
            assert!(value.is_mapping(), "the config is an object");
        }
    }
});
