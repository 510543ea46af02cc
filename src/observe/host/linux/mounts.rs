//! Chooses the file systems to sample, and keeps the agent from hanging when one of them hangs.
//!
//! A file system on a disk of this host answers from the kernel's memory. A file system that a server or a process provides
//! (NFS, FUSE, Ceph, …) may hang for ever: it is asked on a short-lived thread, and there is never more than one such
//! thread.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::many;
use super::parse::{self, MountLine};
use crate::observe::host::reading::{FileSystem, Job, JobResult, Mount, Space};

/// A file system that has not answered for this long counts as hanging.
const HANGS: Duration = Duration::from_secs(5);

/// The way in which a file system is asked for its space.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Class {
    /// In the sample itself.
    Local,
    /// On the thread, since it may hang.
    Foreign,
    /// It is not asked at all.
    Ignored,
}

/// File systems that answer from the kernel's memory.
const LOCAL: &[&str] = &[
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "hfsplus", "jffs2", "jfs", "minix", "msdos",
    "nilfs2", "ntfs", "ntfs3", "reiserfs", "ubifs", "udf", "ufs", "vfat", "xfs", "yaffs", "yaffs2", "zfs",
];

/// File systems without space of their own, and images, which are always full. autofs would mount something when asked.
const IGNORED: &[&str] = &[
    "aufs",
    "autofs",
    "bdev",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "cramfs",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "functionfs",
    "fuse.archivemount",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fuse.squashfuse",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nfsd",
    "nsfs",
    "openpromfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "resctrl",
    "romfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
    "xenfs",
];

fn class(line: &MountLine<'_>, mountpoint: &[u8]) -> Class {
    let is = |kinds: &[&str]| kinds.iter().any(|kind| kind.as_bytes() == line.kind);
    // The root of a container is an overlay, and the only file system that matters there.
    if is(LOCAL) || (line.kind == b"overlay" && mountpoint == b"/") {
        Class::Local
    } else if is(IGNORED) {
        Class::Ignored
    } else {
        Class::Foreign
    }
}

/// A file system to be asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) mount: Mount,
    /// The mount point, which need not be UTF-8.
    path: PathBuf,
    /// `major:minor`
    device: Vec<u8>,
    /// Of the mounts of one device, the one with the lowest rank is chosen.
    rank: u8,
    /// The ids of the mount, and of the mount below it.
    id: u32,
    parent: u32,
}

impl Entry {
    /// The mount point, with the host's root mounted at `root`. An empty root is the agent's own.
    pub(super) fn below(&self, root: &Path) -> PathBuf {
        if root.as_os_str().is_empty() {
            return self.path.clone();
        }
        match self.path.strip_prefix("/") {
            // Joined, the path would end with a slash, which no mount point does.
            Ok(path) if path.as_os_str().is_empty() => root.to_owned(),
            Ok(path) => root.join(path),
            Err(_) => self.path.clone(),
        }
    }
}

/// The file systems to ask.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ChosenMounts {
    pub(super) local: Vec<Entry>,
    pub(super) foreign: Vec<Entry>,
    /// The number of file systems that are not asked since there are too many.
    pub(super) left_out: usize,
}

/// Chooses one mount of each device that no other mount hides.
pub(super) fn choose(mountinfo: &[u8]) -> ChosenMounts {
    let mut entries: Vec<(Class, Entry)> = Vec::new();
    for line in parse::mounts(mountinfo) {
        let mountpoint = line.mountpoint();
        entries.retain(|(_, entry)| !hides(&line, &mountpoint, entry));
        let class = class(&line, &mountpoint);
        if class == Class::Ignored {
            continue;
        }
        let rank = rank(&line, &mountpoint);
        let same = entries.iter().position(|(_, entry)| entry.device == line.device);
        match same {
            Some(index) if entries[index].1.rank <= rank => {}
            Some(index) => entries[index] = (class, entry(&line, &mountpoint, rank)),
            None => entries.push((class, entry(&line, &mountpoint, rank))),
        }
    }
    let left_out = many::limit_file_systems(&mut entries, |(_, entry)| entry.path.as_os_str().as_bytes());
    let may_hang: Vec<Vec<u8>> = entries
        .iter()
        .filter(|(class, _)| *class == Class::Foreign)
        .map(|(_, entry)| entry.path.as_os_str().as_bytes().to_vec())
        .collect();
    let mut chosen = ChosenMounts { left_out, ..ChosenMounts::default() };
    for (class, entry) in entries {
        // A local file system below one that may hang may hang too.
        let beyond = may_hang.iter().any(|path| lies_in(entry.path.as_os_str().as_bytes(), path));
        match class {
            Class::Local if !beyond => chosen.local.push(entry),
            Class::Local | Class::Foreign => chosen.foreign.push(entry),
            Class::Ignored => {}
        }
    }
    chosen
}

