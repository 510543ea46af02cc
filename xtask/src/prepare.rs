//! `cargo xtask prepare`: builds everything that the steps of `cargo xtask check --real` build, and runs nothing of it.
//! `.ci/run` starts it at a low priority beside the promises, which wait most of their time. No step relies on it:
//! a step builds the missing parts itself, and waits for cargo's lock while this build holds it.

use std::thread;
use std::time::Instant;

use crate::build::{self, COLLECTOR, platforms::Platform};
use crate::check::{arm64, kubernetes, reproducible, windows};
use crate::wine::Wine;
use crate::{Failure, Flags, collector, console, fuzz};

type Job = (&'static str, fn() -> Result<(), String>);

/// The builds in `target/cross`, of which cargo does one at a time, in the order of the steps.
const CROSS: [Job; 5] = [
    ("the agent for ARM64", || release(arm64::TARGET, "otelet")),
    ("the promises for ARM64", || tests(arm64::TARGET, [build::PROMISES])),
    ("the tests for Windows", || tests(windows::TARGET, [build::LIBRARY, build::PROMISES])),
    ("the agent for Windows", || release(windows::TARGET, "otelet")),
    ("the scripted collectors", || {
        release(windows::TARGET, COLLECTOR)?;
        build::build(&here()?, COLLECTOR, None).map(drop)
    }),
];

/// The builds in other directories.
const OTHERS: [Job; 6] = [
    ("a Collector", || collector::find().map(drop)),
    ("a node of Kubernetes, and its Collector", kubernetes::prepare),
    ("wine", || Wine::find(&Platform::named(windows::TARGET)?).map(drop)),
    ("the agent from another directory", reproducible::prepare),
    ("the fuzz targets", fuzz::prepare),
    ("a Collector for Windows", || collector::small_for(windows::TARGET).map(drop)),
];

/// Runs the verb. A build that is impossible here is printed, and is no failure: its step prints it too.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let mut flags = Flags::new("prepare", args);
    if let Some(name) = flags.next_name() {
        return Err(flags.unknown(name));
    }
    thread::scope(|scope| {
        scope.spawn(|| each(&CROSS));
        scope.spawn(|| each(&OTHERS));
    });
    Ok(())
}

fn each(jobs: &[Job]) {
    for (what, job) in jobs {
        let began = Instant::now();
        let said = match job() {
            Ok(()) => "ready".to_owned(),
            Err(reason) => format!("not built: {reason}"),
        };
        println!("prepare: {what}: {said} after {}", console::seconds(began.elapsed()));
    }
}

fn here() -> Result<Platform, String> {
    Platform::here().ok_or_else(|| "this machine is not in targets/platforms.yaml".to_owned())
}

fn release(target: &str, program: &str) -> Result<(), String> {
    build::build(&Platform::named(target)?, program, None).map(drop)
}

fn tests<const N: usize>(target: &str, wanted: [build::Tests; N]) -> Result<(), String> {
    build::tests(&Platform::named(target)?, wanted).map(drop)
}
