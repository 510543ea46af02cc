//! The addresses of a name, by the resolver of the system. It has no time limit of its own.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Instant;

use crate::os::{Family, in_turns};

/// Looks up the addresses of a name, the best one first. Blocks, longer than the deadline if the system does.
///
/// # Errors
///
/// The reason in words.
pub fn look_up(host: &str, port: u16, family: Family, _: Instant) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    in_turns(family, found.collect())
}
