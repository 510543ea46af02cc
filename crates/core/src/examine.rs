//! Judges what `otelet doctor` has looked at. Pure: the facts come in, a verdict and the words for it go out.

use std::time::{Duration, SystemTime};

use crate::units::{format_size, rfc3339, two_units};

/// No right clock shows a time before this, the start of 2025: the agent is younger.
pub const BEFORE_OTELET: Duration = Duration::from_secs(1_735_689_600);

/// Clocks that differ by less count as equal. Kerberos allows as much (RFC 4120, section 8.2), and certificates and tokens of
/// some minutes are lost beyond it.
const ALIKE: Duration = Duration::from_secs(5 * 60);

/// The files that the agent may have in its state directory at a time, in round figures.
const FILES: u64 = 16;

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// To be mended. The words end with the cure.
    Bad,
    /// Nothing is known. The words are the reason.
    NotLookedAt,
}

impl Verdict {
    /// The word in front of the text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::NotLookedAt => "not looked at",
        }
    }
}

/// A verdict and the words for it.
pub type Judged = (Verdict, String);

/// Judges the clock of this host. `server` is the name of a server that has told its time, `command` the command that sets
/// the clock.
pub fn clock(ours: SystemTime, server: Option<(&str, SystemTime)>, is_synchronised: bool, command: &str) -> Judged {
    let cure = format!("set the clock and switch its time service on: {command}");
    let service = if is_synchronised { "" } else { "; no time service keeps the clock" };
    let here = rfc3339(ours);
    if ours < SystemTime::UNIX_EPOCH + BEFORE_OTELET {
        return (Verdict::Bad, format!("here it is {here}, so the clock is not set{service}; {cure}"));
    }
    match server {
        None if is_synchronised => (Verdict::Good, format!("here it is {here}; a time service keeps the clock")),
        None => {
            let why = format!("here it is {here}{service}, and no server has told its time");
            (Verdict::NotLookedAt, why)
        }
        Some((server, theirs)) => {
            let apart = ours.duration_since(theirs).unwrap_or_else(|error| error.duration());
            match apart < ALIKE {
                true => (Verdict::Good, format!("here it is {here}, as at {server}{service}")),
                false => {
                    let apart = two_units(apart);
                    let theirs = rfc3339(theirs);
                    (
                        Verdict::Bad,
                        format!("here it is {here}, and at {server} {theirs}, {apart} apart{service}; {cure}"),
                    )
                }
            }
        }
    }
}

/// Judges the room for files: the bytes that are free, and the inodes that are free with all of them. `needed` is the size of
/// the largest file, which the setting `by` allows.
pub fn room(free_bytes: u64, inodes: Option<(u64, u64)>, needed: u64, by: &str) -> Judged {
    let free = about(free_bytes);
    if free_bytes < needed {
        let needed = format_size(needed);
        return (Verdict::Bad, format!("{free} are free, and a config may have {by} {needed}; make room there"));
    }
    match inodes {
        Some((inodes, most)) if most > 0 && inodes < FILES => (
            Verdict::Bad,
            format!("{free} and {inodes} inodes are free, and {FILES} files are needed; remove files there"),
        ),
        _ => (Verdict::Good, format!("{free} are free")),
    }
}

/// The memory of this host, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The memory that programs can still get, and all of it.
    pub host: Option<(u64, u64)>,
    /// The memory that the cgroup leaves, and its limit.
    pub cgroup: Option<(u64, u64)>,
    /// `collector.memory_limit`.
    pub limit: Option<u64>,
    /// The memory that the Collector took while it validated the config.
    pub needed: Option<u64>,
}

/// Judges the memory. A running Collector has its own already.
pub fn memory(memory: Memory, collector_runs: bool) -> Judged {
    let needed = memory.needed.unwrap_or(0);
    let takes = format!("the Collector took {} to validate the config", about(needed));
    if let Some(limit) = memory.limit.filter(|limit| *limit < needed) {
        let limit = format_size(limit);
        return (Verdict::Bad, format!("{takes}, and collector.memory_limit is {limit}; set it higher"));
    }
    let rooms = [("the memory limit of this cgroup", memory.cgroup), ("this host", memory.host)];
    let mut told = Vec::new();
    for (owner, room) in rooms {
        let Some((free, all)) = room else { continue };
        let words = format!("{owner} has {} of {} left", about(free), about(all));
        if free < needed && !collector_runs {
            let cure = "end other programs, or give it more; a memory_limiter in the config keeps the Collector small";
            return (Verdict::Bad, format!("{words}, and {takes}; {cure}"));
        }
        told.push(words);
    }
    match told.is_empty() {
        true => (Verdict::NotLookedAt, "this system does not tell it".to_owned()),
        false if needed > 0 => (Verdict::Good, format!("{}; {takes}", told.join(", "))),
        false => (Verdict::Good, told.join(", ")),
    }
}

