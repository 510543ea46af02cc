//! An RPM package, after the file format of rpm 4: a lead that nobody reads any more, a header of digests, a header of facts,
//! and a compressed cpio with the files. Written here, since rpmbuild is not on most machines that otelet is built on.

use std::fs;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use crate::dist::tar::{Entry, gzip};
use crate::dist::{Stamp, about};
use crate::places;

/// The package's own version; counts up when the same otelet is packaged anew.
pub const RELEASE: &str = "1";

/// Scripts: file, tag of the text, tag of its interpreter, and when it needs that (`RPMSENSE_SCRIPT_*`).
const SCRIPTS: [(&str, u32, u32, u32); 4] = [
    ("pre", 1023, 1085, 1 << 9),
    ("post", 1024, 1086, 1 << 10),
    ("preun", 1025, 1087, 1 << 11),
    ("postun", 1026, 1088, 1 << 12),
];

/// Features that an rpm needs to read this, with the first version of rpm that has each.
const FEATURES: [(&str, &str); 3] = [
    ("rpmlib(CompressedFileNames)", "3.0.4-1"),
    ("rpmlib(FileDigests)", "4.6.0-1"),
    ("rpmlib(PayloadFilesHavePrefix)", "4.0-1"),
];

// RPMSENSE_*
const LESS: u32 = 2;
const EQUAL: u32 = 8;
const INTERPRETER: u32 = 1 << 8;
const FEATURE: u32 = 1 << 24;

// RPMFILE_*
const CONFIG: u32 = 1;
const DOCUMENTATION: u32 = 2;
const NO_REPLACE: u32 = 16;

/// The package for `architecture`, with `entries` below `/`.
///
/// # Errors
///
/// A script that cannot be read.
pub fn package(architecture: &str, entries: &[Entry], stamp: &Stamp) -> Result<Vec<u8>, String> {
    let owned: Vec<&Entry> = entries.iter().filter(|entry| entry.content.is_some() || is_ours(&entry.path)).collect();
    let cpio = cpio(&owned, stamp);
    let payload = gzip(&cpio);
    let mut header = Header::default();
    facts(&mut header, architecture, &owned, stamp);
    scripts_and_requirements(&mut header)?;
    files(&mut header, &owned, stamp);
    header.strings(5092, &[&places::hex(digest(&SHA256, &payload).as_ref())]);
    header.numbers(5093, &[8]);
    let header = header.sealed(63);

    let mut signature = Header::default();
    signature.text(269, &places::hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &header).as_ref()));
    signature.text(273, &places::hex(digest(&SHA256, &header).as_ref()));
    signature.numbers(1000, &[(header.len() + payload.len()) as u32]);
    signature.numbers(1007, &[cpio.len() as u32]);
    let mut signature = signature.sealed(62);
    signature.resize(signature.len().next_multiple_of(8), 0);

    Ok([lead(stamp), signature, header, payload].concat())
}

/// Directories that go with the package; the others belong to the system.
fn is_ours(path: &str) -> bool {
    path.ends_with("/otelet")
}

fn lead(stamp: &Stamp) -> Vec<u8> {
    let mut lead = b"\xed\xab\xee\xdb\x03\0\0\0\0\x01".to_vec();
    lead.extend(format!("otelet-{}-{RELEASE}", stamp.version).bytes());
    lead.resize(76, 0);
    lead.extend([0, 1, 0, 5]);
    lead.resize(96, 0);
    lead
}

fn facts(header: &mut Header, architecture: &str, entries: &[&Entry], stamp: &Stamp) {
    header.strings(100, &["C"]);
    header.text(1000, "otelet");
    header.text(1001, stamp.version);
    header.text(1002, RELEASE);
    header.translated(1004, about::SUMMARY);
    header.translated(1005, about::DESCRIPTION);
    header.numbers(1006, &[stamp.time as u32]);
    header.text(1007, "localhost");
    header.numbers(1009, &[entries.iter().map(|entry| size(entry)).sum()]);
    header.text(1014, about::LICENSE);
    header.text(1015, about::MAINTAINER);
    header.translated(1016, "Unspecified");
    header.text(1021, "linux");
    header.text(1022, architecture);
    header.text(1044, &format!("otelet-{}-{RELEASE}.src.rpm", stamp.version));
    header.strings(1047, &["otelet"]);
    header.numbers(1112, &[EQUAL]);
    header.strings(1113, &[&format!("{}-{RELEASE}", stamp.version)]);
    header.text(1124, "cpio");
    header.text(1125, "gzip");
    header.text(1126, "9");
    header.text(5062, "utf-8");
}

