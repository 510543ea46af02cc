//! A setting as a row: its flag, its environment name, its key in the settings file, its default, its limits and its
//! help. Each section has its rows beside the code that reads it; [`Schema`] has all rows.

use std::time::Duration;

use otelet_core::units::{format_size, format_time};

/// One flag, or one key of the settings file.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The key in the settings file, such as `config.poll_every`. A flag that is no setting has a key of the same form.
    pub key: &'static str,
    /// The kind of value, with its limits.
    pub takes: ValueKind,
    /// The default, as help shows it. Empty if there is none.
    pub default: &'static str,
    /// One or two sentences, without the default.
    pub help: &'static str,
    /// The places where it may be set.
    pub kind: Kind,
}

/// The form of status codes.
pub(crate) const CODES: &str = "CODES such as 200,204,300-399 or 2xx";

/// The form of names and networks, which may be a list as well.
pub(crate) const HOSTS: &str = "HOSTS";

/// The kind of value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueKind {
    /// No value: the flag alone is enough.
    Nothing,
    /// Any text. Help shows this placeholder.
    Text(&'static str),
    /// One of the words between the bars.
    Choice(&'static str),
    /// A time between two limits.
    Time(Duration, Duration),
    /// A number of bytes between two limits.
    Size(u64, u64),
    /// A whole number between two limits.
    Number(i64, i64),
    /// A list of texts, in the settings file only.
    List,
    /// A map from names to texts, in the settings file only.
    Map,
}

use ValueKind::{Choice, List, Map, Nothing, Number, Size, Text, Time};

/// The places where a row may be set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Flag, environment and settings file.
    Setting,
    /// Only the settings file, since it has more than one value.
    File,
    /// A flag that is no setting; with a value, it may stand in the environment too.
    Flag,
}

impl Row {
    /// The flag, such as `--config-poll-every`. `None` if it may only be in the settings file.
    pub fn flag(&self) -> Option<String> {
        (self.kind != Kind::File).then(|| format!("--{}", self.key.replace(['.', '_'], "-")))
    }

    /// The environment name, such as `OTELET_CONFIG_POLL_EVERY`. `None` if it does not take a single value.
    pub fn env(&self) -> Option<String> {
        let has = self.kind != Kind::File && self.takes != Nothing;
        has.then(|| format!("OTELET_{}", self.key.replace('.', "_").to_ascii_uppercase()))
    }

    /// The placeholder for the value in help: `TIME`, `pass|drop`.
    pub fn value(&self) -> &'static str {
        match self.takes {
            Nothing => "",
            Text(name) | Choice(name) => name,
            Time(..) => "TIME",
            Size(..) => "SIZE",
            Number(..) => "NUMBER",
            List => "LIST",
            Map => "MAP",
        }
    }

    /// A description of the expected value, for an error.
    pub fn expected(&self) -> String {
        match self.takes {
            Time(..) => "TIME such as 30s".to_owned(),
            Size(..) => "SIZE such as 4MiB".to_owned(),
            Number(..) => "a whole NUMBER".to_owned(),
            Choice(words) => format!("one of {}", words.replace('|', ", ")),
            List => "a list such as [a, b]".to_owned(),
            Map => "a map such as {name: value}".to_owned(),
            Text(name) => name.to_owned(),
            Nothing => "nothing".to_owned(),
        }
    }

    /// The limits, such as `100ms to 24h`, if it has any.
    pub fn limits(&self) -> Option<String> {
        match self.takes {
            Time(least, most) => Some(format!("{} to {}", format_time(least), format_time(most))),
            Size(least, most) => Some(format!("{} to {}", format_size(least), format_size(most))),
            Number(least, most) => Some(format!("{least} to {most}")),
            Nothing | Text(_) | Choice(_) | List | Map => None,
        }
    }

    /// The part of the key before the last point. Rows of one section are adjacent.
    pub fn section(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

/// The rows of all sections, in the order in which help shows them.
#[derive(Debug, Clone, Copy)]
pub struct Schema(pub(crate) &'static [&'static [Row]]);

impl Schema {
    pub fn rows(self) -> impl Iterator<Item = &'static Row> {
        self.0.iter().copied().flatten()
    }

    /// The row of a key in the settings file. For `checks[3].tcp` it is `checks[].tcp`.
    pub fn row(self, key: &str) -> Option<&'static Row> {
        let key = without_numbers(key);
        self.rows().find(|row| row.key == key)
    }

    pub(crate) fn is_section(self, key: &str) -> bool {
        let head = format!("{}.", without_numbers(key));
        key.is_empty() || self.is_list_of_maps(key) || self.rows().any(|row| row.key.starts_with(&head))
    }

    pub(crate) fn is_list_of_maps(self, key: &str) -> bool {
        let head = format!("{}[].", without_numbers(key));
        self.rows().any(|row| row.key.starts_with(&head))
    }

    /// A description of the expected value of a key, for an error.
    pub(crate) fn expected(self, key: &str) -> String {
        match self.row(key) {
            Some(row) => row.expected(),
            None if self.is_list_of_maps(key) => "a list of maps of settings".to_owned(),
            None if self.is_section(key) => "a map of settings".to_owned(),
            None => "text".to_owned(),
        }
    }
}

/// A key with nothing between its brackets.
pub fn without_numbers(key: &str) -> String {
    let mut within = false;
    let keep = |c: &char| {
        let digit = within && c.is_ascii_digit();
        within = *c == '[' || digit;
        !digit
    };
    key.chars().filter(keep).collect()
}

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

pub(crate) const fn setting(key: &'static str, takes: ValueKind, default: &'static str, help: &'static str) -> Row {
    Row { key, takes, default, help, kind: Kind::Setting }
}

pub(crate) const fn file_only(key: &'static str, takes: ValueKind, help: &'static str) -> Row {
    Row { key, takes, default: "", help, kind: Kind::File }
}

/// A key of the maps in a list. Only the settings file has such keys.
pub(crate) const fn column(key: &'static str, takes: ValueKind, default: &'static str, help: &'static str) -> Row {
    Row { key, takes, default, help, kind: Kind::File }
}

pub(crate) const fn flag(key: &'static str, takes: ValueKind, default: &'static str, help: &'static str) -> Row {
    Row { key, takes, default, help, kind: Kind::Flag }
}
