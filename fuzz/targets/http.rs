//! URLs, proxies, headers and redirects of any content: accepted ones are safe to request and to print.
//!
//! The input is lines: a URL, a `Location`, a `Retry-After`, a proxy, a `NO_PROXY`, a header's name, its value, a `Date`.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use otelet::http::{
    Method, Response, bypasses_proxy, check_header, parse_proxy, parse_url, public, redirect, retry_after,
};
use ureq::http::{HeaderMap, HeaderValue, Uri, header};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(8, |byte| *byte == b'\n');
    let mut bytes = || lines.next().unwrap_or_default();
    let (url, location, wait, proxy) = (bytes(), bytes(), bytes(), bytes());
    let (no_proxy, name, value, date) = (bytes(), bytes(), bytes(), bytes());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    if let Ok(uri) = parse_url(&text(url)) {
        let shown = public(&uri);
        assert!(!shown.contains('?') && uri.authority().is_some_and(|authority| !authority.as_str().contains('@')));
        bypasses_proxy(&text(no_proxy), uri.host().unwrap(), uri.port_u16().unwrap_or(80));
        for (status, method) in [(302, Method::Get), (307, Method::Post)] {
            if let Ok(to) = redirect(&uri, &text(location), status, method) {
                check_redirect(&uri, &to);
            }
        }
        assert!(redirect(&uri, &text(location), 302, Method::Post).is_err(), "its body would be lost");
    }
    if let Err(error) = parse_proxy("http", &text(proxy)) {
        let said = error.to_string();
        assert!(said.len() < 200, "nothing of it is repeated: {said}");
    }
    if let Ok((name, value)) = check_header(&text(name), &text(value)) {
        assert!(
            !name.as_str().contains(['\r', '\n', ':']) && !value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte))
        );
    }
    let limited = |wait: Option<Duration>| assert!(wait.is_none_or(|wait| wait <= DAY), "{wait:?}");
    limited(retry_after(&text(wait), SystemTime::UNIX_EPOCH));

    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::ETAG, name),
        (header::LAST_MODIFIED, value),
        (header::RETRY_AFTER, wait),
        (header::DATE, date),
        (header::LOCATION, location),
    ] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    limited(Response::head(503, &headers, SystemTime::UNIX_EPOCH).retry_after);
});

/// No header ever reaches another server, or the same one without TLS.
fn check_redirect(from: &Uri, to: &Uri) {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let tls = |uri: &Uri| uri.scheme_str() == Some("https");
    assert!(from.host().unwrap().eq_ignore_ascii_case(to.host().unwrap()), "{from} {to}");
    assert!(tls(to) || !tls(from), "{from} {to}");
    let upgraded = !tls(from) && tls(to) && (port(from), port(to)) == (80, 443);
    assert!(port(from) == port(to) || upgraded, "{from} {to}");
}
