//! Watches files for changes. Windows tells of changes in a directory; which file it was is seen by looking.

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

/// A watch on all directories in which a change can mean another content of the files.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    seen: Vec<Look>,
    places: Vec<Place>,
}

/// What a look at a file shows: time of change and size; nothing if it is not there.
type Look = Option<(SystemTime, u64)>;

impl Watch {
    /// Begins to watch some files. One that does not exist yet is watched for by its nearest existing directory.
    ///
    /// # Errors
    ///
    /// If Windows watches none of the directories.
    pub fn new(paths: Vec<PathBuf>) -> io::Result<Self> {
        let mut watch = Self { seen: Vec::new(), paths, places: Vec::new() };
        watch.arm()?;
        watch.seen = watch.look();
        Ok(watch)
    }

    /// Completes when a file may have changed.
    ///
    /// # Errors
    ///
    /// As Windows says.
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
            // SAFETY: the handle is open and was signalled. A directory that is gone is found to be so when armed anew.
            let _ = done(unsafe { FindNextChangeNotification(self.places[index].handle) });
            let seen = self.look();
            if seen != self.seen {
                self.seen = seen;
                self.arm()?;
                return Ok(());
            }
            // A directory on the way may have come or gone.
            if self.places.iter().map(|place| &place.directory).ne(self.directories().iter()) {
                self.arm()?;
            }
        }
    }

    fn look(&self) -> Vec<Look> {
        let look = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.paths.iter().map(look).collect()
    }

    /// The directories to watch, each once: where a file is, where the file is that a link leads to, or where it would be.
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

/// A directory of which Windows says that something in it has changed.
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
        // SAFETY: it is open for as long as this lives.
        unsafe { BorrowedHandle::borrow_raw(self.handle) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this.
        unsafe { FindCloseChangeNotification(self.handle) };
    }
}
