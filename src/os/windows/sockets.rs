//! Connections that never block a thread: requests to a health check, and to a container engine on its named pipe.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawSocket};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_PIPE_BUSY, WAIT_OBJECT_0};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, FD_CLOSE, FD_CONNECT, FD_READ, IN_ADDR, IN_ADDR_0, IN6_ADDR, IN6_ADDR_0, INVALID_SOCKET,
    IPPROTO_TCP, SOCK_STREAM, SOCKADDR_IN, SOCKADDR_IN6, SOCKADDR_IN6_0, SOCKET, WSA_FLAG_NO_HANDLE_INHERIT,
    WSA_FLAG_OVERLAPPED, WSADATA, WSAEWOULDBLOCK, WSAEnumNetworkEvents, WSAEventSelect, WSAGetLastError,
    WSANETWORKEVENTS, WSASocketW, WSAStartup, connect,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::WaitForSingleObject;

use super::handles::event;
use super::pipes::{PipeReader, is};
use super::wait::ready;
use crate::os::User;

/// Connects, sends a request, and reads the first bytes of the answer, as a task that never blocks.
///
/// # Errors
///
/// The error of Windows; [`io::ErrorKind::ConnectionReset`] if the other side closes without an answer.
pub async fn ask(address: SocketAddr, request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let socket = socket(address)?;
    // SAFETY: nothing else owns the socket.
    let mut stream = unsafe { TcpStream::from_raw_socket(socket as _) };
    let event = event(true)?;
    // `WSAEventSelect` also makes the socket non-blocking.
    let mask = (FD_CONNECT | FD_READ | FD_CLOSE) as i32;
    // SAFETY: both are open.
    wsa(unsafe { WSAEventSelect(socket, event.as_raw_handle() as _, mask) })?;
    match begin_to_connect(socket, address) {
        Err(error) if error.raw_os_error() == Some(WSAEWOULDBLOCK) => {}
        other => other?,
    }
    let mut seen = WSANETWORKEVENTS::default();
    let mut connected = false;
    loop {
        ready(&event).await;
        // SAFETY: both are open; it resets the event.
        wsa(unsafe { WSAEnumNetworkEvents(socket, event.as_raw_handle() as _, &mut seen) })?;
        let happened = seen.lNetworkEvents as u32;
        if happened & FD_CONNECT != 0 && !connected {
            match seen.iErrorCode[FD_CONNECT_BIT] {
                0 => connected = true,
                code => return Err(io::Error::from_raw_os_error(code)),
            }
            // A request of a few bytes fits into any socket buffer.
            stream.write_all(request)?;
        }
        if happened & (FD_READ | FD_CLOSE) != 0 {
            match stream.read(answer) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// The index of the result of a connect in `WSANETWORKEVENTS`. Source: winsock2.h.
const FD_CONNECT_BIT: usize = 4;

fn socket(address: SocketAddr) -> io::Result<SOCKET> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    let mut data = WSADATA::default();
    // SAFETY: `WSAStartup` may be called often, and need not be undone before the process ends.
    let socket = unsafe {
        match WSAStartup(0x0202, &mut data) {
            0 => WSASocketW(family.into(), SOCK_STREAM, IPPROTO_TCP, null(), 0, flags),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    };
    if socket == INVALID_SOCKET { Err(last()) } else { Ok(socket) }
}

fn begin_to_connect(socket: SOCKET, address: SocketAddr) -> io::Result<()> {
    // SAFETY: the structures live until the call returns, and the sizes are their own.
    wsa(unsafe {
        match address {
            SocketAddr::V4(address) => {
                let ip = IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from_ne_bytes(address.ip().octets()) } };
                let to = SOCKADDR_IN {
                    sin_family: AF_INET,
                    sin_port: address.port().to_be(),
                    sin_addr: ip,
                    ..SOCKADDR_IN::default()
                };
                connect(socket, (&raw const to).cast(), size_of_val(&to) as i32)
            }
            SocketAddr::V6(address) => {
                let to = SOCKADDR_IN6 {
                    sin6_family: AF_INET6,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: IN6_ADDR { u: IN6_ADDR_0 { Byte: address.ip().octets() } },
                    Anonymous: SOCKADDR_IN6_0 { sin6_scope_id: address.scope_id() },
                };
                connect(socket, (&raw const to).cast(), size_of_val(&to) as i32)
            }
        }
    })
}

fn wsa(answer: i32) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(last()) }
}

