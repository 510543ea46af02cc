//! The tests of the library and the promises, built for Windows and run under wine.
//! `tests/promises/kit/not_on_windows.yaml` lists the tests that cannot work there, with reasons, and
//! `left_to_linux.yaml` beside it the files that run on Linux x86-64 alone. A test that is missing without an entry
//! fails the step.

use std::path::Path;
use std::time::Duration;

use crate::build::{self, platforms::Platform};
use crate::check::foreign::{LEFT_TO_LINUX, LeftOut, Program, crates_left_to_linux, left_to_linux, names};
use crate::check::{Outcome, count, windows_collector};
use crate::command::run;
use crate::wine::Wine;
use crate::{console, places};

pub const TARGET: &str = "x86_64-pc-windows-gnu";
pub const LIST: &str = "tests/promises/kit/not_on_windows.yaml";

/// The longest time for all tests of one program: two and a half minutes on two cores, five on shared ones.
const LIMIT: Duration = Duration::from_secs(900);

pub fn step() -> Outcome {
    let all = || -> Result<Outcome, String> {
        let platform = Platform::named(TARGET)?;
        let Some(wine) = Wine::find(&platform)? else {
            let names = platform.needs.emulators.join(" or ");
            return Ok(Outcome::Skipped(format!("windows: not run: no {names} here, and no Debian that has it")));
        };
        if let Some(reason) = wine.too_old() {
            return Ok(Outcome::Skipped(format!("windows: not run: {reason}")));
        }
        if let Err(reason) = build::possible(&platform) {
            return Ok(Outcome::Skipped(format!("windows: not built: {reason}")));
        }
        let [library, promises] = build::tests(&platform, [build::LIBRARY, build::PROMISES])?;
        let left_out = LeftOut::read(LIST)?;
        let go = |what: &str, program: &Path, arguments: &[String]| {
            wine.run(&format!("{what} under wine"), program, arguments, LIMIT)
        };
        let library = Program { what: "library", threads: 3, run: &|arguments| go("library", &library, arguments) };
        let tested = Program { what: "promises", threads: 3, run: &|arguments| go("promises", &promises, arguments) };
        compare(&tested, &left_out)?;
        let crates =
            format!("the tests of {} crates are left to Linux x86-64, see {LEFT_TO_LINUX}", crates_left_to_linux()?);
        let sums = [
            crates,
            library.tests(&left_out.library, &[])?,
            tested.tests(&left_out.promises, &left_to_linux(TARGET)?)?,
            service(&wine, &promises)?,
            windows_collector::tries(&wine, &promises)?,
        ];
        Ok(Outcome::Passed(sums.join("; ")))
    };
    all().unwrap_or_else(Outcome::Failed)
}

/// Installs and removes the service for real, in wine's Windows.
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

/// Checks that no test is missing without a reason: each test of this machine is built there too, or is listed.
fn compare(promises: &Program, left_out: &LeftOut) -> Result<(), String> {
    let mut cargo = places::cargo();
    cargo.args(["test", "--quiet", "--locked", "--workspace", "--test", "promises", "--", "--list"]);
    let here = names(&run("the list of promises", &mut cargo)?)?;
    let there = promises.names()?;
    let mut wrong = Vec::new();
    for name in here.difference(&there) {
        let file = name.split("::").next().unwrap_or_default();
        if !left_out.files.contains_key(file) && !left_out.not_built.contains_key(name) {
            wrong.push(format!("{name} is not built for Windows, and {LIST} does not say why"));
        }
    }
    let listed = left_out.promises.keys().filter(|name| !there.contains(*name));
    wrong.extend(listed.map(|name| format!("{LIST} names {name}, which is not there")));
    for (name, reason) in &left_out.not_built {
        if !here.contains(name) || there.contains(name) {
            wrong.push(format!("{LIST} says that {name} is not built, and that is not so"));
        }
        println!("  {}", console::stdout().dim(&format!("promises: not built: {name}: {reason}")));
    }
    for (file, reason) in &left_out.files {
        let head = format!("{file}::");
        if there.iter().any(|name| name.starts_with(&head)) {
            wrong.push(format!("{LIST} says that {file} is not built, but it is"));
        }
        println!("  {}", console::stdout().dim(&format!("promises: not built: {file}: {reason}")));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
