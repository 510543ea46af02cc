//! What stands at a key of the settings file, and how keys are spelled.

/// The value of a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Node {
    Text(String),
    List(Vec<String>),
    Map(Vec<(String, String)>),
    /// A list of maps, whose values are nodes of their own: how many there are.
    Maps(usize),
}

pub(crate) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

pub(crate) fn item(key: &str, number: usize) -> String {
    format!("{key}[{number}]")
}
