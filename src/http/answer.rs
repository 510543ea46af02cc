//! The response of a server: the headers that the agent uses, and the rules for redirects. Pure.

use std::io::Read;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, HeaderName, Uri, header};

use super::error::HttpError;
use super::inflate::{Container, Inflate, is_text};
use super::meter::Traffic;
use super::request::{MAX_REDIRECTS, Method};
use super::url::{is_https, parse_url, port, public};
use otelet_core::text::clip;

/// The longest `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest `Location` that is followed, in bytes. Signed URLs of object stores have 2 KiB with a session's token.
const MAX_LOCATION: usize = 8 * 1024;

/// The longest one without its query, in bytes: messages repeat that.
const MAX_PLACE: usize = 2048;

#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Any status, including failures.
    pub status: u16,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// How long the server wants no further request; at most a day.
    pub retry_after: Option<Duration>,
    pub location: Option<String>,
    /// The URL that answered, as it may be printed, if a redirect has led to another server.
    pub away: Option<String>,
    /// The server's clock, from the `Date` header.
    pub date: Option<SystemTime>,
    /// The body of a 2xx answer, without its encodings. Other bodies are not read.
    pub body: Vec<u8>,
    /// Why the body is not whole, for a request that does not depend on it; see [`Reads::Beginning`](super::Reads).
    pub unread: Option<HttpError>,
    /// The bytes of this exchange on the wire, TLS and proxy included, TCP's own headers not.
    pub traffic: Traffic,
}

impl Response {
    /// Makes a response without a body. `now` is used if the server sends no `Date`.
    pub fn head(status: u16, headers: &HeaderMap, now: SystemTime) -> Self {
        let date = text(headers, header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        let owned = |name| text(headers, name).map(str::to_owned);
        Self {
            status,
            etag: owned(header::ETAG),
            last_modified: owned(header::LAST_MODIFIED),
            retry_after: text(headers, header::RETRY_AFTER).and_then(|value| retry_after(value, date.unwrap_or(now))),
            location: headers.get(header::LOCATION).map(|location| escaped(location.as_bytes())),
            away: None,
            date,
            body: Vec::new(),
            unread: None,
            traffic: Traffic::default(),
        }
    }

    /// The target, if this is a redirect.
    pub(super) fn redirects(&self) -> Option<&str> {
        let location = self.location.as_deref()?;
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then_some(location)
    }
}

/// The compressions that are not understood. Other values of `Content-Encoding` (none, an empty one, `aws-chunked`, a
/// charset) say nothing about the bytes of the body.
const FOREIGN: &[&str] =
    &["br", "zstd", "compress", "x-compress", "dcb", "dcz", "lz4", "snappy", "xz", "lzma", "bzip2", "pack200-gzip"];

/// The most layers of compression that are undone.
const MAX_LAYERS: usize = 2;

/// The encodings of a body.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Encodings {
    /// In the order in which the server has applied them.
    layers: Vec<Container>,
    /// The first that is not understood.
    foreign: Option<String>,
}

impl Encodings {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in String::from_utf8_lossy(value.as_bytes()).split(',') {
                let name = name.trim().to_ascii_lowercase();
                match &*name {
                    "gzip" | "x-gzip" if all.layers.len() < MAX_LAYERS => all.layers.push(Container::Gzip),
                    "deflate" if all.layers.len() < MAX_LAYERS => all.layers.push(Container::Zlib),
                    "gzip" | "x-gzip" | "deflate" => all.foreign = all.foreign.or(Some(name)),
                    other if FOREIGN.contains(&other) => all.foreign = all.foreign.or(Some(name)),
                    _ => {}
                }
            }
        }
        all
    }

    /// Whether the bytes of the body are those that the connection brings.
    pub(super) fn are_none(&self) -> bool {
        self.layers.is_empty()
    }

    /// The body without its layers.
    pub(super) fn undo<'a>(&self, body: impl Read + 'a) -> Box<dyn Read + 'a> {
        let body: Box<dyn Read + 'a> = Box::new(body);
        self.layers.iter().rev().fold(body, |body, layer| Box::new(Inflate::new(body, *layer)))
    }

    /// The encoding that keeps this body from being understood. A label on plain text is wrong: no compressor makes that.
    pub(super) fn obstacle(&self, body: &[u8]) -> Option<&str> {
        self.foreign.as_deref().filter(|_| !is_text(body))
    }
}

