//! Processes: told apart, asked to end, ended and waited for. Each child that is looked after is in a job of its own.

use std::collections::BTreeMap;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr::null;
use std::sync::{Mutex, Once};

use windows_sys::Win32::Foundation::{FILETIME, WAIT_TIMEOUT};
use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_BREAK_EVENT, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetStdHandle,
    STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SET_QUOTA,
    PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

use super::console::has_terminal;
use super::handles::{done, owned};
use super::wait::ready;

/// What a process that was ended by force says with its exit code, so that it is not taken for one that ended well.
const KILLED: u32 = 137;

/// The jobs of the children that are looked after, by the pid of the first process in each.
static JOBS: Mutex<BTreeMap<u32, OwnedHandle>> = Mutex::new(BTreeMap::new());

/// Whether the agent is the first process, which it never is.
pub fn is_pid_1() -> bool {
    false
}

/// Windows has no zombies.
pub fn reap_strangers(_: &[u32]) {}

/// Puts the agent into a job that ends all of its processes when the last handle to it is closed, which is when the agent
/// has ended, however it did. What it starts is in the job from its first moment.
pub(super) fn die_together() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let joined = job(None).and_then(|job| {
            // SAFETY: both handles are open; the one of the own process is always valid.
            done(unsafe { AssignProcessToJobObject(job.as_raw_handle(), GetCurrentProcess()) })?;
            // Closing it would be the end.
            std::mem::forget(job);
            Ok(())
        });
        if let Err(error) = joined {
            log::warn!("no job object for the agent: {error}; a collector outlives an agent that is killed");
        }
    });
}

/// A job whose processes end with its last handle, and have no more memory than this together, in bytes.
pub(super) fn job(memory: Option<u64>) -> io::Result<OwnedHandle> {
    // SAFETY: neither attributes nor a name.
    let job = owned(unsafe { CreateJobObjectW(null(), null()) })?;
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    if let Some(bytes) = memory {
        limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_JOB_MEMORY;
        limits.JobMemoryLimit = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    // SAFETY: the structure is the one that the class names.
    done(unsafe {
        SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectExtendedLimitInformation,
            (&raw const limits).cast(),
            size_of_val(&limits) as u32,
        )
    })?;
    Ok(job)
}

/// Puts a child that was started just now into its job.
pub(super) fn put_into(job: OwnedHandle, pid: u32) -> io::Result<()> {
    let process = open(pid, PROCESS_SET_QUOTA | PROCESS_TERMINATE)?;
    // SAFETY: both handles are open.
    done(unsafe { AssignProcessToJobObject(job.as_raw_handle(), process.as_raw_handle()) })?;
    jobs(|jobs| jobs.insert(pid, job));
    Ok(())
}

fn jobs<T>(job: impl FnOnce(&mut BTreeMap<u32, OwnedHandle>) -> T) -> T {
    job(&mut JOBS.lock().expect("no panic while it is held"))
}

/// Asks the process to end, in the way of the console: Go's programs take both events for an interrupt.
///
/// A child of an agent with a terminal is on it, in a process group of its own, and gets ^BREAK. Otherwise it has a
/// console of its own, which the agent enters for a moment to press ^C there.
pub fn terminate(pid: u32) {
    let asked = if has_terminal() {
        // SAFETY: numbers only.
        done(unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, pid) })
    } else {
        press_ctrl_c(pid)
    };
    if let Err(error) = asked {
        log::warn!("process {pid} cannot be asked to end: {error}; it is killed when its time is over");
    }
}

/// Presses ^C on the console of another process.
fn press_ctrl_c(pid: u32) -> io::Result<()> {
    const STANDARD: [u32; 3] = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE];
    // SAFETY: numbers and handles that stay open only. To enter a console is to be given its handles for one's own.
    unsafe {
        let own = STANDARD.map(|which| GetStdHandle(which));
        // What a parent without a console leaves under wine would be in the way.
        FreeConsole();
        let asked = done(AttachConsole(pid)).and_then(|()| {
            let asked = done(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0));
            FreeConsole();
            asked
        });
        for (which, handle) in STANDARD.into_iter().zip(own) {
            SetStdHandle(which, handle);
        }
        asked
    }
}

/// Ends the process and everything in its job now.
pub fn kill_group(pid: u32) {
    jobs(|jobs| {
        if let Some(job) = jobs.get(&pid) {
            // SAFETY: the handle is open.
            unsafe { TerminateJobObject(job.as_raw_handle(), KILLED) };
        }
    });
    if let Ok(process) = open(pid, PROCESS_TERMINATE) {
        // SAFETY: the handle is open.
        unsafe { TerminateProcess(process.as_raw_handle(), KILLED) };
    }
}

/// Ends what a collector that has ended left in its job.
pub fn sweep_group(pid: u32) {
    if let Some(job) = jobs(|jobs| jobs.remove(&pid)) {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(job.as_raw_handle(), KILLED) };
    }
}

/// When the process started, in units of 100 ns since 1601: with the pid, a name that is not used twice. None if there is
/// no such process, or only its remains.
pub fn process_start(pid: u32) -> Option<u64> {
    let process = open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE).ok()?;
    // SAFETY: the handle is open.
    let runs = unsafe { WaitForSingleObject(process.as_raw_handle(), 0) } == WAIT_TIMEOUT;
    runs.then(|| Some(times(&process)?[0])).flatten()
}

/// Start, time in the kernel and time outside of it, in units of 100 ns.
pub(super) fn times(process: &OwnedHandle) -> Option<[u64; 3]> {
    let [mut start, mut end, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open, the pointers are to values that live until the call returns.
    done(unsafe { GetProcessTimes(process.as_raw_handle(), &mut start, &mut end, &mut kernel, &mut user) }).ok()?;
    Some([start, kernel, user].map(ticks))
}

pub(super) fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// Nothing stops a process here so that it could not tell.
pub fn is_stopped(_: u32) -> bool {
    false
}

/// What an earlier agent left: nothing, since its job has ended it.
pub fn find_marked(_: &str) -> Vec<u32> {
    Vec::new()
}

/// Completes when a process that is not our child has ended.
pub async fn gone(pid: u32) {
    if let Ok(process) = open(pid, PROCESS_SYNCHRONIZE) {
        ready(&process).await;
    }
}

pub(super) fn open(pid: u32, access: u32) -> io::Result<OwnedHandle> {
    // SAFETY: numbers only.
    owned(unsafe { OpenProcess(access, 0, pid) })
}
