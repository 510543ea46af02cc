//! The engine itself: its name and versions, how it is asked, and its refusals in words.

use std::path::Path;

use serde::Deserialize;

use super::container::clip;

/// The version of the API that is spoken, if the engine knows it: that of Docker 20.10.
const SPOKEN: ApiVersion = ApiVersion(1, 41);

/// The oldest version whose events say who acted: Docker 1.12.
const OLDEST: ApiVersion = ApiVersion(1, 24);

/// A version of the API: 1.41.
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

/// Who listens at the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// `Docker` or `Podman`.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// What is spoken with it.
    pub api: ApiVersion,
}

impl Engine {
    /// Reads the answer to `/version`, and picks the version of the API that both know.
    ///
    /// # Errors
    ///
    /// In words, if it is none or they have none in common.
    pub fn read(answer: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Said {
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
        let said: Said = serde_json::from_slice(answer)
            .map_err(|error| format!("what listens there does not speak the Docker API: {error}"))?;
        let newest = ApiVersion::parse(&said.api_version)
            .ok_or_else(|| format!("the engine says that it speaks API {:?}", clip(&said.api_version, 40)))?;
        let oldest = said.min_api_version.as_deref().and_then(ApiVersion::parse).unwrap_or(OLDEST);
        if newest < OLDEST {
            return Err(format!("the engine speaks API {newest}, and {OLDEST} is needed; use Docker 1.12 or later"));
        }
        let podman = said.components.iter().flatten().any(|component| component.name.contains("Podman"));
        Ok(Self {
            name: if podman { "Podman" } else { "Docker" },
            version: clip(&said.version, 80).to_owned(),
            // An engine of tomorrow may have given up what is spoken today: then its oldest is nearest.
            api: SPOKEN.min(newest).max(oldest),
        })
    }

    /// Whether it answers Docker's API without being Docker.
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

/// What is wrong with the socket, with the way out.
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
            format!("docker.socket {socket}: nobody listens there; is the engine running?")
        }
        ErrorKind::WouldBlock => format!("docker.socket {socket}: the engine takes no more connections; does it hang?"),
        _ => format!("docker.socket {socket}: {error}"),
    }
}

/// A GET, whose answer ends with the connection.
pub(super) fn request(path: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("GET {path} HTTP/1.1\r\nHost: docker\r\nUser-Agent: otelet/{version}\r\nConnection: close\r\n\r\n")
}

/// What an engine says with a status that is not good: `{"message": "..."}`.
pub(super) fn complaint(path: &str, status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let path = path.split('?').next().unwrap_or_default();
    match serde_json::from_slice::<Said>(body) {
        Ok(Said { message }) => {
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{path} answered {status}: {}", clip(&message, 300))
        }
        Err(_) => format!("{path} answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_spoken_is_one_that_the_engine_knows() {
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
        assert!(foreign.starts_with("what listens there does not speak the Docker API: expected value"), "{foreign}");
    }

    #[test]
    fn podman_is_known_by_its_components() {
        let said = br#"{"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}"#;
        let engine = Engine::read(said).unwrap();
        assert!(engine.is_podman());
        assert_eq!(engine.to_string(), "Podman 4.3.1 (API 1.41)");
    }

    #[test]
    fn a_complaint_has_the_engines_words_in_one_line() {
        assert_eq!(
            complaint("/v1.99/events?since=1", 400, br#"{"message":"client version 1.99\nis too new"}"#),
            "/v1.99/events answered 400: client version 1.99 is too new"
        );
        assert_eq!(complaint("/version", 502, b"<html>"), "/version answered 502");
    }

    #[test]
    fn a_socket_that_cannot_be_used_comes_with_the_way_out() {
        let said = |kind: std::io::ErrorKind| cannot_connect(Path::new("/run/d.sock"), &kind.into());
        assert!(said(std::io::ErrorKind::NotFound).contains("no such socket; is the engine installed"));
        assert!(said(std::io::ErrorKind::PermissionDenied).contains("add the agent's user to the socket's group"));
        assert!(said(std::io::ErrorKind::ConnectionRefused).contains("is the engine running?"));
        assert!(said(std::io::ErrorKind::WouldBlock).contains("takes no more connections"));
    }
}
