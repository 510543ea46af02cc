//! The state survives a torn file, a power cut and a copied directory.

use std::time::{Duration, SystemTime};

use super::*;
use otelet_core::decide::{Candidate, Refusal};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otelet-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn store(&self) -> Store {
        let store = Store::new(&self.0);
        store.create().expect("a temporary directory");
        store
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kept(store: &Store, body: &str) -> ConfigHash {
    let hash = otelet_config::hash(body.as_bytes());
    store.keep(hash, body.as_bytes()).expect("there is room");
    hash
}

fn memory(store: &Store) -> Memory {
    let hash = kept(store, "good");
    let refused = Refusal {
        hash: otelet_config::hash(b"bad"),
        reason: "unknown type".into(),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        times: 2,
        barred: true,
    };
    let record = Record {
        remote: Some(hash),
        last_good: Some(hash),
        previous: Some(kept(store, "older")),
        candidate: Some(Candidate { hash: kept(store, "newer"), attempts: 1 }),
        refused: vec![refused],
    };
    Memory { record, ..Memory::default() }
}

#[test]
fn a_saved_state_is_loaded() {
    let dir = Dir::new("roundtrip");
    let store = dir.store();
    let memory = memory(&store);

    store.save(&memory).expect("there is room");

    assert_eq!(store.load(), (memory, vec![]));
}

#[test]
fn unreferenced_bodies_are_swept_out() {
    let dir = Dir::new("sweep");
    let store = dir.store();
    let memory = memory(&store);
    let stray = kept(&store, "stray");
    store.save(&memory).expect("there is room");
    assert!(store.verify(stray).is_ok(), "it came last: the next record may know of it");

    // Another agent, which has not kept anything yet.
    Store::new(&dir.0).save(&memory).expect("there is room");

    assert!(store.verify(stray).is_err());
    assert!(store.verify(memory.record.last_good.expect("set above")).is_ok());
}

#[test]
fn a_torn_state_is_set_aside_and_the_one_before_is_used() {
    let dir = Dir::new("torn");
    let store = dir.store();
    let memory = memory(&store);
    store.save(&memory).expect("there is room");
    store.save(&memory).expect("there is room");
    fs::write(dir.0.join("state.json"), "{\"version\": 1, \"rem").expect("writable");

    let (loaded, warnings) = store.load();

    assert_eq!(loaded, memory);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("state.json: cannot be used: ") && warnings[0].contains("set aside as"),
        "{warnings:?}"
    );
}

#[test]
fn torn_empty_and_foreign_files_are_never_an_error() {
    let dir = Dir::new("foreign");
    let store = dir.store();
    for junk in [&b""[..], b"\0\0\0\0", b"[]", b"null", b"{}", &[0xff; 4096]] {
        for name in ["state.json", "state.json.old", "instance_uid"] {
            fs::write(dir.0.join(name), junk).expect("writable");
        }
        let (memory, warnings) = store.load();
        assert_eq!(memory, Memory::default());
        assert_eq!(warnings.len(), 2);
        assert_eq!(store.identity(None, "/".as_ref()).1.len(), 1);
        assert_eq!(store.identity(None, "/".as_ref()).1, Vec::<String>::new(), "the new one is kept");
    }
    let broken =
        fs::read_dir(&dir.0).expect("ours").flatten().filter(|it| it.file_name().to_string_lossy().contains("broken"));
    assert!(broken.count() <= files::BROKEN_KEPT, "no more than a few are kept");
}

#[test]
fn a_torn_last_good_body_falls_back_to_the_one_before() {
    let dir = Dir::new("body");
    let store = dir.store();
    let memory = memory(&store);
    store.save(&memory).expect("there is room");
    let good = memory.record.last_good.expect("set above");
    fs::write(store.config_path(good), "goo").expect("writable");

    let (loaded, warnings) = store.load();

    assert_eq!(loaded.record.last_good, memory.record.previous);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(loaded.source.validators, Validators::default());
}

#[test]
fn a_uid_in_another_form_is_returned_in_the_usual_one() {
    let dir = Dir::new("form");
    let store = dir.store();
    let uid = "01a209bc-1bcb-7630-b886-e4f5caa6ca42";
    for form in [uid.to_uppercase(), uid.replace('-', ""), uid.to_owned()] {
        let text = format!("{{\"instance_uid\": \"{form}\", \"host\": \"{}\"}}", fingerprint("/".as_ref()));
        fs::write(dir.0.join("instance_uid"), text).expect("writable");
        assert_eq!(store.identity(None, "/".as_ref()).0, uid);
    }
}

#[test]
fn a_copied_state_directory_gets_a_uid_of_its_own() {
    let dir = Dir::new("clone");
    let store = dir.store();
    let (first, _) = store.identity(None, "/".as_ref());
    assert_eq!(store.identity(None, "/".as_ref()), (first.clone(), vec![]));

    let cloned = format!("{{\"instance_uid\": \"{first}\", \"host\": \"{}\"}}", "ab".repeat(32));
    fs::write(dir.0.join("instance_uid"), cloned).expect("writable");
    if fingerprint("/".as_ref()).is_empty() {
        return; // A host without a machine id cannot tell itself from another.
    }
    let (second, warnings) = store.identity(None, "/".as_ref());
    assert_ne!(first, second);
    assert!(warnings[0].contains("was made on another host; this one gets a new uid"), "{warnings:?}");
    assert_eq!(store.identity(None, "/".as_ref()), (second.clone(), vec![]));
}
