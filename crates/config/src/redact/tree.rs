//! A config as the parser reads it. Secrets are marked in this tree, and the redacted text is compared with it.

use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess as _, Visitor};

use super::words::REDACTED;
use crate::scan::NODE_LIMIT;

/// The nodes of a config in one list: each collection is followed by its content.
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// Bytes of text so far. Only aliases can make it much more than the source.
    bytes: usize,
    /// The most bytes of text that are accepted.
    limit: usize,
}

pub(super) enum Node {
    Map {
        /// The index of the node behind its content.
        end: usize,
    },
    Seq {
        /// The index of the node behind its content.
        end: usize,
    },
    Scalar(Scalar),
}

pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) kind: Kind,
    pub(super) secret: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    Null,
}

impl Tree {
    /// `None` if it is not one YAML document, or one whose aliases make it too large.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut tree = Self { nodes: Vec::new(), bytes: 0, limit: 4096 + text.len() * 2 };
        let mut documents = serde_yaml::Deserializer::from_str(text);
        Reader(&mut tree).deserialize(documents.next()?).ok()?;
        documents.next().is_none().then_some(tree)
    }

    /// Whether this is the other tree with its secrets replaced and nothing else changed.
    pub(super) fn reads_as(&self, other: &Self) -> bool {
        let same = |(ours, theirs): (&Node, &Node)| match (ours, theirs) {
            (Node::Map { end }, Node::Map { end: other }) | (Node::Seq { end }, Node::Seq { end: other }) => {
                end == other
            }
            (Node::Scalar(ours), Node::Scalar(theirs)) if theirs.secret => ours.text == REDACTED,
            (Node::Scalar(ours), Node::Scalar(theirs)) => ours.kind == theirs.kind && ours.text == theirs.text,
            (Node::Map { .. } | Node::Seq { .. } | Node::Scalar(_), _) => false,
        };
        self.nodes.len() == other.nodes.len() && self.nodes.iter().zip(&other.nodes).all(same)
    }

    /// The tree as JSON, without the secrets.
    pub(super) fn json(&self) -> Option<String> {
        let mut json = String::new();
        self.write(0, false, &mut json)?;
        json.push('\n');
        Some(json)
    }

    fn write(&self, at: usize, is_key: bool, json: &mut String) -> Option<usize> {
        match &self.nodes[at] {
            // A mapping as a key has no form in JSON.
            Node::Map { .. } | Node::Seq { .. } if is_key => return None,
            Node::Map { end } => {
                let mut next = at + 1;
                json.push('{');
                while next < *end {
                    next = self.write(next, true, json)?;
                    json.push_str(": ");
                    next = self.write(next, false, json)?;
                    json.push_str(if next < *end { ", " } else { "" });
                }
                json.push('}');
                return Some(*end);
            }
            Node::Seq { end } => {
                let mut next = at + 1;
                json.push('[');
                while next < *end {
                    next = self.write(next, false, json)?;
                    json.push_str(if next < *end { ", " } else { "" });
                }
                json.push(']');
                return Some(*end);
            }
            Node::Scalar(scalar) => {
                let text = if scalar.secret { REDACTED } else { &scalar.text };
                let bare = scalar.kind != Kind::Text && !scalar.secret && !is_key;
                let quoted = || serde_json::to_string(text).ok();
                json.push_str(&if bare { text.to_owned() } else { quoted()? });
            }
        }
        Some(at + 1)
    }

    fn push(&mut self, node: Node) -> Result<usize, &'static str> {
        self.bytes += if let Node::Scalar(scalar) = &node { scalar.text.len() } else { 0 };
        if self.nodes.len() >= NODE_LIMIT || self.bytes > self.limit {
            return Err("aliases make it too large");
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }
}

/// Reads any value into a tree.
struct Reader<'t>(&'t mut Tree);

impl Reader<'_> {
    fn scalar<E: serde::de::Error>(self, text: String, kind: Kind) -> Result<(), E> {
        let scalar = Scalar { text, kind, secret: false };
        self.0.push(Node::Scalar(scalar)).map_err(E::custom)?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let at = self.0.push(Node::Map { end: 0 }).map_err(A::Error::custom)?;
        while map.next_key_seed(Reader(self.0))?.is_some() {
            map.next_value_seed(Reader(self.0))?;
        }
        self.0.nodes[at] = Node::Map { end: self.0.nodes.len() };
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let at = self.0.push(Node::Seq { end: 0 }).map_err(A::Error::custom)?;
        while seq.next_element_seed(Reader(self.0))?.is_some() {}
        self.0.nodes[at] = Node::Seq { end: self.0.nodes.len() };
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<serde::de::IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar("null".to_owned(), Kind::Null)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.scalar(text.to_owned(), Kind::Text)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value.to_string(), Kind::Bool)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value.to_string(), Kind::Number)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value.to_string(), Kind::Number)
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<(), E> {
        self.scalar(value.to_string(), Kind::Number)
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<(), E> {
        self.scalar(value.to_string(), Kind::Number)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        // JSON has no infinity.
        let kind = if value.is_finite() { Kind::Number } else { Kind::Text };
        self.scalar(value.to_string(), kind)
    }
}
