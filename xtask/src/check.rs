//! `cargo xtask check`: the checks of CI. Each step prints its name, result and time; a step that fails prints its whole
//! report. At the end stands one table. A skipped step is in it with its reason.

pub mod arm64;
mod dockerfile;
mod foreign;
pub mod kubernetes;
mod msi;
mod msrv;
mod powershell;
pub mod prose;
mod real;
pub mod reproducible;
pub mod rooms;
mod shell;
mod supply;
mod wall;
pub mod windows;
mod windows_collector;
mod workflows;

use std::process::Command;
use std::time::{Duration, Instant};

use crate::command::run;
use crate::console::{self, Paint};
use crate::{Failure, Flags, fuzz, places};

/// The result of one step.
pub enum Outcome {
    /// It passed; the text goes into the table.
    Passed(String),
    /// It did not run, for this reason.
    Skipped(String),
    /// It failed; the text is the whole report.
    Failed(String),
}

type Step = (&'static str, &'static str, fn() -> Outcome);

/// The steps: name, description, function. The quick ones come first.
const STEPS: [Step; 15] = [
    ("format", "cargo fmt --check", format),
    ("shell", "shellcheck over every script", shell::step),
    ("powershell", "the syntax of every PowerShell script", powershell::step),
    ("dockerfile", "hadolint over Dockerfile.alpine", dockerfile::step),
    ("rooms", "circles of files, arrows upwards between rooms, imports of the core", rooms::step),
    ("prose", "sentences of comments and docs that open headless", prose::step),
    ("workflows", "actionlint over .github/workflows", workflows::step),
    ("manifests", "kustomize and helm lint, and both make the same objects", kubernetes::manifests),
    ("licences", "licences, bans and sources of dependencies", supply::licences),
    ("advisories", "known vulnerabilities in dependencies", supply::advisories),
    ("clippy", "cargo clippy, warnings are errors", clippy),
    ("doc", "cargo doc, warnings are errors", doc),
    ("msrv", "the agent builds with the oldest Rust of Cargo.toml", msrv::step),
    ("wall", "I/O, clocks, chance and imports put into crates/core are refused", wall::step),
    ("tests", "cargo test --workspace", tests),
];

/// The steps of `--real`.
const REAL: [Step; 8] = [
    ("quiet", "what a minute of an idle agent costs", real::quiet),
    ("real", "the promises that need a real Collector, engine or root", real::step),
    ("kubernetes", "the promises on a real Kubernetes of two nodes", kubernetes::step),
    ("arm64", "the promises built for ARM64, under qemu", arm64::step),
    ("windows", "the tests and promises built for Windows, under wine", windows::step),
    ("msi", "the Windows installer, under wine", msi::step),
    ("fuzz", "each fuzz target for a moment", fuzz::step),
    ("reproducible", "the release binary is the same from two directories", reproducible::step),
];

/// Runs the verb.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let mut steps = STEPS.to_vec();
    let mut left_out = Vec::new();
    let mut only = Vec::new();
    let mut flags = Flags::new("check", args);
    while let Some(name) = flags.next_name() {
        match name {
            "--real" => {
                // The node of the step `kubernetes` brings the kubectl and helm that this one needs.
                let (manifests, others): (Vec<Step>, Vec<Step>) =
                    steps.into_iter().partition(|step| step.0 == "manifests");
                steps = others;
                steps.extend(REAL);
                let after = steps.iter().position(|step| step.0 == "kubernetes").map_or(steps.len(), |at| at + 1);
                steps.splice(after..after, manifests);
            }
            "--skip" => left_out.extend(flags.value(name)?.split(',')),
            "--only" => only.extend(flags.value(name)?.split(',')),
            _ => return Err(flags.unknown(name)),
        }
    }
    for (flag, name) in left_out.iter().map(|name| ("--skip", name)).chain(only.iter().map(|name| ("--only", name))) {
        if !steps.iter().any(|step| step.0 == *name) {
            let names: Vec<&str> = steps.iter().map(|step| step.0).collect();
            return Err(Failure::Usage(format!("{flag}={name}: no such step; the steps are {}", names.join(", "))));
        }
    }
    if !only.is_empty() {
        steps.retain(|step| only.contains(&step.0));
    }

    let paint = console::stdout();
    let mut table = Vec::new();
    for (name, what, step) in steps {
        println!("{} {}", paint.bold(&format!("{name}:")), paint.dim(what));
        let started = Instant::now();
        let outcome =
            if left_out.contains(&name) { Outcome::Skipped("asked for by --skip".to_owned()) } else { step() };
        let time = started.elapsed();
        if let Outcome::Failed(report) = &outcome {
            println!("{}", without_progress(report));
        }
        println!("{}", row(paint, name, &outcome, time));
        table.push((name, outcome, time));
    }

    println!("\n{}", paint.bold("summary"));
    for (name, outcome, time) in &table {
        println!("{}", row(paint, name, outcome, *time));
    }
    let failed: Vec<&str> =
        table.iter().filter(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_))).map(|(name, ..)| *name).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(format!("failed: {}", failed.join(", ")))) }
}

