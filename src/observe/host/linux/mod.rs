//! Reads a Linux host: `/proc` by a few large reads, file systems by `statvfs`, limits from the agent's cgroup.
//!
//! Network file systems may hang, so [`mounts::ForeignMounts`] reads them on a thread of its own. No file stays open
//! between two samples.

mod cgroup;
mod files;
mod kernel;
mod many;
mod mounts;
mod parse;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::reading::{Cgroup, Cpus, FileSystem, Job, JobResult, Process, ProcessRole, Reading};
use files::{FileEnd, read};

/// The limits of the agent's cgroup are read again after this many samples: they hardly ever change.
const LIMITS_EVERY: u32 = 64;

/// The least time between two lines about what is left out.
const LEFT_OUT_EVERY: Duration = Duration::from_secs(60 * 60);

/// A host with more CPUs than this gets points of their sum only.
const MOST_CPUS: usize = 32;

/// The places of the host's files.
#[derive(Debug, Clone, PartialEq)]
struct Places {
    /// The path in front of every mount point: empty, or `host.root`.
    root: PathBuf,
    proc: PathBuf,
    interfaces: PathBuf,
    mounts: PathBuf,
}

impl Places {
    /// The files of the agent's own view.
    fn own() -> Self {
        let [proc, interfaces, mounts] = ["/proc", "/proc/net/dev", "/proc/self/mountinfo"].map(PathBuf::from);
        Self { root: PathBuf::new(), proc, interfaces, mounts }
    }

