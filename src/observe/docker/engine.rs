//! The engine's name and version, requests to it, and its errors in words.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::container::{clip, short};
use crate::http::{STEP, host_and_port};
use crate::os::{self, Family, LocalStream};

/// The version of the API that the agent uses if the engine has it. It came with Docker 20.10.
const PREFERRED: ApiVersion = ApiVersion(1, 41);

/// The oldest version whose events name the container (`Actor`). It came with Docker 1.12.
const OLDEST: ApiVersion = ApiVersion(1, 24);

/// A version of the API, such as 1.41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u16, u16);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The engine that listens at the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// `Docker` or `Podman`.
    pub name: &'static str,
    pub version: String,
    /// The version of the API that the agent uses with it.
    pub api: ApiVersion,
}

impl Engine {
    /// Reads the answer to `/version`, and picks the version of the API that both sides have.
    ///
    /// # Errors
    ///
    /// A sentence, if the answer is not an engine's or its API is too old.
    pub fn read(answer: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct VersionAnswer {
            version: String,
            api_version: String,
            #[serde(rename = "MinAPIVersion")]
            min_api_version: Option<String>,
            components: Option<Vec<Component>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Component {
            name: String,
        }
        let answered: VersionAnswer = serde_json::from_slice(answer)
            .map_err(|error| format!("the program that listens there does not speak the Docker API: {error}"))?;
        let newest = ApiVersion::parse(&answered.api_version)
            .ok_or_else(|| format!("the engine says that it speaks API {:?}", clip(&answered.api_version, 40)))?;
        let oldest = answered.min_api_version.as_deref().and_then(ApiVersion::parse).unwrap_or(OLDEST);
        if newest < OLDEST {
            return Err(format!("the engine speaks API {newest}, and {OLDEST} is needed; use Docker 1.12 or later"));
        }
        let podman = answered.components.iter().flatten().any(|component| component.name.contains("Podman"));
        Ok(Self {
            name: if podman { "Podman" } else { "Docker" },
            version: clip(&answered.version, 80).to_owned(),
            // A future engine may have dropped the preferred version: then its oldest one is the nearest.
            api: PREFERRED.min(newest).max(oldest),
        })
    }

    /// Podman answers Docker's API without being Docker.
    pub fn is_podman(&self) -> bool {
        self.name == "Podman"
    }
}

/// `Docker 20.10.24 (API 1.41)`
impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} (API {})", self.name, self.version, self.api)
    }
}

/// The `host:port` of an engine, or of a proxy before it, that is not at a socket in the file system.
pub(super) fn tcp_address(socket: &Path) -> Option<&str> {
    socket.to_str()?.strip_prefix("tcp://")
}

/// Connects from a thread that may wait this long. A socket in the file system never makes it wait.
pub(super) fn connect(socket: &Path, limit: Duration) -> io::Result<LocalStream> {
    match tcp_address(socket) {
        Some(address) => LocalStream::over_tcp(dial(address, limit)?),
        None => LocalStream::connect(socket),
    }
}

/// Connects to `host:port`: to the first address that accepts. The error is that of the last one.
pub(super) fn dial(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let until = Instant::now() + limit;
    let no_port = || io::Error::new(io::ErrorKind::InvalidInput, "it has no port");
    let (host, port) = host_and_port(address).ok_or_else(no_port)?;
    let found = os::look_up(host, port, Family::Any, until).map_err(io::Error::other)?;
    os::connect_first(&found, STEP, until)
        .map_err(|last| last.map_or_else(|| io::ErrorKind::TimedOut.into(), |(_, error)| error))
}

/// The error of the socket, and what to do about it.
pub(super) fn cannot_connect(socket: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let socket = socket.display();
    match error.kind() {
        ErrorKind::NotFound => format!(
            "docker.socket {socket}: no such socket; is the engine installed and running, and in a container, is the \
             socket mounted?"
        ),
        ErrorKind::PermissionDenied => format!(
            "docker.socket {socket}: permission denied; add the agent's user to the socket's group, usually docker, and \
             restart the agent"
        ),
        ErrorKind::ConnectionRefused => {
            format!("docker.socket {socket}: nothing listens there; is the engine running?")
        }
        ErrorKind::WouldBlock => format!("docker.socket {socket}: the engine takes no more connections; does it hang?"),
        _ => format!("docker.socket {socket}: {error}"),
    }
}

