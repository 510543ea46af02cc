//! The replacement of signals: the console's ^C, the service manager's controls, and events that other processes of the
//! system, of administrators or of the same user can set.

use std::cell::RefCell;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use smol::future::FutureExt as _;
use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, GetLastError};
use windows_sys::Win32::System::Console::{
    CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::Threading::{CreateEventW, EVENT_MODIFY_STATE, OpenEventW, SetEvent};

use super::console::has_terminal;
use super::handles::{Private, done, owned, wide};
use super::wait::ready;
use crate::os::Signal;
use crate::os::wake::{note, noted};

thread_local! {
    /// The events that other processes set.
    static EVENTS: RefCell<Vec<(Signal, OwnedHandle)>> = const { RefCell::new(Vec::new()) };
}

/// The signals, and the names of the events by which other processes send them. A signal is noted by its index here.
const NAMES: [(Signal, &str); 3] = [(Signal::Stop, "stop"), (Signal::Reload, "reload"), (Signal::Poke, "poke")];

/// Handles the signals above. A signal that arrives before [`block_on`](crate::os::block_on) runs is not lost.
///
/// # Errors
///
/// If Windows refuses a handler.
pub fn catch_signals() -> io::Result<()> {
    super::die_together();
    has_terminal();
    // SAFETY: the handler is a function of this program.
    // The first call undoes an ignored ^C that a parent may have passed on.
    unsafe {
        SetConsoleCtrlHandler(None, 0);
        done(SetConsoleCtrlHandler(Some(handler), 1))?;
    }
    EVENTS.set(NAMES.iter().filter_map(|(signal, name)| Some((*signal, own_event(name)?))).collect());
    Ok(())
}

/// A new event with the agent's permissions. If another program has made one with this name, it is not used.
fn own_event(name: &str) -> Option<OwnedHandle> {
    let path = event_name(std::process::id(), name);
    let made = Private::new().and_then(|private| {
        let (attributes, text) = (private.attributes(), wide(&path));
        // SAFETY: both pointers are to values that live until the call returns.
        let (handle, error) = unsafe { (CreateEventW(&attributes, 0, 0, text.as_ptr()), GetLastError()) };
        let handle = owned(handle)?;
        if error == ERROR_ALREADY_EXISTS { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(handle) }
    });
    made.inspect_err(|error| log::warn!("{path}: cannot be made: {error}; requests to {name} do not work")).ok()
}

fn event_name(pid: u32, name: &str) -> String {
    format!(r"Global\otelet-{pid}-{name}")
}

/// Windows calls this on a thread of its own.
unsafe extern "system" fn handler(event: u32) -> i32 {
    if !has_terminal() {
        // The agent sent it to the collector, while it was attached to the collector's console.
        return 1;
    }
    arrived(Signal::Stop);
    if matches!(event, CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT) {
        // Windows ends the process as soon as this returns, or after some seconds.
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
    1
}

/// Notes a signal and wakes the agent.
pub(super) fn arrived(signal: Signal) {
    let at = (0..).zip(NAMES).find(|(_, (known, _))| *known == signal);
    if let Some((number, _)) = at {
        note(number);
    }
}

/// Sets a flag when this process is asked to stop: for programs without [`block_on`](crate::os::block_on).
///
/// # Errors
///
/// If Windows refuses a handler.
pub fn flag_stop(flag: &Arc<AtomicBool>) -> io::Result<()> {
    static FLAGS: Mutex<Vec<Arc<AtomicBool>>> = Mutex::new(Vec::new());
    unsafe extern "system" fn handler(_: u32) -> i32 {
        FLAGS.lock().iter().flat_map(|flags| flags.iter()).for_each(|flag| flag.store(true, Ordering::SeqCst));
        1
    }
    FLAGS.lock().expect("no panic while it is held").push(Arc::clone(flag));
    // SAFETY: the handler is a function of this program.
    done(unsafe { SetConsoleCtrlHandler(Some(handler), 1) })
}

/// The next signal. Only one task may wait.
pub async fn signal() -> Signal {
    let noted = async { NAMES[noted().await as usize].0 };
    // The events outlive the wait: they are never removed from the list.
    let events: Vec<(Signal, std::os::windows::io::BorrowedHandle<'static>)> = EVENTS.with_borrow(|asked| {
        // SAFETY: as above; the list ends with the thread, and so does the wait.
        let borrow =
            |handle: &OwnedHandle| unsafe { std::os::windows::io::BorrowedHandle::borrow_raw(handle.as_raw_handle()) };
        asked.iter().map(|(signal, handle)| (*signal, borrow(handle))).collect()
    });
    let asked = async |signal: Signal| match events.iter().find(|(known, _)| *known == signal) {
        Some((_, event)) => {
            ready(event).await;
            signal
        }
        None => std::future::pending().await,
    };
    noted.or(asked(Signal::Stop)).or(asked(Signal::Reload)).or(asked(Signal::Poke)).await
}

/// Makes a running agent look for a request and write its status.
///
/// # Errors
///
/// If the process is gone or belongs to another user.
pub fn poke(pid: u32) -> io::Result<()> {
    send(pid, Signal::Poke)
}

/// Sends a running agent a signal, as `kill` does on Unix.
///
/// # Errors
///
/// If the process is gone or belongs to another user.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let name = NAMES.iter().find(|(known, _)| *known == signal).ok_or(io::ErrorKind::Unsupported)?.1;
    let name = wide(event_name(pid, name));
    // SAFETY: the name ends with NUL.
    let event = owned(unsafe { OpenEventW(EVENT_MODIFY_STATE, 0, name.as_ptr()) })?;
    // SAFETY: the handle is open.
    done(unsafe { SetEvent(event.as_raw_handle()) })
}
