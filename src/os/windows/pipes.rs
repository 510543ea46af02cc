//! The output of a child, and the agent's log, which is written without waiting for its reader.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, Once};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_PIPE_NOT_CONNECTED, HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, FILE_TYPE_DISK, GetFileType, PIPE_ACCESS_INBOUND, ReadFile,
};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetConsoleScreenBufferInfo,
    STD_ERROR_HANDLE, STD_OUTPUT_HANDLE, SetConsoleMode, SetStdHandle,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, PIPE_REJECT_REMOTE_CLIENTS};

use super::handles::{event, owned, wide};
use super::wait::ready;

/// The most that is read at once, in bytes.
const PIECE: usize = 8 * 1024;

/// The buffer of a pipe, in bytes.
const PIPE_BUFFER: u32 = 64 * 1024;

/// The reading end of a child's output. stdout and stderr share it, so that the order is kept.
#[derive(Debug)]
pub struct Output(PipeReader);

/// A pipe: the end that the agent reads, and the end that the child writes.
///
/// # Errors
///
/// If Windows cannot make one.
pub fn output() -> io::Result<(Output, OwnedHandle)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // An anonymous pipe cannot be read without waiting. The random number avoids a name that another program has taken.
    let (pid, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let name = format!(r"\\.\pipe\otelet-{pid}-{number}-{:x}", fastrand::u64(..));
    let path = wide(&name);
    let flags = PIPE_ACCESS_INBOUND | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE;
    // SAFETY: the name ends with NUL.
    // Without attributes, only the same user, administrators and the system may write.
    let read = owned(unsafe {
        CreateNamedPipeW(path.as_ptr(), flags, PIPE_REJECT_REMOTE_CLIENTS, 1, 0, PIPE_BUFFER, 0, null())
    })?;
    let write = OpenOptions::new().write(true).open(name)?;
    Ok((Output(PipeReader::of(read)?), write.into()))
}

impl Output {
    /// Waits for bytes; 0 is the end.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    /// Reads the available bytes without waiting: the last words of a child that has ended.
    pub fn read_now(&self, buffer: &mut [u8]) -> usize {
        self.0.read_now(buffer).ok().flatten().unwrap_or(0)
    }
}

/// A pipe that is read piece by piece. It owns the buffer: Windows may write to it after a wait is dropped.
#[derive(Debug)]
pub(super) struct PipeReader {
    pipe: OwnedHandle,
    event: OwnedHandle,
    piece: RefCell<Box<Piece>>,
}

struct Piece {
    overlapped: OVERLAPPED,
    bytes: [u8; PIECE],
    /// Whether Windows is writing to it.
    pending: bool,
    /// The bytes that are not returned yet.
    left: std::ops::Range<usize>,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece").field("pending", &self.pending).field("left", &self.left).finish()
    }
}

impl PipeReader {
    /// A reader of a pipe that was opened as overlapped.
    pub(super) fn of(pipe: OwnedHandle) -> io::Result<Self> {
        let event = event(true)?;
        let overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
        let piece = RefCell::new(Box::new(Piece { overlapped, bytes: [0; PIECE], pending: false, left: 0..0 }));
        Ok(Self { pipe, event, piece })
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.pipe.as_raw_handle()
    }

    /// The event that is set when bytes have come.
    pub(super) fn event(&self) -> HANDLE {
        self.event.as_raw_handle()
    }

    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_now(buffer)? {
                Some(length) => return Ok(length),
                None => ready(&self.event.as_handle()).await,
            }
        }
    }

    /// Reads the available bytes without waiting. 0 is the end; none means that there are no bytes yet.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let piece = &mut **self.piece.borrow_mut();
        if piece.left.is_empty() {
            if !piece.pending {
                // SAFETY: the piece is on the heap and stays there until the read has ended, see `drop`.
                let begun = unsafe {
                    ReadFile(self.raw(), piece.bytes.as_mut_ptr(), PIECE as u32, null_mut(), &mut piece.overlapped)
                };
                match io::Error::last_os_error() {
                    _ if begun != 0 => {}
                    error if is(&error, ERROR_IO_PENDING) => {}
                    error => return end(error),
                }
                piece.pending = true;
            }
            let mut length = 0;
            // SAFETY: the read was begun with this structure.
            let ended = unsafe { GetOverlappedResult(self.raw(), &piece.overlapped, &mut length, 0) };
            match io::Error::last_os_error() {
                _ if ended != 0 => {}
                error if is(&error, ERROR_IO_INCOMPLETE) => return Ok(None),
                error => {
                    piece.pending = false;
                    return end(error);
                }
            }
            piece.pending = false;
            piece.left = 0..length as usize;
        }
        let length = piece.left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece.bytes[piece.left.start..][..length]);
        piece.left.start += length;
        Ok(Some(length))
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let piece = self.piece.get_mut();
        if piece.pending {
            let mut length = 0;
            // SAFETY: a read is pending. After it is cancelled, the second call waits until Windows no longer uses the
            // piece.
            unsafe {
                CancelIoEx(self.pipe.as_raw_handle(), &piece.overlapped);
                GetOverlappedResult(self.pipe.as_raw_handle(), &piece.overlapped, &mut length, 1);
            }
        }
    }
}

