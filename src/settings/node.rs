//! The values in the settings file, and the spelling of keys.

/// The value of a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Node {
    Text(String),
    List(Vec<String>),
    Map(Vec<(String, String)>),
    /// The number of maps in a list. Their values are nodes of their own.
    Maps(usize),
}

pub(crate) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

pub(crate) fn item(key: &str, number: usize) -> String {
    format!("{key}[{number}]")
}
