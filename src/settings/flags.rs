//! The part of a command line that the settings are read from.

use std::path::PathBuf;

use super::Secret;

/// Settings that were set by flags. The values are not checked yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flags {
    /// The settings file, if a flag names it.
    pub file: Option<PathBuf>,
    /// Key and value, in order. A proxy's URL may hold a password.
    values: Vec<(&'static str, Secret)>,
}

impl Flags {
    /// Adds the value of a setting. The last one counts.
    pub fn push(&mut self, key: &'static str, value: String) {
        self.values.push((key, value.into()));
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().rev().find(|(known, _)| *known == key).map(|(_, value)| value.expose())
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(key, value)| (*key, value.expose()))
    }
}
