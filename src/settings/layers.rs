//! The places where a setting can be set, in order of strength: flag, variable, settings file, default. Only the
//! strongest value is checked; an overridden one is ignored.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use otelet_core::text::{clip, disguise, nearest};
use otelet_core::units;

use super::error::{Place, SettingsError};
use super::expand::{EMPTY, expand, flaw, flaws};
use super::file::File;
use super::flags::Flags;
use super::location::{Location, location, path};
use super::node::{Node, item, join};
use super::schema::{Row, ValueKind};
use super::secret::Secret;
use super::way_out::credentials;
use super::world::World;
use crate::http;

/// Flags, variables and settings file; the defaults are in the rows.
pub(crate) struct Layers<'a> {
    pub(crate) flags: &'a Flags,
    pub(crate) world: &'a World,
    pub(crate) file: File,
    /// Notes for a person about values that are taken all the same, or not needed.
    pub(crate) notes: RefCell<Vec<String>>,
}

/// A value as it was written.
pub(crate) struct Raw {
    pub(crate) text: String,
    pub(crate) from: Origin,
    /// Whether a message may show it: only if it cannot be a secret.
    pub(crate) shown: bool,
    /// The flaws of the variables that it comes from, in words.
    pub(crate) flaws: Vec<String>,
}

impl Raw {
    /// The variable that it comes from, if that is not one of the agent's own.
    pub(crate) fn common_variable(&self) -> Option<&str> {
        match &self.from {
            Origin::Variable(name) => Some(&**name).filter(|name| !name.starts_with("OTELET_")),
            Origin::Flag | Origin::File(_) | Origin::Default => None,
        }
    }

    /// Whether it has something in it that no path or URL has. An empty variable may be meant so.
    fn is_spoilt(&self) -> bool {
        self.flaws.iter().any(|flaw| !flaw.ends_with(EMPTY))
    }

    /// The end of a message about a value that is refused.
    fn because(&self) -> String {
        self.flaws.iter().map(|flaw| format!("; {flaw}")).collect()
    }
}

/// The place that a value comes from.
pub(crate) enum Origin {
    Flag,
    Variable(String),
    /// The dotted key. The key of an item in a list or map is longer than the key of its row.
    File(String),
    Default,
}

