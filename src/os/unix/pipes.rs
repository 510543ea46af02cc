//! The output of a child, and the agent's log, which is written without waiting for its reader.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};

use super::readable;

/// The reading end of a child's output. stdout and stderr share it, so that the order is kept.
#[derive(Debug)]
pub struct Output(OwnedFd);

/// A pipe: the end that the agent reads, and the end that the child writes.
///
/// # Errors
///
/// If the kernel cannot make one.
pub fn output() -> io::Result<(Output, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((Output(read), write))
}

impl Output {
    /// Waits for bytes; 0 is the end.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Err(rustix::io::Errno::AGAIN) => readable(&self.0).await,
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Reads the available bytes without waiting: the last words of a child that has ended.
    pub fn read_now(&self, buffer: &mut [u8]) -> usize {
        rustix::io::read(&self.0, buffer).unwrap_or(0)
    }
}

/// Columns and rows of the terminal of stdout. None if stdout is no terminal or does not report its size.
pub fn terminal() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Writes to the agent's stderr, but never waits for its reader: a log driver that stalls must not stall supervision.
/// Returns whether all of it was written.
///
/// A pipe that polls as writable takes 4096 bytes (`PIPE_BUF`) without blocking, so that much is written at a time. A
/// line that could not be ended is ended before the next one begins.
pub fn write_log(bytes: &[u8]) -> bool {
    static CUT: AtomicBool = AtomicBool::new(false);
    if CUT.load(Ordering::Relaxed) {
        if !write_without_waiting(b"\n") {
            return false;
        }
        CUT.store(false, Ordering::Relaxed);
    }
    for (number, chunk) in bytes.chunks(4096).enumerate() {
        if !write_without_waiting(chunk) {
            CUT.store(number > 0, Ordering::Relaxed);
            return false;
        }
    }
    true
}

/// Does nothing here: on Unix no line of the log waits for its reader.
pub fn finish_log() {}

/// Redirects stdout and stderr into a file.
///
/// # Errors
///
/// The error of the kernel.
pub fn stderr_into(file: &File) -> io::Result<()> {
    rustix::stdio::dup2_stdout(file)?;
    Ok(rustix::stdio::dup2_stderr(file)?)
}

fn write_without_waiting(chunk: &[u8]) -> bool {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0);
    if !ready || fds[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL) {
        return false;
    }
    let mut rest = chunk;
    while !rest.is_empty() {
        match rustix::io::write(&stderr, rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
