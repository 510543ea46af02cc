//! One `ppoll` that waits for everything, and an eventfd that ends it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

/// An eventfd. A signal handler may ring it, since that is only a write.
pub(in crate::os) struct Bell(OwnedFd);

impl Bell {
    pub(in crate::os) fn new() -> io::Result<Self> {
        Ok(Self(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(in crate::os) fn ring(&self) {
        // A full counter means that it is ringing already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// A descriptor to wait for. Only `ready_for` makes one.
#[derive(Clone, Copy)]
pub(in crate::os) struct Source {
    pub(super) fd: RawFd,
    pub(super) flags: PollFlags,
}

/// Sleeps until a source is ready, this time has passed, a signal has arrived or the bell rings. Returns the indices of
/// the ready sources, in order.
pub(in crate::os) fn sleep(
    bell: &Bell,
    sources: impl ExactSizeIterator<Item = Source>,
    left: Option<Duration>,
) -> io::Result<Vec<usize>> {
    let timeout = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
    let mut fds = Vec::with_capacity(sources.len() + 1);
    fds.push(PollFd::new(&bell.0, PollFlags::IN));
    for source in sources {
        // SAFETY: the caller of `ready_for` borrows the descriptor for as long as its source is in the list.
        let fd = unsafe { BorrowedFd::borrow_raw(source.fd) };
        fds.push(PollFd::from_borrowed_fd(fd, source.flags));
    }
    let mut ready = Vec::new();
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {
            if !fds[0].revents().is_empty() {
                let _ = rustix::io::read(&bell.0, &mut [0_u8; 8]);
            }
            ready
                .extend(fds[1..].iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| index));
        }
        // The handler of the signal has rung the bell.
        Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(ready)
}