/// A GET request. The engine closes the connection after its answer.
pub(super) fn request(path: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("GET {path} HTTP/1.1\r\nHost: docker\r\nUser-Agent: otelet/{version}\r\nConnection: close\r\n\r\n")
}

/// A path for people: without the query, and of a container's id the digits that the engine's own client shows.
pub(super) fn shown(path: &str) -> String {
    let parts = path.split('?').next().unwrap_or_default().split('/');
    let parts: Vec<&str> = parts.map(|part| if part.len() == 64 { short(part) } else { part }).collect();
    parts.join("/")
}

/// The error of an answer whose status is not 2xx. Its body is `{"message": "..."}`.
pub(super) fn error_answer(path: &str, status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct ErrorBody {
        message: String,
    }
    let path = shown(path);
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { message }) => {
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{path} answered {status}: {}", clip(&message, 300))
        }
        // HAProxy, in front of an engine.
        Err(_) if status == 403 => {
            format!("{path} answered 403; a socket proxy has to allow it (CONTAINERS=1, EVENTS=1, VERSION=1)")
        }
        Err(_) if body.windows(12).any(|part| part == b"HTTPS server") => {
            format!("{path} answered {status}: the engine wants TLS there, which is not spoken; use a socket proxy")
        }
        Err(_) => format!("{path} answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_version_is_one_that_the_engine_has() {
        let api = |newest: &str, oldest: &str| {
            let said = format!(r#"{{"Version":"1","ApiVersion":"{newest}","MinAPIVersion":"{oldest}"}}"#);
            Engine::read(said.as_bytes()).map(|engine| engine.api.to_string())
        };
        assert_eq!(api("1.41", "1.12").unwrap(), "1.41");
        assert_eq!(api("1.54", "1.44").unwrap(), "1.44");
        assert_eq!(api("1.30", "1.12").unwrap(), "1.30");
        assert_eq!(
            api("1.20", "1.12").unwrap_err(),
            "the engine speaks API 1.20, and 1.24 is needed; use Docker 1.12 or later"
        );
        assert_eq!(api("new", "1.12").unwrap_err(), "the engine says that it speaks API \"new\"");
        let foreign = Engine::read(b"<html>").unwrap_err();
        assert!(
            foreign.starts_with("the program that listens there does not speak the Docker API: expected value"),
            "{foreign}"
        );
    }

    #[test]
    fn podman_is_recognised_by_its_components() {
        let said = br#"{"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}"#;
        let engine = Engine::read(said).unwrap();
        assert!(engine.is_podman());
        assert_eq!(engine.to_string(), "Podman 4.3.1 (API 1.41)");
    }

    #[test]
    fn an_error_has_the_engines_message_on_one_line() {
        assert_eq!(
            error_answer("/v1.99/events?since=1", 400, br#"{"message":"client version 1.99\nis too new"}"#),
            "/v1.99/events answered 400: client version 1.99 is too new"
        );
        assert_eq!(error_answer("/version", 502, b"<html>"), "/version answered 502");
        let long = format!("/v1.41/containers/{}/stats?stream=false", "0123456789abcdef".repeat(4));
        assert_eq!(error_answer(&long, 500, b""), "/v1.41/containers/0123456789ab/stats answered 500");
        assert_eq!(
            error_answer("/events?since=1", 403, b"<html><body><h1>403 Forbidden</h1>"),
            "/events answered 403; a socket proxy has to allow it (CONTAINERS=1, EVENTS=1, VERSION=1)"
        );
        assert_eq!(
            error_answer("/version", 400, b"Client sent an HTTP request to an HTTPS server.\n"),
            "/version answered 400: the engine wants TLS there, which is not spoken; use a socket proxy"
        );
    }

    #[test]
    fn a_socket_error_says_what_to_do() {
        let said = |kind: std::io::ErrorKind| cannot_connect(Path::new("/run/d.sock"), &kind.into());
        assert!(said(std::io::ErrorKind::NotFound).contains("no such socket; is the engine installed"));
        assert!(said(std::io::ErrorKind::PermissionDenied).contains("add the agent's user to the socket's group"));
        assert!(said(std::io::ErrorKind::ConnectionRefused).contains("is the engine running?"));
        assert!(said(std::io::ErrorKind::WouldBlock).contains("takes no more connections"));
    }
}
