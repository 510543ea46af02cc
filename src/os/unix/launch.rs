//! The preparation of a child: a process group of its own, its end with the agent, a user, limits.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::os::{Launch, User};

/// The work on a child right after its start. On Unix there is none: all of it is done before exec.
#[derive(Debug)]
pub struct Adoption;

impl Adoption {
    pub fn adopt(self, _: u32) {}
}

/// Prepares the command's child: it leads its own process group, ends with the agent, and gets the properties of
/// `launch`.
///
/// The kernel sends the signal when the *thread* that started the child ends: call `spawn` on the main thread only.
pub fn prepare(command: &mut Command, launch: Launch) -> Adoption {
    let agent = rustix::process::getpid();
    let oom_score_adj = launch.oom_score_adj.map(|score| score.to_string());
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, on values prepared before: nothing allocates or locks.
    unsafe {
        command.pre_exec(move || {
            if let Some(cgroup) = &launch.group {
                // "0" is the process that writes it.
                rustix::io::write(cgroup, b"0")?;
            }
            if let Some(score) = &oom_score_adj {
                use rustix::fs::{Mode, OFlags};
                let file =
                    rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, score.as_bytes())?;
            }
            if let Some(nice) = launch.nice {
                rustix::process::setpriority_process(None, nice)?;
            }
            if let Some(user) = launch.user {
                use rustix::process::{Gid, Uid};
                rustix::thread::set_thread_groups(&[])?;
                rustix::thread::set_thread_gid(Gid::from_raw(user.gid))?;
                rustix::thread::set_thread_uid(Uid::from_raw(user.uid))?;
            }
            // Last, since a change of user clears it. SIGTERM lets the collector send its pending telemetry.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
            if rustix::process::getppid() != Some(agent) {
                return Err(rustix::io::Errno::CHILD.into());
            }
            Ok(())
        });
    }
    Adoption
}

/// Keeps the descriptors that the agent has inherited from its own children: a lock or a pipe of its parent would be held
/// by the collector for as long as it runs.
pub fn keep_descriptors() {
    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
    let listed = |directory: &str| -> Option<Vec<i32>> {
        let entries = fs::read_dir(directory).ok()?;
        Some(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    };
    // Without /proc, the first ones are looked at.
    let open = listed("/proc/self/fd").unwrap_or_else(|| (0..1024).collect());
    for number in open.into_iter().filter(|number| *number > 2) {
        // SAFETY: a descriptor that is not open is refused by the kernel, and this one is not kept.
        let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = fcntl_getfd(descriptor) {
            let _ = fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC);
        }
    }
}

/// A user from `name`, `name:group` or numbers, by `/etc/passwd` and `/etc/group`.
///
/// # Errors
///
/// A message, if there is no such user or group.
pub fn user(text: &str) -> Result<User, String> {
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 3 && (fields[0] == name || fields[2] == name));
    let uid = match &entry {
        Some(fields) => fields[2].parse().ok(),
        None => name.parse().ok(),
    };
    let uid = uid.ok_or_else(|| {
        format!("collector.run_as: there is no user {name:?} in /etc/passwd; give a number if it is known elsewhere")
    })?;
    let gid = match (group, &entry) {
        (Some(group), _) => {
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            let known = groups
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>())
                .find(|fields| fields.len() > 2 && fields[0] == group);
            known
                .and_then(|fields| fields[2].parse().ok())
                .or_else(|| group.parse().ok())
                .ok_or_else(|| format!("collector.run_as: there is no group {group:?} in /etc/group"))?
        }
        (None, Some(fields)) => {
            fields[3].parse().map_err(|_| format!("collector.run_as: /etc/passwd has no group for {name:?}"))?
        }
        (None, None) => uid,
    };
    Ok(User { uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_number() {
        assert_eq!(user("root"), Ok(User { uid: 0, gid: 0 }));
        assert_eq!(user("0"), Ok(User { uid: 0, gid: 0 }));
        assert_eq!(user("4242:17"), Ok(User { uid: 4242, gid: 17 }));
        assert_eq!(user("4242"), Ok(User { uid: 4242, gid: 4242 }));
        let error = user("nobody-here").expect_err("there is no such user");
        assert!(error.starts_with("collector.run_as: there is no user \"nobody-here\""), "{error}");
    }
}
