//! The section `host`: how the host is measured.

use std::path::PathBuf;
use std::time::Duration;

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::schema::ValueKind::{Text, Time};
use crate::settings::schema::{Row, hours, ms, setting};

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("host.root", Text("PATH"), "/", "Where the root of the host is mounted if the agent runs in a container, such as /hostfs. CPU, memory, disks, mounts and interfaces are then the host's."),
    setting("host.sample_every", Time(ms(100), hours(1)), "16s", "The host is sampled at least this often. It may wait for up to half of this time to share a wake-up with another task."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct HostSettings {
    /// Where the host's root is mounted. `/` unless the agent is in a container.
    pub root: PathBuf,
    /// The longest time between two samples.
    pub sample_every: Duration,
}

impl HostSettings {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self {
            root: layers.path("host.root")?.unwrap_or_else(|| PathBuf::from("/")),
            sample_every: layers.time("host.sample_every")?,
        })
    }
}
