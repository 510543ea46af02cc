//! The one wait of the agent: for times, for whatever the system can wait for, for other threads.
//!
//! The main thread waits in [`block_on`] and nowhere else. smol's own reactor would do too, but it hands itself to and
//! fro between two threads at each timer: six more wake-ups a tick, on hosts where each one costs battery. What it sleeps in is
//! one call of the system: `sleep` of its `sleep.rs`, with a `Bell` for other threads and a `Source` for each thing.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::system::sleep::{Bell, Source, sleep};
use super::wake::{WakeUp, hand_out};

thread_local! {
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// Something that somebody waits for.
struct Waiting {
    source: Source,
    ready: Rc<Cell<bool>>,
    waker: Waker,
}

/// A time that somebody waits for.
struct Timer {
    at: Instant,
    /// Tells waits for the same time apart.
    id: Rc<()>,
    waker: Waker,
}

/// Runs the future on this thread until it is done. One at a time, on the thread that is the agent's main one.
///
/// # Errors
///
/// If the system gives no bell.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let wake = WakeUp::main()?;
    let waker = WakeUp::waker();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        wake.pending.store(false, Ordering::SeqCst);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        if !wake.pending.load(Ordering::SeqCst) {
            wait(&wake.bell)?;
        }
    }
}

/// Sleeps until something is ready, a time has come, a signal has arrived or another thread rings.
fn wait(bell: &Bell) -> io::Result<()> {
    let next = TIMERS.with_borrow(|timers| timers.iter().map(|timer| timer.at).min());
    let left = next.map(|at| at.saturating_duration_since(Instant::now()));
    let ready = WAITING.with_borrow(|waiting| sleep(bell, waiting.iter().map(|one| one.source), left))?;
    for index in ready.into_iter().rev() {
        let one = WAITING.with_borrow_mut(|waiting| waiting.swap_remove(index));
        one.ready.set(true);
        one.waker.wake();
    }
    let now = Instant::now();
    let due: Vec<Timer> = TIMERS.with_borrow_mut(|timers| timers.extract_if(.., |timer| timer.at <= now).collect());
    due.into_iter().for_each(|timer| timer.waker.wake());
    hand_out();
    Ok(())
}

/// Completes at this time.
pub async fn until(at: Instant) {
    /// Takes the time off the list when the wait is given up.
    struct Leave(Rc<()>);
    impl Drop for Leave {
        fn drop(&mut self) {
            let _ = TIMERS.try_with(|timers| timers.borrow_mut().retain(|timer| !Rc::ptr_eq(&timer.id, &self.0)));
        }
    }
    let leave = Leave(Rc::new(()));
    poll_fn(|context| {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        TIMERS.with_borrow_mut(|timers| {
            timers.retain(|timer| !Rc::ptr_eq(&timer.id, &leave.0));
            timers.push(Timer { at, id: leave.0.clone(), waker: context.waker().clone() });
        });
        Poll::Pending
    })
    .await;
}

/// Completes when it is ready. Whoever has made the source keeps what is behind it for as long as this is waited for.
pub(super) async fn ready(source: Source) {
    /// Takes it off the list when the wait is given up.
    struct Leave(Rc<Cell<bool>>);
    impl Drop for Leave {
        fn drop(&mut self) {
            let _ = WAITING.try_with(|waiting| waiting.borrow_mut().retain(|one| !Rc::ptr_eq(&one.ready, &self.0)));
        }
    }
    let ready = Rc::new(Cell::new(false));
    let leave = Leave(ready.clone());
    poll_fn(|context| {
        if ready.get() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| {
            waiting.retain(|one| !Rc::ptr_eq(&one.ready, &ready));
            waiting.push(Waiting { source, ready: ready.clone(), waker: context.waker().clone() });
        });
        Poll::Pending
    })
    .await;
    drop(leave);
}
