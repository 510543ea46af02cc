//! The directories of the agent: made, locked, and replaced by others if these cannot be used.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::os;
use crate::settings::Settings;
use crate::status;
use crate::store::{COLLECTOR, Store, StoreError};

/// How often the lock of the runtime directory is tried, and the time in between. An agent that ends gives back the
/// lock of the state directory a moment before.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(50);

/// The state directory and the runtime directory, both locked.
pub(super) fn open(settings: &Settings) -> Result<(Store, PathBuf), StoreError> {
    // The lock is tried first, and given back if the state directory is another agent's: then this one may stand by.
    let (runtime_dir, first) = runtime(settings)?;
    let store = state(settings, &runtime_dir)?;
    match os::keep_private(store.dir()) {
        Err(cause) => return Err(StoreError::Io { path: store.dir().into(), what: "use the directory", cause }),
        Ok(warnings) => warnings.iter().for_each(|warning| log::warn!("{warning}")),
    }
    match store.lock() {
        Err(error @ StoreError::InUse { .. }) => return Err(error),
        // The state directory of another user was reported above.
        Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => log::warn!("{}; make sure that no other agent uses it", error.chain()),
        Ok(()) => {}
    }
    let again = |_| {
        std::thread::sleep(BETWEEN);
        lock(&runtime_dir)
    };
    let locked = match first {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            (0..TRIES).map(again).find(Result::is_ok).unwrap_or(Err(error))
        }
        first => first,
    };
    match locked {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let owner = status::owner(&runtime_dir);
            return Err(StoreError::RuntimeInUse { dir: runtime_dir, owner });
        }
        Err(cause) => {
            let error = StoreError::Io { path: runtime_dir.clone(), what: "lock", cause };
            log::warn!("{}; make sure that no other agent has this runtime_dir", error.chain());
        }
        Ok(locked) => os::keep_locked(locked),
    }
    if let Err(error) = status::own(&runtime_dir, &settings.state_dir) {
        log::warn!("{}", error.chain());
    }
    Ok((store, runtime_dir))
}

fn lock(runtime_dir: &Path) -> io::Result<File> {
    os::try_lock(&runtime_dir.join("agent.lock"))
}

/// The state directory, or another one where nothing can be written and nothing is kept.
fn state(settings: &Settings, runtime_dir: &Path) -> Result<Store, StoreError> {
    let volatile = runtime_dir.join("state");
    let store = Store::new(&settings.state_dir).with_spare(volatile.clone());
    let mut tried = store.create().and_then(|()| store.try_to_write());
    let is_writable = tried.is_ok();
    // With `collector.run_as` the directory is another user's on purpose.
    if is_writable && settings.collector.run_as.is_none() {
        tried = store.try_to_write_for_collector();
    }
    let Err(error) = tried else { return Ok(store) };
    if error.is_full() && store.dir().is_dir() && !store.holds_a_config() {
        log::warn!("{}; state is kept in {} until there is room", error.chain(), volatile.display());
        return Ok(store);
    }
    let is_closed = matches!(&error, StoreError::Io { cause, .. } if is_closed(cause));
    // On a file system that has become read-only, the last good config is still there.
    let (store, what, dir) = if is_closed && (is_writable || store.holds_a_config()) {
        let dir = runtime_dir.join(COLLECTOR);
        (store.with_collector_dir(dir.clone()), "until the next boot the collector's own files are in", dir)
    } else if is_writable || store.holds_a_config() {
        (store, "going on with what is in", settings.state_dir.clone())
    } else {
        let store = Store::new(&volatile);
        if let Err(also) = store.create() {
            log::warn!("{}", also.chain());
            return Err(error);
        }
        (store, "until the next boot state is kept in", volatile)
    };
    log::warn!("{}; {what} {}", told(&error, &settings.state_dir), dir.display());
    Ok(store)
}

/// The runtime directory, or one in the state directory where it takes no file; and the lock there.
fn runtime(settings: &Settings) -> Result<(PathBuf, io::Result<File>), StoreError> {
    let dir = &settings.runtime_dir;
    let cause = match os::private_dir(dir).map(|()| lock(dir)) {
        Err(cause) => cause,
        Ok(Err(cause)) if is_closed(&cause) => cause,
        Ok(locked) => return Ok((dir.clone(), locked)),
    };
    let instead = settings.state_dir.join("run");
    let error = StoreError::Io { path: dir.clone(), what: "write", cause };
    log::warn!("{}; using {1}: otelet status --runtime-dir={1}", told(&error, dir), instead.display());
    match os::private_dir(&instead) {
        Err(cause) => Err(StoreError::Io { path: instead, what: "make the directory", cause }),
        Ok(()) => {
            let locked = lock(&instead);
            Ok((instead, locked))
        }
    }
}

/// Whether nothing can be written there, however much room there is.
fn is_closed(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// The error, and the way out where a directory of the settings is another user's.
fn told(error: &StoreError, dir: &Path) -> String {
    let mut text = error.chain();
    if let StoreError::Io { path, cause, .. } = error
        && cause.kind() == io::ErrorKind::PermissionDenied
        && let Some(owner) = os::another_owner(path, dir)
    {
        text += ": ";
        text += &owner;
    }
    text
}
