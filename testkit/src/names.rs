//! A name server on loopback with a script, by UDP and TCP on one port.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The most bytes of an answer by UDP (RFC 1035, section 4.2.1).
const MAX_UDP: usize = 512;
/// How often the threads look whether they are to end.
const LOOK: Duration = Duration::from_millis(20);

/// The type of a question about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    A,
    Aaaa,
}

/// A question as the server received it, its name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub name: String,
    pub kind: Kind,
    pub by_tcp: bool,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// These addresses; an empty list says that the name has none of this kind.
    Addresses(Vec<IpAddr>),
    /// A chain of this many aliases before the addresses.
    Behind(usize, Vec<IpAddr>),
    /// A code: 2 is SERVFAIL, 3 "no such name", 5 REFUSED.
    Code(u8),
    /// A code in a message without the question.
    Bare(u8),
    /// By UDP: only the note that it does not fit. By TCP: these addresses.
    ByTcpOnly(Vec<IpAddr>),
    /// By UDP: the first of these and the note that the rest does not fit. TCP is never answered.
    Cut(Vec<IpAddr>),
    /// This reply after a while.
    Later(Duration, Box<Reply>),
    /// Two messages that answer another question and then this one.
    AfterStrays(Vec<IpAddr>),
    /// Bytes that are no message.
    Garbage,
    Silence,
}

impl Reply {
    pub fn code(code: u8) -> Self {
        Self::Code(code)
    }

    pub fn addresses(addresses: &[&str]) -> Self {
        Self::Addresses(addresses.iter().map(|address| address.parse().expect("an address")).collect())
    }
}

