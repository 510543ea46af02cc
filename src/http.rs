//! One request, one answer over HTTP/1.1, with a limit on everything: time, bytes, redirects.
//!
//! It blocks, so it is called from short-lived threads only. It never weakens TLS, never goes to another host than it was
//! told, keeps no connection and no cookie, decodes no compression, and takes proxies from the settings alone.

use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, CertificateError, InvalidMessage, RootCertStore};
use ureq::http::uri::{Authority, Scheme};
use ureq::http::{HeaderName, HeaderValue, Uri, header};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector,
    Transport, time,
};
use ureq::{Agent, Proxy};

use crate::units::{format_size, format_time};

#[cfg(test)]
#[path = "../tests/promises/server.rs"]
pub(crate) mod test_server;

/// The most redirects that are followed.
pub const MAX_REDIRECTS: usize = 5;

/// Size of each of the two buffers of a connection, and so the most that the head of an answer may have: ten times
/// what servers send. ureq's own 128 KiB serve large transfers.
const BUFFER: usize = 16 * 1024;

/// The most addresses of a name that are tried; ureq's own limit.
const MAX_ADDRESSES: usize = 16;

/// The most bytes of a file with certificates: those of all public CAs take 220 KB.
const MAX_PEM: u64 = 2 * 1024 * 1024;

/// The most bytes that a mere promise of the server makes us reserve.
const MAX_RESERVE: u64 = 4 * 1024 * 1024;

