//! The directories of the agent: made, locked, and replaced by others if these cannot be used.

use std::path::PathBuf;

use crate::os;
use crate::settings::Settings;
use crate::store::{Store, StoreError};

/// The state directory, locked, and the runtime directory.
pub(super) fn open(settings: &Settings) -> Result<(Store, PathBuf), StoreError> {
    let mut store = Store::new(&settings.state_dir);
    if let Err(error) = store.create() {
        // A state directory on a file system that has become read-only still holds the last good config.
        if !settings.state_dir.is_dir() {
            let volatile = settings.runtime_dir.join("state");
            log::warn!("{}; state is kept in {} and lost at the next boot", error.chain(), volatile.display());
            store = Store::new(&volatile);
            store.create().map_err(|_| error)?;
        } else {
            log::warn!("{}; going on with what is there", error.chain());
        }
    }
    match os::keep_private(store.dir()) {
        Err(cause) => return Err(StoreError::Io { path: store.dir().into(), what: "use the directory", cause }),
        Ok(warnings) => warnings.iter().for_each(|warning| log::warn!("{warning}")),
    }
    match store.lock() {
        Err(error @ StoreError::InUse { .. }) => return Err(error),
        Err(error) => log::warn!("{}; make sure that no other agent uses it", error.chain()),
        Ok(()) => {}
    }
    let mut runtime_dir = settings.runtime_dir.clone();
    if let Err(cause) = os::private_dir(&runtime_dir) {
        let instead = settings.state_dir.join("run");
        log::warn!("{}: cannot make the directory: {cause}; using {}", runtime_dir.display(), instead.display());
        os::private_dir(&instead).map_err(|cause| StoreError::Io {
            path: instead.clone(),
            what: "make the directory",
            cause,
        })?;
        runtime_dir = instead;
    }
    Ok((store, runtime_dir))
}
