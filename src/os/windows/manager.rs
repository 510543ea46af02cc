//! Messages to the service manager that started the agent: those of sd_notify(3), translated to Windows' own states.

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

/// The longest time between two messages during the start.
const START_HINT: Duration = Duration::from_secs(30);

/// The status that the service manager knows. None if it did not start the agent.
static REPORTED: Mutex<Option<ReportedStatus>> = Mutex::new(None);

/// Whether a stop was noted: a system that shuts down sends two controls.
static STOP_NOTED: AtomicBool = AtomicBool::new(false);

struct ReportedStatus {
    /// A SERVICE_STATUS_HANDLE, which need not be closed.
    handle: usize,
    state: u32,
    checkpoint: u32,
    hint: Duration,
}

/// Registers the handler for controls and reports the start. Call it on the thread that the service manager has
/// started.
///
/// # Errors
///
/// The error of Windows.
pub(super) fn register_handler(name: &str) -> std::io::Result<()> {
    let name = wide(name);
    // SAFETY: the name ends with NUL, and the handler is a function of this program.
    let handle = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(handler), std::ptr::null()) };
    done(i32::from(!handle.is_null()))?;
    if let Ok(mut status) = REPORTED.lock() {
        *status = Some(ReportedStatus {
            handle: handle as usize,
            state: SERVICE_START_PENDING,
            checkpoint: 1,
            hint: START_HINT,
        });
    }
    tell(|_| {});
    Ok(())
}

/// Reports the end of the agent with its exit status. Windows may then end the process at once.
pub(super) fn report_end(status: u8) {
    tell_with(status, |known| {
        (known.state, known.checkpoint, known.hint) = (SERVICE_STOPPED, 0, Duration::ZERO);
    });
}

/// Sends a message to the service manager, if there is one: `READY=1`, `STOPPING=1` with the time that it may take. Any
/// other message during a start or a stop counts as progress.
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
        // During a start or a stop, a higher checkpoint means progress.
        known.checkpoint = if known.state == SERVICE_RUNNING { 0 } else { known.checkpoint + 1 };
    });
}

fn tell(change: impl FnOnce(&mut ReportedStatus)) {
    tell_with(0, change);
}

fn tell_with(exit: u8, change: impl FnOnce(&mut ReportedStatus)) {
    let Ok(mut known) = REPORTED.lock() else { return };
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
    // SAFETY: the handle is the service's, and the structure lives until the call returns.
    let told = done(unsafe { SetServiceStatus(known.handle as SERVICE_STATUS_HANDLE, &status) });
    if let Err(error) = told {
        log::debug!("the service manager does not accept state {}: {error}", known.state);
    }
}

/// Windows calls this on the thread of the dispatcher. It only notes signals.
unsafe extern "system" fn handler(control: u32, _: u32, _: *mut core::ffi::c_void, _: *mut core::ffi::c_void) -> u32 {
    match control {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_PRESHUTDOWN | SERVICE_CONTROL_SHUTDOWN => {
            if !STOP_NOTED.swap(true, Ordering::SeqCst) {
                arrived(Signal::Stop);
            }
        }
        SERVICE_CONTROL_PARAMCHANGE => arrived(Signal::Reload),
        SERVICE_CONTROL_INTERROGATE => {}
        _ => return ERROR_CALL_NOT_IMPLEMENTED,
    }
    NO_ERROR
}

/// Always 0: only systemd needs this time.
pub fn monotonic_microseconds() -> u64 {
    0
}

/// Always none: Windows' service manager has no watchdog.
pub fn watchdog_limit() -> Option<Duration> {
    None
}
