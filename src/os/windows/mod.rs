//! Windows. One file for each use of the system, with the same names as in `unix`.

mod clock;
mod console;
mod dial;
mod examine;
mod files;
mod handles;
mod host;
mod launch;
mod manager;
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
pub use watch::Watch;

/// The built-in config for a host.
pub const BUILT_IN: &str = include_str!("../../../targets/windows/collector.yaml");

/// The additional built-in config, for Collectors that accept it: larger distributions have more receivers for Windows.
pub const BUILT_IN_MORE: &str = include_str!("../../../targets/windows/more.yaml");

/// Settings that have no meaning on this system, and why.
pub const SENSELESS: &[(&str, &str)] = &[
    ("collector.run_as", "is for Unix; on Windows the collector runs as the agent does: give the service an account"),
    ("collector.oom_score_adj", "is for Linux; Windows kills nobody when memory is short"),
    ("host.root", "is for an agent in a container on Linux; Windows is seen as it is"),
];

/// Whether a collector can report its health by `sd_notify`.
pub const HAS_SD_NOTIFY: bool = false;
