//! Connects to the first of several addresses that accepts.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Connects to the addresses in their order, each `step` after the one before it or as soon as that one has failed, and
/// returns the first connection that is made. A slow address stays in the race (RFC 8305, section 5).
///
/// # Errors
///
/// The error of the last address that failed. `None` if the time is up.
pub fn connect_first(
    addresses: &[SocketAddr],
    step: Duration,
    until: Instant,
) -> Result<TcpStream, Option<(SocketAddr, io::Error)>> {
    let mut addresses = addresses.iter();
    let mut racing: Vec<(SocketAddr, TcpStream)> = Vec::new();
    let mut failed = None;
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if now >= until {
            return Err(None);
        }
        if now >= next || racing.is_empty() {
            match addresses.next() {
                Some(address) => {
                    match begin(*address) {
                        Ok(stream) => racing.push((*address, stream)),
                        Err(error) => failed = Some((*address, error)),
                    }
                    next = now + step;
                    continue;
                }
                None if racing.is_empty() => return Err(failed),
                None => next = until,
            }
        }
        wait(&racing, next.min(until));
        let mut at = 0;
        while let Some((address, stream)) = racing.get(at) {
            match state(stream) {
                Ok(false) => at += 1,
                Ok(true) => {
                    let (address, stream) = racing.swap_remove(at);
                    stream.set_nonblocking(false).map_err(|error| Some((address, error)))?;
                    return Ok(stream);
                }
                Err(error) => {
                    failed = Some((*address, error));
                    racing.remove(at);
                    next = Instant::now();
                }
            }
        }
    }
}

/// Begins to connect.
fn begin(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Waits until one of the connections is made or has failed.
fn wait(racing: &[(SocketAddr, TcpStream)], until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    let mut sockets: Vec<PollFd> = racing.iter().map(|(_, stream)| PollFd::new(stream, PollFlags::OUT)).collect();
    // Interrupted or not: the sockets tell.
    let _ = poll(&mut sockets, Some(&left));
}

/// Whether the connection is made.
fn state(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
