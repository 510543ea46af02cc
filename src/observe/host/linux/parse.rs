//! Parses the files of `/proc`, see proc(5). Lines that cannot be parsed are skipped: one odd line must not cost the rest.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::observe::host::reading::{Cpus, Disk, Interface, Memory, STATES, Swap};

/// `/proc/diskstats` counts in sectors of this many bytes, for every device.
const SECTOR: u64 = 512;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Stat {
    pub(super) boot: Option<SystemTime>,
    pub(super) cpus: Cpus,
}

/// `/proc/stat`: `cpu0 user nice system idle iowait irq softirq steal guest guest_nice`, and `btime`. The times of
/// guests are part of the times of users already.
pub(super) fn stat(text: &str, ticks_a_second: u64) -> Stat {
    let mut stat = Stat::default();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(name) = fields.next() else { continue };
        if let Some(number) = name.strip_prefix("cpu") {
            // Kernels before 2.6.11 have no stolen time.
            let times: [u64; STATES] = std::array::from_fn(|_| fields.next().and_then(number_of).unwrap_or(0));
            let seconds = times.map(|ticks| ticks as f64 / ticks_a_second as f64);
            match number.parse() {
                Ok(number) => stat.cpus.each.push((number, seconds)),
                Err(_) if number.is_empty() => stat.cpus.total = Some(seconds),
                Err(_) => {}
            }
        } else if name == "btime" {
            let boot = fields.next().and_then(number_of).map(Duration::from_secs);
            stat.boot = boot.and_then(|boot| SystemTime::UNIX_EPOCH.checked_add(boot));
        }
    }
    stat
}

/// `/proc/meminfo`, whose kB are units of 1024 bytes. Without `MemAvailable` (kernels before 3.14) free and cached memory
/// counts as available.
pub(super) fn memory(text: &str) -> Option<Memory> {
    let mut lines = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name, number_of(value.split_ascii_whitespace().next()?)?.saturating_mul(1024)))
    });
    let [mut total, mut free, mut available] = [None; 3];
    let [mut buffered, mut cached, mut reclaimable, mut unreclaimable, mut swap_total] = [0; 5];
    lines.by_ref().for_each(|(name, bytes)| match name {
        "MemTotal" => total = Some(bytes),
        "MemFree" => free = Some(bytes),
        "MemAvailable" => available = Some(bytes),
        "Buffers" => buffered = bytes,
        "Cached" => cached = bytes,
        "SReclaimable" => reclaimable = bytes,
        "SUnreclaim" => unreclaimable = bytes,
        "SwapTotal" => swap_total = bytes,
        _ => {}
    });
    let (total, free) = (total?, free?);
    // `free` and the Collector's scraper show the same sum.
    let cached = cached + reclaimable;
    Some(Memory {
        total,
        free,
        available: available.unwrap_or(free + buffered + cached).min(total),
        others: vec![
            ("buffered", buffered),
            ("cached", cached),
            ("slab_reclaimable", reclaimable),
            ("slab_unreclaimable", unreclaimable),
        ],
        swap_total,
    })
}

/// `/proc/swaps`: file name, type, size and use in units of 1024 bytes, below a line of titles.
pub(super) fn swaps(text: &str) -> impl Iterator<Item = Swap> {
    text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (device, _kind) = (fields.next()?, fields.next()?);
        let mut bytes = || Some(number_of(fields.next()?)?.saturating_mul(1024));
        let device = String::from_utf8_lossy(&unescape(device.as_bytes())).into_owned();
        Some(Swap { device, total: bytes()?, used: bytes()? })
    })
}

/// `/proc/diskstats`: major, minor, name, then counts. Devices that were never used (free loop devices, RAM disks) are left
/// out.
pub(super) fn disks(text: &str) -> impl Iterator<Item = Disk> {
    text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let device = fields.next()?.to_owned();
        let mut counts = [0; 10];
        for count in &mut counts {
            *count = number_of(fields.next()?)?;
        }
        let [reads, _, read, _, writes, _, written, _, _, busy] = counts;
        (reads + writes > 0).then(|| Disk {
            device,
            reads,
            writes,
            read_bytes: read.saturating_mul(SECTOR),
            written_bytes: written.saturating_mul(SECTOR),
            busy: Duration::from_millis(busy),
        })
    })
}

