//! TLS on a connection. It also reads the expiry date of the server's certificate.
//!
//! ureq has a TLS link of its own, but it gives no access to the certificate. This file takes no part in the decision
//! about trust: rustls decides, with the settings from `tls`.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::certificate;
use super::meter::Meter;
use super::url::bare;

/// Encrypts connections for https:// and leaves others as they are.
#[derive(Debug)]
pub(super) struct TlsLink {
    /// `None` for a route that is never encrypted.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) meter: Arc<Meter>,
}

impl<In: Transport> Connector<In> for TlsLink {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let tls = self.tls.clone().ok_or(ureq::Error::Tls("this route has no TLS"))?;
        // The zone of an address is this host's own affair.
        let host = bare(details.uri.host().unwrap_or(""));
        let name = ServerName::try_from(host.split('%').next().unwrap_or(host).to_owned());
        let name = name.map_err(|_| ureq::Error::Tls("the server's name cannot be in a certificate"))?;

        let mut conn = ClientConnection::new(tls, name)?;
        let mut sock = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        sock.set_timeout(details.timeout);
        let done = conn.complete_io(&mut sock);
        // Also of a server that ended TLS afterwards: then it did not like what this side showed.
        let shown = conn.peer_certificates().and_then(|chain| chain.first());
        self.meter.note_certificate(shown.and_then(|shown| certificate::not_after(shown)));
        done?;
        let options = details.config;
        let buffers = LazyBuffers::new(options.input_buffer_size(), options.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned { conn, sock } })))
    }
}

pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsTransport").field(self.stream.sock.inner()).finish()
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(limit);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(limit);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
