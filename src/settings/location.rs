//! Reads locations: URLs, and paths with or without `file:`. Pure.

use std::path::{Path, PathBuf};

use super::way_out::{bad_url, credentials};
use super::world::World;
use crate::http::parse_url;

/// Where a config comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// The absolute path of a file to watch.
    File(PathBuf),
    /// An `http://` or `https://` URL without a user name, to poll.
    Url(String),
}

/// Reads a location. `credentials` names the settings for user and password. The errors repeat no part of the location.
pub(crate) fn location(text: &str, credentials: &str, world: &World) -> Result<Location, String> {
    const KNOWN: &str = "write http://, https://, file:/// or a path (./ in front of one with a colon)";
    const PORT: &str = "a host with a port needs http:// or https:// in front (./ if it is a path)";
    let text = text.trim();
    // One letter before the colon is the name of a drive.
    let scheme = match text.split_once(':') {
        Some((scheme, rest)) if scheme.len() > 1 && !scheme.contains(['/', '\\']) => Some((scheme, rest)),
        Some(_) | None => None,
    };
    let Some((scheme, rest)) = scheme else {
        return absolute(text, world).map(Location::File);
    };
    if let Some(why) = other_scheme(text) {
        return Err(why.to_owned());
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => match parse_url(text) {
            Ok(_) => Ok(Location::Url(text.to_owned())),
            Err(error) => Err(bad_url(&error, credentials)),
        },
        "file" => {
            let path = match rest.strip_prefix("//") {
                Some(rest) => match rest.find('/') {
                    Some(at) if at == 0 || rest[..at].eq_ignore_ascii_case("localhost") => &rest[at..],
                    Some(_) | None => {
                        return Err("it names another host; write file:/// and the absolute path".to_owned());
                    }
                },
                None => rest,
            };
            if !path.starts_with('/') {
                return Err("write file:/// and the absolute path".to_owned());
            }
            let path = percent_decoded(path).ok_or("write % as %25; escaped bytes must be UTF-8")?;
            // file:///C:/x means C:/x, but only on a system where that is an absolute path.
            let path = match path.strip_prefix('/') {
                Some(drive) if Path::new(drive).is_absolute() => Path::new(drive),
                Some(_) | None => Path::new(&path),
            };
            Ok(Location::File(world.absolute(path)))
        }
        _ if rest.starts_with(|c: char| c.is_ascii_digit()) => Err(PORT.to_owned()),
        _ => Err(KNOWN.to_owned()),
    }
}

/// Reads a path and makes it absolute: `file:` in front does no harm, a URL is none.
pub(crate) fn path(text: &str, world: &World) -> Result<PathBuf, String> {
    if !text.to_ascii_lowercase().starts_with("file:") {
        return match text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '\\'])) {
            Some(_) => Err("this is a URL; write the path of a file on this host".to_owned()),
            None => absolute(text, world),
        };
    }
    match location(text, "", world)? {
        Location::File(path) => Ok(path),
        Location::Url(_) => unreachable!("it has the scheme of a file"),
    }
}

/// Makes a path absolute. A `~` or a variable of a shell is refused: nothing replaces it here.
fn absolute(text: &str, world: &World) -> Result<PathBuf, String> {
    let text = text.trim();
    let mut start = text.chars();
    let (first, second) = (start.next(), start.next());
    match first {
        Some('~') => Err("~ is not replaced here; write the path in full, such as /home/NAME/FILE".to_owned()),
        Some('$') if second.is_some_and(|c| c.is_ascii_alphabetic()) => {
            Err("a variable is written ${env:NAME} here".to_owned())
        }
        Some('%') if second.is_some_and(|c| c.is_ascii_alphabetic()) && text[1..].contains('%') => {
            Err("a variable is written ${env:NAME} here".to_owned())
        }
        _ => Ok(world.absolute(Path::new(text))),
    }
}

/// The form to write instead of a URL with a scheme of another protocol.
fn other_scheme(text: &str) -> Option<&'static str> {
    let (scheme, _) = text.split_once("://")?;
    Some(match scheme.to_ascii_lowercase().as_str() {
        "wss" => "it is asked over HTTP, not over a WebSocket; write https:// instead of wss://",
        "ws" => "it is asked over HTTP, not over a WebSocket; write http:// instead of ws://",
        "grpc" | "grpcs" => {
            "gRPC is not spoken; write http:// or https:// and the port for HTTP, for OTLP usually 4318"
        }
        "unix" | "tcp" => "only HTTP is spoken; write http:// or https:// in front of host and port",
        _ => return None,
    })
}

/// Reads a URL, and refuses a path.
pub(crate) fn url(key: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    parse_url(text).map(|_| text.to_owned()).map_err(|error| match (other_scheme(text), text.contains("://")) {
        (Some(why), _) => why.to_owned(),
        (None, false) => "write http:// or https:// in front of the host".to_owned(),
        (None, true) => bad_url(&error, &credentials(key)),
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refused, world};
    use super::*;

    #[test]
    fn a_location_is_a_url_or_an_absolute_path() {
        let file = |path: &str| Ok(Location::File(path.into()));
        let url = |url: &str| Ok(Location::Url(url.to_owned()));
        let world = world(&[], &[]);
        for (text, expected) in [
            ("https://c.example/v1?a=b", url("https://c.example/v1?a=b")),
            ("HTTP://[::1]:8080", url("HTTP://[::1]:8080")),
            ("http://c.example:80/x:y@z", url("http://c.example:80/x:y@z")),
            ("file:///etc/a%20b%2e.yaml", file("/etc/a b..yaml")),
            ("file://localhost/a", file("/a")),
            ("file:/a", file("/a")),
            ("/a/./b", file("/a/b")),
            ("a.yaml", file("/here/a.yaml")),
            ("./a:b.yaml", file("/here/a:b.yaml")),
            ("../a.yaml", file("/here/../a.yaml")),
            (" https://c.example/v1 ", url("https://c.example/v1")),
            (" /a ", file("/a")),
        ] {
            assert_eq!(location(text, "", &world), expected, "{text}");
        }
        for text in [
            "ftp://c.example/x",
            "c.example:4318/x",
            "http:c.example",
            "http://",
            "http:///x",
            "http://c.example:99999/",
            "http://c.example:/",
            "http://c.example:x/",
            "http://a b/",
            "file://host/a",
            "file:a",
            "file://",
            "file:///a%2",
            "file:///a%ff",
            "file:///a%00",
        ] {
            assert!(location(text, "", &world).is_err(), "{text}");
        }
        assert_eq!(
            refused("config: {url: \"ftp://c.example\"}"),
            "FILE:1:15: config.url: expected URL, found \"ftp://c.example\": write http://, https://, file:/// or a \
             path (./ in front of one with a colon)"
        );
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        assert_eq!(
            refused("config: {url: \"https://me:hunter2@c.example\"}"),
            "FILE:1:15: config.url: expected URL, found <set>: has a user or password in it; use config.headers or \
             config.bearer_token_file"
        );
        for (yaml, way_out) in [
            ("config: {fallback: [\"https://me:hunter2@c.example\"]}", "config.headers or config.bearer_token_file"),
            ("report: {url: \"https://me:hunter2@c.example\"}", "report.headers"),
            ("webhook: {url: \"https://me:hunter2@c.example\"}", "webhook.headers"),
            ("export: {to: \"https://me:hunter2@c.example\"}", "export.headers"),
            ("checks: [{http: \"https://me:hunter2@c.example\"}]", "checks[0].headers"),
        ] {
            let refused = refused(yaml);
            assert!(refused.ends_with(&format!("has a user or password in it; use {way_out}")), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
