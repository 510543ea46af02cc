//! The last lines of the log, which a running agent leaves in a file for `otelet diagnose`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::http;
use crate::store;
use otelet_config::redact::{Redactor, is_secret_name};

/// The last lines of the log, without the secrets that the agent knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The last lines of the agent.
    pub agent_log: String,
    /// The last lines of its collectors.
    pub collector_log: String,
}

impl Diagnosis {
    /// The file that the agent leaves. `otelet diagnose` removes it after reading it.
    pub fn path(runtime_dir: &Path) -> PathBuf {
        runtime_dir.join("diagnosis.json")
    }

    /// Writes the file, in the agent. It knows the secrets that it and its collector were given: `secrets`, and the
    /// variables that are secret by their name or that the config refers to.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn leave(runtime_dir: &Path, secrets: Vec<String>, config: Option<&[u8]>) -> Result<String, String> {
        let config = config.map(String::from_utf8_lossy).unwrap_or_default();
        let environment =
            secret_variables(|name| config.contains(&format!("{{{name}}}")) || config.contains(&format!("env:{name}")));
        let mut secrets: Vec<_> = secrets.into_iter().chain(environment).collect();
        secrets.extend(Redactor::default().secrets_in(&config));
        let redactor = Redactor::new(secrets.iter().map(String::as_str)).hiding_url_paths(http::hides_paths());
        let (agent, collector) = crate::log::last_lines();
        let diagnosis = Self { agent_log: redactor.log(&agent), collector_log: redactor.log(&collector) };
        let text = serde_json::to_vec(&diagnosis).expect("two strings");
        store::write_atomically(&Self::path(runtime_dir), &text).map_err(|error| error.chain())?;
        Ok("the last lines of the log are there".into())
    }
}

/// The values of environment variables that are secret by their name, that hold a password, or that are `wanted`.
pub fn secret_variables(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let secret = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let (name, value) = (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned());
        let user = value.contains("://") && value.contains('@');
        // The working directory is PWD to a shell.
        let named = is_secret_name(&name) && !["PWD", "OLDPWD"].contains(&name.as_str());
        (user || named || wanted(&name)).then_some(value)
    };
    std::env::vars_os().filter_map(secret).collect()
}
