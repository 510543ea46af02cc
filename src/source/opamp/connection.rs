//! Connection settings that a server offers for OpAMP itself. This file checks them; [`super::OpAmp`] tries and keeps
//! them.
//!
//! They are added to the settings of the user and may not be weaker: no http:// after https://, no CA, no proxy, no
//! switch that weakens TLS. A field that is not offered keeps its value, except the client certificate: without one in
//! the offer, the certificate of the user's settings is used again, if there is one. Headers and token of the settings
//! are for the server of `config.url` only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wire::{OfferStatus, OpAmpConnectionSettings, TlsConnectionSettings};
use crate::http::{Identity, Method, check_header, parse_url, redirect};

/// The most headers, and the most bytes of their names and values together.
pub const MAX_HEADERS: usize = 32;
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// The most bytes of a certificate with its chain, and of its key.
const MAX_PEM: usize = 64 * 1024;

/// The longest interval that is taken, in seconds. It is the limit of `config.poll_every`.
const MAX_INTERVAL: u64 = 24 * 60 * 60;

/// Headers that only the agent sets.
const OWN_HEADERS: [&str; 3] = ["content-type", "opamp-instance-uid", "accept"];

/// The state that survives a restart of the agent. It may hold secrets, so it is never printed.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OpAmpState {
    /// The `config.url` of this state. With another one, the state is not used.
    pub location: String,
    /// Verified settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Settings that are not verified yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// The last offer and its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<OfferOutcome>,
}

/// Offered settings that are being tried.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub connection: Connection,
    /// The number of tries without a clear answer.
    pub tries: u32,
}

/// The outcome of an offer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferOutcome {
    /// The server's hash in hex, or a hash of the offer if the server gave none. Offers with the same key are the same.
    pub key: String,
    /// The server's hash, byte for byte.
    pub hash: Vec<u8>,
    /// The number of a [`OfferStatus`].
    pub status: i32,
    pub message: String,
}

impl OfferOutcome {
    pub fn turn(&mut self, status: OfferStatus, message: impl Into<String>) {
        (self.status, self.message) = (status.into(), message.into());
    }
}

/// The differences from the settings of the user.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Another server, `http://` or `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// More headers; they replace headers of the same name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// A client certificate and its key, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Time between polls, in seconds; 0 for the time of the settings.
    pub poll_every: u64,
}

impl Connection {
    /// Whether requests go to the same server in the same way. The time between polls may differ.
    pub fn takes_same_route_as(&self, other: &Self) -> bool {
        let poll_every = other.poll_every;
        Self { poll_every, ..self.clone() } == *other
    }

    /// Whether this is another server than that of `config.url`: another host or port.
    pub fn leaves(&self, base_url: &str) -> bool {
        let (Some(url), Ok(base)) = (&self.url, parse_url(base_url)) else { return false };
        redirect(&base, url, 307, Method::Post).is_err()
    }

    /// The time between polls; zero for the time of the settings.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.poll_every.min(MAX_INTERVAL))
    }
}

/// Applies an offer to the current settings.
///
/// `base_url` is `config.url`. `has_ca_file` says whether `config.ca_file` is set.
///
/// # Errors
///
/// The reason, if a field cannot be taken. It contains no values, since they may be secrets.
pub fn judge(
    offer: &OpAmpConnectionSettings,
    current: &Connection,
    base_url: &str,
    has_ca_file: bool,
) -> Result<Connection, String> {
    let mut connection = Connection { poll_every: offer.heartbeat_interval_seconds, ..current.clone() };
    if let Some(tls) = &offer.tls {
        judge_tls(tls, has_ca_file)?;
    }
    if offer.proxy.as_ref().is_some_and(|proxy| !proxy.url.is_empty()) {
        return Err("proxy: a proxy is named in config.http_proxy and config.https_proxy only".into());
    }
    let current_url = current.url.as_deref().unwrap_or(base_url);
    if !offer.destination_endpoint.is_empty() {
        let url = as_http(&offer.destination_endpoint);
        if url.len() > MAX_URL {
            return Err(format!("destination_endpoint: is {} bytes, the most taken is {MAX_URL}", url.len()));
        }
        if parse_url(&url).is_err() {
            return Err("destination_endpoint: must be an http:// or https:// URL without user and password".into());
        }
        connection.url = (url != base_url).then_some(url);
    }
    let url = connection.url.as_deref().unwrap_or(base_url);
    if is_https(current_url) && !is_https(url) {
        return Err("destination_endpoint: is http:// where https:// is in use; TLS is not given up".into());
    }
    if let Some(headers) = &offer.headers {
        let pairs: Vec<_> = headers.headers.iter().map(|header| (header.key.clone(), header.value.clone())).collect();
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MAX_HEADER_BYTES {
            return Err(format!("headers: are {bytes} bytes, the most taken is {MAX_HEADER_BYTES}"));
        }
        for (key, value) in &pairs {
            if check_header(key, value).is_err() || OWN_HEADERS.iter().any(|ours| key.eq_ignore_ascii_case(ours)) {
                return Err(format!("headers: {key:.40?} cannot be set, or its value cannot be sent"));
            }
        }
        connection.headers = pairs;
    }
    connection.identity = match &offer.certificate {
        None => None,
        Some(certificate) => {
            let pem = |what: &str, bytes: &[u8]| match std::str::from_utf8(bytes) {
                _ if bytes.is_empty() => Err(format!("certificate.{what}: is missing")),
                Ok(text) if text.len() <= MAX_PEM => Ok(text.to_owned()),
                _ => Err(format!("certificate.{what}: is no PEM of at most {MAX_PEM} bytes")),
            };
            if !is_https(url) {
                return Err("certificate: needs an https:// URL".into());
            }
            let identity =
                Identity { cert: pem("cert", &certificate.cert)?, key: pem("private_key", &certificate.private_key)? };
            identity.check().map_err(|why| format!("certificate: {why}"))?;
            Some(identity)
        }
    };
    Ok(connection)
}

