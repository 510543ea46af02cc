//! Makes points of a reading, and compares its CPU times with the reading before.

use std::time::SystemTime;

use super::reading::*;
use otelet_core::telemetry::host::*;
use otelet_core::telemetry::{Metric, Number, Point};

/// The CPU times of the sample before.
#[derive(Debug, Default)]
pub(super) struct PreviousCpus(Cpus);

/// The CPUs' states between two samples, as shares of the time.
#[derive(Debug, PartialEq)]
pub(super) struct Utilization {
    pub(super) busy: f64,
    total: [f64; STATES],
    each: Vec<(u32, [f64; STATES])>,
}

impl PreviousCpus {
    /// None at the first sample, and when no time has passed on the kernel's clock of CPU time.
    pub(super) fn compare(&mut self, now: &Cpus) -> Option<Utilization> {
        let before = std::mem::replace(&mut self.0, now.clone());
        let total = shares(&before.total?, &now.total?)?;
        let each = now.each.iter().filter_map(|(number, times)| {
            // A CPU may have been added since.
            let (_, earlier) = before.each.iter().find(|(known, _)| known == number)?;
            Some((*number, shares(earlier, times)?))
        });
        let idle: f64 = IDLE.iter().map(|state| total[*state]).sum();
        Some(Utilization { busy: (1.0 - idle).clamp(0.0, 1.0), total, each: each.collect() })
    }
}

/// The share of each state in the time between two readings. A time that falls counts as 0: the kernel's `iowait` may fall.
fn shares(before: &[f64; STATES], now: &[f64; STATES]) -> Option<[f64; STATES]> {
    let spent: [f64; STATES] = std::array::from_fn(|state| (now[state] - before[state]).max(0.0));
    let all: f64 = spent.iter().sum();
    (all > 0.0).then(|| spent.map(|time| time / all))
}

/// Makes the points of a whole reading.
pub(super) fn of(reading: &Reading, utilization: Option<&Utilization>, wall: SystemTime) -> Vec<Point> {
    let mut points = Vec::new();
    let boot = reading.boot;
    let out = &mut points;
    of_cpus(&reading.cpus, utilization, boot, out);
    if let Some(load) = reading.load {
        let metrics: [&'static Metric; 3] = [&LOAD_1M, &LOAD_5M, &LOAD_15M];
        out.extend(metrics.into_iter().zip(load).map(|(metric, load)| Point::new(metric, load)));
    }
    if let Some(memory) = &reading.memory {
        let states = [("used", memory.used()), ("free", memory.free)];
        for (state, bytes) in states.into_iter().chain(memory.others.iter().copied()) {
            out.push(Point::new(&MEMORY_USAGE, bytes).with("state", state).since(boot));
            out.push(Point::new(&MEMORY_UTILIZATION, share(bytes, memory.total)).with("state", state));
        }
    }
    for swap in &reading.swaps {
        for (state, bytes) in [("used", swap.used), ("free", swap.total.saturating_sub(swap.used))] {
            let of = |metric, value: Number| {
                Point::new(metric, value).with("device", swap.device.clone()).with("state", state)
            };
            out.push(of(&PAGING_USAGE, bytes.into()).since(boot));
            out.push(of(&PAGING_UTILIZATION, share(bytes, swap.total).into()));
        }
    }
    for disk in &reading.disks {
        of_disk(disk, boot, out);
    }
    out.extend(of_file_systems(&reading.file_systems, boot));
    out.push(Point::new(&FILESYSTEM_HANGING, reading.hanging.len() as u64));
    for interface in &reading.interfaces {
        of_interface(interface, boot, out);
    }
    let LeftOut { interfaces, file_systems, disks } = reading.left_out;
    for (what, count) in [("interfaces", interfaces), ("file_systems", file_systems), ("disks", disks)] {
        if count > 0 {
            out.push(Point::new(&LEFT_OUT, count as u64).with("otelet.left_out", what));
        }
    }
    if let Some(uptime) = reading.uptime {
        out.push(Point::new(&UPTIME, uptime.as_secs_f64()));
    }
    for process in &reading.processes {
        of_process(process, wall, out);
    }
    of_cgroup(reading.cgroup, out);
    points
}

fn of_cpus(cpus: &Cpus, utilization: Option<&Utilization>, boot: Option<SystemTime>, out: &mut Vec<Point>) {
    let named = |point: Point, number: Option<u32>| match number {
        Some(number) => point.with("cpu", format!("cpu{number}")),
        None => point,
    };
    let mut all = |number: Option<u32>, times: &[f64; STATES], metric: &'static Metric, since: Option<SystemTime>| {
        for (state, time) in STATE_NAMES.into_iter().zip(times) {
            out.push(named(Point::new(metric, *time), number).with("state", state).since(since));
        }
    };
    for (number, times) in &cpus.each {
        all(Some(*number), times, &CPU_TIME, boot);
    }
    if let (true, Some(total)) = (cpus.each.is_empty(), &cpus.total) {
        all(None, total, &CPU_TIME, boot);
    }
    let Some(utilization) = utilization else { return };
    for (number, shares) in &utilization.each {
        all(Some(*number), shares, &CPU_UTILIZATION, None);
    }
    if cpus.each.is_empty() {
        all(None, &utilization.total, &CPU_UTILIZATION, None);
    }
    out.push(Point::new(&CPU_BUSY, utilization.busy));
}

