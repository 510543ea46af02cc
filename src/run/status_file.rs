//! The status file: written when its essence has changed, or when a person asks for it.

use super::context::Context;
use crate::os;
use crate::status::{self, Essence};
use crate::store;
use otelet_wire::status::Status;

#[derive(Default)]
pub(super) struct StatusFile {
    /// The essence of the last file that was written.
    written: Option<Essence>,
    /// The essence that reports and servers were told last.
    told: Option<Essence>,
    serial: u64,
}

impl StatusFile {
    /// The number of the next file.
    pub(super) fn next_serial(&self) -> u64 {
        self.serial + 1
    }

    /// Has the file written at the end of this turn, changed or not.
    pub(super) fn renew(&mut self) {
        self.written = None;
    }

    pub(super) fn is_written(&self, essence: Essence) -> bool {
        self.written == Some(essence)
    }

    /// Whether reports and servers have not been told this essence yet. It counts as told from now on.
    pub(super) fn is_news(&mut self, essence: Essence) -> bool {
        self.told.replace(essence) != Some(essence)
    }

    pub(super) fn write(&mut self, context: &Context, status: &Status, essence: Essence) {
        os::tell_manager(&format!("STATUS={}", status.summary()));
        let text = serde_json::to_vec(status).expect("maps with string keys and numbers only");
        match store::write_atomically(&status::path(&context.runtime_dir), &text) {
            Ok(()) => {
                self.serial += 1;
                self.written = Some(essence);
            }
            Err(error) => log::debug!("{}", error.chain()),
        }
    }
}
