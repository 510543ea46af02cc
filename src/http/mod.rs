//! One request, one answer over HTTP/1.1, with a limit on everything: time, bytes, redirects.
//!
//! It blocks, so it is called from short-lived threads only. It never weakens TLS, never connects to a host that the
//! caller did not name, keeps no connection and no cookie, asks for no compression, and uses only the caller's proxies.
//! It knows no setting by name: an error holds facts, and the caller adds the way out.
//!
//! The files: `request` has the request and the settings of a client, `url` checks URLs, `proxy` chooses the route,
//! `tls` builds the TLS settings from files, `encrypt` speaks TLS, `verify` decides about certificates, `certificate` reads
//! them, `wire` has the connections that ureq uses, `dial` opens them, `meter` limits their bytes and time, `head` reads
//! the head of an answer, `answer` is the response, `inflate` decompresses its body, `error` has the reasons for none,
//! `files` reads the small files of a request.

mod answer;
mod certificate;
mod dial;
mod encrypt;
mod error;
mod files;
mod head;
mod inflate;
mod meter;
mod proxy;
mod request;
mod tls;
mod url;
mod verify;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::io::Read;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use ureq::http::{HeaderName, HeaderValue, Uri, header};
use ureq::{Agent, Body, Proxy};

use answer::{Encodings, redirect_away};
pub use answer::{RedirectError, Response, redirect, retry_after};
pub use dial::{STEP, host_and_port};
use error::Handshake;
pub use error::{HttpError, TlsFile};
pub(crate) use files::{Stamp, read_regular, stamp};
use meter::Meter;
pub use meter::Traffic;
#[cfg(test)]
pub(crate) use otelet_testkit::server as test_server;
pub use proxy::{bypasses_proxy, parse_proxy};
use request::MAX_AWAY;
pub use request::{HttpSettings, MAX_REDIRECTS, Method, Reads, Redirects, Request};
pub use tls::Identity;
use tls::Tls;
pub use url::{UrlError, hide_paths, hides_paths, parse_url, public, public_text};
use url::{bare, is_https, port};
pub use verify::Fingerprint;
use verify::LastRefusal;
pub use wire::HTTP_2;

/// Sent with each request that has none of its own, and to proxies.
pub const USER_AGENT: &str = concat!("otelet/", env!("CARGO_PKG_VERSION"));

/// The most memory that is reserved because of a `Content-Length`, in bytes.
const MAX_RESERVE: u64 = 4 * 1024 * 1024;

/// Checks that a header can be sent and is none that the agent sets itself.
///
/// # Errors
///
/// [`HttpError::Header`], which names the header but never the value.
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HttpError> {
    let bad = |why| HttpError::Header { name: name.to_owned(), why };
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

/// Sends requests, one at a time: a second caller waits.
pub struct Client {
    settings: HttpSettings,
    http_proxy: Option<Result<Proxy, HttpError>>,
    https_proxy: Option<Result<Proxy, HttpError>>,
    meter: Arc<Meter>,
    memory: Arc<dial::Memory>,
    /// Whether this client serves checks, see [`for_checks`](Self::for_checks).
    for_checks: bool,
    built: Mutex<Agents>,
    /// The client for servers that redirects lead to, see [`Redirects::Any`].
    away: OnceLock<Box<Client>>,
}

/// ureq's agents. They are kept until a file with certificates changes.
struct Agents {
    tls: Tls,
    agents: Vec<(Route, Agent)>,
}

/// How a server is reached, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// No proxy is set.
    Direct,
    /// A proxy is set, and the list of exceptions or loopback spares it.
    Bypassed,
    /// By this proxy: host and port.
    Proxied(String, u16),
}

/// One of the four ways to reach a server. Each has its own agent.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Route {
    tls: bool,
    proxied: bool,
}

