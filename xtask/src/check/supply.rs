//! Licences, bans and known vulnerabilities of dependencies. By cargo-deny, after `deny.toml`; where it is not
//! installed it is put into `target/tools`, which takes a minute or two once.

use std::path::PathBuf;
use std::process::Command;

use crate::check::Outcome;
use crate::command::run;
use crate::places;

/// The version installed where there is none; rules of `deny.toml` change between versions.
const VERSION: &str = "0.20.2";

/// Licences, bans, sources; two versions of one crate are said and pass.
pub fn licences() -> Outcome {
    let deny = match deny() {
        Ok(deny) => deny,
        Err(reason) => return Outcome::Failed(reason),
    };
    let checked =
        run("licences", cargo_deny(&deny).args(["--log-level", "warn", "check"]).args(["licenses", "bans", "sources"]));
    match checked {
        Ok(ran) if ran.ok() => {
            let twice: Vec<&str> = ran.output.lines().filter_map(twice).collect();
            Outcome::Passed(if twice.is_empty() {
                String::new()
            } else {
                format!("in two versions: {}", twice.join(", "))
            })
        }
        Ok(ran) => Outcome::Failed(ran.output),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Advisories; where their database cannot be had, that is the result, and says so.
pub fn advisories() -> Outcome {
    let deny = match deny() {
        Ok(deny) => deny,
        Err(reason) => return Outcome::Failed(reason),
    };
    match run("advisory database", cargo_deny(&deny).args(["fetch", "db"])) {
        Ok(ran) if ran.ok() => {}
        Ok(ran) => {
            return Outcome::Skipped(format!(
                "advisories: not checked: database cannot be reached: {}",
                ran.last_words()
            ));
        }
        Err(reason) => return Outcome::Failed(reason),
    }
    match run("advisories", cargo_deny(&deny).args(["check", "--disable-fetch", "advisories"])) {
        Ok(ran) if ran.ok() => Outcome::Passed(String::new()),
        Ok(ran) => Outcome::Failed(ran.output),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// The crate's name in `warning[duplicate]: found 2 duplicate entries for crate 'syn'`.
fn twice(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix("warning[duplicate]")?.split_once("crate '")?;
    rest.strip_suffix('\'')
}

fn cargo_deny(deny: &PathBuf) -> Command {
    let mut command = Command::new(deny);
    command.current_dir(places::root());
    command
}

/// cargo-deny from PATH, from `target/tools`, or installed there now.
fn deny() -> Result<PathBuf, String> {
    let name = places::program("cargo-deny");
    let tools = places::tools();
    let own = tools.join("bin").join(&name);
    if own.is_file() {
        return Ok(own);
    }
    if let Some(found) = places::on_path("cargo-deny") {
        return Ok(found);
    }
    let build = tools.join("build");
    let installed = run(
        &format!("installing cargo-deny {VERSION}, some two minutes"),
        places::cargo()
            .args(["install", "cargo-deny", "--locked", "--version", VERSION])
            .arg("--root")
            .arg(&tools)
            .env("CARGO_TARGET_DIR", &build)
            // It runs for seconds, so the optimisations of its release would cost more than they save.
            .env("CARGO_PROFILE_RELEASE_LTO", "false")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    )?;
    if !installed.ok() {
        return Err(format!(
            "cargo-deny {VERSION}: cannot be installed; install it by hand or pass --skip=licences,advisories\n{}",
            installed.output
        ));
    }
    // 700 MB of intermediate files for a program of 9 MB.
    std::fs::remove_dir_all(&build).ok();
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_in_two_versions_is_named() {
        let line = "warning[duplicate]: found 2 duplicate entries for crate 'syn'";
        assert_eq!(twice(line), Some("syn"));
        assert_eq!(twice("warning[unmaintained]: crate 'syn'"), None);
    }
}
