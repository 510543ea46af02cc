//! Where the agent runs.

use std::fmt;

/// Where the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a host, as a service.
    Host,
    /// In a container.
    Docker,
    /// In a pod on each node of a Kubernetes cluster.
    DaemonSet,
    /// In one pod for a whole Kubernetes cluster.
    Deployment,
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Docker => "docker",
            Self::DaemonSet => "daemonset",
            Self::Deployment => "deployment",
        })
    }
}
