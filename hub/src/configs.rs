//! Configs: immutable versions, the checks before one is kept, signatures, and the assignment.

use otelet_config::redact::Redactor;
use otelet_config::signature::{self, PublicKey};
use otelet_hub_decide::{Happened, Hash, Member, Rule, Selector, Target, Uid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::{now, sha256};
use crate::hub::Hub;
use crate::store::{StoreError, Write, int, maybe_text, text, write};

/// The sections of a config and the kind of component that each has.
const SECTIONS: [(&str, &str); 5] = [
    ("receivers", "receiver"),
    ("processors", "processor"),
    ("exporters", "exporter"),
    ("connectors", "connector"),
    ("extensions", "extension"),
];

/// A remark on a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The line, from 1, if it is known.
    pub line: Option<usize>,
    /// A version with an error is not kept.
    pub is_error: bool,
    /// In words.
    pub text: String,
}

/// A version of a config.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The config.
    pub config: String,
    /// Counts from 1.
    pub number: i64,
    /// SHA-256 of the text.
    pub hash: String,
    /// The text.
    pub text: String,
    /// The author.
    pub who: String,
    /// Unix time in milliseconds.
    pub at: i64,
    /// Why it was made.
    pub note: String,
    /// The `.minisig`, if it is signed.
    pub signature: Option<String>,
}

