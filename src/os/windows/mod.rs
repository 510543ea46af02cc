//! Windows. One room for each thing that is asked of it, with the names that `unix` has.

mod console;
mod files;
mod handles;
mod host;
mod launch;
mod manager;
mod pipes;
mod process;
mod program;
mod service;
mod signals;
pub(super) mod sleep;
mod sockets;
mod wait;
mod watch;

pub use files::*;
pub use host::*;
pub use launch::*;
pub use manager::*;
pub use pipes::*;
pub use process::*;
pub use program::*;
pub use service::*;
pub use signals::*;
pub use sockets::*;
pub use watch::Watch;

/// What a Collector does on a host until it is told otherwise.
pub const BUILT_IN: &str = include_str!("../../../targets/windows/collector.yaml");

/// What is passed beside it where the Collector takes that: larger distributions have receivers for more of Windows.
pub const BUILT_IN_MORE: &str = include_str!("../../../targets/windows/more.yaml");

/// Settings that have no meaning here, and why.
pub const SENSELESS: &[(&str, &str)] = &[
    ("collector.run_as", "is for Unix; on Windows the collector runs as the agent does: give the service an account"),
    ("collector.oom_score_adj", "is for Linux; Windows kills nobody when memory is short"),
    ("host.root", "is for an agent in a container on Linux; Windows is seen as it is"),
];

/// Whether a collector can say how it is by `sd_notify`.
pub const HAS_SD_NOTIFY: bool = false;
