//! Systems other than Linux, by sysinfo: Windows first. File systems are left out until they are known not to hang there.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sysinfo::{MemoryRefreshKind, Networks, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::{Interface, Job, Late, Memory, Process, Reading, Swap, Who};

/// Reads the host, and remembers what the next reading needs.
#[derive(Debug)]
pub(super) struct Reader {
    /// None on a system that sysinfo does not know.
    system: Option<System>,
    networks: Option<Networks>,
}

impl Reader {
    pub(super) fn new(root: &Path) -> Self {
        let mut reader = Self { system: System::new().ok(), networks: Networks::new().ok() };
        reader.set_root(root);
        reader
    }

    pub(super) fn set_root(&mut self, root: &Path) {
        if root != Path::new("/") {
            log::warn!("host.root: {} is not used on this system", root.display());
        }
    }

    pub(super) fn read(
        &mut self,
        collector: Option<u32>,
        _: Instant,
        wall: SystemTime,
    ) -> (Reading, Late, Option<Job>) {
        let boot = System::boot_time().unwrap_or_default();
        let mut reading =
            Reading { boot: (boot > 0).then(|| UNIX_EPOCH + Duration::from_secs(boot)), ..Reading::default() };
        reading.uptime = reading.boot.and_then(|boot| wall.duration_since(boot).ok());
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        reading.interfaces = self
            .networks
            .iter()
            .flat_map(|networks| networks.iter())
            .map(|(name, data)| Interface {
                device: name.to_string_lossy().into_owned(),
                bytes: [data.total_received(), data.total_transmitted()],
                packets: [data.total_packets_received(), data.total_packets_transmitted()],
                errors: [data.total_errors_on_received(), data.total_errors_on_transmitted()],
                dropped: [0; 2],
            })
            .collect();
        let Some(system) = &mut self.system else { return (reading, Late::default(), None) };
        system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let total = system.total_memory();
        // sysinfo answers 0 for what it does not know.
        reading.memory = (total > 0).then(|| Memory {
            total,
            free: system.free_memory(),
            available: system.available_memory(),
            others: Vec::new(),
            swap_total: system.total_swap(),
        });
        if system.total_swap() > 0 {
            let (total, used) = (system.total_swap(), system.used_swap());
            reading.swaps.push(Swap { device: "swap".into(), total, used });
        }
        let processes = [(Who::Agent, Some(std::process::id())), (Who::Collector, collector)];
        let pids: Vec<Pid> = processes.iter().filter_map(|(_, pid)| pid.map(Pid::from_u32)).collect();
        let kind = ProcessRefreshKind::nothing().with_memory().with_cpu().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
        reading.processes = processes
            .into_iter()
            .filter_map(|(who, pid)| {
                let pid = pid?;
                let process = system.process(Pid::from_u32(pid))?;
                Some(Process {
                    who,
                    pid,
                    start: UNIX_EPOCH.checked_add(Duration::from_secs(process.start_time())),
                    // Not told apart there.
                    user: process.accumulated_cpu_time() as f64 / 1000.0,
                    system: 0.0,
                    resident: process.memory(),
                    virtual_size: process.virtual_memory(),
                    threads: None,
                    descriptors: None,
                })
            })
            .collect();
        (reading, Late::default(), None)
    }
}

/// The name of the host, and its system's.
pub(super) fn name_and_version(_: &Path) -> (String, String) {
    (System::host_name().unwrap_or_default(), System::long_os_version().unwrap_or_default())
}
