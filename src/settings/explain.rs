//! Lists the settings in effect: each with its value, unless that is a secret, and the place where it is set.

use std::cell::RefCell;
use std::fmt;

use otelet_core::units::format_time;

use super::error::SettingsError;
use super::expand;
use super::file::File;
use super::flags::Flags;
use super::layers::{Layers, Origin, Raw};
use super::location::Location;
use super::node::{Node, item, join};
use super::schema::{Kind, Row, without_numbers};
use super::secret::Secret;
use super::sections::SCHEMA;
use super::world::World;
use super::{Settings, path};
use crate::http;

/// One setting in effect, for `otelet diagnose`.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveSetting {
    /// The key in the settings file.
    pub key: String,
    /// The value, or `<set>` if it is or may be a secret.
    pub value: String,
    /// The place where it is set: a flag, a variable, a spot in the settings file, or `default`.
    pub from: String,
}

impl fmt::Display for EffectiveSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}  # {}", self.key, self.value, self.from)
    }
}

/// Returns the settings in effect in the order of help, and every value in them that may be a secret.
///
/// # Errors
///
/// The same as [`load`](super::load), whose result this explains.
pub fn explain(
    flags: &Flags,
    world: &World,
    settings: &Settings,
) -> Result<(Vec<EffectiveSetting>, Vec<String>), SettingsError> {
    let file = File::read(SCHEMA, path(flags, world), world)?;
    let layers = Layers { flags, world, file, notes: RefCell::default() };
    let mut found = Explanation { layers: &layers, explained: Vec::new(), secrets: settings.secrets() };
    for row in SCHEMA.rows() {
        match row.key.contains("[]") {
            true => found.column(row)?,
            false => found.row(row)?,
        }
    }
    let Explanation { mut explained, mut secrets, .. } = found;
    secrets.extend(settings.config.kloudmate.iter().filter_map(|it| Some(it.api_key.as_ref()?.expose().to_owned())));
    if let Some(token) = settings.config.bearer_token_file.as_ref().and_then(|path| (world.read)(path).ok()) {
        secrets.push(String::from_utf8_lossy(&token).into_owned());
    }
    adopted(settings, &layers, &mut explained);
    Ok((explained, secrets))
}

/// Returns the values in a settings file that may be secrets: those under `headers` and `env`, and every replacement of
/// `${}`. The file may have faults.
pub fn secrets_in(text: &str, world: &World) -> Vec<String> {
    let mut secrets = Vec::new();
    if let Ok(value) = serde_yaml::from_str::<serde_yaml::Value>(text) {
        collect(&value, false, world, &mut secrets);
    }
    secrets
}

