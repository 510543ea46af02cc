//! The operating systems: the same function names for each one. The rest of the agent does not know which one it runs
//! on.

mod service;
#[cfg(unix)]
#[expect(unsafe_code, reason = "calls that no crate wraps")]
mod unix;
mod wait;
mod wake;
#[cfg(windows)]
#[expect(unsafe_code, reason = "windows-sys declares functions and wraps none")]
mod windows;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use service::{
    ServiceAccess, ServiceConfig, ServiceDefinition, ServiceEnd, ServiceError, ServiceErrorKind, ServiceProperty,
    ServiceState, ServiceStatus,
};
pub use system::*;
pub use wait::{block_on, until};

/// A request of a person or a service manager, sent as a signal. Windows has other means for the same requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop in order; a second one stops at once. SIGTERM, SIGINT.
    Stop,
    /// Read the settings again and ask the source. SIGHUP.
    Reload,
    /// Look for a request, write the status. SIGUSR1.
    Poke,
    /// A child has ended, perhaps one that the agent did not start. SIGCHLD, as PID 1 only.
    ChildEnded,
}

/// The environment of the agent, or the one that it reports to KloudMate's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a host, as a service.
    Host,
    /// In a container, which may monitor its Docker host.
    Docker,
    /// In a pod on each node of a Kubernetes cluster.
    DaemonSet,
    /// In one pod for a whole Kubernetes cluster.
    Deployment,
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Docker => "docker",
            Self::DaemonSet => "daemonset",
            Self::Deployment => "deployment",
        })
    }
}

/// Which addresses of a name are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    Any,
}

impl Family {
    /// The family of this address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn takes(self, address: IpAddr) -> bool {
        self == Self::Any || self == Self::of(address)
    }

    /// The message about a name that has no such address.
    fn none(self) -> String {
        match self {
            Self::V4 => "no address of IPv4",
            Self::V6 => "no address of IPv6",
            Self::Any => "no address",
        }
        .to_owned()
    }
}

/// What is to be done with a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Read,
    /// Of a directory: files are made and removed in it.
    Write,
    Run,
}

/// The room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The bytes that can be written.
    pub free: u64,
    /// The inodes that are free, and all of them. `None` on a system without them.
    pub inodes: Option<(u64, u64)>,
    pub is_read_only: bool,
}

/// Keeps the addresses of this family, in turns of IPv6 and IPv4 where there are both (RFC 8305, section 4): a host with
/// many dead addresses of one of them comes to the other one soon.
fn in_turns(family: Family, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let addresses = addresses.into_iter().filter(|address| family.takes(address.ip()));
    let addresses: Vec<SocketAddr> = addresses.collect();
    let first = addresses.first().ok_or_else(|| family.none())?.is_ipv4();
    let of = |ipv4: bool| addresses.iter().filter(move |address| address.is_ipv4() == ipv4);
    let (mut preferred, mut others) = (of(first), of(!first));
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(preferred.next().into_iter().chain(others.next()));
    }
    Ok(turns)
}

/// How the collector's process differs from the agent's.
#[derive(Debug, Default)]
pub struct Launch {
    /// User and groups to run as.
    pub user: Option<User>,
    /// Added to the niceness, -20 to 19.
    pub nice: Option<i32>,
    /// -1000 to 1000; the higher, the sooner the kernel ends it when memory is short.
    pub oom_score_adj: Option<i32>,
    /// The cgroup or job that limits its memory.
    pub group: Option<MemoryGroup>,
}

/// A user by number, with the primary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_turns_of_both_families() {
        let turns = |family, addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 1)).collect();
            let turns = in_turns(family, addresses)?;
            Ok::<_, String>(turns.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>())
        };
        let all = ["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"];
        assert_eq!(turns(Family::Any, &all).unwrap(), ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]);
        assert_eq!(turns(Family::V4, &all).unwrap(), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(turns(Family::Any, &["10.0.0.1", "10.0.0.2"]).unwrap(), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(turns(Family::V6, &["10.0.0.1"]).unwrap_err(), "no address of IPv6");
    }

    #[test]
    fn a_process_has_a_start_time_and_a_missing_one_has_none() {
        let own = process_start(std::process::id());
        assert!(own.is_some());
        assert_eq!(own, process_start(std::process::id()));
        assert_eq!(process_start(u32::MAX), None);
    }
}
