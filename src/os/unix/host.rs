//! What tells this host from others, and whether its clock is right.

use std::fs;
use std::time::SystemTime;

/// What tells this host from others, for as long as it lives: the machine id, or what there is instead. Empty if nothing.
pub fn host_fingerprint() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/device-tree/serial-number"]
        .iter()
        .find_map(|path| {
            fs::read_to_string(path)
                .ok()
                .map(|id| id.trim_matches(['\0', '\n', ' ']).to_owned())
                .filter(|id| !id.is_empty())
        })
        .unwrap_or_default()
}

/// The version of the host's kernel, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The time, where the kernel says that something keeps its clock right: NTP, PTP, a person with `adjtimex`. Source:
/// adjtimex(2), which returns `TIME_ERROR` while the clock is not synchronised.
pub fn right_time() -> Option<SystemTime> {
    const TIME_ERROR: libc::c_long = 5;
    // The kernel's `struct timex` has 208 bytes at the most; zero in its first field, `modes`, means: only tell.
    let mut timex = [0_u64; 64];
    // SAFETY: the kernel writes its structure and no more to the pointer, which is to a larger and aligned array.
    let state = unsafe { libc::syscall(libc::SYS_adjtimex, timex.as_mut_ptr()) };
    (0..TIME_ERROR).contains(&state).then(SystemTime::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_adjtimex_says() {
        // `adjtimex --print` and `timedatectl` read the same; here libc's own structure does.
        // SAFETY: zeros are valid in all fields of the structure, which the kernel fills.
        let state = unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            libc::adjtimex(&mut timex)
        };
        assert_eq!(right_time().is_some(), (0..5).contains(&state), "{state}");
    }
}