impl Client {
    /// Checks the settings. The files that they name are read with the first request, so they may still be missing
    /// here.
    ///
    /// # Errors
    ///
    /// [`HttpError::Unpaired`] for a client certificate without key or a key without certificate.
    pub fn new(settings: &HttpSettings) -> Result<Self, HttpError> {
        let proxy = |scheme, proxy: &Option<String>| match proxy.as_deref() {
            None | Some("") => None,
            Some(proxy) => Some(parse_proxy(scheme, proxy)),
        };
        match (&settings.client_cert_file, &settings.client_key_file) {
            (Some(_), None) => return Err(HttpError::Unpaired { set: TlsFile::ClientCert }),
            (None, Some(_)) => return Err(HttpError::Unpaired { set: TlsFile::ClientKey }),
            (Some(_), Some(_)) | (None, None) => {}
        }
        Ok(Self {
            settings: settings.clone(),
            http_proxy: proxy("http", &settings.http_proxy),
            https_proxy: proxy("https", &settings.https_proxy),
            meter: Arc::default(),
            memory: Arc::default(),
            for_checks: false,
            built: Mutex::new(Agents { tls: Tls::new(), agents: Vec::new() }),
            away: OnceLock::new(),
        })
    }

    /// Turns this into a client for checks. It returns a redirect that it does not follow, where others return an error.
    pub fn for_checks(mut self) -> Self {
        self.for_checks = true;
        self
    }

    /// The bytes on the wire of all requests so far, failed ones included.
    pub fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    /// The expiry date of the certificate that the server showed in the last exchange. `None` if it showed none.
    pub fn certificate_until(&self) -> Option<SystemTime> {
        self.meter.certificate_until()
    }

