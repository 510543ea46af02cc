//! The only access of the settings to the environment and the disk.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The largest settings file, or file named in `${file:}`, in bytes.
pub(crate) const LARGEST_FILE: usize = 1 << 20;

/// Returns the value of an environment variable.
pub type Variables = dyn Fn(&str) -> Option<OsString>;
/// Returns the content of a file.
pub type Files = dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The sources of settings besides the flags.
pub struct World {
    pub var: Box<Variables>,
    /// The content of a file. It may stop one byte after 1 MiB, the limit.
    pub read: Box<Files>,
    /// The working directory. Relative paths start there.
    pub here: PathBuf,
}

impl World {
    /// The environment of this process and the files of this host.
    pub fn real() -> World {
        World {
            var: Box::new(|name| std::env::var_os(name)),
            read: Box::new(|path| {
                use io::Read;
                let mut bytes = Vec::new();
                std::fs::File::open(path)?.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes)?;
                Ok(bytes)
            }),
            here: std::env::current_dir().unwrap_or_default(),
        }
    }

    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.here.join(path).components().filter(|part| *part != Component::CurDir).collect()
    }
}
