//! The section `docker`: a Docker engine to watch.

use std::path::PathBuf;
use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::schema::Takes::{Text, Time};
use crate::settings::schema::{Row, hours, ms, setting};

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("docker.socket", Text("PATH"), "", "The socket of a Docker engine, /var/run/docker.sock: its containers are watched. In a container that runs what is built in, that one is looked for by itself."),
    setting("docker.usage_every", Time(ms(0), hours(1)), "32s", "The usage of each container is read at least this often. 0s: never."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct DockerSettings {
    /// The engine's socket. None: no engine is watched.
    pub socket: Option<PathBuf>,
    /// The most time between two looks at the usage; zero is never.
    pub usage_every: Duration,
}

impl DockerSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self { socket: layers.path("docker.socket")?, usage_every: layers.time("docker.usage_every")? })
    }
}
