//! A request, and the settings of the client that sends it.

use std::path::PathBuf;
use std::time::Duration;

use super::verify::Fingerprint;

/// The most redirects that are followed.
pub const MAX_REDIRECTS: usize = 5;

/// The most of them that lead to another server.
pub(super) const MAX_AWAY: usize = 3;

/// The settings of a [`Client`](super::Client), for all of its requests.
#[derive(Clone)]
pub struct HttpSettings {
    /// The time for everything from resolving the name to the last byte of the answer, redirects included.
    pub timeout: Duration,
    /// The most bytes of an answer's body.
    pub max_size: u64,
    /// PEM file with the CAs to trust **instead of** the built-in public ones.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 of the only certificate of a server that is accepted, whatever it says.
    pub fingerprint: Option<Fingerprint>,
    /// PEM file with the client certificate and its intermediates.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the key of the client certificate, not encrypted.
    pub client_key_file: Option<PathBuf>,
    /// Proxy for http:// URLs, `http://[user:password@]host[:port]`; empty for none.
    pub http_proxy: Option<String>,
    /// Proxy for https:// URLs, likewise.
    pub https_proxy: Option<String>,
    /// The hosts that are reached without a proxy, see [`bypasses_proxy`](super::bypasses_proxy).
    pub no_proxy: String,
}

/// The methods of HTTP that the agent uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    /// As [`Get`](Self::Get), without the body of the answer.
    Head,
    /// Has a body, even if it is empty.
    Post,
}

#[derive(Clone)]
pub struct Request {
    pub method: Method,
    /// http:// or https://, without user and password.
    pub url: String,
    /// Names and values. They may hold secrets and are never printed.
    pub headers: Vec<(String, String)>,
    /// Sent with [`Method::Post`] only.
    pub body: Vec<u8>,
    pub reads: Reads,
    pub redirects: Redirects,
}

/// The redirects that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Those within the server. They get the whole request.
    Same,
    /// A GET is redirected to other servers too: over https:// and three times at most, without headers of the
    /// caller other than validators, and without client certificate.
    Any,
}

/// How much the sender of a request depends on the body of a 2xx answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// An answer without its whole body is an error.
    Whole,
    /// The status is the answer. Of the body, what can be read within the limit is handed on, and
    /// [`Response::unread`](super::Response::unread) says why it is not whole.
    Beginning,
}