/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What all requests of a [`Client`] have in common.
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
    /// Where no proxy is used, see [`bypasses_proxy`].
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

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Any status, also those that mean failure.
    pub status: u16,
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Last-Modified` header.
    pub last_modified: Option<String>,
    /// How long the server wants to be left alone; at most a day.
    pub retry_after: Option<Duration>,
    /// The `Location` header.
    pub location: Option<String>,
    /// The body of a 2xx answer; that of others is not read.
    pub body: Vec<u8>,
    /// What this took on the wire, TLS and proxy included, TCP's own headers not.
    pub traffic: Traffic,
}

/// Bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// From us.
    pub sent: u64,
    /// To us.
    pub received: u64,
}

/// Why there is no answer, or none that serves. URLs in it have neither query nor user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HttpError {
    /// A setting or a file that it names cannot be used.
    #[error("{what}: {why}")]
    Settings {
        /// The setting or the file.
        what: String,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// The host is not known.
    #[error("{url}: name {host} does not resolve: {why}")]
    Resolve {
        /// Where to.
        url: String,
        /// The server's name, or the proxy's.
        host: String,
        /// The system's words.
        why: String,
    },
    /// No connection.
    #[error("{url}: {why}")]
    Connect {
        /// Where to.
        url: String,
        /// The system's words, or the proxy's.
        why: String,
    },
    /// TLS did not come about.
    #[error("{url}: {why}")]
    Tls {
        /// Where to.
        url: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// The time is up.
    #[error("{url}: did not answer within {}", format_time(*limit))]
    Timeout {
        /// Where to.
        url: String,
        /// [`HttpSettings::timeout`].
        limit: Duration,
    },
    /// An answer, but not the one that was asked for. For those who judge a [`Response`].
    #[error("{url}: answered {status}{advice}")]
    Status {
        /// Where to.
        url: String,
        /// Its status.
        status: u16,
        /// The way out, with its separator, or nothing.
        advice: &'static str,
    },
    /// A body larger than allowed.
    #[error("{url}: body is larger than config.max_size {}", format_size(*limit))]
    TooLarge {
        /// Where to.
        url: String,
        /// [`HttpSettings::max_size`].
        limit: u64,
    },
    /// A redirect that is not followed.
    #[error("{url}: {why}")]
    Redirect {
        /// Where to.
        url: String,
        /// Where it points and the way out.
        why: String,
    },
    /// What came is not an answer in HTTP.
    #[error("{url}: {why}")]
    Protocol {
        /// Where to.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl HttpError {
    /// A word for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "settings",
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::Status { .. } => "status",
            Self::TooLarge { .. } => "size",
            Self::Redirect { .. } => "redirect",
            Self::Protocol { .. } => "protocol",
        }
    }
}

/// Sends requests, one at a time: who comes second waits.
pub struct Client {
    settings: HttpSettings,
    crypto: Arc<CryptoProvider>,
    wire: Arc<Wire>,
    built: Mutex<Built>,
}

/// What is made from the files, and kept while they stay as they are.
#[derive(Default)]
struct Built {
    stamps: [Option<Stamp>; 3],
    tls: Option<TlsConfig>,
    agents: Vec<(Route, Agent)>,
}

/// The four ways to a server; each has an agent of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Route {
    Http,
    HttpProxy,
    Https,
    HttpsProxy,
}

impl Route {
    fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::HttpsProxy)
    }
}

impl Client {
    /// Checks the settings. The files that they name are read with the first request, so that they may still come.
    ///
    /// # Errors
    ///
    /// [`HttpError::Settings`] for a proxy that is not `http://host:port`, and for a client certificate without key or a key
    /// without certificate.
    pub fn new(settings: &HttpSettings) -> Result<Self, HttpError> {
        for (name, proxy) in
            [("config.http_proxy", &settings.http_proxy), ("config.https_proxy", &settings.https_proxy)]
        {
            if let Some(proxy) = configured(proxy) {
                parse_proxy(proxy).map_err(|why| HttpError::Settings { what: name.into(), why: why.into() })?;
            }
        }
        let (given, missing) = match (&settings.client_cert_file, &settings.client_key_file) {
            (Some(_), None) => ("config.client_cert_file", "config.client_key_file"),
            (None, Some(_)) => ("config.client_key_file", "config.client_cert_file"),
            _ => {
                return Ok(Self {
                    settings: settings.clone(),
                    crypto: Arc::new(rustls::crypto::ring::default_provider()),
                    wire: Arc::default(),
                    built: Mutex::default(),
                });
            }
        };
        Err(HttpError::Settings { what: given.into(), why: format!("needs {missing} as well") })
    }

    /// What all requests together took on the wire, also those that failed.
    pub fn traffic(&self) -> Traffic {
        self.wire.lock().traffic
    }

    /// Sends one request and waits for the whole answer.
    ///
    /// Redirects are followed up to [`MAX_REDIRECTS`] times within the same host, scheme and port, or from http to https
    /// on the same host when the port stays or goes from 80 to 443; so no header reaches another server. A POST
    /// follows 307 and 308 only.
    ///
    /// # Errors
    ///
    /// An [`HttpError`], whatever the server does, within the time limit. One thing may take longer: the
    /// system's resolver knows no limit, but after it nothing more is sent.
    pub fn send(&self, request: &Request) -> Result<Response, HttpError> {
        // Held for the whole exchange: the limits and counts in `wire` are those of one request.
        let mut built = self.built.lock().expect("no panic while it is held");
        let before = self.traffic();
        // Chunks, heads, certificates and early hints come on top of the body, but not without end.
        let allowance = 256 * 1024 + self.settings.max_size.saturating_mul(2);
        self.wire.begin(self.settings.timeout, allowance);

        let mut uri = parse_url(&request.url)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut response = self.once(&mut built, &uri, request)?;
            if let Some(location) = redirects(&response) {
                let next = redirect(&uri, location, response.status, request.method);
                uri = next.map_err(|why| HttpError::Redirect { url: public(&uri), why })?;
                continue;
            }
            let after = self.traffic();
            response.traffic = Traffic { sent: after.sent - before.sent, received: after.received - before.received };
            return Ok(response);
        }
        Err(HttpError::Redirect {
            url: public(&parse_url(&request.url)?),
            why: format!(
                "redirects more than {MAX_REDIRECTS} times, at last to {}; set config.url to where the config is",
                public(&uri)
            ),
        })
    }

    fn once(&self, built: &mut Built, uri: &Uri, request: &Request) -> Result<Response, HttpError> {
        let route = self.route(uri);
        let agent = self.agent(built, route)?;
        let fail = |error| self.explain(error, uri, route);

        let mut builder = ureq::http::Request::builder().uri(uri.clone()).method(match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
        });
        for (name, value) in &request.headers {
            let (name, value) = check_header(name, value)?;
            builder = builder.header(name, value);
        }
        // Nothing is kept open, and the server should know.
        builder = builder.header(header::CONNECTION, "close");
        if route == Route::HttpProxy
            && let Some(credentials) = self.proxy(route).as_ref().and_then(credentials)
        {
            builder = builder.header(header::PROXY_AUTHORIZATION, credentials);
        }
        let answer = match request.method {
            Method::Get => builder.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
            Method::Post => {
                builder.body(&request.body[..]).map_err(ureq::Error::from).and_then(|request| agent.run(request))
            }
        };
        let mut answer = answer.map_err(fail)?;

        let text = |name: HeaderName| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let mut response = Response {
            status: answer.status().as_u16(),
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            retry_after: text(header::RETRY_AFTER).and_then(|value| {
                let date = text(header::DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
                retry_after(&value, date.unwrap_or_else(SystemTime::now))
            }),
            location: text(header::LOCATION),
            body: Vec::new(),
            traffic: Traffic::default(),
        };
        if !answer.status().is_success() {
            return Ok(response);
        }
        if let Some(encoding) = text(header::CONTENT_ENCODING)
            && !encoding.eq_ignore_ascii_case("identity")
        {
            return Err(HttpError::Protocol {
                url: public(uri),
                why: format!("answered with content-encoding {encoding:.20}, which was not asked for"),
            });
        }
        let limit = self.settings.max_size;
        let too_large = || HttpError::TooLarge { url: public(uri), limit };
        let promised = answer.body().content_length();
        if promised.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        // Known lengths are reserved at once: growing step by step takes up to twice the memory.
        let promised = promised.unwrap_or(0).min(MAX_RESERVE) as usize;
        response.body.reserve_exact(promised);
        answer
            .body_mut()
            .as_reader()
            .take(limit.saturating_add(1))
            .read_to_end(&mut response.body)
            .map_err(|error| fail(error.into()))?;
        if response.body.len() as u64 > limit {
            return Err(too_large());
        }
        Ok(response)
    }

    /// The proxy's URL, when one is set for this scheme and not switched off for this host.
    fn route(&self, uri: &Uri) -> Route {
        let tls = is_https(uri);
        let proxy = match tls {
            true => configured(&self.settings.https_proxy),
            false => configured(&self.settings.http_proxy),
        };
        let direct = proxy.is_none() || bypasses_proxy(&self.settings.no_proxy, uri.host().unwrap_or(""), port(uri));
        match (tls, direct) {
            (false, true) => Route::Http,
            (false, false) => Route::HttpProxy,
            (true, true) => Route::Https,
            (true, false) => Route::HttpsProxy,
        }
    }

    fn proxy(&self, route: Route) -> Option<Proxy> {
        let proxy = match route {
            Route::HttpProxy => configured(&self.settings.http_proxy),
            Route::HttpsProxy => configured(&self.settings.https_proxy),
            Route::Http | Route::Https => None,
        };
        proxy.map(|proxy| parse_proxy(proxy).expect("checked when the client was made"))
    }

    fn agent(&self, built: &mut Built, route: Route) -> Result<Agent, HttpError> {
        if route.is_tls() {
            self.refresh(built)?;
        }
        if let Some((_, agent)) = built.agents.iter().find(|(for_, _)| *for_ == route) {
            return Ok(agent.clone());
        }
        let proxy = self.proxy(route);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            // Less would also refuse an interim answer with much behind it; a full buffer is seen by `Guarded`.
            .max_response_header_size(BUFFER)
            .timeout_global(Some(self.settings.timeout))
            // ureq would send its own.
            .user_agent(USER_AGENT)
            .accept("")
            .accept_encoding("")
            .tls_config(match &built.tls {
                Some(tls) if route.is_tls() => tls.clone(),
                _ => TlsConfig::default(),
            })
            // Must be said: otherwise ureq looks into the environment.
            .proxy(proxy.clone().filter(|_| route == Route::HttpsProxy))
            .build();
        let forward = proxy.filter(|_| route == Route::HttpProxy);
        let resolver =
            Resolve { wire: self.wire.clone(), instead: forward.as_ref().map(|p| (p.host().to_owned(), p.port())) };
        let dial = Dial {
            wire: self.wire.clone(),
            chain: Box::new(
                ().chain(ConnectProxyConnector::default())
                    .chain(TcpConnector::default())
                    .chain(Count(self.wire.clone()))
                    .chain(RustlsConnector::default())
                    .chain(Guard { forward: forward.is_some() }),
            ),
        };
        let agent = Agent::with_parts(config, dial, resolver);
        built.agents.push((route, agent.clone()));
        Ok(agent)
    }

    /// Reads the certificates and the key again if one of the files has changed.
    fn refresh(&self, built: &mut Built) -> Result<(), HttpError> {
        let settings = &self.settings;
        let files = [&settings.ca_file, &settings.client_cert_file, &settings.client_key_file];
        let mut stamps = [None; 3];
        for (file, seen) in files.iter().zip(&mut stamps) {
            if let Some(path) = file {
                *seen = Some(stamp(path).map_err(|error| unreadable(path, &error))?);
            }
        }
        if built.tls.is_some() && built.stamps == stamps {
            return Ok(());
        }
        let roots = match &settings.ca_file {
            None => RootCerts::WebPki,
            Some(path) => {
                let certificates = certificates(path)?;
                let mut store = RootCertStore::empty();
                let (usable, _) = store.add_parsable_certificates(certificates.iter().map(|c| c.der().into()));
                if usable == 0 {
                    return Err(bad_file(path, "no certificate in it can be used as a CA"));
                }
                RootCerts::new_with_certs(&certificates)
            }
        };
        let client = match (&settings.client_cert_file, &settings.client_key_file) {
            (Some(cert), Some(key)) => Some(self.client_cert(cert, key)?),
            _ => None,
        };
        built.tls = Some(
            TlsConfig::builder()
                .root_certs(roots)
                .client_cert(client)
                .unversioned_rustls_crypto_provider(self.crypto.clone())
                .build(),
        );
        built.stamps = stamps;
        built.agents.clear();
        Ok(())
    }

    /// Reads the client certificate and proves that the key belongs to it: ureq panics if it does not.
    fn client_cert(&self, cert: &Path, key: &Path) -> Result<ClientCert, HttpError> {
        use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

        let chain = certificates(cert)?;
        let pem = read_regular(key, MAX_PEM).map_err(|error| unreadable(key, &error))?;
        let (Ok(der), Ok(private)) = (PrivateKeyDer::from_pem_slice(&pem), PrivateKey::from_pem(&pem)) else {
            return Err(bad_file(key, "no private key in PEM; an encrypted one must be decrypted first"));
        };
        let ders = chain.iter().map(|c| c.der().to_vec().into()).collect();
        rustls::sign::CertifiedKey::from_der(ders, der, &self.crypto).map_err(|error| {
            let why = format!("does not fit {}: {error}", cert.display());
            bad_file(key, &why)
        })?;
        Ok(ClientCert::new_with_certs(&chain, private))
    }

    fn explain(&self, error: ureq::Error, uri: &Uri, route: Route) -> HttpError {
        let mut url = public(uri);
        if let Some(proxy) = self.proxy(route) {
            url += &format!(" by proxy {}:{}", proxy.host(), proxy.port());
        }
        let protocol = |url, why: &str| HttpError::Protocol { url, why: why.to_owned() };
        match error {
            ureq::Error::Timeout(_) => HttpError::Timeout { url, limit: self.settings.timeout },
            ureq::Error::Other(error) => match error.downcast::<Unresolved>() {
                Ok(unresolved) => HttpError::Resolve { url, host: unresolved.host, why: unresolved.why },
                Err(other) => protocol(url, &other.to_string()),
            },
            ureq::Error::Io(error) => {
                let inner = error.get_ref();
                if let Some(tls) = inner.and_then(|e| e.downcast_ref()) {
                    self.explain_tls(tls, url)
                } else if let Some(Misbehaved(why)) = inner.and_then(|e| e.downcast_ref()) {
                    protocol(url, why)
                } else if error.kind() == io::ErrorKind::UnexpectedEof {
                    protocol(url, CUT)
                } else {
                    HttpError::Connect { url, why: error.to_string() }
                }
            }
            ureq::Error::Rustls(error) => self.explain_tls(&error, url),
            ureq::Error::Tls(why) => HttpError::Tls { url, why: why.to_owned() },
            ureq::Error::ConnectProxyFailed(mut why) => {
                if why.contains("407") {
                    why += "; it wants a user and password: http://user:password@host:port";
                }
                HttpError::Connect { url, why }
            }
            ureq::Error::Protocol(error) => protocol(url, &format!("answer is not valid HTTP: {error}")),
            other => protocol(url, &other.to_string()),
        }
    }

    fn explain_tls(&self, error: &rustls::Error, url: String) -> HttpError {
        use CertificateError as C;
        let why = match error {
            // A private CA that was made anew under its old name shows as a bad signature.
            rustls::Error::InvalidCertificate(trust @ (C::UnknownIssuer | C::BadSignature)) => {
                let advice = match self.settings.ca_file {
                    Some(_) => "the server's CA is not in config.ca_file",
                    None => "set config.ca_file if the server has a private CA",
                };
                format!("certificate is not trusted: {trust:?}; {advice}")
            }
            rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
                "certificate has expired; if not, this host's clock is wrong".to_owned()
            }
            rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
                "certificate is not valid yet; if it is, this host's clock is wrong".to_owned()
            }
            rustls::Error::InvalidCertificate(C::NotValidForNameContext { presented, .. }) => {
                format!("certificate is for another name: {}", presented.join(", "))
            }
            rustls::Error::InvalidCertificate(other) => {
                format!("certificate is not trusted: {other}")
            }
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
            ) if self.settings.client_cert_file.is_none() => {
                "server ended TLS; if it wants a client certificate, set config.client_cert_file and \
                 config.client_key_file"
                    .to_owned()
            }
            rustls::Error::AlertReceived(alert) => format!("server ended TLS: {alert:?}"),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                "answer is not TLS; is this an http:// server?".to_owned()
            }
            other => format!("TLS failed: {other}"),
        };
        HttpError::Tls { url, why }
    }
}