    /// The files of the host's first process, with the host's root mounted at `root`.
    ///
    /// `own_mounts` is the agent's own mountinfo. It shows what is mounted without touching the root, which might hang.
    fn at(root: &Path, own_mounts: &[u8]) -> Result<Self, String> {
        let proc = root.join("proc");
        let mounted = parse::mounts(own_mounts).any(|mount| {
            mount.kind == b"proc" && mount.root == b"/" && *mount.mountpoint() == *proc.as_os_str().as_bytes()
        });
        if !mounted {
            return Err(format!("{}: the host's /proc is not mounted there", proc.display()));
        }
        let first = proc.join("1");
        for name in ["net/dev", "mountinfo"] {
            let file = first.join(name);
            fs::File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(Self { root: root.into(), interfaces: first.join("net/dev"), mounts: first.join("mountinfo"), proc })
    }
}

/// Reads the host, and remembers the places of its files.
#[derive(Debug)]
pub(super) struct Reader {
    root: PathBuf,
    /// None before the first sample.
    places: Option<Places>,
    foreign: mounts::ForeignMounts,
    limits: cgroup::Limits,
    samples: u32,
    /// Mount points of the host that the agent cannot see, and has logged.
    unseen: Vec<String>,
    /// When interfaces or file systems that are left out were logged last.
    left_out_logged: Option<Instant>,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: plain(root),
            places: None,
            foreign: mounts::ForeignMounts::new(Arc::new(kernel::space)),
            limits: cgroup::Limits::default(),
            samples: 0,
            unseen: Vec::new(),
            left_out_logged: None,
            buffer: Vec::new(),
        }
    }

    pub(super) fn set_root(&mut self, root: &Path) {
        if self.root != root {
            (self.root, self.places) = (plain(root), None);
        }
    }

    pub(super) fn read(
        &mut self,
        collector: Option<u32>,
        now: Instant,
        wall: SystemTime,
    ) -> (Reading, JobResult, Option<Job>) {
        let places = self.places();
        let buffer = &mut self.buffer;
        let mut reading = Reading::default();
        if let Some(text) = read(&places.proc.join("stat"), FileEnd::Short, buffer) {
            let stat = parse::stat(&text, kernel::ticks_a_second());
            reading.boot = stat.boot;
            reading.cpus = stat.cpus;
        }
        let cpus = reading.cpus.each.len();
        if cpus > MOST_CPUS {
            reading.cpus = Cpus { each: Vec::new(), ..reading.cpus };
        }
        reading.memory =
            read(&places.proc.join("meminfo"), FileEnd::Short, buffer).and_then(|text| parse::memory(&text));
        (reading.uptime, reading.load) = kernel::uptime_and_load();
        if reading.memory.as_ref().is_some_and(|memory| memory.swap_total > 0)
            && let Some(text) = read(&places.proc.join("swaps"), FileEnd::End, buffer)
        {
            reading.swaps = parse::swaps(&text).collect();
        }
        if let Some(text) = read(&places.proc.join("diskstats"), FileEnd::ShortRecords, buffer) {
            reading.disks = parse::disks(&text).collect();
        }
        reading.left_out.disks = many::limit_disks(&mut reading.disks, |disk| disk.device.as_str());
        if let Some(text) = read(&places.interfaces, FileEnd::ShortRecords, buffer) {
            reading.interfaces = parse::interfaces(&text).collect();
        }
        reading.left_out.interfaces =
            many::limit_interfaces(&mut reading.interfaces, |interface| interface.device.as_str());
        let chosen = self.mounts(&places);
        reading.left_out.file_systems = chosen.left_out;
        if let Some(line) = many::describe(reading.left_out)
            && self.left_out_logged.is_none_or(|at| now.saturating_duration_since(at) >= LEFT_OUT_EVERY)
        {
            log::info!("{line}");
            self.left_out_logged = Some(now);
        }
        reading.file_systems = chosen
            .local
            .into_iter()
            .filter_map(|entry| {
                let space = kernel::space(&entry.below(&places.root)).ok()?;
                Some(FileSystem { mount: entry.mount, space })
            })
            .collect();
        let (late, hanging, job) = self.foreign.look(&places.root, chosen.foreign, now, wall);
        reading.hanging = hanging;
        let processes = [(ProcessRole::Agent, Some(std::process::id())), (ProcessRole::Collector, collector)];
        reading.processes = processes
            .into_iter()
            .filter_map(|(role, pid)| process(role, pid?, reading.boot, &mut self.buffer))
            .collect();
        let memory = reading.memory.as_ref().map_or(0, |memory| memory.total);
        reading.cgroup = self.cgroup(memory, cpus as f64);
        self.samples = self.samples.wrapping_add(1);
        self.buffer.clear();
        // A host with thousands of mounts has made it larger.
        self.buffer.shrink_to(files::ROOM);
        (reading, late, job)
    }

    fn places(&mut self) -> Places {
        if let Some(places) = &self.places {
            return places.clone();
        }
        let places = if self.root == Path::new("/") {
            Places::own()
        } else {
            let own =
                files::bytes(Path::new("/proc/self/mountinfo"), FileEnd::End, &mut self.buffer).unwrap_or_default();
            Places::at(&self.root, own).unwrap_or_else(|why| {
                log::warn!(
                    "host.root: {why}; sampling what the agent itself can see; mount the host's root with all that is \
                     mounted below it, as docker run -v /:{}:ro,rslave does",
                    self.root.display()
                );
                Places::own()
            })
        };
        self.places.insert(places).clone()
    }

    fn mounts(&mut self, places: &Places) -> mounts::ChosenMounts {
        let Some(text) = files::bytes(&places.mounts, FileEnd::End, &mut self.buffer) else {
            return mounts::ChosenMounts::default();
        };
        let chosen = mounts::choose(text);
        if places.root.as_os_str().is_empty() {
            return chosen;
        }
        // A file system that only the host sees there must not be mixed up with the one beneath it, which the agent sees.
        let own = files::bytes(Path::new("/proc/self/mountinfo"), FileEnd::End, &mut self.buffer).unwrap_or_default();
        let (seen, unseen) = chosen.seen_below(&places.root, own);
        for mountpoint in &unseen {
            if !self.unseen.contains(mountpoint) {
                log::warn!(
                    "host.root: {mountpoint} of the host is not mounted below {}; it is not sampled; mount the host's root \
                     with rslave",
                    places.root.display()
                );
            }
        }
        self.unseen = unseen;
        seen
    }

    fn cgroup(&mut self, memory: u64, cpus: f64) -> Cgroup {
        let buffer = &mut self.buffer;
        let mut text = |path: &Path| read(path, FileEnd::Short, buffer).map(std::borrow::Cow::into_owned);
        if self.samples.is_multiple_of(LIMITS_EVERY) {
            self.limits = cgroup::Limits::find(Path::new("/sys/fs/cgroup"), &mut text, memory, cpus);
        }
        self.limits.now(&mut text)
    }
}

