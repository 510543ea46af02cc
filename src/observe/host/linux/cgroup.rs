//! Reads the limits of the agent's own cgroup and of the cgroups above it: a container, a pod or a service may often use less
//! than the host has.

use std::path::{Path, PathBuf};

use crate::observe::host::reading::Cgroup;

/// The most nested cgroups that are read: an odd path must not keep the agent busy.
const DEEPEST: usize = 32;

/// The lowest limits, and the cgroup that sets the memory limit.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Limits {
    memory: Option<(u64, PathBuf, Version)>,
    cpus: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
}

impl Limits {
    /// Finds the lowest limits that are below the host's own `memory`, in bytes, and `cpus`. `read` returns a file's text.
    pub(super) fn find(mounted: &Path, read: &mut impl FnMut(&Path) -> Option<String>, memory: u64, cpus: f64) -> Self {
        let mut limits = Self::default();
        let Some(own) = read(Path::new("/proc/self/cgroup")) else { return limits };
        for line in own.lines() {
            // number:controllers:path
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let has = |name: &str| controllers.split(',').any(|controller| controller == name);
            if controllers.is_empty() {
                for group in groups(mounted, path, "cgroup.procs", read) {
                    limits.lower_memory(read, &group, "memory.max", Version::Two);
                    let quota = read(&group.join("cpu.max"));
                    limits.lower_cpus(quota.as_deref().and_then(|text| {
                        let (quota, period) = text.trim().split_once(' ')?;
                        ratio(quota, period)
                    }));
                }
            }
            if has("memory") {
                for group in groups(&mounted.join("memory"), path, "memory.limit_in_bytes", read) {
                    limits.lower_memory(read, &group, "memory.limit_in_bytes", Version::One);
                }
            }
            if has("cpu") {
                for group in groups(&mounted.join("cpu"), path, "cpu.cfs_quota_us", read) {
                    let quota = read(&group.join("cpu.cfs_quota_us"));
                    let period = read(&group.join("cpu.cfs_period_us"));
                    limits.lower_cpus(quota.zip(period).and_then(|(quota, period)| ratio(quota.trim(), period.trim())));
                }
            }
        }
        // Version one writes a number near 2^63 for "no limit".
        limits.memory = limits.memory.filter(|(limit, ..)| *limit < memory);
        limits.cpus = limits.cpus.filter(|limit| *limit < cpus);
        limits
    }

    fn lower_memory(
        &mut self,
        read: &mut impl FnMut(&Path) -> Option<String>,
        group: &Path,
        file: &str,
        version: Version,
    ) {
        // Version two writes "max" for "no limit", which does not parse.
        if let Some(limit) = read(&group.join(file)).and_then(|text| text.trim().parse::<u64>().ok())
            && self.memory.as_ref().is_none_or(|(lowest, ..)| limit < *lowest)
        {
            self.memory = Some((limit, group.into(), version));
        }
    }

    fn lower_cpus(&mut self, limit: Option<f64>) {
        if let Some(limit) = limit {
            self.cpus = Some(self.cpus.map_or(limit, |lowest| lowest.min(limit)));
        }
    }

    /// The limits as they were found, and the memory in use now.
    pub(super) fn now(&self, read: &mut impl FnMut(&Path) -> Option<String>) -> Cgroup {
        let memory = self.memory.as_ref().map(|(limit, group, version)| {
            let (usage, cache) = match version {
                Version::One => ("memory.usage_in_bytes", "total_inactive_file "),
                Version::Two => ("memory.current", "inactive_file "),
            };
            let usage = read(&group.join(usage)).and_then(|text| text.trim().parse::<u64>().ok());
            let unused = usage
                .and_then(|_| read(&group.join("memory.stat")))
                .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok()));
            (*limit, usage.map(|usage| usage.saturating_sub(unused.unwrap_or(0))))
        });
        Cgroup { memory, cpus: self.cpus }
    }
}