/// Whether a mount lies on the same place as an earlier one, or over a directory above it.
fn hides(line: &MountLine<'_>, mountpoint: &[u8], entry: &Entry) -> bool {
    let path = entry.path.as_os_str().as_bytes();
    lies_in(path, mountpoint) && (path == mountpoint || (line.id > entry.id && line.id != entry.parent))
}

/// A whole file system ranks before a part of it, and a directory before a file that a container engine has mounted into
/// `/etc`.
fn rank(line: &MountLine<'_>, mountpoint: &[u8]) -> u8 {
    u8::from(line.root != b"/") + 2 * u8::from(mountpoint.starts_with(b"/etc/"))
}

/// Whether a path is `directory`, or below it.
fn lies_in(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || directory == b"/",
        None => false,
    }
}

fn entry(line: &MountLine<'_>, mountpoint: &[u8], rank: u8) -> Entry {
    let has = |option: &[u8]| line.options.split(|byte| *byte == b',').any(|one| one == option);
    let mode = if has(b"rw") { "rw" } else { "ro" };
    let mut device = line.source();
    // The kernel's name for the device it booted from: `/sys` has the real one.
    if device == "/dev/root" {
        let link = Path::new("/sys/dev/block").join(String::from_utf8_lossy(line.device).as_ref());
        let name =
            std::fs::read_link(link).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        device = name.map_or(device, |name| format!("/dev/{name}"));
    }
    // File systems such as davfs may have a password in the device's name.
    if let Some((scheme, rest)) = device.split_once("://")
        && let Some((_, host)) = rest.split('/').next().and_then(|authority| authority.rsplit_once('@'))
    {
        let path = &rest[rest.find('/').unwrap_or(rest.len())..];
        device = format!("{scheme}://{host}{path}");
    }
    Entry {
        mount: Mount {
            device,
            mountpoint: String::from_utf8_lossy(mountpoint).into_owned(),
            kind: String::from_utf8_lossy(line.kind).into_owned(),
            mode,
        },
        path: PathBuf::from(std::ffi::OsStr::from_bytes(mountpoint)),
        device: line.device.to_vec(),
        rank,
        id: line.id,
        parent: line.parent,
    }
}

impl ChosenMounts {
    /// Returns the file systems that the agent's own mountinfo shows below `root`, and the mount points of the others.
    pub(super) fn seen_below(self, root: &Path, own: &[u8]) -> (Self, Vec<String>) {
        let visible: Vec<(&[u8], Cow<'_, [u8]>)> =
            parse::mounts(own).map(|line| (line.device, line.mountpoint())).collect();
        let mut unseen = Vec::new();
        let mut keep = |entries: Vec<Entry>| -> Vec<Entry> {
            let seen = |entry: &Entry| {
                let there = entry.below(root);
                let there = there.as_os_str().as_bytes();
                // The last mount on a place is the visible one.
                let last = visible.iter().rev().find(|(_, mountpoint)| **mountpoint == *there);
                last.is_some_and(|(device, _)| *device == entry.device)
            };
            let (seen, hidden): (Vec<_>, Vec<_>) = entries.into_iter().partition(seen);
            unseen.extend(hidden.into_iter().map(|entry| entry.mount.mountpoint));
            seen
        };
        let chosen = Self { local: keep(self.local), foreign: keep(self.foreign), left_out: self.left_out };
        (chosen, unseen)
    }
}

/// Asks a file system for its space.
pub(super) type SpaceQuery = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// Asks the file systems that may hang, on one thread at most.
pub(super) struct ForeignMounts {
    ask: SpaceQuery,
    progress: Arc<Mutex<Progress>>,
    /// The mount point that hangs and has been logged.
    reported: Option<String>,
}

/// The state of the thread.
#[derive(Debug, Default)]
struct Progress {
    /// The thread runs, or its job waits to be started.
    running: bool,
    /// The file system that the thread is asking, and the time when it began to.
    at: Option<(Instant, Mount)>,
    late: JobResult,
}

impl fmt::Debug for ForeignMounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignMounts")
            .field("progress", &self.progress)
            .field("reported", &self.reported)
            .finish_non_exhaustive()
    }
}

impl ForeignMounts {
    pub(super) fn new(ask: SpaceQuery) -> Self {
        Self { ask, progress: Arc::default(), reported: None }
    }