/// Sent with each request that has none of its own, and to proxies.
pub const USER_AGENT: &str = concat!("otelet/", env!("CARGO_PKG_VERSION"));

/// What is said of an answer that ended too early.
const CUT: &str = "connection ended before the answer was complete";

/// What is said of a head, or of a line between chunks, that does not fit [`BUFFER`].
const TOO_LONG: &str = "a line or the head of the answer is larger than 16KiB";

/// Checks that a URL is one that [`Client::send`] takes.
///
/// # Errors
///
/// [`HttpError::Settings`] in terms of `config.url`.
pub fn parse_url(url: &str) -> Result<Uri, HttpError> {
    let bad = |why: &str| HttpError::Settings { what: "config.url".into(), why: why.into() };
    // The URL itself is not repeated: what cannot be parsed may hide a password anywhere.
    let uri: Uri = url.parse().map_err(|error| bad(&format!("not a URL: {error}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("must start with http:// or https://"));
    }
    let authority = uri.authority().ok_or_else(|| bad("has no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("has a user or password in it; use config.headers or config.bearer_token_file"));
    }
    if !is_host_and_port(authority) {
        return Err(bad("has no usable host and port"));
    }
    Ok(uri)
}

/// Whether there is a host, and either no port or a number that can be one: to the parser, `h:x` has no port.
fn is_host_and_port(authority: &Authority) -> bool {
    let rest = authority.as_str().rsplit('@').next().unwrap_or("");
    match authority.port_u16() {
        Some(port) => port != 0 && !authority.host().is_empty(),
        None => !rest.is_empty() && rest == authority.host(),
    }
}

/// Checks that a header can be sent, and that it is not one of those which HTTP itself needs.
///
/// # Errors
///
/// [`HttpError::Settings`] that names the header but never the value.
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HttpError> {
    let bad = |why: &str| HttpError::Settings { what: format!("config.headers.{name}"), why: why.into() };
    let key = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| bad("not the name of a header; use letters, digits and -"))?;
    let ours = [
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "expect",
        "upgrade",
        "proxy-authorization",
    ];
    if ours.contains(&key.as_str()) {
        return Err(bad("is set by the agent itself; leave it out"));
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| bad("its value has a line break or another character that HTTP forbids"))?;
    Ok((key, value))
}

/// A URL as it may be printed: without query and user.
pub fn public(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host}{}", uri.path())
}

/// Whether a host is reached without a proxy.
///
/// `no_proxy` is a list with commas or spaces between. `*` means every host; `example.com` that name and all below it,
/// `.example.com` only those below; `10.0.0.1` an address, `10.0.0.0/8` and `fd00::/8` a network; any but a network may
/// end in `:port`. `localhost` and loopback addresses never use a proxy. These are the rules of Go programs, so the
/// Collector reads the same list in the same way.
pub fn bypasses_proxy(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return address.is_some_and(|address| is_within(address, network, bits));
        }
        // An IPv6 address without brackets has colons of its own.
        let (name, only) = match entry.rsplit_once(':') {
            Some((name, only)) if !name.contains(':') || name.ends_with(']') => (name, only.parse().ok()),
            _ => (entry, Some(port)),
        };
        if only != Some(port) {
            return false;
        }
        if let Some(address) = address {
            return bare(name).parse() == Ok(address);
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match host.strip_suffix(name.trim_start_matches('.')) {
            None => false,
            Some("") => !name.starts_with('.'),
            Some(below) => below.ends_with('.') && name.len() > 1,
        }
    })
}

/// The time to wait that a `Retry-After` header asks for, either in seconds or as a date; at most a day.
///
/// `now` is best the server's own `Date`, since the clocks of edge hosts are often wrong.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean very long.
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// What tells one state of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) modified: SystemTime,
    pub(crate) len: u64,
}

impl Stamp {
    /// # Errors
    ///
    /// For anything but a regular file.
    pub(crate) fn of(metadata: &std::fs::Metadata) -> io::Result<Self> {
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self { modified: metadata.modified()?, len: metadata.len() })
    }
}

/// Looks at a file, or at the one that a link leads to.
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    Stamp::of(&std::fs::metadata(path)?)
}

/// Reads a regular file up to a limit. Looks before it opens, because opening a FIFO waits for its writer.
pub(crate) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    stamp(path)?;
    let mut file = std::fs::File::open(path)?;
    let len = Stamp::of(&file.metadata()?)?.len;
    let too_large = || io::Error::other(format!("is larger than {}", format_size(limit)));
    if len > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    bytes.reserve_exact(len as usize + 1);
    file.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, HttpError> {
    let pem = read_regular(path, MAX_PEM).map_err(|error| unreadable(path, &error))?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(bad_file(path, &format!("not valid PEM: {error}"))),
        }
    }
    if certificates.is_empty() {
        return Err(bad_file(path, "no certificate in PEM in it"));
    }
    Ok(certificates)
}

fn bad_file(path: &Path, why: &str) -> HttpError {
    HttpError::Settings { what: path.display().to_string(), why: why.to_owned() }
}

fn unreadable(path: &Path, error: &io::Error) -> HttpError {
    bad_file(path, &format!("cannot read: {error}"))
}

fn configured(proxy: &Option<String>) -> Option<&str> {
    proxy.as_deref().filter(|proxy| !proxy.is_empty())
}

