//! A container as the engine describes it, and the attributes that each of its records and points carries: id, name and
//! image, cut to bounded lengths.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use otelet_core::telemetry::{Attributes, Value};
use otelet_core::units;

/// The most containers in one scan; the rest are only counted.
pub(super) const MOST_CONTAINERS: usize = 128;

/// The labels that Compose puts on a container. Points list them in this order.
pub(super) const COMPOSE_LABELS: [&str; 2] = ["com.docker.compose.project", "com.docker.compose.service"];

/// The container's attributes, named by OpenTelemetry's conventions.
pub(super) fn identity(id: &str, name: &str, image: &str) -> Attributes {
    let text = |text: &str| clip(text, 255).to_owned();
    let (image, tag) = name_and_tag(image);
    let mut identity = vec![
        ("container.id".into(), clip(id, 80).to_owned().into()),
        ("container.name".into(), text(name).into()),
        ("container.image.name".into(), text(image).into()),
    ];
    identity.extend(tag.map(|tag| ("container.image.tags".into(), Value::List(text(tag).into()))));
    identity
}

/// The name of an image without its tag and its digest, and the tag.
fn name_and_tag(image: &str) -> (&str, Option<&str>) {
    // An image without a name is its digest.
    if image.starts_with("sha256:") {
        return (image, None);
    }
    let named = image.split('@').next().unwrap_or_default();
    // The colon of a registry's port has a slash after it.
    match named.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => (name, Some(tag)),
        None => (named, None),
    }
}

/// An id as short as the engine's own client shows it.
pub(super) fn short(id: &str) -> &str {
    clip(id, 12)
}

/// The start of a text, cut to at most `most` bytes.
pub(super) fn clip(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// The largest description of a container that is read, in bytes. It has about 10 KB, more with many labels and variables.
pub(super) const LARGEST_DESCRIPTION: u64 = 1024 * 1024;

/// The fields of `/containers/ID/json` that scans, links and checks need.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Description {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: String,
    pub(super) log_path: Option<String>,
    pub(super) config: Config,
    pub(super) host_config: HostConfig,
    pub(super) state: State,
    /// How often the engine's restart policy has started it since a person did.
    pub(super) restart_count: i64,
}

impl Description {
    /// Whether it has been started once more after a time, in nanoseconds since 1970: then its restart count is not of the
    /// start at that time.
    pub(super) fn is_of_later_start(&self, time: u64) -> bool {
        let started = units::parse_rfc3339(&self.state.started_at);
        let since = started.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since.is_some_and(|since| since.as_nanos() > u128::from(time))
    }

    /// Whether it runs, and is healthy if it has a health check.
    pub(super) fn judge(&self) -> Result<String, String> {
        let State { running, paused, restarting, exit_code, .. } = self.state;
        let health = self.state.health.as_ref().map_or("", |health| health.status.as_str());
        match health {
            _ if restarting => {
                Err(format!("ended with code {exit_code}, and waits for restart {}", self.restart_count.max(0) + 1))
            }
            _ if paused => Err("is paused".to_owned()),
            _ if !running && self.state.finished_at.starts_with("0001-") => Err("was never started".to_owned()),
            _ if !running => Err(format!("ended with code {exit_code} at {}", clip(&self.state.finished_at, 19))),
            "unhealthy" => Err("runs and is unhealthy".to_owned()),
            "healthy" => Ok("runs and is healthy".to_owned()),
            // A deployment is no failure.
            "starting" => Ok("runs, and its health is not known yet".to_owned()),
            _ => Ok("runs".to_owned()),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Config {
    pub(super) image: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HostConfig {
    pub(super) log_config: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct LogConfig {
    pub(super) r#type: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    pub(super) running: bool,
    pub(super) paused: bool,
    pub(super) restarting: bool,
    pub(super) exit_code: i64,
    pub(super) started_at: String,
    pub(super) finished_at: String,
    pub(super) health: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Health {
    pub(super) status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_count_is_of_the_newest_start() {
        let described = r#"{"RestartCount":2,"State":{"StartedAt":"2026-11-30T18:50:25.5Z"}}"#;
        let description: Description = serde_json::from_str(described).unwrap();
        let at = |text: &str| units::parse_rfc3339(text).unwrap().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(description.is_of_later_start(at("2026-11-30T18:50:24.1Z")));
        assert!(!description.is_of_later_start(at("2026-11-30T18:50:25.6Z")));
        assert!(!Description::default().is_of_later_start(at("2026-11-30T18:50:25Z")));
    }

    #[test]
    fn an_image_has_a_name_and_a_tag() {
        for (image, expected) in [
            ("nginx:1.27", ("nginx", Some("1.27"))),
            ("nginx", ("nginx", None)),
            ("reg.example:5000/shop/web:2", ("reg.example:5000/shop/web", Some("2"))),
            ("reg.example:5000/shop/web", ("reg.example:5000/shop/web", None)),
            ("nginx:1@sha256:0123", ("nginx", Some("1"))),
            ("nginx@sha256:0123", ("nginx", None)),
            ("sha256:0123", ("sha256:0123", None)),
        ] {
            assert_eq!(name_and_tag(image), expected, "{image}");
        }
    }

    #[test]
    fn a_container_is_good_while_it_runs_and_is_not_unhealthy() {
        let judged = |state: &str| {
            let described = format!(r#"{{"Id":"1","RestartCount":2,"State":{{{state}}}}}"#);
            serde_json::from_str::<Description>(&described).unwrap().judge()
        };
        let good = |state: &str| judged(&format!(r#""Running":true{state}"#)).unwrap();
        assert_eq!(good(""), "runs");
        assert_eq!(good(r#","Health":null"#), "runs");
        assert_eq!(good(r#","Health":{"Status":"healthy"}"#), "runs and is healthy");
        assert_eq!(good(r#","Health":{"Status":"starting"}"#), "runs, and its health is not known yet");
        let bad = |state: &str| judged(state).unwrap_err();
        assert_eq!(bad(r#""Running":true,"Health":{"Status":"unhealthy"}"#), "runs and is unhealthy");
        assert_eq!(
            bad(r#""Running":true,"Restarting":true,"ExitCode":3"#),
            "ended with code 3, and waits for restart 3"
        );
        assert_eq!(bad(r#""Running":true,"Paused":true"#), "is paused");
        assert_eq!(bad(r#""FinishedAt":"0001-01-01T00:00:00Z""#), "was never started");
        assert_eq!(
            bad(r#""ExitCode":137,"FinishedAt":"2026-11-25T15:58:28.7Z""#),
            "ended with code 137 at 2026-11-25T15:58:28"
        );
    }
}