fn of_disk(disk: &Disk, boot: Option<SystemTime>, out: &mut Vec<Point>) {
    let of = |metric, value: Number| Point::new(metric, value).with("device", disk.device.clone()).since(boot);
    for (direction, bytes, operations) in
        [("read", disk.read_bytes, disk.reads), ("write", disk.written_bytes, disk.writes)]
    {
        out.push(of(&DISK_IO, bytes.into()).with("direction", direction));
        out.push(of(&DISK_OPERATIONS, operations.into()).with("direction", direction));
    }
    out.push(of(&DISK_IO_TIME, disk.busy.as_secs_f64().into()));
}

/// Makes the points of space and inodes.
pub(super) fn of_file_systems(file_systems: &[FileSystem], boot: Option<SystemTime>) -> Vec<Point> {
    let mut points = Vec::new();
    for file_system in file_systems {
        let FileSystem { mount, space } = file_system;
        let of = |metric, value: Number| {
            Point::new(metric, value)
                .with("device", mount.device.clone())
                .with("mode", mount.mode)
                .with("mountpoint", mount.mountpoint.clone())
                .with("type", mount.kind.clone())
        };
        for (state, bytes) in [("used", space.used), ("free", space.free), ("reserved", space.reserved)] {
            points.push(of(&FILESYSTEM_USAGE, bytes.into()).with("state", state).since(boot));
        }
        points.push(of(&FILESYSTEM_UTILIZATION, file_system.fullness().utilization().into()));
        for (state, inodes) in ["used", "free"].into_iter().zip(space.inodes.into_iter().flatten()) {
            points.push(of(&FILESYSTEM_INODES, inodes.into()).with("state", state).since(boot));
        }
    }
    points
}