/// Why a config is not kept.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text has errors.
    #[error("the config has errors: {}", .0.iter().filter(|it| it.is_error).map(|it| it.text.as_str()).collect::<Vec<_>>().join("; "))]
    Faulty(Vec<Problem>),
    /// Another version came in between.
    #[error(
        "{0} has a newer version than the one that this was made from; compare them, and save again from the newest"
    )]
    Outdated(String),
    /// There is no such thing.
    #[error("{0}: there is no such config or version")]
    Missing(String),
    /// The name cannot be used.
    #[error("{0:?} is no name for a config: use 1 to 64 of the characters a-z, 0-9, - and _")]
    Name(String),
    /// A signature or a selector does not fit.
    #[error("{0}")]
    Refused(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks a text. Without an error it may be kept; the collector's own `validate` runs on the agents.
pub fn check(body: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(refusal) = otelet_config::inspect(body.as_bytes()) {
        let words = refusal.to_string();
        let line = words.find("line ").and_then(|at| {
            let digits: String = words[at + 5..].chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        problems.push(Problem { line, is_error: true, text: words });
        return problems;
    }
    let Ok(config) = serde_yaml::from_str::<serde_yaml::Value>(body) else { return problems };
    let line_of = |needle: &str| {
        let from = body.lines().position(|line| line.starts_with("service")).unwrap_or_default();
        let found = body.lines().enumerate().skip(from).find(|(_, line)| line.contains(needle));
        found.map(|(number, _)| number + 1)
    };
    let has = |section: &str, id: &str| match config.get(section) {
        // What comes from an expansion is not known here.
        Some(serde_yaml::Value::String(_)) => true,
        Some(section) => section.get(id).is_some(),
        None => false,
    };
    let pipelines = config.get("service").and_then(|service| service.get("pipelines"));
    for (name, pipeline) in pipelines.and_then(serde_yaml::Value::as_mapping).into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        for section in ["receivers", "processors", "exporters"] {
            for id in pipeline.get(section).and_then(serde_yaml::Value::as_sequence).into_iter().flatten() {
                let Some(id) = id.as_str().filter(|id| !id.contains("${")) else { continue };
                let defined = has(section, id) || section != "processors" && has("connectors", id);
                if !defined {
                    let text = format!("pipeline {name} names {id:?}, and {section} does not define it");
                    problems.push(Problem { line: line_of(id), is_error: true, text });
                }
            }
        }
    }
    for secret in Redactor::new([]).secrets_in(body) {
        let line = body.lines().position(|line| line.contains(&secret)).map(|line| line + 1);
        let text = "there is a secret in clear; keep it on the hosts and write ${file:/etc/otelet/NAME}".to_owned();
        problems.push(Problem { line, is_error: false, text });
    }
    problems
}

/// The components that a config names, as kind and type.
pub fn components(body: &str) -> Vec<(&'static str, String)> {
    let Ok(config) = serde_yaml::from_str::<serde_yaml::Value>(body) else { return Vec::new() };
    let mut named = Vec::new();
    for (section, kind) in SECTIONS {
        for (id, _) in config.get(section).and_then(serde_yaml::Value::as_mapping).into_iter().flatten() {
            let name = id.as_str().unwrap_or_default().split('/').next().unwrap_or_default().to_owned();
            if !name.is_empty() && !named.contains(&(kind, name.clone())) {
                named.push((kind, name));
            }
        }
    }
    named
}

/// The agents that lack components of a config, each with what it lacks.
pub fn lacking<'a>(
    body: &str,
    members: impl Iterator<Item = (&'a Uid, &'a Member)>,
) -> Vec<(Uid, String, Vec<String>)> {
    let named = components(body);
    let lacking = members.filter_map(|(uid, member)| {
        let lacks = member.agent.lacks(named.iter().map(|(kind, name)| (*kind, name.as_str())));
        let shown = member.agent.shown().map_or_else(|| uid.to_string(), str::to_owned);
        (!lacks.is_empty()).then_some((*uid, shown, lacks))
    });
    lacking.collect()
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    (1..=64).contains(&name.len()) && name.chars().all(good)
}

/// Keeps a new version that was made from the version `base`, 0 for a new config. Returns its number.
///
/// # Errors
///
/// [`ConfigError`].
pub async fn save(
    hub: &Hub,
    name: &str,
    base: i64,
    body: &str,
    note: &str,
    who: &str,
    audit: Write,
) -> Result<i64, ConfigError> {
    if !is_name(name) {
        return Err(ConfigError::Name(name.to_owned()));
    }
    let problems = check(body);
    if problems.iter().any(|problem| problem.is_error) {
        return Err(ConfigError::Faulty(problems));
    }
    let newest = newest(hub, name).await?;
    if newest != base {
        return Err(ConfigError::Outdated(name.to_owned()));
    }
    let (number, at) = (base + 1, now());
    // The key of the table is the name and the number: of two who save from one version, the second is refused.
    let saved = hub
        .store
        .write(vec![
            write(
                "INSERT INTO config (name, made) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                [name.into(), at.into()],
            ),
            write(
                "INSERT INTO version (config, number, hash, body, who, at, note) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                [
                    name.into(),
                    number.into(),
                    sha256(body.as_bytes()).to_string().into(),
                    body.into(),
                    who.into(),
                    at.into(),
                    note.into(),
                ],
            ),
            audit,
        ])
        .await;
    match saved {
        Ok(()) => Ok(number),
        Err(StoreError::Conflict) => Err(ConfigError::Outdated(name.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The number of the newest version, 0 if there is none.
///
/// # Errors
///
/// Errors of the database.
pub async fn newest(hub: &Hub, name: &str) -> Result<i64, StoreError> {
    let sql = "SELECT COALESCE(MAX(number), 0) AS number FROM version WHERE config = $1";
    Ok(hub.store.row(sql, vec![name.into()]).await?.map_or(0, |row| int(&row, "number")))
}

/// One version.
///
/// # Errors
///
/// [`ConfigError::Missing`], and errors of the database.
pub async fn version(hub: &Hub, name: &str, number: i64) -> Result<Version, ConfigError> {
    let sql = "SELECT * FROM version WHERE config = $1 AND number = $2";
    let row = hub.store.row(sql, vec![name.into(), number.into()]).await?;
    row.map(|row| version_of(&row)).ok_or_else(|| ConfigError::Missing(format!("{name}@{number}")))
}

/// All versions of a config, the newest first; of all configs without a name.
///
/// # Errors
///
/// Errors of the database.
pub async fn versions(hub: &Hub, name: Option<&str>) -> Result<Vec<Version>, StoreError> {
    let sql = "SELECT * FROM version WHERE config = COALESCE($1, config) ORDER BY config, number DESC";
    Ok(hub.store.rows(sql, vec![name.into()]).await?.iter().map(version_of).collect())
}

fn version_of(row: &sqlx::sqlite::SqliteRow) -> Version {
    Version {
        config: text(row, "config"),
        number: int(row, "number"),
        hash: text(row, "hash"),
        text: text(row, "body"),
        who: text(row, "who"),
        at: int(row, "at"),
        note: text(row, "note"),
        signature: maybe_text(row, "signature"),
    }
}

/// Adds a signature to a version, if it is one of these keys and of this text.
///
/// # Errors
///
/// [`ConfigError`].
pub async fn sign(
    hub: &Hub,
    name: &str,
    number: i64,
    minisig: &str,
    keys: &[PublicKey],
    audit: Write,
) -> Result<(), ConfigError> {
    let version = version(hub, name, number).await?;
    let mut why = "the hub knows no public key; start it with --public-key=KEY".to_owned();
    let fits = keys.iter().any(|key| {
        let verdict = signature::verify(key, version.text.as_bytes(), minisig.as_bytes(), None, None);
        verdict.map_err(|error| why = error.to_string()).is_ok()
    });
    if !fits {
        return Err(ConfigError::Refused(why));
    }
    let set = write(
        "UPDATE version SET signature = $3 WHERE config = $1 AND number = $2",
        [name.into(), number.into(), minisig.into()],
    );
    Ok(hub.store.write(vec![set.must_change(), audit]).await?)
}

/// A row of the assignment as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Row {
    /// Such as `site=line-3,!retired`; empty for all agents.
    pub selector: String,
    /// The config; none: these agents get no config.
    pub config: Option<String>,
    /// The version.
    pub version: Option<i64>,
}

/// Replaces the assignment. It goes to the agents one at a time.
///
/// # Errors
///
/// [`ConfigError`].
pub async fn assign(hub: &Hub, rows: &[Row], audit: Write) -> Result<(), ConfigError> {
    let mut rules = Vec::new();
    let mut writes = vec![write("DELETE FROM assignment", [])];
    for (position, row) in (0..).zip(rows) {
        let selector: Selector =
            row.selector.parse().map_err(|error| ConfigError::Refused(format!("row {}: {error}", position + 1)))?;
        let target = match (&row.config, row.version) {
            (Some(config), Some(number)) => {
                let version = version(hub, config, number).await?;
                let hash: Hash =
                    version.hash.parse().map_err(|_| ConfigError::Missing(format!("{config}@{number}")))?;
                Some(Target { config: config.clone(), version: number, hash })
            }
            (Some(config), None) => return Err(ConfigError::Missing(format!("{config} without a version"))),
            (None, _) => None,
        };
        writes.push(write(
            "INSERT INTO assignment (position, selector, config, number) VALUES ($1, $2, $3, $4)",
            [
                i64::from(position).into(),
                selector.to_string().into(),
                target.as_ref().map(|target| target.config.clone()).into(),
                target.as_ref().map(|target| target.version).into(),
            ],
        ));
        rules.push(Rule { selector, target });
    }
    writes.push(audit);
    Ok(hub.tell(Happened::Assigned { rules }, writes).await?)
}

/// The assignment as people write it.
pub fn rows(hub: &Hub) -> Vec<Row> {
    hub.fleet(|fleet| {
        let rows = fleet.rules().iter().map(|rule| Row {
            selector: rule.selector.to_string(),
            config: rule.target.as_ref().map(|target| target.config.clone()),
            version: rule.target.as_ref().map(|target| target.version),
        });
        rows.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "receivers:\n  otlp:\n    protocols: {http: }\nexporters:\n  debug:\nservice:\n  pipelines:\n    metrics: {receivers: [otlp], exporters: [debug]}\n";

    #[test]
    fn a_good_config_has_no_problem() {
        assert_eq!(check(GOOD), []);
        assert_eq!(components(GOOD), [("receiver", "otlp".to_owned()), ("exporter", "debug".to_owned())]);
    }

    #[test]
    fn a_pipeline_that_names_what_is_not_there_is_an_error_with_its_line() {
        let problems = check(&GOOD.replace("exporters: [debug]", "exporters: [debug, nop]"));
        let text = "pipeline metrics names \"nop\", and exporters does not define it".to_owned();
        assert_eq!(problems, [Problem { line: Some(8), is_error: true, text }]);
    }

    #[test]
    fn text_that_is_no_yaml_is_an_error_with_its_line() {
        let problems = check("receivers:\n  otlp: [\n");
        assert!(problems[0].is_error && problems[0].line.is_some(), "{problems:?}");
        assert!(check("<html><title>Login</title></html>")[0].is_error);
        assert!(check("")[0].is_error);
    }

    #[test]
    fn a_secret_in_clear_is_a_warning() {
        let body =
            GOOD.replace("debug:\n", "debug:\n  otlphttp:\n    headers: {Authorization: Bearer abcdefghijklmnop}\n");
        let problems = check(&body);
        assert!(problems.iter().any(|it| !it.is_error && it.line == Some(7)), "{problems:?}");
    }

    #[test]
    fn names_of_configs_are_plain() {
        assert!(is_name("edge-2_b"));
        for name in ["", "Edge", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
