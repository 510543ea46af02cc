//! Tells when the clock of the host is set: many an edge box has no battery, and starts in 1970 or at the date of its
//! image until its time service has an answer.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::readable;

/// A time in the year 2242. The timer is there to be cancelled, not to end.
const NEVER: i64 = 1 << 33;

/// Calls this each time that the clock is set or the host wakes from a suspension. It returns if the kernel cannot tell.
///
/// # Errors
///
/// The error of the kernel, which has such timers since Linux 3.0.
pub async fn watch_clock(mut set: impl FnMut()) -> io::Result<()> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    loop {
        arm(&timer)?;
        readable(&timer).await;
        match rustix::io::read(&timer, &mut [0; 8]) {
            Err(Errno::CANCELED) => set(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            // The clock is beyond the time of the timer, so each further timer would end at once.
            Ok(_) => return Ok(()),
        }
    }
}

fn arm(timer: &OwnedFd) -> io::Result<()> {
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 },
    };
    // Without `CANCEL_ON_SET`, only a time that has come would end the wait.
    rustix::time::timerfd_settime(timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use smol::future::FutureExt as _;

    use super::*;
    use crate::os::{block_on, until};

    #[test]
    fn a_clock_that_nobody_sets_wakes_nobody() {
        let calls = Cell::new(0);
        let ended = block_on(async {
            let watching = async {
                watch_clock(|| calls.set(calls.get() + 1)).await.unwrap();
                false
            };
            watching
                .or(async {
                    until(Instant::now() + Duration::from_millis(200)).await;
                    true
                })
                .await
        });
        assert!(ended.unwrap(), "the kernel has no such timers");
        assert_eq!(calls.get(), 0);
    }
}
