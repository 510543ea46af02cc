//! The directories of the agent: made, locked, and replaced by others if these cannot be used.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::os;
use crate::settings::Settings;
use crate::status;
use crate::store::{Store, StoreError};

/// How often the lock of the runtime directory is tried, and the time in between. An agent that ends gives back the
/// lock of the state directory a moment before.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(50);

/// The state directory and the runtime directory, both locked.
pub(super) fn open(settings: &Settings) -> Result<(Store, PathBuf), StoreError> {
    let store = state(settings)?;
    match os::keep_private(store.dir()) {
        Err(cause) => return Err(StoreError::Io { path: store.dir().into(), what: "use the directory", cause }),
        Ok(warnings) => warnings.iter().for_each(|warning| log::warn!("{warning}")),
    }
    let runtime_dir = runtime(settings)?;
    // Tried first, and given back if the state directory is another agent's: then this one may stand by.
    let first = lock(&runtime_dir);
    match store.lock() {
        Err(error @ StoreError::InUse { .. }) => return Err(error),
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
fn state(settings: &Settings) -> Result<Store, StoreError> {
    let volatile = settings.runtime_dir.join("state");
    let store = Store::new(&settings.state_dir).with_spare(volatile.clone());
    let made = store.create();
    // On a file system that has become read-only, the last good config is still there.
    if store.holds_a_config() {
        if let Err(error) = made {
            log::warn!("{}; going on with what is there", error.chain());
        }
        return Ok(store);
    }
    let Err(error) = made.and_then(|()| store.try_to_write()) else {
        return Ok(store);
    };
    if error.is_full() && store.dir().is_dir() {
        log::warn!("{}; state is kept in {} until there is room", error.chain(), volatile.display());
        return Ok(store);
    }
    log::warn!("{}; state is kept in {} and lost at the next boot", error.chain(), volatile.display());
    let store = Store::new(&volatile);
    store.create().map_err(|_| error)?;
    Ok(store)
}

fn runtime(settings: &Settings) -> Result<PathBuf, StoreError> {
    let Err(cause) = os::private_dir(&settings.runtime_dir) else {
        return Ok(settings.runtime_dir.clone());
    };
    let instead = settings.state_dir.join("run");
    log::warn!("{}: cannot make the directory: {cause}; using {}", settings.runtime_dir.display(), instead.display());
    os::private_dir(&instead).map_err(|cause| StoreError::Io {
        path: instead.clone(),
        what: "make the directory",
        cause,
    })?;
    Ok(instead)
}