fn row(paint: Paint, name: &str, outcome: &Outcome, time: Duration) -> String {
    let (result, detail) = match outcome {
        Outcome::Passed(detail) => (paint.green("ok     "), detail.as_str()),
        Outcome::Skipped(reason) => (paint.yellow("skipped"), reason.as_str()),
        Outcome::Failed(report) => (paint.red("failed "), first_error(report)),
    };
    let time = match outcome {
        Outcome::Skipped(_) => String::new(),
        Outcome::Passed(_) | Outcome::Failed(_) => console::seconds(time),
    };
    let row = format!("  {name:<12} {result} {time:>12}  {detail}");
    row.trim_end().to_owned()
}

/// A report without cargo's lines of progress.
fn without_progress(report: &str) -> String {
    let lines = report.lines().filter(|line| {
        let word = line.split_whitespace().next().unwrap_or("");
        !["Compiling", "Checking", "Downloading", "Downloaded", "Updating"].contains(&word)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The line of a report for the table.
fn first_error(report: &str) -> &str {
    let lines = || report.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find(|line| line.starts_with("error")).or_else(|| lines().next()).unwrap_or("")
}

/// Runs a command whose exit status is the result.
fn by_status(what: &str, command: &mut Command) -> Outcome {
    match run(what, command) {
        Ok(ran) if ran.ok() => Outcome::Passed(String::new()),
        Ok(ran) => Outcome::Failed(ran.output),
        Err(reason) => Outcome::Failed(reason),
    }
}

fn format() -> Outcome {
    by_status("format", places::cargo().args(["fmt", "--all", "--check", "--", "--color=never"]))
}

fn clippy() -> Outcome {
    by_status(
        "clippy",
        places::cargo().args(["clippy", "--workspace", "--all-targets", "--locked"]).args(["--", "-D", "warnings"]),
    )
}

fn doc() -> Outcome {
    by_status(
        "doc",
        places::cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn tests() -> Outcome {
    match run("tests", places::cargo().args(["test", "--workspace", "--locked"])) {
        Ok(ran) if ran.ok() => Outcome::Passed(count(&ran.output)),
        Ok(ran) => Outcome::Failed(ran.output),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Adds up the closing lines of `cargo test`: `test result: ok. 12 passed; 0 failed; 3 ignored; ...`.
fn count(output: &str) -> String {
    let mut sums = [("passed", 0), ("failed", 0), ("ignored", 0)];
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        for (word, sum) in &mut sums {
            let number = line
                .split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(*word)?.trim().parse::<u32>().ok())
                .next();
            *sum += number.unwrap_or(0);
        }
    }
    sums.map(|(word, sum)| format!("{sum} {word}")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_cargo_test_are_added_up() {
        let output = "\
test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.10s
noise
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.10s
";
        assert_eq!(count(output), "16 passed, 1 failed, 3 ignored");
    }

    #[test]
    fn a_table_shows_the_first_error() {
        assert_eq!(first_error("Compiling\nerror: no\nerror: yes\n"), "error: no");
        assert_eq!(first_error("\ngone\n"), "gone");
    }
}
