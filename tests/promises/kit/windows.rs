//! The promises' tools for Windows, with the same names as in `unix.rs`.
#![allow(dead_code, reason = "each promise uses the part that it needs")]
#![expect(unsafe_code, reason = "windows-sys declares functions and wraps none")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::Duration;

use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::{CloseHandle, ERROR_PIPE_CONNECTED, HANDLE, INVALID_HANDLE_VALUE, LocalFree};
use windows_sys::Win32::Storage::FileSystem::PIPE_ACCESS_DUPLEX;
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, PIPE_REJECT_REMOTE_CLIENTS, PIPE_UNLIMITED_INSTANCES, PeekNamedPipe,
};
use windows_sys::Win32::System::ProcessStatus::{GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_BASIC_INFORMATION, PROCESS_QUERY_INFORMATION, PROCESS_VM_READ,
};
use windows_sys::Win32::UI::Shell::CommandLineToArgvW;

pub use std::os::windows::fs::symlink_file as symlink;

use super::host::{Entry, alive};

/// Stand-ins for the signals of Unix.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::upper_case_acronyms, reason = "the names are those that they have on Unix")]
pub enum Signal {
    TERM,
    INT,
    HUP,
    KILL,
    STOP,
    CONT,
}

/// Ends a process for a signal that ends it; the other signals have no meaning for any process.
pub fn signal(pid: u32, signal: Signal) {
    assert_eq!(signal, Signal::KILL, "only an agent can be sent this");
    // A test does not remember a pid for so long that another process could have it by now.
    otelet::os::kill_group(pid);
}

/// Sends a signal to an agent, which has events in place of signals.
pub fn signal_agent(pid: u32, number: Signal) {
    use otelet::os::Signal::{Reload, Stop};
    match number {
        Signal::TERM | Signal::INT => drop(otelet::os::send(pid, Stop)),
        Signal::HUP => drop(otelet::os::send(pid, Reload)),
        Signal::KILL => otelet::os::kill_group(pid),
        Signal::STOP | Signal::CONT => {
            panic!("nothing stops a process here: this test belongs into not_on_windows.yaml")
        }
    }
}