fn collect(value: &serde_yaml::Value, secret: bool, world: &World, secrets: &mut Vec<String>) {
    use serde_yaml::Value;
    match value {
        Value::String(text) => match expand::expand(text, world) {
            Ok(Some(expanded)) => secrets.push(expanded),
            Ok(None) | Err(_) if secret => secrets.push(text.clone()),
            Ok(None) | Err(_) => {}
        },
        Value::Number(number) if secret => secrets.push(number.to_string()),
        Value::Sequence(items) => items.iter().for_each(|item| collect(item, secret, world, secrets)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let named =
                    key.as_str().is_some_and(|key| key == "headers" || key == "fallback_headers" || key == "env");
                collect(value, secret || named, world, secrets);
            }
        }
        Value::Tagged(tagged) => collect(&tagged.value, secret, world, secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

struct Explanation<'a> {
    layers: &'a Layers<'a>,
    explained: Vec<EffectiveSetting>,
    secrets: Vec<String>,
}

impl Explanation<'_> {
    fn row(&mut self, row: &Row) -> Result<(), SettingsError> {
        if let Some(node) = self.layers.file.get(row.key).filter(|_| row.kind == Kind::File) {
            return self.node(row.key, row, node);
        }
        let (value, from) = match self.layers.raw(row.key)?.filter(|raw| !raw.text.is_empty()) {
            Some(raw) => {
                let from = self.place(row, &raw);
                (self.shown(row, raw), from)
            }
            None if row.default.is_empty() => return Ok(()),
            None => (row.default.to_owned(), "default".into()),
        };
        self.explained.push(EffectiveSetting { key: row.key.into(), value, from });
        Ok(())
    }

    /// The settings of each map in a list.
    fn column(&mut self, row: &Row) -> Result<(), SettingsError> {
        let layers = self.layers;
        for (key, node) in layers.file.nodes().filter(|(key, _)| without_numbers(key) == row.key) {
            self.node(key, row, node)?;
        }
        Ok(())
    }

    fn node(&mut self, key: &str, row: &Row, node: &Node) -> Result<(), SettingsError> {
        let value = match node {
            Node::Text(text) => {
                let raw = self.layers.expand(key.to_owned(), text)?;
                self.shown(row, raw)
            }
            Node::List(items) => {
                let mut shown = Vec::new();
                for (number, text) in items.iter().enumerate() {
                    let raw = self.layers.expand(item(key, number), text)?;
                    shown.push(self.shown(row, raw));
                }
                format!("[{}]", shown.join(", "))
            }
            Node::Map(entries) => {
                let mut shown = Vec::new();
                for (name, text) in entries {
                    let raw = self.layers.expand(join(key, name), text)?;
                    shown.push(format!("{name}: {}", self.shown(row, raw)));
                }
                format!("{{{}}}", shown.join(", "))
            }
            Node::Maps(_) => return Ok(()),
        };
        let from = self.layers.file.place(key).to_string();
        self.explained.push(EffectiveSetting { key: key.into(), value, from });
        Ok(())
    }

    /// The value to show. A value that must not be shown is noted as a secret.
    fn shown(&mut self, row: &Row, raw: Raw) -> String {
        // It is known to be a public key, since the settings could be read with it.
        if row.key == "config.public_key" {
            return raw.text;
        }
        let secret =
            ["headers", ".env", "_proxy"].iter().any(|end| row.key.ends_with(end)) && row.key != "config.no_proxy";
        if secret || !raw.shown || raw.text.contains('@') {
            self.secrets.push(raw.text);
            return Secret::from(String::new()).to_string();
        }
        match raw.text.split_once('?').filter(|(start, _)| start.contains("://")) {
            Some((url, query)) => {
                self.secrets.push(query.to_owned());
                self.secrets.extend(query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
                format!("{}?<set>", http::public_text(url))
            }
            None => http::public_text(&raw.text),
        }
    }

    fn place(&self, row: &Row, raw: &Raw) -> String {
        match &raw.from {
            Origin::Flag => row.flag().unwrap_or_default(),
            Origin::Variable(name) => name.clone(),
            Origin::File(key) => self.layers.file.place(key).to_string(),
            Origin::Default => "default".into(),
        }
    }
}

/// Adds the settings that were adopted from KloudMate's agent.
fn adopted(settings: &Settings, layers: &Layers, explained: &mut Vec<EffectiveSetting>) {
    let Settings { config, log_level, .. } = settings;
    let url = match &config.url {
        Some(Location::Url(url)) => http::public_text(url.split('?').next().unwrap_or_default()),
        Some(Location::File(path)) => path.display().to_string(),
        None => String::new(),
    };
    let effective = [
        ("config.url", url),
        ("config.protocol", config.protocol.to_string()),
        ("config.poll_every", format_time(config.poll_every)),
        ("log_level", log_level.to_string().to_ascii_lowercase()),
    ];
    for (key, value) in effective {
        let known = explained.iter().position(|it| it.key == key);
        if layers.is_set(key) || value.is_empty() || known.is_some_and(|at| explained[at].value == value) {
            continue;
        }
        let taken_over = EffectiveSetting { key: key.into(), value, from: "taken over from KloudMate's agent".into() };
        match known {
            Some(at) => explained[at] = taken_over,
            None => explained.push(taken_over),
        }
    }
}
