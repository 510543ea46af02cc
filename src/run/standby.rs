//! Stands by while another agent has the state directory: a new pod beside the one that it replaces. Tries the config once,
//! and starts nothing until the other agent has ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use smol::future::FutureExt as _;

use super::decisions::moment;
use super::trial::{self, Asker};
use crate::os::{self, Signal};
use crate::settings::Settings;
use crate::status::Standby;
use crate::store::{Store, StoreError};
use otelet_core::units;

/// Time between two attempts to get the lock.
const LOOK: Duration = Duration::from_millis(500);

/// How the wait ended.
pub(super) enum Ended {
    /// This agent has the lock, or an error other than a held lock, or the time is up.
    Turn(Result<(Store, PathBuf), StoreError>),
    /// This agent was asked to stop.
    Stopped,
    /// This agent could not run the config, so the other one keeps the state directory.
    Refused,
}

/// Waits for the lock of the state directory.
pub(super) fn wait(
    settings: &Settings,
    lock: &Path,
    places: impl Fn() -> Result<(Store, PathBuf), StoreError>,
) -> Ended {
    let limit = moment().now + settings.standby;
    log::info!(
        "{}: another agent has this state directory; standing by for up to {}",
        lock.display(),
        units::format_time(settings.standby)
    );
    if let Err(why) = trial::run(settings, Asker::Standby) {
        println!("{why}");
        log::error!("this agent could not run the config; leaving the state directory to the other one");
        return Ended::Refused;
    }
    let standby = Standby::new(lock);
    if let Err(error) = os::private_dir(&settings.runtime_dir)
        .map_err(|error| error.to_string())
        .and_then(|()| standby.write(&settings.runtime_dir))
    {
        log::warn!("{}: cannot say there that this agent stands by: {error}", settings.runtime_dir.display());
    }
    let waited = os::block_on(async {
        loop {
            let stopped = async {
                loop {
                    match os::signal().await {
                        Signal::Stop => return true,
                        // The loop reads the settings again when it starts, and there is no status to ask for yet.
                        Signal::Reload | Signal::Poke | Signal::ChildEnded => {}
                    }
                }
            };
            let look = async {
                os::until(moment().now + LOOK).await;
                false
            };
            if stopped.or(look).await {
                return Ended::Stopped;
            }
            match places() {
                Err(StoreError::InUse { .. }) if moment().now < limit => {}
                found => return Ended::Turn(found),
            }
        }
    });
    Standby::remove(&settings.runtime_dir);
    match waited {
        Ok(ended) => ended,
        Err(error) => {
            log::error!("cannot wait for the other agent: {error}");
            Ended::Refused
        }
    }
}
