//! `cargo xtask fuzz`: runs the targets of `fuzz/` for a given time; `cargo xtask check --real` runs each for ten
//! seconds.
//!
//! It needs neither a nightly toolchain nor cargo-fuzz: any rustc accepts the flags that instrument the code, and
//! libFuzzer comes with its crate as C++. AddressSanitizer is optional: a stable rustc accepts its flag only with
//! RUSTC_BOOTSTRAP, and its runtime comes with rustup's toolchains, but not with all others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::check::Outcome;
use crate::command::{run, run_within};
use crate::{Failure, Flags, places};

/// Time for each target in `cargo xtask check --real`, in seconds.
const MOMENT: u64 = 10;

/// The flags of cargo-fuzz: counters at each edge, and the values that are compared.
const INSTRUMENTED: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The flags of one target that the others do not have.
fn own_flags(target: &str) -> &'static [&'static str] {
    match target {
        // The promise of this target is bounded memory.
        "config" => &["-malloc_limit_mb=64"],
        _ => &[],
    }
}

pub fn verb(args: &[String]) -> Result<(), Failure> {
    let (mut seconds, mut wanted) = (MOMENT, Vec::new());
    let known = targets()?;
    let mut flags = Flags::new("fuzz", args);
    while let Some(name) = flags.next_name() {
        match name {
            "--seconds" => {
                let value = flags.value(name)?;
                seconds = value
                    .parse()
                    .ok()
                    .filter(|seconds| *seconds > 0)
                    .ok_or_else(|| Failure::Usage(format!("--seconds={value}: not a number of seconds")))?;
            }
            target if known.iter().any(|it| it == target) => wanted.push(target.to_owned()),
            target if target.starts_with('-') => return Err(flags.unknown(target)),
            target => {
                let known = known.join(", ");
                return Err(Failure::Usage(format!("{target}: no such target; the targets are {known}")));
            }
        }
    }
    let wanted = if wanted.is_empty() { known } else { wanted };
    let built = build().map_err(|outcome| match outcome {
        Outcome::Skipped(reason) => format!("cannot fuzz here: {reason}"),
        Outcome::Failed(report) | Outcome::Passed(report) => report,
    })?;
    for target in &wanted {
        println!("{}", built.run(target, seconds)?);
    }
    Ok(())
}

/// The step of `cargo xtask check --real`: each target for ten seconds, two at a time.
pub fn step() -> Outcome {
    let targets = match targets() {
        Ok(targets) => targets,
        Err(report) => return Outcome::Failed(report),
    };
    let built = match build() {
        Ok(built) => built,
        Err(outcome) => return outcome,
    };
    let (rest, findings) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let target = rest.lock().expect("no panic while it is held").next();
                    let Some(target) = target else { return };
                    match built.run(target, MOMENT) {
                        Ok(line) => println!("  {line}"),
                        Err(report) => findings.lock().expect("no panic while it is held").push(report),
                    }
                }
            });
        }
    });
    let findings = findings.into_inner().expect("no panic while it was held");
    if !findings.is_empty() {
        return Outcome::Failed(findings.join("\n\n"));
    }
    Outcome::Passed(format!("{} targets, {MOMENT} s each{}", targets.len(), built.without))
}

/// Builds the targets.
///
/// # Errors
///
/// The missing tool, or the compiler's output.
pub fn prepare() -> Result<(), String> {
    match build() {
        Ok(_) => Ok(()),
        Err(Outcome::Skipped(why) | Outcome::Failed(why) | Outcome::Passed(why)) => Err(why),
    }
}

/// The targets, by the names of their files.
fn targets() -> Result<Vec<String>, String> {
    let folder = places::root().join("fuzz/targets");
    let entries = std::fs::read_dir(&folder).map_err(|cause| format!("{}: cannot read: {cause}", folder.display()))?;
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| name(entry.path())).collect();
    names.sort();
    Ok(names)
}

struct Built {
    folder: PathBuf,
    /// The features that they lack on this machine, for the table.
    without: &'static str,
}

