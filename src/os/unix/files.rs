//! Files and directories: where they are, for whom, and that what is written stays written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::os::{Environment, User};

/// Where the settings are looked for.
pub fn default_settings_path() -> PathBuf {
    "/etc/otelet/otelet.yaml".into()
}

/// Where this process runs, by what container engines and Kubernetes leave to be seen. In a pod nothing tells a
/// DaemonSet from a Deployment.
pub fn environment() -> Environment {
    let service_account = Path::new("/var/run/secrets/kubernetes.io");
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && service_account.exists() {
        return Environment::DaemonSet;
    }
    let marks = ["/.dockerenv", "/run/.containerenv"];
    if marks.iter().any(|mark| Path::new(mark).exists()) { Environment::Docker } else { Environment::Host }
}

/// Makes a directory for the collector alone, whoever it runs as.
///
/// # Errors
///
/// As the kernel says.
pub fn directory_for(path: &Path, user: Option<User>) -> io::Result<()> {
    private_dir(path)?;
    let_read(path, user)
}

/// Where the last good config is kept.
pub fn default_state_dir() -> PathBuf {
    "/var/lib/otelet".into()
}

/// Where the status is written.
pub fn default_runtime_dir() -> PathBuf {
    "/run/otelet".into()
}

/// Makes the directory and those above it, for nobody but the agent.
///
/// # Errors
///
/// As the kernel says.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Lets the collector, if it runs as somebody else, pass through the directory to the one file that it is given.
///
/// # Errors
///
/// As the kernel says.
pub fn let_read(path: &Path, user: Option<User>) -> io::Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(uid), Some(gid))
}

/// Lets others pass through the directory, though not list it.
///
/// # Errors
///
/// As the kernel says.
pub fn let_pass(directory: &Path, user: Option<User>) -> io::Result<()> {
    if user.is_none() {
        return Ok(());
    }
    let mode = fs::metadata(directory)?.permissions().mode();
    fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o011))
}

/// A file for nobody but the agent, new or emptied.
///
/// # Errors
///
/// As the kernel says.
pub fn private_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// A file for nobody but the agent, which must not be there yet.
///
/// # Errors
///
/// As the kernel says.
pub fn new_private_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Replaces a file by another one, with the mode of that one. The file is kept as `before`.
///
/// # Errors
///
/// As the kernel says.
pub fn replace_file(path: &Path, new: &Path, before: &Path) -> io::Result<()> {
    match fs::remove_file(before) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(path, before)?;
    fs::rename(new, path)
}

/// Renames a file, but not over another one.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if there is one, beside what the kernel says.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can; then there is a moment between the look and the renaming.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// Who may do what with a file, and whose it is: `0600 uid 0`.
pub fn describe_mode(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:04o} uid {}", metadata.mode() & 0o7777, metadata.uid())
}

/// Renames a file, over another one if there is one. It is durable when the directory was synced.
///
/// # Errors
///
/// As the kernel says.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Renames a file that need not be on disk, over another one if there is one.
///
/// # Errors
///
/// As the kernel says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Its mode keeps others off a directory that the agent has made; whoever made it himself knows why.
///
/// # Errors
///
/// None here.
pub fn keep_private(_: &Path) -> io::Result<Option<String>> {
    Ok(None)
}

/// Makes a rename in this directory durable.
///
/// # Errors
///
/// As the kernel says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Holds the file for this process alone, until it ends. The lock takes the place of stdin, which the agent never reads:
/// that keeps the number of descriptors down.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if another process holds it.
pub fn lock(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    rustix::stdio::dup2_stdin(&file)?;
    Ok(())
}

/// Opens a regular file for reading, or the one that a link leads to. It never waits, not even for the writer of a FIFO
/// that takes the file's place between the look and the opening.
///
/// # Errors
///
/// [`io::ErrorKind::Other`] for anything but a regular file, beside what the kernel says.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let regular = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    };
    // The look before spares devices, some of which do something when they are merely opened.
    regular(fs::metadata(path)?)?;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_that_takes_the_place_of_a_file_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let dir = std::env::temp_dir().join(format!("otelet-open-{}", std::process::id()));
        private_dir(&dir).unwrap();
        let [path, file, fifo] = ["path", "file", "fifo"].map(|name| dir.join(name));
        fs::write(&path, "a").unwrap();
        let said: Vec<String> = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                for _ in 0..2_000 {
                    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
                    fs::rename(&fifo, &path).unwrap();
                    fs::write(&file, "a").unwrap();
                    fs::rename(&file, &path).unwrap();
                }
            });
            let opened = std::iter::from_fn(|| (!swapping.is_finished()).then(|| open_regular(&path)));
            opened.filter_map(|file| Some(file.err()?.to_string())).collect()
        });
        assert!(!said.is_empty() && said.iter().all(|error| error == "not a regular file"), "{said:?}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
