//! The section `docker`: a Docker engine to watch.

use std::path::PathBuf;
use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::schema::ValueKind::{Text, Time};
use crate::settings::schema::{Row, hours, ms, setting};

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("docker.socket", Text("PATH"), "", "The socket of a Docker engine, such as /var/run/docker.sock: its containers are watched. With the built-in config for a Docker host, that path is the default."),
    setting("docker.usage_every", Time(ms(0), hours(1)), "32s", "The usage of each container is read at least this often. 0s: never."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct DockerSettings {
    /// The engine's socket. None: no engine is watched.
    pub socket: Option<PathBuf>,
    /// The longest time between two readings of the usage; zero for never.
    pub usage_every: Duration,
}

impl DockerSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self { socket: layers.path("docker.socket")?, usage_every: layers.time("docker.usage_every")? })
    }
}
