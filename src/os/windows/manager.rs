//! The service manager that started the agent: told what sd_notify(3) tells systemd, in its own terms.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC_ERROR, NO_ERROR};
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_PARAMCHANGE, SERVICE_ACCEPT_PRESHUTDOWN, SERVICE_ACCEPT_SHUTDOWN,
    SERVICE_ACCEPT_STOP, SERVICE_CONTROL_INTERROGATE, SERVICE_CONTROL_PARAMCHANGE, SERVICE_CONTROL_PRESHUTDOWN,
    SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP, SERVICE_RUNNING, SERVICE_START_PENDING, SERVICE_STATUS,
    SERVICE_STATUS_HANDLE, SERVICE_STOP_PENDING, SERVICE_STOPPED, SERVICE_WIN32_OWN_PROCESS, SetServiceStatus,
};

use super::handles::{done, wide};
use super::signals::arrived;
use crate::os::Signal;

/// How long the start may take between two signs of life.
const START_HINT: Duration = Duration::from_secs(30);

/// What the service manager knows. None where it did not start the agent.
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// A system that goes down says so twice.
static STOP_SAID: AtomicBool = AtomicBool::new(false);

struct Known {
    /// A SERVICE_STATUS_HANDLE, which need not be closed.
    handle: usize,
    state: u32,
    checkpoint: u32,
    hint: Duration,
}

/// Begins to tell the service manager, and to hear it. On the thread that it has started for the service.
///
/// # Errors
///
/// As Windows says.
pub(super) fn meet_manager(name: &str) -> std::io::Result<()> {
    let name = wide(name);
    // SAFETY: the name ends with NUL, and the handler is a function of this program.
    let handle = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(handler), std::ptr::null()) };
    done(i32::from(!handle.is_null()))?;
    if let Ok(mut known) = KNOWN.lock() {
        *known = Some(Known { handle: handle as usize, state: SERVICE_START_PENDING, checkpoint: 1, hint: START_HINT });
    }
    tell(|_| {});
    Ok(())
}

/// Tells the service manager that the agent has ended, and how. It may end the process at once.
pub(super) fn take_leave(status: u8) {
    tell_with(status, |known| {
        (known.state, known.checkpoint, known.hint) = (SERVICE_STOPPED, 0, Duration::ZERO);
    });
}

/// Tells the service manager something, if there is one: `READY=1`, `STOPPING=1` with the time that it may take. Whatever
/// else is said while a start or a stop is under way shows that it goes on.
pub fn tell_manager(message: &str) {
    tell(|known| {
        for line in message.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => (known.state, known.hint) = (SERVICE_RUNNING, Duration::ZERO),
                Some(("STOPPING", "1")) => known.state = SERVICE_STOP_PENDING,
                Some(("EXTEND_TIMEOUT_USEC", time)) => {
                    known.hint = time.parse().map_or(START_HINT, Duration::from_micros);
                }
                Some(_) | None => {}
            }
        }
        // Between two states that last, each message moves it.
        known.checkpoint = if known.state == SERVICE_RUNNING { 0 } else { known.checkpoint + 1 };
    });
}

fn tell(change: impl FnOnce(&mut Known)) {
    tell_with(0, change);
}

fn tell_with(exit: u8, change: impl FnOnce(&mut Known)) {
    let Ok(mut known) = KNOWN.lock() else { return };
    let Some(known) = &mut *known else { return };
    if known.state == SERVICE_STOPPED {
        return;
    }
    change(known);
    let accepted = match known.state {
        SERVICE_RUNNING => {
            SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN | SERVICE_ACCEPT_PRESHUTDOWN | SERVICE_ACCEPT_PARAMCHANGE
        }
        _ => 0,
    };
    let status = SERVICE_STATUS {
        dwServiceType: SERVICE_WIN32_OWN_PROCESS,
        dwCurrentState: known.state,
        dwControlsAccepted: accepted,
        dwWin32ExitCode: if exit == 0 { NO_ERROR } else { ERROR_SERVICE_SPECIFIC_ERROR },
        dwServiceSpecificExitCode: exit.into(),
        dwCheckPoint: known.checkpoint,
        dwWaitHint: u32::try_from(known.hint.as_millis()).unwrap_or(u32::MAX),
    };
    // SAFETY: the handle is the service's, the structure lives until the call returns.
    let told = done(unsafe { SetServiceStatus(known.handle as SERVICE_STATUS_HANDLE, &status) });
    if let Err(error) = told {
        log::debug!("the service manager does not take state {}: {error}", known.state);
    }
}

/// Called by Windows on the thread of the dispatcher. It only notes.
unsafe extern "system" fn handler(control: u32, _: u32, _: *mut core::ffi::c_void, _: *mut core::ffi::c_void) -> u32 {
    match control {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_PRESHUTDOWN | SERVICE_CONTROL_SHUTDOWN => {
            if !STOP_SAID.swap(true, Ordering::SeqCst) {
                arrived(Signal::Stop);
            }
        }
        SERVICE_CONTROL_PARAMCHANGE => arrived(Signal::Reload),
        SERVICE_CONTROL_INTERROGATE => {}
        _ => return ERROR_CALL_NOT_IMPLEMENTED,
    }
    NO_ERROR
}

/// What systemd wants to know of a reload. Nobody asks here.
pub fn monotonic_microseconds() -> u64 {
    0
}

/// How long the service manager waits for a sign of life: it does not.
pub fn watchdog_limit() -> Option<Duration> {
    None
}
