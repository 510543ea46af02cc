//! `shellcheck` over every shell script of the project: the installer, what packages run, the service of OpenRC, CI itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::Outcome;
use crate::command::run;
use crate::places;

/// A shell that a script is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// The dialect that its first line names.
    Said,
    /// An rpm keeps the interpreter beside the script: it is sh.
    Rpm,
    /// A service of OpenRC: sh, whose variables are read by who runs it.
    OpenRc,
}

impl Dialect {
    const ALL: [Dialect; 3] = [Dialect::Said, Dialect::Rpm, Dialect::OpenRc];

    fn of(path: &Path) -> Option<Dialect> {
        if path.parent().is_some_and(|folder| folder.ends_with("targets/linux/rpm")) {
            return Some(Dialect::Rpm);
        }
        let content = fs::read(path).ok()?;
        let first = content.split(|&byte| byte == b'\n').next()?;
        let interpreter = std::str::from_utf8(first).ok()?.strip_prefix("#!")?;
        match interpreter.rsplit(['/', ' ']).next()? {
            "sh" | "bash" | "dash" => Some(Dialect::Said),
            "openrc-run" => Some(Dialect::OpenRc),
            _ => None,
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Dialect::Said => &[],
            Dialect::Rpm => &["--shell=sh"],
            // An interpreter that it does not know; variables that nobody seems to use.
            Dialect::OpenRc => &["--shell=sh", "--exclude=SC1008,SC2034"],
        }
    }
}

/// Runs the step.
pub fn step() -> Outcome {
    if places::on_path("shellcheck").is_none() {
        return Outcome::Skipped(
            "shellcheck is missing; Debian, Fedora and Alpine have a package of this name".to_owned(),
        );
    }
    let mut scripts = Vec::new();
    collect(&places::root(), &mut scripts);
    // The ones that CI cannot do without: a walk that finds nothing must not pass.
    if Dialect::ALL.iter().any(|dialect| !scripts.iter().any(|script| script.1 == *dialect)) {
        return Outcome::Failed(format!("error: scripts of some kind were not found among {scripts:?}"));
    }
    let mut complaints = String::new();
    for dialect in Dialect::ALL {
        let paths = scripts.iter().filter(|script| script.1 == dialect).map(|script| &script.0);
        let mut command = Command::new("shellcheck");
        command.current_dir(places::root()).args(dialect.flags()).args(paths);
        match run("shellcheck", &mut command) {
            Ok(ran) if ran.ok() => {}
            Ok(ran) => complaints.push_str(&ran.output),
            Err(reason) => return Outcome::Failed(reason),
        }
    }
    if complaints.is_empty() {
        Outcome::Passed(format!("{} scripts", scripts.len()))
    } else {
        Outcome::Failed(complaints)
    }
}

/// Adds the scripts below a folder, apart from those that were built or belong to git.
fn collect(folder: &Path, scripts: &mut Vec<(PathBuf, Dialect)>) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        let is_built = path.join("CACHEDIR.TAG").exists() || path == places::target() || name == "target";
        if path.is_dir() && !path.is_symlink() {
            if !is_built && name != ".git" {
                collect(&path, scripts);
            }
        } else if let Some(dialect) = Dialect::of(&path) {
            scripts.push((path.strip_prefix(places::root()).unwrap_or(&path).to_path_buf(), dialect));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_known_by_what_runs_them() {
        let mut scripts = Vec::new();
        collect(&places::root(), &mut scripts);
        let dialect = |name: &str| scripts.iter().find(|script| script.0 == Path::new(name)).map(|script| script.1);
        assert_eq!(dialect(".ci/run"), Some(Dialect::Said));
        assert_eq!(dialect("targets/linux/install.sh"), Some(Dialect::Said));
        assert_eq!(dialect("targets/linux/deb/postinst"), Some(Dialect::Said));
        assert_eq!(dialect("targets/linux/rpm/post"), Some(Dialect::Rpm));
        assert_eq!(dialect("targets/linux/otelet.openrc"), Some(Dialect::OpenRc));
        assert_eq!(dialect("README.md"), None);
    }
}
