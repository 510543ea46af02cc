//! Where settings are read from, besides the flags: the one way in for environment and disk.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The most bytes that a settings file, or a file named in `${file:}`, may have.
pub(crate) const MOST: usize = 1 << 20;

/// Gives an environment variable.
pub type Variables = dyn Fn(&str) -> Option<OsString>;
/// Gives the content of a file.
pub type Files = dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// What is read besides the flags.
pub struct World {
    pub var: Box<Variables>,
    /// The content of a file. One byte more than 1 MiB is enough of it.
    pub read: Box<Files>,
    /// The working directory, which relative paths start from.
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
                std::fs::File::open(path)?.take(MOST as u64 + 1).read_to_end(&mut bytes)?;
                Ok(bytes)
            }),
            here: std::env::current_dir().unwrap_or_default(),
        }
    }

    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.here.join(path).components().filter(|part| *part != Component::CurDir).collect()
    }
}
