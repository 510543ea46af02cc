//! Messages to the service manager that started the agent, as in sd_notify(3): one datagram a message, to the socket of
//! `NOTIFY_SOCKET`. Sending never waits: a manager that does not read its messages must not stall supervision.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Sends a message to the service manager, if `NOTIFY_SOCKET` is set: `READY=1`, `STATUS=…`. A message that cannot be
/// sent at once is lost.
pub fn tell_manager(message: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    let told = address(&name).and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(error) = told {
        log::debug!("the service manager does not accept {message}: {error}");
    }
}

/// The address of a socket. A leading `@` stands for the NUL of an abstract name.
fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// The time on the monotonic clock, in microseconds. A message with `RELOADING=1` must contain it.
pub fn monotonic_microseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// The time without a watchdog message after which the service manager restarts the agent. None if it has no watchdog.
pub fn watchdog_limit() -> Option<Duration> {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    // The pid is another one if the service manager started a wrapper, and the agent inherited its variables.
    if variable("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    std::env::var_os("NOTIFY_SOCKET")?;
    variable("WATCHDOG_USEC").filter(|limit| *limit > 0).map(Duration::from_micros)
}
