//! Archives whose bytes depend on nothing but their content: ustar (pax(1)) and gzip, one time for every file, and root as owner unless somebody else is named.

use std::io::Write;

use flate2::{Compression, GzBuilder};

/// A file or directory on its way into an archive or a package.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it goes; without a slash at the beginning.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its content. None for a directory.
    pub content: Option<Vec<u8>>,
    /// Whether people change it: an upgrade keeps what they wrote.
    pub is_config: bool,
    /// The number of the user that it belongs to, in an archive; 0 is root. The group is always root's.
    pub owner: u32,
}

impl Entry {
    /// A file.
    pub fn file(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Entry {
        Entry { path: path.into(), mode, content: Some(content.into()), is_config: false, owner: 0 }
    }

    /// A directory.
    pub fn directory(path: impl Into<String>, mode: u32) -> Entry {
        Entry { path: path.into(), mode, content: None, is_config: false, owner: 0 }
    }

    /// The same, as something that people change.
    pub fn config(self) -> Entry {
        Entry { is_config: true, ..self }
    }

    /// The same, as somebody's.
    pub fn owned_by(self, owner: u32) -> Entry {
        Entry { owner, ..self }
    }
}

/// A tar of `entries`, each below `prefix`, all with the modification time `time` in seconds since 1970.
///
/// # Errors
///
/// A path that is too long for ustar.
pub fn tar(prefix: &str, entries: &[Entry], time: u64) -> Result<Vec<u8>, String> {
    let mut archive = Vec::new();
    for entry in entries {
        let slash = if entry.content.is_none() { "/" } else { "" };
        let content = entry.content.as_deref().unwrap_or_default();
        archive.extend(header(&format!("{prefix}{}{slash}", entry.path), entry, content.len(), time)?);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    // Two empty blocks are the end.
    archive.resize(archive.len() + 1024, 0);
    Ok(archive)
}

fn header(name: &str, entry: &Entry, size: usize, time: u64) -> Result<[u8; 512], String> {
    if name.len() > 100 {
        return Err(format!("{name}: {} bytes, and a tar of this kind has room for 100", name.len()));
    }
    let mut block = [0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{:07o}", entry.mode));
    put(108, &format!("{:07o}", entry.owner));
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{time:011o}"));
    // The sum is taken with blanks in its place.
    put(148, "        ");
    put(156, if entry.content.is_none() { "5" } else { "0" });
    put(257, "ustar\x0000");
    // A number has no name here: whoever unpacks has other ones.
    if entry.owner == 0 {
        put(265, "root");
    }
    put(297, "root");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Compresses without a name, a time or an operating system in the header.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::best());
    gz.write_all(bytes).and_then(|()| gz.finish()).expect("memory takes all that is written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_the_same_bytes_and_another_is_not() {
        let entries = [Entry::directory("etc", 0o755), Entry::file("etc/a", 0o640, "text")];
        let once = gzip(&tar("./", &entries, 7).unwrap());
        assert_eq!(once, gzip(&tar("./", &entries, 7).unwrap()));
        assert_ne!(once, gzip(&tar("./", &entries, 8).unwrap()));
        assert_eq!(once[4..8], [0; 4], "no time in the gzip header");
    }

    #[test]
    fn the_headers_are_those_of_ustar() {
        let archive = tar("./", &[Entry::file("a", 0o640, "text")], 7).unwrap();
        assert_eq!(archive.len(), 512 * 4);
        assert_eq!(&archive[..3], b"./a");
        assert_eq!(&archive[100..108], b"0000640\0");
        assert_eq!(&archive[257..265], b"ustar\x0000");
        // As GNU tar computes it for this header.
        let sum: u32 = archive[..512].iter().map(|&byte| u32::from(byte)).sum::<u32>()
            - archive[148..156].iter().map(|&byte| u32::from(byte)).sum::<u32>()
            + 8 * 32;
        assert_eq!(&archive[148..156], format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(&archive[512..516], b"text");
    }

    #[test]
    fn a_path_without_room_is_named() {
        let message = tar("", &[Entry::file("x".repeat(101), 0o644, "")], 0).unwrap_err();
        assert!(message.ends_with("101 bytes, and a tar of this kind has room for 100"), "{message}");
    }
}