/// The cgroup at this path, and the visible cgroups above it. In a container the path may be the host's, which is not visible
/// there: the mounted group is the container's own then.
fn groups(mounted: &Path, path: &str, file: &str, read: &mut impl FnMut(&Path) -> Option<String>) -> Vec<PathBuf> {
    let relative = path.trim_start_matches('/');
    let own = mounted.join(relative);
    // The root of version two has no such file. It has no limit either.
    let seen =
        !relative.split('/').any(|part| part == "..") && (relative.is_empty() || read(&own.join(file)).is_some());
    let lowest = if seen { own } else { mounted.into() };
    lowest.ancestors().take_while(|group| group.starts_with(mounted)).take(DEEPEST).map(Path::to_owned).collect()
}

/// The quota in CPUs. None if there is no quota, which is written as `max` or -1.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    fn find(files: &[(&str, &str)], memory: u64, cpus: f64) -> (Limits, Cgroup) {
        let mut read =
            |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
        let limits = Limits::find(Path::new("/sys/fs/cgroup"), &mut read, memory, cpus);
        let now = limits.now(&mut read);
        (limits, now)
    }

    #[test]
    fn the_lowest_limit_of_the_groups_above_counts_in_version_two() {
        let (_, now) = find(
            &[
                ("/proc/self/cgroup", "0::/system.slice/otelet.service\n"),
                ("/sys/fs/cgroup/system.slice/otelet.service/cgroup.procs", "1\n"),
                ("/sys/fs/cgroup/system.slice/otelet.service/memory.max", "max\n"),
                ("/sys/fs/cgroup/system.slice/otelet.service/cpu.max", "50000 100000\n"),
                ("/sys/fs/cgroup/system.slice/memory.max", "536870912\n"),
                ("/sys/fs/cgroup/system.slice/memory.current", "300000000\n"),
                ("/sys/fs/cgroup/system.slice/memory.stat", "anon 1\ninactive_file 100000000\n"),
                ("/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
            ],
            GIB,
            4.0,
        );
        assert_eq!(now, Cgroup { memory: Some((536_870_912, Some(200_000_000))), cpus: Some(0.5) });
    }

    #[test]
    fn a_container_of_version_one_sees_its_own_group_at_the_mount() {
        let (_, now) = find(
            &[
                ("/proc/self/cgroup", "9:memory:/docker/4f\n3:cpu,cpuacct:/docker/4f\n1:name=systemd:/docker/4f\n"),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
                ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "50000000\n"),
                ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 20000000\n"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            GIB,
            4.0,
        );
        assert_eq!(now, Cgroup { memory: Some((67_108_864, Some(30_000_000))), cpus: Some(1.5) });
    }

    #[test]
    fn a_limit_above_the_hosts_own_counts_as_none() {
        let one = |limit: &'static str, quota: &'static str| {
            find(
                &[
                    ("/proc/self/cgroup", "9:memory:/\n3:cpu:/\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", limit),
                    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota),
                    ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                ],
                GIB,
                2.0,
            )
            .1
        };
        assert_eq!(one("9223372036854771712\n", "-1\n"), Cgroup::default());
        assert_eq!(one("2147483648\n", "400000\n"), Cgroup::default());
        assert_eq!(one("\n", "x\n"), Cgroup::default());
    }

    #[test]
    fn a_path_outside_the_namespace_is_not_followed() {
        let files = [
            ("/proc/self/cgroup", "0::/../../other\n"),
            ("/sys/fs/cgroup/memory.max", "1000\n"),
            ("/sys/fs/cgroup/../../other/memory.max", "10\n"),
        ];
        assert_eq!(find(&files, GIB, 1.0).1.memory, Some((1000, None)));
    }

    #[test]
    fn without_cgroups_there_is_no_limit() {
        assert_eq!(find(&[], GIB, 1.0), (Limits::default(), Cgroup::default()));
    }
}
