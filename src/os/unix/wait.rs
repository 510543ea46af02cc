//! One `ppoll` that waits for everything: times, descriptors, signals, other threads.
//!
//! The main thread waits in [`block_on`] and nowhere else. smol's own reactor would do too, but it hands itself to and
//! fro between two threads at each timer: six more wake-ups a tick, on hosts where each one costs battery.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags};

use super::signals;

/// Wakes the main thread from others and from signal handlers: one eventfd for all of it.
static WAKE: OnceLock<WakeUp> = OnceLock::new();

struct WakeUp {
    fd: OwnedFd,
    main: ThreadId,
    /// Set while the main thread has something to do and need not be woken.
    pending: AtomicBool,
}

impl WakeUp {
    fn ring(&self) {
        // A full counter means that it is ringing already.
        let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
    }
}

/// Wakes the main thread. A signal handler may call it: it only writes to an eventfd.
pub(super) fn ring() {
    if let Some(wake) = WAKE.get() {
        wake.ring();
    }
}

struct MainWaker;

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        if let Some(wake) = WAKE.get()
            && !wake.pending.swap(true, Ordering::SeqCst)
            && std::thread::current().id() != wake.main
        {
            wake.ring();
        }
    }
}

thread_local! {
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

/// A descriptor that somebody waits to read from or write to.
struct Waiting {
    fd: i32,
    flags: PollFlags,
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

/// Runs the future on this thread until it is done. Called once, on the main thread.
///
/// # Errors
///
/// If the kernel gives no eventfd.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let wake = WAKE.get_or_init(|| WakeUp { fd, main: std::thread::current().id(), pending: AtomicBool::new(false) });
    let waker = Waker::from(Arc::new(MainWaker));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        wake.pending.store(false, Ordering::SeqCst);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        if !wake.pending.load(Ordering::SeqCst) {
            wait(wake)?;
        }
    }
}

/// Sleeps until a descriptor is ready, the deadline has come, a signal has arrived or another thread rings.
fn wait(wake: &WakeUp) -> io::Result<()> {
    let next = TIMERS.with_borrow(|timers| timers.iter().map(|timer| timer.at).min());
    let timeout = next.map(|at| {
        let left = at.saturating_duration_since(Instant::now());
        rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    let mut ready = Vec::new();
    WAITING.with_borrow(|waiting| -> io::Result<()> {
        let mut fds = Vec::with_capacity(waiting.len() + 1);
        fds.push(PollFd::new(&wake.fd, PollFlags::IN));
        for one in waiting {
            // SAFETY: whoever waits in `ready_for` borrows the descriptor for as long as it is in this list.
            let fd = unsafe { BorrowedFd::borrow_raw(one.fd) };
            fds.push(PollFd::from_borrowed_fd(fd, one.flags));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            // A signal: its handler has rung.
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&wake.fd, &mut [0_u8; 8]);
        }
        ready.extend(fds[1..].iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| index));
        Ok(())
    })?;
    for index in ready.into_iter().rev() {
        let one = WAITING.with_borrow_mut(|waiting| waiting.swap_remove(index));
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

/// Completes when the descriptor can be read, or has been closed by its other side.
pub async fn readable(fd: &impl AsFd) {
    ready_for(fd.as_fd(), PollFlags::IN).await;
}

pub(super) async fn ready_for(fd: BorrowedFd<'_>, flags: PollFlags) {
    /// Takes the descriptor off the list when the wait is given up.
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
            waiting.push(Waiting { fd: fd.as_raw_fd(), flags, ready: ready.clone(), waker: context.waker().clone() });
        });
        Poll::Pending
    })
    .await;
    drop(leave);
}
