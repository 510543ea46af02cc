//! The connections between ureq and the network. Each is dialled, metered and guarded here, so that no server can take
//! more time or bytes than the limits allow.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, Transport,
};
use ureq::{Agent, Proxy};

use super::dial::{Memory, Race};
use super::encrypt::TlsLink;
use super::head::{Head, TOO_LONG, TooLong};
use super::meter::{Meter, Misbehaviour};
use super::url::{bare, port};
use crate::os::{self, Family};

/// The size of each of the two buffers of a connection, and so the limit for a line between chunks and for the fields of
/// a head that are read. ureq's own 128 KiB are meant for large transfers.
pub(super) const BUFFER: usize = 16 * 1024;

/// The most addresses of a name that are tried; ureq's own limit.
const MAX_ADDRESSES: usize = 16;

/// The longest search for a name's addresses, whatever the time limit of the exchange is.
const LONGEST: Duration = Duration::from_secs(60);

/// The message about an answer that ended too early.
pub(super) const CUT: &str = "connection ended before the answer was complete";

/// The message about an answer in HTTP/2, which a server for gRPC gives to everybody.
pub const HTTP_2: &str =
    "answers in HTTP/2 only, as a port for gRPC does; use the port for HTTP, which for OTLP is usually 4318";

/// Makes an agent of ureq whose connections obey the limits of `meter`. With a proxy `forward`, requests are sent to
/// that proxy.
pub(super) fn agent(
    config: Config,
    meter: &Arc<Meter>,
    memory: &Arc<Memory>,
    tls: Option<Arc<rustls::ClientConfig>>,
    forward: Option<&Proxy>,
) -> Agent {
    let instead = forward.map(|proxy| (proxy.host().to_owned(), proxy.port()));
    let chain =
        ().chain(ConnectProxyConnector::default())
            .chain(Race(memory.clone()))
            .chain(Counter(meter.clone()))
            .chain(TlsLink { tls, meter: meter.clone() })
            .chain(Guard { forward: forward.is_some() });
    let dial = Dialler { meter: meter.clone(), chain: Box::new(chain) };
    Agent::with_parts(config, dial, Names { meter: meter.clone(), instead })
}

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{host}: {why}")]
pub(super) struct ResolveError {
    pub(super) host: String,
    pub(super) why: String,
}

/// Resolves names on this thread, within the time that is left. ureq's own resolver starts a thread each time and leaves
/// it behind while DNS hangs.
#[derive(Debug)]
struct Names {
    meter: Arc<Meter>,
    /// The proxy that forwards requests. Then its name is the only one to resolve.
    instead: Option<(String, u16)>,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        limit: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (host, port) = match &self.instead {
            Some((host, port)) => (host.as_str(), *port),
            None => (uri.host().unwrap_or(""), port(uri)),
        };
        let unresolved = |why: String| {
            let host = host.to_owned();
            ureq::Error::Other(Box::new(ResolveError { host, why }))
        };
        let left = self.meter.within(limit)?.not_zero().map_or(LONGEST, |left| *left);
        let found = os::look_up(&bare(host).replace("%25", "%"), port, Family::Any, Instant::now() + left.min(LONGEST))
            .map_err(unresolved)?;
        self.meter.within(limit)?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(MAX_ADDRESSES) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// Connects within the time that is left. The chain does everything else.
#[derive(Debug)]
struct Dialler {
    meter: Arc<Meter>,
    chain: Box<dyn Connector<(), Out = Box<dyn Transport>>>,
}

impl Connector<()> for Dialler {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: self.meter.within(details.timeout)?,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.chain.connect(&details, chained)
    }
}

/// Counts the bytes below TLS, and ends the connection when time or bytes run out.
#[derive(Debug)]
struct Counter(Arc<Meter>);

impl<In: Transport> Connector<In> for Counter {
    type Out = CountedTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<CountedTransport>, ureq::Error> {
        let options = details.config;
        Ok(chained.map(|inner| CountedTransport {
            inner: Box::new(inner),
            meter: self.0.clone(),
            // A tunnel uses a connection to the proxy, which is counted already.
            counts: options.proxy().is_none(),
        }))
    }
}

#[derive(Debug)]
struct CountedTransport {
    inner: Box<dyn Transport>,
    meter: Arc<Meter>,
    counts: bool,
}

