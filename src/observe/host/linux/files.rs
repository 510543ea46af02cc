//! Reads files of `/proc` and `/sys` with as few system calls as possible: one to open, mostly one to read, one to close.
//! The kernel does not know the size of such a file beforehand, and asking for it would cost a call too.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

/// The size of the buffer that is kept between two samples, in bytes. Most files of `/proc` fit.
pub(super) const ROOM: usize = 16 * 1024;

/// The kernel returns as many whole records as fit into a page. If a read leaves this much of the smallest page free, the
/// next record would have fitted too, so there is none. Records must be shorter than this for that: those read here have 300
/// bytes at most.
const FREE_AT_THE_END: usize = 1024;
const PAGE: usize = 4096;

/// The sign of the end of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FileEnd {
    /// The file is one record: a read that does not fill the buffer was the last.
    Short,
    /// The file has only short records: a read that leaves room for one of them in the page was the last.
    ShortRecords,
    /// Only a read that returns nothing.
    End,
}

/// The file as text. None if it cannot be read. Bytes that are not UTF-8 are replaced.
pub(super) fn read<'a>(path: &Path, until: FileEnd, buffer: &'a mut Vec<u8>) -> Option<Cow<'a, str>> {
    bytes(path, until, buffer).map(String::from_utf8_lossy)
}

/// The file's bytes. None if it cannot be read.
pub(super) fn bytes<'a>(path: &Path, until: FileEnd, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let file = File::open(path).ok()?;
    buffer.clear();
    loop {
        if buffer.capacity() < buffer.len() + PAGE {
            buffer.reserve_exact(buffer.len().max(ROOM / 2) * 2 - buffer.len());
        }
        let room = buffer.capacity() - buffer.len();
        // The room is not filled with zeros first: pages that no file reaches take no memory then.
        let read = rustix::io::read(&file, rustix::buffer::spare_capacity(buffer)).ok()?;
        let ended = match until {
            FileEnd::Short => read < room,
            FileEnd::ShortRecords => read < PAGE - FREE_AT_THE_END,
            FileEnd::End => read == 0,
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
    fn a_file_of_any_length_is_read_to_its_end() {
        let path = std::env::temp_dir().join(format!("otelet-files-{}", std::process::id()));
        for length in [0, 1, PAGE - 1, PAGE, ROOM - 1, ROOM, ROOM + 1, 10 * ROOM] {
            let text: Vec<u8> = (0..length).map(|number| number as u8).collect();
            std::fs::write(&path, &text).unwrap();
            for until in [FileEnd::Short, FileEnd::End] {
                assert_eq!(bytes(&path, until, &mut Vec::new()), Some(&text[..]), "{length}, {until:?}");
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes(&path, FileEnd::End, &mut Vec::new()), None);
    }

    #[test]
    fn records_are_read_to_their_end() {
        for path in ["/proc/net/dev", "/proc/diskstats"] {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            let names = |text: &[u8]| {
                String::from_utf8_lossy(text).lines().filter_map(|line| line.split(':').next().map(str::len)).count()
            };
            let quick = bytes(Path::new(path), FileEnd::ShortRecords, &mut one).map(names);
            assert_eq!(quick, bytes(Path::new(path), FileEnd::End, &mut other).map(names), "{path}");
        }
    }
}
