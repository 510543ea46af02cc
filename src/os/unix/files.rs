//! Files and directories: default paths, permissions, and durable writes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::os::{Environment, User};

/// The default path of the settings file.
pub fn default_settings_path() -> PathBuf {
    "/etc/otelet/otelet.yaml".into()
}

/// The environment of this process, by the marks of container engines and Kubernetes. In a pod, a DaemonSet cannot be
/// told from a Deployment.
pub fn environment() -> Environment {
    let service_account = Path::new("/var/run/secrets/kubernetes.io");
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && service_account.exists() {
        return Environment::DaemonSet;
    }
    let marks = ["/.dockerenv", "/run/.containerenv"];
    if marks.iter().any(|mark| Path::new(mark).exists()) { Environment::Docker } else { Environment::Host }
}

/// Makes a directory that only the collector's user can use.
///
/// # Errors
///
/// The error of the kernel.
pub fn directory_for(path: &Path, user: Option<User>) -> io::Result<()> {
    private_dir(path)?;
    let_read(path, user)
}

/// The default directory for the last good config.
pub fn default_state_dir() -> PathBuf {
    "/var/lib/otelet".into()
}

/// The default directory for the status.
pub fn default_runtime_dir() -> PathBuf {
    "/run/otelet".into()
}

/// Makes the directory and its parents, for the agent only.
///
/// # Errors
///
/// The error of the kernel.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Gives a file or directory to the collector's user, if it is another than the agent's.
///
/// # Errors
///
/// The error of the kernel.
pub fn let_read(path: &Path, user: Option<User>) -> io::Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(uid), Some(gid))
}

/// Lets other users pass through the directory without listing it.
///
/// # Errors
///
/// The error of the kernel.
pub fn let_pass(directory: &Path, user: Option<User>) -> io::Result<()> {
    if user.is_none() {
        return Ok(());
    }
    let mode = fs::metadata(directory)?.permissions().mode();
    fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o011))
}

/// A file for the agent only, new or emptied.
///
/// # Errors
///
/// The error of the kernel.
pub fn private_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// A new file for the agent only; it must not exist yet.
///
/// # Errors
///
/// The error of the kernel.
pub fn new_private_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Replaces a file by `new`, with the mode of `new`. The old file is kept as `before`.
///
/// # Errors
///
/// The error of the kernel.
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
/// [`io::ErrorKind::AlreadyExists`] if `to` exists, or the error of the kernel.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot do this. Then another file may appear between the check and the rename.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// The mode and the owner of a file: `0600 uid 0`.
pub fn describe_mode(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:04o} uid {}", metadata.mode() & 0o7777, metadata.uid())
}

/// Whose a path is that this process may not write, and the way out, if it is another user's. `dir` is the directory of
/// the settings that the path is in.
pub fn another_owner(path: &Path, dir: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let (there, owner) = path.ancestors().find_map(|there| Some((there, fs::metadata(there).ok()?.uid())))?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if owner == uid {
        return None;
    }
    // Others use a directory above as well.
    let deed = if there.starts_with(dir) { "chown -R" } else { "make it, then chown" };
    Some(format!(
        "{} belongs to uid {owner} and the agent is uid {uid}; {deed} {uid}:{gid} {}, or run it as uid {owner}",
        there.display(),
        dir.display()
    ))
}

/// Renames a file, over an existing one too. It is durable once the directory is synced.
///
/// # Errors
///
/// The error of the kernel.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Renames a file that need not be durable, over an existing one too.
///
/// # Errors
///
/// The error of the kernel.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Does nothing here: the agent makes its directories with a private mode, and a person's own mode is respected.
///
/// # Errors
///
/// Never on Unix.
pub fn keep_private(_: &Path) -> io::Result<Option<String>> {
    Ok(None)
}

/// Makes a rename in this directory durable.
///
/// # Errors
///
/// The error of the kernel.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Locks the file for this process until it ends. The lock takes the descriptor of stdin, which the agent never reads,
/// to save one descriptor.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if another process holds it.
pub fn lock(path: &Path) -> io::Result<()> {
    rustix::stdio::dup2_stdin(try_lock(path)?)?;
    Ok(())
}

/// Locks the file until what is returned is dropped.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if another process holds it.
pub fn try_lock(path: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Keeps a locked file locked until this process ends, without a descriptor: the lock is that of the open file, which
/// a mapping keeps open (flock(2), mmap(2)). Nothing can be read or written through this one.
pub fn keep_locked(file: File) {
    use std::os::fd::AsRawFd;
    // SAFETY: a new mapping, of no memory that anything else uses, and without any access.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 1, libc::PROT_NONE, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if mapped == libc::MAP_FAILED {
        // Some file systems map nothing.
        std::mem::forget(file);
    }
}

/// Opens a regular file for reading, also through a link. It never waits, not even if a FIFO replaces the file between
/// the check and the opening.
///
/// # Errors
///
/// [`io::ErrorKind::Other`] for anything but a regular file, or the error of the kernel.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let regular = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    };
    // The check before spares devices: some of them act when they are opened.
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
    fn a_fifo_that_replaces_a_file_does_not_block() {
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