/// The end of a pipe: a writer that has gone is no error.
fn end(error: io::Error) -> io::Result<Option<usize>> {
    let gone = [ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_PIPE_NOT_CONNECTED];
    if gone.iter().any(|code| is(&error, *code)) { Ok(Some(0)) } else { Err(error) }
}

pub(super) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code as i32)
}

/// Columns and rows of the terminal of stdout. None if stdout is no terminal. It also turns on escape sequences.
pub fn terminal() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    let (handle, mut mode) = (stdout.as_raw_handle(), 0);
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the pointers are to values that live until the calls return.
    unsafe {
        if GetConsoleMode(handle, &mut mode) == 0 || GetConsoleScreenBufferInfo(handle, &mut info) == 0 {
            return None;
        }
        SetConsoleMode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
    }
    let size = |first: i16, last: i16| usize::try_from(i32::from(last) - i32::from(first) + 1).unwrap_or(0);
    let window = info.srWindow;
    Some((size(window.Left, window.Right), size(window.Top, window.Bottom)))
}

// ---- The log -------------------------------------------------------------------------------------------------------

/// The most bytes of the log that wait for a slow reader.
const MAX_QUEUED: usize = 64 * 1024;

/// The time that the end of the agent waits for that reader.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Redirects stdout and stderr into a file. The file before it is closed, since Windows cannot replace an open file.
///
/// # Errors
///
/// The error of Windows.
pub fn stderr_into(file: &File) -> io::Result<()> {
    static OPEN: Mutex<Option<File>> = Mutex::new(None);
    let copy = file.try_clone()?;
    // SAFETY: the handle stays open until another one replaces it.
    unsafe {
        SetStdHandle(STD_ERROR_HANDLE, copy.as_raw_handle());
        SetStdHandle(STD_OUTPUT_HANDLE, copy.as_raw_handle());
    }
    match OPEN.lock() {
        Ok(mut open) => *open = Some(copy),
        Err(_) => std::mem::forget(copy),
    }
    Ok(())
}

/// The lines that wait to be written.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { bytes: Vec::new(), writing: false, alone: true });
static QUEUED: Condvar = Condvar::new();

struct Queue {
    bytes: Vec<u8>,
    writing: bool,
    /// There is no writing thread: the caller writes.
    alone: bool,
}

/// Writes to the agent's stderr without waiting for its reader: a reader that stalls, or a person who selects text in
/// the console, must not stall supervision. Returns whether all of it is written or will be.
///
/// A file is written at once. For pipes and consoles there is a writing thread, since Windows cannot write to them
/// without waiting.
pub fn write_log(bytes: &[u8]) -> bool {
    let stderr = io::stderr();
    // SAFETY: the function accepts any handle, open or not.
    if stderr.as_raw_handle().is_null() || unsafe { GetFileType(stderr.as_raw_handle()) } == FILE_TYPE_DISK {
        return stderr.lock().write_all(bytes).is_ok();
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let started = std::thread::Builder::new().name("log".into()).stack_size(STACK).spawn(write_queued);
        if let Ok(mut queue) = QUEUE.lock() {
            queue.alone = started.is_err();
        }
    });
    let Ok(mut queue) = QUEUE.lock() else { return false };
    if queue.alone {
        return stderr.lock().write_all(bytes).is_ok();
    }
    if queue.bytes.len() + bytes.len() > MAX_QUEUED {
        return false;
    }
    queue.bytes.extend_from_slice(bytes);
    QUEUED.notify_all();
    true
}

/// The stack of the writing thread, in bytes.
const STACK: usize = 64 * 1024;

fn write_queued() {
    let Ok(mut queue) = QUEUE.lock() else { return };
    loop {
        if queue.bytes.is_empty() {
            match QUEUED.wait(queue) {
                Ok(woken) => queue = woken,
                Err(_) => return,
            }
            continue;
        }
        let bytes = std::mem::take(&mut queue.bytes);
        queue.writing = true;
        drop(queue);
        let _ = io::stderr().lock().write_all(&bytes);
        match QUEUE.lock() {
            Ok(locked) => queue = locked,
            Err(_) => return,
        }
        queue.writing = false;
        QUEUED.notify_all();
    }
}

/// Waits for the reader of the log for a short time. After that, each caller of [`write_log`] writes by itself.
pub fn finish_log() {
    let limit = Instant::now() + LAST_LINES;
    let Ok(mut queue) = QUEUE.lock() else { return };
    while queue.writing || !queue.bytes.is_empty() {
        let left = limit.saturating_duration_since(Instant::now());
        match QUEUED.wait_timeout(queue, left) {
            Ok((woken, _)) if !left.is_zero() => queue = woken,
            Ok(_) | Err(_) => return,
        }
    }
    queue.alone = true;
}