/// `net/dev`: `name: bytes packets errs drop fifo frame compressed multicast` received, and the same counts
/// sent, below two lines of titles. A name may contain colons.
pub(super) fn interfaces(text: &str) -> impl Iterator<Item = Interface> {
    text.lines().skip(2).filter_map(|line| {
        let (device, counts) = line.rsplit_once(':')?;
        let mut fields = counts.split_ascii_whitespace();
        let mut side = || {
            let mut counts = [0; 8];
            for count in &mut counts {
                *count = number_of(fields.next()?)?;
            }
            Some(counts)
        };
        let (receive, transmit) = (side()?, side()?);
        let both = |column: usize| [receive[column], transmit[column]];
        Some(Interface {
            device: device.trim().to_owned(),
            bytes: both(0),
            packets: both(1),
            errors: both(2),
            dropped: both(3),
        })
    })
}

/// A process in `/proc/PID/stat`: times in ticks, and its start in ticks since the host's.
#[derive(Debug, PartialEq)]
pub(super) struct ProcessStat {
    pub(super) user: u64,
    pub(super) system: u64,
    pub(super) threads: u64,
    pub(super) start: u64,
    pub(super) virtual_size: u64,
    pub(super) resident_pages: u64,
}

/// `/proc/PID/stat`. The name in brackets may contain anything, brackets too. None for a zombie.
pub(super) fn process(text: &str) -> Option<ProcessStat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    // This is field 3 in proc(5).
    if fields.next()? == "Z" {
        return None;
    }
    let mut field = |skipped: usize| number_of(fields.nth(skipped)?);
    Some(ProcessStat {
        user: field(10)?,
        system: field(0)?,
        threads: field(4)?,
        start: field(1)?,
        virtual_size: field(0)?,
        resident_pages: field(0)?,
    })
}

/// A line of `/proc/PID/mountinfo`, as it is written there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MountLine<'a> {
    pub(super) id: u32,
    /// The id of the mount on which it is mounted.
    pub(super) parent: u32,
    /// `major:minor`
    pub(super) device: &'a [u8],
    /// The directory of the file system that is mounted.
    pub(super) root: &'a [u8],
    mountpoint: &'a [u8],
    /// Options of the mount, not of the file system.
    pub(super) options: &'a [u8],
    pub(super) kind: &'a [u8],
    source: &'a [u8],
}

impl<'a> MountLine<'a> {
    pub(super) fn mountpoint(&self) -> Cow<'a, [u8]> {
        unescape(self.mountpoint)
    }

    /// The name of the mounted device, for people.
    pub(super) fn source(&self) -> String {
        String::from_utf8_lossy(&unescape(self.source)).into_owned()
    }
}

/// `mountinfo`: `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`, with any number of fields
/// before the hyphen. Names need not be UTF-8.
pub(super) fn mounts(text: &[u8]) -> impl Iterator<Item = MountLine<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut id = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (id()?, id()?);
        let device = fields.next()?;
        let (root, mountpoint, options) = (fields.next()?, fields.next()?, fields.next()?);
        fields.find(|field| *field == b"-")?;
        Some(MountLine { id, parent, device, root, mountpoint, options, kind: fields.next()?, source: fields.next()? })
    })
}

/// The kernel writes spaces, tabs, line ends and backslashes in octal: `\040`.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}

