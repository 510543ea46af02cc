//! A Debian package: an ar(5) of a version, a tar with what dpkg wants to know, and a tar with the files. After deb(5) and
//! deb-control(5).

use std::fs;

use crate::dist::tar::{Entry, gzip, tar};
use crate::dist::{Stamp, about};
use crate::places;

/// The scripts that dpkg runs, and when: deb-postinst(5) and its kin.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// The package for `architecture`, with `entries` below `/`.
///
/// # Errors
///
/// A script that cannot be read, a path that is too long.
pub fn package(architecture: &str, entries: &[Entry], stamp: &Stamp) -> Result<Vec<u8>, String> {
    let installed: usize = entries.iter().filter_map(|entry| entry.content.as_ref()).map(Vec::len).sum();
    let mut control = vec![Entry::file("control", 0o644, fields(architecture, installed, stamp))];
    let configs = entries.iter().filter(|entry| entry.is_config).map(|entry| format!("/{}\n", entry.path));
    control.push(Entry::file("conffiles", 0o644, configs.collect::<String>()));
    for name in SCRIPTS {
        let path = places::root().join("targets/linux/deb").join(name);
        let script = fs::read(&path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))?;
        control.push(Entry::file(name, 0o755, script));
    }
    let mut package = b"!<arch>\n".to_vec();
    member(&mut package, "debian-binary", b"2.0\n", stamp);
    member(&mut package, "control.tar.gz", &gzip(&tar("./", &control, stamp.time)?), stamp);
    member(&mut package, "data.tar.gz", &gzip(&tar("./", entries, stamp.time)?), stamp);
    Ok(package)
}

fn fields(architecture: &str, installed: usize, stamp: &Stamp) -> String {
    // An empty line is a lone full stop, every other line is indented.
    let description =
        about::DESCRIPTION.lines().map(|line| if line.is_empty() { " .".into() } else { format!(" {line}") });
    format!(
        "Package: otelet\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {}\nInstalled-Size: {}\n\
         Depends: passwd\nSuggests: otelcol-contrib | otelcol\nSection: admin\nPriority: optional\n\
         Description: {}\n{}\n",
        stamp.version,
        about::MAINTAINER,
        installed.div_ceil(1024),
        about::SUMMARY,
        description.collect::<Vec<_>>().join("\n"),
    )
}

fn member(archive: &mut Vec<u8>, name: &str, content: &[u8], stamp: &Stamp) {
    let (time, size) = (stamp.time, content.len());
    archive.extend(format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, "100644").bytes());
    archive.extend(content);
    // Members begin at even places.
    if size % 2 == 1 {
        archive.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_begin_at_even_places_behind_headers_of_60_bytes() {
        let mut archive = Vec::new();
        let stamp = Stamp { version: "1", time: 7 };
        member(&mut archive, "a", b"odd", &stamp);
        member(&mut archive, "b", b"even", &stamp);
        assert_eq!(archive.len(), 60 + 4 + 60 + 4);
        assert_eq!(&archive[58..60], b"`\n");
        assert_eq!(&archive[64..66], b"b ");
    }

    #[test]
    fn a_description_has_no_line_that_dpkg_takes_for_a_field() {
        let fields = fields("amd64", 1025, &Stamp { version: "1", time: 7 });
        assert!(fields.contains("\nInstalled-Size: 2\n"), "{fields}");
        let (_, long) = fields.split_once("\nDescription: ").unwrap();
        assert!(long.lines().skip(1).all(|line| line.starts_with(' ') && line.len() > 1), "{long}");
        assert!(fields.ends_with('\n') && !fields.contains("\n\n"));
    }
}
