//! Watches a file for changes, with every symbolic link on its path: Kubernetes replaces only the link `..data`, two
//! links away from the file.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// The longest chain of links that is followed, as in the kernel.
const LINKS: usize = 40;

/// An inotify instance on all directories in which a change can mean another content of a file.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    paths: Vec<PathBuf>,
    places: Vec<(i32, PathBuf, Vec<u8>)>,
}

impl Watch {
    /// Begins to watch files. For a file that does not exist yet, its nearest existing directory is watched.
    ///
    /// # Errors
    ///
    /// If the kernel cannot make an inotify instance or watch (`fs.inotify.max_user_instances`, `max_user_watches`).
    pub fn new(paths: Vec<PathBuf>) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = Self { fd, paths, places: Vec::new() };
        watch.arm()?;
        Ok(watch)
    }

    /// Completes when a file may have changed.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            super::readable(&self.fd).await;
            if self.drain()? {
                self.arm()?;
                return Ok(());
            }
        }
    }

    /// Watches each directory on the paths again: a replaced link leads to other ones.
    fn arm(&mut self) -> io::Result<()> {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        let mut places = Vec::new();
        for (directory, name) in self.paths.iter().flat_map(|path| steps(path)) {
            match inotify::add_watch(&self.fd, &directory, flags) {
                Ok(id) => places.push((id, directory, name.as_bytes().to_vec())),
                // It has just gone, or the agent may not read it: the directories before it are watched.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (id, _, _) in &self.places {
            if !places.iter().any(|(kept, _, _)| kept == id) {
                // The watch may be gone with its directory.
                let _ = inotify::remove_watch(&self.fd, *id);
            }
        }
        self.places = places;
        Ok(())
    }

    /// Reads all events. Returns whether one of them is about a name on the path to a file.
    fn drain(&mut self) -> io::Result<bool> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 2048];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        let mut concerned = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    concerned |= match name {
                        // A new regular file is not complete yet: its CLOSE_WRITE follows. A link is complete at once.
                        // Only a look at the entry tells the two apart.
                        Some(name) => self.places.iter().any(|(id, directory, step)| {
                            *id == event.wd() && *step == name && !is_fresh_file(event.events(), directory, &name)
                        }),
                        // The directory itself, or an overflow of the queue: anything may have changed.
                        None => true,
                    };
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(concerned),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether this is the creation of a regular file, which is still being written.
fn is_fresh_file(events: inotify::ReadFlags, directory: &Path, name: &[u8]) -> bool {
    events.contains(inotify::ReadFlags::CREATE)
        && fs::symlink_metadata(directory.join(OsStr::from_bytes(name))).is_ok_and(|it| it.is_file())
}

/// The directories on the path to the file, each with the name that is looked up there. Links are followed as in the
/// kernel. Only directories that contain a link or the file itself are listed, and the one in which the first missing
/// part would appear.
fn steps(path: &Path) -> Vec<(PathBuf, std::ffi::OsString)> {
    let mut steps = Vec::new();
    let mut ahead: Vec<std::ffi::OsString> = Vec::new();
    push_components(&mut ahead, path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let here = at.join(&name);
        match fs::symlink_metadata(&here) {
            Ok(metadata) if metadata.is_symlink() && links < LINKS => {
                links += 1;
                steps.push((at.clone(), name));
                if let Ok(target) = fs::read_link(&here) {
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    push_components(&mut ahead, &target);
                }
            }
            Ok(_) => {
                if ahead.is_empty() {
                    steps.push((at.clone(), name));
                }
                at = here;
            }
            Err(_) => {
                steps.push((at, name));
                break;
            }
        }
    }
    steps
}

/// Puts the parts of a path on the stack, so that the first is on top.
fn push_components(ahead: &mut Vec<std::ffi::OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => ahead.push(name.to_owned()),
            Component::ParentDir => ahead.push("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(path: &Path, root: &Path) -> Vec<String> {
        let steps = steps(path);
        let below = steps.iter().filter_map(|(directory, name)| {
            directory.join(name).strip_prefix(root).ok().map(|step| step.display().to_string())
        });
        below.collect()
    }

    #[test]
    fn each_link_on_the_path_is_watched() {
        let root = std::env::temp_dir().join(format!("otelet-watch-{}", std::process::id()));
        let root = root.as_path();
        fs::create_dir_all(root.join("..2026_01")).expect("a temporary directory");
        let root = &root.canonicalize().expect("it exists");
        fs::write(root.join("..2026_01/config.yaml"), "a: b").expect("writable");
        let _ = symlink("..2026_01", root.join("..data"));
        let _ = symlink("..data/config.yaml", root.join("config.yaml"));

        assert_eq!(names(&root.join("config.yaml"), root), ["config.yaml", "..data", "..2026_01/config.yaml"]);
        assert_eq!(names(&root.join("missing/config.yaml"), root), ["missing"]);
        fs::remove_dir_all(root).expect("ours");
    }
}