/// Accepts TLS settings only if they are no weaker than the agent's and change nothing.
fn judge_tls(tls: &TlsConnectionSettings, has_ca_file: bool) -> Result<(), String> {
    let version = |text: &str, good: &[&str]| text.is_empty() || good.contains(&text.trim_start_matches("TLSv"));
    let why = if tls.insecure_skip_verify {
        "insecure_skip_verify: the server's certificate is always verified"
    } else if !tls.ca_pem_contents.is_empty() {
        "ca_pem_contents: trusted CAs are set in config.ca_file only"
    } else if tls.include_system_ca_certs_pool && has_ca_file {
        "include_system_ca_certs_pool: only the CAs of config.ca_file are trusted"
    } else if !version(&tls.min_version, &["1.0", "1.1", "1.2"]) {
        "min_version: TLS 1.2 is the least, and no other can be set"
    } else if !version(&tls.max_version, &["1.3"]) {
        "max_version: TLS 1.3 is the highest, and no other can be set"
    } else if tls.cipher_suites.is_some() {
        "cipher_suites: cannot be set"
    } else {
        return Ok(());
    };
    Err(format!("tls.{why}"))
}

/// The URL for plain HTTP: a WebSocket URL leads to the same server.
fn as_http(url: &str) -> String {
    for (scheme, instead) in [("ws://", "http://"), ("wss://", "https://")] {
        if let Some(rest) = url.strip_prefix(scheme) {
            return format!("{instead}{rest}");
        }
    }
    url.to_owned()
}

