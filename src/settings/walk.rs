//! Reads the settings file value by value, guided by the rows of its schema.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};

use otelet_core::text::{disguise, nearest};

use super::node::{Node, item, join};
use super::schema::{HOSTS, Row, Schema, ValueKind, without_numbers};
use super::world::LARGEST_FILE;

/// One reading of the settings file.
///
/// serde_yaml gives each error the place of the innermost key or value whose own deserializer failed. So each fault
/// fails at its own key or value, and leaves its message in `problem`.
pub(crate) struct Walk<'a> {
    schema: Schema,
    stop_at: Option<&'a str>,
    /// The dotted key of the value that is being read.
    pub(crate) at: String,
    pub(crate) nodes: Vec<(String, Node)>,
    pub(crate) problem: Option<String>,
    /// Whether serde_yaml gives the place of the surrounding map instead, as for a null value.
    pub(crate) misplaced: bool,
    /// Bytes of text so far. Only aliases can make this exceed the size of the file.
    bytes: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(schema: Schema, stop_at: Option<&'a str>) -> Walk<'a> {
        Walk { schema, stop_at, at: String::new(), nodes: Vec::new(), problem: None, misplaced: false, bytes: 0 }
    }

    /// Walks through a document.
    ///
    /// # Errors
    ///
    /// The parser's error, at the faulty value or at the key to stop at.
    pub(crate) fn through(&mut self, document: serde_yaml::Deserializer<'_>) -> Result<(), serde_yaml::Error> {
        Section { walk: self, key: "" }.deserialize(document)
    }

    /// Enters a key. Returns whether it is the one to stop at.
    fn enter(&mut self, key: &str) -> bool {
        key.clone_into(&mut self.at);
        self.stop_at == Some(key)
    }

    fn fail<T, E: serde::de::Error>(&mut self, problem: String) -> Result<T, E> {
        self.problem = Some(problem);
        Err(E::custom(""))
    }
}

/// Refuses any value, so that the error has the place of that value.
pub(crate) struct RefuseVisitor;

impl Visitor<'_> for RefuseVisitor {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("nothing")
    }
}

/// A map whose keys are sections and settings.
struct Section<'w, 'a> {
    walk: &'w mut Walk<'a>,
    key: &'w str,
}

impl<'de> DeserializeSeed<'de> for Section<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        if self.walk.enter(self.key) { d.deserialize_any(RefuseVisitor) } else { d.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Section<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.walk.schema.is_list_of_maps(self.key) { "a list" } else { "a map" })
    }

    /// Reached for a section that has only comments.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    /// Reached for an empty file.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Section { walk, key } = self;
        if !walk.schema.is_list_of_maps(key) {
            return Err(A::Error::invalid_type(Unexpected::Seq, &"a map"));
        }
        let mut number = 0;
        while seq.next_element_seed(Section { walk, key: &item(key, number) })?.is_some() {
            number += 1;
        }
        walk.nodes.push((key.to_owned(), Node::Maps(number)));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Section { walk, key } = self;
        if walk.schema.is_list_of_maps(key) {
            return Err(A::Error::invalid_type(Unexpected::Map, &"a list"));
        }
        let mut seen = Vec::new();
        while let Some(name) = map.next_key_seed(Name { walk, key, seen: &seen, free: false })? {
            let key = &join(key, &name);
            match walk.schema.row(key) {
                None => map.next_value_seed(Section { walk, key })?,
                Some(row) => {
                    let node = map.next_value_seed(Value { walk, row, key })?;
                    walk.nodes.push((key.clone(), node));
                }
            }
            seen.push(name);
        }
        Ok(())
    }
}

/// A key of a map. It must be known, unless any name is allowed, and must not be a duplicate.
struct Name<'w, 'a> {
    walk: &'w mut Walk<'a>,
    key: &'w str,
    seen: &'w [String],
    free: bool,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        self.walk.enter(self.key);
        // A string is requested, since a map or a list as a key would be refused without a message about keys.
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        let key = join(self.key, name);
        if self.seen.iter().any(|seen| seen == name) {
            self.walk.enter(&key);
            return self.walk.fail("is set twice; keep one".to_owned());
        }
        let schema = self.walk.schema;
        let known = !name.contains('.') && !name.is_empty() && (schema.row(&key).is_some() || schema.is_section(&key));
        if self.free && begins_or_ends_unseen(name) {
            self.walk.enter(&key);
            return self.walk.fail("the name begins or ends with a character that nobody sees".to_owned());
        }
        if self.free || known {
            return Ok(name.to_owned());
        }
        self.walk.enter(&key);
        self.walk.fail(unknown_key(schema, self.key, name))
    }
}

