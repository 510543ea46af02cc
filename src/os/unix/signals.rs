//! Signals: a handler notes them, and a task takes them one by one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::is_pid_1;
use super::process::pid_of;
use crate::os::Signal;
use crate::os::wake::{note, noted};

const SIGNAL_TABLE: [(i32, Signal); 5] = [
    (signal_hook::consts::SIGTERM, Signal::Stop),
    (signal_hook::consts::SIGINT, Signal::Stop),
    (signal_hook::consts::SIGHUP, Signal::Reload),
    (signal_hook::consts::SIGUSR1, Signal::Poke),
    (signal_hook::consts::SIGCHLD, Signal::ChildEnded),
];

/// Handles the signals above. A signal that arrives before [`block_on`](crate::os::block_on) runs is not lost.
///
/// # Errors
///
/// If the kernel refuses a handler.
pub fn catch_signals() -> io::Result<()> {
    for (bit, (number, signal)) in (0..).zip(SIGNAL_TABLE) {
        if signal == Signal::ChildEnded && !is_pid_1() {
            continue;
        }
        // SAFETY: the handler changes an atomic and writes to an eventfd: both are async-signal-safe.
        unsafe {
            signal_hook::low_level::register(number, move || note(bit))?;
        }
    }
    Ok(())
}

/// Sets a flag when this process is asked to stop: for programs without [`block_on`](crate::os::block_on).
///
/// # Errors
///
/// If the kernel refuses a handler.
pub fn flag_stop(flag: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// The next signal. Only one task may wait.
pub async fn signal() -> Signal {
    SIGNAL_TABLE[noted().await as usize].1
}

/// Makes a running agent look for a request and write its status.
///
/// # Errors
///
/// If the process is gone or belongs to another user.
pub fn poke(pid: u32) -> io::Result<()> {
    // In a container the agent is PID 1, which `pid_of` refuses because it also serves `kill_group`.
    let agent = if pid == 1 { rustix::process::Pid::INIT } else { pid_of(pid)? };
    Ok(rustix::process::kill_process(agent, rustix::process::Signal::USR1)?)
}
