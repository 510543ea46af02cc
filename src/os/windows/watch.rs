//! Watches files for changes. Windows reports a change in a directory; a check of the files shows which one it was.

use std::io;
use std::os::windows::io::BorrowedHandle;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use smol::future::FutureExt as _;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_NOTIFY_CHANGE_DIR_NAME, FILE_NOTIFY_CHANGE_FILE_NAME, FILE_NOTIFY_CHANGE_LAST_WRITE, FILE_NOTIFY_CHANGE_SIZE,
    FindCloseChangeNotification, FindFirstChangeNotificationW, FindNextChangeNotification,
};

use super::handles::{done, wide_path};
use super::wait::ready;

/// A watch on all directories in which a change can mean another content of a file.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    last: Vec<FileState>,
    places: Vec<Place>,
}

/// The time of change and the size of a file; none if there is no file.
type FileState = Option<(SystemTime, u64)>;

impl Watch {
    /// Begins to watch files. For a file that does not exist yet, its nearest existing directory is watched.
    ///
    /// # Errors
    ///
    /// If none of the directories can be watched.
    pub fn new(paths: Vec<PathBuf>) -> io::Result<Self> {
        let mut watch = Self { last: Vec::new(), paths, places: Vec::new() };
        watch.arm()?;
        watch.last = watch.look();
        Ok(watch)
    }

    /// Completes when a file may have changed.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut any: std::pin::Pin<Box<dyn Future<Output = usize>>> = Box::pin(std::future::pending());
            for (index, place) in self.places.iter().enumerate() {
                any = Box::pin(any.or(async move {
                    ready(&place.handle()).await;
                    index
                }));
            }
            let index = any.await;
            // SAFETY: the handle is open and was signalled.
            // An error means that the directory is gone, which `arm` handles.
            let _ = done(unsafe { FindNextChangeNotification(self.places[index].handle) });
            let seen = self.look();
            if seen != self.last {
                self.last = seen;
                self.arm()?;
                return Ok(());
            }
            // A directory on a path may have come or gone.
            if self.places.iter().map(|place| &place.directory).ne(self.directories().iter()) {
                self.arm()?;
            }
        }
    }

    fn look(&self) -> Vec<FileState> {
        let look = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.paths.iter().map(look).collect()
    }

    /// The directories to watch, each once: the directory of a file, of the target of a link, or of a file that is
    /// missing.
    fn directories(&self) -> Vec<PathBuf> {
        let mut directories = Vec::new();
        for path in &self.paths {
            let real = std::fs::canonicalize(path).ok();
            for path in [Some(path.clone()), real].into_iter().flatten() {
                let there = path.ancestors().skip(1).find(|directory| directory.is_dir()).map(Path::to_path_buf);
                directories.extend(there);
            }
        }
        directories.sort();
        directories.dedup();
        directories
    }

    fn arm(&mut self) -> io::Result<()> {
        let mut places = Vec::new();
        let mut trouble = None;
        for directory in self.directories() {
            match Place::new(directory) {
                Ok(place) => places.push(place),
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            Some(error) if places.is_empty() => Err(error),
            _ => {
                self.places = places;
                Ok(())
            }
        }
    }
}

/// A watched directory.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    handle: HANDLE,
}

impl Place {
    fn new(directory: PathBuf) -> io::Result<Self> {
        let path = wide_path(&directory)?;
        let what = FILE_NOTIFY_CHANGE_FILE_NAME
            | FILE_NOTIFY_CHANGE_DIR_NAME
            | FILE_NOTIFY_CHANGE_LAST_WRITE
            | FILE_NOTIFY_CHANGE_SIZE;
        // SAFETY: the path ends with NUL.
        let handle = unsafe { FindFirstChangeNotificationW(path.as_ptr(), 0, what) };
        if handle == INVALID_HANDLE_VALUE { Err(io::Error::last_os_error()) } else { Ok(Self { directory, handle }) }
    }

    fn handle(&self) -> BorrowedHandle<'_> {
        // SAFETY: the handle is open for as long as this value exists.
        unsafe { BorrowedHandle::borrow_raw(self.handle) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing uses it after this.
        unsafe { FindCloseChangeNotification(self.handle) };
    }
}
