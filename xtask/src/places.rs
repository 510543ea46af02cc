//! Where things are: the workspace, its target directory, and SHA-256 of what lies there.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace.
pub fn root() -> PathBuf {
    let xtask =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().expect("xtask is a folder of the workspace").to_path_buf()
}

/// The directory cargo builds into: `target/`, unless `CARGO_TARGET_DIR` names another.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir)),
        None => root().join("target"),
    }
}

/// The variable that names another place for tools than `target/tools`.
pub const TOOLS: &str = "OTELET_XTASK_TOOLS";

/// Where programs are put that the machine does not have.
pub fn tools() -> PathBuf {
    std::env::var_os(TOOLS).map_or_else(|| target().join("tools"), PathBuf::from)
}

/// Cargo, the one that runs us, in the workspace.
pub fn cargo() -> Command {
    cargo_as(Path::new(&std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())))
}

/// Another cargo, or what stands in for it, in the workspace.
pub fn cargo_as(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // The variables that `cargo run` set for us would look like a change to the build scripts that watch them, ring's among
    // them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The files of a tree in order, without those that are built or hidden.
///
/// # Errors
///
/// The folder that cannot be read.
pub fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |dir: &Path, cause| format!("{}: cannot read: {cause}", dir.display());
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|cause| cannot(&folder, cause))? {
            let entry = entry.map_err(|cause| cannot(&folder, cause))?;
            let kind = entry.file_type().map_err(|cause| cannot(&folder, cause))?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') || name == "target" || entry.path() == target() {
                continue;
            }
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The name of a program file on this machine.
pub fn program(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// The first program of this name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program(name))).find(|path| path.is_file())
}

/// The SHA-256 of several texts, each preceded by its length so that no two lists give the same input; in hex.
pub fn sha256_of(parts: &[&[u8]]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hex(context.finish().as_ref())
}

/// The SHA-256 of some bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// The SHA-256 of a file, in hex.
///
/// # Errors
///
/// The file's name and the cause if it cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String, String> {
    let cannot = |cause| format!("{}: cannot read: {cause}", path.display());
    let mut file = File::open(path).map_err(cannot)?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(cannot)? {
            0 => return Ok(hex(context.finish().as_ref())),
            n => context.update(&buffer[..n]),
        }
    }
}

/// Bytes in hex, as `sha256sum` and `otelet status` print them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_texts_and_their_concatenation_differ() {
        assert_ne!(sha256_of(&[b"ab", b"c"]), sha256_of(&[b"a", b"bc"]));
    }

    #[test]
    fn a_file_has_the_sum_that_sha256sum_prints() {
        let path = std::env::temp_dir().join(format!("otelet-xtask-{}", std::process::id()));
        std::fs::write(&path, b"abc").unwrap();
        // FIPS 180-4, appendix B.1.
        assert_eq!(sha256_of_file(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        std::fs::remove_file(&path).unwrap();
    }
}