fn of_interface(interface: &Interface, boot: Option<SystemTime>, out: &mut Vec<Point>) {
    let metrics: [(&'static Metric, &[u64; 2]); 4] = [
        (&NETWORK_IO, &interface.bytes),
        (&NETWORK_PACKETS, &interface.packets),
        (&NETWORK_ERRORS, &interface.errors),
        (&NETWORK_DROPPED, &interface.dropped),
    ];
    for (metric, values) in metrics {
        for (direction, value) in ["receive", "transmit"].into_iter().zip(values) {
            let point = Point::new(metric, *value).with("device", interface.device.clone());
            out.push(point.with("direction", direction).since(boot));
        }
    }
}

fn of_process(process: &Process, wall: SystemTime, out: &mut Vec<Point>) {
    let start = process.start;
    // The pid is not an attribute: a restarted collector continues the same series with another start.
    let of = |metric, value: Number| Point::new(metric, value).with("otelet.process", process.role.name());
    for (state, time) in [("user", process.user), ("system", process.system)] {
        out.push(of(&PROCESS_CPU_TIME, time.into()).with("state", state).since(start));
    }
    out.push(of(&PROCESS_MEMORY, process.resident.into()).since(start));
    out.push(of(&PROCESS_VIRTUAL, process.virtual_size.into()).since(start));
    if let Some(threads) = process.threads {
        out.push(of(&PROCESS_THREADS, threads.into()).since(start));
    }
    if let Some(descriptors) = process.descriptors {
        out.push(of(&PROCESS_DESCRIPTORS, descriptors.into()).since(start));
    }
    // The clock may have been set back.
    if let Some(uptime) = start.and_then(|start| wall.duration_since(start).ok()) {
        out.push(of(&PROCESS_UPTIME, uptime.as_secs_f64().into()));
    }
}

fn of_cgroup(cgroup: Cgroup, out: &mut Vec<Point>) {
    if let Some((limit, usage)) = cgroup.memory {
        out.push(Point::new(&CGROUP_MEMORY_LIMIT, limit));
        if let Some(usage) = usage {
            out.push(Point::new(&CGROUP_MEMORY_USAGE, usage));
            out.push(Point::new(&CGROUP_MEMORY_UTILIZATION, share(usage, limit)));
        }
    }
    if let Some(cpus) = cgroup.cpus {
        out.push(Point::new(&CGROUP_CPU_LIMIT, cpus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn cpus(times: [f64; STATES]) -> Cpus {
        Cpus { total: Some(times), each: vec![(0, times)] }
    }

    #[test]
    fn utilization_covers_the_time_between_two_samples() {
        let mut before = PreviousCpus::default();
        assert_eq!(before.compare(&cpus([10.0, 0.0, 5.0, 85.0, 0.0, 0.0, 0.0, 0.0])), None);

        let now = before.compare(&cpus([12.0, 0.0, 6.0, 91.0, 1.0, 0.0, 0.0, 0.0])).unwrap();

        let expected = [0.2, 0.0, 0.1, 0.6, 0.1, 0.0, 0.0, 0.0];
        assert!((now.busy - 0.3).abs() < 1e-9, "{}", now.busy);
        assert!(now.total.iter().zip(expected).all(|(is, should)| (is - should).abs() < 1e-9), "{now:?}");
        assert_eq!(now.each, [(0, now.total)]);
    }

    #[test]
    fn falling_times_count_as_zero_and_no_time_has_no_utilization() {
        let mut before = PreviousCpus::default();
        let times = [1.0; STATES];
        before.compare(&cpus(times));
        assert_eq!(before.compare(&cpus(times)), None);
        // The kernel's `iowait` may fall.
        let fallen = [2.0, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0];
        assert_eq!(before.compare(&cpus(fallen)).unwrap().busy, 1.0);
    }

    #[test]
    fn a_cpu_that_was_added_has_no_utilization_yet() {
        let mut before = PreviousCpus::default();
        before.compare(&cpus([1.0; STATES]));
        let two = Cpus { total: Some([4.0; STATES]), each: vec![(0, [2.0; STATES]), (7, [2.0; STATES])] };
        let numbers: Vec<u32> = before.compare(&two).unwrap().each.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0]);
    }

    #[test]
    fn points_of_a_process_name_its_role_and_skip_unknown_values() {
        let start = SystemTime::UNIX_EPOCH;
        let process = Process {
            role: ProcessRole::Collector,
            pid: 42,
            start: Some(start),
            user: 1.5,
            system: 0.5,
            resident: 4096,
            virtual_size: 8192,
            threads: Some(3),
            descriptors: None,
        };
        let reading = Reading { processes: vec![process], ..Reading::default() };
        let points = of(&reading, None, start + Duration::from_secs(9));
        let uptime = points.iter().find(|point| *point.metric == PROCESS_UPTIME).unwrap();
        assert_eq!(uptime.value, Number::Double(9.0));
        assert_eq!(uptime.attributes, [("otelet.process".into(), "collector".into())]);
        assert!(points.iter().all(|point| *point.metric != PROCESS_DESCRIPTORS), "an unknown value has no point");
    }

    #[test]
    fn a_limit_without_usage_is_exported_alone() {
        let cgroup = Cgroup { memory: Some((100, None)), cpus: Some(0.5) };
        let points = of(&Reading { cgroup, ..Reading::default() }, None, SystemTime::UNIX_EPOCH);
        let names: Vec<&str> = points.iter().map(|point| point.metric.name).collect();
        assert_eq!(names, ["otelet.host.filesystem.hanging", "otelet.cgroup.memory.limit", "otelet.cgroup.cpu.limit"]);
    }
}
