//! The tests of the library and the promises, built for Windows and run under wine. What is left out there is in
//! `tests/promises/not_on_windows.yaml` with its reason, and nothing else may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::build::{self, platforms::Platform};
use crate::check::{Outcome, count, windows_collector};
use crate::command::{Ran, run};
use crate::wine::Wine;
use crate::{console, places};

const TARGET: &str = "x86_64-pc-windows-gnu";
const LIST: &str = "tests/promises/not_on_windows.yaml";

/// How long all tests of one program may take: some five minutes on two cores that others use too.
const LIMIT: Duration = Duration::from_secs(600);

/// What is not done, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotOnWindows {
    files: BTreeMap<String, String>,
    promises: BTreeMap<String, String>,
    library: BTreeMap<String, String>,
}

/// Runs the step; some ten minutes on two idle cores with nothing built.
pub fn step() -> Outcome {
    let all = || -> Result<Outcome, String> {
        let platform = Platform::named(TARGET)?;
        let Some(wine) = Wine::find(&platform)? else {
            return Ok(Outcome::Skipped(format!(
                "windows: not run: no {} here",
                platform.needs.emulators.join(" or ")
            )));
        };
        if let Err(reason) = build::possible(&platform) {
            return Ok(Outcome::Skipped(format!("windows: not built: {reason}")));
        }
        let [library, promises] = build::tests(&platform)?;
        let left_out = NotOnWindows::read()?;
        let mut sums = Vec::new();
        sums.push(tests(&wine, "library", &library, &left_out.library)?);
        compare(&wine, &promises, &left_out)?;
        sums.push(tests(&wine, "promises", &promises, &left_out.promises)?);
        sums.push(service(&wine, &promises)?);
        sums.push(windows_collector::tries(&wine, &promises)?);
        Ok(Outcome::Passed(sums.join("; ")))
    };
    all().unwrap_or_else(Outcome::Failed)
}

impl NotOnWindows {
    fn read() -> Result<Self, String> {
        let path = places::root().join(LIST);
        let text = fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))?;
        serde_yaml::from_str(&text).map_err(|cause| format!("{}: {cause}", path.display()))
    }
}

/// Runs the tests of one program but those that are left out. One that fails or does not end is done once more, alone: wine
/// on a busy machine now and then takes longer than a test waits, and seldom loses the end of a pipe or a connection.
fn tests(wine: &Wine, what: &str, program: &Path, left_out: &BTreeMap<String, String>) -> Result<String, String> {
    let paint = console::stdout();
    for (name, reason) in left_out {
        println!("  {}", paint.dim(&format!("{what}: left out: {name}: {reason}")));
    }
    // Without --exact a name stands for all that contain it: none of these does for one that is not meant.
    let mut arguments = vec!["--test-threads=3".to_owned()];
    arguments.extend(left_out.keys().flat_map(|name| ["--skip".to_owned(), name.clone()]));
    let ran = wine.run(&format!("{what} under wine"), program, &arguments, LIMIT)?;
    if ran.ok() {
        return Ok(format!("{what}: {}", count(&ran.output)));
    }
    let done = passed(&ran);
    let all = names(&wine.run(&format!("{what} under wine"), program, &["--list".to_owned()], LIMIT)?)?;
    let is_left_out = |name: &String| left_out.keys().any(|part| name.contains(part.as_str()));
    let ignored = ran.output.lines().filter_map(|line| line.trim().strip_prefix("test ")?.split_once(" ... ignored"));
    let ignored: BTreeSet<String> = ignored.map(|(name, _)| name.to_owned()).collect();
    let of_whom_no_good = |name: &String| !done.contains(name) && !ignored.contains(name) && !is_left_out(name);
    let failed: Vec<String> = all.into_iter().filter(of_whom_no_good).collect();
    if failed.is_empty() {
        return Err(format!("{what} under wine: {}\n{}", ran.last_words(), ran.output));
    }
    println!("  {}", paint.yellow(&format!("{what}: done once more, alone: {}", failed.join(", "))));
    let mut again = vec!["--exact".to_owned(), "--test-threads=1".to_owned()];
    again.extend(failed.iter().cloned());
    let second = wine.run(&format!("{what} under wine"), program, &again, LIMIT)?;
    match second.ok() {
        true => Ok(format!("{what}: {}, of which {} the second time", count(&ran.output), failed.len())),
        false => Err(format!("{what} under wine: {}\n{}", second.last_words(), second.output)),
    }
}

/// The service is installed and removed for real, in wine's Windows.
fn service(wine: &Wine, program: &Path) -> Result<String, String> {
    let arguments = ["--ignored", "--test-threads=1", "--show-output", "runs_as_a_windows_service"].map(str::to_owned);
    let ran = wine.run("the service under wine", program, &arguments, LIMIT)?;
    for line in ran.output.lines().filter(|line| line.trim_start().starts_with("skipped:")) {
        println!("  {}", line.trim());
    }
    match ran.ok() && !count(&ran.output).starts_with("0 passed") {
        true => Ok(format!("service: {}", count(&ran.output))),
        false => Err(format!("the service under wine: {}\n{}", ran.last_words(), ran.output)),
    }
}

/// Sees that nothing is missing in silence: each test that this machine has is there too, or is named with its reason.
fn compare(wine: &Wine, program: &Path, left_out: &NotOnWindows) -> Result<(), String> {
    let mut cargo = places::cargo();
    cargo.args(["test", "--quiet", "--locked", "--package", "otelet", "--test", "promises", "--", "--list"]);
    let here = names(&run("the list of promises", &mut cargo)?)?;
    let there = names(&wine.run("the list of promises under wine", program, &["--list".to_owned()], LIMIT)?)?;
    let mut wrong = Vec::new();
    for name in here.difference(&there) {
        let file = name.split("::").next().unwrap_or_default();
        if !left_out.files.contains_key(file) {
            wrong.push(format!("{name} is not built for Windows, and {LIST} does not say why"));
        }
    }
    let listed = left_out.promises.keys().filter(|name| !there.contains(*name));
    wrong.extend(listed.map(|name| format!("{LIST} names {name}, which is not there")));
    for (file, reason) in &left_out.files {
        let head = format!("{file}::");
        if there.iter().any(|name| name.starts_with(&head)) {
            wrong.push(format!("{LIST} says that {file} is not built, but it is"));
        }
        println!("  {}", console::stdout().dim(&format!("promises: not built: {file}: {reason}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The names in `a::b: test`.
fn names(ran: &Ran) -> Result<BTreeSet<String>, String> {
    if !ran.ok() {
        return Err(ran.output.clone());
    }
    Ok(ran.stdout.lines().filter_map(|line| Some(line.trim().strip_suffix(": test")?.to_owned())).collect())
}

/// The names in `test a::b ... ok`.
fn passed(ran: &Ran) -> BTreeSet<String> {
    let name = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... ok")?.to_owned());
    ran.output.lines().filter_map(|line| name(line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_reason_and_a_file_that_is_there() {
        let left_out = NotOnWindows::read().unwrap();
        for (file, reason) in &left_out.files {
            let path = places::root().join(format!("tests/promises/{file}.rs"));
            assert!(path.is_file() && reason.len() > 10, "{file}: {reason}");
        }
        for (name, reason) in left_out.promises.iter().chain(&left_out.library) {
            assert!(name.contains("::") && reason.len() > 10, "{name}: {reason}");
        }
    }
}