/// Builds all targets at once. Skips them where a C++ compiler or the crates are unavailable.
fn build() -> Result<Built, Outcome> {
    let compiler = ["c++", "g++", "clang++"].iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    if compiler.is_none() {
        return Err(Outcome::Skipped("no C++ compiler for libFuzzer; apt-get install g++".to_owned()));
    }
    let fetched = run("fuzz crates", places::cargo().args(["fetch", "--locked", "--manifest-path", "fuzz/Cargo.toml"]));
    match fetched {
        Ok(ran) if ran.ok() => {}
        // A lock file that does not fit is a fault of the project; an unreachable registry is none.
        Ok(ran) if ran.output.contains("--locked was passed") => return Err(Outcome::Failed(ran.output)),
        Ok(ran) => return Err(Outcome::Skipped(format!("crates cannot be had: {}", ran.last_words()))),
        Err(reason) => return Err(Outcome::Failed(reason)),
    }
    let (host, address_sanitizer) = toolchain().map_err(Outcome::Failed)?;
    let target_dir = places::target().join("fuzz");
    let mut cargo = places::cargo();
    cargo.args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    cargo.args(["--target", &host, "--target-dir"]).arg(&target_dir);
    let mut flags = INSTRUMENTED.to_vec();
    if address_sanitizer {
        flags.push("-Zsanitizer=address");
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    match run("fuzz targets", &mut cargo) {
        Ok(ran) if ran.ok() => {}
        Ok(ran) => return Err(Outcome::Failed(ran.output)),
        Err(reason) => return Err(Outcome::Failed(reason)),
    }
    let without = if address_sanitizer { "" } else { ", without AddressSanitizer, whose runtime this toolchain lacks" };
    Ok(Built { folder: target_dir.join(host).join("release"), without })
}

/// The target of this machine, and whether AddressSanitizer's runtime exists for it.
fn toolchain() -> Result<(String, bool), String> {
    let ask = |argument: &[&str]| run("rustc", Command::new("rustc").args(argument)).map(|ran| ran.stdout);
    let version = ask(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| format!("rustc -vV names no host: {version}"))?;
    let libraries = Path::new(ask(&["--print", "sysroot"])?.trim()).join("lib/rustlib").join(host).join("lib");
    let runtime = |name: &str| name.starts_with("librustc-") && name.ends_with("_rt.asan.a");
    let found = std::fs::read_dir(libraries)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(runtime)));
    Ok((host.to_owned(), found))
}

impl Built {
    /// Runs one target on the inputs of earlier runs and the seeds. Returns a line about the run.
    ///
    /// # Errors
    ///
    /// libFuzzer's report of a finding, and the file with its input.
    fn run(&self, target: &str, seconds: u64) -> Result<String, String> {
        let fuzz = places::root().join("fuzz");
        let (corpus, findings) = (fuzz.join("corpus").join(target), fuzz.join("artifacts").join(target));
        for folder in [&corpus, &findings] {
            std::fs::create_dir_all(folder).map_err(|cause| format!("{}: cannot make: {cause}", folder.display()))?;
        }
        let mut command = Command::new(self.folder.join(places::program(target)));
        command.current_dir(places::root()).arg(&corpus);
        let seeds = fuzz.join("seeds").join(target);
        command.args(seeds.is_dir().then_some(&seeds));
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", findings.display()));
        command.args(["-print_final_stats=1", "-timeout=60"]).args(own_flags(target));
        // Some targets write files, which should not wear out a disk.
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            command.env("TMPDIR", memory);
        }
        let limit = Duration::from_secs(seconds + 300);
        let ran = run_within(&format!("fuzz {target}"), &mut command, Some(limit))?;
        if !ran.ok() {
            let lines: Vec<&str> = ran.output.lines().filter(|line| !line.starts_with(['#', '\t'])).collect();
            return Err(format!("error: {target}: a finding\n{}", lines.join("\n")));
        }
        let number = |name: &str| {
            let line = ran.output.lines().find(|line| line.starts_with(&format!("stat::{name}:")));
            line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("?").to_owned()
        };
        let (inputs, peak) = (number("number_of_executed_units"), number("peak_rss_mb"));
        Ok(format!("{target}: {inputs} inputs in {seconds} s, {peak} MiB at most, nothing found"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_built_by_its_name() {
        let manifest = std::fs::read_to_string(places::root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(targets.len() >= 10, "{targets:?}");
        for target in &targets {
            assert!(manifest.contains(&format!("name = \"{target}\"\npath = \"targets/{target}.rs\"")), "{target}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
    }
}
