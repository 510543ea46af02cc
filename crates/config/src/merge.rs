//! Merges configs as the collector merges several `--config`: mappings deeply, other values are replaced by later ones.
//! Pure.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::inspect::inspect;
use crate::refusal::Refusal;

/// The size of one node beside its text, in bytes. It is counted because a few aliases can expand to many nodes.
const NODE_SIZE: usize = 64;

/// The most bytes that the merged nodes may take: enough for a config of 4 MiB in many lines.
pub const MAX_MERGED: usize = 16 << 20;

/// Merges bodies, the last one on top. The result is JSON, which is YAML: comments are lost.
///
/// # Errors
///
/// The reason, if one of them cannot be read as a mapping.
pub fn layered<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> Result<String, String> {
    let (mut merged, mut budget) = (Map::new(), MAX_MERGED);
    for body in bodies {
        lay_over(&mut merged, read(body, &mut budget)?);
    }
    Ok(serde_json::to_string_pretty(&merged).expect("maps with string keys and numbers only"))
}

/// Reads one file as a mapping, with its aliases expanded, within the budget of bytes.
///
/// # Errors
///
/// The reason for the author of the file.
pub fn read(body: &[u8], budget: &mut usize) -> Result<Map<String, Value>, String> {
    match inspect(body) {
        // Pipelines may be in another file.
        Ok(_) | Err(Refusal::NoPipelines) => {}
        Err(Refusal::Empty) => return Ok(Map::new()),
        Err(refusal) => return Err(refusal.to_string()),
    }
    let text = std::str::from_utf8(body).expect("inspected");
    match parse(text.strip_prefix('\u{feff}').unwrap_or(text), budget)? {
        Value::Object(mapping) => Ok(mapping),
        Value::Null => Ok(Map::new()),
        _ => Err("is not a mapping".into()),
    }
}

/// Reads YAML with merge keys, as long as the result stays within the budget of bytes.
///
/// # Errors
///
/// The parser's message, or a value that JSON cannot hold: a tag, an infinite number, a key that is no scalar.
pub fn parse(text: &str, budget: &mut usize) -> Result<Value, String> {
    Bounded(budget).deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| error.to_string())
}

/// Merges as the collector does: mappings are merged, other values are replaced, also by null.
pub fn lay_over(below: &mut Map<String, Value>, above: Map<String, Value>) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => lay_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Replaces `<<` by the entries of its mappings whose keys are not there yet. Of several mappings the first wins.
fn expand(mapping: &mut Map<String, Value>) -> Result<(), &'static str> {
    let Some(merged) = mapping.remove("<<") else { return Ok(()) };
    for merged in if let Value::Array(several) = merged { several } else { vec![merged] } {
        let Value::Object(merged) = merged else { return Err("`<<` is for mappings") };
        for (key, value) in merged {
            mapping.entry(key).or_insert(value);
        }
    }
    Ok(())
}

/// Reads a value and stops when it becomes too large.
struct Bounded<'a>(&'a mut usize);

impl Bounded<'_> {
    fn take<E: serde::de::Error>(self, value: impl Into<Value>, text: usize) -> Result<Value, E> {
        match self.0.checked_sub(NODE_SIZE + text) {
            Some(left) => *self.0 = left,
            None => return Err(E::custom("its aliases make it too large; write out less, or use one file")),
        }
        Ok(value.into())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.take(value, 0)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.take(value, 0)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.take(value, 0)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match value.is_finite() {
            true => self.take(value, 0),
            false => Err(E::custom(format!("{value} cannot be merged; use one file"))),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.take(value, value.len())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.take(Value::Null, 0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut sequence = Vec::new();
        while let Some(value) = items.next_element_seed(Bounded(&mut *self.0))? {
            sequence.push(value);
        }
        self.take(sequence, 0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping = Map::new();
        while let Some(key) = entries.next_key_seed(Bounded(&mut *self.0))? {
            let key = match key {
                Value::String(key) => key,
                Value::Null | Value::Bool(_) | Value::Number(_) => key.to_string(),
                Value::Array(_) | Value::Object(_) => return Err(A::Error::custom("a key is not a text")),
            };
            if mapping.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:.40} stands twice")));
            }
            let value = entries.next_value_seed(Bounded(&mut *self.0))?;
            mapping.insert(key, value);
        }
        expand(&mut mapping).map_err(A::Error::custom)?;
        self.take(mapping, 0)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("has a YAML tag, which is lost when files are merged; use one file, or no tag"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_body_wins_and_its_lists_replace_earlier_ones() {
        let below = "# the host's own\nreceivers: {a: {x: 1, y: 2}}\nservice: {extensions: [e], pipelines: {logs: {receivers: [a]}}}\n";
        let above =
            "receivers: {a: {x: 3}, b: }\nservice: {pipelines: {logs: {receivers: [b]}, metrics: {receivers: [b]}}}\n";
        let merged = layered([below.as_bytes(), above.as_bytes()]).unwrap();
        let expected = "receivers: {a: {x: 3, y: 2}, b: null}\nservice: {extensions: [e], pipelines: {logs: {receivers: [b]}, \
                        metrics: {receivers: [b]}}}\n";
        let value = |text: &str| parse(text, &mut { MAX_MERGED }).unwrap();
        assert_eq!(value(&merged), value(expected));
        assert_eq!(layered([&b"# nothing\n"[..], b"a: 1\n"]).unwrap(), "{\n  \"a\": 1\n}");
        assert_eq!(layered([&b"- a\n"[..]]).unwrap_err(), "is not a mapping");
    }
}