fn scripts_and_requirements(header: &mut Header) -> Result<(), String> {
    let mut requirements: Vec<(&str, u32, &str)> =
        FEATURES.iter().map(|(name, since)| (*name, FEATURE | LESS | EQUAL, *since)).collect();
    let mut shell = INTERPRETER;
    for (name, text, interpreter, when) in SCRIPTS {
        let path = places::root().join("targets/linux/rpm").join(name);
        let script = fs::read_to_string(&path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))?;
        header.text(text, &script);
        header.text(interpreter, "/bin/sh");
        shell |= when;
    }
    requirements.push(("/bin/sh", shell, ""));
    // The user has to be there before the files that its group may read.
    requirements.push(("/usr/sbin/useradd", SCRIPTS[0].3, ""));
    requirements.push(("/usr/sbin/groupadd", SCRIPTS[0].3, ""));
    header.numbers(1048, &requirements.iter().map(|needed| needed.1).collect::<Vec<_>>());
    header.strings(1049, &requirements.iter().map(|needed| needed.0).collect::<Vec<_>>());
    header.strings(1050, &requirements.iter().map(|needed| needed.2).collect::<Vec<_>>());
    Ok(())
}

fn files(header: &mut Header, entries: &[&Entry], stamp: &Stamp) {
    let all = |of: &dyn Fn(&Entry) -> u32| entries.iter().map(|entry| of(entry)).collect::<Vec<u32>>();
    header.numbers(1028, &all(&size));
    header.shorts(1030, &entries.iter().map(|entry| mode(entry) as u16).collect::<Vec<_>>());
    header.shorts(1033, &vec![0; entries.len()]);
    header.numbers(1034, &all(&|_| stamp.time as u32));
    let digests: Vec<String> = entries
        .iter()
        .map(|entry| entry.content.as_ref().map_or(String::new(), |it| places::hex(digest(&SHA256, it).as_ref())))
        .collect();
    header.strings(1035, &digests);
    header.strings(1036, &vec![""; entries.len()]);
    header.numbers(
        1037,
        &all(&|entry| {
            let documentation = entry.path.starts_with("usr/share/doc/") || entry.path.starts_with("usr/share/man/");
            if entry.is_config {
                CONFIG | NO_REPLACE
            } else if documentation {
                DOCUMENTATION
            } else {
                0
            }
        }),
    );
    header.strings(1039, &vec!["root"; entries.len()]);
    let groups: Vec<&str> =
        entries.iter().map(|entry| if entry.path.starts_with("etc/") { "otelet" } else { "root" }).collect();
    header.strings(1040, &groups);
    header.numbers(1045, &all(&|_| u32::MAX));
    header.numbers(1095, &all(&|_| 1));
    header.numbers(1096, &(1..=entries.len() as u32).collect::<Vec<_>>());
    header.strings(1097, &vec![""; entries.len()]);
    let mut folders: Vec<String> = Vec::new();
    let mut folder_of = Vec::new();
    let mut names = Vec::new();
    for entry in entries {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let folder = format!("/{folder}/");
        let index = folders.iter().position(|known| *known == folder).unwrap_or_else(|| {
            folders.push(folder);
            folders.len() - 1
        });
        folder_of.push(index as u32);
        names.push(name);
    }
    header.numbers(1116, &folder_of);
    header.strings(1117, &names);
    header.strings(1118, &folders);
    header.numbers(5011, &[8]);
}

fn size(entry: &Entry) -> u32 {
    entry.content.as_ref().map_or(0, |content| content.len() as u32)
}

/// Kind and permissions, as in `st_mode`.
fn mode(entry: &Entry) -> u32 {
    entry.mode | if entry.content.is_some() { 0o100_000 } else { 0o040_000 }
}

