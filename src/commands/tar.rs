//! Writes a tar archive that any `tar` unpacks. Pure.
//!
//! The format is ustar, as in POSIX.1-1988 (pax(1), "ustar Interchange Format"): a header of 512 bytes for each file,
//! its content padded to whole blocks of 512 bytes, and two empty blocks at the end.

use std::time::{Duration, SystemTime};

const BLOCK: usize = 512;

/// The longest name, in bytes.
const NAME: usize = 100;

/// The longest directory, in bytes. It has a field of its own, the prefix.
const PREFIX: usize = 155;

/// An archive that is being written.
#[derive(Debug)]
pub struct Tar {
    bytes: Vec<u8>,
    directory: String,
    written: Duration,
}

impl Tar {
    /// An archive that unpacks into one directory. All of its files get this time.
    pub fn new(directory: &str, written: SystemTime) -> Self {
        let written = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { bytes: Vec::new(), directory: directory.into(), written }
    }

    /// Adds a file. A name that is too long is cut in its middle.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
        put(0, shortened(name, NAME).as_bytes());
        put(100, b"0000600\0"); // mode
        put(108, b"0000000\0"); // uid
        put(116, b"0000000\0"); // gid
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, format!("{:011o}\0", self.written.as_secs()).as_bytes());
        put(148, b"        "); // The checksum counts itself as spaces.
        put(156, b"0"); // a regular file
        put(257, b"ustar\x0000");
        put(345, shortened(&self.directory, PREFIX).as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

fn shortened(path: &str, most: usize) -> String {
    if path.len() <= most {
        return path.to_owned();
    }
    let head = &path[..path.floor_char_boundary(most / 2 - 2)];
    let tail = &path[path.ceil_char_boundary(path.len() - most / 2)..];
    format!("{head}~{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_a_header_its_content_in_blocks_and_an_end() {
        let mut tar = Tar::new("dir", SystemTime::UNIX_EPOCH + Duration::from_secs(0o17));
        tar.add("a.txt", b"hello\n");
        tar.add("empty", b"");
        let bytes = tar.finish();

        assert_eq!(bytes.len(), (1 + 1 + 1 + 2) * BLOCK);
        assert_eq!(&bytes[..6], b"a.txt\0");
        assert_eq!(&bytes[345..349], b"dir\0");
        assert_eq!(&bytes[124..148], b"00000000006\x0000000000017\0");
        assert_eq!(&bytes[512..518], b"hello\n");
        assert_eq!(&bytes[1024..1030], b"empty\0");
        // A checksum as the reader computes it: all bytes, its own field as spaces.
        let sum: u32 = bytes[..148].iter().chain(b"        ").chain(&bytes[156..512]).map(|b| u32::from(*b)).sum();
        assert_eq!(&bytes[148..156], format!("{sum:06o}\0 ").as_bytes());
        assert!(bytes[3 * BLOCK..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_long_name_is_cut_in_its_middle() {
        let name = shortened(&format!("dir/{}.yaml", "ä".repeat(100)), NAME);
        assert!(name.len() <= NAME && name.starts_with("dir/ä") && name.ends_with("ä.yaml"), "{name}");
    }
}
