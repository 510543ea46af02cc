//! Finds the collector's program.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::os;
use crate::settings::DEFAULT_COLLECTOR;

/// The names that are looked for on PATH when `collector.path` is not set, in this order.
const NAMES: [&str; 2] = [DEFAULT_COLLECTOR, "otelcol"];

/// The program, by `collector.path` or found on PATH.
///
/// # Errors
///
/// In words, if there is none.
pub(super) fn program(path: &Path) -> Result<PathBuf, String> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let places = places();
    let places = || places.iter().map(PathBuf::as_path);
    if path.as_os_str() != DEFAULT_COLLECTOR {
        let wanted = os::program_name(path.as_os_str());
        let missing = || format!("collector.path: there is no {} {}", path.display(), os::COLLECTOR_PLACES);
        return program_in(places(), |name| name == wanted).ok_or_else(missing);
    }
    NAMES
        .iter()
        .find_map(|wanted| program_in(places(), |name| name == *wanted))
        .or_else(|| program_in(places(), |name| name.to_str().is_some_and(|name| name.starts_with("otelcol-"))))
        .ok_or_else(|| {
            format!(
                "there is no otelcol-contrib, otelcol or otelcol-* {}; install a collector or set collector.path",
                os::COLLECTOR_PLACES
            )
        })
}

/// The directories in which a program is looked for, those on PATH first.
fn places() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(os::collector_directories()).collect()
}

/// The first program in these directories whose name is wanted.
fn program_in<'a>(mut directories: impl Iterator<Item = &'a Path>, wanted: impl Fn(&OsStr) -> bool) -> Option<PathBuf> {
    directories.find_map(|directory| {
        let mut found: Vec<PathBuf> = fs::read_dir(directory)
            .ok()?
            .flatten()
            .filter(|entry| wanted(&os::program_name(&entry.file_name())))
            .map(|entry| entry.path())
            .filter(|path| os::is_program(path))
            .collect();
        found.sort();
        found.into_iter().next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_of_a_name_is_found_and_a_config_beside_it_is_not() {
        let top = std::env::temp_dir().join(format!("otelet-programs-{}", std::process::id()));
        let directories = ["absent", "one", "with space and \u{fc}"].map(|name| top.join(name));
        let file = |directory: &Path, name: &str| {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(name), "").unwrap();
            directory.join(name)
        };
        let suffix = std::env::consts::EXE_SUFFIX;
        let first = file(&directories[1], &format!("otelcol-b{suffix}"));
        let plain = file(&directories[2], &format!("otelcol{suffix}"));
        file(&directories[2], &format!("otelcol-a{suffix}"));
        let find = |wanted: &dyn Fn(&str) -> bool| {
            program_in(directories.iter().map(PathBuf::as_path), |name| wanted(name.to_str().unwrap()))
        };

        assert_eq!(find(&|name| name == "otelcol"), Some(plain));
        assert_eq!(find(&|name| name.starts_with("otelcol-")), Some(first));
        assert_eq!(find(&|name| name == "otelcol-contrib"), None);
        fs::remove_dir_all(&top).unwrap();
    }
}
