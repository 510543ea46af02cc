//! The reading of a host: each system's reader fills it, and points and samples are made of it.

use std::time::{Duration, SystemTime};

/// How full a file system is.
#[derive(Debug, Clone, PartialEq)]
pub struct Fullness {
    pub mountpoint: String,
    /// In bytes.
    pub used: u64,
    /// The space that users other than root can still write, in bytes.
    pub free: u64,
}

impl Fullness {
    /// The used share of the space. It is 1 when only root can still write.
    pub fn utilization(&self) -> f64 {
        share(self.used, self.used.saturating_add(self.free))
    }
}

/// Work that may hang, for a thread of its own.
pub type Job = Box<dyn FnOnce() + Send>;

/// All values of one moment. A part that could not be read is empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// The time when the host was started: its sums count from there.
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
    pub(super) left_out: LeftOut,
}

/// The numbers of things that a sample leaves out, since a host with many of them has most for containers and virtual
/// machines.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct LeftOut {
    pub(super) interfaces: usize,
    pub(super) file_systems: usize,
    pub(super) disks: usize,
}

/// The file systems that a [`Job`] has measured.
#[derive(Debug, Default)]
pub(super) struct JobResult {
    /// The time of the measurement. None if no job has ended since the last sample.
    pub(super) at: Option<SystemTime>,
    pub(super) file_systems: Vec<FileSystem>,
}

/// The number of states of a CPU.
pub(super) const STATES: usize = 8;

/// The states' names, in the order of `/proc/stat`.
pub(super) const STATE_NAMES: [&str; STATES] =
    ["user", "nice", "system", "idle", "wait", "interrupt", "softirq", "steal"];

/// The states in which a CPU does nothing: idle and wait.
pub(super) const IDLE: [usize; 2] = [3, 4];

/// The CPU time in each state, in seconds.
#[derive(Debug, Default, PartialEq, Clone)]
pub(super) struct Cpus {
    /// The sum of all CPUs.
    pub(super) total: Option<[f64; STATES]>,
    /// Each CPU with its number. Empty if there are too many CPUs.
    pub(super) each: Vec<(u32, [f64; STATES])>,
}

/// All values are in bytes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) available: u64,
    /// The states other than used and free. Only Linux has them.
    pub(super) others: Vec<(&'static str, u64)>,
    pub(super) swap_total: u64,
}

impl Memory {
    pub(super) fn used(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }
}

/// All values are in bytes.
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

/// A file system: its mount, and its space in bytes.
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

/// The attributes that name a file system.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mount {
    pub(super) device: String,
    /// The host's own path, without `host.root` in front.
    pub(super) mountpoint: String,
    pub(super) kind: String,
    /// `rw` or `ro`.
    pub(super) mode: &'static str,
}

/// Space in bytes, and numbers of inodes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Space {
    pub(super) used: u64,
    pub(super) free: u64,
    pub(super) reserved: u64,
    /// Used and free inodes. NTFS has none.
    pub(super) inodes: Option<[u64; 2]>,
}

/// Sums since the interface was made: received, then transmitted.
#[derive(Debug, PartialEq)]
pub(super) struct Interface {
    pub(super) device: String,
    pub(super) bytes: [u64; 2],
    pub(super) packets: [u64; 2],
    pub(super) errors: [u64; 2],
    pub(super) dropped: [u64; 2],
}

/// The two processes that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessRole {
    Agent,
    Collector,
}

impl ProcessRole {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Collector => "collector",
        }
    }
}

/// A process: CPU times in seconds, memory in bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Process {
    pub(super) role: ProcessRole,
    pub(super) pid: u32,
    pub(super) start: Option<SystemTime>,
    pub(super) user: f64,
    pub(super) system: f64,
    pub(super) resident: u64,
    pub(super) virtual_size: u64,
    pub(super) threads: Option<u64>,
    pub(super) descriptors: Option<u64>,
}

/// The limits of the agent's own cgroup, if they are lower than the host's memory and CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cgroup {
    /// Limit and usage, in bytes.
    pub(super) memory: Option<(u64, Option<u64>)>,
    /// The quota in CPUs.
    pub(super) cpus: Option<f64>,
}

/// The part as a share of the whole; 0 if the whole is 0.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
