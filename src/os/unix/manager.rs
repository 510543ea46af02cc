//! The service manager that started the agent, told as sd_notify(3) says: one datagram a message, to the socket that
//! `NOTIFY_SOCKET` names. It is never waited for: one that does not read its messages must not stall supervision.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells the service manager something, if there is one that wants to hear: `READY=1`, `STATUS=…`. A message that it
/// does not take is lost.
pub fn tell_manager(message: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    let told = address(&name).and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(error) = told {
        log::debug!("the service manager does not take {message}: {error}");
    }
}

/// A leading `@` stands for the NUL of an abstract name.
fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// What a message about a reload has to carry beside `RELOADING=1`: the time on the monotonic clock, in microseconds.
pub fn monotonic_microseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// How long the service manager waits for a sign of life before it restarts the agent. None if it does not.
pub fn watchdog_limit() -> Option<Duration> {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    // Set for another process when a wrapper was started in place of the agent and kept its variables.
    if variable("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    std::env::var_os("NOTIFY_SOCKET")?;
    variable("WATCHDOG_USEC").filter(|limit| *limit > 0).map(Duration::from_micros)
}
