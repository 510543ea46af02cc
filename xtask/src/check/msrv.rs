//! Builds the agent with the oldest Rust that Cargo.toml promises: with the running toolchain if it is that one, else with the one
//! of rustup.

use std::fs;
use std::process::Command;

use crate::check::Outcome;
use crate::command::run;
use crate::places;

/// Runs the step.
pub fn step() -> Outcome {
    match build() {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::Failed(reason),
    }
}

fn build() -> Result<Outcome, String> {
    let manifest = places::root().join("Cargo.toml");
    let text =
        fs::read_to_string(&manifest).map_err(|cause| format!("{}: cannot read: {cause}", manifest.display()))?;
    let oldest = rust_version(&text).ok_or("Cargo.toml: no rust-version")?;

    let running = places::cargo().arg("--version").output().map_err(|cause| format!("cargo: {cause}"))?;
    let running = String::from_utf8_lossy(&running.stdout).into_owned();
    let mut cargo = if is_release(oldest, running.split_whitespace().nth(1).unwrap_or("")) {
        places::cargo()
    } else {
        let installed = Command::new("rustup").args(["toolchain", "list"]).output();
        let installed = installed.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned()).unwrap_or_default();
        let Some(toolchain) = toolchain(oldest, &installed) else {
            return Ok(Outcome::Skipped(format!(
                "Rust {oldest} is not installed: rustup toolchain install {oldest} --profile minimal"
            )));
        };
        let mut cargo = Command::new("rustup");
        cargo.current_dir(places::root()).args(["run", toolchain, "cargo"]);
        // Two toolchains in one directory would build everything anew at each turn.
        cargo.env("CARGO_TARGET_DIR", places::target().join("msrv"));
        cargo
    };
    let ran = run("the agent with the oldest Rust", cargo.args(["check", "--package", "otelet", "--locked"]))?;
    Ok(if ran.ok() { Outcome::Passed(format!("builds with Rust {oldest}")) } else { Outcome::Failed(ran.output) })
}

/// The value of `rust-version = "1.95"`.
fn rust_version(manifest: &str) -> Option<&str> {
    let row = manifest.lines().find_map(|line| line.trim().strip_prefix("rust-version")?.trim().strip_prefix('='))?;
    row.trim().trim_matches('"').into()
}

/// Whether `1.95.1` is a release of `1.95`.
fn is_release(of: &str, version: &str) -> bool {
    version.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The toolchain of this Rust in what `rustup toolchain list` prints.
fn toolchain<'a>(oldest: &str, installed: &'a str) -> Option<&'a str> {
    installed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|name| name.split('-').next().is_some_and(|version| is_release(oldest, version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_rust_is_that_of_the_manifest() {
        assert_eq!(rust_version("[workspace.package]\nedition = \"2024\"\nrust-version = \"1.95\"\n"), Some("1.95"));
        assert_eq!(rust_version("rust-version.workspace = true\n"), None);
    }

    #[test]
    fn a_toolchain_of_that_rust_is_found_by_its_number() {
        let installed = "stable-x86_64-unknown-linux-gnu (active, default)\n1.9.0-x86_64-unknown-linux-gnu\n1.95.1-x86_64-unknown-linux-gnu\n";
        assert_eq!(toolchain("1.95", installed), Some("1.95.1-x86_64-unknown-linux-gnu"));
        assert_eq!(toolchain("1.9", installed), Some("1.9.0-x86_64-unknown-linux-gnu"));
        assert_eq!(toolchain("1.94", installed), None);
    }
}
