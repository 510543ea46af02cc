//! Samples the host: CPU, memory, disks, file systems, interfaces, and the usage of the agent and the collector.
//!
//! The readers are our own. On Linux each makes one read of a file of `/proc`, below the root at which the host is mounted. On
//! Windows each makes one call. The crate sysinfo makes 33 system calls for one interface on Linux, and crashes under an old wine.

#[cfg(target_os = "linux")]
mod linux;
mod points;
mod reading;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(windows)]
use windows as system;

use std::path::Path;
use std::time::{Instant, SystemTime};

use otelet_core::telemetry::{HostIdentity, Snapshot};
use reading::{FileSystem, Memory, ProcessRole};

pub use reading::{Fullness, Job};

/// The number of file systems that the status shows: the fullest ones.
const FULLEST: usize = 3;

/// The part of the last sample that the status shows. Unknown values are `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// Memory of the host, in bytes.
    pub memory_total: Option<u64>,
    /// Memory that is neither free nor held by caches that the kernel can drop, in bytes.
    pub memory_used: Option<u64>,
    /// Processes that run or wait for a CPU, on average over one minute.
    pub load_1m: Option<f64>,
    /// Resident memory of the collector, in bytes.
    pub collector_memory: Option<u64>,
    /// Resident memory of the agent, in bytes.
    pub agent_memory: Option<u64>,
    /// The share of the CPUs' time since the sample before that was not idle.
    pub cpu_utilization: Option<f64>,
    /// The time since the host was started, in seconds.
    pub uptime: Option<u64>,
    /// The fullest file systems, the fullest first.
    pub fullest: Vec<Fullness>,
    /// Mount points that do not answer.
    pub hanging: Vec<String>,
    /// The memory limit that binds the agent's cgroup, in bytes.
    pub memory_limit: Option<u64>,
    /// The memory in use of that limit, in bytes.
    pub memory_of_limit: Option<u64>,
    /// The CPU quota that binds the agent's cgroup, in CPUs.
    pub cpu_limit: Option<f64>,
}

/// The result of taking a sample.
#[derive(Default)]
pub struct SampleResult {
    pub sample: Sample,
    /// The measured points. Points of network file systems come first, with a time of their own: a thread that the sample before
    /// started has measured them.
    pub snapshots: Vec<Snapshot>,
    /// To be started now. Its result comes with the next sample.
    pub job: Option<Job>,
}

/// Samples the host, and keeps the CPU times for the next sample.
#[derive(Debug)]
pub struct Host {
    reader: system::Reader,
    before: points::PreviousCpus,
}

impl Host {
    /// A host whose root is mounted at `root`. Nothing is read yet.
    pub fn new(root: &Path) -> Self {
        Self { reader: system::Reader::new(root), before: points::PreviousCpus::default() }
    }

    /// Called when the settings may have changed.
    pub fn set_root(&mut self, root: &Path) {
        self.reader.set_root(root);
    }

    /// Takes a sample. It cannot hang: work that might is returned as a [`Job`]. Snapshots are made only if they are
    /// `exported`.
    pub fn sample(&mut self, collector: Option<u32>, now: Instant, wall: SystemTime, exported: bool) -> SampleResult {
        let (reading, late, job) = self.reader.read(collector, now, wall);
        let utilization = self.before.compare(&reading.cpus);
        let mut fullest: Vec<Fullness> =
            reading.file_systems.iter().chain(&late.file_systems).map(FileSystem::fullness).collect();
        fullest.sort_by(|one, other| other.utilization().total_cmp(&one.utilization()));
        fullest.truncate(FULLEST);
        let memory_of = |role: ProcessRole| reading.processes.iter().find(|it| it.role == role).map(|it| it.resident);
        let sample = Sample {
            memory_total: reading.memory.as_ref().map(|memory| memory.total),
            memory_used: reading.memory.as_ref().map(Memory::used),
            load_1m: reading.load.map(|load| load[0]),
            collector_memory: memory_of(ProcessRole::Collector),
            agent_memory: memory_of(ProcessRole::Agent),
            cpu_utilization: utilization.as_ref().map(|it| it.busy),
            uptime: reading.uptime.map(|uptime| uptime.as_secs()),
            fullest,
            hanging: reading.hanging.clone(),
            memory_limit: reading.cgroup.memory.map(|(limit, _)| limit),
            memory_of_limit: reading.cgroup.memory.and_then(|(_, used)| used),
            cpu_limit: reading.cgroup.cpus,
        };
        let mut snapshots = Vec::new();
        if let (true, Some(at)) = (exported, late.at) {
            snapshots.push(Snapshot { at, points: points::of_file_systems(&late.file_systems, reading.boot) });
        }
        if exported {
            snapshots.push(Snapshot { at: wall, points: points::of(&reading, utilization.as_ref(), wall) });
        }
        SampleResult { sample, snapshots, job }
    }
}

/// Reads the host's identity, which does not change while the agent runs. `root` is where the host's root is mounted.
pub fn identity(root: &Path) -> HostIdentity {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        other => other,
    };
    let (name, os_version) = system::name_and_version(root);
    HostIdentity {
        name,
        id: crate::os::host_fingerprint(root),
        os_type: std::env::consts::OS.into(),
        os_version,
        arch: arch.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_and_its_host_have_memory() {
        let sample = Host::new(Path::new("/")).sample(None, Instant::now(), SystemTime::now(), false).sample;
        let (total, used) = (sample.memory_total.expect("known here"), sample.memory_used.expect("known here"));
        assert!(used < total);
        assert!(sample.agent_memory.expect("known here") < used);
        assert_eq!(sample.collector_memory, None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn cpu_utilization_needs_two_samples() {
        let mut host = Host::new(Path::new("/"));
        let mut sample = || host.sample(None, Instant::now(), SystemTime::now(), false).sample;
        assert_eq!(sample().cpu_utilization, None);
        let limit = Instant::now() + std::time::Duration::from_secs(20);
        let samples = std::iter::repeat_with(sample).take_while(|_| Instant::now() < limit);
        let busy = samples.filter_map(|sample| sample.cpu_utilization).next();
        assert!(busy.is_some_and(|busy| (0.0..=1.0).contains(&busy)), "{busy:?}");
    }
}
