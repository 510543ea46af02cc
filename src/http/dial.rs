//! Opens the connections of requests: all addresses of a server race, and the one that won is the first next time.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use crate::os;

/// How long an address has before the next one is tried as well. RFC 8305, section 5, has this number.
pub const STEP: Duration = Duration::from_millis(250);

/// The experience of earlier requests with the addresses of a server.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The address of the connection that is open.
    open: Option<IpAddr>,
    /// The address by which the last answer came.
    good: Option<IpAddr>,
    /// An address that accepted a connection and gave no answer on it.
    bad: Option<IpAddr>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no panic while it is held")
    }

    /// Notes whether an answer came by the connection that was open.
    pub(super) fn note(&self, answered: bool) {
        let mut known = self.lock();
        let Some(open) = known.open.take() else { return };
        if answered {
            *known = Known { good: Some(open), ..Known::default() };
        } else {
            *known = Known { bad: Some(open), ..Known::default() };
        }
    }

    fn sort(&self, addresses: &mut [SocketAddr]) {
        let known = self.lock();
        let place = |wanted| addresses.iter().position(|address| Some(address.ip()) == wanted);
        let (good, bad) = (place(known.good), place(known.bad));
        // At most one of the two is known.
        if let Some(good) = good {
            addresses[..=good].rotate_right(1);
        } else if let Some(bad) = bad {
            addresses[bad..].rotate_left(1);
        }
    }
}

/// The link that connects.
#[derive(Debug)]
pub(super) struct Race(pub(super) Arc<Memory>);

impl<In: Transport> Connector<In> for Race {
    type Out = Either<In, TcpTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let limit = details.timeout;
        let left = limit.not_zero().map_or(Duration::MAX, |left| *left);
        let until = Instant::now().checked_add(left).unwrap_or_else(|| Instant::now() + STEP * 1000);
        let mut addresses: Vec<SocketAddr> = details.addrs.iter().copied().collect();
        self.0.sort(&mut addresses);
        let stream = os::connect_first(&addresses, STEP, until).map_err(|failed| match failed {
            Some((_, error)) => error.into(),
            None => ureq::Error::Timeout(limit.reason),
        })?;
        stream.set_nodelay(true)?;
        self.0.lock().open = stream.peer_addr().ok().map(|peer| peer.ip());
        let options = details.config;
        let buffers = LazyBuffers::new(options.input_buffer_size(), options.output_buffer_size());
        Ok(Some(Either::B(TcpTransport { stream, buffers })))
    }
}

/// A connection. ureq's own can only be made by ureq's own connector.
#[derive(Debug)]
pub(super) struct TcpTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_write_timeout(limit.not_zero().map(|left| *left))?;
        self.stream.write_all(&self.buffers.output()[..amount]).map_err(|error| timed_out(error, limit))
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        let until = limit.not_zero().and_then(|left| Instant::now().checked_add(*left));
        loop {
            // A timeout of zero would mean none.
            let left = until.map(|until| until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
            self.stream.set_read_timeout(left)?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted && left > Some(Duration::from_millis(1)) => {}
                Err(error) => return Err(timed_out(error, limit)),
            }
        }
    }

    /// No connection is kept, so nobody asks.
    fn is_open(&mut self) -> bool {
        true
    }
}

fn timed_out(error: io::Error, limit: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(limit.reason),
        _ => error.into(),
    }
}

/// Splits `host:port`. The host is an address of IPv6 without its brackets, or anything else as it is.
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(memory: &Memory) -> Vec<String> {
        let mut addresses = ["[::1]:1", "10.0.0.1:1", "10.0.0.2:1"].map(|address| address.parse().unwrap());
        memory.sort(&mut addresses);
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_address_that_answered_is_the_first_and_the_one_that_did_not_the_last() {
        let memory = Memory::default();
        assert_eq!(sorted(&memory), ["[::1]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let done = |address: &str, answered| {
            memory.lock().open = Some(address.parse().unwrap());
            memory.note(answered);
        };
        done("10.0.0.2", true);
        assert_eq!(sorted(&memory), ["10.0.0.2:1", "[::1]:1", "10.0.0.1:1"]);
        memory.note(false);
        assert_eq!(sorted(&memory)[0], "10.0.0.2:1", "a name that does not resolve blames no address");
        done("10.0.0.2", false);
        assert_eq!(sorted(&memory), ["[::1]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        done("::1", false);
        assert_eq!(sorted(&memory), ["10.0.0.1:1", "10.0.0.2:1", "[::1]:1"]);
    }

    #[test]
    fn an_interrupted_race_of_addresses_is_won_by_the_one_that_accepts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let stream = os::connect_first(&[closed, closed, good], STEP, until).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let (address, error) = os::connect_first(&[good, closed][1..], STEP, until).unwrap_err().unwrap();
        assert_eq!((address, error.kind()), (closed, io::ErrorKind::ConnectionRefused));
        assert!(os::connect_first(&[good], STEP, Instant::now()).unwrap_err().is_none(), "the time is up");
    }
}
