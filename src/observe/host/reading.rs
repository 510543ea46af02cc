//! The reading of a host: the data that a reader of each system fills, and that points and samples are made of.

use std::time::{Duration, SystemTime};

/// How full a file system is.
#[derive(Debug, Clone, PartialEq)]
pub struct Fullness {
    /// Where it is mounted.
    pub mountpoint: String,
    /// In bytes.
    pub used: u64,
    /// What anybody but root can still write, in bytes.
    pub free: u64,
}

impl Fullness {
    /// 1 when nobody but root can write.
    pub fn utilization(&self) -> f64 {
        share(self.used, self.used.saturating_add(self.free))
    }
}

/// Something that may hang: to be done on a thread of its own.
pub type Job = Box<dyn FnOnce() + Send>;

/// What was read at one time. A part that could not be read is empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// When the host was started: the start of every sum of the host.
    pub(super) boot: Option<SystemTime>,
    pub(super) uptime: Option<Duration>,
    pub(super) cpus: Cpus,
    pub(super) memory: Option<Memory>,
    pub(super) load: Option<[f64; 3]>,
    pub(super) swaps: Vec<Swap>,
    pub(super) disks: Vec<Disk>,
    pub(super) file_systems: Vec<FileSystem>,
    pub(super) hanging: Vec<String>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) processes: Vec<Process>,
    pub(super) cgroup: Cgroup,
}

/// File systems that were looked at by a [`Job`].
#[derive(Debug, Default)]
pub(super) struct Late {
    /// When they were looked at last. None before the first job has ended, and when that is known already.
    pub(super) at: Option<SystemTime>,
    pub(super) file_systems: Vec<FileSystem>,
}

/// How many states a CPU has.
pub(super) const STATES: usize = 8;

/// Their names, in the order of `/proc/stat`.
pub(super) const STATE_NAMES: [&str; STATES] =
    ["user", "nice", "system", "idle", "wait", "interrupt", "softirq", "steal"];

/// Which of them do nothing.
pub(super) const IDLE: [usize; 2] = [3, 4];

/// Time in each state, in seconds.
#[derive(Debug, Default, PartialEq, Clone)]
pub(super) struct Cpus {
    /// Of all CPUs together.
    pub(super) total: Option<[f64; STATES]>,
    /// Of each, by its number; empty where there are too many.
    pub(super) each: Vec<(u32, [f64; STATES])>,
}

/// In bytes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) available: u64,
    /// The states beside used and free; only Linux has them.
    pub(super) others: Vec<(&'static str, u64)>,
    pub(super) swap_total: u64,
}

impl Memory {
    pub(super) fn used(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }
}

/// In bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Swap {
    pub(super) device: String,
    pub(super) total: u64,
    pub(super) used: u64,
}

/// Sums since the host was started.
#[derive(Debug, PartialEq)]
pub(super) struct Disk {
    pub(super) device: String,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) busy: Duration,
}

/// Where it is, and how full, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileSystem {
    pub(super) mount: Mount,
    pub(super) space: Space,
}

impl FileSystem {
    pub(super) fn fullness(&self) -> Fullness {
        let Space { used, free, .. } = self.space;
        Fullness { mountpoint: self.mount.mountpoint.clone(), used, free }
    }
}

/// What names a file system.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mount {
    pub(super) device: String,
    /// As the host calls it, without `host.root`.
    pub(super) mountpoint: String,
    pub(super) kind: String,
    /// rw, ro
    pub(super) mode: &'static str,
}

/// In bytes, and in inodes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Space {
    pub(super) used: u64,
    pub(super) free: u64,
    pub(super) reserved: u64,
    /// Used and free. NTFS has none.
    pub(super) inodes: Option<[u64; 2]>,
}

/// Sums since the interface was made; receive first, transmit second.
#[derive(Debug, PartialEq)]
pub(super) struct Interface {
    pub(super) device: String,
    pub(super) bytes: [u64; 2],
    pub(super) packets: [u64; 2],
    pub(super) errors: [u64; 2],
    pub(super) dropped: [u64; 2],
}

/// One of the two processes that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Agent,
    Collector,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Collector => "collector",
        }
    }
}

/// Times in seconds, memory in bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Process {
    pub(super) who: Who,
    pub(super) pid: u32,
    pub(super) start: Option<SystemTime>,
    pub(super) user: f64,
    pub(super) system: f64,
    pub(super) resident: u64,
    pub(super) virtual_size: u64,
    pub(super) threads: Option<u64>,
    pub(super) descriptors: Option<u64>,
}

/// Limits of the agent's own cgroup, where they are lower than what the host has.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cgroup {
    /// Limit and usage, in bytes.
    pub(super) memory: Option<(u64, Option<u64>)>,
    /// In CPUs.
    pub(super) cpus: Option<f64>,
}

/// A part of a whole; of nothing, it is nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
