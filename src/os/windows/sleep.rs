//! One `WaitForMultipleObjects` that waits for everything, and an event that ends it.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{SetEvent, WaitForMultipleObjects, WaitForSingleObject};

use super::handles::event;

/// The most handles of one wait. Source: `MAXIMUM_WAIT_OBJECTS` of winnt.h.
const MOST: usize = 64;

/// The time between two checks of the handles beyond [`MOST`].
const TURN: Duration = Duration::from_millis(20);

/// An event that resets itself.
pub(in crate::os) struct Bell(OwnedHandle);

impl Bell {
    pub(in crate::os) fn new() -> io::Result<Self> {
        Ok(Self(event(false)?))
    }

    pub(in crate::os) fn ring(&self) {
        // SAFETY: the handle is open for as long as this value exists.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }
}

/// A handle to wait for. Only `ready` makes one.
#[derive(Clone, Copy)]
pub(in crate::os) struct Source(pub(super) HANDLE);

/// Sleeps until a source is ready, this time has passed or the bell rings. Returns the indices of the ready sources, in
/// order.
pub(in crate::os) fn sleep(
    bell: &Bell,
    sources: impl ExactSizeIterator<Item = Source>,
    left: Option<Duration>,
) -> io::Result<Vec<usize>> {
    let mut handles = vec![bell.0.as_raw_handle()];
    handles.extend(sources.map(|source| source.0));
    let left = if handles.len() > MOST { Some(left.map_or(TURN, |left| left.min(TURN))) } else { left };
    // Rounded up: a wait that ends a moment too early would be repeated.
    let timeout = left.map_or(u32::MAX, |left| {
        u32::try_from(left.as_millis() + u128::from(!left.is_zero())).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
    });
    let count = handles.len().min(MOST);
    // SAFETY: the caller of `ready` borrows the handle for as long as its source is in the list.
    let woken = unsafe { WaitForMultipleObjects(count as u32, handles.as_ptr(), 0, timeout) };
    if woken == WAIT_FAILED {
        return Err(io::Error::last_os_error());
    }
    let first = woken.wrapping_sub(WAIT_OBJECT_0) as usize;
    // The wait reports the first ready handle, and resets it if it is an event of that kind. The others are checked one
    // by one.
    let after = if first < count { first + 1 } else { MOST.min(handles.len()) };
    let mut ready: Vec<usize> = Vec::new();
    if first < count {
        ready.push(first);
    }
    ready.extend((after..handles.len()).filter(|index| {
        // SAFETY: as above.
        unsafe { WaitForSingleObject(handles[*index], 0) == WAIT_OBJECT_0 }
    }));
    // The first handle is the bell.
    Ok(ready.into_iter().filter_map(|index| index.checked_sub(1)).collect())
}