    /// How the server of this URL is reached.
    ///
    /// # Errors
    ///
    /// An [`HttpError`] if the URL or the proxy cannot be used.
    pub fn way(&self, url: &str) -> Result<Way, HttpError> {
        let route = self.route(&parse_url(url)?);
        match self.chosen_proxy(route.tls) {
            None => Ok(Way::Direct),
            Some(_) if !route.proxied => Ok(Way::Bypassed),
            Some(Ok(proxy)) => Ok(Way::Proxied(bare(proxy.host()).to_owned(), proxy.port())),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    /// Sends one request and waits for the whole answer.
    ///
    /// Redirects are followed up to [`MAX_REDIRECTS`] times within the same host, scheme and port, or from http to
    /// https on the same host if the port stays or changes from 80 to 443. So no header reaches another server. A POST
    /// follows only 307 and 308. [`Redirects::Any`] allows more.
    ///
    /// # Errors
    ///
    /// An [`HttpError`] within the time limit, whatever the server does. Only the resolver of Windows may take longer,
    /// since it has no limit; nothing is sent after that.
    pub fn send(&self, request: &Request) -> Result<Response, HttpError> {
        self.send_as(request, None)
    }

    /// The same, with this client certificate instead of the one in the settings. It is used for https:// only.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_as(&self, request: &Request, identity: Option<&Identity>) -> Result<Response, HttpError> {
        // Held for the whole exchange: the limits and counts of `meter` are for one request.
        let mut built = self.built.lock().expect("no panic while it is held");
        let before = self.traffic();
        // Chunks, heads, certificates and early hints come in addition to the body, and need a limit too.
        let allowance = 256 * 1024 + self.settings.max_size.saturating_mul(2);
        self.meter.begin(self.settings.timeout, allowance);

        let mut uri = parse_url(&request.url)?;
        let mut away = 0;
        for _ in 0..=MAX_REDIRECTS {
            let mut response = match away {
                0 => self.once(&mut built, &uri, request, identity)?,
                _ => self.once_away(&uri, request)?,
            };
            if let Some(location) = response.redirects() {
                let mut next = redirect(&uri, location, response.status, request.method);
                if let Err(RedirectError::Elsewhere { .. }) = next
                    && request.redirects == Redirects::Any
                    && request.method == Method::Get
                {
                    away += 1;
                    next = redirect_away(&uri, location);
                    if let Ok(to) = &next
                        && away > MAX_AWAY
                    {
                        next =
                            Err(RedirectError::Elsewhere { to: public(to), why: "another server for the fourth time" });
                    }
                }
                if self.for_checks && next.is_err() {
                    return Ok(response);
                }
                uri = next.map_err(|why| HttpError::Redirect { url: public(&uri), why })?;
                continue;
            }
            response.away = (away > 0).then(|| public(&uri));
            let after = self.traffic();
            response.traffic = Traffic { sent: after.sent - before.sent, received: after.received - before.received };
            return Ok(response);
        }
        let url = public(&parse_url(&request.url)?);
        Err(HttpError::Redirect { url, why: RedirectError::Loop { last: public(&uri) } })
    }

    /// Sends the request to a server that a redirect leads to. It gets nothing that was meant for the first one.
    fn once_away(&self, uri: &Uri, request: &Request) -> Result<Response, HttpError> {
        let away = self.away.get_or_init(|| {
            let settings = HttpSettings { client_cert_file: None, client_key_file: None, ..self.settings.clone() };
            let mut client = Client::new(&settings).expect("neither certificate nor key is set");
            client.meter = self.meter.clone();
            Box::new(client)
        });
        let harmless = ["if-none-match", "if-modified-since", "cache-control"];
        let is_harmless = |(name, _): &&(String, String)| harmless.iter().any(|one| name.eq_ignore_ascii_case(one));
        let mut headers: Vec<_> = request.headers.iter().filter(is_harmless).cloned().collect();
        headers.push(("User-Agent".to_owned(), USER_AGENT.to_owned()));
        let mut built = away.built.lock().expect("no panic while it is held");
        away.once(&mut built, uri, &Request { headers, ..request.clone() }, None)
    }

    /// Sends the request to this URL and follows no redirect.
    fn once(
        &self,
        built: &mut Agents,
        uri: &Uri,
        request: &Request,
        identity: Option<&Identity>,
    ) -> Result<Response, HttpError> {
        let route = self.route(uri);
        // One that cannot be used is an error of the requests that need it.
        if let Some(Err(error)) = self.chosen_proxy(route.tls).filter(|_| route.proxied) {
            return Err(error.clone());
        }
        let agent = self.agent(built, route, identity)?;
        let certified = identity.is_some() || self.settings.client_cert_file.is_some();
        let last = built.tls.last.clone();
        let fail = |error| self.explain(error, uri, route, certified, &last);

        let mut builder = ureq::http::Request::builder().uri(uri.clone()).method(match request.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
        });
        for (name, value) in &request.headers {
            let (name, value) = check_header(name, value)?;
            builder = builder.header(name, value);
        }
        // The connection is not kept, so the server can close it at once.
        builder = builder.header(header::CONNECTION, "close");
        if let Some(credentials) = self.forward(route).and_then(proxy::credentials) {
            builder = builder.header(header::PROXY_AUTHORIZATION, credentials);
        }
        let answer = match request.method {
            Method::Get | Method::Head => {
                builder.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request))
            }
            Method::Post => {
                builder.body(&request.body[..]).map_err(ureq::Error::from).and_then(|request| agent.run(request))
            }
        };
        self.memory.note(answer.is_ok());
        let mut answer = answer.map_err(fail)?;
        let mut response = Response::head(answer.status().as_u16(), answer.headers(), SystemTime::now());
        if !answer.status().is_success() || request.method == Method::Head {
            return Ok(response);
        }
        let encodings = Encodings::of(answer.headers());
        let limit = self.settings.max_size;
        let whole = read_body(answer.body_mut(), &encodings, limit, request.reads, &mut response.body);
        let encoded = || encodings.obstacle(&response.body).map(str::to_owned);
        let trouble = match whole {
            Err(error) => Some(fail(error.into())),
            Ok(false) => Some(HttpError::TooLarge { url: public(uri), limit }),
            Ok(true) => encoded().map(|encoding| HttpError::Encoded { url: public(uri), encoding }),
        };
        match (trouble, request.reads) {
            (Some(error), Reads::Whole) => Err(error),
            (unread, _) => Ok(Response { unread, ..response }),
        }
    }

    fn route(&self, uri: &Uri) -> Route {
        let tls = is_https(uri);
        let bypasses = || bypasses_proxy(&self.settings.no_proxy, uri.host().unwrap_or(""), port(uri));
        Route { tls, proxied: self.chosen_proxy(tls).is_some() && !bypasses() }
    }

    fn chosen_proxy(&self, tls: bool) -> Option<&Result<Proxy, HttpError>> {
        if tls { self.https_proxy.as_ref() } else { self.http_proxy.as_ref() }
    }

    fn proxy_for(&self, tls: bool) -> Option<&Proxy> {
        self.chosen_proxy(tls)?.as_ref().ok()
    }

    /// The proxy that opens a tunnel to the server.
    fn tunnel(&self, route: Route) -> Option<&Proxy> {
        self.proxy_for(route.tls).filter(|_| route.proxied && route.tls)
    }

    /// The proxy that receives the request itself and forwards it.
    fn forward(&self, route: Route) -> Option<&Proxy> {
        self.proxy_for(route.tls).filter(|_| route.proxied && !route.tls)
    }

    fn agent(&self, built: &mut Agents, route: Route, identity: Option<&Identity>) -> Result<Agent, HttpError> {
        if route.tls && built.tls.refresh(&self.settings, identity)? {
            built.agents.clear();
        }
        if let Some((_, agent)) = built.agents.iter().find(|(for_, _)| *for_ == route) {
            return Ok(agent.clone());
        }
        let options = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .input_buffer_size(wire::BUFFER)
            .output_buffer_size(wire::BUFFER)
            // A lower limit would also refuse an interim answer with much data behind it. `wire` notices a full buffer.
            .max_response_header_size(wire::BUFFER)
            .timeout_global(Some(self.settings.timeout))
            // Without these, ureq would send its own values.
            .user_agent(USER_AGENT)
            .accept("")
            .accept_encoding("")
            // Always set: otherwise ureq reads the environment.
            .proxy(self.tunnel(route).cloned())
            .build();
        let tls = route.tls.then(|| built.tls.config());
        let agent = wire::agent(options, &self.meter, &self.memory, tls, self.forward(route));
        built.agents.push((route, agent.clone()));
        Ok(agent)
    }

    fn explain(&self, error: ureq::Error, uri: &Uri, route: Route, certified: bool, last: &LastRefusal) -> HttpError {
        let mut url = public(uri);
        if let Some(proxy) = self.proxy_for(route.tls).filter(|_| route.proxied) {
            url += &format!(" by proxy {}:{}", proxy.host(), proxy.port());
        }
        let refusal = last.lock().expect("no panic while it is held").take();
        let handshake = Handshake { certified, saw_certificate: self.certificate_until().is_some(), refusal };
        HttpError::explain(error, url, &self.settings, handshake)
    }
}

/// Reads the body without its encodings, up to the limit. Returns whether that is all of it.
fn read_body(
    body: &mut Body,
    encodings: &Encodings,
    limit: u64,
    reads: Reads,
    into: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let promised = body.content_length().unwrap_or(0);
    if promised > limit && reads == Reads::Whole {
        return Ok(false);
    }
    // A known length is reserved at once: growing in steps would take up to twice the memory.
    if encodings.are_none() {
        into.reserve_exact(promised.min(limit).min(MAX_RESERVE) as usize);
    }
    let mut body = encodings.undo(body.as_reader());
    body.by_ref().take(limit).read_to_end(into)?;
    // The end of a compressed body has its check sum, and is read by this too.
    Ok(body.read(&mut [0])? == 0)
}