/// The server; dropping it ends it.
pub struct NameServer {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    /// Listens on this address, which may have the port 0.
    ///
    /// # Errors
    ///
    /// The errors of the sockets.
    pub fn new(addr: SocketAddr, script: impl Fn(&str, Kind) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let (udp, tcp) = sockets(addr)?;
        let addr = udp.local_addr()?;
        let mut server = Self { addr, asked: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        let script: Arc<Script> = Arc::new(script);
        for by_tcp in [false, true] {
            let (asked, stop, script) = (server.asked.clone(), server.stop.clone(), script.clone());
            let (udp, tcp) = (udp.try_clone()?, tcp.try_clone()?);
            server.threads.push(thread::spawn(move || match by_tcp {
                false => serve_udp(&udp, &asked, &stop, &script),
                true => serve_tcp(&tcp, &asked, &stop, &script),
            }));
        }
        Ok(server)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The questions so far.
    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().expect("no panic while it is held").clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

type Script = dyn Fn(&str, Kind) -> Reply + Send + Sync;

/// Two sockets on the same port, with time limits.
fn sockets(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = None;
    // The port that the kernel chose for UDP may be taken for TCP.
    for _ in 0..20 {
        let udp = UdpSocket::bind(addr)?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => {
                udp.set_read_timeout(Some(LOOK))?;
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("the loop ran"))
}

fn serve_udp(udp: &UdpSocket, asked: &Mutex<Vec<Question>>, stop: &AtomicBool, script: &Arc<Script>) {
    let mut packet = [0; 1024];
    while !stop.load(Ordering::SeqCst) {
        let Ok((length, from)) = udp.recv_from(&mut packet) else { continue };
        let message = packet[..length].to_vec();
        let Some((name, kind)) = parse(&message) else { continue };
        asked.lock().expect("no panic while it is held").push(Question { name: name.clone(), kind, by_tcp: false });
        let (socket, script) = (udp.try_clone(), script.clone());
        // A slow answer delays no other one.
        thread::spawn(move || {
            for answer in answers(&message, kind, &script(&name, kind), false) {
                if let Ok(socket) = &socket {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
    }
}

fn serve_tcp(tcp: &TcpListener, asked: &Arc<Mutex<Vec<Question>>>, stop: &AtomicBool, script: &Arc<Script>) {
    while !stop.load(Ordering::SeqCst) {
        let Ok((mut stream, _)) = tcp.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        let (asked, script) = (asked.clone(), script.clone());
        // Some clients ask for A and AAAA on one connection. It ends when the client closes it.
        thread::spawn(move || {
            while let Ok(message) = read_message(&mut stream) {
                let Some((name, kind)) = parse(&message) else { return };
                let question = Question { name: name.clone(), kind, by_tcp: true };
                asked.lock().expect("no panic while it is held").push(question);
                for answer in answers(&message, kind, &script(&name, kind), true) {
                    // In two parts, as a network may bring it.
                    let mut bytes = (answer.len() as u16).to_be_bytes().to_vec();
                    bytes.extend(answer);
                    let (head, rest) = bytes.split_at(1);
                    let _ = stream.write_all(head).and_then(|()| stream.flush()).and_then(|()| stream.write_all(rest));
                }
            }
        });
    }
}

fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// The name and kind of the one question in a message.
fn parse(message: &[u8]) -> Option<(String, Kind)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
    let kind = match message.get(at + 1..at + 3)? {
        [0, 1] => Kind::A,
        [0, 28] => Kind::Aaaa,
        _ => return None,
    };
    Some((labels.join("."), kind))
}

/// The messages to send back.
fn answers(question: &[u8], kind: Kind, reply: &Reply, by_tcp: bool) -> Vec<Vec<u8>> {
    let message = |code: u8, aliases: usize, addresses: &[IpAddr]| {
        let message = message(question, kind, code, aliases, addresses);
        if by_tcp || message.len() <= MAX_UDP { vec![message] } else { vec![cut(question, &[], kind)] }
    };
    match reply {
        Reply::Addresses(addresses) => message(0, 0, addresses),
        Reply::Behind(aliases, addresses) => message(0, *aliases, addresses),
        Reply::Code(code) => message(*code, 0, &[]),
        Reply::Bare(code) => {
            let mut bare = message(*code, 0, &[]).remove(0);
            bare.truncate(12);
            bare[5] = 0;
            vec![bare]
        }
        Reply::ByTcpOnly(addresses) if by_tcp => message(0, 0, addresses),
        Reply::ByTcpOnly(_) => vec![cut(question, &[], kind)],
        Reply::Cut(_) if by_tcp => Vec::new(),
        Reply::Cut(addresses) => vec![cut(question, &addresses[..addresses.len().min(1)], kind)],
        Reply::Later(delay, later) => {
            thread::sleep(*delay);
            answers(question, kind, later, by_tcp)
        }
        Reply::AfterStrays(addresses) => {
            let good = message(0, 0, addresses).remove(0);
            let mut stray = message(3, 0, &[]).remove(0);
            stray[0] ^= 0xff;
            vec![stray, vec![1, 2, 3], good]
        }
        Reply::Garbage => vec![vec![0xff; 40]],
        Reply::Silence => Vec::new(),
    }
}

fn cut(question: &[u8], addresses: &[IpAddr], kind: Kind) -> Vec<u8> {
    let mut message = message(question, kind, 0, 0, addresses);
    message[2] |= 2;
    message
}

fn message(question: &[u8], kind: Kind, code: u8, aliases: usize, addresses: &[IpAddr]) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    let ours = addresses.iter().filter(|address| address.is_ipv4() == (kind == Kind::A));
    let mut owner = vec![0xc0, 12];
    let mut count: u16 = 0;
    for alias in 0..aliases {
        let target = format!("alias-{alias:03}-of-a-name-that-is-served-elsewhere");
        let mut data = vec![target.len() as u8];
        data.extend(target.bytes());
        data.extend([3, b'c', b'd', b'n', 4, b't', b'e', b's', b't', 0]);
        record(&mut message, &owner, 5, &data);
        owner = data;
        count += 1;
    }
    for address in ours {
        let (number, data) = match address {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        record(&mut message, &owner, number, &data);
        count += 1;
    }
    message[6..8].copy_from_slice(&count.to_be_bytes());
    message
}

fn record(message: &mut Vec<u8>, owner: &[u8], kind: u16, data: &[u8]) {
    message.extend(owner);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 60]);
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
}