fn last() -> io::Error {
    // SAFETY: no arguments.
    io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}

/// A connection to a named pipe, such as `\\.\pipe\docker_engine`, that never blocks.
#[derive(Debug)]
pub struct LocalStream(PipeReader);

/// The time limit for sending a few bytes to a pipe.
const SEND_LIMIT: Duration = Duration::from_millis(100);

impl LocalStream {
    /// Connects without waiting: a pipe without a free instance is an error.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub fn connect(path: &Path) -> io::Result<Self> {
        // The server of the pipe may identify the agent's user, but not impersonate it.
        let opened = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(FILE_FLAG_OVERLAPPED)
            .security_qos_flags(SECURITY_IDENTIFICATION)
            .open(path);
        let pipe = opened.map_err(|error| match is(&error, ERROR_PIPE_BUSY) {
            true => io::ErrorKind::WouldBlock.into(),
            false => error,
        })?;
        Ok(Self(PipeReader::of(pipe.into())?))
    }

    /// Does nothing here: an engine on Windows is at a named pipe, and the settings take no other address.
    ///
    /// # Errors
    ///
    /// Always on Windows.
    pub fn over_tcp(_: TcpStream) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits for bytes, as a task; 0 is the end.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    /// Sends a few bytes, which fit into the buffer of the pipe.
    ///
    /// # Errors
    ///
    /// The error of Windows; [`io::ErrorKind::TimedOut`] if they do not fit and the server does not read.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        write(&self.0, bytes, SEND_LIMIT)
    }

    /// The same connection for a thread that may wait until this time.
    ///
    /// # Errors
    ///
    /// Never on Windows.
    pub fn until(self, deadline: Instant) -> io::Result<PatientStream> {
        Ok(PatientStream { stream: self.0, deadline })
    }
}

fn write(pipe: &PipeReader, bytes: &[u8], limit: Duration) -> io::Result<()> {
    let event = event(true)?;
    let mut overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
    let mut written = 0;
    // SAFETY: bytes and structure live until Windows no longer uses them: the last call waits for that in any case.
    unsafe {
        let begun = WriteFile(pipe.raw(), bytes.as_ptr(), bytes.len() as u32, null_mut(), &mut overlapped);
        if begun == 0 {
            match io::Error::last_os_error() {
                error if is(&error, ERROR_IO_PENDING) => {}
                error => return Err(error),
            }
        }
        let late = WaitForSingleObject(event.as_raw_handle(), limit.as_millis() as u32) != WAIT_OBJECT_0;
        if late {
            CancelIoEx(pipe.raw(), &overlapped);
        }
        let ended = GetOverlappedResult(pipe.raw(), &overlapped, &mut written, 1) != 0;
        match ended {
            true if written as usize == bytes.len() => Ok(()),
            true => Err(io::ErrorKind::WriteZero.into()),
            false if late => Err(io::ErrorKind::TimedOut.into()),
            false => Err(io::Error::last_os_error()),
        }
    }
}

/// A connection on which a thread waits until a deadline.
#[derive(Debug)]
pub struct PatientStream {
    stream: PipeReader,
    deadline: Instant,
}

impl Read for PatientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(length) = self.stream.read_now(buffer)? {
                return Ok(length);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let left = u32::try_from(left.as_millis() + 1).unwrap_or(u32::MAX - 1);
            // SAFETY: the event is open.
            unsafe { WaitForSingleObject(self.stream.event(), left) };
        }
    }
}

/// A type without values: Windows has no `sd_notify`.
#[derive(Debug)]
pub struct NotifySocket(std::convert::Infallible);

impl NotifySocket {
    /// Always fails.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn new(_: &Path, _: Option<User>) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "there is no sd_notify on Windows; use health_check"))
    }

    /// Never called.
    ///
    /// # Errors
    ///
    /// Never.
    pub async fn receive(&self) -> io::Result<String> {
        match self.0 {}
    }
}