    /// Returns the result of a thread that has ended, the mount points that hang, and the work for the next thread.
    ///
    /// While one file system hangs, none of the others is asked: the same server may have a hundred more.
    pub(super) fn look(
        &mut self,
        root: &Path,
        entries: Vec<Entry>,
        now: Instant,
        wall: SystemTime,
    ) -> (JobResult, Vec<String>, Option<Job>) {
        let progress = self.progress.clone();
        let mut known = progress.lock().unwrap_or_else(PoisonError::into_inner);
        if known.running {
            if let Some((since, mount)) = &known.at
                && now.saturating_duration_since(*since) >= HANGS
                && self.reported.as_ref() != Some(&mount.mountpoint)
            {
                log::warn!(
                    "file system at {} ({}) does not answer; no network file system is looked at until it does",
                    mount.mountpoint,
                    mount.kind
                );
                self.reported = Some(mount.mountpoint.clone());
            }
            return (JobResult::default(), self.reported.iter().cloned().collect(), None);
        }
        if let Some(mountpoint) = self.reported.take() {
            log::info!("file system at {mountpoint} answers again");
        }
        let late = std::mem::take(&mut known.late);
        if entries.is_empty() {
            return (JobResult::default(), Vec::new(), None);
        }
        known.running = true;
        drop(known);
        let (ask, root) = (self.ask.clone(), root.to_owned());
        // Made before the job: so a job that is dropped and never runs counts as ended too.
        let guard = EndGuard { progress, late: JobResult::default() };
        let job = move || {
            let mut guard = guard;
            for entry in entries {
                let path = entry.below(&root);
                guard.at(Some((Instant::now(), entry.mount.clone())));
                match ask(&path) {
                    Ok(space) => guard.late.file_systems.push(FileSystem { mount: entry.mount, space }),
                    Err(error) => log::debug!("{}: cannot be asked for its space: {error}", path.display()),
                }
            }
            guard.late.at = Some(wall);
        };
        (late, Vec::new(), Some(Box::new(job)))
    }
}

/// Records the end of the thread when it is dropped, also after a panic.
struct EndGuard {
    progress: Arc<Mutex<Progress>>,
    late: JobResult,
}

