//! `otelet service configure`: writes settings for an installer, and reverts the last change.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::os;
use crate::settings::installer_args::InstallerArgs;
use crate::settings::{Flags, World, load};
use otelet_core::text::{chain, decode};

/// The comments at the beginning of a new settings file.
const COMMENTS: &str = include_str!("../../../targets/windows/otelet.yaml");

/// The path of the settings before the last change, for `--undo`. The file is empty if there were none.
fn backup(settings: &Path) -> PathBuf {
    settings.with_extension("yaml.old")
}

/// Checks whether the given settings can be written into the settings file, as far as this user may read it. `flags`
/// are the flags of the registered service.
///
/// # Errors
///
/// Why the agent would refuse them.
pub fn judge(given: &InstallerArgs, path: &Path, flags: &str) -> Result<(), String> {
    given.judge()?;
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        _ => plan(given, path, flags).map(drop),
    }
}

/// Writes the given settings.
pub fn configure(given: &InstallerArgs, path: &Path, flags: &str) -> Result<String, String> {
    // `--undo` reverts the last change only, so an older backup goes.
    match fs::remove_file(backup(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{}: cannot be removed: {error}", backup(path).display()));
        }
        _ => {}
    }
    given.judge()?;
    let (there, text) = plan(given, path, flags)?;
    if there.as_ref() == Some(&text) {
        return Ok(format!("{} stays as it is", path.display()));
    }
    write(path, &text, there.is_some()).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("settings are in {}", path.display()))
}

/// The current text of the file, and the new one, which the service can use.
fn plan(given: &InstallerArgs, path: &Path, flags: &str) -> Result<(Option<String>, String), String> {
    // A flag of the service overrides its settings: the given settings would be written but have no effect.
    let stronger = |flag: &String| flags.contains(flag.as_str());
    if let Some(flag) = given.flags().chain([String::from("--settings")]).find(stronger)
        && !given.is_empty()
    {
        return Err(format!(
            "the service has flags of its own, and {flag} overrides the given settings:{flags}; \
             `otelet service install` registers it without them"
        ));
    }
    let there = match fs::read(path) {
        Ok(bytes) => Some(decode(bytes).map_err(|why| format!("{}: {why}", path.display()))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let text = given.put_into(there.as_deref().unwrap_or(COMMENTS))?;
    // Check the whole file, as the service will read it.
    let written = text.clone().into_bytes();
    let settings = path.to_owned();
    let mut world = World::real();
    let disk = std::mem::replace(&mut world.read, Box::new(|_| Err(io::ErrorKind::NotFound.into())));
    world.read = Box::new(move |path| if path == settings { Ok(written.clone()) } else { disk(path) });
    let mut flags = Flags::default();
    flags.file = Some(path.to_owned());
    load(&flags, &world).map_err(|error| chain(&error))?;
    Ok((there, text))
}

/// Writes the file whole or not at all. The old file is kept as a backup, and its permissions stay.
fn write(path: &Path, text: &str, there: bool) -> io::Result<()> {
    let data = path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
    os::private_dir(data)?;
    if let Some(said) = os::keep_private(data)? {
        println!("{said}");
    }
    let new = path.with_extension("yaml.new");
    let mut file = os::private_file(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    drop(file);
    if !there {
        os::private_file(&backup(path))?;
        return os::rename_durably(&new, path);
    }
    os::replace_file(path, &new, &backup(path))
}

/// Restores the file from before the last change.
pub fn undo(path: &Path) -> Result<String, String> {
    let backup = backup(path);
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    match fs::metadata(&backup) {
        Err(_) => return Ok(format!("{} was not changed", path.display())),
        Ok(is) if is.len() == 0 => {
            fs::remove_file(path).map_err(wrong)?;
            fs::remove_file(&backup).map_err(wrong)?;
            // If the directory is empty, it was made for the settings.
            path.parent().map(fs::remove_dir);
        }
        Ok(_) => os::rename_durably(&backup, path).map_err(wrong)?,
    }
    Ok(format!("{} is as it was before", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::installer_args;

    fn given(flag: &str) -> InstallerArgs {
        installer_args([flag.into()]).unwrap()
    }

    #[test]
    fn settings_are_written_whole_and_the_last_change_can_be_reverted() {
        let dir = std::env::temp_dir().join(format!("otelet setup ü {}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let path = dir.join("otelet.yaml");
        let read = || fs::read_to_string(&path).unwrap();

        // The first change makes the directory, and its undo removes it.
        configure(&given("--log-level=debug"), &path, "").unwrap();
        assert_eq!(read(), format!("{COMMENTS}log_level: \"debug\"\n"));
        undo(&path).unwrap();
        assert!(!dir.exists());

        configure(&given("--log-level=debug"), &path, "").unwrap();
        configure(&given("--identity=x"), &path, "").unwrap();
        assert!(read().ends_with("log_level: \"debug\"\nidentity: \"x\"\n"), "{}", read());
        undo(&path).unwrap();
        assert!(read().ends_with("log_level: \"debug\"\n"), "{}", read());

        // Refused settings, and settings that are there already, change nothing: there is nothing to revert.
        // `collector.run_as` is refused on Windows only.
        let refused = os::SENSELESS.iter().any(|(key, _)| *key == "collector.run_as");
        let run_as = refused.then_some("--collector-run-as=me");
        for flag in ["--log-level=loud"].into_iter().chain(run_as).chain(["--log-level=debug"]) {
            let done = configure(&given(flag), &path, "");
            assert_eq!(done.is_ok(), flag == "--log-level=debug", "{done:?}");
            assert!(undo(&path).unwrap().ends_with("was not changed"));
            assert!(read().ends_with("log_level: \"debug\"\n"), "{}", read());
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
