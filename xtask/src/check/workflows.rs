//! `actionlint` over the workflows in `.github/workflows`, their shell included where shellcheck is there.

use std::path::PathBuf;
use std::process::Command;

use crate::check::{Outcome, by_status};
use crate::command::run;
use crate::places;

/// A Go module: Go checks its sum.
const ACTIONLINT: &str = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12";

/// Runs the step.
pub fn step() -> Outcome {
    // Without files to look at it takes each workflow there is, and fails if there is none.
    match actionlint() {
        Ok(program) => by_status("actionlint", Command::new(program).current_dir(places::root()).arg("-no-color")),
        Err(reason) => Outcome::Skipped(reason),
    }
}

/// From PATH, from `target/tools`, or put there by Go.
fn actionlint() -> Result<PathBuf, String> {
    let folder = places::tools().join("actionlint");
    let installed = folder.join(places::program("actionlint"));
    if let Some(program) = places::on_path("actionlint").or_else(|| installed.is_file().then_some(installed.clone())) {
        return Ok(program);
    }
    let Some(go) = places::on_path("go") else {
        return Err(format!(
            "actionlint is missing; have it on PATH, or Go, which installs it: go install {ACTIONLINT}"
        ));
    };
    let mut install = Command::new(go);
    // Foreign flags and targets would build it for another machine, and then it is put elsewhere.
    install.env("GOBIN", &folder).env_remove("GOFLAGS").env_remove("GOOS").env_remove("GOARCH");
    let ran = run("installing actionlint", install.args(["install", ACTIONLINT]))?;
    if ran.ok() && installed.is_file() {
        Ok(installed)
    } else {
        Err(format!("actionlint is missing, and `go install {ACTIONLINT}` failed: {}", ran.last_words()))
    }
}
