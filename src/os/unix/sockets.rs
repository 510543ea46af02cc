//! Sockets that never block a thread: requests to a health check and to a container engine, and messages of
//! `sd_notify`.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::readable;
use super::wait::ready_for;
use crate::os::User;

/// Connects, sends a request, and reads the first bytes of the answer, as a task that never blocks.
///
/// # Errors
///
/// The error of the kernel; [`io::ErrorKind::ConnectionReset`] if the other side closes without an answer.
pub async fn ask(address: SocketAddr, request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let family = if address.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
    let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, rustix::net::SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => ready_for(socket.as_fd(), PollFlags::OUT).await,
        Err(error) => return Err(error.into()),
    }
    let mut stream = TcpStream::from(socket);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    // A request of a few bytes fits into any socket buffer.
    stream.write_all(request)?;
    readable(&stream).await;
    match stream.read(answer)? {
        0 => Err(io::ErrorKind::ConnectionReset.into()),
        read => Ok(read),
    }
}

/// A connection to a socket in the file system that never blocks.
#[derive(Debug)]
pub struct LocalStream(UnixStream);

impl LocalStream {
    /// Connects without waiting: a full queue of the other side is an error.
    ///
    /// # Errors
    ///
    /// The error of the kernel; a path over 107 bytes is not possible.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let address = rustix::net::SocketAddrUnix::new(path)?;
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let kind = rustix::net::SocketType::STREAM;
        let socket = rustix::net::socket_with(rustix::net::AddressFamily::UNIX, kind, flags, None)?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self(UnixStream::from(socket)))
    }

    /// The same over TCP, on a connection that was made before.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn over_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // Reads, writes and timeouts are the same calls for every kind of stream.
        Ok(Self(OwnedFd::from(stream).into()))
    }

    /// Waits for bytes, as a task; 0 is the end.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.0).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable(&self.0).await,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Sends a few bytes, which fit into any socket buffer.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    /// The same connection for a thread that may wait until this time.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn until(self, deadline: Instant) -> io::Result<PatientStream> {
        self.0.set_nonblocking(false)?;
        Ok(PatientStream { stream: self.0, deadline })
    }
}

/// A connection on which a thread waits until a deadline.
#[derive(Debug)]
pub struct PatientStream {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for PatientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // A time of less than a microsecond would mean no limit.
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            other => other,
        }
    }
}

/// A socket for `sd_notify` messages of the collector.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Makes the socket and replaces one that an earlier agent left. `owner` may write to it.
    ///
    /// # Errors
    ///
    /// The error of the kernel; a path over 107 bytes is not possible.
    pub fn new(path: &Path, owner: Option<User>) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        if let Some(User { uid, gid }) = owner {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
        }
        Ok(Self { socket, path: path.into() })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub async fn receive(&self) -> io::Result<String> {
        let mut buffer = [0; 512];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable(&self.socket).await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
