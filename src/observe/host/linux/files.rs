//! Reads files of `/proc` and `/sys` with as few system calls as the kernel allows: one to open, mostly one to read, one to
//! close. The size of such a file is not known beforehand, and asking for it would cost a call as well.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

/// What is kept for reading between two samples, in bytes. Most files of `/proc` fit.
pub(super) const ROOM: usize = 16 * 1024;

/// The kernel hands records out by what fits into a page: a read that leaves this much of the smallest page free was
/// not stopped by another record, as long as records are shorter (those used here have 300 bytes at the most).
const FREE_AT_THE_END: usize = 1024;
const PAGE: usize = 4096;

/// How the end of a file is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Until {
    /// The file is one record: a read that does not fill what it was given was the last.
    Short,
    /// The file has records that are all short: a read of less than a page, but for one of them, was the last.
    ShortRecords,
    /// A read that gives nothing.
    End,
}

/// The file as text. None if it cannot be read; what is not UTF-8 in it is replaced.
pub(super) fn read<'a>(path: &Path, until: Until, buffer: &'a mut Vec<u8>) -> Option<Cow<'a, str>> {
    bytes(path, until, buffer).map(String::from_utf8_lossy)
}

/// The file as it is. None if it cannot be read.
pub(super) fn bytes<'a>(path: &Path, until: Until, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let file = File::open(path).ok()?;
    buffer.clear();
    loop {
        if buffer.capacity() < buffer.len() + PAGE {
            buffer.reserve_exact(buffer.len().max(ROOM / 2) * 2 - buffer.len());
        }
        let room = buffer.capacity() - buffer.len();
        // The room is not filled with zeros before: what no file reaches takes no memory.
        let read = rustix::io::read(&file, rustix::buffer::spare_capacity(buffer)).ok()?;
        let ended = match until {
            Until::Short => read < room,
            Until::ShortRecords => read < PAGE - FREE_AT_THE_END,
            Until::End => read == 0,
        };
        if ended || read == 0 {
            return Some(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_end_whatever_its_length() {
        let path = std::env::temp_dir().join(format!("otelet-files-{}", std::process::id()));
        for length in [0, 1, PAGE - 1, PAGE, ROOM - 1, ROOM, ROOM + 1, 10 * ROOM] {
            let text: Vec<u8> = (0..length).map(|number| number as u8).collect();
            std::fs::write(&path, &text).unwrap();
            for until in [Until::Short, Until::End] {
                assert_eq!(bytes(&path, until, &mut Vec::new()), Some(&text[..]), "{length}, {until:?}");
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes(&path, Until::End, &mut Vec::new()), None);
    }

    #[test]
    fn records_are_read_to_their_end() {
        for path in ["/proc/net/dev", "/proc/diskstats"] {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            let names = |text: &[u8]| {
                String::from_utf8_lossy(text).lines().filter_map(|line| line.split(':').next().map(str::len)).count()
            };
            let quick = bytes(Path::new(path), Until::ShortRecords, &mut one).map(names);
            assert_eq!(quick, bytes(Path::new(path), Until::End, &mut other).map(names), "{path}");
        }
    }
}