/// The path without a slash at its end, as the kernel writes mount points.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Reads a process from the agent's own /proc: the pids are valid only there.
fn process(role: ProcessRole, pid: u32, boot: Option<SystemTime>, buffer: &mut Vec<u8>) -> Option<Process> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let text = read(&directory.join("stat"), FileEnd::Short, buffer)?;
    let stat = parse::process(&text)?;
    let second = kernel::ticks_a_second();
    let time = |ticks: u64| ticks as f64 / second as f64;
    Some(Process {
        role,
        pid,
        start: boot.map(|boot| boot + Duration::from_secs_f64(time(stat.start))),
        user: time(stat.user),
        system: time(stat.system),
        resident: stat.resident_pages * kernel::page_size(),
        virtual_size: stat.virtual_size,
        threads: Some(stat.threads),
        descriptors: kernel::open_descriptors(pid),
    })
}

/// The names of the host and of its operating system.
pub(super) fn name_and_version(root: &Path) -> (String, String) {
    let mut buffer = Vec::new();
    let own = root == Path::new("/");
    let name = (!own)
        .then(|| read(&root.join("etc/hostname"), FileEnd::End, &mut buffer).map(|text| text.trim().to_owned()))
        .flatten()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(kernel::host_name);
    let release = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| Some(parse::os_release(&read(&root.join(path), FileEnd::End, &mut buffer)?)));
    let version = match release.filter(|release| !release.is_empty()) {
        Some(release) => format!("Linux ({release})"),
        None => format!("Linux ({})", crate::os::kernel_release()),
    };
    (name, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &[u8] = b"\
100 90 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b
101 100 0:51 / /proc rw - proc proc rw
102 100 8:1 / /hostfs ro,relatime - ext4 /dev/sda1 rw
";

    #[test]
    fn a_root_without_the_hosts_proc_is_refused() {
        let error = Places::at(Path::new("/hostfs"), CONTAINER).unwrap_err();
        assert_eq!(error, "/hostfs/proc: the host's /proc is not mounted there");
    }

    #[test]
    fn a_root_with_proc_but_no_first_process_is_refused() {
        let mounts = [CONTAINER, b"103 102 0:52 / /nowhere/proc rw - proc proc rw\n"].concat();
        let error = Places::at(Path::new("/nowhere"), &mounts).unwrap_err();
        assert!(error.starts_with("/nowhere/proc/1/net/dev: No such file"), "{error}");
    }

    #[test]
    fn a_root_may_be_written_with_a_slash_at_its_end() {
        assert_eq!(Reader::new(Path::new("/hostfs/")).root.as_os_str(), "/hostfs");
        assert_eq!(Reader::new(Path::new("/")).root.as_os_str(), "/");
    }

    #[test]
    fn without_the_hosts_root_the_agents_own_root_is_sampled() {
        let mut reader = Reader::new(Path::new("/nowhere"));
        assert_eq!(reader.places(), Places::own());
        let (reading, ..) = reader.read(None, Instant::now(), SystemTime::now());
        assert!(reading.memory.is_some() && reading.boot.is_some());
    }

    #[test]
    fn the_agents_own_process_is_read() {
        let now = SystemTime::now();
        let (reading, ..) = Reader::new(Path::new("/")).read(None, Instant::now(), now);
        let [process] = &reading.processes[..] else { panic!("{:?}", reading.processes) };
        assert_eq!((process.role, process.pid), (ProcessRole::Agent, std::process::id()));
        assert!(process.start.is_some_and(|start| start <= now && Some(start) > reading.boot));
        assert!(process.resident > 0 && process.virtual_size > process.resident);
        assert!(process.threads.is_some_and(|threads| threads >= 1));
        assert!(process.descriptors.is_some_and(|open| open >= 3));
    }
}