/// `NAME VERSION_ID` of os-release(5).
pub(super) fn os_release(text: &str) -> String {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?.trim();
            Some(value.trim_matches(['"', '\'']).to_owned())
        })
    };
    let words = [value("NAME"), value("VERSION_ID")].into_iter().flatten().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn number_of(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn cpu_times_are_in_ticks_and_guest_times_are_not_added() {
        let stat = stat(include_str!("golden/stat.txt"), 100);
        assert_eq!(stat.boot, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(769_041_601)));
        assert_eq!(stat.cpus.total, Some([101_321.53, 2906.96, 30_847.19, 468_284.83, 166.83, 0.0, 251.95, 0.0]));
        let [(0, _), (1, second)] = &stat.cpus.each[..] else { panic!("{:?}", stat.cpus.each) };
        assert_eq!(*second, [13_354.98, 288.34, 5582.46, 111_625.64, 26.56, 0.0, 32.15, 0.0]);
    }

    #[test]
    fn a_kernel_without_stolen_time_and_malformed_lines_are_read() {
        assert_eq!(
            stat("cpu0 1 2 3 4 5 6 7\ncpux 1\n\nbtime x\n", 1).cpus.each,
            [(0, [1., 2., 3., 4., 5., 6., 7., 0.])]
        );
        assert_eq!(stat("", 100), Stat::default());
    }

    #[test]
    fn memory_is_used_when_it_is_not_available() {
        let memory = memory(include_str!("golden/meminfo.txt")).unwrap();
        assert_eq!((memory.total, memory.free), (929_624 * 1024, 102_132 * 1024));
        assert_eq!(memory.used(), (929_624 - 604_400) * 1024);
        assert_eq!(memory.swap_total, 102_396 * 1024);
        let expected = [
            ("buffered", 37_696),
            ("cached", 480_836 + 27_436),
            ("slab_reclaimable", 27_436),
            ("slab_unreclaimable", 19_904),
        ];
        assert_eq!(memory.others, expected.map(|(state, kib)| (state, kib * 1024)));
    }

    #[test]
    fn an_old_kernel_without_available_memory_is_read() {
        let old = memory("MemTotal: 100 kB\nMemFree: 20 kB\nBuffers: 10 kB\nCached: 30 kB\n").unwrap();
        assert_eq!(old.used(), 40 * 1024);
        assert_eq!(memory("MemTotal: 100 kB\n"), None);
        assert_eq!(memory(""), None);
    }

    #[test]
    fn swaps_have_their_own_units_and_names_with_spaces() {
        let swaps: Vec<Swap> = swaps(include_str!("golden/swaps.txt")).collect();
        let of = |device: &str, total: u64, used: u64| Swap {
            device: device.into(),
            total: total * 1024,
            used: used * 1024,
        };
        assert_eq!(
            swaps,
            [of("/var/swap", 102_396, 256), of("/dev/zram0", 464_808, 0), of("/mnt/my disk/swap", 1024, 1024)]
        );
    }

    #[test]
    fn disks_count_in_sectors_and_further_columns_are_skipped() {
        let disks: Vec<Disk> = disks(include_str!("golden/diskstats.txt")).collect();
        let names: Vec<&str> = disks.iter().map(|disk| &*disk.device).collect();
        assert_eq!(names, ["loop0", "mmcblk0", "mmcblk0p1", "vda"]);
        assert_eq!(
            disks[1],
            Disk {
                device: "mmcblk0".into(),
                reads: 38_112,
                writes: 84_417,
                read_bytes: 2_391_034 * 512,
                written_bytes: 3_013_778 * 512,
                busy: Duration::from_millis(651_320),
            }
        );
        assert_eq!(disks[3].written_bytes, 21_536_040 * 512);
    }

    #[test]
    fn interfaces_list_received_first_and_may_have_any_name() {
        let interfaces: Vec<Interface> = interfaces(include_str!("golden/netdev.txt")).collect();
        let names: Vec<&str> = interfaces.iter().map(|interface| &*interface.device).collect();
        assert_eq!(names, ["lo", "eth0", "eth0:1", "wlan0"]);
        assert_eq!(
            interfaces[1],
            Interface {
                device: "eth0".into(),
                bytes: [4_294_967_296_123, 92_834_791],
                packets: [2_998_041, 743_091],
                errors: [3, 5],
                dropped: [17, 2],
            }
        );
        assert_eq!(interfaces[3].bytes, [1234, 99]);
    }

    #[test]
    fn a_process_may_have_brackets_in_its_name() {
        let expected = ProcessStat {
            user: 1734,
            system: 512,
            threads: 11,
            start: 481_532,
            virtual_size: 1_345_974_272,
            resident_pages: 7104,
        };
        assert!(expected.resident_pages * 4096 < 28 * MIB);
        assert_eq!(process(include_str!("golden/process_stat.txt")), Some(expected));
        assert_eq!(process("7 (gone) Z 1 7 7 0 -1 4 0 0 0 0 1 1 0 0 20 0 1 0 5 0 0"), None);
        assert_eq!(process("7 (cut"), None);
        assert_eq!(process("7 (cut) S 1 2"), None);
    }

    #[test]
    fn mounts_have_any_number_of_fields_before_the_hyphen() {
        let lines: Vec<MountLine<'_>> = mounts(include_bytes!("golden/mountinfo.txt")).collect();
        assert_eq!(lines.len(), 17);
        assert_eq!(&*lines[6].mountpoint(), b"/media/my disk");
        assert_eq!((lines[6].kind, lines[6].device, &*lines[6].source()), (&b"ext4"[..], &b"8:1"[..], "/dev/sda1"));
        assert_eq!((lines[7].root, lines[7].options), (&b"/data"[..], &b"rw,relatime"[..]));
        assert_eq!(mounts(b"").count(), 0);
        assert_eq!(mounts(b"1 2 3:4 / / rw ext4 without a hyphen\n").count(), 0);
    }

    #[test]
    fn names_are_unescaped_and_other_backslashes_stay() {
        assert_eq!(&*unescape(br"a\040b\011\012\134c"), b"a b\t\n\\c");
        assert_eq!(&*unescape(br"\9\04\400\"), br"\9\04\400\");
    }

    #[test]
    fn a_distribution_has_a_name_and_perhaps_a_version() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n";
        assert_eq!(os_release(debian), "Debian GNU/Linux 12");
        assert_eq!(os_release("NAME=Arch\nID=arch\n"), "Arch");
        assert_eq!(os_release("nonsense"), "");
    }
}
