//! Reads the keys and texts of the settings file, and finds their places. The meaning of a value is read later.

use std::io;
use std::path::PathBuf;

use serde::de::Deserializer;

use super::error::{Place, SettingsError};
use super::node::Node;
use super::schema::Schema;
use super::walk::{RefuseVisitor, Walk};
use super::world::{LARGEST_FILE, World};
use crate::os;
use otelet_core::text::{self, NotText, disguise};

/// The settings file, with its values as text.
pub(crate) struct File {
    pub(crate) schema: Schema,
    pub(crate) path: PathBuf,
    pub(crate) is_there: bool,
    text: String,
    nodes: Vec<(String, Node)>,
}

impl File {
    pub(crate) fn read(schema: Schema, path: PathBuf, world: &World) -> Result<File, SettingsError> {
        let mut is_there = true;
        let bytes = match (world.read)(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && path == os::default_settings_path() => {
                is_there = false;
                Vec::new()
            }
            Err(cause) => {
                let problem = "cannot read the settings file".to_owned();
                return Err(SettingsError::caused(Place::File(path), problem, Some(cause)));
            }
        };
        if bytes.len() > LARGEST_FILE {
            let problem = "larger than 1MiB; is this the settings file?".to_owned();
            return Err(SettingsError::new(Place::File(path), problem));
        }
        match text::decode(bytes) {
            Ok(text) => File::parse(schema, path, is_there, text),
            Err(why) => {
                let place = match why {
                    NotText::Utf16 => Place::File(path),
                    NotText::NotUtf8 { line, column } => Place::Spot { path, line, column, key: String::new() },
                };
                Err(SettingsError::new(place, why.to_string()))
            }
        }
    }

    pub(crate) fn parse(schema: Schema, path: PathBuf, is_there: bool, text: String) -> Result<File, SettingsError> {
        let mut file = File { schema, path, is_there, text, nodes: Vec::new() };
        file.nodes = file.walk()?;
        Ok(file)
    }

    fn walk(&self) -> Result<Vec<(String, Node)>, SettingsError> {
        let mut documents = serde_yaml::Deserializer::from_str(&self.text);
        let Some(first) = documents.next() else {
            return Ok(Vec::new());
        };
        let mut walk = Walk::new(self.schema, None);
        if let Err(e) = walk.through(first) {
            return Err(self.refusal(&walk, &e));
        }
        match documents.next().map(|second| second.deserialize_any(RefuseVisitor)) {
            Some(Err(e)) => {
                let problem = "a second document; the settings are one document, without \"---\" in between";
                Err(SettingsError::new(self.spot(&e, ""), problem.to_owned()))
            }
            Some(Ok(())) | None => Ok(walk.nodes),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.nodes.iter().find(|(known, _)| *known == key).map(|(_, node)| node)
    }

    /// Every key that has a value, in the order of the file.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(key, node)| (key.as_str(), node))
    }

    /// The place of the value of a key. A second walk fails there on purpose, so the parser reports the place.
    pub(crate) fn place(&self, key: &str) -> Place {
        let mut walk = Walk::new(self.schema, Some(key));
        let first = serde_yaml::Deserializer::from_str(&self.text).next();
        match first.map(|first| walk.through(first)) {
            Some(Err(e)) => self.spot(&e, key),
            Some(Ok(())) | None => Place::File(self.path.clone()),
        }
    }

    fn spot(&self, e: &serde_yaml::Error, key: &str) -> Place {
        let (line, column) = e.location().map_or((1, 1), |at| (at.line(), at.column()));
        Place::Spot { path: self.path.clone(), line, column, key: printable(key, self.schema) }
    }

    /// Makes an error from the message of the walk, or else of the parser, and the place where it stopped.
    fn refusal(&self, walk: &Walk, e: &serde_yaml::Error) -> SettingsError {
        let place = if walk.misplaced { self.place(&walk.at) } else { self.spot(e, &walk.at) };
        let text = e.to_string();
        let hint = self.hint(&place).unwrap_or_default();
        if let Some(problem) = &walk.problem {
            return SettingsError::new(place, format!("{problem}{hint}"));
        }
        if let Some((_, found)) = text.split_once("invalid type: ") {
            let problem = format!("expected {}, found {}", self.schema.expected(&walk.at), kind(found));
            return SettingsError::new(place, problem + &hint);
        }
        let at = e.location().map(|at| format!(" at line {} column {}", at.line(), at.column()));
        let text = text.replacen(&at.unwrap_or_default(), "", 1);
        SettingsError::new(self.spot(e, ""), format!("not YAML: {text}{hint}"))
    }

    /// Names a character of the faulty line that looks like a space and is none, or a tab that indents it.
    fn hint(&self, place: &Place) -> Option<String> {
        let Place::Spot { line: number, .. } = place else { return None };
        let line = self.text.lines().nth(number - 1)?;
        if let Some((column, name)) = disguise(line) {
            return Some(format!("; column {column} is {name}: write a plain space or nothing"));
        }
        let indented = line.len() - line.trim_start_matches([' ', '\t']).len();
        line[..indented].contains('\t').then(|| "; a tab indents the line: write spaces".to_owned())
    }
}

/// The kind of value that serde found. serde's own message would repeat the value.
fn kind(found: &str) -> &'static str {
    let kinds = [("sequence", "a list"), ("map", "a map"), ("unit", "nothing"), ("null", "nothing"), ("enum", "a tag")];
    let texts = ["string", "integer", "float", "boolean"].map(|kind| (kind, "a single value"));
    let known = kinds.iter().chain(&texts).find(|(kind, _)| found.starts_with(kind));
    known.map_or("something else", |(_, words)| words)
}

/// A key for messages. Names with unusual characters are left out: they may be secrets by mistake.
fn printable(key: &str, schema: Schema) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_[]/".contains(c);
    if key.chars().all(plain) && key.len() <= 100 {
        return key.to_owned();
    }
    let row = schema.rows().find(|row| key.starts_with(&format!("{}.", row.key)));
    row.map_or("", |row| row.key).to_owned()
}
