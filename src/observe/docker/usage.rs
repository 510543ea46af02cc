//! Makes points of a container's usage: of one answer of the engine to `/containers/ID/stats`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::container::clip;
use otelet_core::telemetry::containers::*;
use otelet_core::telemetry::{Attributes, Kind, Metric, Number, Point};
use otelet_core::units;

/// The most network interfaces of a container that get points.
const MOST_INTERFACES: usize = 8;

/// The fields of the engine's answer that become points.
#[derive(Debug, Deserialize)]
pub struct Stats {
    read: Option<String>,
    #[serde(default)]
    cpu_stats: CpuStats,
    #[serde(default)]
    memory_stats: MemoryStats,
    #[serde(default)]
    blkio_stats: BlkioStats,
    networks: Option<BTreeMap<String, NetworkStats>>,
}

#[derive(Debug, Default, Deserialize)]
struct CpuStats {
    #[serde(default)]
    cpu_usage: CpuUsage,
}

#[derive(Debug, Default, Deserialize)]
struct CpuUsage {
    #[serde(default)]
    total_usage: u64,
}

#[derive(Debug, Default, Deserialize)]
struct MemoryStats {
    usage: Option<u64>,
    limit: Option<u64>,
    stats: Option<MemoryDetails>,
}

#[derive(Debug, Deserialize)]
struct MemoryDetails {
    /// With cgroup v1.
    total_inactive_file: Option<u64>,
    /// With cgroup v2. In v1 it does not include the groups below.
    inactive_file: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct BlkioStats {
    io_service_bytes_recursive: Option<Vec<Blkio>>,
}

#[derive(Debug, Deserialize)]
struct Blkio {
    op: String,
    value: u64,
}

#[derive(Debug, Deserialize)]
struct NetworkStats {
    rx_bytes: u64,
    tx_bytes: u64,
}

/// A reading of a container's CPU time, and its time by the engine's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuMark {
    at: SystemTime,
    nanoseconds: u64,
}

impl Stats {
    /// Returns the points of a container that runs since `started`, and the CPU time for comparison by the next scan.
    /// None if it has ended in the meantime: the engine answers with zeros then.
    pub fn points(
        self,
        identity: &Attributes,
        started: Option<SystemTime>,
        before: Option<CpuMark>,
    ) -> Option<(Vec<Point>, CpuMark)> {
        let at = units::parse_rfc3339(self.read.as_deref()?)?;
        let nanoseconds = self.cpu_stats.cpu_usage.total_usage;
        if nanoseconds == 0 && self.memory_stats.usage.is_none() {
            return None;
        }
        let mut points = Vec::new();
        let of = |metric: &'static Metric, value: Number, more: Attributes| {
            let mut attributes = identity.clone();
            attributes.extend(more);
            let start = started.filter(|_| metric.kind != Kind::Gauge);
            Point { metric, attributes, start, value }
        };
        let mut add = |metric, value: Number, more| points.push(of(metric, value, more));
        if let Some(uptime) = started.and_then(|started| at.duration_since(started).ok()) {
            add(&UPTIME, uptime.as_secs_f64().into(), Vec::new());
        }
        add(&CPU_TIME, Duration::from_nanos(nanoseconds).as_secs_f64().into(), Vec::new());
        if let Some(usage) = before.and_then(|before| before.usage(at, nanoseconds)) {
            add(&CPU_USAGE, usage.into(), Vec::new());
        }
        self.memory_stats.add(&mut add);
        for (name, traffic) in self.networks.iter().flatten().take(MOST_INTERFACES) {
            for (direction, bytes) in [("receive", traffic.rx_bytes), ("transmit", traffic.tx_bytes)] {
                let name = clip(name, 40).to_owned();
                let more = vec![
                    ("network.interface.name".into(), name.into()),
                    ("network.io.direction".into(), direction.into()),
                ];
                add(&NETWORK_IO, bytes.into(), more);
            }
        }
        if let Some(entries) = self.blkio_stats.io_service_bytes_recursive {
            for direction in ["read", "write"] {
                let these = entries.iter().filter(|entry| entry.op.eq_ignore_ascii_case(direction));
                let bytes = these.fold(0_u64, |sum, entry| sum.saturating_add(entry.value));
                add(&DISK_IO, bytes.into(), vec![("disk.io.direction".into(), direction.into())]);
            }
        }
        Some((points, CpuMark { at, nanoseconds }))
    }
}

