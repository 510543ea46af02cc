//! Values that need no file: one system call each, or none.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::observe::host::reading::Space;

/// The number of ticks in a second, for times in `/proc`.
pub(super) fn ticks_a_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// The size of a page of memory, in bytes.
pub(super) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// The host's uptime, and its load over 1, 5 and 15 minutes. Source: sysinfo(2), whose loads are in units of 1/65536.
pub(super) fn uptime_and_load() -> (Option<Duration>, Option<[f64; 3]>) {
    let info = rustix::system::sysinfo();
    let uptime = u64::try_from(info.uptime).ok().map(Duration::from_secs);
    (uptime, Some(info.loads.map(|load| load as f64 / 65536.0)))
}

/// The space of the file system on which this path lies. The call may hang if that is not on a disk of this host.
///
/// # Errors
///
/// The kernel's error for this path.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space {
        used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        free: bytes(stat.f_bavail),
        reserved: bytes(stat.f_bfree.saturating_sub(stat.f_bavail)),
        inodes: Some([stat.f_files.saturating_sub(stat.f_ffree), stat.f_ffree]),
    })
}

/// The number of descriptors that a process has open: since kernel 6.2, the size of its directory `fd`. None if the process is
/// gone, or if it belongs to another user on an older kernel.
pub(super) fn open_descriptors(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/fd");
    let size = u64::try_from(rustix::fs::stat(&*path).ok()?.st_size).ok()?;
    if size > 0 { Some(size) } else { Some(fs::read_dir(path).ok()?.count() as u64) }
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_descriptors_is_that_of_the_directory() {
        // Other tests open and close descriptors at the same time.
        let counted = || fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
        let agrees = std::iter::repeat_with(|| (open_descriptors(std::process::id()), counted()))
            .take(10_000)
            .any(|(size, counted)| size == Some(counted));
        assert!(agrees);
    }

    #[test]
    fn space_adds_up() {
        let space = space(Path::new("/")).unwrap();
        assert!(space.used > 0 && space.used + space.free + space.reserved > space.free);
        assert!(super::space(Path::new("/nowhere")).is_err());
    }
}
