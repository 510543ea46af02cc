//! Asks name servers for the addresses of one name. A and AAAA are two questions, each on a socket of its own, so that no
//! answer to one of them spoils the other.
//!
//! Servers are asked in their order. A server that says no or does not answer within a second is not waited for: the next
//! one is asked as well, and whoever brings an address is believed. So "no such name" counts only when every server that
//! answers says so.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::files::Conf;
use super::message::{self, Answer, Kind, Reply};

/// How long the first round waits for a server before it asks the next one as well. Each further round waits twice as long.
const STEP: Duration = Duration::from_secs(1);
/// How long a server may be silent while another one says that there is no such name.
pub(super) const HOLD: Duration = Duration::from_secs(2);
/// How long a truncated answer may take by TCP.
const BY_TCP: Duration = Duration::from_secs(2);
/// How long the answer to AAAA may take longer than that to A on a host without IPv6. RFC 8305, section 3, has this number.
const SHORT_GRACE: Duration = Duration::from_millis(50);
/// How long the other kind of address may take where it may be the one that works.
const GRACE: Duration = Duration::from_secs(1);

/// The answers of the servers about a name.
pub(super) struct Asked {
    /// Without an address, the servers with what each of them said.
    pub(super) found: Result<Vec<IpAddr>, Vec<(SocketAddr, String)>>,
    /// Whether a server answered.
    pub(super) answered: bool,
}

/// A question at a server.
struct Question {
    server: usize,
    kind: Kind,
    message: Vec<u8>,
    socket: Option<UdpSocket>,
    /// When it was asked first, or answered.
    at: Instant,
    outcome: Option<Outcome>,
}

/// The state of a question.
enum Outcome {
    Answered(Answer),
    Failed(io::Error),
}

impl Question {
    fn addresses(&self) -> Option<&[IpAddr]> {
        match &self.outcome {
            Some(Outcome::Answered(Answer::Addresses(addresses))) => Some(addresses),
            _ => None,
        }
    }

    /// Whether the server has said that the name has no such address.
    fn is_a_no(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Answered(Answer::NoSuchName | Answer::NoAddress)))
    }

    /// Whether the server has said that there is no such name. Only its word on A is taken for that: many servers say so of
    /// AAAA when they know no AAAA.
    fn denies_the_name(&self) -> bool {
        self.kind == Kind::A && matches!(self.outcome, Some(Outcome::Answered(Answer::NoSuchName)))
    }

    fn open(&self) -> Option<&UdpSocket> {
        self.socket.as_ref().filter(|_| self.outcome.is_none())
    }
}

