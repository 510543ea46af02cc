//! The syntax of every PowerShell script: by PowerShell itself where there is one, else by the grammar of tree-sitter. Neither
//! runs them.

use std::path::PathBuf;
use std::process::Command;

use crate::check::{Outcome, by_status};
use crate::places;

const SCRIPTS: [&str; 1] = ["targets/windows/install.ps1"];

/// Says what is wrong with the scripts that it is given, and ends with how much that is.
const PARSE: &str = "\
$wrong = 0
foreach ($path in $args) {
    $tokens = $errors = $null
    $null = [Management.Automation.Language.Parser]::ParseFile((Resolve-Path $path).Path, [ref] $tokens, [ref] $errors)
    foreach ($one in $errors) { Write-Output \"${path}:$($one.Extent.StartLineNumber): $($one.Message)\"; $wrong++ }
}
exit $wrong
";

/// Runs the step.
pub fn step() -> Outcome {
    if let Some(powershell) = ["pwsh", "powershell"].into_iter().find_map(places::on_path) {
        let script = format!("& {{ {PARSE} }} {}", SCRIPTS.map(|script| format!("'{script}'")).join(" "));
        let mut command = Command::new(powershell);
        command.current_dir(places::root()).args(["-NoProfile", "-NonInteractive", "-Command", &script]);
        return by_status("PowerShell", &mut command);
    }
    let Some(python) = python() else {
        return Outcome::Skipped(
            "no PowerShell here, and no grammar of it; have pwsh on PATH, or: python3 -m venv target/tools/powershell && \
             target/tools/powershell/bin/pip install tree-sitter tree-sitter-powershell"
                .to_owned(),
        );
    };
    let mut command = Command::new(python);
    command.current_dir(places::root()).arg("xtask/src/check/powershell.py").args(SCRIPTS);
    by_status("the grammar of PowerShell", &mut command)
}

fn python() -> Option<PathBuf> {
    let python = places::tools().join("powershell/bin").join(places::program("python"));
    python.is_file().then_some(python)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_script_is_looked_at() {
        let folder = fs::read_dir(places::root().join("targets/windows")).unwrap();
        let found: Vec<_> = folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".ps1"))
            .map(|name| format!("targets/windows/{name}"))
            .collect();
        assert_eq!(found, SCRIPTS);
    }
}