impl EndGuard {
    fn at(&self, at: Option<(Instant, Mount)>) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).at = at;
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *progress = Progress { running: false, at: None, late: std::mem::take(&mut self.late) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn mountpoints(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| &*entry.mount.mountpoint).collect()
    }

    #[test]
    fn one_mount_of_each_disk_is_local_and_mounts_that_may_hang_are_not() {
        let chosen = choose(include_bytes!("golden/mountinfo.txt"));
        assert_eq!(mountpoints(&chosen.local), ["/", "/boot", "/media/my disk"]);
        // A disk below a network file system may hang too, and so may a file system of unknown type.
        assert_eq!(mountpoints(&chosen.foreign), ["/mnt/nas", "/mnt/nas/local", "/home/pi/remote", "/mnt/new"]);
        let boot = &chosen.local[1].mount;
        assert_eq!((&*boot.device, &*boot.kind, boot.mode), ("/dev/mmcblk0p1", "vfat", "ro"));
    }

    #[test]
    fn a_password_in_the_name_of_a_device_is_removed() {
        let text = b"1 0 0:40 / /mnt/dav rw - fuse.davfs https://me:secret@dav.example/a@b rw\n\
            2 0 0:41 / /mnt/ssh rw - fuse.sshfs me@host.example:/ rw\n";
        let chosen = choose(text);
        let devices: Vec<&str> = chosen.foreign.iter().map(|entry| &*entry.mount.device).collect();
        assert_eq!(devices, ["https://dav.example/a@b", "me@host.example:/"]);
    }

    #[test]
    fn mounts_hidden_by_another_mount_are_left_out() {
        // The root may be listed after the mounts on it.
        let text = b"\
22 27 8:1 / /boot rw - ext4 /dev/sda1 rw
27 1 8:2 / / rw - ext4 /dev/sda2 rw
40 27 8:3 / /home rw - ext4 /dev/sda3 rw
41 40 8:4 / /home/me/disk rw - ext4 /dev/sda4 rw
50 40 8:5 / /home rw - ext4 /dev/sda5 rw
";
        let chosen = choose(text);
        let devices: Vec<&str> = chosen.local.iter().map(|entry| &*entry.mount.device).collect();
        assert_eq!(devices, ["/dev/sda1", "/dev/sda2", "/dev/sda5"]);
    }

    #[test]
    fn in_a_container_the_root_and_the_volume_are_asked() {
        let chosen = choose(include_bytes!("golden/container_mountinfo.txt"));
        assert_eq!(mountpoints(&chosen.local), ["/", "/var/lib/otelet"]);
        assert_eq!(chosen.foreign, []);
    }

    #[test]
    fn mounts_not_visible_below_the_hosts_root_are_not_asked() {
        let chosen = choose(include_bytes!("golden/mountinfo.txt"));
        let own = b"\
1 0 179:2 / /hostfs ro - ext4 /dev/mmcblk0p2 rw
2 1 179:1 / /hostfs/boot ro - vfat /dev/mmcblk0p1 rw
3 1 8:99 / /hostfs/media/my\\040disk ro - ext4 /dev/sdz1 rw
4 1 0:40 / /hostfs/mnt/nas ro - nfs4 192.0.2.7:/export rw
";
        let (seen, unseen) = chosen.seen_below(Path::new("/hostfs"), own);
        assert_eq!(mountpoints(&seen.local), ["/", "/boot"]);
        assert_eq!(mountpoints(&seen.foreign), ["/mnt/nas"]);
        assert_eq!(unseen, ["/media/my disk", "/mnt/nas/local", "/home/pi/remote", "/mnt/new"]);
        assert_eq!(seen.local[1].below(Path::new("/hostfs")), Path::new("/hostfs/boot"));
        assert_eq!(seen.local[0].below(Path::new("/hostfs")), Path::new("/hostfs"));
        assert_eq!(seen.local[1].below(Path::new("")), Path::new("/boot"));
    }

    /// A network file system that answers when the test says so.
    struct Server {
        asked: mpsc::Receiver<PathBuf>,
        answers: mpsc::Sender<Space>,
        foreign: ForeignMounts,
    }

    const SPACE: Space = Space { used: 1, free: 2, reserved: 3, inodes: Some([4, 5]) };

    impl Server {
        fn new() -> Self {
            let (asks, asked) = mpsc::channel();
            let (answers, answered) = mpsc::channel();
            let answered = Mutex::new(answered);
            let ask = move |path: &Path| {
                asks.send(path.to_owned()).unwrap();
                answered.lock().unwrap().recv().map_err(|_| io::ErrorKind::TimedOut.into())
            };
            Self { asked, answers, foreign: ForeignMounts::new(Arc::new(ask)) }
        }

        fn look(&mut self, after: Duration) -> (JobResult, Vec<String>, Option<Job>) {
            let entries = choose(b"1 0 0:40 / /mnt/a rw - nfs4 s:/ rw\n2 0 0:41 / /mnt/b rw - nfs4 s:/ rw\n").foreign;
            let wall = SystemTime::UNIX_EPOCH + after;
            self.foreign.look(Path::new(""), entries, Instant::now() + after, wall)
        }
    }

    #[test]
    fn a_threads_result_comes_with_the_next_sample_and_keeps_its_time() {
        let mut server = Server::new();
        let (late, hanging, job) = server.look(Duration::ZERO);
        assert_eq!((late.at, &*hanging), (None, &[][..]));

        server.answers.send(SPACE).unwrap();
        server.answers.send(SPACE).unwrap();
        job.unwrap()();

        let (late, hanging, job) = server.look(Duration::from_secs(16));
        assert_eq!(late.at, Some(SystemTime::UNIX_EPOCH));
        assert_eq!(late.file_systems.iter().map(|it| &*it.mount.mountpoint).collect::<Vec<_>>(), ["/mnt/a", "/mnt/b"]);
        assert_eq!(late.file_systems[0].space, SPACE);
        assert!(hanging.is_empty() && job.is_some());
    }

    #[test]
    fn a_hanging_file_system_is_reported_and_no_second_thread_is_made() {
        let mut server = Server::new();
        let (.., job) = server.look(Duration::ZERO);
        let thread = thread::spawn(job.unwrap());
        assert_eq!(server.asked.recv().unwrap(), Path::new("/mnt/a"));

        let (_, hanging, job) = server.look(HANGS / 2);
        assert!(hanging.is_empty() && job.is_none(), "it has more time to answer");
        for round in 1..100 {
            let (late, hanging, job) = server.look(HANGS * 2 * round);
            assert_eq!((late.at, &*hanging), (None, &["/mnt/a".to_owned()][..]));
            assert!(job.is_none());
        }

        server.answers.send(SPACE).unwrap();
        server.answers.send(SPACE).unwrap();
        thread.join().unwrap();
        let (late, hanging, job) = server.look(HANGS * 500);
        assert_eq!(late.file_systems.len(), 2);
        assert!(hanging.is_empty() && job.is_some());
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_tried_again() {
        let mut server = Server::new();
        let (.., job) = server.look(Duration::ZERO);
        drop(job.unwrap());
        let (late, hanging, job) = server.look(Duration::from_secs(16));
        assert!(late.at.is_none() && hanging.is_empty() && job.is_some());
    }

    #[test]
    fn a_file_system_that_answers_with_an_error_is_left_out() {
        let mut server = Server::new();
        let (.., job) = server.look(Duration::ZERO);
        server.answers.send(SPACE).unwrap();
        server.answers = mpsc::channel().0;
        job.unwrap()();
        let (late, ..) = server.look(Duration::from_secs(16));
        assert_eq!(late.file_systems.len(), 1);
    }
}