/// Asks for the addresses of a name, for as long as the settings say and at most until then. `mute` has the
/// questions that a server left open while another one was answered: nobody waits for them again.
pub(super) fn ask(name: &str, kinds: &[Kind], conf: &Conf, mute: &mut Vec<(usize, Kind)>, until: Instant) -> Asked {
    let first = if conf.rotate { usize::from(random()) } else { 0 };
    let count = conf.servers.len();
    let mut plan = (0..conf.attempts * count).map(|step| ((first + step) % count, step / count)).peekable();
    let mut questions: Vec<Question> = Vec::new();
    let mut next = Instant::now();
    let ipv6 = has_ipv6();
    loop {
        let now = Instant::now();
        if now >= until {
            break;
        }
        let is_mute = |question: &Question| mute.contains(&(question.server, question.kind));
        // An address that this host cannot use ends no search.
        let usable = |question: &&Question| question.addresses().is_some() && (ipv6 || question.kind == Kind::A);
        let good = questions.iter().find(usable);
        let wait_until = if let Some(good) = good {
            // Only the same server is waited for: it may know the other kind of address.
            let open = |other: &&Question| other.server == good.server && other.outcome.is_none() && !is_mute(other);
            if !questions.iter().any(|other| open(&other)) {
                break;
            }
            let grace = if ipv6 { GRACE } else { SHORT_GRACE };
            let end = good.at + grace;
            if now >= end {
                break;
            }
            end
        } else {
            let waits = questions.iter().any(|question| question.outcome.is_none() && !is_mute(question));
            if (now >= next || !waits)
                && let Some((server, round)) = plan.next()
            {
                send(name, kinds, conf, server, &mut questions, until);
                let step = if plan.peek().is_some() { conf.timeout.min(STEP * (1 << round)) } else { conf.timeout };
                next = Instant::now() + step;
                continue;
            }
            if !waits || now >= next {
                break;
            }
            // A server that says no is believed when the others have had their time.
            let no = (0..count).any(|server| {
                let mut its = questions.iter().filter(|question| question.server == server).peekable();
                its.peek().is_some() && its.clone().all(Question::is_a_no) || its.any(Question::denies_the_name)
            });
            let silent = questions.iter().filter(|question| question.outcome.is_none() && !is_mute(question));
            let last = silent.map(|question| question.at + HOLD.min(conf.timeout)).max();
            match last {
                Some(last) if no && plan.peek().is_none_or(|(_, round)| *round > 0) => {
                    if now >= last {
                        break;
                    }
                    last.min(next)
                }
                _ => next,
            }
        };
        listen(&mut questions, conf, wait_until.min(until), until);
    }
    let answered = questions.iter().any(|question| matches!(question.outcome, Some(Outcome::Answered(_))));
    if answered {
        let open = questions.iter().filter(|question| question.outcome.is_none());
        mute.extend(open.map(|question| (question.server, question.kind)));
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for question in &questions {
        let new = question.addresses().unwrap_or(&[]).iter().filter(|address| !found.contains(address));
        found.append(&mut new.copied().collect());
    }
    let found = if found.is_empty() { Err(said(&questions, conf)) } else { Ok(found) };
    Asked { found, answered }
}

/// Asks a server, or asks it again, what it has not answered yet.
fn send(name: &str, kinds: &[Kind], conf: &Conf, server: usize, questions: &mut Vec<Question>, until: Instant) {
    for &kind in kinds {
        let known = questions.iter().position(|question| question.server == server && question.kind == kind);
        let at = known.unwrap_or_else(|| {
            let message = message::question(random(), name, kind).expect("the name was checked");
            questions.push(Question { server, kind, message, socket: None, at: Instant::now(), outcome: None });
            questions.len() - 1
        });
        let question = &mut questions[at];
        if question.outcome.is_some() {
            continue;
        }
        let address = conf.servers[server];
        if conf.tcp_only {
            let limit = until.min(Instant::now() + conf.timeout);
            question.outcome = Some(match by_tcp(address, question, limit) {
                Ok(reply) => Outcome::Answered(reply.answer),
                Err(error) => Outcome::Failed(error),
            });
            continue;
        }
        let sent = match &question.socket {
            Some(socket) => socket.send(&question.message).map(|_| None),
            None => connected(address).and_then(|socket| socket.send(&question.message).map(|_| Some(socket))),
        };
        match sent {
            Ok(Some(socket)) => question.socket = Some(socket),
            Ok(None) => {}
            Err(error) => question.outcome = Some(Outcome::Failed(error)),
        }
    }
}

/// A socket that hears from this server only, and hears when the server is not there.
fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Waits for answers, and takes those that are there.
fn listen(questions: &mut [Question], conf: &Conf, wait_until: Instant, until: Instant) {
    let wait = wait_until.saturating_duration_since(Instant::now());
    let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
    let open = questions.iter().filter_map(Question::open);
    let mut sockets: Vec<PollFd> = open.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    // Interrupted or not: the sockets tell.
    let _ = poll(&mut sockets, Some(&wait));
    drop(sockets);
    let mut packet = [0; 4096];
    for question in questions {
        let Some(socket) = question.open() else { continue };
        let outcome = match socket.recv(&mut packet) {
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => continue,
            Err(error) => Outcome::Failed(error),
            Ok(length) => match message::reply(&packet[..length], &question.message, question.kind) {
                None => continue,
                Some(Reply { answer, truncated: false }) => Outcome::Answered(answer),
                Some(Reply { answer, truncated: true }) => {
                    let limit = until.min(Instant::now() + BY_TCP.min(conf.timeout));
                    match (by_tcp(conf.servers[question.server], question, limit), answer) {
                        (Ok(whole), _) => Outcome::Answered(whole.answer),
                        // A firewall may stop TCP: some of the addresses are better than none.
                        (Err(_), some @ Answer::Addresses(_)) => Outcome::Answered(some),
                        (Err(error), _) => Outcome::Failed(error),
                    }
                }
            },
        };
        question.outcome = Some(outcome);
        question.at = Instant::now();
    }
}

/// Asks by TCP, where each message has its length in front (RFC 1035, section 4.2.2).
fn by_tcp(server: SocketAddr, question: &Question, until: Instant) -> io::Result<Reply> {
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&server, left()?)?;
    let mut request = (question.message.len() as u16).to_be_bytes().to_vec();
    request.extend(&question.message);
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    let mut part = [0; 2048];
    loop {
        if let Some((length, body)) = answer.split_first_chunk()
            && let Some(body) = body.get(..usize::from(u16::from_be_bytes(*length)))
        {
            return message::reply(body, &question.message, question.kind)
                .ok_or_else(|| io::Error::other("its answer by TCP is to another question"));
        }
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => answer.extend(&part[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The answer of each server, without an address among it. The kind of address that failed worse counts.
fn said(questions: &[Question], conf: &Conf) -> Vec<(SocketAddr, String)> {
    let words = |question: &Question| match &question.outcome {
        Some(Outcome::Answered(Answer::NoSuchName)) => (1, "no such name".to_owned()),
        Some(Outcome::Answered(Answer::NoAddress | Answer::Addresses(_))) => (0, "no address of this name".to_owned()),
        Some(Outcome::Answered(Answer::Code(code))) => (2, format!("answered {}", code_word(*code))),
        Some(Outcome::Answered(Answer::Garbled)) => (2, "its answer cannot be read".to_owned()),
        Some(Outcome::Failed(error)) => (3, error.to_string()),
        None => (4, "no answer".to_owned()),
    };
    let servers = conf.servers.iter().enumerate();
    let worst = |number| questions.iter().filter(|question| question.server == number).map(words).max();
    servers.filter_map(|(number, server)| Some((*server, worst(number)?.1))).collect()
}

/// The name of a code (RFC 1035, section 4.1.1).
fn code_word(code: u8) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("code {other}"),
    }
}

/// Whether this host has an address of IPv6 beyond its own links. Source: `/proc/net/if_inet6`, whose fourth column is the
/// scope: 00 is global.
pub(super) fn has_ipv6() -> bool {
    let text = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    text.lines().any(|line| line.split_ascii_whitespace().nth(3) == Some("00"))
}

/// A number that nobody can guess: std seeds its hash maps with the kernel's random numbers.
fn random() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as u16
}
