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

/// Asks a child and everything that it started to end: its process group, and the groups of those that left it and
/// carry `mark`, an entry of the environment. A script that starts the collector may end at once, and its child would
/// never hear of the end.
pub fn terminate(pid: u32, mark: &str) {
    family(pid, mark).into_iter().for_each(terminate_group);
}

/// Asks everything in a process group to end.
pub fn terminate_group(pid: u32) {
    let Ok(pid) = pid_of(pid) else { return };
    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
    // A stopped process gets the signal only after it continues.
    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::CONT);
}

/// Ends what [`terminate`] asks to end, now.
pub fn kill(pid: u32, mark: &str) {
    family(pid, mark).into_iter().for_each(kill_group);
}

/// Ends the process and everything in its process group now.
pub fn kill_group(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Ends the processes that a child left behind in its process group.
pub fn sweep_group(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// Whether anything that a child has started still runs, once the child itself has ended.
pub fn has_family(pid: u32, mark: &str) -> bool {
    family(pid, mark).into_iter().any(|group| group_members(group).next().is_some())
}

/// Completes when nothing that a child has started runs any more.
pub async fn family_gone(pid: u32, mark: &str) {
    while let Some(member) = family(pid, mark).into_iter().find_map(|group| group_members(group).next()) {
        gone(member).await;
    }
}

/// Completes when nothing in a process group runs any more.
pub async fn group_gone(group: u32) {
    while let Some(member) = group_members(group).next() {
        gone(member).await;
    }
}

/// The process group of a child, and those of the processes that left it.
fn family(pid: u32, mark: &str) -> Vec<u32> {
    let mut groups = find_marked(mark);
    groups.retain(|group| *group != pid);
    groups.insert(0, pid);
    groups
}

/// The processes in a group that have not ended. A zombie has, even if nobody ever reaps it, as in a container whose
/// first process does not.
fn group_members(group: u32) -> impl Iterator<Item = u32> {
    let exists = pid_of(group).is_ok_and(|group| rustix::process::test_kill_process_group(group).is_ok());
    let found = if exists { processes() } else { Vec::new() };
    found.into_iter().filter(move |process| process.group == group).map(|process| process.pid)
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
    descends(pid, std::process::id())
}

/// Whether this is the other process, or one that it or its children have started.
pub fn descends(pid: u32, own: u32) -> bool {
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

/// A process that has not ended.
struct Process {
    pid: u32,
    group: u32,
}

/// All processes. Source: the third and the fifth field of `/proc/PID/stat` (proc(5)).
fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let read = |pid| {
        let (state, fields) = process_stat(pid)?;
        let group = fields.split_whitespace().nth(1)?.parse().ok()?;
        (!matches!(state, 'Z' | 'X')).then_some(Process { pid, group })
    };
    pids.filter_map(read).collect()
}

/// The process groups in which a process has this entry in its environment, but not the agent's own. Source:
/// `/proc/PID/environ`, which shows processes of the same user only, or all of them to root.
pub fn find_marked(mark: &str) -> Vec<u32> {
    let (own, all) = (std::process::id(), processes());
    // In a container it may be 0: that of a process outside.
    let own_group = all.iter().find(|process| process.pid == own).map(|process| process.group);
    let mut groups = Vec::new();
    for Process { pid, group } in all {
        if Some(group) == own_group || groups.contains(&group) {
            continue;
        }
        let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        if environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) {
            groups.push(group);
        }
    }
    groups
}

/// Completes when a process that is no child of the agent has ended.
async fn gone(pid: u32) {
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

/// The signal that ended a process.
pub fn ending_signal(status: std::process::ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal()
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
