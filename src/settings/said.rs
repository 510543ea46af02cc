//! What was said about each setting, in order of strength, and whether it can be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{File, Node, item, join};
use super::way_out::credentials;
use super::{DEFAULT_COLLECTOR, Location, Place, Secret, SettingsError, World, error};
use super::{expand::expand, location::location};
use crate::cli::{self, Invocation, Row, Takes};
use crate::http;
use crate::signature::PublicKey;
use crate::units;

/// Everything that was said, in order of strength.
pub(super) struct Said<'a> {
    pub(super) invocation: &'a Invocation,
    pub(super) world: &'a World,
    pub(super) file: File,
}

/// A value as it was said.
pub(super) struct Raw {
    pub(super) text: String,
    pub(super) from: Origin,
    /// Whether a message may show it: not if it may be a secret.
    pub(super) shown: bool,
}

/// Who said it.
pub(super) enum Origin {
    Flag,
    Variable(String),
    /// The dotted key; that of an item of a list or map is longer than that of its row.
    File(String),
    Default,
}

impl Said<'_> {
    /// The strongest thing said about a setting.
    fn raw(&self, key: &str) -> Result<Option<Raw>, SettingsError> {
        self.raw_or(key, &[])
    }

    /// Whether somebody said something about a setting.
    pub(super) fn is_said(&self, key: &str) -> bool {
        self.raw(key).is_ok_and(|raw| raw.is_some())
    }

    /// The same, with variables that other programs know too, weaker than the file.
    pub(super) fn raw_or(&self, key: &str, variables: &[&str]) -> Result<Option<Raw>, SettingsError> {
        if let Some(text) = self.invocation.flag(key) {
            return Ok(Some(Raw { text: text.to_owned(), from: Origin::Flag, shown: true }));
        }
        if let Some(name) = row_of(key).env()
            && let Some(raw) = self.variable(&name)?
        {
            return Ok(Some(raw));
        }
        if let Some(Node::Text(text)) = self.file.get(key) {
            return self.expand(key.to_owned(), text).map(Some);
        }
        for name in variables {
            // A CGI server sets HTTP_PROXY from the request's `Proxy` header (CVE-2016-5385).
            if *name == "HTTP_PROXY" && (self.world.var)("REQUEST_METHOD").is_some() {
                continue;
            }
            if let Some(raw) = self.variable(name)? {
                return Ok(Some(raw));
            }
        }
        Ok(None)
    }

    fn variable(&self, name: &str) -> Result<Option<Raw>, SettingsError> {
        let Some(value) = (self.world.var)(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let from = Origin::Variable(name.to_owned());
        match value.into_string() {
            Ok(text) => Ok(Some(Raw { text, from, shown: true })),
            Err(_) => Err(error(Place::Variable(name.to_owned()), "its value is not UTF-8".to_owned())),
        }
    }

    /// A value of the file, with what stands in for parts of it.
    pub(super) fn expand(&self, key: String, text: &str) -> Result<Raw, SettingsError> {
        match expand(text, self.world) {
            Ok(expanded) => {
                let shown = expanded.is_none();
                let text = expanded.unwrap_or_else(|| text.replace("$$", "$"));
                Ok(Raw { text, from: Origin::File(key), shown })
            }
            Err((problem, cause)) => Err(SettingsError { place: self.file.place(&key), problem, cause }),
        }
    }

    /// A setting that may be absent. `parse` says what is wrong with a text that it refuses.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        match self.raw(key)? {
            Some(raw) if !raw.text.is_empty() => self.parsed(key, &raw, parse).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// A setting with a default, which is the one that help shows.
    pub(super) fn required<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        let default = || Raw { text: row_of(key).default.to_owned(), from: Origin::Default, shown: true };
        let raw = self.raw(key)?.unwrap_or_else(default);
        self.parsed(key, &raw, parse)
    }

    fn parsed<T>(&self, key: &str, raw: &Raw, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        if raw.text.contains('\0') {
            return Err(self.error(key, raw, "its value holds a NUL character".to_owned()));
        }
        parse(&raw.text).map_err(|problem| {
            // Whatever the setting, a URL may have a password before an `@` and a token in its query.
            let secret = raw.text.contains("://") && raw.text.contains(['@', '?']);
            let found = match (raw.text.is_empty(), raw.shown && !secret) {
                (true, _) => "nothing".to_owned(),
                (false, true) => format!("\"{}\"", cli::clip(&raw.text)),
                (false, false) => "<set>".to_owned(),
            };
            self.error(key, raw, format!("expected {}, found {found}: {problem}", row_of(key).expected()))
        })
    }

    pub(super) fn time(&self, key: &str) -> Result<Duration, SettingsError> {
        self.required(key, |text| {
            let time = units::parse_time(text).map_err(|e| e.to_string())?;
            match row_of(key).takes {
                Takes::Time(least, most) if time < least || time > most => Err(outside(key)),
                _ => Ok(time),
            }
        })
    }

    pub(super) fn size(&self, key: &str) -> Result<u64, SettingsError> {
        self.required(key, size_of(key))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<i32>, SettingsError> {
        self.optional(key, |text| {
            let number: i32 = text.parse().map_err(|_| outside(key))?;
            match row_of(key).takes {
                Takes::Number(least, most) if !(least..=most).contains(&number.into()) => Err(outside(key)),
                _ => Ok(number),
            }
        })
    }

    pub(super) fn choice(&self, key: &str) -> Result<String, SettingsError> {
        let words = row_of(key).value();
        self.required(key, |text| {
            if words.split('|').any(|word| word == text) {
                return Ok(text.to_owned());
            }
            Err(match cli::nearest(text, words.split('|')) {
                Some(near) => format!("did you mean {near}?"),
                None => "no such choice".to_owned(),
            })
        })
    }

    /// A path, made absolute.
    pub(super) fn path(&self, key: &str) -> Result<Option<PathBuf>, SettingsError> {
        self.optional(key, |text| Ok(self.world.absolute(Path::new(text))))
    }

    /// A path, made absolute unless it is a bare name for PATH.
    pub(super) fn program(&self, key: &str) -> Result<PathBuf, SettingsError> {
        let program = self.optional(key, |text| {
            let path = Path::new(text);
            Ok(if path.components().count() == 1 && path.file_name().is_some_and(|name| name == text) {
                path.to_owned()
            } else {
                self.world.absolute(path)
            })
        })?;
        Ok(program.unwrap_or_else(|| DEFAULT_COLLECTOR.into()))
    }

    pub(super) fn location(&self, key: &str) -> Result<Option<Location>, SettingsError> {
        let Some(mut raw) = self.raw(key)?.filter(|raw| !raw.text.is_empty()) else {
            return Ok(None);
        };
        // Passwords stand before an `@`, tokens in the query.
        raw.shown &= !raw.text.contains(['@', '?']);
        self.parsed(key, &raw, |text| location(text, &credentials(key), self.world)).map(Some)
    }

    /// A list of locations.
    pub(super) fn locations(&self, key: &str) -> Result<Vec<Location>, SettingsError> {
        let Some(Node::List(items)) = self.file.get(key) else {
            return Ok(Vec::new());
        };
        let raws = items.iter().enumerate().map(|(number, text)| self.expand(item(key, number), text));
        raws.map(|raw| {
            let mut raw = raw?;
            raw.shown &= !raw.text.contains(['@', '?']);
            self.parsed(key, &raw, |text| location(text, &credentials(key), self.world))
        })
        .collect()
    }

    pub(super) fn proxy(&self, key: &str, variables: &[&str]) -> Result<Option<Secret>, SettingsError> {
        let raw = self.raw_or(key, variables)?.filter(|raw| !raw.text.is_empty());
        let Some(raw) = raw.map(|raw| Raw { shown: false, ..raw }) else {
            return Ok(None);
        };
        let scheme = if key.ends_with("https_proxy") { "https" } else { "http" };
        let checked = |text: &str| match http::parse_proxy(scheme, text) {
            Ok(_) => Ok(Secret::from(text.to_owned())),
            Err(error) => Err(error.why()),
        };
        self.parsed(key, &raw, checked).map(Some)
    }

    /// A public key. Somebody may have written the secret one: it is not repeated.
    pub(super) fn public_key(&self, key: &str) -> Result<Option<String>, SettingsError> {
        let raw = self.raw(key)?.filter(|raw| !raw.text.is_empty());
        let Some(raw) = raw.map(|raw| Raw { shown: false, ..raw }) else {
            return Ok(None);
        };
        self.parsed(key, &raw, |text| PublicKey::parse(text).map(|_| text.to_owned())).map(Some)
    }

    /// The collector's arguments. None of them may bring in a config.
    pub(super) fn arguments(&self, key: &str) -> Result<Vec<String>, SettingsError> {
        let Some(Node::List(items)) = self.file.get(key) else {
            return Ok(Vec::new());
        };
        let raws = items.iter().enumerate().map(|(number, text)| self.expand(item(key, number), text));
        let checked = |text: &str| Ok(text.to_owned());
        raws.map(|raw| {
            let raw = raw?;
            let flag = raw.text.split('=').next().unwrap_or_default();
            if ["--config", "--set"].contains(&flag) {
                let problem = format!("{flag} would run a config that was not checked; change what config.url offers");
                return Err(self.error(key, &raw, problem));
            }
            self.parsed(key, &raw, checked)
        })
        .collect()
    }

    fn map(&self, key: &str) -> Result<Vec<(String, Raw)>, SettingsError> {
        let Some(Node::Map(entries)) = self.file.get(key) else {
            return Ok(Vec::new());
        };
        entries.iter().map(|(name, text)| Ok((name.clone(), self.expand(join(key, name), text)?))).collect()
    }

    pub(super) fn headers(&self, key: &str) -> Result<Vec<(String, Secret)>, SettingsError> {
        let mut headers: Vec<(String, Secret)> = Vec::new();
        for (name, raw) in self.map(key)? {
            http::check_header(&name, &raw.text).map_err(|error| self.error(key, &raw, error.why()))?;
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                return Err(self.error(key, &raw, "this header stands twice; keep one".to_owned()));
            }
            headers.push((name, raw.text.into()));
        }
        Ok(headers)
    }

    pub(super) fn environment(&self, key: &str) -> Result<Vec<(String, Secret)>, SettingsError> {
        let mut variables = Vec::new();
        for (name, raw) in self.map(key)? {
            if name.is_empty() || name.contains(['=', '\0']) || raw.text.contains('\0') {
                let problem = "a variable has a name without \"=\", and no NUL character";
                return Err(self.error(key, &raw, problem.to_owned()));
            }
            variables.push((name, raw.text.into()));
        }
        Ok(variables)
    }

    pub(super) fn attributes(&self, key: &str) -> Result<Vec<(String, String)>, SettingsError> {
        let mut attributes = Vec::new();
        for (name, raw) in self.map(key)? {
            if name.is_empty() {
                return Err(self.error(key, &raw, "an attribute needs a name".to_owned()));
            }
            attributes.push((name, raw.text));
        }
        Ok(attributes)
    }

    /// An error about a value that was said.
    fn error(&self, key: &str, raw: &Raw, problem: String) -> SettingsError {
        let place = match &raw.from {
            Origin::Flag => Place::Flag(row_of(key).flag().expect("a flag said it")),
            Origin::Variable(name) => Place::Variable(name.clone()),
            Origin::File(key) => self.file.place(key),
            Origin::Default => unreachable!("the default of {key} is refused"),
        };
        error(place, problem)
    }

    /// An error about a setting that was said somewhere.
    pub(super) fn error_at(&self, key: &str, problem: String) -> SettingsError {
        match self.raw(key) {
            Ok(Some(raw)) => self.error(key, &raw, problem),
            Ok(None) => error(Place::File(self.file.path.clone()), problem),
            Err(e) => e,
        }
    }
}

fn row_of(key: &str) -> &'static Row {
    cli::setting_row(key).expect("settings are asked for by their key")
}

fn outside(key: &str) -> String {
    format!("allowed is {}", row_of(key).limits().expect("it was compared with its limits"))
}

pub(super) fn size_of(key: &str) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let size = units::parse_size(text).map_err(|e| e.to_string())?;
        match row_of(key).takes {
            Takes::Size(least, most) if size < least || size > most => Err(outside(key)),
            _ => Ok(size),
        }
    }
}

pub(super) fn user_and_group(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let bad = |part: &&str| part.is_empty() || part.contains(|c: char| c.is_whitespace() || c.is_control());
    if parts.len() > 2 || parts.iter().any(bad) {
        return Err("write user or user:group, names or numbers".to_owned());
    }
    Ok(text.to_owned())
}
