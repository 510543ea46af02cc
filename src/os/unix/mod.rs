//! Unix, which here means Linux first. One room for each thing that is asked of the kernel.

mod files;
mod host;
mod launch;
mod memory;
mod pipes;
mod process;
mod program;
mod signals;
mod sockets;
mod wait;

pub use files::*;
pub use host::*;
pub use launch::*;
pub use pipes::*;
pub use process::*;
pub use program::*;
pub use signals::*;
pub use sockets::*;
pub use wait::*;
