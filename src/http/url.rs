//! Which URLs are asked, and how they are printed. Pure.

use ureq::http::Uri;
use ureq::http::uri::{Authority, Scheme};

use super::HttpError;

/// Checks that a URL is one that [`Client::send`](super::Client::send) takes.
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
pub(super) fn is_host_and_port(authority: &Authority) -> bool {
    let rest = authority.as_str().rsplit('@').next().unwrap_or("");
    match authority.port_u16() {
        Some(port) => port != 0 && !authority.host().is_empty(),
        None => !rest.is_empty() && rest == authority.host(),
    }
}

/// A URL as it may be printed: without query and user.
pub fn public(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host}{}", uri.path())
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
    fn a_url_is_printed_without_query_and_user() {
        let shown = public(&"https://u:p@c.example:8443/v1/a?key=s3cret".parse().unwrap());
        assert_eq!(shown, "https://c.example:8443/v1/a");
        assert_eq!(public(&"http://c.example".parse().unwrap()), "http://c.example/");
    }
}
