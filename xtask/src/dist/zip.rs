//! Zip archives, as Windows unpacks them by itself, whose bytes depend on nothing but their content. After APPNOTE.TXT.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::dist::stamp::Stamp;
use crate::dist::tar::Entry;

/// The version needed to unpack it: 2.0, for folders and deflate.
const VERSION: u16 = 20;
const DEFLATED: u16 = 8;

/// A zip of `entries`, each below `prefix`, all with the time of the stamp.
///
/// # Errors
///
/// More than a zip of this kind has room for: names of 64 KiB, or 4 GiB.
pub fn zip(prefix: &str, entries: &[Entry], stamp: &Stamp) -> Result<Vec<u8>, String> {
    let (time, date) = dos_time(stamp);
    let (mut archive, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for entry in entries {
        let Some(content) = &entry.content else { continue };
        let name = format!("{prefix}{}", entry.path);
        let room = |what: usize| u32::try_from(what).map_err(|_| format!("{name}: more than a zip of this kind holds"));
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
        let packed = deflate.write_all(content).and_then(|()| deflate.finish()).expect("memory takes all");
        let mut sum = Crc::new();
        sum.update(content);
        let mut facts = Vec::new();
        // Flags: none. The next fields are the same here and in the directory at the end.
        for number in [VERSION, 0, DEFLATED, time, date] {
            facts.extend(number.to_le_bytes());
        }
        for number in [sum.sum(), room(packed.len())?, room(content.len())?] {
            facts.extend(number.to_le_bytes());
        }
        facts.extend(u16::try_from(name.len()).map_err(|_| format!("{name}: too long"))?.to_le_bytes());
        // No extra field.
        facts.extend(0_u16.to_le_bytes());

        directory.extend(b"PK\x01\x02");
        // Made as on FAT: no modes.
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&facts);
        // No comment, the first disk, binary, no attributes.
        directory.extend([0; 10]);
        directory.extend(room(archive.len())?.to_le_bytes());
        directory.extend(name.as_bytes());

        archive.extend(b"PK\x03\x04");
        archive.extend(facts);
        archive.extend(name.as_bytes());
        archive.extend(packed);
        count += 1;
    }
    let start = archive.len();
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    for number in [count, count] {
        archive.extend(number.to_le_bytes());
    }
    for number in [directory.len(), start] {
        archive.extend(u32::try_from(number).map_err(|_| "more than 4 GiB".to_owned())?.to_le_bytes());
    }
    archive.extend(0_u16.to_le_bytes());
    Ok(archive)
}

/// Time and date as DOS has them, in steps of two seconds from 1980 on.
fn dos_time(stamp: &Stamp) -> (u16, u16) {
    let text = stamp.rfc3339();
    let number = |range: std::ops::Range<usize>| text[range].parse::<u16>().expect("digits of RFC 3339");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let (hour, minute, second) = (number(11..13), number(14..16), number(17..19));
    match year.checked_sub(1980) {
        Some(year) => ((hour << 11) | (minute << 5) | (second / 2), (year << 9) | (month << 5) | day),
        None => (0, (1 << 5) | 1),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::command::run;
    use crate::places;

    #[test]
    fn times_are_those_of_dos() {
        // 2024-02-29T12:34:56Z
        assert_eq!(dos_time(&Stamp { version: "", time: 1_709_210_096 }), (0x645c, 0x585d));
        assert_eq!(dos_time(&Stamp { version: "", time: 0 }), (0, 0x21));
    }

    #[test]
    fn the_same_content_is_the_same_bytes_and_others_unpack_it() {
        let stamp = Stamp { version: "", time: 1_709_210_096 };
        let text = "text ".repeat(1000);
        let entries = [Entry::file("a.txt", 0o644, text.clone()), Entry::file("docs/b", 0o644, "")];
        let archive = zip("x/", &entries, &stamp).unwrap();
        assert_eq!(archive, zip("x/", &entries, &stamp).unwrap());
        if places::on_path("unzip").is_none() {
            println!("skipped: nobody else looks at the zip: no unzip here");
            return;
        }
        let path = std::env::temp_dir().join(format!("otelet-xtask-{}.zip", std::process::id()));
        std::fs::write(&path, &archive).unwrap();
        let whole = run("unzip", Command::new("unzip").arg("-tq").arg(&path)).unwrap();
        let there = run("unzip", Command::new("unzip").arg("-p").arg(&path).arg("x/a.txt")).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(whole.ok(), "{}", whole.output);
        assert_eq!(there.stdout.trim_end(), text.trim_end());
    }
}
