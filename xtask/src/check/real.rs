//! The promises that need something real: the tests marked `#[ignore = "needs ...: cargo xtask check --real"]`, with
//! the static binary that users get where it can be built here. A Collector is found or made for them; a test that also
//! needs a Docker engine or root starts or finds it itself. A test that cannot do its work on this machine prints
//! `skipped: REASON`, which the step repeats.

use std::path::PathBuf;

use crate::build::{self, platforms::Platform};
use crate::check::{Outcome, count};
use crate::command::{Ran, run};
use crate::{collector, console, places};

/// The name of the promises that take a minute each.
const MINUTES: &str = "stays_small::a_minute";

/// The minutes of an idle agent. They count wake-ups, of which there are more on busy processors: nothing else may run
/// meanwhile.
pub fn quiet() -> Outcome {
    judge(promises("--test-threads=3", &[MINUTES.to_owned()], &[]))
}

/// Every other such test except Kubernetes, which has a step of its own.
pub fn step() -> Outcome {
    let collector = match collector::find() {
        Ok(path) => path,
        Err(reason) => return Outcome::Skipped(format!("real: not run: {reason}")),
    };
    let which = ["--skip=runs_in_kubernetes".to_owned(), format!("--skip={MINUTES}")];
    judge(promises("--test-threads=2", &which, &[("OTELET_COLLECTOR", collector)]))
}

/// Runs the ignored tests. Their programs are those of `cargo test --workspace`, and are not built again: a build of a
/// part of the workspace has other features.
fn promises(threads: &str, which: &[String], variables: &[(&str, PathBuf)]) -> Result<Ran, String> {
    let mut command = places::cargo();
    command
        .args(["test", "--workspace", "--lib", "--test", "promises", "--locked", "--"])
        .args(["--ignored", "--show-output", threads])
        .args(which)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    match release() {
        Ok(binary) => {
            println!("  {}", console::stdout().dim(&format!("the agent is {}", binary.display())));
            command.env("OTELET_BINARY", binary);
        }
        // Promises about releases print that they were skipped.
        Err(reason) => println!("  the agent is the build for tests, as no release can be made here: {reason}"),
    }
    run("real promises", &mut command)
}

/// The outcome of a run of tests; prints a line for each test and for each thing that was left out.
pub fn judge(ran: Result<Ran, String>) -> Outcome {
    let ran = match ran {
        Ok(ran) => ran,
        Err(reason) => return Outcome::Failed(reason),
    };
    if !ran.ok() {
        return Outcome::Failed(ran.output);
    }
    for line in ran.output.lines().filter(|line| line.starts_with("test ")) {
        println!("  {line}");
    }
    let skipped: Vec<&str> =
        ran.output.lines().filter(|line| line.trim_start().starts_with("skipped:")).map(str::trim).collect();
    for line in &skipped {
        println!("  {line}");
    }
    let sums = count(&ran.output);
    if sums.starts_with("0 passed") {
        return Outcome::Failed(format!("no test of the promises is marked as needing something real\n{}", ran.output));
    }
    Outcome::Passed(match skipped.len() {
        0 => format!("{sums}; nothing skipped"),
        some => format!("{sums}; {some} said why they could not do all, above"),
    })
}

/// The binary that users of this machine get: the one that `OTELET_BINARY` names, or else a new build.
fn release() -> Result<PathBuf, String> {
    // Even a build with nothing to do waits for cargo's lock while `cargo xtask prepare` builds for other systems.
    if let Some(binary) = std::env::var_os("OTELET_BINARY") {
        return Ok(binary.into());
    }
    let platform = Platform::here().ok_or("this machine is not in targets/platforms.yaml")?;
    build::possible(&platform)?;
    Ok(build::build(&platform, "otelet", None)?.path)
}