impl Layers<'_> {
    /// The row with this key.
    pub(crate) fn row(&self, key: &str) -> &'static Row {
        self.file.schema.row(key).expect("settings are asked for by their key")
    }

    /// Whether a setting is set anywhere.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.raw(key).is_ok_and(|raw| raw.is_some())
    }

    /// The strongest value of a setting.
    pub(crate) fn raw(&self, key: &str) -> Result<Option<Raw>, SettingsError> {
        if let Some(text) = self.flags.get(key) {
            return Ok(Some(Raw { text: text.to_owned(), from: Origin::Flag, shown: true, flaws: Vec::new() }));
        }
        if let Some(name) = self.row(key).env()
            && let Some(raw) = self.variable(&name)?
        {
            return Ok(Some(raw));
        }
        if let Some(Node::Text(text)) = self.file.get(key) {
            return self.expand(key.to_owned(), text).map(Some);
        }
        for name in common_variables(key) {
            // A CGI server sets HTTP_PROXY from the request's `Proxy` header (CVE-2016-5385).
            if *name == "HTTP_PROXY" && (self.world.var)("REQUEST_METHOD").is_some() {
                continue;
            }
            if let Some(raw) = self.common_variable(name) {
                return Ok(Some(raw));
            }
        }
        Ok(None)
    }

    fn variable(&self, name: &str) -> Result<Option<Raw>, SettingsError> {
        let Some(value) = (self.world.var)(name) else {
            return Ok(None);
        };
        let Ok(text) = value.into_string() else {
            return Err(SettingsError::new(Place::Variable(name.to_owned()), "its value is not UTF-8".to_owned()));
        };
        self.note_unwrapped(name, &text);
        let text = unwrapped(&text).to_owned();
        let flaw = flaw(&text);
        if let Some(flaw) = flaw {
            self.note(format!("{name} {flaw}{}", if text.is_empty() { "; it counts as not set" } else { "" }));
        }
        let flaws = flaw.map(|flaw| format!("its value {flaw}")).into_iter().collect();
        let raw = Raw { text, from: Origin::Variable(name.to_owned()), shown: true, flaws };
        Ok(Some(raw).filter(|raw| !raw.text.is_empty()))
    }

    /// The value of a variable that was not set for this agent. It is never an error: nothing may depend on it.
    fn common_variable(&self, name: &str) -> Option<Raw> {
        let value = (self.world.var)(name).filter(|value| !value.is_empty())?;
        let Ok(text) = value.into_string() else {
            self.note(format!("{name} is not UTF-8; it counts as not set"));
            return None;
        };
        let inner = unwrapped(text.trim()).trim();
        if inner != text {
            self.note(format!("{name}: quotes, blanks and carriage returns around its value are left out"));
        }
        let text = inner.to_owned();
        let raw = Raw { text, from: Origin::Variable(name.to_owned()), shown: true, flaws: Vec::new() };
        Some(raw).filter(|raw| !raw.text.is_empty())
    }

    /// Notes a variable from whose value something is left out.
    pub(crate) fn note_unwrapped(&self, name: &str, text: &str) {
        if unwrapped(text) != text {
            self.note(format!("{name}: quotes and carriage returns around its value are left out"));
        }
    }

    pub(crate) fn note(&self, note: String) {
        let mut notes = self.notes.borrow_mut();
        // A setting is read more than once.
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Reads a value of the file and replaces its references.
    pub(crate) fn expand(&self, key: String, text: &str) -> Result<Raw, SettingsError> {
        match expand(text, self.world) {
            Ok(expanded) => {
                let shown = expanded.is_none();
                let flaws = flaws(text, self.world);
                for flaw in &flaws {
                    self.note(format!("{}: {flaw}", self.file.place(&key)));
                }
                let text = expanded.unwrap_or_else(|| text.replace("$$", "$"));
                Ok(Raw { text, from: Origin::File(key), shown, flaws })
            }
            Err((problem, cause)) => Err(SettingsError::caused(self.file.place(&key), problem, cause)),
        }
    }

    /// Reads a setting that may be absent. `parse` returns the reason if it refuses a text.
    pub(crate) fn optional<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        match self.raw(key)? {
            Some(raw) if !raw.text.is_empty() => self.parsed(key, &raw, parse).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Reads a setting with a default, the one that help shows.
    pub(crate) fn required<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        let default =
            || Raw { text: self.row(key).default.to_owned(), from: Origin::Default, shown: true, flaws: Vec::new() };
        let raw = self.raw(key)?.unwrap_or_else(default);
        self.parsed(key, &raw, parse)
    }

    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        raw: &Raw,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        if raw.text.contains('\0') {
            return Err(self.error(key, raw, "its value has a NUL character".to_owned()));
        }
        // A text may have them for a reason: the body that a check looks for, a name.
        let row = self.row(key);
        if !matches!(row.takes, ValueKind::Text("TEXT" | "NAME") | ValueKind::List | ValueKind::Map) {
            let curly = raw.text.starts_with(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}']);
            if curly || quoted(&raw.text).is_some() {
                let problem = "its value has quotation marks of its own around it; leave them out";
                return Err(self.error(key, raw, problem.to_owned()));
            }
        }
        parse(&raw.text).map_err(|problem| {
            // In any setting, a URL may have a password before an `@` and a token in its query.
            let secret = raw.text.contains("://") && raw.text.contains(['@', '?']);
            let found = match (raw.text.is_empty(), raw.shown && !secret) {
                (true, _) => "nothing".to_owned(),
                (false, true) => format!("\"{}\"", clip(&raw.text)),
                (false, false) => "<set>".to_owned(),
            };
            let because = raw.because();
            let hint = disguise(&raw.text).map_or(String::new(), |(_, name)| format!("; it has {name} in it"));
            let expected = self.row(key).expected();
            self.error(key, raw, format!("expected {expected}, found {found}: {problem}{hint}{because}"))
        })
    }

    pub(crate) fn time(&self, key: &str) -> Result<Duration, SettingsError> {
        let row = self.row(key);
        self.required(key, |text| {
            let time = units::parse_time(text).map_err(|e| e.to_string())?;
            match row.takes {
                ValueKind::Time(least, most) if time < least || time > most => Err(outside(row)),
                _ => Ok(time),
            }
        })
    }

    pub(crate) fn size(&self, key: &str) -> Result<u64, SettingsError> {
        self.required(key, size_of(self.row(key)))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<i32>, SettingsError> {
        let row = self.row(key);
        self.optional(key, |text| {
            let number: i32 = text.parse().map_err(|_| outside(row))?;
            match row.takes {
                ValueKind::Number(least, most) if !(least..=most).contains(&number.into()) => Err(outside(row)),
                _ => Ok(number),
            }
        })
    }

    /// Reads one of the words of the row, and returns the value at the same place in `values`. A test compares the two
    /// orders.
    pub(crate) fn choice<T: Copy, const N: usize>(&self, key: &str, values: [T; N]) -> Result<T, SettingsError> {
        let words = self.row(key).value();
        self.required(key, |text| match words.split('|').zip(values).find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(value),
            None => Err(match nearest(text, words.split('|')) {
                Some(near) => format!("did you mean {near}?"),
                None => "unknown choice".to_owned(),
            }),
        })
    }

    /// Reads a path and makes it absolute.
    pub(crate) fn path(&self, key: &str) -> Result<Option<PathBuf>, SettingsError> {
        let Some(raw) = self.raw(key)?.filter(|raw| !raw.text.is_empty()) else {
            return Ok(None);
        };
        // No such file exists, and the message about that would not show why.
        let read = |text: &str| match raw.is_spoilt() {
            true => Err("not a path".to_owned()),
            false => path(text, self.world),
        };
        self.parsed(key, &raw, read).map(Some)
    }

    pub(crate) fn location(&self, key: &str) -> Result<Option<Location>, SettingsError> {
        let Some(mut raw) = self.raw(key)?.filter(|raw| !raw.text.is_empty()) else {
            return Ok(None);
        };
        // Passwords stand before an `@`, tokens in the query.
        raw.shown &= !raw.text.contains(['@', '?']);
        let location = |text: &str| match raw.is_spoilt() {
            true => Err("neither a URL nor a path".to_owned()),
            false => location(text, &credentials(key), self.world),
        };
        self.parsed(key, &raw, location).map(Some)
    }

    /// The items of a list.
    pub(crate) fn list(&self, key: &str) -> impl Iterator<Item = Result<Raw, SettingsError>> {
        let items = match self.file.get(key) {
            Some(Node::List(items)) => &items[..],
            Some(Node::Text(_) | Node::Map(_) | Node::Maps(_)) | None => &[],
        };
        items.iter().enumerate().map(move |(number, text)| self.expand(item(key, number), text))
    }

    /// The keys of the maps in a list.
    pub(crate) fn maps(&self, key: &str) -> Vec<String> {
        match self.file.get(key) {
            Some(Node::Maps(number)) => (0..*number).map(|number| item(key, number)).collect(),
            Some(Node::Text(_) | Node::List(_) | Node::Map(_)) | None => Vec::new(),
        }
    }

    pub(crate) fn map(&self, key: &str) -> Result<Vec<(String, Raw)>, SettingsError> {
        let Some(Node::Map(entries)) = self.file.get(key) else {
            return Ok(Vec::new());
        };
        entries.iter().map(|(name, text)| Ok((name.clone(), self.expand(join(key, name), text)?))).collect()
    }

    pub(crate) fn headers(&self, key: &str) -> Result<Vec<(String, Secret)>, SettingsError> {
        let mut headers: Vec<(String, Secret)> = Vec::new();
        for (name, raw) in self.map(key)? {
            http::check_header(&name, &raw.text)
                .map_err(|error| self.error(key, &raw, error.why() + &raw.because()))?;
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                return Err(self.error(key, &raw, "this header is set twice; keep one".to_owned()));
            }
            headers.push((name, raw.text.into()));
        }
        Ok(headers)
    }

    pub(crate) fn attributes(&self, key: &str) -> Result<Vec<(String, String)>, SettingsError> {
        let mut attributes = Vec::new();
        for (name, raw) in self.map(key)? {
            if name.is_empty() {
                return Err(self.error(key, &raw, "an attribute needs a name".to_owned()));
            }
            attributes.push((name, raw.text));
        }
        Ok(attributes)
    }

    /// An error about a value.
    pub(crate) fn error(&self, key: &str, raw: &Raw, problem: String) -> SettingsError {
        let place = match &raw.from {
            Origin::Flag => Place::Flag(self.row(key).flag().expect("it was given by flag")),
            Origin::Variable(name) => Place::Variable(name.clone()),
            Origin::File(key) => self.file.place(key),
            Origin::Default => unreachable!("the default of {key} is refused"),
        };
        SettingsError::new(place, problem)
    }

    /// An error about a setting, at the place where it is set.
    pub(crate) fn error_at(&self, key: &str, problem: String) -> SettingsError {
        match self.raw(key) {
            Ok(Some(raw)) => self.error(key, &raw, problem),
            Ok(None) => SettingsError::new(Place::File(self.file.path.clone()), problem),
            Err(e) => e,
        }
    }

    /// An error about something in the settings file.
    pub(crate) fn error_of(&self, key: &str, problem: String) -> SettingsError {
        SettingsError::new(self.file.place(key), problem)
    }
}