impl MemoryStats {
    fn add(&self, add: &mut impl FnMut(&'static Metric, Number, Attributes)) {
        let Some(usage) = self.usage else { return };
        add(&MEMORY_USAGE, usage.into(), Vec::new());
        let inactive = self.stats.as_ref().and_then(|stats| stats.total_inactive_file.or(stats.inactive_file));
        let working_set = usage.saturating_sub(inactive.unwrap_or(0));
        add(&WORKING_SET, working_set.into(), Vec::new());
        if let Some(limit) = self.limit.filter(|limit| *limit > 0) {
            add(&MEMORY_UTILIZATION, (working_set as f64 / limit as f64).into(), Vec::new());
        }
    }
}

impl CpuMark {
    /// The CPUs used since this reading. None after a restart, which begins at zero again, or if no time has passed.
    fn usage(self, at: SystemTime, nanoseconds: u64) -> Option<f64> {
        let time = at.duration_since(self.at).ok().filter(|time| *time >= Duration::from_millis(1))?;
        let used = nanoseconds.checked_sub(self.nanoseconds)?;
        Some(Duration::from_nanos(used).as_secs_f64() / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otelet_core::telemetry::Value;

    /// An answer of Docker 20.10 with cgroup v1, shortened.
    const ANSWER: &str = r#"{"read":"2026-11-25T15:58:28.500000000Z","preread":"0001-01-01T00:00:00Z",
        "pids_stats":{"current":1},
        "blkio_stats":{"io_service_bytes_recursive":[{"major":8,"minor":0,"op":"Read","value":4096},
            {"major":8,"minor":16,"op":"read","value":1},{"major":8,"minor":0,"op":"Write","value":7},
            {"major":8,"minor":0,"op":"Total","value":4103}],"io_serviced_recursive":null},
        "cpu_stats":{"cpu_usage":{"total_usage":1500000000,"percpu_usage":[17478036,403010]},"online_cpus":2},
        "memory_stats":{"usage":1000,"stats":{"inactive_file":1,"total_inactive_file":200},"limit":1600},
        "networks":{"eth0":{"rx_bytes":11,"rx_packets":1,"tx_bytes":22}},"name":"/web"}"#;

    fn shown(points: &[Point]) -> Vec<String> {
        points
            .iter()
            .map(|point| {
                let more: Vec<String> = point.attributes[1..]
                    .iter()
                    .map(|(_, value)| match value {
                        Value::Text(text) | Value::List(text) => text.to_string(),
                        Value::Int(number) => number.to_string(),
                        Value::Double(number) => number.to_string(),
                    })
                    .collect();
                format!("{} {} {}", point.metric.name, point.value.as_f64(), more.join(" ")).trim().to_owned()
            })
            .collect()
    }

    fn points(answer: &str, before: Option<CpuMark>) -> Option<(Vec<Point>, CpuMark)> {
        let identity: Attributes = vec![("container.id".into(), "1".into())];
        let stats: Stats = serde_json::from_str(answer).unwrap();
        stats.points(&identity, units::parse_rfc3339("2026-11-25T15:58:18Z"), before)
    }

    #[test]
    fn points_have_the_names_and_units_of_the_conventions() {
        let (first, mark) = points(ANSWER, None).unwrap();
        assert_eq!(
            shown(&first),
            [
                "container.uptime 10.5",
                "container.cpu.time 1.5",
                "container.memory.usage 1000",
                "container.memory.working_set 800",
                "container.memory.utilization 0.5",
                "container.network.io 11 eth0 receive",
                "container.network.io 22 eth0 transmit",
                "container.disk.io 4097 read",
                "container.disk.io 7 write",
            ]
        );
        assert!(first.iter().all(|point| METRICS.contains(point.metric)));
        assert!(first.iter().all(|point| (point.metric.kind == Kind::Gauge) == point.start.is_none()));

        let later = ANSWER.replace(":28.5", ":30.5").replace("1500000000", "2500000000");
        let (second, mark) = points(&later, Some(mark)).unwrap();
        assert!(shown(&second).contains(&"container.cpu.usage 0.5".to_owned()), "{:?}", shown(&second));

        let restarted = later.replace(":30.5", ":40.5").replace("2500000000", "5");
        let (third, _) = points(&restarted, Some(mark)).unwrap();
        assert!(!shown(&third).iter().any(|point| point.starts_with("container.cpu.usage")), "it began at zero again");
    }

    #[test]
    fn a_container_that_has_just_ended_has_no_points() {
        let ended = r#"{"read":"0001-01-01T00:00:00Z","cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{}}"#;
        assert_eq!(points(ended, None), None);
    }

    #[test]
    fn fields_that_an_engine_leaves_out_have_no_points() {
        let podman = r#"{"read":"2026-11-25T17:58:28.5+02:00","cpu_stats":{"cpu_usage":{"total_usage":1000000000}},
            "memory_stats":{"usage":10},"blkio_stats":{"io_service_bytes_recursive":null},"networks":null}"#;
        let (points, _) = points(podman, None).unwrap();
        assert_eq!(
            shown(&points),
            [
                "container.uptime 10.5",
                "container.cpu.time 1",
                "container.memory.usage 10",
                "container.memory.working_set 10"
            ]
        );
    }
}
