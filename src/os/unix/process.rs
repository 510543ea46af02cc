//! Processes: found, identified, ended and waited for. `launch` starts children.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags};

use super::readable;
use crate::os::until;

/// Whether the agent is the first process, as in a container. Then it also reaps the children of others.
pub fn is_pid_1() -> bool {
    std::process::id() == 1
}

/// Reaps children that the agent did not start, which only PID 1 gets. The processes in `ours` are left to the tasks
/// that wait for them. One of them that has ended but is not reaped yet hides the next ones: call this again after it
/// is reaped.
pub fn reap_strangers(ours: &[u32]) {
    loop {
        // SAFETY: the kernel fills the structure that it is given; zeros are valid in all of its fields.
        let pid = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            match libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
                0 => info.si_pid(),
                _ => return,
            }
        };
        let Some(stranger) = u32::try_from(pid).ok().filter(|pid| *pid != 0 && !ours.contains(pid)) else { return };
        if let Ok(stranger) = pid_of(stranger) {
            let _ = rustix::process::waitpid(Some(stranger), rustix::process::WaitOptions::NOHANG);
        }
    }
}

/// Asks the process to end.
pub fn terminate(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        // A stopped process gets the signal only after it continues.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
    }
}

/// Ends the process and everything in its process group now.
pub fn kill_group(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Ends the processes that a collector left behind in its process group.
pub fn sweep_group(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// The start of the process, in clock ticks since boot. Together with the pid it identifies a process. Source: the 22nd
/// field of `/proc/PID/stat` (proc(5)). None if there is no such process, or if it is a zombie.
pub fn process_start(pid: u32) -> Option<u64> {
    let (state, fields) = process_stat(pid)?;
    if state == 'Z' { None } else { fields.split_whitespace().nth(18)?.parse().ok() }
}

/// Whether the process is stopped by a signal. Its own health check cannot report that.
pub fn is_stopped(pid: u32) -> bool {
    process_stat(pid).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
}

/// The state, and the fields after it. The name before them may contain any character, also spaces and brackets.
fn process_stat(pid: u32) -> Option<(char, String)> {
    // The file of the first thread has the same facts for both. Under an emulator (an image for another processor) a
    // process reads something else about itself in `/proc/PID/stat`. Then others could not tell that it wrote the
    // status.
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(") ")?.1;
    Some((rest.chars().next()?, rest.get(2..)?.to_owned()))
}

/// Whether this is the agent's process, or one that it or its children have started.
pub(super) fn is_descendant(pid: u32) -> bool {
    let own = std::process::id();
    let mut next = Some(pid);
    // Deeper than any program starts others; a number that was used again must not lead in circles.
    for _ in 0..64 {
        match next {
            Some(pid) if pid == own => return true,
            Some(pid) => {
                next = process_stat(pid).and_then(|(_, fields)| fields.split_whitespace().next()?.parse().ok());
            }
            None => return false,
        }
    }
    false
}

/// Leaders of process groups that have this marker in their environment and are not children of this process: an
/// earlier agent left them. Source: `/proc/PID/environ`, which shows processes of the same user only, or all of them to
/// root.
pub fn find_marked(marker: &str) -> Vec<u32> {
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        let marked = environ.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes());
        marked
            && process_stat(*pid).is_some_and(|(state, fields)| {
                let mut fields = fields.split_whitespace();
                let (parent, group) = (fields.next(), fields.next());
                state != 'Z' && parent != Some(&own) && group == Some(&pid.to_string())
            })
    })
    .collect()
}

/// Completes when a process that is no child of the agent has ended.
pub async fn gone(pid: u32) {
    let fd = pid_of(pid).ok().and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    match fd {
        Some(fd) => readable(&fd).await,
        // Kernels before 5.3.
        None => {
            while process_start(pid).is_some() {
                until(Instant::now() + Duration::from_millis(100)).await;
            }
        }
    }
}

pub(super) fn pid_of(pid: u32) -> io::Result<Pid> {
    // 0 and negative numbers would mean whole groups of processes.
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .filter(|pid| pid.as_raw_nonzero().get() > 1)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_a_descendant_and_a_parent_is_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(is_descendant(std::process::id()) && is_descendant(child.id()));
        assert!(!is_descendant(std::os::unix::process::parent_id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_descendant(u32::MAX));
    }

    #[test]
    fn a_number_that_would_mean_a_group_of_processes_is_refused() {
        for pid in [0, 1, u32::MAX, i32::MAX as u32 + 1] {
            assert!(pid_of(pid).is_err(), "{pid}");
        }
    }
}
