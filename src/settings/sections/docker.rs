//! The section `docker`: a Docker engine to watch.

use std::path::PathBuf;
use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::location::path;
use crate::settings::schema::ValueKind::{Text, Time};
use crate::settings::schema::{Row, hours, ms, setting};
use crate::settings::world::World;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("docker.socket", Text("PATH"), "", "The socket of a Docker engine, such as /var/run/docker.sock, or tcp://HOST:PORT of a socket proxy: its containers are watched. With the built-in config for a Docker host, the default is DOCKER_HOST, else that path."),
    setting("docker.usage_every", Time(ms(0), hours(1)), "32s", "The usage of each container is read at least this often. 0s: never."),
];

/// The port of an engine without TLS.
const PORT: u16 = 2375;

#[derive(Debug, Clone, PartialEq)]
pub struct DockerSettings {
    /// The engine's socket: a path, or `tcp://host:port`. None: no engine is watched.
    pub socket: Option<PathBuf>,
    /// The longest time between two readings of the usage; zero for never.
    pub usage_every: Duration,
}

impl DockerSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        let socket = layers.optional("docker.socket", |text| engine(text, layers.world))?;
        Ok(Self { socket, usage_every: layers.time("docker.usage_every")? })
    }
}

/// Reads where an engine listens, in each form of `DOCKER_HOST`.
pub(crate) fn engine(text: &str, world: &World) -> Result<PathBuf, String> {
    const FORMS: &str = "write the path of the socket, unix:///PATH, or tcp://HOST:PORT of a socket proxy";
    let Some((scheme, rest)) = text.split_once("://") else {
        // Without a slash, a port at the end is plain.
        return match text.rsplit_once(':').filter(|_| !text.contains(['/', '\\'])) {
            Some((_, port)) if port.parse::<u16>().is_ok() => tcp(text),
            Some(("unix" | "tcp" | "npipe" | "http" | "https", _)) => Err(FORMS.to_owned()),
            Some(_) | None => match text.strip_prefix("unix:/") {
                Some(rest) => path(&format!("/{rest}"), world),
                None => path(text, world),
            },
        };
    };
    match scheme.to_ascii_lowercase().as_str() {
        "unix" if rest.starts_with('/') => path(rest, world),
        "unix" => Err("a path has three slashes here: unix:///var/run/docker.sock".to_owned()),
        "npipe" => Ok(rest.replace('/', r"\").into()),
        "tcp" | "http" => tcp(rest),
        "https" => Err(format!("an engine behind TLS cannot be watched; {FORMS}")),
        "file" => path(text, world),
        _ => Err(FORMS.to_owned()),
    }
}

fn tcp(rest: &str) -> Result<PathBuf, String> {
    if cfg!(windows) {
        return Err(r"write the named pipe, \\.\pipe\docker_engine; tcp:// is for Linux".to_owned());
    }
    let address = rest.trim_end_matches('/');
    // An IPv6 address has colons inside its brackets.
    let has_port = address.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let address = if has_port { address.to_owned() } else { format!("{address}:{PORT}") };
    super::checks::host_and_port(&address)
        .map(|address| format!("tcp://{address}").into())
        .map_err(|_| "write tcp://HOST:PORT, such as tcp://127.0.0.1:2375".to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::settings::tests::{refused, world};

    #[test]
    fn an_engine_is_named_in_each_form_of_docker_host() {
        let world = world(&[], &[]);
        for (text, expected) in [
            ("/run/docker.sock", "/run/docker.sock"),
            ("docker.sock", "/here/docker.sock"),
            ("unix:///run/docker.sock", "/run/docker.sock"),
            ("unix:/run/docker.sock", "/run/docker.sock"),
            ("UNIX:///run/docker.sock", "/run/docker.sock"),
            ("file:///run/docker.sock", "/run/docker.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("tcp://proxy", "tcp://proxy:2375"),
            ("tcp://proxy:2376/", "tcp://proxy:2376"),
            ("http://proxy:2375", "tcp://proxy:2375"),
            ("proxy:2375", "tcp://proxy:2375"),
            ("tcp://[fd00::7]", "tcp://[fd00::7]:2375"),
            ("npipe:////./pipe/docker_engine", r"\\.\pipe\docker_engine"),
        ] {
            assert_eq!(engine(text, &world), Ok(expected.into()), "{text}");
        }
        for (text, words) in [
            ("unix://var/run/docker.sock", "a path has three slashes here: unix:///var/run/docker.sock"),
            ("ssh://me@host", "tcp://HOST:PORT"),
            ("https://host:2376", "behind TLS cannot be watched"),
            ("tcp://", "write tcp://HOST:PORT"),
            ("tcp://host:port", "write tcp://HOST:PORT"),
            ("~/docker.sock", "~ is not replaced here"),
        ] {
            let why = engine(text, &world).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
        assert_eq!(
            refused("docker: {socket: \"ssh://host\"}"),
            "FILE:1:18: docker.socket: expected PATH, found \"ssh://host\": write the path of the socket, unix:///PATH, \
             or tcp://HOST:PORT of a socket proxy"
        );
    }
}
