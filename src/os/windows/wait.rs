//! Waits for a handle.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};

use super::sleep::Source;
use crate::os::wait;

/// Completes when the handle is signalled: a process has ended, an event was set, a directory has changed.
pub(super) async fn ready(handle: &impl AsHandle) {
    ready_handle(handle.as_handle()).await;
}

async fn ready_handle(handle: BorrowedHandle<'_>) {
    wait::ready(Source(handle.as_raw_handle())).await;
}
