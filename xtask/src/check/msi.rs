//! What Windows is installed from, made and tried: `cargo xtask dist` for it, which installs, upgrades and removes the MSI under
//! wine.

use crate::build::{self, platforms::Platform};
use crate::check::Outcome;
use crate::dist::{self, msi};
use crate::{Failure, places};

const TARGET: &str = "x86_64-pc-windows-gnu";

/// Runs the step; some five minutes of processor time with nothing built, half a minute otherwise.
pub fn step() -> Outcome {
    let platform = match Platform::named(TARGET) {
        Ok(platform) => platform,
        Err(reason) => return Outcome::Failed(reason),
    };
    // Without one of these, dist leaves the MSI or its trial out.
    if let Err(reason) = msi::possible().and_then(|()| build::possible(&platform)) {
        return Outcome::Skipped(format!("msi: not made: {reason}"));
    }
    let wine = &platform.needs.emulators;
    if !wine.iter().any(|name| places::on_path(name).is_some()) {
        return Outcome::Skipped(format!("msi: not tried: no {} here", wine.join(" or ")));
    }
    match dist::verb(&[format!("--target={TARGET}")]) {
        Ok(()) => Outcome::Passed("installed, upgraded and removed under wine".to_owned()),
        Err(Failure::Usage(reason) | Failure::Failed(reason)) => Outcome::Failed(reason),
    }
}