/// The files in the new portable format of cpio.
fn cpio(entries: &[&Entry], stamp: &Stamp) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut put = |inode: usize, mode: u32, links: u32, time: u64, name: &str, content: &[u8]| {
        let size = content.len();
        archive.extend(b"070701");
        // After the time: size, device and its kind, twice each, length of the name, no sum.
        for number in
            [inode as u64, mode.into(), 0, 0, links.into(), time, size as u64, 0, 0, 0, 0, name.len() as u64 + 1, 0]
        {
            archive.extend(format!("{number:08x}").bytes());
        }
        archive.extend(name.bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    };
    for (index, entry) in entries.iter().enumerate() {
        let content = entry.content.as_deref().unwrap_or_default();
        put(index + 1, mode(entry), 1, stamp.time, &format!("./{}", entry.path), content);
    }
    put(0, 0, 1, 0, "TRAILER!!!", b"");
    archive
}

/// A header: an index of tags, and a store of their values.
#[derive(Default)]
struct Header {
    /// Tag, type, count and value.
    values: Vec<(u32, u32, u32, Vec<u8>)>,
}

impl Header {
    fn shorts(&mut self, tag: u32, numbers: &[u16]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.values.push((tag, 3, numbers.len() as u32, bytes));
    }

    fn numbers(&mut self, tag: u32, numbers: &[u32]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.values.push((tag, 4, numbers.len() as u32, bytes));
    }

    fn text(&mut self, tag: u32, text: &str) {
        self.values.push((tag, 6, 1, [text.as_bytes(), b"\0"].concat()));
    }

    fn strings(&mut self, tag: u32, texts: &[impl AsRef<str>]) {
        let bytes = texts.iter().flat_map(|text| [text.as_ref().as_bytes(), b"\0"].concat()).collect();
        self.values.push((tag, 8, texts.len() as u32, bytes));
    }

    /// A text of which there may be translations; there is one, in the language `C`.
    fn translated(&mut self, tag: u32, text: &str) {
        self.values.push((tag, 9, 1, [text.as_bytes(), b"\0"].concat()));
    }

    /// The bytes, with all of it inside the region `tag`: what is signed and must not be changed.
    fn sealed(mut self, tag: u32) -> Vec<u8> {
        self.values.sort_by_key(|value| value.0);
        let count = self.values.len() as u32 + 1;
        let (mut index, mut store) = (Vec::new(), Vec::new());
        for (tag, kind, count, bytes) in &self.values {
            let align = match kind {
                3 => 2,
                4 => 4,
                _ => 1,
            };
            store.resize(store.len().next_multiple_of(align), 0);
            index.extend([*tag, *kind, store.len() as u32, *count].iter().flat_map(|number| number.to_be_bytes()));
            store.extend(bytes);
        }
        // The region ends with an entry of its own, whose offset says how far before it the index begins.
        let region = [tag, 7, store.len() as u32, 16];
        let trailer = [tag, 7, (count * 16).wrapping_neg(), 16];
        store.extend(trailer.iter().flat_map(|number| number.to_be_bytes()));
        let mut bytes = b"\x8e\xad\xe8\x01\0\0\0\0".to_vec();
        bytes.extend(count.to_be_bytes());
        bytes.extend((store.len() as u32).to_be_bytes());
        bytes.extend(region.iter().flat_map(|number| number.to_be_bytes()));
        bytes.extend(index);
        bytes.extend(store);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_and_the_region_spans_the_index() {
        let mut header = Header::default();
        header.numbers(1000, &[5]);
        header.text(269, "a");
        let bytes = header.sealed(62);
        let at = |place: usize| u32::from_be_bytes(bytes[place..place + 4].try_into().unwrap());
        assert_eq!(
            (at(8), at(12)),
            (3, 2 + 2 + 4 + 16),
            "two tags and the region; a text, a gap, a number, the trailer"
        );
        assert_eq!([at(16), at(32), at(48)], [62, 269, 1000]);
        assert_eq!(at(48 + 8), 4, "behind the text, at a multiple of four");
        assert_eq!(at(bytes.len() - 8) as i32, -48);
    }

    #[test]
    fn a_cpio_has_names_and_content_at_multiples_of_four() {
        let entry = Entry::file("a", 0o644, "text!");
        let archive = cpio(&[&entry], &Stamp { version: "1", time: 255 });
        assert!(archive.starts_with(b"07070100000001000081a40000000000000000000000010000" as &[u8]));
        assert_eq!(&archive[110..114], b"./a\0");
        assert_eq!(&archive[116..121], b"text!");
        assert_eq!(&archive[124..130], b"070701");
    }
}