fn parse_proxy(proxy: &str) -> Result<Proxy, &'static str> {
    // Neither the proxy nor what is wrong with it is repeated: it may hold a password.
    let parsed = Proxy::new(proxy).map_err(|_| "not a proxy; write http://host:port")?;
    if parsed.uri().authority().is_none_or(|a| !is_host_and_port(a)) {
        return Err("not a proxy; write http://host:port");
    }
    if parsed.protocol() != ureq::ProxyProtocol::Http {
        return Err("only http:// proxies are supported; through them https:// is encrypted all the way");
    }
    Ok(parsed)
}

/// The value of `Proxy-Authorization`, when the proxy's URL has a user.
fn credentials(proxy: &Proxy) -> Option<String> {
    let user = proxy.username()?;
    let pair = format!("{user}:{}", proxy.password().unwrap_or(""));
    Some(format!("Basic {}", base64(pair.as_bytes())))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { digit as char } else { '=' });
        }
    }
    text
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

fn port(uri: &Uri) -> u16 {
    let default = if is_https(uri) { 443 } else { 80 };
    uri.port_u16().unwrap_or(default)
}

/// A host without the brackets around an IPv6 address.
fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let Ok(bits) = bits.parse::<u32>() else {
        return false;
    };
    let (address, network, width) = match (address, network.parse()) {
        (IpAddr::V4(a), Ok(IpAddr::V4(n))) => (a.to_bits().into(), n.to_bits().into(), 32),
        (IpAddr::V6(a), Ok(IpAddr::V6(n))) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let ignored = match width - bits.min(width) {
        _ if bits > width => return false,
        128 => return true,
        ignored => ignored,
    };
    address >> ignored == network >> ignored
}

fn redirects(response: &Response) -> Option<&str> {
    let location = response.location.as_deref()?;
    matches!(response.status, 301 | 302 | 303 | 307 | 308).then_some(location)
}

/// Where a redirect leads, if it may be followed.
fn redirect(from: &Uri, location: &str, status: u16, method: Method) -> Result<Uri, String> {
    if method == Method::Post && status < 307 {
        return Err(format!("answered a POST with {status}; only 307 and 308 keep its body"));
    }
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let base = format!("{}://{authority}", from.scheme_str().unwrap_or("http"));
    let location = location.split('#').next().unwrap_or("");
    let absolute = if location.starts_with("//") {
        format!("{}:{location}", from.scheme_str().unwrap_or("http"))
    } else if location.starts_with('/') {
        base + location
    } else if location.starts_with('?') {
        base + from.path() + location
    } else if location.split(['/', '?']).next().is_some_and(|start| start.contains(':')) {
        location.to_owned()
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{base}{folder}/{location}")
    };
    let to = parse_url(&absolute).map_err(|_| "redirects to something that is not a usable http:// or https:// URL")?;

    let same_host = from.host().unwrap_or("").eq_ignore_ascii_case(to.host().unwrap_or(""));
    let same_port = port(from) == port(&to);
    let why = match (is_https(from), is_https(&to)) {
        _ if !same_host => "another host",
        (true, false) => "which is not encrypted",
        (false, true) if same_port || (port(from), port(&to)) == (80, 443) => return Ok(to),
        _ if same_port => return Ok(to),
        _ => "another port",
    };
    Err(format!("redirects to {}, {why}; set config.url to it if that is right", public(&to)))
}

/// What is counted and limited for the exchange at hand, shared with what ureq calls.
#[derive(Debug, Default)]
struct Wire(Mutex<WireState>);

#[derive(Debug, Default)]
struct WireState {
    traffic: Traffic,
    deadline: Option<Instant>,
    /// Bytes that may still come.
    allowance: u64,
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, WireState> {
        self.0.lock().expect("no panic while it is held")
    }

    fn begin(&self, timeout: Duration, allowance: u64) {
        let mut state = self.lock();
        state.deadline = Instant::now().checked_add(timeout);
        state.allowance = allowance;
    }

    /// Shortens a time limit of ureq's, which may be that of a single step, to what is left of the whole.
    fn within(&self, mut limit: NextTimeout) -> Result<NextTimeout, ureq::Error> {
        if let Some(deadline) = self.lock().deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ureq::Error::Timeout(ureq::Timeout::Global));
            }
            limit.after = limit.after.min(time::Duration::Exact(left));
        }
        Ok(limit)
    }
}

/// The peer did something that no honest one does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misbehaved(&'static str);

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{host}: {why}")]
struct Unresolved {
    host: String,
    why: String,
}

/// Asks the system on this thread. ureq's own resolver starts a thread each time and leaves it behind while DNS hangs.
#[derive(Debug)]
struct Resolve {
    wire: Arc<Wire>,
    /// The proxy that requests are sent to as they are: the only name that is looked up then.
    instead: Option<(String, u16)>,
}

impl Resolver for Resolve {
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
            ureq::Error::Other(Box::new(Unresolved { host, why }))
        };
        let found = (bare(host), port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?;
        self.wire.within(limit)?;
        let mut addresses = self.empty();
        for address in found.take(MAX_ADDRESSES) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(unresolved("no address".to_owned()));
        }
        Ok(addresses)
    }
}

/// Connects within what is left of the time. Everything else is in the chain.
#[derive(Debug)]
struct Dial {
    wire: Arc<Wire>,
    chain: Box<dyn Connector<(), Out = Box<dyn Transport>>>,
}

impl Connector<()> for Dial {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: self.wire.within(details.timeout)?,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.chain.connect(&details, chained)
    }
}

/// Counts what passes, below TLS, and ends it when time or bytes run out.
#[derive(Debug)]
struct Count(Arc<Wire>);

impl<In: Transport> Connector<In> for Count {
    type Out = Counted;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Counted>, ureq::Error> {
        Ok(chained.map(|inner| Counted {
            inner: Box::new(inner),
            wire: self.0.clone(),
            // A tunnel lies on a connection to the proxy, which counts already.
            counts: details.config.proxy().is_none(),
        }))
    }
}

#[derive(Debug)]
struct Counted {
    inner: Box<dyn Transport>,
    wire: Arc<Wire>,
    counts: bool,
}

impl Transport for Counted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, limit: NextTimeout) -> Result<(), ureq::Error> {
        if self.counts {
            self.wire.lock().traffic.sent += amount as u64;
        }
        self.inner.transmit_output(amount, self.wire.within(limit)?)
    }

    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        let before = self.inner.buffers().input().len();
        let more = self.inner.await_input(self.wire.within(limit)?)?;
        if self.counts {
            let got = (self.inner.buffers().input().len() - before) as u64;
            let mut state = self.wire.lock();
            state.traffic.received += got;
            state.allowance = state
                .allowance
                .checked_sub(got)
                .ok_or_else(|| io::Error::other(Misbehaved("sends far more than config.max_size allows")))?;
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

/// The last link: what ureq itself reads from and writes to.
#[derive(Debug)]
struct Guard {
    /// Requests go to a proxy that passes them on.
    forward: bool,
}

impl<In: Transport> Connector<In> for Guard {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let authority = details.uri.authority().filter(|_| self.forward);
        Ok(chained.map(|inner| {
            Box::new(Guarded { inner, prefix: authority.map(|authority| format!("http://{authority}")) })
                as Box<dyn Transport>
        }))
    }
}

#[derive(Debug)]
struct Guarded<T> {
    inner: T,
    /// What is still to be put before the path of the request: a proxy wants the whole URL there, and ureq knows
    /// proxies by CONNECT only, which many refuse for port 80.
    prefix: Option<String>,
}

