//! Where operating systems meet: the same function names in each file, and nothing else of the agent knows which one it is on.

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

/// What a person or a service manager asks for by a signal. Windows has other ways to say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End in order; a second one ends at once. SIGTERM, SIGINT.
    Stop,
    /// Read the settings again and ask the source. SIGHUP.
    Reload,
    /// Look for a request, write the status. SIGUSR1.
    Poke,
    /// A child has ended, perhaps not one of ours. SIGCHLD, as PID 1 only.
    ChildEnded,
}

/// Where the agent runs, or as what it asks KloudMate's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a host, as a service.
    Host,
    /// In a container, which may look after its Docker host.
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

/// How the collector's process differs from the agent's.
#[derive(Debug, Default)]
pub struct Launch {
    /// User and groups to run as.
    pub user: Option<User>,
    /// Added to the niceness, -20 to 19.
    pub nice: Option<i32>,
    /// -1000 to 1000; the higher, the sooner the kernel ends it when memory is short.
    pub oom_score_adj: Option<i32>,
    /// What holds its memory: a cgroup, a job.
    pub group: Option<MemoryGroup>,
}

/// A user by number, with the primary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_found_and_a_missing_one_is_none() {
        let own = process_start(std::process::id());
        assert!(own.is_some());
        assert_eq!(own, process_start(std::process::id()));
        assert_eq!(process_start(u32::MAX), None);
    }
}
