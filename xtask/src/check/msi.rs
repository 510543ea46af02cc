//! The MSI for Windows: `cargo xtask dist` makes it, and installs, upgrades and removes it under wine.

use crate::Failure;
use crate::build::{self, platforms::Platform};
use crate::check::Outcome;
use crate::dist::{self, msi};
use crate::wine::Wine;

const TARGET: &str = "x86_64-pc-windows-gnu";

/// Runs the step; it takes some five minutes of processor time with an empty target directory, half a minute otherwise.
pub fn step() -> Outcome {
    let platform = match Platform::named(TARGET) {
        Ok(platform) => platform,
        Err(reason) => return Outcome::Failed(reason),
    };
    // Without one of these, dist skips the MSI or its trial.
    if let Err(reason) = msi::possible(&platform).and_then(|()| build::possible(&platform)) {
        return Outcome::Skipped(format!("msi: not made: {reason}"));
    }
    match Wine::find(&platform) {
        Ok(Some(_)) => {}
        Ok(None) => return Outcome::Skipped("msi: not tried: no wine here".to_owned()),
        Err(reason) => return Outcome::Failed(reason),
    }
    match dist::verb(&[format!("--target={TARGET}")]) {
        Ok(()) => Outcome::Passed("installed, upgraded and removed under wine".to_owned()),
        Err(Failure::Usage(reason) | Failure::Failed(reason)) => Outcome::Failed(reason),
    }
}