impl<T: Transport> Transport for Guarded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, mut amount: usize, limit: NextTimeout) -> Result<(), ureq::Error> {
        if let Some(prefix) = self.prefix.take() {
            let output = self.inner.buffers().output();
            let path = output[..amount].iter().position(|byte| *byte == b' ');
            let (Some(path), true) = (path, amount + prefix.len() <= output.len()) else {
                return Err(io::Error::other(Misbehaved("request does not fit a proxy")).into());
            };
            let path = path + 1;
            output.copy_within(path..amount, path + prefix.len());
            output[path..][..prefix.len()].copy_from_slice(prefix.as_bytes());
            amount += prefix.len();
        }
        self.inner.transmit_output(amount, limit)
    }

    /// ureq takes a reset, and an end of TLS that is not the peer's own, for the end of a body without length. That
    /// may be half a config, so it is turned into an error that ureq does not know.
    fn await_input(&mut self, limit: NextTimeout) -> Result<bool, ureq::Error> {
        if self.inner.buffers().input().len() >= BUFFER {
            // Nothing of it could be used, and nothing more can be read: ureq would call it an end.
            return Err(io::Error::other(Misbehaved(TOO_LONG)).into());
        }
        self.inner.await_input(limit).map_err(|error| match error {
            ureq::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) =>
            {
                io::Error::other(Misbehaved(CUT)).into()
            }
            other => other,
        })
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::JoinHandle;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::test_server::{Answer, Server};
    use super::*;

    /// A directory of the test's own, gone with it.
    pub(crate) struct Dir(PathBuf);

    impl Dir {
        pub(crate) fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("otelet-http-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path.canonicalize().unwrap())
        }

        pub(crate) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn write(&self, name: &str, content: &str) -> PathBuf {
            let path = self.path(name);
            std::fs::write(&path, content).unwrap();
            path
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Patient, small, without TLS files and proxies.
    pub(crate) fn settings() -> HttpSettings {
        HttpSettings {
            timeout: Duration::from_secs(20),
            max_size: 64 * 1024,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            http_proxy: None,
            https_proxy: None,
            no_proxy: String::new(),
        }
    }

    /// Nobody waits for this in a test that passes slowly: it is far less than [`settings`] allows.
    const SHORT: Duration = Duration::from_millis(400);

    fn impatient() -> HttpSettings {
        HttpSettings { timeout: SHORT, ..settings() }
    }

    fn get(url: impl Into<String>) -> Request {
        Request {
            method: Method::Get,
            url: url.into(),
            headers: vec![("X-Token".into(), "s3cret".into())],
            body: Vec::new(),
        }
    }

    /// Sends on a thread as small as the agent's.
    fn send(client: &Client, request: &Request) -> Result<Response, HttpError> {
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn_scoped(scope, || client.send(request))
                .unwrap()
                .join()
                .unwrap()
        })
    }

    fn fetch(settings: &HttpSettings, url: impl Into<String>) -> Result<Response, HttpError> {
        send(&Client::new(settings).unwrap(), &get(url))
    }

    /// What an answer comes to, and its message without the URL.
    fn fate(settings: &HttpSettings, answer: Answer) -> (&'static str, String) {
        let server = Server::new();
        server.answer(answer);
        let error = fetch(settings, server.url()).unwrap_err();
        let message = error.to_string();
        let why = message.strip_prefix(&format!("{}: ", server.url()));
        (error.kind(), why.expect("an error names its URL").to_owned())
    }

    fn raw(answer: &str) -> Answer {
        Answer::Raw(answer.as_bytes().to_vec())
    }

    fn endless(start: &str, again: &str) -> Answer {
        Answer::Endless(start.into(), again.into())
    }

    #[test]
    fn an_answer_comes_whole_with_what_we_read_of_its_head() {
        let server = Server::new();
        let headers = [
            ("ETag", "\"7f3a\""),
            ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Retry-After", "3"),
            ("Set-Cookie", "a=b"),
        ];
        let headers = headers.map(|(k, v)| (k.to_owned(), v.to_owned()));
        server.answer(Answer::Status(200, headers.to_vec(), vec![b'#'; 64 * 1024]));
        let client = Client::new(&settings()).unwrap();
        let mut response = send(&client, &get(server.url())).unwrap();
        assert_eq!(response.traffic, client.traffic());
        assert!((65_600..66_000).contains(&response.traffic.received), "{:?}", response.traffic);
        response.traffic = Traffic::default();
        assert_eq!(
            response,
            Response {
                status: 200,
                etag: Some("\"7f3a\"".into()),
                last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
                retry_after: Some(Duration::from_secs(3)),
                location: None,
                body: vec![b'#'; 64 * 1024],
                traffic: Traffic::default(),
            }
        );
        send(&client, &get(server.url())).unwrap();
        let asked = server.requests();
        assert_eq!(asked[1].header("cookie"), None);
        assert_eq!(asked[1].header("connection"), Some("close"));
        assert_eq!(asked[1].headers.len(), 4, "Host and User-Agent besides: {asked:#?}");
    }

    #[test]
    fn a_post_carries_its_body() {
        let server = Server::new();
        server.answer(Answer::Status(200, vec![], b"{}".to_vec()));
        let request = Request { method: Method::Post, body: b"\x0a\x00binary".to_vec(), ..get(server.url()) };
        let client = Client::new(&settings()).unwrap();
        assert_eq!(send(&client, &request).unwrap().body, b"{}");
        let asked = &server.requests()[0];
        assert_eq!((&*asked.method, &*asked.body), ("POST", &request.body[..]));
    }

    #[test]
    fn any_status_is_an_answer_and_only_good_ones_have_a_body() {
        let server = Server::new();
        for status in [204, 304, 404, 500, 503] {
            server.answer(Answer::Status(status, vec![], vec![b'#'; 1_000_000]));
            let response = fetch(&settings(), server.url()).unwrap();
            assert_eq!((response.status, response.body.len()), (status, 0));
        }
    }

    #[test]
    fn a_server_that_is_too_slow_is_given_up_in_time() {
        for answer in [
            Answer::Stall,
            Answer::Trickle(Duration::from_millis(20)),
            Answer::Delay(Duration::from_secs(60), Answer::status(200).into()),
            // Early hints without end.
            endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ] {
            let started = Instant::now();
            let patient = HttpSettings { max_size: 1 << 40, ..impatient() };
            let named = format!("{answer:?}");
            assert_eq!(fate(&patient, answer), ("timeout", "did not answer within 400ms".into()), "{named}");
            assert!(started.elapsed() < SHORT * 10, "{named}: {:?}", started.elapsed());
        }
    }

    #[test]
    fn a_body_that_is_too_large_is_refused_at_once() {
        let large = ("size", "body is larger than config.max_size 64KiB".to_owned());
        assert_eq!(fate(&settings(), Answer::NeverEnding), large);
        assert_eq!(fate(&settings(), Answer::HugeContentLength), large);
        assert_eq!(fate(&settings(), endless("HTTP/1.1 200 OK\r\n\r\n", "#")), large);
        let one_more = Answer::Status(200, vec![], vec![b'#'; 64 * 1024 + 1]);
        assert_eq!(fate(&settings(), one_more), large);
    }

    #[test]
    fn a_flood_around_the_body_ends() {
        let flood = "sends far more than config.max_size allows";
        for (answer, why) in [
            (endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), flood),
            (endless("", "HTTP/1.1 100 Continue\r\n\r\n"), flood),
            (endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n"), flood),
            (endless("HTTP/1.1 200 OK\r\nA: ", "#"), TOO_LONG),
            (
                endless("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
                "answer is not valid HTTP: http parse resulted in too many headers",
            ),
            (endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "#"), TOO_LONG),
        ] {
            let (kind, said) = fate(&settings(), answer);
            assert_eq!(kind, "protocol", "{said}");
            assert!(said.starts_with(why), "{said}");
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        let cut = ("protocol", CUT.to_owned());
        for answer in [
            Answer::ResetMidBody,
            raw(""),
            raw("HTTP/1.1 200 OK\r\nContent-Le"),
            raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nreceivers:\n"),
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"),
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ] {
            let named = format!("{answer:?}");
            assert_eq!(fate(&settings(), answer), cut, "{named}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for (answer, why) in [
            (Answer::Garbage, "answer is not valid HTTP: "),
            (raw("HTTP/1.1 099 Odd\r\n\r\n"), "answer is not valid HTTP: "),
            (raw("HTTP/9.9 200 OK\r\n\r\n"), "answer is not valid HTTP: "),
            (raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "answer is not valid HTTP: "),
            (raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "answer is not valid HTTP: "),
            (raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"), "answer is not valid HTTP: "),
            (
                raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n"),
                "answer is not valid HTTP: ",
            ),
            (
                raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x08"),
                "answered with content-encoding gzip, which was not asked for",
            ),
        ] {
            let (kind, said) = fate(&settings(), answer);
            assert_eq!(kind, "protocol", "{said}");
            assert!(said.starts_with(why), "{said}");
        }
    }

    #[test]
    fn what_follows_a_whole_answer_is_ignored() {
        let server = Server::new();
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab and more",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nHTTP/1.1 666",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.0 200 OK\r\n\r\nab",
        ] {
            server.answer(raw(answer));
            assert_eq!(fetch(&settings(), server.url()).unwrap().body, b"ab", "{answer}");
        }
    }

    /// Any bytes at all end in an answer or an error: a panic would be the end of the agent.
    #[test]
    fn mangled_answers_never_panic_and_never_hang() {
        let whole = [
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 20\r\n\r\nreceivers: {otlp: {}}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nabcde\r\n1\r\nf\r\n0\r\nT: r\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: /else?a=b#c\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 12\r\n\r\nno",
        ];
        let server = Server::new();
        let client = Client::new(&impatient()).unwrap();
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..400 {
            let mut bytes = dice.choice(whole).unwrap().as_bytes().to_vec();
            for _ in 0..dice.usize(1..6) {
                let at = dice.usize(..bytes.len());
                match dice.u8(..4) {
                    0 => bytes[at] = dice.u8(..),
                    1 => bytes.truncate(at + 1),
                    2 => bytes.insert(at, dice.choice(*b"\r\n:; 0f\xff").unwrap()),
                    _ => drop(bytes.remove(at)),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            server.answer(Answer::Raw(bytes));
            let _ = send(&client, &get(server.url()));
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = fetch(&settings(), format!("http://127.0.0.1:{port}/v1?key=s3cret")).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with(&format!("http://127.0.0.1:{port}/v1: ")), "{said}");
        assert_eq!(error.kind(), "connect");

        // A label of 64 letters is no name, which the resolver knows without asking anybody.
        let host = format!("{}.example", "a".repeat(64));
        let error = fetch(&settings(), format!("http://{host}/v1")).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with(&format!("http://{host}/v1: name {host} does not resolve: ")), "{said}");
        assert_eq!(error.kind(), "resolve");
    }

    #[test]
    fn redirects_are_followed_on_the_same_server_only() {
        let (server, other) = (Server::new(), Server::new());
        server.offer("a: 1");
        server.answer_once(Answer::RedirectTo("/else?a=b#c".into()));
        assert_eq!(fetch(&settings(), server.url()).unwrap().body, b"a: 1");
        let asked = server.requests();
        assert_eq!(asked[1].path, "/else?a=b");
        assert_eq!(asked[1].header("x-token"), Some("s3cret"));

        server.answer(Answer::RedirectTo(other.url() + "?key=s3cret"));
        let error = fetch(&settings(), server.url()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{}: redirects to {}, another port; set config.url to it if that is right",
                server.url(),
                other.url()
            )
        );
        assert_eq!(error.kind(), "redirect");
        assert!(other.requests().is_empty());
    }

    #[test]
    fn a_loop_of_redirects_ends_after_five() {
        let server = Server::new();
        server.answer(Answer::RedirectLoop);
        let said = fetch(&settings(), server.url()).unwrap_err().to_string();
        assert!(said.contains("redirects more than 5 times, at last to http://127.0.0.1"), "{said}");
        assert_eq!(server.requests().len(), 6);
    }

    #[test]
    fn all_redirects_together_have_one_time_limit() {
        let slow = Answer::Delay(SHORT / 2, Answer::RedirectTo("/again".into()).into());
        let server = Server::new();
        server.answer(slow);
        let started = Instant::now();
        let error = fetch(&impatient(), server.url()).unwrap_err();
        assert_eq!(error.kind(), "timeout", "{error}");
        assert!(started.elapsed() < SHORT * 4, "{:?}", started.elapsed());
    }

    #[test]
    fn where_a_redirect_may_lead() {
        let to = |from: &str, location: &str| {
            let from = from.parse().unwrap();
            redirect(&from, location, 302, Method::Get).map(|to| to.to_string())
        };
        let ok = |url: &str| Ok(url.to_owned());
        let from = "https://c.example/a/b?x=y";
        assert_eq!(to(from, "/c"), ok("https://c.example/c"));
        assert_eq!(to(from, "c?d=e"), ok("https://c.example/a/c?d=e"));
        assert_eq!(to(from, "c?d=http://e"), ok("https://c.example/a/c?d=http://e"));
        assert_eq!(to(from, "?d=e"), ok("https://c.example/a/b?d=e"));
        assert_eq!(to(from, "//C.example/c"), ok("https://C.example/c"));
        assert_eq!(to(from, "https://c.example:443/c"), ok("https://c.example:443/c"));
        assert_eq!(to("http://c.example/a", "https://c.example/a"), ok("https://c.example/a"));
        assert_eq!(to("http://c.example:81", "https://c.example:81"), ok("https://c.example:81/"));

        for (from, location, why) in [
            (from, "http://c.example/a", "redirects to http://c.example/a, which is not encrypted"),
            (from, "https://d.example/a?k=v", "redirects to https://d.example/a, another host"),
            (from, "https://c.example.evil/", "redirects to https://c.example.evil/, another host"),
            (from, "//d.example/", "redirects to https://d.example/, another host"),
            (from, "https://c.example:8443/", "redirects to https://c.example:8443/, another port"),
            ("http://c.example:81", "https://c.example", "redirects to https://c.example/, another port"),
            (from, "https://c.example@d.example/", "redirects to something that is not a usable"),
            (from, "ftp://c.example/", "redirects to something that is not a usable"),
            (from, "javascript:alert(1)", "redirects to something that is not a usable"),
            (from, "https://", "redirects to something that is not a usable"),
            (from, "https://c.example:x/", "redirects to something that is not a usable"),
            (from, "https://c.example:65536/", "redirects to something that is not a usable"),
        ] {
            let refused = to(from, location).unwrap_err();
            assert!(refused.starts_with(why), "{location}: {refused}");
        }

        let post = |status| redirect(&from.parse().unwrap(), "/c", status, Method::Post).is_ok();
        assert_eq!([301, 302, 303, 307, 308].map(post), [false, false, false, true, true]);
    }

    #[test]
    fn where_no_proxy_is_used() {
        let list = "example.com,.internal  host:8080,10.0.0.0/8,192.168.1.7,fd00::/8,[fd99::1]:443,::2";
        for (host, port) in [
            ("example.com", 443),
            ("EXAMPLE.com.", 443),
            ("a.b.example.com", 1),
            ("a.internal", 443),
            ("host", 8080),
            ("a.host", 8080),
            ("10.255.0.1", 443),
            ("192.168.1.7", 80),
            ("[fd12::3]", 443),
            ("fd99::1", 443),
            ("[::2]", 80),
            ("localhost", 80),
            ("127.0.0.9", 80),
            ("[::1]", 80),
        ] {
            assert!(bypasses_proxy(list, host, port), "{host}:{port}");
        }
        for (host, port) in [
            ("badexample.com", 443),
            ("example.com.evil", 443),
            ("internal", 443),
            ("host", 443),
            ("11.0.0.1", 443),
            ("192.168.1.70", 443),
            ("[fe00::1]", 443),
            ("[::3]", 443),
            ("localhost.example", 80),
        ] {
            assert!(!bypasses_proxy(list, host, port), "{host}:{port}");
        }
        assert!(bypasses_proxy("*", "anything", 1));
        for nothing in ["", ",", " ", ".", "/8", "10.0.0.0/", "10.0.0.0/33", "a:b:c", ":", ":443"] {
            assert!(!bypasses_proxy(nothing, "c.example", 443), "{nothing}");
            assert!(!bypasses_proxy(nothing, "10.1.1.1", 443), "{nothing}");
        }
        assert!(bypasses_proxy("0.0.0.0/0", "10.1.1.1", 443));
        assert!(bypasses_proxy("::/0", "fd00::1", 443));
    }

    #[test]
    fn the_wait_that_a_server_asks_for() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let wait = |value| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(wait("0"), Some(0));
        assert_eq!(wait(" 120 "), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:51:07 GMT"), Some(90));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(wait("Sat, 06 Nov 2094 08:49:37 GMT"), Some(86_400));
        assert_eq!(wait("99999999999999999999999999"), Some(86_400));
        for nonsense in ["", "-1", "1.5", "soon", "+3"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn small_things() {
        // RFC 4648, section 10.
        let encoded = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|t| base64(t.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        let shown = public(&"https://u:p@c.example:8443/v1/a?key=s3cret".parse().unwrap());
        assert_eq!(shown, "https://c.example:8443/v1/a");
        assert_eq!(public(&"http://c.example".parse().unwrap()), "http://c.example/");
    }

    /// A server of its own making on loopback: `serve` gets each connection; it ends when it is dropped.
    struct Listening {
        addr: SocketAddr,
        accepting: Option<JoinHandle<()>>,
        stop: Arc<Mutex<bool>>,
    }

    impl Listening {
        fn new(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let stop = Arc::new(Mutex::new(false));
            let accepting = std::thread::spawn({
                let stop = stop.clone();
                move || {
                    std::thread::scope(|scope| {
                        for stream in listener.incoming() {
                            if *stop.lock().unwrap() {
                                break;
                            }
                            let stream = stream.unwrap();
                            let limit = Some(Duration::from_secs(10));
                            stream.set_read_timeout(limit).unwrap();
                            // A client that breaks off is what many tests are about.
                            scope.spawn(|| drop(serve(stream)));
                        }
                    });
                }
            });
            Self { addr, accepting: Some(accepting), stop }
        }
    }

    impl Drop for Listening {
        fn drop(&mut self) {
            *self.stop.lock().unwrap() = true;
            let _ = TcpStream::connect(self.addr);
            let _ = self.accepting.take().unwrap().join();
        }
    }

    /// Reads a head, up to and with its empty line.
    fn read_head(stream: &mut impl io::Read) -> io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// A certificate authority, and what it signs.
    struct Authority(CertifiedIssuer<'static, KeyPair>);

    /// A certificate and its key, in PEM.
    struct Identity {
        cert: String,
        key: String,
    }

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn pem(&self) -> String {
            self.0.pem()
        }

        fn sign(&self, change: impl Fn(&mut CertificateParams)) -> Identity {
            let names = vec!["127.0.0.1".to_owned(), "config.test".to_owned()];
            let mut params = CertificateParams::new(names).unwrap();
            change(&mut params);
            let key = KeyPair::generate().unwrap();
            Identity { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
        }
    }

    /// Answers each request over TLS with `answer`, and ends TLS in order unless `torn`.
    fn tls_server(identity: &Identity, clients: Option<&Authority>, answer: &'static str, torn: bool) -> Listening {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes());
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        Listening::new(move |stream| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(connection, stream);
            read_head(&mut tls)?;
            tls.write_all(answer.as_bytes())?;
            if !torn {
                tls.conn.send_close_notify();
            }
            tls.flush()?;
            tls.sock.shutdown(Shutdown::Write)
        })
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    fn trusting(ca_file: PathBuf) -> HttpSettings {
        HttpSettings { ca_file: Some(ca_file), ..settings() }
    }

    fn refused(settings: &HttpSettings, server: &Listening) -> String {
        let url = format!("https://{}/v1", server.addr);
        let error = fetch(settings, &url).unwrap_err();
        assert_eq!(error.kind(), "tls", "{error}");
        error.to_string().strip_prefix(&format!("{url}: ")).unwrap().to_owned()
    }

    #[test]
    fn a_private_ca_is_trusted_only_when_the_settings_name_it() {
        let dir = Dir::new();
        let authority = Authority::new();
        let server = tls_server(&authority.sign(|_| ()), None, GOOD, false);

        let response = fetch(&trusting(dir.write("ca.pem", &authority.pem())), format!("https://{}/", server.addr));
        let traffic = response.unwrap().traffic;
        assert!(traffic.received > 500, "the handshake counts: {traffic:?}");

        assert_eq!(
            refused(&settings(), &server),
            "certificate is not trusted: UnknownIssuer; set config.ca_file if the server has a private CA"
        );
        // Of the same name, as all of this test's.
        let other = trusting(dir.write("other.pem", &Authority::new().pem()));
        assert_eq!(
            refused(&other, &server),
            "certificate is not trusted: BadSignature; the server's CA is not in config.ca_file"
        );
    }

    #[test]
    fn a_certificate_for_another_name_or_time_is_refused() {
        let dir = Dir::new();
        let authority = Authority::new();
        let trusting = trusting(dir.write("ca.pem", &authority.pem()));
        let said = |change: fn(&mut CertificateParams)| {
            refused(&trusting, &tls_server(&authority.sign(change), None, GOOD, false))
        };
        assert_eq!(
            said(|cert| cert.not_after = rcgen::date_time_ymd(2020, 1, 1)),
            "certificate has expired; if not, this host's clock is wrong"
        );
        assert_eq!(
            said(|cert| cert.not_before = rcgen::date_time_ymd(2999, 1, 1)),
            "certificate is not valid yet; if it is, this host's clock is wrong"
        );
        let other = said(|cert| {
            cert.subject_alt_names = vec![rcgen::SanType::DnsName("other.test".try_into().unwrap())];
        });
        assert!(other.starts_with("certificate is for another name: "), "{other}");
        assert!(other.contains("other.test"), "{other}");
    }

    #[test]
    fn a_client_certificate_is_shown_to_servers_that_want_one() {
        let dir = Dir::new();
        let (servers, clients) = (Authority::new(), Authority::new());
        let server = tls_server(&servers.sign(|_| ()), Some(&clients), GOOD, false);
        let without = trusting(dir.write("ca.pem", &servers.pem()));
        let said = refused(&without, &server);
        assert!(said.contains("set config.client_cert_file and config.client_key_file"), "{said}");

        let us = clients.sign(|cert| {
            cert.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        let with = HttpSettings {
            client_cert_file: Some(dir.write("cert.pem", &us.cert)),
            client_key_file: Some(dir.write("key.pem", &us.key)),
            ..without
        };
        let url = format!("https://{}/", server.addr);
        assert_eq!(fetch(&with, &url).unwrap().body, b"ok");

        // A stranger's certificate.
        let stranger = Authority::new().sign(|_| ());
        let strange = HttpSettings {
            client_cert_file: Some(dir.write("strange.pem", &stranger.cert)),
            client_key_file: Some(dir.write("strange.key", &stranger.key)),
            ..with.clone()
        };
        let said = refused(&strange, &server);
        assert!(said.starts_with("server ended TLS: "), "{said}");

        // A key of another certificate is told, where ureq would panic.
        dir.write("key.pem", &stranger.key);
        let said = fetch(&with, &url).unwrap_err().to_string();
        assert!(said.contains("key.pem: does not fit "), "{said}");
        dir.write("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n");
        let said = fetch(&with, &url).unwrap_err().to_string();
        assert!(said.contains("key.pem: no private key in PEM; an encrypted one"), "{said}");
    }

    #[test]
    fn certificates_are_read_again_when_their_file_changes_and_only_then() {
        let dir = Dir::new();
        let (old, new) = (Authority::new(), Authority::new());
        let server = tls_server(&new.sign(|_| ()), None, GOOD, false);
        let client = Client::new(&trusting(dir.path("ca.pem"))).unwrap();
        let ask = || send(&client, &get(format!("https://{}/", server.addr)));

        let said = ask().unwrap_err().to_string();
        assert!(said.contains("ca.pem: cannot read: "), "{said}");
        dir.write("ca.pem", "none in here");
        let said = ask().unwrap_err().to_string();
        assert!(said.ends_with("ca.pem: no certificate in PEM in it"), "{said}");
        dir.write("ca.pem", &old.pem());
        assert_eq!(ask().unwrap_err().kind(), "tls");
        dir.write("ca.pem", &(old.pem() + &new.pem()));
        assert_eq!(ask().unwrap().body, b"ok");

        let roots = || match client.built.lock().unwrap().tls.as_ref().unwrap().root_certs() {
            RootCerts::Specific(certificates) => Arc::as_ptr(certificates),
            other => panic!("{other:?}"),
        };
        let before = roots();
        assert_eq!(ask().unwrap().body, b"ok");
        assert_eq!(roots(), before, "the bundle is not parsed again");
        assert_eq!(client.built.lock().unwrap().agents.len(), 1);
    }

    #[test]
    fn tls_that_is_torn_off_is_no_end_of_a_body() {
        let dir = Dir::new();
        let authority = Authority::new();
        let trusting = trusting(dir.write("ca.pem", &authority.pem()));
        // Without a length, only the end of TLS says where the body ends.
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nreceivers:\n";
        let ask = |torn| {
            let server = tls_server(&authority.sign(|_| ()), None, answer, torn);
            fetch(&trusting, format!("https://{}/", server.addr)).map(|response| response.body)
        };
        assert_eq!(ask(false).unwrap(), b"receivers:\n");
        assert!(ask(true).unwrap_err().to_string().ends_with(CUT));
    }

    #[test]
    fn tls_to_a_server_without_tls_is_told() {
        let server = Server::new();
        let url = server.url().replace("http://", "https://");
        let error = fetch(&impatient(), url).unwrap_err();
        // This server waits for the end of a head that never comes.
        assert_eq!(error.kind(), "timeout", "{error}");

        let plain = Listening::new(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert_eq!(refused(&settings(), &plain), "answer is not TLS; is this an http:// server?");
    }

    /// A proxy that connects everything to one place and writes down what it was asked. What it answers to CONNECT
    /// is given; to other requests it answers itself.
    fn proxy(backend: SocketAddr, answer: &'static str) -> (Listening, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = asked.clone();
        let listening = Listening::new(move |mut client| {
            let head = read_head(&mut client)?;
            let tunnel = head.starts_with("CONNECT ");
            heads.lock().unwrap().push(head);
            if !tunnel {
                return client.write_all(GOOD.as_bytes());
            }
            client.write_all(answer.as_bytes())?;
            let server = TcpStream::connect(backend)?;
            let (mut to, mut from) = (server.try_clone()?, client.try_clone()?);
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                let _ = io::copy(&mut &server, &mut client);
                let _ = client.shutdown(Shutdown::Both);
            });
            Ok(())
        });
        (listening, asked)
    }

    const CONNECTED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

    #[test]
    fn https_goes_through_the_tunnel_of_a_proxy_and_http_is_handed_to_it() {
        let dir = Dir::new();
        let authority = Authority::new();
        let server = tls_server(&authority.sign(|_| ()), None, GOOD, false);
        let (proxy, asked) = proxy(server.addr, CONNECTED);
        let url = format!("http://us%40er:pa%3Ass@{}", proxy.addr);
        let settings = HttpSettings {
            http_proxy: Some(url.clone()),
            https_proxy: Some(url),
            ..trusting(dir.write("ca.pem", &authority.pem()))
        };
        let client = Client::new(&settings).unwrap();

        // The names are known to the proxy alone.
        let response = send(&client, &get("https://config.test/v1?a=b")).unwrap();
        assert_eq!(response.body, b"ok");
        assert!((500..10_000).contains(&response.traffic.received), "once: {:?}", response.traffic);
        assert_eq!(send(&client, &get("http://config.test:81/v1?a=b")).unwrap().body, b"ok");

        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with("CONNECT config.test:443 HTTP/1.1\r\n"), "{asked:?}");
        assert!(!asked[0].contains("s3cret"), "{asked:?}");
        assert!(asked[1].starts_with("GET http://config.test:81/v1?a=b HTTP/1.1\r\n"), "{asked:?}");
        assert!(asked[1].to_lowercase().contains("\r\nhost: config.test:81\r\n"), "{asked:?}");
        for head in asked.iter() {
            let credentials = base64(b"us@er:pa:ss");
            let line = format!("\r\nproxy-authorization: basic {}\r\n", credentials.to_lowercase());
            assert!(head.to_lowercase().contains(&line), "{head}");
        }
    }

    #[test]
    fn loopback_and_no_proxy_go_around_the_proxy() {
        let server = Server::new();
        server.offer("a: 1");
        let nobody = HttpSettings {
            http_proxy: Some("http://127.0.0.1:1".into()),
            no_proxy: "config.test".into(),
            ..settings()
        };
        assert_eq!(fetch(&nobody, server.url()).unwrap().body, b"a: 1");
        let client = Client::new(&nobody).unwrap();
        let route = |url: &str| client.route(&url.parse().unwrap());
        assert_eq!(route("http://config.test/"), Route::Http);
        assert_eq!(route("http://other.test/"), Route::HttpProxy);
        assert_eq!(route("https://other.test/"), Route::Https, "each scheme has its own");
    }

    #[test]
    fn a_proxy_that_fails_is_named() {
        let through = |answer| {
            let (proxy, _) = proxy("127.0.0.1:1".parse().unwrap(), answer);
            let settings = HttpSettings { https_proxy: Some(format!("http://u:s3cret@{}", proxy.addr)), ..settings() };
            let error = fetch(&settings, "https://config.test/v1").unwrap_err();
            let start = format!("https://config.test/v1 by proxy {}: ", proxy.addr);
            (error.kind(), error.to_string().strip_prefix(&start).unwrap().to_owned())
        };
        let (kind, said) = through("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        assert_eq!(kind, "connect");
        assert!(said.contains("407") && said.ends_with("http://user:password@host:port"), "{said}");
        assert_eq!(through("").0, "connect");
        assert_eq!(through("SSH-2.0-OpenSSH_9.2p1\r\n\r\n").0, "protocol");

        // ureq gives each byte of a proxy's answer the whole time anew.
        let server = Server::new();
        server.answer(Answer::Trickle(Duration::from_millis(20)));
        let settings = HttpSettings { https_proxy: Some(format!("http://{}", server.addr())), ..impatient() };
        let started = Instant::now();
        let error = fetch(&settings, "https://config.test/v1").unwrap_err();
        assert_eq!(error.kind(), "timeout", "{error}");
        assert!(started.elapsed() < SHORT * 10);
    }

    #[test]
    fn settings_that_can_never_work_are_refused_without_their_secrets() {
        let refused = |settings| match Client::new(&settings) {
            Err(error) => error.to_string(),
            Ok(client) => panic!("taken: {:?}", client.settings.https_proxy),
        };
        let https_proxy = |proxy: &str| HttpSettings { https_proxy: Some(proxy.into()), ..settings() };
        assert!(Client::new(&https_proxy("")).is_ok(), "empty means none");
        assert!(Client::new(&https_proxy("proxy.example:3128")).is_ok());
        for proxy in ["socks5://u:s3cret@h:1", "https://u:s3cret@h", "http://u:s3cret@h:port", "::"] {
            let said = refused(https_proxy(proxy));
            assert!(said.starts_with("config.https_proxy: "), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
        let half = HttpSettings { client_key_file: Some("key.pem".into()), ..settings() };
        assert_eq!(refused(half), "config.client_key_file: needs config.client_cert_file as well");
    }
}