/// A variable without what its file put around it: `docker --env-file` keeps quotation marks, and a file with line ends
/// of Windows leaves its CR.
pub(crate) fn unwrapped(text: &str) -> &str {
    let text = text.trim_end_matches(['\r', '\n']);
    quoted(text).unwrap_or(text)
}

/// The text between two quotation marks, if they are the first and the last character, and the only ones.
fn quoted(text: &str) -> Option<&str> {
    ['"', '\'']
        .iter()
        .find_map(|mark| text.strip_prefix(*mark)?.strip_suffix(*mark))
        .filter(|inner| !inner.contains(['"', '\'']))
}

/// Variables that other programs read too. They are weaker than the file.
fn common_variables(key: &str) -> &'static [&'static str] {
    match key {
        "config.http_proxy" => &["http_proxy", "HTTP_PROXY"],
        "config.https_proxy" => &["https_proxy", "HTTPS_PROXY"],
        "config.no_proxy" => &["no_proxy", "NO_PROXY"],
        _ => &[],
    }
}

/// Reads a size within the limits of its row.
pub(crate) fn size_of(row: &'static Row) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let size = units::parse_size(text).map_err(|e| e.to_string())?;
        match row.takes {
            ValueKind::Size(least, most) if size < least || size > most => Err(outside(row)),
            _ => Ok(size),
        }
    }
}

fn outside(row: &Row) -> String {
    format!("allowed is {}", row.limits().expect("it was compared with its limits"))
}