/// Whether there is a character at one end that looks like a space, or like nothing. In a path or a header, nobody would
/// find it; in the middle of a text it may be meant.
fn begins_or_ends_unseen(text: &str) -> bool {
    let unseen = |c: Option<char>| c.is_some_and(|c| disguise(c.encode_utf8(&mut [0; 4])).is_some());
    unseen(text.chars().next()) || unseen(text.chars().next_back())
}

fn unknown_key(schema: Schema, section: &str, name: &str) -> String {
    if let (Some(row), Some((head, tail))) = (schema.row(&join(section, name)), name.split_once('.')) {
        return format!("unknown key; nest it: {head}: {{{tail}: {}}}", row.value());
    }
    let head = without_numbers(&join(section, ""));
    let known = schema.rows().filter_map(|row| row.key.strip_prefix(&head));
    let mut here: Vec<&str> = known.map(|key| key.split(['.', '[']).next().unwrap_or(key)).collect();
    here.dedup();
    let elsewhere = || {
        let keys = schema.rows().map(|row| row.key);
        keys.into_iter().find(|key| key.rsplit('.').next() == Some(name)).map(str::to_owned)
    };
    match nearest(name, here.iter().copied()).map(|near| join(section, near)).or_else(elsewhere) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => format!("unknown key; known here: {}", here.join(", ")),
    }
}

/// The value of a setting, in the shape that its row requires.
struct Value<'w, 'a> {
    walk: &'w mut Walk<'a>,
    row: &'static Row,
    /// The key of the row, with the number of the map in its list.
    key: &'w str,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        let key = self.key;
        match self.row.takes {
            ValueKind::List | ValueKind::Map if self.walk.enter(key) => {
                d.deserialize_any(RefuseVisitor).map(|()| Node::List(Vec::new()))
            }
            // Commas separate the parts of such a text; a list of them means the same.
            ValueKind::Text(HOSTS) if !self.walk.enter(key) => {
                d.deserialize_any(Items(self)).map(|parts| Node::Text(parts.join(",")))
            }
            ValueKind::List => d.deserialize_any(Items(self)).map(Node::List),
            ValueKind::Map => d.deserialize_any(Entries(self)).map(Node::Map),
            ValueKind::Nothing
            | ValueKind::Text(_)
            | ValueKind::Choice(_)
            | ValueKind::Time(..)
            | ValueKind::Size(..)
            | ValueKind::Number(..) => Scalar { walk: self.walk, key }.deserialize(d).map(Node::Text),
        }
    }
}

struct Items<'w, 'a>(Value<'w, 'a>);

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Vec<String>, E> {
        match self.0.row.takes {
            ValueKind::Text(_) => Ok(vec![number.to_string()]),
            _ => Err(E::invalid_type(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        match self.0.row.takes {
            ValueKind::Text(_) => Ok(vec![Scalar { walk: self.0.walk, key: self.0.key }.visit_str(text)?]),
            _ => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let Value { walk, key, .. } = self.0;
        let mut items = Vec::new();
        while let Some(text) = seq.next_element_seed(Scalar { walk, key: &item(key, items.len()) })? {
            items.push(text);
        }
        Ok(items)
    }
}

struct Entries<'w, 'a>(Value<'w, 'a>);

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_unit<E>(self) -> Result<Vec<(String, String)>, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<(String, String)>, A::Error> {
        let Value { walk, key, .. } = self.0;
        let mut entries = Vec::new();
        let mut seen = Vec::new();
        while let Some(name) = map.next_key_seed(Name { walk, key, seen: &seen, free: true })? {
            let text = map.next_value_seed(Scalar { walk, key: &join(key, &name) })?;
            seen.push(name.clone());
            entries.push((name, text));
        }
        Ok(entries)
    }
}

/// One text, exactly as written: `1.10` stays `1.10`.
struct Scalar<'w, 'a> {
    walk: &'w mut Walk<'a>,
    key: &'w str,
}

impl<'de> DeserializeSeed<'de> for Scalar<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        if self.walk.enter(self.key) {
            return d.deserialize_any(RefuseVisitor).map(|()| String::new());
        }
        d.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<String, E> {
        let expected = self.walk.schema.expected(self.key);
        self.walk.misplaced = true;
        self.walk.fail(format!("expected {expected}, found nothing; leave the key out, or write \"\""))
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        d.deserialize_str(self)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        self.walk.bytes += text.len();
        if self.walk.bytes > LARGEST_FILE {
            return self.walk.fail("more than 1MiB of text; write it out without aliases".to_owned());
        }
        if begins_or_ends_unseen(text) {
            return self.walk.fail("its value begins or ends with a character that nobody sees".to_owned());
        }
        Ok(text.to_owned())
    }
}
