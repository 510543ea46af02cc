//! The state directory: the identity of the agent, its configs and their state.
//!
//! ```text
//! instance_uid         the identity of the agent (JSON: the uid, and a fingerprint of the host where it was made)
//! state.json           last good, previous, candidate and refused configs by hash; the source's validators
//! state.json.old       the previous state.json, read if the newer one is torn
//! configs/HASH.yaml    the bodies, byte for byte; HASH is the SHA-256, so a torn body is noticed
//! inbox                a config that KloudMate's service announces only once (`source::inbox`)
//! opamp.json           connection settings from an OpAMP server (`source::opamp`)
//! alerts.json          the firing alerts, and the changes that the webhook has not received yet (`alerts`)
//! lock                 held while an agent runs
//! *.broken-TIME        a torn, empty or foreign file that was set aside
//! ```
//!
//! A file is written under a temporary name, synced and renamed, and the directory is synced: after a power cut there
//! is the old file or the new one. No content of this directory keeps the agent from starting.

mod error;
mod files;
mod form;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::os;
pub use error::StoreError;
pub(crate) use files::set_aside;
use files::{read, write_synced};
pub use files::{write_atomically, write_durably};
use form::{IdentityFile, StateFile};
pub use memory::{Binary, Layers, LocalFile, MAX_VALIDATOR, Memory, NewestSignature, SourceMemory, Validators};
use otelet_core::decide::{ConfigHash, Record};

/// The largest state file that is read, in bytes. A larger one is not the agent's.
const LARGEST_STATE: u64 = 1024 * 1024;

/// The largest body that is read, in bytes. The source has its own, lower limit.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;

/// The name of the directory that the collector keeps.
pub const COLLECTOR: &str = "collector";

/// The state, and the one before it, which alone is there for a moment while a new one is written.
const STATE_FILES: [&str; 2] = ["state.json", "state.json.old"];

/// The file with those of `collector.local`.
const LAYERS: &str = "local.json";

/// The number of newest bodies that are never swept out.
const RECENT: usize = 3;

/// Reads and writes the state directory.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    /// The directory that the collector keeps, if it is not in this one.
    collector_dir: Option<PathBuf>,
    /// The directory for configs and the state while the first one has no room and holds no config.
    spare: Option<PathBuf>,
    /// The newest bodies. They are not swept out, since the record that is being written may not contain them yet. The
    /// lock is held during a sweep, so that a body is noted here before its file is written.
    recent: Arc<Mutex<VecDeque<ConfigHash>>>,
}