/// The value of a header. One with other characters than visible ASCII counts as absent.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A `Location` as browsers read it: without blanks around it, `\` as `/`, and all else escaped that no URL may have.
fn escaped(location: &[u8]) -> String {
    let location = location.trim_ascii();
    let path_end = location.iter().position(|byte| *byte == b'?').unwrap_or(location.len());
    let mut out = String::with_capacity(location.len());
    for (at, byte) in location.iter().enumerate() {
        match byte {
            b'\\' if at < path_end => out.push('/'),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => out += &format!("%{byte:02X}"),
            b'!'..=b'~' => out.push(char::from(*byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// A path without `.` and `..` (RFC 3986, 5.2.4).
fn tidy(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            ".." => drop(kept.pop()),
            "." => {}
            other => kept.push(other),
        }
        if matches!(segment, "." | "..") && segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// A `Location` for a message: without query and user, which may be secrets.
fn shown(location: &str) -> String {
    let place = location.split(['?', '#']).next().unwrap_or_default();
    clip(place.rsplit('@').next().unwrap_or_default()).to_string()
}

/// The time to wait that a `Retry-After` header asks for, either in seconds or as a date; at most a day.
///
/// `now` should be the server's own `Date`, since the clocks of edge hosts are often wrong.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit means a very long time.
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Why a redirect is not followed. URLs in it have neither query nor user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RedirectError {
    /// The target cannot be requested.
    #[error("redirects to something that is not a usable http:// or https:// URL: {to}")]
    Unusable { to: String },
    /// The target is not on the same server.
    #[error("redirects to {to}, {why}")]
    Elsewhere {
        to: String,
        /// The difference from the server.
        why: &'static str,
    },
    /// It would turn a POST into a GET. All statuses but 307 and 308 do.
    #[error("answered a POST with {status}, which does not keep its body, and leads to {to}")]
    LosesBody { status: u16, to: String },
    /// It is one redirect too many.
    #[error("redirects more than {MAX_REDIRECTS} times, at last to {last}")]
    Loop {
        /// The URL that was not requested any more.
        last: String,
    },
}

/// Returns the target of a redirect, if it may be followed.
///
/// # Errors
///
/// A [`RedirectError`], with the target if that can be requested.
pub fn redirect(from: &Uri, location: &str, status: u16, method: Method) -> Result<Uri, RedirectError> {
    let to = target(from, location)?;
    if method == Method::Post && status < 307 {
        return Err(RedirectError::LosesBody { status, to: public(&to) });
    }

    let same_host = from.host().unwrap_or("").eq_ignore_ascii_case(to.host().unwrap_or(""));
    let same_port = port(from) == port(&to);
    let why = match (is_https(from), is_https(&to)) {
        _ if !same_host => "another host",
        (true, false) => "which is not encrypted",
        (false, true) if same_port || (port(from), port(&to)) == (80, 443) => return Ok(to),
        _ if same_port => return Ok(to),
        _ => "another port",
    };
    Err(RedirectError::Elsewhere { to: public(&to), why })
}

/// Returns the target of a redirect to another server, if it may be followed without anything that was meant for the
/// first one.
///
/// # Errors
///
/// A [`RedirectError`] for a target that is no URL, or not encrypted: anybody on the way could change what it brings.
pub(super) fn redirect_away(from: &Uri, location: &str) -> Result<Uri, RedirectError> {
    let to = target(from, location)?;
    match is_https(&to) {
        true => Ok(to),
        false => Err(RedirectError::Elsewhere { to: public(&to), why: "another server, which is not encrypted" }),
    }
}

/// The URL that a `Location` means.
fn target(from: &Uri, location: &str) -> Result<Uri, RedirectError> {
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
    let unusable = || RedirectError::Unusable { to: shown(location) };
    let is_short = |to: &Uri| location.len() <= MAX_LOCATION && public(to).len() <= MAX_PLACE;
    let mut to = parse_url(&absolute).ok().filter(is_short).ok_or_else(unusable)?;
    if to.path().contains("/.") {
        let query = to.query().map_or(String::new(), |query| format!("?{query}"));
        let origin = format!("{}://{}", to.scheme_str().unwrap_or("http"), to.authority().map_or("", |a| a.as_str()));
        to = parse_url(&format!("{origin}{}{query}", tidy(to.path()))).map_err(|_| unusable())?;
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_on_the_same_server_only() {
        let to = |from: &str, location: &str| {
            let from = from.parse().unwrap();
            redirect(&from, location, 302, Method::Get).map(|to| to.to_string()).map_err(|why| why.to_string())
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
            (from, "a".repeat(MAX_LOCATION + 1).as_str(), "redirects to something that is not a usable"),
        ] {
            let refused = to(from, location).unwrap_err();
            assert!(refused.starts_with(why), "{location}: {refused}");
        }

        let post = |status| redirect(&from.parse().unwrap(), "/c", status, Method::Post);
        assert_eq!([301, 302, 303, 307, 308].map(|status| post(status).is_ok()), [false, false, false, true, true]);
        assert_eq!(
            post(302).unwrap_err().to_string(),
            "answered a POST with 302, which does not keep its body, and leads to https://c.example/c"
        );
    }

    #[test]
    fn a_location_is_read_as_browsers_read_it() {
        let from: Uri = "https://c.example/a/b?x=y".parse().unwrap();
        for (sent, path) in [
            (&b"/files/site 12.yaml"[..], "/files/site%2012.yaml"),
            ("/files/Werk-S\u{fc}d.yaml".as_bytes(), "/files/Werk-S%C3%BCd.yaml"),
            (b"/Werk-S\xfcd.yaml", "/Werk-S%FCd.yaml"),
            (b"  /a\t", "/a"),
            (b"/a%20b", "/a%20b"),
            (b"/\"a\"<b>{c}|d^`", "/%22a%22%3Cb%3E%7Bc%7D%7Cd%5E%60"),
            (b"\\a\\b?c\\d", "/a/b?c%5Cd"),
            (b"../c", "/c"),
            (b"../../../c/./d/..", "/c/"),
            (b"./c?d=../e", "/a/c?d=../e"),
            (b"/a/.hidden/..b", "/a/.hidden/..b"),
            (b"c d#e f", "/a/c%20d"),
        ] {
            let location = escaped(sent);
            let to = redirect(&from, &location, 302, Method::Get).unwrap();
            assert_eq!(to.path_and_query().unwrap().as_str(), path, "{location}");
            assert_eq!(to.host(), Some("c.example"));
        }
        for (sent, said) in [
            (&b"ftp://u:s3cret@d.example/a?k=s3cret"[..], "http:// or https:// URL: d.example/a"),
            ("https://s\u{fc}d.example/a b".as_bytes(), "http:// or https:// URL: https://s%C3%BCd.example/a%20b"),
            (b"\\\\d.example\\a", "redirects to https://d.example/a, another host"),
        ] {
            let why = redirect(&from, &escaped(sent), 302, Method::Get).unwrap_err().to_string();
            assert!(why.ends_with(said), "{why}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
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
}
