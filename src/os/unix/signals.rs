//! Signals: caught by a handler that only notes them, handed out one by one to a task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Poll, Waker};

use super::is_pid_1;
use super::process::pid_of;
use crate::os::Signal;
use crate::os::wait;

/// One bit for each [`Signal`] that has arrived and was not taken yet.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Whoever waits in [`signal`].
    static TAKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

const SIGNAL_TABLE: [(i32, Signal); 5] = [
    (signal_hook::consts::SIGTERM, Signal::Stop),
    (signal_hook::consts::SIGINT, Signal::Stop),
    (signal_hook::consts::SIGHUP, Signal::Reload),
    (signal_hook::consts::SIGUSR1, Signal::Poke),
    (signal_hook::consts::SIGCHLD, Signal::ChildEnded),
];

/// Takes over the signals above. Those that arrive before [`block_on`](crate::os::block_on) runs are not lost.
///
/// # Errors
///
/// If the kernel refuses a handler.
pub fn catch_signals() -> io::Result<()> {
    for (bit, (number, signal)) in SIGNAL_TABLE.into_iter().enumerate() {
        if signal == Signal::ChildEnded && !is_pid_1() {
            continue;
        }
        // SAFETY: the handler touches an atomic and writes to an eventfd: both are async-signal-safe.
        unsafe {
            signal_hook::low_level::register(number, move || {
                ARRIVED.fetch_or(1 << bit, Ordering::SeqCst);
                wait::ring();
            })?;
        }
    }
    Ok(())
}

/// Sets a flag when this process is asked to stop: for programs without [`block_on`](crate::os::block_on).
///
/// # Errors
///
/// If the kernel refuses a handler.
pub fn flag_stop(flag: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// The next signal. One task waits for them.
pub async fn signal() -> Signal {
    poll_fn(|context| {
        TAKER.set(Some(context.waker().clone()));
        let arrived = ARRIVED.load(Ordering::SeqCst);
        let Some(bit) = (0..SIGNAL_TABLE.len()).find(|bit| arrived & (1 << bit) != 0) else {
            return Poll::Pending;
        };
        ARRIVED.fetch_and(!(1 << bit), Ordering::SeqCst);
        Poll::Ready(SIGNAL_TABLE[bit].1)
    })
    .await
}

/// Wakes whoever waits for a signal, if one has arrived.
pub(in crate::os) fn hand_out() {
    if ARRIVED.load(Ordering::SeqCst) != 0
        && let Some(waker) = TAKER.take()
    {
        waker.wake();
    }
}

/// Has a running agent look for a request and write its status.
///
/// # Errors
///
/// If the process is gone or belongs to somebody else.
pub fn poke(pid: u32) -> io::Result<()> {
    // In a container the agent is 1, a number that is never given to whoever ends whole groups.
    let agent = if pid == 1 { rustix::process::Pid::INIT } else { pid_of(pid)? };
    Ok(rustix::process::kill_process(agent, rustix::process::Signal::USR1)?)
}
