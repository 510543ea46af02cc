//! One sample of the host. sysinfo serves here; what it does badly gets a reader of its own beside this file.

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// The metrics that are measured here.
pub static METRICS: &[crate::telemetry::Metric] = &[];

/// What one sample saw. Unknown is `None`: sysinfo answers 0 where `/proc` is missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// Memory of the host, in bytes.
    pub memory_total: Option<u64>,
    /// Memory that is neither free nor given back by the kernel when asked, in bytes.
    pub memory_used: Option<u64>,
    /// Processes that run or want to, on average over one minute.
    pub load_1m: Option<f64>,
    /// Resident memory of the collector, in bytes.
    pub collector_memory: Option<u64>,
    /// Resident memory of the agent, in bytes.
    pub agent_memory: Option<u64>,
}

/// Samples the host, and remembers what the next sample needs.
#[derive(Debug)]
pub struct Host {
    /// None on a system that sysinfo does not know.
    system: Option<System>,
}

impl Host {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self { system: System::new().ok() }
    }

    /// Takes a sample. Touches no mount, so it does not hang with one.
    pub fn sample(&mut self, collector: Option<u32>) -> Sample {
        let Some(system) = &mut self.system else { return Sample::default() };
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let own = Pid::from_u32(std::process::id());
        let pids: Vec<Pid> = std::iter::once(own).chain(collector.map(Pid::from_u32)).collect();
        let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
        let memory_of = |pid: Pid| system.process(pid).map(sysinfo::Process::memory).and_then(known);
        Sample {
            memory_total: known(system.total_memory()),
            memory_used: known(system.used_memory()),
            load_1m: System::load_average().ok().map(|load| load.one).filter(|load| load.is_finite()),
            collector_memory: collector.and_then(|pid| memory_of(Pid::from_u32(pid))),
            agent_memory: memory_of(own),
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// Who the host is, in the words of OpenTelemetry's resource conventions. What is not known is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Identity {
    /// `host.name`
    pub name: String,
    /// `host.id`: the machine id.
    pub id: String,
    /// `os.type`: linux, windows.
    pub os_type: String,
    /// `os.version`, with the distribution's name.
    pub os_version: String,
    /// `host.arch`: amd64, arm64, arm32.
    pub arch: String,
}

/// Reads it once; none of it changes while the agent runs.
pub fn identity() -> Identity {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        other => other,
    };
    Identity {
        name: System::host_name().unwrap_or_default(),
        id: crate::os::host_fingerprint(),
        os_type: std::env::consts::OS.into(),
        os_version: System::long_os_version().unwrap_or_default(),
        arch: arch.into(),
    }
}

fn known(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_and_its_host_have_memory() {
        let sample = Host::new().sample(None);
        let (total, used) = (sample.memory_total.expect("known here"), sample.memory_used.expect("known here"));
        assert!(used < total);
        assert!(sample.agent_memory.expect("known here") < used);
        assert_eq!(sample.collector_memory, None);
    }
}
