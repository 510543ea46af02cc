//! The Collector's official release: the core distribution of a pinned version, checked by SHA-256.
//!
//! The expected sum comes from `targets/collector/release.sha256` where that file has it. Where it has not, it comes
//! from the list that the same release publishes, over the same TLS: that finds a damaged download, not a release that
//! was changed afterwards. `cargo xtask collector --pin` writes the file, to be looked at and committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::collector::platform::Platform;
use crate::collector::{Guard, cache, small};
use crate::command::run;
use crate::{console, places};

/// Where releases are; `OTELET_COLLECTOR_RELEASES` names a mirror of the same layout.
const RELEASES: &str = "https://github.com/open-telemetry/opentelemetry-collector-releases/releases/download";
/// The published lists of sums. Which one has the files for Windows depends on the release.
const LISTS: [&str; 2] = [
    "opentelemetry-collector-releases_otelcol_checksums.txt",
    "opentelemetry-collector-releases_otelcol_windows_checksums.txt",
];
/// The machines whose sums are pinned.
const PINNED: [&str; 4] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-musleabihf",
    "x86_64-pc-windows-msvc",
];

/// Where the Collector of a release is kept.
pub fn place(version: &str, platform: &Platform) -> PathBuf {
    cache().join(format!("release-{version}-{}", platform.name())).join(platform.program("otelcol"))
}

/// Downloads, checks and unpacks the Collector of a release into `place`.
pub fn fetch(version: &str, platform: &Platform, guard: &Guard, place: &Path) -> Result<(), String> {
    let name = archive(version, platform);
    let file = guard.scratch.join(&name);
    let (sum, origin) = match pinned(&name)? {
        Some(sum) => (sum, "as pinned in targets/collector/release.sha256"),
        None => (published(version, &name, guard)?, "by the release's own list; none is pinned here"),
    };
    download(&format!("v{version}/{name}"), &file)?;
    let found = places::sha256_of_file(&file)?;
    if found != sum {
        return Err(format!("{name}: its SHA-256 is {found}, expected {sum}, {origin}; not used"));
    }
    eprintln!("collector: {}", console::stderr().dim(&format!("{name}: SHA-256 {} {origin}", &sum[..12])));
    let program = platform.program("otelcol");
    let unpacked =
        run("unpacking", Command::new("tar").arg("-xzf").arg(&name).arg(&program).current_dir(&guard.scratch))?;
    if !unpacked.ok() {
        return Err(format!("{name}: cannot unpack: {}", unpacked.last_words()));
    }
    guard.keep(&program, place)
}

/// Writes the sums that the release publishes to `targets/collector/release.sha256`.
pub fn pin() -> Result<(), String> {
    let version = small::Recipe::read(small::Distribution::Small)?.version;
    let guard = Guard::take()?;
    let mut lines = String::new();
    for target in PINNED {
        let name = archive(&version, &Platform::of_rust_target(target)?);
        let sum = published(&version, &name, &guard)?;
        lines.push_str(&format!("{sum}  {name}\n"));
    }
    let path = pins();
    fs::write(&path, lines).map_err(|cause| format!("{}: cannot write: {cause}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

fn archive(version: &str, platform: &Platform) -> String {
    format!("otelcol_{version}_{}_{}.tar.gz", platform.os, platform.processor())
}

fn pins() -> PathBuf {
    places::root().join("targets/collector/release.sha256")
}

/// The pinned sum of an archive, if there is one; a row that names it and has no sum is an error, not a gap.
fn pinned(name: &str) -> Result<Option<String>, String> {
    let list = fs::read_to_string(pins()).unwrap_or_default();
    let sum = sum_of(name, &list);
    if sum.is_none() && list.lines().any(|line| line.ends_with(name)) {
        return Err(format!("targets/collector/release.sha256: the row of {name} has no SHA-256 of 64 hex digits"));
    }
    Ok(sum)
}

fn published(version: &str, name: &str, guard: &Guard) -> Result<String, String> {
    for list in LISTS {
        let file = guard.scratch.join(list);
        download(&format!("v{version}/{list}"), &file)?;
        let text = fs::read_to_string(&file).map_err(|cause| format!("{list}: {cause}"))?;
        if let Some(sum) = sum_of(name, &text) {
            return Ok(sum);
        }
    }
    Err(format!("{name}: the release lists no such file"))
}

/// The sum of `name` in a list as `sha256sum` prints it.
fn sum_of(name: &str, list: &str) -> Option<String> {
    list.lines().find_map(|line| {
        let (sum, file) = line.split_once(char::is_whitespace)?;
        let whole = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        (whole && file.trim_start_matches([' ', '*']) == name).then(|| sum.to_ascii_lowercase())
    })
}

/// Downloads by curl or else wget: both know proxies and certificates of this machine, which nothing here does.
fn download(what: &str, to: &Path) -> Result<(), String> {
    let mirror = std::env::var("OTELET_COLLECTOR_RELEASES").ok();
    let url = format!("{}/{what}", mirror.as_deref().unwrap_or(RELEASES));
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location"]).args([
        "--connect-timeout",
        "5",
        "--max-time",
        "900",
    ]);
    if mirror.is_none() {
        curl.args(["--proto", "=https"]);
    }
    curl.arg("--output").arg(to).arg(&url);
    let mut wget = Command::new("wget");
    wget.args(["--no-verbose", "--tries=1", "--connect-timeout=5"])
        .args(["--dns-timeout=5", "--read-timeout=60", "-O"])
        .arg(to)
        .arg(&url);

    let doing = format!("downloading {what}");
    let ran = match run(&doing, &mut curl) {
        Ok(ran) => ran,
        Err(no_curl) => run(&doing, &mut wget).map_err(|no_wget| format!("{no_curl}; {no_wget}"))?,
    };
    if ran.ok() { Ok(()) } else { Err(format!("cannot be downloaded: {}", ran.last_words())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_found_by_the_whole_name() {
        let sum = "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let list = format!("0000  otelcol_1_linux_amd64.tar.gz.sbom\n{sum}  otelcol_1_linux_amd64.tar.gz\n");
        let name = "otelcol_1_linux_amd64.tar.gz";
        assert_eq!(sum_of(name, &list), Some(sum.to_ascii_lowercase()));
        assert_eq!(sum_of("otelcol_1_linux_arm64.tar.gz", &list), None);
    }
}
