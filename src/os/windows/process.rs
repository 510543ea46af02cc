//! Processes: identified, asked to end, ended and waited for. Each supervised child is in a job of its own.

use std::collections::BTreeMap;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{FILETIME, WAIT_TIMEOUT};
use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_BREAK_EVENT, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetStdHandle,
    STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectBasicAccountingInformation,
    JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SET_QUOTA,
    PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

use super::console::has_terminal;
use super::handles::{done, owned};
use super::wait::ready;
use crate::os::until;

/// The exit code of a process that the agent has killed, so that it is not taken for success.
const KILLED: u32 = 137;

/// A limit on memory for the job of a child, in bytes.
pub type MemoryGroup = u64;

/// The jobs of the supervised children, by the pid of the child.
static JOBS: Mutex<BTreeMap<u32, OwnedHandle>> = Mutex::new(BTreeMap::new());

/// Always false: Windows has no PID 1.
pub fn is_pid_1() -> bool {
    false
}

/// Does nothing here: Windows has no zombies.
pub fn reap_strangers(_: &[u32]) {}

/// Puts the agent into a job that ends all of its processes when the last handle to the job is closed. That happens
/// when the agent ends for any reason. A child of the agent is in the job from its start.
pub(super) fn die_together() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let joined = job(None).and_then(|job| {
            // SAFETY: both handles are open; the one of the own process is always valid.
            done(unsafe { AssignProcessToJobObject(job.as_raw_handle(), GetCurrentProcess()) })?;
            // Closing the handle would end this process.
            std::mem::forget(job);
            Ok(())
        });
        if let Err(error) = joined {
            log::warn!("no job object for the agent: {error}; a collector outlives an agent that is killed");
        }
    });
}

/// A job whose processes end with its last handle. Together they have no more than `memory` bytes.
pub(super) fn job(memory: Option<u64>) -> io::Result<OwnedHandle> {
    // SAFETY: both pointers may be null: no attributes, no name.
    let job = owned(unsafe { CreateJobObjectW(null(), null()) })?;
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    if let Some(bytes) = memory {
        limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_JOB_MEMORY;
        limits.JobMemoryLimit = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    // SAFETY: the structure is the one of this information class.
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

/// A limit for the job of a child, in bytes.
///
/// # Errors
///
/// Never on Windows.
pub fn memory_group(limit: u64, _: &str) -> Result<MemoryGroup, String> {
    Ok(limit)
}

/// Puts a child that has just started into its job.
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

/// Asks a child and everything that it started on its console to end, by a console event: Go's programs treat both
/// events as an interrupt. A batch file ends by it too, and its children get the rest of their time in the job.
///
/// With a terminal, the child is on it in a process group of its own, and gets ^BREAK. Without one, the child has a
/// console of its own; the agent attaches to it for a moment and sends ^C.
pub fn terminate(pid: u32, _: &str) {
    let asked = if has_terminal() {
        // SAFETY: the arguments are numbers.
        done(unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, pid) })
    } else {
        send_ctrl_c(pid)
    };
    if let Err(error) = asked {
        log::warn!("process {pid} cannot be asked to end: {error}; it is killed when its time is over");
    }
}

/// Sends ^C to the console of another process.
fn send_ctrl_c(pid: u32) -> io::Result<()> {
    const STANDARD: [u32; 3] = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE];
    // SAFETY: the arguments are numbers, and handles that stay open.
    // To attach to a console replaces the standard handles, so they are restored.
    unsafe {
        let own = STANDARD.map(|which| GetStdHandle(which));
        // Under wine, a parent without a console leaves one behind, and the attach would fail.
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

/// The same: there are no process groups here.
pub fn terminate_group(pid: u32) {
    terminate(pid, "");
}

/// Ends what [`terminate`] asks to end, now.
pub fn kill(pid: u32, _: &str) {
    kill_group(pid);
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

/// Whether anything that a child has started still runs in its job, once the child itself has ended.
pub fn has_family(pid: u32, _: &str) -> bool {
    let mut counts = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
    jobs(|jobs| {
        let Some(job) = jobs.get(&pid) else { return false };
        // SAFETY: the handle is open, and the structure is the one of this information class.
        let asked = done(unsafe {
            QueryInformationJobObject(
                job.as_raw_handle(),
                JobObjectBasicAccountingInformation,
                (&raw mut counts).cast(),
                size_of_val(&counts) as u32,
                null_mut(),
            )
        });
        asked.is_ok() && counts.ActiveProcesses > 0
    })
}

/// Completes when nothing that a child has started runs any more.
pub async fn family_gone(pid: u32, mark: &str) {
    while has_family(pid, mark) {
        until(Instant::now() + Duration::from_millis(100)).await;
    }
}

/// Ends the processes that a collector left behind in its job.
pub fn sweep_group(pid: u32) {
    if let Some(job) = jobs(|jobs| jobs.remove(&pid)) {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(job.as_raw_handle(), KILLED) };
    }
}

/// The start of the process, in units of 100 ns since 1601. Together with the pid it identifies a process. None if
/// there is no such process, or if it has ended.
pub fn process_start(pid: u32) -> Option<u64> {
    let process = open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE).ok()?;
    // SAFETY: the handle is open.
    let runs = unsafe { WaitForSingleObject(process.as_raw_handle(), 0) } == WAIT_TIMEOUT;
    runs.then(|| Some(times(&process)?[0])).flatten()
}

/// The start, the time in the kernel and the time in user mode, in units of 100 ns.
pub(super) fn times(process: &OwnedHandle) -> Option<[u64; 3]> {
    let [mut start, mut end, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open, the pointers are to values that live until the call returns.
    done(unsafe { GetProcessTimes(process.as_raw_handle(), &mut start, &mut end, &mut kernel, &mut user) }).ok()?;
    Some([start, kernel, user].map(ticks))
}

pub(super) fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// Always false: Windows has no signal that stops a process.
pub fn is_stopped(_: u32) -> bool {
    false
}

/// Always empty: the job of an earlier agent has ended its collector.
pub fn find_marked(_: &str) -> Vec<u32> {
    Vec::new()
}

/// Completes when a process that is no child of the agent has ended.
pub async fn group_gone(pid: u32) {
    if let Ok(process) = open(pid, PROCESS_SYNCHRONIZE) {
        ready(&process).await;
    }
}

pub(super) fn open(pid: u32, access: u32) -> io::Result<OwnedHandle> {
    // SAFETY: the arguments are numbers.
    owned(unsafe { OpenProcess(access, 0, pid) })
}

/// The signal that ended a process: Windows has none.
pub fn ending_signal(_status: std::process::ExitStatus) -> Option<i32> {
    None
}
