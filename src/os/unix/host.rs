//! The identity of this host, and whether its clock is right.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

/// An identifier that this host keeps: the machine id, or the serial number of the device. Empty if there is none. `root`
/// is where the host's root is mounted: a container's own machine id is none, or that of its image.
pub fn host_fingerprint(root: &Path) -> String {
    ["etc/machine-id", "var/lib/dbus/machine-id", "proc/device-tree/serial-number"]
        .iter()
        .find_map(|path| {
            fs::read_to_string(root.join(path))
                .ok()
                .map(|id| id.trim_matches(['\0', '\n', ' ']).to_owned())
                // systemd writes the second into an image that has not run yet.
                .filter(|id| !id.is_empty() && id != "uninitialized")
        })
        .unwrap_or_default()
}

/// The version of the host's kernel, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The time, if the kernel says that its clock is synchronised: by NTP, by PTP, or by a person with `adjtimex`. Source:
/// adjtimex(2), which returns `TIME_ERROR` while the clock is not synchronised.
pub fn right_time() -> Option<SystemTime> {
    const TIME_ERROR: libc::c_long = 5;
    // The kernel's `struct timex` has 208 bytes at the most; zero in its first field, `modes`, means: only read.
    let mut timex = [0_u64; 64];
    // SAFETY: the kernel writes only its structure to the pointer, and the array is larger and aligned.
    let state = unsafe { libc::syscall(libc::SYS_adjtimex, timex.as_mut_ptr()) };
    (0..TIME_ERROR).contains(&state).then(SystemTime::now)
}

/// The addresses that `/etc/hosts` gives to `localhost`, in order. Empty if it has none, as in a minimal container.
pub fn localhost() -> Vec<IpAddr> {
    localhost_in(&fs::read_to_string("/etc/hosts").unwrap_or_default())
}

fn localhost_in(hosts: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case("localhost")).then_some(address)
    };
    hosts.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_right_if_adjtimex_says_so() {
        // `adjtimex --print` and `timedatectl` read the same; here libc's own structure does.
        // SAFETY: zeros are valid in all fields of the structure, which the kernel fills.
        let state = unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            libc::adjtimex(&mut timex)
        };
        assert_eq!(right_time().is_some(), (0..5).contains(&state), "{state}");
    }

    #[test]
    fn localhost_has_the_addresses_of_the_hosts_file() {
        let found = |hosts: &str| localhost_in(hosts).iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(found("127.0.0.1\tlocalhost\n::1 ip6-localhost localhost # both\n"), "127.0.0.1 ::1");
        assert_eq!(found("127.0.0.1 pump.plant.test LocalHost\r\n"), "127.0.0.1");
        assert_eq!(found("# 127.0.0.1 localhost\n127.0.0.1 localhost.localdomain\n172.17.0.2 4f1c\n"), "");
        assert_eq!(found("localhost 127.0.0.1\n\n"), "");
    }
}
