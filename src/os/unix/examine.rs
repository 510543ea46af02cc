//! Looks at this host for `otelet doctor`: rights, ports, room. None of them changes anything.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use rustix::fs::Access;
use rustix::process::{Gid, Uid};

use crate::os::{Room, Wanted};

/// The command that has a time service set the clock, as a message names it.
pub const SET_CLOCK: &str = "timedatectl set-ntp true";

/// The rights of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// The number of its user.
    pub uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// Whether it may read every file: CAP_DAC_READ_SEARCH.
    reads_all: bool,
}

impl Rights {
    /// Those of a running process. Source: `/proc/PID/status` (proc(5)); the second number of a user is the effective one.
    pub fn of(pid: u32) -> Option<Self> {
        const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let numbers = |name| line(name).unwrap_or_default().split_ascii_whitespace().filter_map(|it| it.parse().ok());
        Some(Self {
            uid: numbers("Uid:").nth(1)?,
            gid: numbers("Gid:").nth(1)?,
            groups: numbers("Groups:").collect(),
            reads_all: u64::from_str_radix(line("CapEff:")?.trim(), 16).ok()? & CAP_DAC_READ_SEARCH != 0,
        })
    }

    /// Those of the user who owns this file, with its group. Nothing is known of capabilities.
    pub fn of_owner(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let file = fs::metadata(path).ok()?;
        Some(Self { uid: file.uid(), gid: file.gid(), groups: Vec::new(), reads_all: true })
    }
}

/// Whether a process with these rights may do this, or without them this process.
///
/// # Errors
///
/// The reason.
pub fn may(path: &Path, wanted: Wanted, rights: Option<&Rights>) -> io::Result<()> {
    let access = match wanted {
        Wanted::Read => Access::READ_OK,
        Wanted::Write => Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
        Wanted::Run => Access::EXEC_OK,
    };
    // A directory is passed through, and a file is only written.
    let access = if wanted == Wanted::Write && !path.is_dir() { Access::WRITE_OK } else { access };
    let own = Uid::from_raw(rustix::process::geteuid().as_raw());
    let other = rights.filter(|other| other.uid != own.as_raw() && !(wanted == Wanted::Read && other.reads_all));
    let Some(other) = other else { return Ok(rustix::fs::access(path, access)?) };
    let [uid, root] = [other.uid, own.as_raw()].map(Uid::from_raw);
    let [gid, own_gid] = [Gid::from_raw(other.gid), rustix::process::getegid()];
    let groups: Vec<Gid> = other.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let own_groups = rustix::process::getgroups()?;
    // These calls change this thread alone, and the saved user is the way back.
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, own_gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, root)?;
    let found = rustix::fs::access(path, access);
    rustix::thread::set_thread_res_uid(root, root, root)?;
    rustix::thread::set_thread_res_gid(own_gid, own_gid, own_gid)?;
    rustix::thread::set_thread_groups(&own_groups)?;
    Ok(found?)
}

/// The user of this process.
pub fn own_uid() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

/// The room on the file system of this path.
///
/// # Errors
///
/// The error of the kernel.
pub fn room(path: &Path) -> io::Result<Room> {
    let stat = rustix::fs::statvfs(path)?;
    let is_read_only = stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    Ok(Room { free, inodes: Some((stat.f_favail, stat.f_files)), is_read_only })
}

/// The most memory that a child of this process has had, in bytes. Source: getrusage(2), in KiB on Linux.
pub fn peak_of_children() -> Option<u64> {
    // SAFETY: zeros are valid in all fields of the structure, which the kernel fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) == 0).then_some(usage)?
    };
    u64::try_from(usage.ru_maxrss).ok().filter(|peak| *peak > 0).map(|peak| peak * 1024)
}

/// A program that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Unknown of programs that this user may not look at.
    pub program: Option<(u32, String)>,
}

/// The program that listens at this address, or at one that includes it. Sources: `/proc/net/tcp` and its kin, and the links in
/// `/proc/PID/fd` (proc(5)).
pub fn listener(address: SocketAddr, is_udp: bool) -> Option<Listener> {
    let tables = if is_udp { ["/proc/net/udp", "/proc/net/udp6"] } else { ["/proc/net/tcp", "/proc/net/tcp6"] };
    let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| bound(line, address, is_udp))?;
    let socket = format!("socket:[{inode}]");
    let has = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.into_iter().any(|one| fs::read_link(one.path()).is_ok_and(|link| link.as_os_str() == &*socket))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(has);
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    Some(Listener { program: pid.map(|pid| (pid, name(pid))) })
}

/// The inode of the socket of this line, if it has the address.
fn bound(line: &str, address: SocketAddr, is_udp: bool) -> Option<&str> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (ip, port) = words.next()?.split_once(':')?;
    let state = words.nth(1)?;
    let inode = words.nth(5)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // The states of a TCP socket that listens, and of a UDP socket without a peer.
    if port != address.port() || state != if is_udp { "07" } else { "0A" } {
        return None;
    }
    // Four bytes each are printed as one number of this machine.
    let words: Option<Vec<[u8; 4]>> = (ip.as_bytes().chunks(8))
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()))
        .collect();
    let taken: IpAddr = match words?.as_slice() {
        [one] => Ipv4Addr::from(*one).into(),
        all => Ipv6Addr::from(<[u8; 16]>::try_from(all.concat()).ok()?).to_canonical(),
    };
    let wanted = address.ip().to_canonical();
    (taken == wanted || taken.is_unspecified() || wanted.is_unspecified()).then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_listens_is_found() {
        for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = std::net::TcpListener::bind(bind).unwrap();
            let port = listener.local_addr().unwrap().port();
            let at = |ip: &str| super::listener(SocketAddr::new(ip.parse().unwrap(), port), false);
            let (pid, name) = at("127.0.0.1").expect("it listens").program.expect("it is this one");
            assert_eq!(pid, std::process::id());
            assert!(!name.is_empty());
            assert!(at("0.0.0.0").is_some(), "one address of all is taken");
            assert_eq!(at("127.0.0.2").is_some(), bind.starts_with("0.0"));
        }
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert!(super::listener(address, true).is_some() && super::listener(address, false).is_none());
    }

    #[test]
    fn rights_are_those_of_a_process() {
        let own = Rights::of(std::process::id()).unwrap();
        assert_eq!(Some(own.uid), own_uid());
        assert!(may(Path::new("/proc/self/status"), Wanted::Read, Some(&own)).is_ok());
        assert!(may(Path::new("/nowhere"), Wanted::Read, None).is_err());
        if own.uid == 0 {
            let nobody = Rights { uid: 65_534, gid: 65_534, groups: Vec::new(), reads_all: false };
            let directory = std::env::temp_dir().join(format!("otelet-rights-{}", std::process::id()));
            crate::os::private_dir(&directory).unwrap();
            assert!(may(&directory, Wanted::Write, None).is_ok());
            assert!(may(&directory, Wanted::Write, Some(&nobody)).is_err());
            assert_eq!(own_uid(), Some(0), "only the look was another user's");
            fs::remove_dir(&directory).unwrap();
        }
    }

    #[test]
    fn a_file_system_has_room() {
        let room_of_root = room(Path::new("/")).unwrap();
        assert!(room_of_root.free > 0 && room_of_root.inodes.is_some());
        assert!(room(Path::new("/nowhere")).is_err());
    }
}
