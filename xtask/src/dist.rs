//! `cargo xtask dist`: what otelet is installed from, for each target: an archive with an installer, packages, a bill of
//! materials, and the sums of them all. Two runs on the same commit give the same bytes. Each artifact is then tried.

pub mod about;
mod deb;
pub mod msi;
mod msi_trial;
pub mod payload;
mod prebuilt;
mod rpm;
mod sbom;
pub mod stamp;
pub mod tar;
pub mod trial;
mod zip;

use std::fs;
use std::path::{Path, PathBuf};

use crate::build::platforms::Platform;
use crate::build::{Binary, Options};
use crate::dist::payload::{Family, Pages};
use crate::dist::prebuilt::Prebuilt;
use crate::dist::stamp::Stamp;
use crate::{Failure, console, places};

/// Runs the verb.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    if let Some(prebuilt) = Prebuilt::parse(args)? {
        return Ok(prebuilt.package()?);
    }
    let options = Options::parse("dist", args)?;
    let stamp = Stamp::now()?;
    let pages = Pages::print()?;
    let mut table = Vec::new();
    let done = options.each(|platform, built| {
        let folder = places::target().join("dist").join(&platform.target);
        let made = make(platform, &built, options.way(), folder, &pages, &stamp)?;
        for artifact in &made.artifacts {
            let path = made.folder.join(&artifact.name);
            match artifact.kind {
                "tar.gz" => trial::archive(platform, options.way(), &path)?,
                "deb" => trial::deb(&path, &built.path)?,
                "rpm" => trial::rpm(&path, &built.path)?,
                "zip" => trial::zip(platform, options.way(), &path, &built.path)?,
                "msi" => msi_trial::msi(platform, options.way(), &path, &built.path)?,
                _ => {}
            }
        }
        table.push(made.row(platform));
        Ok(())
    });
    if !table.is_empty() {
        println!("\n| target | binary | archive | deb or msi | rpm | bill of materials |\n|---|---|---|---|---|---|");
        println!("{}", table.join("\n"));
    }
    done
}

/// The artifacts of one target.
struct Artifacts {
    folder: PathBuf,
    binary: u64,
    artifacts: Vec<Artifact>,
}

struct Artifact {
    kind: &'static str,
    name: String,
    size: usize,
}

impl Artifacts {
    /// Writes one artifact.
    fn put(&mut self, kind: &'static str, name: String, content: &[u8]) -> Result<(), String> {
        let path = self.folder.join(&name);
        fs::write(&path, content).map_err(|cause| format!("{}: cannot write: {cause}", path.display()))?;
        println!("  {}: {}", console::bytes(content.len() as u64), path.display());
        self.artifacts.push(Artifact { kind, name, size: content.len() });
        Ok(())
    }

    /// Its line of the table, as docs/numbers.md has it.
    fn row(&self, platform: &Platform) -> String {
        let size = |kind: &str| {
            let found = self.artifacts.iter().find(|artifact| kind.contains(artifact.kind));
            found.map_or("".to_owned(), |artifact| thousands(artifact.size as u64))
        };
        format!(
            "| `{}` | {} | {} | {} | {} | {} |",
            platform.target,
            thousands(self.binary),
            size("tar.gz or zip"),
            size("deb or msi"),
            size("rpm"),
            size("cdx.json")
        )
    }
}

/// Makes everything for one target in `folder`, from which all else goes.
fn make(
    platform: &Platform,
    built: &Binary,
    way: Option<&str>,
    folder: PathBuf,
    pages: &Pages,
    stamp: &Stamp,
) -> Result<Artifacts, String> {
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).map_err(|cause| format!("{}: cannot make it: {cause}", folder.display()))?;
    let binary = fs::read(&built.path).map_err(|cause| format!("{}: cannot read: {cause}", built.path.display()))?;
    let bill = sbom::bill(platform, built, stamp)?;

    let mut made = Artifacts { folder, binary: binary.len() as u64, artifacts: Vec::new() };
    let name = format!("otelet-{}-{}", stamp.version, platform.target);
    if platform.is_windows() {
        let entries = payload::windows(&binary, &bill)?;
        let archive = zip::zip(&format!("{name}/"), &entries, stamp)?;
        made.put("zip", format!("{name}.zip"), &archive)?;
        match msi::possible(platform) {
            Ok(()) => {
                made.put("msi", format!("{name}.msi"), &msi::msi(&entries, &msi::library(platform, way)?, stamp)?)?;
                made.put("ps1", "install.ps1".to_owned(), &payload::script_for_windows()?)?;
            }
            Err(reason) => println!("  {}", console::stdout().yellow(&format!("the MSI is left out: {reason}"))),
        }
    } else {
        let archive = tar::tar(&format!("{name}/"), &payload::archive(&binary, &bill, pages)?, stamp.time)?;
        made.put("tar.gz", format!("{name}.tar.gz"), &tar::gzip(&archive))?;
    }
    if let Some(architecture) = &platform.needs.deb {
        let entries = payload::package(&binary, &bill, pages, Family::Debian)?;
        let name = format!("otelet_{}_{architecture}.deb", stamp.version);
        made.put("deb", name, &deb::package(architecture, &entries, stamp)?)?;
    }
    if let Some(architecture) = &platform.needs.rpm {
        let entries = payload::package(&binary, &bill, pages, Family::RedHat)?;
        let name = format!("otelet-{}-{}.{architecture}.rpm", stamp.version, rpm::RELEASE);
        made.put("rpm", name, &rpm::package(architecture, &entries, stamp)?)?;
    }
    made.put("cdx.json", format!("{name}.cdx.json"), &bill)?;
    let sums = sums(&made)?;
    made.put("sums", "SHA256SUMS".to_owned(), sums.as_bytes())?;
    Ok(made)
}