impl Transport for CountedTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), ureq::Error> {
        if self.counts {
            self.meter.sent(amount);
        }
        self.inner.transmit_output(amount, self.meter.within(limit)?)
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        let before = self.inner.buffers().input().len();
        let more = self.inner.await_input(self.meter.within(limit)?)?;
        if self.counts {
            self.meter.received(self.inner.buffers().input().len() - before)?;
        }
        Ok(more)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// The last link of the chain, from which ureq reads and to which it writes.
#[derive(Debug)]
struct Guard {
    /// Whether requests go to a proxy that forwards them.
    forward: bool,
}

impl<In: Transport> Connector<In> for Guard {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let authority = details.uri.authority().filter(|_| self.forward);
        Ok(chained.map(|inner| {
            let prefix = authority.map(|authority| format!("http://{authority}"));
            Box::new(GuardedTransport { inner, prefix, head: Phase::Sending }) as Box<dyn Transport>
        }))
    }
}

#[derive(Debug)]
struct GuardedTransport<T> {
    inner: T,
    /// The text to put before the path of the request, until that is done. A proxy wants the whole URL there, and ureq
    /// supports proxies with CONNECT only, which many refuse for port 80.
    prefix: Option<String>,
    head: Phase,
}

/// The owner of the buffers that ureq reads from.
#[derive(Debug)]
enum Phase {
    /// The inner ones, and nothing has come yet.
    Sending,
    Head(Head),
    /// The inner ones again.
    Body,
}

impl<T: Transport> GuardedTransport<T> {
    /// Reads the whole head. Returns false if the connection has ended before its first byte.
    fn await_head(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        let mut head = Head::default();
        while !head.is_complete() {
            let input = self.inner.buffers().input();
            if head.is_empty() && is_http_2(input) {
                return Err(io::Error::other(Misbehaviour::Otherwise(HTTP_2)).into());
            }
            let is_empty = input.is_empty();
            let used = head.feed(input).map_err(|TooLong| io::Error::other(Misbehaviour::Otherwise(TOO_LONG)))?;
            self.inner.buffers().input_consume(used);
            if !head.is_complete() && !self.await_inner(limit)? {
                if is_empty && used == 0 && head.is_empty() {
                    return Ok(false);
                }
                head.give_up();
            }
        }
        self.head = Phase::Head(head);
        Ok(true)
    }

    /// ureq takes a reset, and an end of TLS without the peer's consent, for the end of a body without length. The body
    /// may then be half a config, so both become errors that ureq passes on.
    fn await_inner(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        if self.inner.buffers().input().len() >= BUFFER {
            // The buffer is full without a complete line or head, and ureq would take that for the end.
            return Err(io::Error::other(Misbehaviour::Otherwise(TOO_LONG)).into());
        }
        self.inner.await_input(limit).map_err(|error| match error {
            ureq::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) =>
            {
                io::Error::other(Misbehaviour::Otherwise(CUT)).into()
            }
            other => other,
        })
    }
}

impl<T: Transport> Transport for GuardedTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        if matches!(&self.head, Phase::Head(head) if head.is_consumed()) {
            self.head = Phase::Body;
        }
        match &mut self.head {
            Phase::Head(head) => head,
            Phase::Sending | Phase::Body => self.inner.buffers(),
        }
    }

    fn transmit_output(&mut self, mut amount: usize, limit: NextTimeout) -> Result<(), ureq::Error> {
        if let Some(prefix) = self.prefix.take() {
            let output = self.inner.buffers().output();
            let path = output[..amount].iter().position(|byte| *byte == b' ');
            let (Some(path), true) = (path, amount + prefix.len() <= output.len()) else {
                return Err(io::Error::other(Misbehaviour::Otherwise("request does not fit a proxy")).into());
            };
            let path = path + 1;
            output.copy_within(path..amount, path + prefix.len());
            output[path..][..prefix.len()].copy_from_slice(prefix.as_bytes());
            amount += prefix.len();
        }
        self.inner.transmit_output(amount, limit)
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        match &self.head {
            Phase::Sending => self.await_head(limit),
            // It is whole, and ureq could not read it: the connection has ended early.
            Phase::Head(_) => Ok(false),
            Phase::Body => self.await_inner(limit),
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Whether an answer begins with a frame of settings, as each one in HTTP/2 does (RFC 9113, sections 3.4 and 4.1): three
/// bytes of length, the type 4, no flags and the stream 0. HTTP/1.1 has no zero bytes there.
fn is_http_2(input: &[u8]) -> bool {
    matches!(input, [0, _, _, 4, 0, 0, 0, 0, 0, ..])
}
