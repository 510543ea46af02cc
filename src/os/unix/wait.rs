//! Waits for a descriptor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::event::PollFlags;

use super::sleep::Source;
use crate::os::wait::ready;

/// Completes when the descriptor can be read, or when the other side has closed it.
pub async fn readable(fd: &impl AsFd) {
    ready_for(fd.as_fd(), PollFlags::IN).await;
}

pub(super) async fn ready_for(fd: BorrowedFd<'_>, flags: PollFlags) {
    ready(Source { fd: fd.as_raw_fd(), flags }).await;
}
