//! Reads a Windows host: one call for each value. Windows answers all of them from memory.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::reading::{
    Cpus, FileSystem, Interface, Job, JobResult, Memory, Mount, Process, ProcessRole, Reading, STATE_NAMES, STATES,
    Space, Swap,
};
use crate::os;

/// Reads the host. It keeps no state.
#[derive(Debug)]
pub(super) struct Reader;

impl Reader {
    pub(super) fn new(_: &Path) -> Self {
        Self
    }

    /// Does nothing: on Windows the settings refuse `host.root`.
    pub(super) fn set_root(&mut self, _: &Path) {}

    pub(super) fn read(
        &mut self,
        collector: Option<u32>,
        _: Instant,
        wall: SystemTime,
    ) -> (Reading, JobResult, Option<Job>) {
        let uptime = os::uptime();
        let memory = os::memory();
        let reading = Reading {
            boot: wall.checked_sub(uptime),
            uptime: Some(uptime),
            cpus: Cpus { total: cpus(), each: Vec::new() },
            memory: memory.map(|[total, available, swap_total, _]| Memory {
                total,
                free: available,
                available,
                others: Vec::new(),
                swap_total,
            }),
            swaps: memory
                .filter(|[_, _, total, _]| *total > 0)
                .map(|[_, _, total, used]| Swap { device: "pagefile".into(), total, used })
                .into_iter()
                .collect(),
            file_systems: os::volumes().into_iter().map(file_system).collect(),
            interfaces: os::interfaces()
                .into_iter()
                .map(|it| Interface {
                    device: it.name,
                    bytes: it.bytes,
                    packets: it.packets,
                    errors: it.errors,
                    dropped: it.dropped,
                })
                .collect(),
            processes: [(ProcessRole::Agent, Some(std::process::id())), (ProcessRole::Collector, collector)]
                .into_iter()
                .filter_map(|(role, pid)| process(role, pid?))
                .collect(),
            ..Reading::default()
        };
        (reading, JobResult::default(), None)
    }
}

/// The CPU times in Linux's states. Windows counts only three of them: idle, kernel and user.
fn cpus() -> Option<[f64; STATES]> {
    let [idle, kernel, user] = os::cpu_times()?.map(|time| time.as_secs_f64());
    Some(STATE_NAMES.map(|name| match name {
        "user" => user,
        "system" => kernel,
        "idle" => idle,
        _ => 0.0,
    }))
}

fn file_system(volume: os::Volume) -> FileSystem {
    let os::Volume { root, kind, total, free: [free, in_all], read_only } = volume;
    let device = root.trim_end_matches('\\').to_owned();
    FileSystem {
        mount: Mount { device, mountpoint: root, kind, mode: if read_only { "ro" } else { "rw" } },
        // Space that a quota keeps from the agent counts as reserved.
        space: Space { used: total.saturating_sub(in_all), free, reserved: in_all.saturating_sub(free), inodes: None },
    }
}

fn process(role: ProcessRole, pid: u32) -> Option<Process> {
    let os::Usage { start, cpu, resident, committed, handles } = os::usage(pid).ok()?;
    let [user, system] = cpu.map(|time: Duration| time.as_secs_f64());
    Some(Process {
        role,
        pid,
        start: Some(start),
        user,
        system,
        resident,
        virtual_size: committed,
        threads: None,
        descriptors: handles,
    })
}

/// The names of the host and of its operating system.
pub(super) fn name_and_version(_: &Path) -> (String, String) {
    os::name_and_version()
}
