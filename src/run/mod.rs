//! The event loop. It gives each decision its event, the time and a random number, and performs the actions.
//!
//! One queue, one thread. Work that may block (an exchange, a write to disk) gets a short-lived thread with a small stack
//! and comes back as a message; there is never more than one of each kind.
//!
//! `runner` is the loop. It hands actions to four concerns: `configs`, `child`, `observations` and `tellers`. Each owns its
//! state, is handed the `context`, and reports back by events and messages.

mod answers;
mod checks;
mod child;
mod configs;
mod context;
mod decisions;
mod docker;
mod draft;
mod exports;
mod message;
mod observations;
mod params;
mod places;
mod runner;
mod standby;
mod status_file;
mod tellers;
mod threads;
pub mod trial;

use std::rc::Rc;

use smol::LocalExecutor;
use smol::future;

use crate::exit;
use crate::os;
use crate::settings::{Flags, Settings};
use crate::store::StoreError;
use runner::Runner;

/// Runs the agent until it is asked to stop. Answers with its exit status.
// A function of its own: its caller needs 16 KiB of stack for every other command, and would hold them for good.
#[inline(never)]
pub fn run(flags: Flags, settings: Settings) -> u8 {
    crate::log::init(settings.log_level);
    if let Err(error) = os::catch_signals() {
        log::error!("cannot catch signals: {error}");
        return exit::BUG;
    }
    let found = match places::open(&settings) {
        Err(StoreError::InUse { path }) if !settings.standby.is_zero() => {
            match standby::wait(&settings, &path, || places::open(&settings)) {
                standby::Ended::Turn(found) => found,
                standby::Ended::Stopped => return exit::OK,
                standby::Ended::Refused => return exit::NO,
            }
        }
        found => found,
    };
    let (store, runtime_dir) = match found {
        Ok(places) => places,
        Err(error) => {
            log::error!("{}", error.chain());
            return if matches!(error, StoreError::InUse { .. } | StoreError::RuntimeInUse { .. }) {
                exit::NO
            } else {
                exit::CANNOT_CREATE
            };
        }
    };
    let ended = os::block_on(async {
        let executor = Rc::new(LocalExecutor::new());
        // Polled once before the first child, so that no thread is started to do the same.
        let driver = executor.spawn(os::driver());
        // In a box: the executor holds its future four times over, and all of that would be on the stack for good.
        let running = Box::pin(async {
            future::yield_now().await;
            let (mut runner, actions) = Runner::new(flags, settings, store, runtime_dir, executor.clone());
            runner.run(actions).await;
        });
        executor.run(running).await;
        drop(driver);
    });
    match ended {
        Ok(()) => exit::OK,
        Err(error) => {
            log::error!("cannot wait for events: {error}");
            exit::BUG
        }
    }
}