/// Processes in this journal that are alive. Windows uses a pid again soon: a process that began after the line in the
/// journal is another one.
pub fn marked(_: &str, journal: &[Entry]) -> Vec<u32> {
    let of = |entry: &Entry| {
        let forked = (entry.event == "forked").then(|| entry.detail.trim().parse().ok()).flatten();
        [Some((entry.pid, entry.at)), forked.map(|pid| (pid, entry.at))]
    };
    let mut pids: Vec<u32> = Vec::new();
    for (pid, at) in journal.iter().flat_map(of).flatten() {
        let ours = began(pid).is_some_and(|began| began <= at + Duration::from_millis(20));
        if ours && alive(pid) && !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

/// The start time of a process, since 1970.
fn began(pid: u32) -> Option<Duration> {
    let ticks = otelet::os::process_start(pid)?.checked_sub(116_444_736_000_000_000)?;
    Some(Duration::from_nanos(ticks * 100))
}

/// The state of a process: the only one here is that it runs.
pub fn state(pid: u32) -> Option<char> {
    alive(pid).then_some('R')
}

/// The environment of a process, `NAME=VALUE` each, without Windows' own variables, which begin with `=`.
pub fn environment(pid: u32) -> Vec<String> {
    let Some((block, _)) = parameters(pid) else { return Vec::new() };
    let entries = block.split(|unit| *unit == 0).take_while(|entry| !entry.is_empty());
    entries.map(String::from_utf16_lossy).filter(|entry| !entry.starts_with('=')).collect()
}

pub fn command_line(pid: u32) -> Vec<String> {
    let Some((_, mut line)) = parameters(pid) else { return Vec::new() };
    line.push(0);
    let mut count = 0;
    // SAFETY: the line ends with NUL; the list has so many words, each of which does.
    unsafe {
        let words = CommandLineToArgvW(line.as_ptr(), &mut count);
        let word = |index: usize| {
            let word = *words.add(index);
            let length = (0..).take_while(|at| *word.add(*at) != 0).count();
            String::from_utf16_lossy(std::slice::from_raw_parts(word, length))
        };
        let found = (0..count as usize).map(word).collect();
        LocalFree(words.cast());
        found
    }
}

/// Environment and command line, read from the process's own memory. Source: `PEB` and `RTL_USER_PROCESS_PARAMETERS` of
/// a 64-bit process, as debuggers show them.
fn parameters(pid: u32) -> Option<(Vec<u16>, Vec<u16>)> {
    // SAFETY: whatever the other process has there, no more is read than there is room for.
    unsafe {
        let process = OpenProcess(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ, 0, pid);
        if process.is_null() {
            return None;
        }
        let found = (|| {
            let mut info: PROCESS_BASIC_INFORMATION = zeroed();
            let size = size_of::<PROCESS_BASIC_INFORMATION>() as u32;
            let mut length = 0;
            let status =
                NtQueryInformationProcess(process, ProcessBasicInformation, (&raw mut info).cast(), size, &mut length);
            if status < 0 {
                return None;
            }
            let parameters = word(process, info.PebBaseAddress as usize + 0x20)?;
            let line_size = word(process, parameters + 0x70)? & 0xffff;
            let line = units(process, word(process, parameters + 0x78)?, line_size)?;
            let size = word(process, parameters + 0x3f0)?.min(1 << 20);
            let environment = units(process, word(process, parameters + 0x80)?, size)?;
            Some((environment, line))
        })();
        CloseHandle(process);
        found
    }
}

/// # Safety
///
/// The handle is open.
unsafe fn word(process: HANDLE, at: usize) -> Option<usize> {
    let mut value = 0_usize;
    // SAFETY: a word is read into a word.
    let read = unsafe { ReadProcessMemory(process, at as _, (&raw mut value).cast(), 8, std::ptr::null_mut()) };
    (read != 0).then_some(value)
}

/// # Safety
///
/// The handle is open.
unsafe fn units(process: HANDLE, at: usize, bytes: usize) -> Option<Vec<u16>> {
    let mut units = vec![0_u16; bytes / 2];
    let size = units.len() * 2;
    // SAFETY: no more is read than there is room for.
    let read = unsafe { ReadProcessMemory(process, at as _, units.as_mut_ptr().cast(), size, std::ptr::null_mut()) };
    (read != 0).then_some(units)
}

/// Windows has no modes, so nothing is set.
pub fn set_mode(_: &Path, _: u32) {}

/// A mode that stands for the access control list: only administrators, the system and this user have access, or
/// others have it too.
pub fn mode(path: &Path) -> u32 {
    let directory = fs::metadata(path).unwrap().is_dir();
    match (otelet::os::keep_private(path).unwrap(), directory) {
        (None, true) => 0o700,
        (None, false) => 0o600,
        (Some(_), _) => 0o777,
    }
}

/// The beginning of the list of logs in a host's built-in config, if it reads any.
pub const LOG_OF_BUILT_IN: Option<&str> = None;

/// Further changes of the built-in config for a test: wine 8 takes seconds to find out which process has which
/// connection.
pub const CHANGES_OF_BUILT_IN: &[(&str, &str)] =
    &[("network: {}", "network: {metrics: {system.network.connections: {enabled: false}}}")];

/// Some of its metrics, of scrapers that work in wine: Go finds no network adapter in wine 10, and neither 8 nor 10 has
/// counters for `disk` and `paging`.
pub const METRICS_OF_BUILT_IN: &[&str] =
    &["system.cpu.utilization", "system.memory.usage", "system.filesystem.utilization"];

/// The words of the agent for the end of a collector that was killed.
pub const KILLED: &str = "code 137";

/// The most memory that the process ever had, in KiB: its largest working set.
pub fn peak_memory(pid: u32) -> u64 {
    // SAFETY: the size given is that of the structure.
    unsafe {
        let process = OpenProcess(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ, 0, pid);
        let mut memory: PROCESS_MEMORY_COUNTERS = zeroed();
        let read = GetProcessMemoryInfo(process, &mut memory, size_of::<PROCESS_MEMORY_COUNTERS>() as u32);
        CloseHandle(process);
        assert_ne!(read, 0, "the memory of process {pid} can be read");
        memory.PeakWorkingSetSize as u64 / 1024
    }
}

/// Windows has no user called root.
pub fn is_root() -> bool {
    false
}

/// The address of local connections for this path: a pipe whose name is made of its last two parts.
pub fn local(path: &Path) -> PathBuf {
    let parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    format!(r"\\.\pipe\{}-{}", parts[1], parts[0]).into()
}

pub type LocalStream = File;

/// A listener: the instance of the pipe that waits for the next connection.
pub struct LocalListener {
    name: Vec<u16>,
    next: File,
}

impl LocalListener {
    pub fn bind(path: &Path) -> io::Result<Self> {
        let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
        Ok(Self { next: instance(&name)?, name })
    }

    /// Waits for the next connection. Another instance is made before the answer, so that no client finds the pipe busy
    /// for long.
    pub fn accept(&mut self) -> io::Result<LocalStream> {
        // SAFETY: the handle is open, and not for overlapped operations, which would outlive the call.
        let connected = unsafe { ConnectNamedPipe(self.next.as_raw_handle(), null_mut()) };
        match io::Error::last_os_error() {
            _ if connected != 0 => {}
            error if error.raw_os_error() == Some(ERROR_PIPE_CONNECTED as i32) => {}
            error => return Err(error),
        }
        let next = instance(&self.name)?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

fn instance(name: &[u16]) -> io::Result<File> {
    let (most, room) = (PIPE_UNLIMITED_INSTANCES, 64 * 1024);
    // SAFETY: the name ends with NUL, and no other code has the handle.
    unsafe {
        let pipe = CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_DUPLEX,
            PIPE_REJECT_REMOTE_CLIENTS,
            most,
            room,
            room,
            0,
            std::ptr::null(),
        );
        if pipe == INVALID_HANDLE_VALUE { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_handle(pipe)) }
    }
}

/// Wakes a thread that waits for a connection there. The pipe is gone once that thread has ended.
pub fn forget(path: &Path) {
    let _ = OpenOptions::new().read(true).write(true).open(path);
}

/// Whether the other side still holds it open.
pub fn is_open(stream: &LocalStream) -> bool {
    let none = null_mut();
    // SAFETY: no byte is read: the call only reports whether it could be.
    unsafe { PeekNamedPipe(stream.as_raw_handle(), null_mut(), 0, none, none, none) != 0 }
}
