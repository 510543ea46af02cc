//! The only wait of the agent: for times, for descriptors or handles, for other threads.
//!
//! The main thread waits in [`block_on`] and nowhere else. smol's own reactor would work too, but at each timer it
//! moves between two threads: six more wake-ups a tick, on hosts where each one costs battery. The wait is one call of
//! the system: `sleep` in `sleep.rs`, with a `Bell` for other threads and a `Source` for each descriptor or handle.

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

/// A source that a task waits for.
struct Waiting {
    source: Source,
    ready: Rc<Cell<bool>>,
    waker: Waker,
}

/// A time that a task waits for.
struct Timer {
    at: Instant,
    /// Identifies the wait: several tasks may wait for the same time.
    id: Rc<()>,
    waker: Waker,
}

/// Runs the future on this thread, the main one, until it is done. Only one future may run at a time.
///
/// # Errors
///
/// If the system cannot make the bell.
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

pub async fn until(at: Instant) {
    /// Removes the time from the list when the wait is dropped.
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

/// Completes when the source is ready. The caller must keep its descriptor or handle open until then.
pub(super) async fn ready(source: Source) {
    /// Removes the source from the list when the wait is dropped.
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
