//! What tells this host from others.

use std::fs;

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