/// As `sha256sum -c` reads them.
fn sums(made: &Artifacts) -> Result<String, String> {
    let line = |artifact: &Artifact| {
        let sum = places::sha256_of_file(Path::new(&made.folder.join(&artifact.name)))?;
        Ok(format!("{sum}  {}\n", artifact.name))
    };
    made.artifacts.iter().map(line).collect()
}

/// A number of bytes as tables have it: `1,860,144`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::command::run;

    /// Asks a tool about a package. None, and said, where there is no such tool.
    fn asked(name: &str, package: &[u8], tool: &str, arguments: &[&str]) -> Option<String> {
        if places::on_path(tool).is_none() {
            println!("skipped: {name}: {tool} is not installed");
            return None;
        }
        let path = std::env::temp_dir().join(format!("otelet-xtask-{}-{name}", std::process::id()));
        fs::write(&path, package).unwrap();
        let ran = run(tool, Command::new(tool).args(arguments).arg(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(ran.ok(), "{}", ran.output);
        Some(ran.output)
    }

    fn entries(family: Family) -> Vec<tar::Entry> {
        payload::package(b"the agent", b"{}", &Pages::default(), family).unwrap()
    }

    #[test]
    fn a_deb_is_what_dpkg_takes() {
        let package = deb::package("arm64", &entries(Family::Debian), &Stamp { version: "1.2.3", time: 7 }).unwrap();
        assert_eq!(
            package,
            deb::package("arm64", &entries(Family::Debian), &Stamp { version: "1.2.3", time: 7 }).unwrap()
        );
        let Some(info) = asked("info.deb", &package, "dpkg-deb", &["--info"]) else { return };
        for part in [" Package: otelet", " Version: 1.2.3", " Architecture: arm64", "postinst", "prerm", "postrm"] {
            assert!(info.contains(part), "{part}\n{info}");
        }
        let conffiles = asked("conffiles.deb", &package, "dpkg-deb", &["--field"]);
        assert!(conffiles.is_some());
        let files = asked("files.deb", &package, "dpkg-deb", &["--contents"]).unwrap();
        assert!(files.contains("-rw-r----- root/root"), "{files}");
        assert!(files.contains(" ./usr/bin/otelet\n"), "{files}");
    }

    #[test]
    fn an_rpm_is_what_rpm_takes() {
        let package = rpm::package("aarch64", &entries(Family::RedHat), &Stamp { version: "1.2.3", time: 7 }).unwrap();
        assert_eq!(
            package,
            rpm::package("aarch64", &entries(Family::RedHat), &Stamp { version: "1.2.3", time: 7 }).unwrap()
        );
        let Some(digests) = asked("digests.rpm", &package, "rpmkeys", &["--checksig", "--nosignature"]) else { return };
        assert!(digests.trim_end().ends_with("digests OK"), "{digests}");
        let query = [
            "--query",
            "--package",
            "--nosignature",
            "--queryformat",
            "%{NVRA} %{LICENSE} [%{FILENAMES}:%{FILEMODES:perms}:%{FILEGROUPNAME}:%{FILEFLAGS:fflags} ]",
        ];
        let facts = asked("facts.rpm", &package, "rpm", &query).unwrap();
        assert!(facts.starts_with("otelet-1.2.3-1.aarch64 Apache-2.0 "), "{facts}");
        assert!(facts.contains(" /usr/bin/otelet:-rwxr-xr-x:root: "), "{facts}");
        assert!(facts.contains(" /etc/otelet/otelet.yaml:-rw-r-----:otelet:cn "), "{facts}");
        assert!(!facts.contains(" /usr/bin:"), "directories of the system are not the package's: {facts}");
        let scripts =
            asked("scripts.rpm", &package, "rpm", &["--query", "--package", "--nosignature", "--scripts"]).unwrap();
        for part in ["preinstall scriptlet", "postinstall", "preuninstall", "postuninstall", "try-restart"] {
            assert!(scripts.contains(part), "{part}\n{scripts}");
        }
    }

    #[test]
    fn big_numbers_have_commas() {
        assert_eq!([0, 999, 1_000, 1_860_144].map(thousands), ["0", "999", "1,000", "1,860,144"]);
    }
}
