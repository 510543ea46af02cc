//! A state directory of any content: it is loaded without a panic, the agent can start from it and print it, and saved
//! state loads again unchanged.
//!
//! The input is `state.json`, `state.json.old`, `instance_uid`, a body, a status file and `alerts.json`, with a byte 0xff between them.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use libfuzzer_sys::fuzz_target;
use otelet_core::decide::{Agent, Moment, Params};
use otelet_config::hash;
use otelet::store::Store;
use otelet::status;
use otelet_core::units;
use otelet::tell::alerts;

/// A directory of this process's own, on the file system that `TMPDIR` names: one in memory is much faster.
fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("otelet-fuzz-{}", std::process::id()));
        fs::create_dir_all(path.join("configs")).expect("the temporary directory can be written to");
        path
    })
}

fuzz_target!(|data: &[u8]| {
    let directory = directory();
    let store = Store::new(directory);
    // Bodies that a state can name: the first is whole, the second torn.
    for (name, body) in [("a: 1\n", "a: 1\n"), ("a: 2\n", "a: 3\n")] {
        fs::write(store.config_path(hash(name.as_bytes())), body).expect("it can be written");
    }
    let mut parts = data.splitn(6, |byte| *byte == 0xff);
    for name in ["state.json", "state.json.old", "instance_uid"] {
        let path = directory.join(name);
        match parts.next() {
            Some(part) => fs::write(path, part).expect("it can be written"),
            None => drop(fs::remove_file(path)),
        }
    }
    if let Some(body) = parts.next() {
        store.keep(hash(body), body).expect("it can be kept");
    }
    if let Some(bytes) = parts.next() {
        fs::write(status::path(directory), bytes).expect("it can be written");
        if let Ok(status) = status::read(directory) {
            let size = otelet::commands::status::Size { columns: Some(80), rows: Some(24) };
            let _ = (otelet::commands::status::screen(&status, std::time::SystemTime::now(), size, true), status.complaint(), status::essence(&status));
        }
    }

    match parts.next() {
        Some(bytes) => fs::write(alerts::path(directory), bytes).expect("it can be written"),
        None => drop(fs::remove_file(alerts::path(directory))),
    }

    let (memory, _) = store.load();
    let (firing, _) = alerts::load(directory);
    let (uid, _) = store.identity(None, std::path::Path::new("/"));
    assert_eq!(store.identity(None, std::path::Path::new("/")).0, uid, "the same agent when asked again");
    assert_eq!(uid.len(), 36, "{uid}");

    let at = Moment { now: Instant::now(), wall: SystemTime::now(), dice: 7 };
    let second = Duration::from_secs(1);
    let params = Params {
        sources: vec!["https://c.example/".to_owned(), "/second.yaml".to_owned()].into(),
        poll_every: second,
        stop_timeout: second,
        probation: second,
        ..Params::default()
    };
    let served = Some(memory.source.location.clone());
    let (agent, _) = Agent::resume(params, memory.record.clone(), served, firing.clone(), None, at);
    let _ = agent.deadline();
    alerts::save(directory, &firing).expect("it can be saved");
    // Numbers may differ in their last bit, which text does not keep.
    let (again, warning) = alerts::load(directory);
    assert_eq!((again.firing.len(), again.resolved.len(), warning), (firing.firing.len(), firing.resolved.len(), None));
    for refused in &agent.report().refused {
        units::rfc3339(refused.at);
    }

    store.save(&memory).expect("it can be saved");
    let (again, warnings) = store.load();
    assert_eq!(again, memory);
    assert_eq!(warnings, Vec::<String>::new());
});