impl Store {
    /// Makes a store for this directory. It reads and writes nothing yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.into(), collector_dir: None, spare: None, recent: Arc::default() }
    }

    /// The same store, whose collector keeps its files elsewhere.
    pub fn with_collector_dir(self, dir: PathBuf) -> Self {
        Self { collector_dir: Some(dir), ..self }
    }

    /// The same, with a directory to use while this one has no room and holds no config: a host on which nothing runs
    /// yet is to run something.
    #[must_use]
    pub fn with_spare(self, dir: PathBuf) -> Self {
        Self { spare: Some(dir), ..self }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that the collector keeps over restarts.
    pub fn collector_dir(&self) -> PathBuf {
        self.collector_dir.clone().unwrap_or_else(|| self.dir.join(COLLECTOR))
    }

    /// Makes the directory where it is missing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if that cannot be done.
    pub fn create(&self) -> Result<(), StoreError> {
        let configs = self.dir.join("configs");
        os::private_dir(&configs).map_err(|cause| StoreError::Io { path: configs, what: "make the directory", cause })
    }

    /// Locks the directory against other agents for the life of the process.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if another agent holds the lock, [`StoreError::Io`] for example on a read-only file
    /// system.
    pub fn lock(&self) -> Result<(), StoreError> {
        let path = self.lock_path();
        os::lock(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::WouldBlock => StoreError::InUse { path },
            _ => StoreError::Io { path, what: "lock", cause },
        })
    }

    /// Whether there is a state, and a body that is as it was received. Changes nothing.
    pub fn holds_a_config(&self) -> bool {
        let has_state = STATE_FILES.iter().any(|name| self.dir.join(name).is_file());
        let intact = |path: PathBuf| {
            let hash = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            read(&path, LARGEST_BODY).is_ok_and(|body| Some(otelet_config::hash(&body).hex()) == hash)
        };
        let bodies = fs::read_dir(self.dir.join("configs"));
        has_state && bodies.is_ok_and(|bodies| bodies.flatten().any(|entry| intact(entry.path())))
    }

    /// Writes a small file and removes it, since only that tells whether a config could be kept: the file system may
    /// be read-only or full, the directory another user's.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be written.
    pub fn try_to_write(&self) -> Result<(), StoreError> {
        let path = self.dir.join("configs").join("try");
        let temporary = write_synced(&path, b"a config could be kept here\n")?;
        fs::remove_file(&temporary).map_err(|cause| StoreError::Io { path: temporary, what: "remove", cause })
    }

    /// The same in the directory that the collector keeps.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be written.
    pub fn try_to_write_for_collector(&self) -> Result<(), StoreError> {
        let path = self.collector_dir().join("try");
        write_atomically(&path, b"")?;
        fs::remove_file(&path).map_err(|cause| StoreError::Io { path, what: "remove", cause })
    }

    /// The file that a running agent keeps locked.
    pub fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The path of the body of this config, whether or not it exists.
    pub fn config_path(&self, hash: ConfigHash) -> PathBuf {
        self.place(&Path::new("configs").join(format!("{}.yaml", hash.hex())))
    }

    /// The path of a file, in the spare directory if it is only there.
    fn place(&self, name: &Path) -> PathBuf {
        let path = self.dir.join(name);
        let spare = self.spare.as_ref().map(|spare| spare.join(name));
        spare.filter(|spare| spare.exists() && !path.exists()).unwrap_or(path)
    }

    /// The directories that the collector must be able to enter to read its config.
    pub fn passages(&self) -> Vec<PathBuf> {
        let spare = self.spare.as_deref().filter(|spare| spare.exists());
        spare.into_iter().chain([&*self.dir]).flat_map(|dir| [dir.into(), dir.join("configs")]).collect()
    }

    /// Puts a body on disk under its hash.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be made durable.
    pub fn keep(&self, hash: ConfigHash, body: &[u8]) -> Result<(), StoreError> {
        self.remember(hash);
        if self.verify(hash).is_ok() {
            return Ok(());
        }
        let path = self.config_path(hash);
        let Err(error) = self.create().and_then(|()| write_durably(&path, body)) else { return Ok(()) };
        let Some(spare) = self.spare.as_ref().filter(|_| !self.holds_a_config()).map(|spare| Self::new(spare)) else {
            return Err(error);
        };
        if spare.keep(hash, body).is_err() {
            return Err(error);
        }
        let path = spare.config_path(hash);
        log::warn!("{}; it is kept in {} and lost at the next boot", error.chain(), path.display());
        Ok(())
    }

    /// Moves the configs of the spare directory to their place, where there is room now.
    fn bring_home(&self) {
        let spare = self.spare.as_ref().and_then(|spare| fs::read_dir(spare.join("configs")).ok());
        let whole = |path: &PathBuf| path.extension().is_some_and(|it| it == "yaml");
        for path in spare.into_iter().flatten().flatten().map(|entry| entry.path()).filter(whole) {
            let home = self.dir.join("configs").join(path.file_name().unwrap_or_default());
            let moved = read(&path, LARGEST_BODY).and_then(|body| write_durably(&home, &body));
            if moved.is_ok() {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Puts the files of `collector.local` on disk, as they were when a config was validated with them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if they cannot be made durable.
    pub fn keep_layers(&self, layers: &Layers) -> Result<(), StoreError> {
        self.create()?;
        write_durably(&self.dir.join(LAYERS), &serde_json::to_vec(layers).expect("strings only"))
    }

    /// The files that were kept so; none if there are none, or if they cannot be read.
    pub fn layers(&self) -> Layers {
        let kept = read(&self.dir.join(LAYERS), LARGEST_BODY).ok();
        kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default()
    }

    /// Reads the body of this config and checks that it is as it was received.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is missing, torn or unreadable.
    pub fn verify(&self, hash: ConfigHash) -> Result<Vec<u8>, StoreError> {
        let path = self.config_path(hash);
        let body = read(&path, LARGEST_BODY)?;
        match otelet_config::hash(&body) {
            found if found == hash => Ok(body),
            found => Err(StoreError::Torn { path, found }),
        }
    }

    /// Writes the state to disk, and removes bodies that nothing refers to any more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be made durable; the old state is then still there.
    pub fn save(&self, memory: &Memory) -> Result<(), StoreError> {
        let saved = self.create().and_then(|()| {
            self.bring_home();
            self.save_here(memory)
        });
        if let Some(spare) = &self.spare {
            if saved.is_ok() {
                let _ = fs::remove_file(spare.join("state.json"));
            } else if !self.holds_a_config()
                && Self::new(spare).save(memory).is_ok()
                && memory.record.candidate.is_some()
            {
                // A candidate waits for its record. Without one the error stands, so that the state is tried again.
                return Ok(());
            }
        }
        saved
    }

    fn save_here(&self, memory: &Memory) -> Result<(), StoreError> {
        let path = self.dir.join("state.json");
        let text = serde_json::to_vec_pretty(&StateFile::from(memory)).expect("maps with string keys and numbers only");
        let temporary = write_synced(&path, &text)?;
        // Between the two renames only the old state exists, as state.json.old.
        let old = self.dir.join("state.json.old");
        match os::rename_durably(&path, &old) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Io { path: old, what: "rename", cause });
            }
            Ok(()) | Err(_) => {}
        }
        os::rename_durably(&temporary, &path).map_err(|cause| StoreError::Io {
            path: path.clone(),
            what: "rename",
            cause,
        })?;
        os::sync_dir(&self.dir).map_err(|cause| StoreError::Io { path: self.dir.clone(), what: "sync", cause })?;
        self.sweep(&memory.record);
        Ok(())
    }

    /// Reads the state as it is, and changes nothing. None if there is none yet.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn look(&self) -> Result<Option<Memory>, String> {
        for name in STATE_FILES {
            let path = self.dir.join(name);
            return match read(&path, LARGEST_STATE) {
                Ok(bytes) => match serde_json::from_slice::<StateFile>(&bytes) {
                    Ok(state) => Ok(Some(Memory::from(state))),
                    Err(error) => Err(format!("{}: cannot be used: {error}", path.display())),
                },
                Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(error.chain()),
            };
        }
        Ok(None)
    }

    /// Reads the state. A file that cannot be read is set aside and leads to a warning in the second value, never to an
    /// error.
    pub fn load(&self) -> (Memory, Vec<String>) {
        let mut warnings = Vec::new();
        let places = STATE_FILES.map(|name| self.dir.join(name));
        let spare = self.spare.as_ref().map(|spare| spare.join("state.json"));
        let mut memory =
            places.iter().chain(&spare).find_map(|path| self.load_state(path, &mut warnings)).unwrap_or_default();
        let record = &mut memory.record;
        record.candidate = record.candidate.filter(|candidate| self.intact(candidate.hash, "candidate", &mut warnings));
        record.previous = record.previous.filter(|hash| self.intact(*hash, "previous", &mut warnings));
        record.last_good = record.last_good.filter(|hash| self.intact(*hash, "last good", &mut warnings));
        if record.last_good.is_none()
            && let Some(previous) = record.previous.take()
        {
            warnings.push(format!("the last good config is gone; going back to the one before, {previous}"));
            record.last_good = Some(previous);
        }
        // Without the body, the agent could do nothing with the answer "unchanged".
        if record
            .remote
            .is_none_or(|hash| self.verify(hash).is_err() && !record.refused.iter().any(|it| it.hash == hash))
        {
            memory.source.validators = Validators::default();
        }
        (memory, warnings)
    }

    /// Returns the instance uid, and warnings. The uid is made once, and again if the directory was copied to another
    /// host. With `from` it is derived from that text, unless a server has assigned another uid since.
    pub fn identity(&self, from: Option<&str>, root: &Path) -> (String, Vec<String>) {
        let mut warnings = Vec::new();
        let path = self.place(Path::new("instance_uid"));
        let host = fingerprint(root);
        let known = match read(&path, LARGEST_STATE) {
            Ok(bytes) => match serde_json::from_slice::<IdentityFile>(&bytes) {
                Ok(identity) => match Uuid::parse_str(&identity.instance_uid) {
                    // A person may have written the uid without hyphens or in capitals.
                    Ok(uid) => Some(IdentityFile { instance_uid: uid.to_string(), ..identity }),
                    Err(_) => {
                        warnings.push(set_aside(&path, "it holds no UUID"));
                        None
                    }
                },
                Err(error) => {
                    warnings.push(set_aside(&path, &error.to_string()));
                    None
                }
            },
            Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warnings.push(error.chain());
                None
            }
        };
        let from = from.map(derived);
        if let (Some(identity), Some(derived)) = (&known, &from) {
            if identity.marker.is_some() || identity.instance_uid == *derived {
                return (identity.instance_uid.clone(), warnings);
            }
        } else if let Some(identity) = &known {
            if identity.host == host || host.is_empty() {
                return (identity.instance_uid.clone(), warnings);
            }
            if !identity.host.is_empty() {
                warnings.push(format!(
                    "{}: instance uid {} was made on another host; this one gets a new uid",
                    path.display(),
                    identity.instance_uid
                ));
            }
        }
        // A uid from a host without a fingerprint stays, and is bound to this host now.
        let kept = known.filter(|identity| identity.host.is_empty()).map(|identity| identity.instance_uid);
        let instance_uid = from.or(kept).unwrap_or_else(|| Uuid::now_v7().to_string());
        let identity = IdentityFile { instance_uid, host, marker: None };
        let text = serde_json::to_vec(&identity).expect("two strings");
        let write = |store: &Self| store.create().and_then(|()| write_durably(&store.dir.join("instance_uid"), &text));
        if let Err(error) = write(self)
            && self.spare.as_ref().is_none_or(|spare| write(&Self::new(spare)).is_err())
        {
            warnings.push(format!("{}; the instance uid will be another one after the next start", error.chain()));
        }
        (identity.instance_uid, warnings)
    }

    /// Stores another instance uid that the server has assigned.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if it cannot be made durable; then the old uid stays.
    pub fn adopt(&self, instance_uid: &str, root: &Path) -> Result<(), StoreError> {
        let path = self.dir.join("instance_uid");
        let old = read(&path, LARGEST_STATE).ok().and_then(|text| serde_json::from_slice::<IdentityFile>(&text).ok());
        let marker = old.map(|old| old.marker.unwrap_or(old.instance_uid));
        let identity = IdentityFile { instance_uid: instance_uid.into(), host: fingerprint(root), marker };
        write_durably(&path, &serde_json::to_vec(&identity).expect("strings only"))
    }

    /// Returns the instance uid, if there is one on disk. Changes nothing.
    pub fn known_uid(&self) -> Option<String> {
        let text = read(&self.place(Path::new("instance_uid")), LARGEST_STATE).ok()?;
        let identity: IdentityFile = serde_json::from_slice(&text).ok()?;
        Some(Uuid::parse_str(&identity.instance_uid).ok()?.to_string())
    }

    /// Returns the mark of collectors that were started from this directory: the first instance uid, even if the server
    /// has assigned another one since.
    pub fn marker(&self) -> Option<String> {
        let text = read(&self.place(Path::new("instance_uid")), LARGEST_STATE).ok()?;
        let identity: IdentityFile = serde_json::from_slice(&text).ok()?;
        Some(identity.marker.unwrap_or(identity.instance_uid))
    }

    fn load_state(&self, path: &Path, warnings: &mut Vec<String>) -> Option<Memory> {
        match read(path, LARGEST_STATE) {
            Ok(bytes) => match serde_json::from_slice::<StateFile>(&bytes) {
                Ok(state) => Some(Memory::from(state)),
                Err(error) => {
                    warnings.push(set_aside(path, &error.to_string()));
                    None
                }
            },
            Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warnings.push(error.chain());
                None
            }
        }
    }

    fn intact(&self, hash: ConfigHash, which: &str, warnings: &mut Vec<String>) -> bool {
        match self.verify(hash) {
            Ok(_) => true,
            Err(error @ StoreError::Torn { .. }) => {
                warnings.push(format!("{which} config: {}", set_aside(&self.config_path(hash), &error.to_string())));
                false
            }
            Err(error) => {
                warnings.push(format!("{which} config: {}", error.chain()));
                false
            }
        }
    }

    fn remember(&self, hash: ConfigHash) {
        let mut recent = self.recent.lock().expect("no panic while it is held");
        recent.retain(|known| *known != hash);
        recent.push_back(hash);
        if recent.len() > RECENT {
            recent.pop_front();
        }
    }

    /// Removes bodies that nothing refers to. A body that cannot be removed is tried again the next time.
    fn sweep(&self, record: &Record) {
        let recent = self.recent.lock().expect("no panic while it is held");
        let kept: BTreeSet<PathBuf> =
            [record.remote, record.last_good, record.previous, record.candidate.map(|it| it.hash)]
                .into_iter()
                .flatten()
                .chain(recent.iter().copied())
                .map(|hash| self.config_path(hash))
                .collect();
        let Ok(entries) = fs::read_dir(self.dir.join("configs")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            // A body that is being written has `.new` behind its name.
            let whole =
                if path.extension().is_some_and(|it| it == "new") { path.with_extension("") } else { path.clone() };
            let ours = whole.extension().is_some_and(|it| it == "yaml");
            if ours && !kept.contains(&whole) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Derives a uid from a text: version 8 of RFC 9562, whose bits each implementation may define.
fn derived(text: &str) -> String {
    let digest = otelet_config::hash(format!("otelet instance {text}").as_bytes());
    let bytes = digest.0[..16].try_into().expect("SHA-256 has 32 bytes");
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// The fingerprint of this host. It is a hash, so that the machine id itself is not disclosed.
fn fingerprint(root: &Path) -> String {
    let id = os::host_fingerprint(root);
    if id.is_empty() { String::new() } else { otelet_config::hash(format!("otelet {id}").as_bytes()).hex() }
}

/// Reads a small file of the state directory.
pub(crate) fn read_state(path: &Path) -> Result<Vec<u8>, StoreError> {
    read(path, LARGEST_STATE)
}
