//! What is asked: a request, and the settings of the client that sends it.

use std::path::PathBuf;
use std::time::Duration;

/// The most redirects that are followed.
pub const MAX_REDIRECTS: usize = 5;

/// What all requests of a [`Client`](super::Client) have in common.
#[derive(Clone)]
pub struct HttpSettings {
    /// For everything from resolving the name to the last byte of the answer, redirects included.
    pub timeout: Duration,
    /// The most bytes of an answer's body.
    pub max_size: u64,
    /// PEM file with the CAs to trust **instead of** the built-in public ones.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate and its intermediates.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with the key of the client certificate, not encrypted.
    pub client_key_file: Option<PathBuf>,
    /// Proxy for http:// URLs, `http://[user:password@]host[:port]`; empty for none.
    pub http_proxy: Option<String>,
    /// Proxy for https:// URLs, likewise.
    pub https_proxy: Option<String>,
    /// Where no proxy is used, see [`bypasses_proxy`](super::bypasses_proxy).
    pub no_proxy: String,
}

/// The methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Without a body.
    Get,
    /// With a body, even if it is empty.
    Post,
}

/// What is sent.
#[derive(Clone)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where to: http:// or https://, without user and password.
    pub url: String,
    /// Names and values; they may hold secrets, so nobody prints them.
    pub headers: Vec<(String, String)>,
    /// What [`Method::Post`] sends.
    pub body: Vec<u8>,
}
