//! Unix, mainly Linux. One file for each use of the kernel.

mod cgroup;
mod clock;
mod dial;
mod examine;
mod files;
mod host;
mod launch;
mod manager;
mod memory;
mod names;
mod pipes;
mod process;
mod program;
mod service;
mod signals;
pub(super) mod sleep;
mod sockets;
mod wait;
mod watch;

pub use cgroup::*;
pub use clock::*;
pub use dial::connect_first;
pub use examine::*;
pub use files::*;
pub use host::*;
pub use launch::*;
pub use manager::*;
pub use names::{NAME_SERVERS, Told, ask_each, look_up};
pub use pipes::*;
pub use process::*;
pub use program::*;
pub use service::*;
pub use signals::*;
pub use sockets::*;
pub use wait::readable;
pub use watch::Watch;

/// Children as futures, by pidfd where the kernel has it.
pub use smol::process::{Child, Command, driver};

/// The built-in config for a host.
pub const BUILT_IN: &str = include_str!("../../../targets/linux/collector.yaml");

/// The additional built-in config, for Collectors that accept it. There is none for Unix.
pub const BUILT_IN_MORE: &str = "";

/// Settings that have no meaning on this system, and why.
pub const SENSELESS: &[(&str, &str)] = &[];

/// Whether a collector can report its health by `sd_notify`.
pub const HAS_SD_NOTIFY: bool = true;
