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
        match String::from_utf8(bytes) {
            Ok(text) => File::parse(schema, path, is_there, text),
            Err(e) => {
                let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
                let good = String::from_utf8_lossy(good);
                let column = 1 + good.rsplit('\n').next().map_or(0, |line| line.chars().count());
                let place = Place::Spot { path, line, column, key: String::new() };
                Err(SettingsError::new(place, "not UTF-8".to_owned()))
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
        if let Some(problem) = &walk.problem {
            return SettingsError::new(place, problem.clone());
        }
        if let Some((_, found)) = text.split_once("invalid type: ") {
            let problem = format!("expected {}, found {}", self.schema.expected(&walk.at), kind(found));
            return SettingsError::new(place, problem);
        }
        let at = e.location().map(|at| format!(" at line {} column {}", at.line(), at.column()));
        let text = text.replacen(&at.unwrap_or_default(), "", 1);
        SettingsError::new(self.spot(e, ""), format!("not YAML: {text}"))
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