/// Judges an SELinux label under which init may not run a program. `None` if it may, as far as known.
///
/// Source: the reference policy, whose init runs files of `bin_t` and its kin, and none of those that homes, temporary and
/// state directories give to their files.
pub fn forbidden_program(label: &str) -> bool {
    let kind = label.split(':').nth(2).unwrap_or_default();
    kind.ends_with("_home_t")
        || kind.ends_with("tmp_t")
        || ["var_lib_t", "var_t", "default_t", "unlabeled_t", "file_t", "etc_t", "mnt_t"].contains(&kind)
}

/// A size in three digits: `1.2GiB`.
pub fn about(bytes: u64) -> String {
    let units: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let (unit, bits) = units.into_iter().find(|(_, bits)| bytes >> bits > 0).unwrap_or(("B", 0));
    let (whole, tenth) = (bytes >> bits, (bytes >> bits.saturating_sub(10)) % 1024 * 10 / 1024);
    match whole < 10 && bits > 0 {
        true => format!("{whole}.{tenth}{unit}"),
        false => format!("{whole}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(text: &str) -> SystemTime {
        crate::units::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_clock_is_compared_with_a_server_and_with_the_age_of_otelet() {
        let now = at("2026-11-30T12:00:00Z");
        let server = |theirs| Some(("c.example", at(theirs)));
        let verdict = |ours, server, synchronised| clock(ours, server, synchronised, "date -s").0;
        assert_eq!(verdict(now, server("2026-11-30T12:04:00Z"), false), Verdict::Good);
        assert_eq!(verdict(now, None, true), Verdict::Good);
        assert_eq!(verdict(now, None, false), Verdict::NotLookedAt);
        assert_eq!(
            clock(now, server("2026-11-30T14:05:00Z"), true, "date -s").1,
            "here it is 2026-11-30T12:00:00Z, and at c.example 2026-11-30T14:05:00Z, 2h 5m apart; set the clock and \
             switch its time service on: date -s"
        );
        let (verdict, words) = clock(at("1970-01-04T00:00:00Z"), None, false, "date -s");
        assert_eq!(verdict, Verdict::Bad);
        assert!(words.starts_with("here it is 1970-01-04T00:00:00Z, so the clock is not set; no time"), "{words}");
    }

    #[test]
    fn a_file_system_needs_room_for_the_largest_config() {
        let of = |free, inodes| room(free, inodes, 4 * MIB, "config.max_size");
        assert_eq!(of(5 * MIB, None), (Verdict::Good, "5.0MiB are free".into()));
        assert_eq!(of(5 * MIB, Some((0, 0))).0, Verdict::Good, "a file system without a number of inodes");
        assert_eq!(of(1 << 30, Some((900, 1000))), (Verdict::Good, "1.0GiB are free".into()));
        let full = "4.0KiB are free, and a config may have config.max_size 4MiB; make room there";
        assert_eq!(of(4096, None), (Verdict::Bad, full.into()));
        assert_eq!(of(1 << 30, Some((3, 1000))).0, Verdict::Bad);
    }

    #[test]
    fn memory_is_enough_if_the_collector_fits() {
        let host = Memory { host: Some((100 * MIB, 1024 * MIB)), needed: Some(60 * MIB), ..Memory::default() };
        let good = "this host has 100MiB of 1.0GiB left; the Collector took 60MiB to validate the config";
        assert_eq!(memory(host, false), (Verdict::Good, good.into()));
        let tight = Memory { cgroup: Some((20 * MIB, 64 * MIB)), ..host };
        let (verdict, words) = memory(tight, false);
        assert_eq!(verdict, Verdict::Bad);
        assert!(words.starts_with("the memory limit of this cgroup has 20MiB of 64MiB left, and the Coll"), "{words}");
        assert_eq!(memory(tight, true).0, Verdict::Good, "a running one has its memory");
        let (verdict, words) = memory(Memory { limit: Some(16 * MIB), ..host }, true);
        assert_eq!(verdict, Verdict::Bad);
        assert!(words.ends_with("and collector.memory_limit is 16MiB; set it higher"), "{words}");
        assert_eq!(memory(Memory::default(), false).0, Verdict::NotLookedAt);
    }

    #[test]
    fn labels_of_homes_and_states_are_forbidden_for_programs() {
        for (label, forbidden) in [
            ("system_u:object_r:bin_t:s0", false),
            ("system_u:object_r:usr_t:s0", false),
            ("system_u:object_r:var_lib_t:s0", true),
            ("unconfined_u:object_r:user_home_t:s0", true),
            ("unconfined_u:object_r:user_tmp_t:s0", true),
            ("", false),
        ] {
            assert_eq!(forbidden_program(label), forbidden, "{label}");
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!([0, 1023, 1536, 99 * MIB, 1 << 33].map(about), ["0B", "1023B", "1.5KiB", "99MiB", "8.0GiB"]);
    }
}
