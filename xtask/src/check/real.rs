//! The promises that need a real Collector: the tests marked `#[ignore = "needs a real Collector: ..."]`, run with
//! `OTELET_COLLECTOR` set, of the static binary that users get where it can be built here. Those that need something else
//! as well, a Docker engine or root, start or find it themselves. A test that cannot do its work on this machine prints
//! `skipped: REASON`, which is shown here.

use std::path::PathBuf;

use crate::build::{self, platforms::Platform};
use crate::check::{Outcome, count};
use crate::command::{Ran, run};
use crate::{collector, places};

/// What the promises are called that look on for a minute.
const MINUTES: &str = "stays_small::a_minute";

/// Runs the step.
pub fn step() -> Outcome {
    let collector = match collector::find() {
        Ok(path) => path,
        Err(reason) => return Outcome::Skipped(format!("real: not run: {reason}")),
    };
    let binary = match release() {
        Ok(binary) => Some(binary),
        Err(reason) => {
            // The promises that are of a release say that they were skipped.
            println!("  of the build for tests, as no release can be made here: {reason}");
            None
        }
    };
    let promises = |threads: &str, which: &[&str]| {
        let mut promises = places::cargo();
        promises
            .args(["test", "--package", "otelet", "--lib", "--test", "promises", "--locked", "--"])
            .args(["--ignored", "--show-output", threads])
            .args(which)
            .env("OTELET_COLLECTOR", &collector);
        if let Some(binary) = &binary {
            promises.env("OTELET_BINARY", binary);
        }
        run("real promises", &mut promises)
    };
    // Wake-ups are counted while nothing else is at work.
    let minutes = judge(promises("--test-threads=3", &[MINUTES]));
    // Those of Kubernetes have a step of their own.
    let skip = ["--skip=runs_in_kubernetes".to_owned(), format!("--skip={MINUTES}")];
    let others = judge(promises("--test-threads=2", &[&skip[0], &skip[1]]));
    match (minutes, others) {
        (Outcome::Passed(minutes), Outcome::Passed(others)) => Outcome::Passed(format!("{minutes}; {others}")),
        (Outcome::Failed(minutes), Outcome::Failed(others)) => Outcome::Failed(format!("{minutes}\n{others}")),
        (failed @ Outcome::Failed(_), _) | (_, failed) => failed,
    }
}

/// What came of a run of tests, with each of them and each thing that was left out on a line.
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

/// What users of this machine get.
fn release() -> Result<PathBuf, String> {
    let platform = Platform::here().ok_or("this machine is not in targets/platforms.yaml")?;
    build::possible(&platform)?;
    Ok(build::build(&platform, "otelet", None)?.path)
}
