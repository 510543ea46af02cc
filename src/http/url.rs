//! Checks URLs, and prints them without secrets. Pure.

use std::sync::atomic::{AtomicBool, Ordering};

use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};

use otelet_core::text::shown_path;

/// Why a URL cannot be requested. The message does not repeat the URL: one that cannot be parsed may have a password
/// anywhere.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UrlError {
    #[error("not a URL: {0}")]
    Invalid(String),
    #[error("must start with http:// or https://")]
    Scheme,
    #[error("has no host")]
    NoHost,
    #[error("has a user or password in it")]
    HasUser,
    #[error("has no usable host and port")]
    HostAndPort,
}

/// Checks that [`Client::send`](super::Client::send) can request this URL.
///
/// # Errors
///
/// A [`UrlError`] without the URL.
pub fn parse_url(url: &str) -> Result<Uri, UrlError> {
    let uri: Uri = url
        .parse()
        .map_err(|error: ureq::http::uri::InvalidUri| UrlError::Invalid(advice(url).unwrap_or(error.to_string())))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(UrlError::Scheme);
    }
    let authority = uri.authority().ok_or(UrlError::NoHost)?;
    if authority.as_str().contains('@') {
        return Err(UrlError::HasUser);
    }
    if !is_host_and_port(authority) {
        return Err(UrlError::HostAndPort);
    }
    Ok(uri)
}

/// The form to write instead of a URL that cannot be parsed.
fn advice(url: &str) -> Option<String> {
    let Some((_, rest)) = url.split_once("://") else {
        return Some("write http:// or https:// in front of the host, with two slashes".into());
    };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !host.is_ascii() {
        return Some("its name has letters that are not ASCII; write the form that begins with xn--".into());
    }
    let is_odd = path.bytes().any(|byte| !byte.is_ascii_graphic());
    is_odd.then(|| {
        "write a blank in it as %20, and other characters by their bytes in UTF-8, as %C3%BC for \u{fc}".into()
    })
}

/// Whether there is a host, and either no port or a valid one. The parser itself reads `h:x` as a host without port.
pub(super) fn is_host_and_port(authority: &Authority) -> bool {
    let rest = authority.as_str().rsplit('@').next().unwrap_or("");
    match authority.port_u16() {
        Some(port) => port != 0 && !authority.host().is_empty(),
        None => !rest.is_empty() && rest == authority.host(),
    }
}

/// Whether the path of each URL is a secret. One for the process: a URL is shown by all its parts.
static HIDES_PATHS: AtomicBool = AtomicBool::new(false);

/// Makes the path of each URL a secret, or only the parts that look like a token.
pub fn hide_paths(hide: bool) {
    HIDES_PATHS.store(hide, Ordering::Relaxed);
}

/// Whether the path of each URL is a secret.
pub fn hides_paths() -> bool {
    HIDES_PATHS.load(Ordering::Relaxed)
}

/// Returns the text of a URL for messages, if it is one, and else the text. A URL without a path gets no slash.
pub fn public_text(url: &str) -> String {
    match parse_url(url) {
        Ok(uri) if uri.path() != "/" => public(&uri),
        Ok(_) | Err(_) => url.to_owned(),
    }
}

/// Returns a URL for messages: without query and user, which may be secrets, and without parts of its path that look like
/// one.
pub fn public(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host}{}", shown_path(uri.path(), hides_paths()))
}

pub(super) fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

pub(super) fn port(uri: &Uri) -> u16 {
    let default = if is_https(uri) { 443 } else { 80 };
    uri.port_u16().unwrap_or(default)
}

/// A host without the brackets around an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_parsed_is_refused_with_the_form_to_write() {
        for (url, words) in [
            ("http:/c.example/x", "with two slashes"),
            ("https://s\u{fc}d.example/x", "begins with xn--"),
            ("https://c.example/Werk S\u{fc}d.yaml", "write a blank in it as %20"),
            ("https://c.example/\u{fc} a", "as %C3%BC for"),
            ("http://h ost/x", "invalid uri character"),
        ] {
            let said = parse_url(url).unwrap_err().to_string();
            assert!(said.starts_with("not a URL: ") && said.contains(words), "{url}: {said}");
        }
    }

    #[test]
    fn a_url_is_printed_without_query_and_user() {
        let shown = public(&"https://u:p@c.example:8443/v1/a?key=s3cret".parse().unwrap());
        assert_eq!(shown, "https://c.example:8443/v1/a");
        let hook = "https://hooks.example/services/T0/abcdefghij0123456789ABCD";
        assert_eq!(public(&hook.parse().unwrap()), "https://hooks.example/services/T0/<redacted>");
        assert_eq!(public(&"http://c.example".parse().unwrap()), "http://c.example/");
    }
}
