//! The events that end the agent's wait: other threads ring a bell, and signals are noted until a task takes them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Wake, Waker};
use std::thread::ThreadId;

use super::system::sleep::Bell;

/// Wakes the main thread from other threads, with one bell for all of them.
static WAKE: OnceLock<WakeUp> = OnceLock::new();

/// One bit for each signal that has arrived and is not taken yet.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The task that waits in [`noted`].
    static TAKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

pub(super) struct WakeUp {
    pub(super) bell: Bell,
    main: ThreadId,
    /// Set while the main thread has work and need not be woken.
    pub(super) pending: AtomicBool,
}

impl WakeUp {
    /// Makes the wake-up of the main thread, which calls this first.
    ///
    /// # Errors
    ///
    /// If the system cannot make the bell.
    pub(super) fn main() -> io::Result<&'static Self> {
        let bell = Bell::new()?;
        Ok(WAKE.get_or_init(|| Self { bell, main: std::thread::current().id(), pending: AtomicBool::new(false) }))
    }

    /// A waker of the main thread, for any thread.
    pub(super) fn waker() -> Waker {
        Waker::from(Arc::new(MainWaker))
    }
}

struct MainWaker;

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        if let Some(wake) = WAKE.get()
            && !wake.pending.swap(true, Ordering::SeqCst)
            && std::thread::current().id() != wake.main
        {
            wake.bell.ring();
        }
    }
}

/// Notes a signal by a number below 32, and wakes the main thread. A signal handler may call it: it only changes an
/// atomic and rings the bell.
pub(super) fn note(number: u32) {
    ARRIVED.fetch_or(1 << number, Ordering::SeqCst);
    if let Some(wake) = WAKE.get() {
        wake.bell.ring();
    }
}

/// Takes the noted signal with the lowest number, or waits for one. Only one task may wait.
pub(super) async fn noted() -> u32 {
    poll_fn(|context| {
        TAKER.set(Some(context.waker().clone()));
        let arrived = ARRIVED.load(Ordering::SeqCst);
        if arrived == 0 {
            return Poll::Pending;
        }
        let number = arrived.trailing_zeros();
        ARRIVED.fetch_and(!(1 << number), Ordering::SeqCst);
        Poll::Ready(number)
    })
    .await
}

/// Wakes the task that waits for a signal, if one has arrived.
pub(super) fn hand_out() {
    if ARRIVED.load(Ordering::SeqCst) != 0
        && let Some(waker) = TAKER.take()
    {
        waker.wake();
    }
}
