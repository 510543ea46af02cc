//! The promises' tools for Unix: signals, `/proc`, modes. `windows.rs` has the same names.
#![allow(dead_code, reason = "each promise uses the part that it needs")]

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;
pub use std::os::unix::fs::symlink;

use super::host::{Entry, alive};

/// Sends a signal; the process may have ended already.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).filter(|pid| pid.as_raw_nonzero().get() > 1).expect("one process");
    let _ = kill_process(pid, signal);
}

pub fn signal_agent(pid: u32, number: Signal) {
    signal(pid, number);
}

/// Processes with this in their environment.
pub fn marked(marker: &str, _: &[Entry]) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| environment(*pid).iter().any(|entry| entry == marker) && alive(*pid)).collect()
}

/// The state of a process in a letter, as in proc(5).
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The environment of a process, `NAME=VALUE` each.
pub fn environment(pid: u32) -> Vec<String> {
    words_of(pid, "environ")
}

pub fn command_line(pid: u32) -> Vec<String> {
    words_of(pid, "cmdline")
}

fn words_of(pid: u32, file: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Sets the permissions of a file.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The permissions of a file or directory.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The beginning of the list of logs in a host's built-in config, if it reads any.
pub const LOG_OF_BUILT_IN: Option<&str> = Some("include: [");

/// Further changes of the built-in config for a test.
pub const CHANGES_OF_BUILT_IN: &[(&str, &str)] = &[];

/// Some of its metrics, at least one of each scraper that a test waits for.
pub const METRICS_OF_BUILT_IN: &[&str] =
    &["system.cpu.utilization", "system.memory.usage", "system.filesystem.utilization", "system.network.io"];

/// The words of the agent for the end of a collector that was killed.
pub const KILLED: &str = "signal 9 (SIGKILL)";

/// The most memory that the process ever had, in KiB. Source: `VmHWM` in proc(5).
pub fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The address of local connections for this path.
pub fn local(path: &Path) -> PathBuf {
    path.to_owned()
}

pub type LocalStream = UnixStream;

/// A listener for connections on this machine.
pub struct LocalListener(UnixListener);

impl LocalListener {
    pub fn bind(path: &Path) -> io::Result<Self> {
        UnixListener::bind(path).map(Self)
    }

    /// Waits for the next connection.
    pub fn accept(&mut self) -> io::Result<LocalStream> {
        Ok(self.0.accept()?.0)
    }
}

/// Wakes a thread that waits for a connection there, and removes the address.
pub fn forget(path: &Path) {
    let _ = UnixStream::connect(path);
    let _ = fs::remove_file(path);
}

/// Whether the other side still holds it open.
pub fn is_open(stream: &LocalStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let open = !matches!({ stream }.read(&mut [0]), Ok(0));
    let _ = stream.set_nonblocking(false);
    open
}
