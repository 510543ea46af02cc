//! The addresses of a name, by the resolver of the system. It has no time limit of its own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
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

/// Where the name servers are set, as a message names it.
pub const NAME_SERVERS: &str = "ipconfig /all shows them";

/// What one place has told about a name.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub who: String,
    pub words: String,
    pub found: Vec<IpAddr>,
    pub is_mute: bool,
}

/// Asks the system, which does not tell what each server has said.
pub fn ask_each(host: &str, _: &mut Vec<IpAddr>, until: Instant) -> Vec<Told> {
    if host.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let (words, found) = match look_up(host, 0, Family::Any, until) {
        Ok(found) => {
            let found: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
            (found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "), found)
        }
        Err(why) => (why, Vec::new()),
    };
    vec![Told { who: "this system".into(), words, found, is_mute: false }]
}
