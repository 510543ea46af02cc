//! One `WaitForMultipleObjects` that waits for everything: times, handles, other threads.
//!
//! The counterpart of the `ppoll` on Unix, for the same reason: one thread waits, and nothing hands it to and fro.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{SetEvent, WaitForMultipleObjects, WaitForSingleObject};

use super::handles::event;
use super::signals;

/// `MAXIMUM_WAIT_OBJECTS` of winnt.h.
const MOST: usize = 64;

/// How long those beyond [`MOST`] wait for a look.
const TURN: Duration = Duration::from_millis(20);

/// Wakes the main thread from others: one event for all of it.
static WAKE: OnceLock<WakeUp> = OnceLock::new();

struct WakeUp {
    event: OwnedHandle,
    main: ThreadId,
    /// Set while the main thread has something to do and need not be woken.
    pending: AtomicBool,
}

/// Wakes the main thread, from any thread.
pub(super) fn ring() {
    if let Some(wake) = WAKE.get() {
        // SAFETY: the event lives as long as the process.
        unsafe { SetEvent(wake.event.as_raw_handle()) };
    }
}

struct MainWaker;

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        if let Some(wake) = WAKE.get()
            && !wake.pending.swap(true, Ordering::SeqCst)
            && std::thread::current().id() != wake.main
        {
            ring();
        }
    }
}

thread_local! {
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// A handle that somebody waits for.
struct Waiting {
    handle: HANDLE,
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

/// Runs the future on this thread until it is done. Called once, on the thread that is the agent's only one.
///
/// # Errors
///
/// If Windows gives no event.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let event = event(false)?;
    let wake =
        WAKE.get_or_init(|| WakeUp { event, main: std::thread::current().id(), pending: AtomicBool::new(false) });
    let waker = Waker::from(Arc::new(MainWaker));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        wake.pending.store(false, Ordering::SeqCst);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            super::finish_log();
            return Ok(value);
        }
        if !wake.pending.load(Ordering::SeqCst) {
            wait(wake)?;
        }
    }
}

/// Sleeps until a handle is signalled, the deadline has come or another thread rings.
fn wait(wake: &WakeUp) -> io::Result<()> {
    let next = TIMERS.with_borrow(|timers| timers.iter().map(|timer| timer.at).min());
    let mut handles = vec![wake.event.as_raw_handle()];
    WAITING.with_borrow(|waiting| handles.extend(waiting.iter().map(|one| one.handle)));
    let left = next.map(|at| at.saturating_duration_since(Instant::now()));
    let left = if handles.len() > MOST { Some(left.map_or(TURN, |left| left.min(TURN))) } else { left };
    // A time that has not quite come would be waited for again.
    let timeout = left.map_or(u32::MAX, |left| {
        u32::try_from(left.as_millis() + u128::from(!left.is_zero())).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
    });
    let count = handles.len().min(MOST);
    // SAFETY: whoever waits in `ready` borrows the handle for as long as it is in the list, and the list is not changed here.
    let woken = unsafe { WaitForMultipleObjects(count as u32, handles.as_ptr(), 0, timeout) };
    if woken == WAIT_FAILED {
        return Err(io::Error::last_os_error());
    }
    let first = woken.wrapping_sub(WAIT_OBJECT_0) as usize;
    // The wait has told of the first and, where it resets itself, reset it. The others are looked at one by one.
    let after = if first < count { first + 1 } else { MOST.min(handles.len()) };
    let mut ready: Vec<usize> = Vec::new();
    if first < count {
        ready.push(first);
    }
    ready.extend((after..handles.len()).filter(|index| {
        // SAFETY: as above.
        unsafe { WaitForSingleObject(handles[*index], 0) == WAIT_OBJECT_0 }
    }));
    for index in ready.into_iter().rev().filter(|index| *index > 0) {
        let one = WAITING.with_borrow_mut(|waiting| waiting.swap_remove(index - 1));
        one.ready.set(true);
        one.waker.wake();
    }
    let now = Instant::now();
    let due: Vec<Timer> = TIMERS.with_borrow_mut(|timers| timers.extract_if(.., |timer| timer.at <= now).collect());
    due.into_iter().for_each(|timer| timer.waker.wake());
    signals::hand_out();
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

/// Completes when the handle is signalled: a process has ended, an event was set, a directory has changed.
pub(super) async fn ready(handle: &impl AsHandle) {
    ready_handle(handle.as_handle()).await;
}

async fn ready_handle(handle: BorrowedHandle<'_>) {
    /// Takes the handle off the list when the wait is given up.
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
            waiting.push(Waiting {
                handle: handle.as_raw_handle(),
                ready: ready.clone(),
                waker: context.waker().clone(),
            });
        });
        Poll::Pending
    })
    .await;
    drop(leave);
}
