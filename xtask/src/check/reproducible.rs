//! Whether another person can reproduce a release: this machine's target is built here and from a copy of the sources
//! in another directory, with only the toolchain in common. Both binaries must have the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::build::{self, platforms::Platform};
use crate::check::Outcome;
use crate::command::run;
use crate::places;

/// Runs the step; it takes some five minutes on two idle cores with an empty target directory.
pub fn step() -> Outcome {
    let Some(platform) = Platform::here() else {
        return Outcome::Skipped("this machine is not in targets/platforms.yaml".to_owned());
    };
    if let Err(reason) = build::possible(&platform) {
        return Outcome::Skipped(format!("not built: {reason}"));
    }
    match twice(&platform) {
        Ok((here, there)) if here == there => {
            Outcome::Passed(format!("{}: SHA-256 {}… twice", platform.target, &here[..12]))
        }
        Ok((here, there)) => {
            Outcome::Failed(format!("{}: SHA-256 {here} here, {there} from another directory", platform.target))
        }
        Err(reason) => Outcome::Failed(reason),
    }
}

/// The sums of the two binaries. Both are built at the same time: the last part of a build keeps one core busy.
fn twice(platform: &Platform) -> Result<(String, String), String> {
    let (here, there) = thread::scope(|scope| {
        let there = scope.spawn(|| from_another_directory(platform));
        let here = build::build(platform, "otelet", None);
        (here, there.join().expect("it does not panic"))
    });
    let (here, target) = (here?.path, there?);
    let place = here.strip_prefix(places::target()).map_err(|cause| format!("{}: {cause}", here.display()))?;
    Ok((places::sha256_of_file(&here)?, places::sha256_of_file(&target.join(place))?))
}

/// Builds the binary in the other directory, which is most of the work.
///
/// # Errors
///
/// The compiler's output.
pub fn prepare() -> Result<(), String> {
    let platform = Platform::here().ok_or("this machine is not in targets/platforms.yaml")?;
    from_another_directory(&platform).map(drop)
}

/// Builds it, and returns the target directory of the other workspace.
fn from_another_directory(platform: &Platform) -> Result<PathBuf, String> {
    let copy = copied()?;
    let target = copy.join("target");
    // Runs this very program with the other workspace; it uses the same tools.
    let me = std::env::current_exe().map_err(|cause| format!("who am I: {cause}"))?;
    let mut other = Command::new(me);
    other
        .args(["build", "--target", &platform.target])
        .env("CARGO_MANIFEST_DIR", copy.join("xtask"))
        .env("CARGO_TARGET_DIR", &target)
        .env(places::TOOLS, places::tools());
    let ran = run("building from another directory", &mut other)?;
    if ran.ok() { Ok(target) } else { Err(ran.output) }
}

/// Copies the files that git knows of, as they are now. The results of earlier builds stay there and are used again.
fn copied() -> Result<PathBuf, String> {
    let copy = places::target().join("reproducible/another-directory");
    let listed = run("git ls-files", Command::new("git").current_dir(places::root()).args(["ls-files", "-z"]))?;
    if !listed.ok() {
        return Err(format!("git ls-files: {}", listed.last_words()));
    }
    for name in listed.stdout.split('\0').map(str::trim).filter(|name| !name.is_empty()) {
        copy_file(&places::root().join(name), &copy.join(name))?;
    }
    Ok(copy)
}

/// Copies a file, unless the same one is there: its time tells cargo what to build anew.
fn copy_file(from: &Path, to: &Path) -> Result<(), String> {
    // Deleted, and not yet committed.
    let Ok(content) = fs::read(from) else { return Ok(()) };
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let cannot = |cause| format!("{}: cannot write: {cause}", to.display());
    fs::create_dir_all(to.parent().expect("it is in a folder")).map_err(cannot)?;
    fs::write(to, content).map_err(cannot)
}
