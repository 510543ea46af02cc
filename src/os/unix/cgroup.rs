//! The cgroup of the collector.

use std::fs::{self, File};
use std::path::Path;

/// The cgroup that limits a child's memory: its `cgroup.procs`, opened for writing.
pub type MemoryGroup = File;

/// Makes a cgroup (v2) below the agent's own with this memory limit in bytes, and opens it for a child to enter.
///
/// # Errors
///
/// A message, if there is no cgroup v2 or the agent may not make one. Then only GOMEMLIMIT advises the limit.
pub fn memory_group(limit: u64) -> Result<MemoryGroup, String> {
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no cgroup v2 here")?;
    let parent = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    if !parent.join("cgroup.controllers").exists() {
        return Err("no cgroup v2 is mounted at /sys/fs/cgroup".into());
    }
    let group = parent.join("otelet-collector");
    fs::create_dir_all(&group).map_err(|error| format!("{}: {error}", group.display()))?;
    let max = group.join("memory.max");
    fs::write(&max, limit.to_string()).map_err(|error| format!("{}: {error}", max.display()))?;
    let procs = group.join("cgroup.procs");
    fs::OpenOptions::new().write(true).open(&procs).map_err(|error| format!("{}: {error}", procs.display()))
}
