//! Settings that are in no section, and the row of the settings file itself.

use std::path::PathBuf;
use std::time::Duration;

use crate::os;
use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::schema::ValueKind::{Choice, Map, Text, Time};
use crate::settings::schema::{Row, file_only, flag, hours, ms, setting};

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    file_only("attributes", Map, "Resource attributes of this host, by name."),
    setting("environment", Choice("auto|host|docker|daemonset|deployment"), "auto", "Where the agent runs. auto detects it; in a pod it takes daemonset."),
    setting("identity", Text("TEXT"), "", "A text from which the instance uid is derived, for a state directory that does not outlive the agent. Without it: a uid is made once and kept."),
    setting("standby", Time(ms(0), hours(24)), "0s", "How long to wait for another agent that holds the state directory to end. Until then the config is only validated."),
    setting("state_dir", Text("PATH"), "/var/lib/otelet", "Where the last good config is kept."),
    setting("runtime_dir", Text("PATH"), "/run/otelet", "Where the status and the files of the running collector are. Each agent on a host needs its own."),
    setting("log_level", Choice("error|warn|info|debug|trace"), "info", "The least important log line to print."),
];

pub const SETTINGS_FILE: Row =
    flag("settings", Text("PATH"), "/etc/otelet/otelet.yaml", "The settings file. The default one may be missing.");

/// The settings in no section, except `environment`, which is read with the section `config`.
pub(crate) struct General {
    pub identity: Option<String>,
    pub standby: Duration,
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
    pub log_level: log::LevelFilter,
    pub attributes: Vec<(String, String)>,
}

impl General {
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        use log::LevelFilter::{Debug, Error, Info, Trace, Warn};
        Ok(Self {
            identity: layers.optional("identity", |text| Ok(text.to_owned()))?,
            standby: layers.time("standby")?,
            state_dir: layers.path("state_dir")?.unwrap_or_else(os::default_state_dir),
            runtime_dir: layers.path("runtime_dir")?.unwrap_or_else(os::default_runtime_dir),
            log_level: layers.choice("log_level", [Error, Warn, Info, Debug, Trace])?,
            attributes: layers.attributes("attributes")?,
        })
    }
}
