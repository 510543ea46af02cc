//! `otelet service configure`: settings written for an installer, and taken back.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::os;
use crate::settings::installer_args::InstallerArgs;
use crate::settings::{Flags, World, load};
use otelet_core::text::chain;

/// The comments of a settings file that nobody has written yet.
const COMMENTS: &str = include_str!("../../../targets/windows/otelet.yaml");

/// Where the settings are that were there before, for somebody who wants them back. Empty, if there were none.
fn before(settings: &Path) -> PathBuf {
    settings.with_extension("yaml.old")
}

/// Whether settings that are given can be put into the settings file that is there; as far as this user may read it.
/// `flags` are the ones that the service is registered with.
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

/// Writes the settings that are given.
pub fn configure(given: &InstallerArgs, path: &Path, flags: &str) -> Result<String, String> {
    // The settings from before an earlier change must not come back with this one.
    match fs::remove_file(before(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{}: cannot be removed: {error}", before(path).display()));
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

/// The text that is there, and the one that will be, which the service can use.
fn plan(given: &InstallerArgs, path: &Path, flags: &str) -> Result<(Option<String>, String), String> {
    // A flag of the service is stronger than its settings: what is given would be written, and not be.
    let stronger = |flag: &String| flags.contains(flag.as_str());
    if let Some(flag) = given.flags().chain([String::from("--settings")]).find(stronger)
        && !given.is_empty()
    {
        return Err(format!(
            "the service has flags of its own, of which {flag} is stronger than what is given:{flags}; \
             `otelet service install` registers it without them"
        ));
    }
    let there = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let text = given.put_into(there.as_deref().unwrap_or(COMMENTS))?;
    // The whole of it, as the service will read it.
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

/// Writes them whole or not at all, keeps what was before, and who may read them.
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
        os::private_file(&before(path))?;
        return os::rename_durably(&new, path);
    }
    os::replace_file(path, &new, &before(path))
}

/// Puts back what was there before the last change.
pub fn undo(path: &Path) -> Result<String, String> {
    let before = before(path);
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    match fs::metadata(&before) {
        Err(_) => return Ok(format!("{} was not changed", path.display())),
        Ok(is) if is.len() == 0 => {
            fs::remove_file(path).map_err(wrong)?;
            fs::remove_file(&before).map_err(wrong)?;
            // If there is nothing else in it, it was made for them.
            path.parent().map(fs::remove_dir);
        }
        Ok(_) => os::rename_durably(&before, path).map_err(wrong)?,
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
    fn settings_are_written_whole_and_the_last_time_can_be_taken_back() {
        let dir = std::env::temp_dir().join(format!("otelet setup ü {}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let path = dir.join("otelet.yaml");
        let read = || fs::read_to_string(&path).unwrap();

        // The first time makes the directory, and takes it along.
        configure(&given("--log-level=debug"), &path, "").unwrap();
        assert_eq!(read(), format!("{COMMENTS}log_level: \"debug\"\n"));
        undo(&path).unwrap();
        assert!(!dir.exists());

        configure(&given("--log-level=debug"), &path, "").unwrap();
        configure(&given("--identity=x"), &path, "").unwrap();
        assert!(read().ends_with("log_level: \"debug\"\nidentity: \"x\"\n"), "{}", read());
        undo(&path).unwrap();
        assert!(read().ends_with("log_level: \"debug\"\n"), "{}", read());

        // A refusal, or settings that are there already, change nothing: there is nothing to take back.
        // A user to run as means something on Unix.
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
