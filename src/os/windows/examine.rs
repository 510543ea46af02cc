//! Looks at this host for `otelet doctor`: rights, ports, room. None of them changes anything.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::host::volumes;
use crate::os::{Room, Wanted};

/// The command that has a time service set the clock, as a message names it.
pub const SET_CLOCK: &str = "w32tm /resync";

/// The rights of a process. Windows does not tell those of others, so there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    pub uid: u32,
}

impl Rights {
    pub fn of(_: u32) -> Option<Self> {
        None
    }

    pub fn of_owner(_: &Path) -> Option<Self> {
        None
    }
}

/// Whether this process may do this. Only a use tells it of anything but reading.
///
/// # Errors
///
/// The reason.
pub fn may(path: &Path, wanted: Wanted, _: Option<&Rights>) -> io::Result<()> {
    match wanted {
        Wanted::Read => std::fs::File::open(path).map(drop),
        Wanted::Write | Wanted::Run => std::fs::metadata(path).map(drop),
    }
}

/// Always none: users have no numbers.
pub fn own_uid() -> Option<u32> {
    None
}

/// The room on the volume of this path. Only fixed drives are known.
///
/// # Errors
///
/// If the volume is not known.
pub fn room(path: &Path) -> io::Result<Room> {
    let volume = volumes().into_iter().find(|volume| path.starts_with(&volume.root));
    let volume = volume.ok_or_else(|| io::Error::other("it is on no fixed drive"))?;
    Ok(Room { free: volume.free[0], inodes: None, is_read_only: volume.read_only })
}

/// Always none: the system keeps no sum of them.
pub fn peak_of_children() -> Option<u64> {
    None
}

/// A program that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub program: Option<(u32, String)>,
}

/// Always none: a port that is taken is noticed when it is tried.
pub fn listener(_: SocketAddr, _: bool) -> Option<Listener> {
    None
}

/// Always false, as no listener is found.
pub fn descends(_: u32, _: u32) -> bool {
    false
}

/// Always none: there is no SELinux.
pub fn selinux() -> Option<bool> {
    None
}

/// Always none.
pub fn label(_: &Path) -> Option<String> {
    None
}
