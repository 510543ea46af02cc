//! The cgroups (version 2) of the collector. The kernel enforces a limit only in a group without processes beside it, so
//! the agent and what it starts have a leaf each below the cgroup that a service manager has delegated.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::process::is_descendant;

/// The cgroup that limits a child's memory: its `cgroup.procs`, opened for writing.
pub type MemoryGroup = File;

/// The leaf into which the agent moves itself.
const AGENT: &str = "otelet-agent";

/// Makes a cgroup of this name for a child, with this memory limit in bytes, and opens it for the child to enter.
///
/// # Errors
///
/// A message with the way out, if there is no cgroup v2 or the agent may not make one. Then only GOMEMLIMIT advises the
/// limit.
pub fn memory_group(limit: u64, name: &str) -> Result<MemoryGroup, String> {
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("this host has no cgroup v2")?;
    group_below(Path::new("/sys/fs/cgroup"), path, limit, name, is_descendant)
}

/// The same for the agent's cgroup `own` of a hierarchy that is mounted at `root`. `is_ours` knows the agent and its
/// descendants.
fn group_below(
    root: &Path,
    own: &str,
    limit: u64,
    name: &str,
    is_ours: impl Fn(u32) -> bool,
) -> Result<MemoryGroup, String> {
    let own = root.join(own.trim_start_matches('/'));
    if !own.join("cgroup.controllers").exists() {
        return Err(format!("no cgroup v2 is mounted at {}", root.display()));
    }
    // At a later call the agent is in its leaf.
    let parent = match own.parent() {
        Some(parent) if own.file_name().is_some_and(|name| name == AGENT) => parent,
        Some(_) | None => &own,
    };
    share_memory(parent, is_ours)?;
    let group = parent.join(name);
    fs::create_dir_all(&group).map_err(|error| format!("{}: {error}", group.display()))?;
    write(&group.join("memory.max"), &limit.to_string())?;
    let procs = group.join("cgroup.procs");
    fs::OpenOptions::new().write(true).open(&procs).map_err(|error| format!("{}: {error}", procs.display()))
}

/// Has the groups below `parent` limit their memory, which the kernel allows only while no process is in `parent` itself.
fn share_memory(parent: &Path, is_ours: impl Fn(u32) -> bool) -> Result<(), String> {
    let read = |name: &str| {
        let path = parent.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let has_memory = |controllers: String| controllers.split_whitespace().any(|name| name == "memory");
    if has_memory(read("cgroup.subtree_control")?) {
        return Ok(());
    }
    if !has_memory(read("cgroup.controllers")?) {
        return Err(format!("{} has no memory controller; a systemd unit needs Delegate=memory", parent.display()));
    }
    let procs = read("cgroup.procs")?;
    let processes = || procs.lines().filter_map(|line| line.parse::<u32>().ok());
    if let Some(other) = processes().find(|pid| !is_ours(*pid)) {
        return Err(format!(
            "process {other} is in {} beside the agent; run the agent as a service, or in a cgroup of its own",
            parent.display()
        ));
    }
    let leaf = parent.join(AGENT);
    fs::create_dir_all(&leaf).map_err(|error| {
        format!("{}: {error}; a systemd unit needs Delegate=memory and no ProtectControlGroups", leaf.display())
    })?;
    for pid in processes() {
        match fs::write(leaf.join("cgroup.procs"), pid.to_string()) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved.map_err(|error| format!("{}: {error}", leaf.join("cgroup.procs").display()))?,
        }
    }
    write(&parent.join("cgroup.subtree_control"), "+memory")
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let written: io::Result<()> = fs::write(path, text);
    written.map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the files of a cgroup, which take every write.
    fn hierarchy(name: &str, controllers: &str, processes: &str) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("otelet-cgroup-{}-{name}", std::process::id()));
        let unit = root.join("system.slice/otelet.service");
        for leaf in [AGENT, "otelet-collector"] {
            fs::create_dir_all(unit.join(leaf)).unwrap();
            fs::write(unit.join(leaf).join("cgroup.procs"), "").unwrap();
        }
        for (file, text) in
            [("cgroup.controllers", controllers), ("cgroup.subtree_control", ""), ("cgroup.procs", processes)]
        {
            fs::write(unit.join(file), text).unwrap();
        }
        root
    }

    const UNIT: &str = "/system.slice/otelet.service";

    #[test]
    fn agent_and_collector_have_a_leaf_each_of_a_delegated_cgroup() {
        let root = hierarchy("delegated", "memory pids\n", "41\n42\n");
        let unit = root.join(&UNIT[1..]);
        let text = |name: &str| fs::read_to_string(unit.join(name)).unwrap();

        group_below(&root, UNIT, 1 << 20, "otelet-collector", |pid| pid < 50).unwrap();

        assert_eq!(text("cgroup.subtree_control"), "+memory");
        assert_eq!(text("otelet-collector/memory.max"), "1048576");
        assert_eq!(text("otelet-agent/cgroup.procs"), "42", "the last one that was moved; a file keeps no list");

        // Later, with the memory controller on and the agent in its leaf.
        fs::write(unit.join("cgroup.subtree_control"), "memory\n").unwrap();
        fs::write(unit.join(AGENT).join("cgroup.controllers"), "").unwrap();
        let own = format!("{UNIT}/{AGENT}");
        group_below(&root, &own, 2 << 20, "otelet-collector", |_| false).unwrap();
        assert_eq!(text("otelet-collector/memory.max"), "2097152");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_cgroup_without_the_controller_or_with_other_processes_is_left_alone() {
        for (name, controllers, wanted) in [
            ("bare", "pids\n", "otelet.service has no memory controller; a systemd unit needs Delegate=memory"),
            ("shared", "memory\n", "process 99 is in "),
        ] {
            let root = hierarchy(name, controllers, "41\n99\n");
            let said = group_below(&root, UNIT, 1, "otelet-collector", |pid| pid == 41).unwrap_err();
            assert!(said.contains(wanted), "{said}");
            let unit = root.join(&UNIT[1..]);
            assert_eq!(fs::read_to_string(unit.join(AGENT).join("cgroup.procs")).unwrap(), "");
            fs::remove_dir_all(&root).unwrap();
        }
        let nowhere = group_below(Path::new("/nowhere"), "/", 1, "x", |_| true).unwrap_err();
        assert_eq!(nowhere, "no cgroup v2 is mounted at /nowhere");
    }
}
