//! Connects to the first of several addresses that accepts.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The stack of a thread that connects, in bytes.
const STACK: usize = 64 * 1024;

/// Connects to the addresses in their order, each `step` after the one before it or as soon as that one has failed, and
/// returns the first connection that is made. A slow address stays in the race (RFC 8305, section 5).
///
/// Only a host with several addresses needs threads. The threads that lose end when the time is up.
///
/// # Errors
///
/// The error of the last address that failed. `None` if the time is up.
pub fn connect_first(
    addresses: &[SocketAddr],
    step: Duration,
    until: Instant,
) -> Result<TcpStream, Option<(SocketAddr, io::Error)>> {
    let left = || until.saturating_duration_since(Instant::now());
    if let [address] = addresses {
        return match (left().is_zero(), TcpStream::connect_timeout(address, left().max(Duration::from_millis(1)))) {
            (false, Ok(stream)) => Ok(stream),
            (false, Err(error)) if !left().is_zero() => Err(Some((*address, error))),
            _ => Err(None),
        };
    }
    let (sender, results) = mpsc::channel();
    let mut racing = 0;
    let mut failed = None;
    let mut addresses = addresses.iter();
    loop {
        let next = addresses.next();
        if let Some(&address) = next {
            let sender = sender.clone();
            let connect = move || {
                let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                // Nobody listens any more when another address was faster.
                let _ = sender.send((address, TcpStream::connect_timeout(&address, left)));
            };
            match thread::Builder::new().stack_size(STACK).spawn(connect) {
                Ok(_) => racing += 1,
                Err(error) => failed = Some((address, error)),
            }
        } else if racing == 0 {
            return Err(failed);
        }
        let wait = if next.is_some() { step.min(left()) } else { left() };
        match results.recv_timeout(wait) {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((address, Err(error))) => {
                racing -= 1;
                failed = Some((address, error));
            }
            Err(_) if left().is_zero() => return Err(None),
            Err(_) => {}
        }
    }
}
