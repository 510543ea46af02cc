//! Windows: one call for each thing, all of them answered from memory.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::reading::{
    Cpus, FileSystem, Interface, Job, Late, Memory, Mount, Process, Reading, STATE_NAMES, STATES, Space, Swap, Who,
};
use crate::os;

/// Reads the host. Nothing needs to be remembered.
#[derive(Debug)]
pub(super) struct Reader;

impl Reader {
    pub(super) fn new(_: &Path) -> Self {
        Self
    }

    /// The settings refuse another root.
    pub(super) fn set_root(&mut self, _: &Path) {}

    pub(super) fn read(
        &mut self,
        collector: Option<u32>,
        _: Instant,
        wall: SystemTime,
    ) -> (Reading, Late, Option<Job>) {
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
            processes: [(Who::Agent, Some(std::process::id())), (Who::Collector, collector)]
                .into_iter()
                .filter_map(|(who, pid)| process(who, pid?))
                .collect(),
            ..Reading::default()
        };
        (reading, Late::default(), None)
    }
}

/// In the states that Linux has: idle, in the kernel and outside of it are those that Windows counts as well.
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
        // What a quota keeps from the agent is reserved for others.
        space: Space { used: total.saturating_sub(in_all), free, reserved: in_all.saturating_sub(free), inodes: None },
    }
}

fn process(who: Who, pid: u32) -> Option<Process> {
    let os::Usage { start, cpu, resident, committed, handles } = os::usage(pid).ok()?;
    let [user, system] = cpu.map(|time: Duration| time.as_secs_f64());
    Some(Process {
        who,
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

/// The name of the host, and its system's.
pub(super) fn name_and_version(_: &Path) -> (String, String) {
    os::name_and_version()
}