pub(super) fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Header, Headers, ProxyConnectionSettings, TlsCertificate};
    use super::*;

    const HTTP: &str = "http://one.example:4320/v1/opamp";
    const HTTPS: &str = "https://one.example:4320/v1/opamp";

    fn judged(base: &str, change: impl FnOnce(&mut OpAmpConnectionSettings)) -> Result<Connection, String> {
        let mut offer = OpAmpConnectionSettings::default();
        change(&mut offer);
        judge(&offer, &Connection::default(), base, false)
    }

    fn refused(base: &str, change: impl FnOnce(&mut OpAmpConnectionSettings)) -> String {
        judged(base, change).map(|_| ()).unwrap_err()
    }

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let header = |(key, value): &(&str, &str)| Header { key: key.to_string(), value: value.to_string() };
        Headers { headers: pairs.iter().map(header).collect() }
    }

    #[test]
    fn fields_that_are_not_offered_keep_their_values() {
        let current = Connection {
            url: Some("https://two.example".into()),
            headers: vec![("Authorization".into(), "Bearer a".into())],
            identity: None,
            poll_every: 60,
        };
        let offer = OpAmpConnectionSettings { heartbeat_interval_seconds: 10, ..Default::default() };
        let judged = judge(&offer, &current, HTTPS, false).unwrap_or_default();
        assert!(judged.takes_same_route_as(&current));
        assert_eq!(judged.interval(), Duration::from_secs(10));

        let offer = OpAmpConnectionSettings { headers: Some(headers(&[])), ..Default::default() };
        let judged = judge(&offer, &current, HTTPS, false).unwrap_or_default();
        assert!(judged.headers.is_empty() && judged.url == current.url);
        assert_eq!(judged.interval(), Duration::ZERO);
    }

    #[test]
    fn an_endpoint_is_a_url_for_http_and_never_gives_up_tls() {
        let to = |base, url: &str| judged(base, |offer| offer.destination_endpoint = url.into()).map(|it| it.url);
        assert_eq!(to(HTTP, "http://two.example/v1"), Ok(Some("http://two.example/v1".into())));
        assert_eq!(to(HTTP, "wss://two.example/v1"), Ok(Some("https://two.example/v1".into())));
        assert_eq!(to(HTTPS, HTTPS), Ok(None));
        assert_eq!(to(HTTPS, "wss://one.example:4320/v1/opamp"), Ok(None));
        for (base, url, why) in [
            (HTTPS, HTTP, "TLS is not given up"),
            (HTTPS, "ws://one.example", "TLS is not given up"),
            (HTTP, "ftp://one.example", "must be an http:// or https:// URL"),
            (HTTP, "https://user:s3cret@one.example", "must be an http:// or https:// URL"),
            (HTTP, "one.example:4320", "must be an http:// or https:// URL"),
            (HTTP, &format!("http://{}", "a".repeat(MAX_URL)), "bytes, the most taken is 2048"),
        ] {
            let refused = to(base, url).unwrap_err();
            assert!(refused.starts_with("destination_endpoint: ") && refused.contains(why), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn headers_are_checked_and_their_values_not_printed() {
        let offered = judged(HTTP, |offer| offer.headers = Some(headers(&[("Authorization", "Bearer a")])));
        assert_eq!(offered.unwrap_or_default().headers, [("Authorization".to_owned(), "Bearer a".to_owned())]);
        for pair in [("X Key", "s3cret"), ("X", "s3cret\r\nY: z"), ("Content-Type", "s3cret"), ("content-length", "1")]
        {
            let why = refused(HTTP, |offer| offer.headers = Some(headers(&[pair])));
            assert!(why.starts_with("headers: ") && !why.contains("s3cret"), "{why}");
        }
        let large = "x".repeat(MAX_HEADER_BYTES);
        let why = refused(HTTP, |offer| offer.headers = Some(headers(&[("X", &large)])));
        assert_eq!(why, "headers: are 16385 bytes, the most taken is 16384");
    }

    #[test]
    fn tls_is_never_weakened() {
        let refused = |has_ca_file: bool, change: fn(&mut TlsConnectionSettings)| {
            let mut tls = TlsConnectionSettings::default();
            change(&mut tls);
            let offer = OpAmpConnectionSettings { tls: Some(tls), ..Default::default() };
            judge(&offer, &Connection::default(), HTTPS, has_ca_file).err()
        };
        assert_eq!(refused(true, |_| ()), None);
        assert_eq!(refused(false, |tls| tls.include_system_ca_certs_pool = true), None);
        assert_eq!(refused(false, |tls| tls.min_version = "TLSv1.2".into()), None);
        assert_eq!(refused(false, |tls| tls.max_version = "1.3".into()), None);
        type Change = fn(&mut TlsConnectionSettings);
        let cases: [(bool, Change, &str); 6] = [
            (false, |tls| tls.insecure_skip_verify = true, "insecure_skip_verify"),
            (false, |tls| tls.ca_pem_contents = "PEM".into(), "ca_pem_contents"),
            (true, |tls| tls.include_system_ca_certs_pool = true, "include_system_ca_certs_pool"),
            (false, |tls| tls.min_version = "1.3".into(), "min_version"),
            (false, |tls| tls.max_version = "TLSv1.1".into(), "max_version"),
            (false, |tls| tls.cipher_suites = Some("X".into()), "cipher_suites"),
        ];
        for (has_ca_file, change, what) in cases {
            let why = refused(has_ca_file, change).unwrap();
            assert!(why.starts_with(&format!("tls.{what}: ")), "{why}");
        }
    }

    #[test]
    fn a_proxy_is_not_taken_from_a_server() {
        let proxy = ProxyConnectionSettings { url: "http://proxy.example".into() };
        assert!(refused(HTTP, |offer| offer.proxy = Some(proxy)).starts_with("proxy: "));
        assert!(judged(HTTP, |offer| offer.proxy = Some(ProxyConnectionSettings::default())).is_ok());
    }

    #[test]
    fn a_certificate_needs_its_key_and_replaces_the_one_before() {
        let made = rcgen::generate_simple_self_signed(vec!["agent.example".into()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let offer = |cert: &str, key: &str| {
            let certificate = TlsCertificate { cert: cert.into(), private_key: key.into() };
            OpAmpConnectionSettings { certificate: Some(certificate), ..Default::default() }
        };
        let taken = judge(&offer(&cert, &key), &Connection::default(), HTTPS, false).unwrap_or_default();
        assert_eq!(taken.identity.as_ref().map(|identity| &identity.cert), Some(&cert));

        let without = judge(&OpAmpConnectionSettings::default(), &taken, HTTPS, false).unwrap_or_default();
        assert!(without.identity.is_none(), "an offer without a certificate takes back the one offered before");

        let other = rcgen::generate_simple_self_signed(vec!["agent.example".into()]).unwrap();
        for (cert, key, why) in [
            (&*cert, "", "certificate.private_key: is missing"),
            ("", &key, "certificate.cert: is missing"),
            ("no PEM", &key, "certificate: "),
            (&cert, &other.signing_key.serialize_pem(), "certificate: "),
            (&"x".repeat(MAX_PEM + 1), &key, "certificate.cert: is no PEM of at most"),
        ] {
            let refused = judge(&offer(cert, key), &Connection::default(), HTTPS, false).map(|_| ()).unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
        }
        let plain = judge(&offer(&cert, &key), &Connection::default(), HTTP, false).map(|_| ()).unwrap_err();
        assert_eq!(plain, "certificate: needs an https:// URL");
    }
}
