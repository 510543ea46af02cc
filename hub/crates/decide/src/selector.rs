//! Selectors: `site=line-3,env!=test,role in (a,b),!retired`. All parts must hold; the empty selector matches each agent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::agent::Labels;

/// Chooses agents by their labels. The text is kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    label: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Is(String),
    IsNot(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Present,
    Absent,
}

/// A part of a selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorError {
    part: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "selector part {:?} is none of label=value, label!=value, label in (a,b), label notin (a,b), label, !label",
            self.part
        )
    }
}

impl std::error::Error for SelectorError {}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let text = text.trim();
        let parts = split(text).into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), parts })
    }
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !text.is_empty() {
        parts.push(&text[from..]);
    }
    parts
}

fn part(text: &str) -> Result<Part, SelectorError> {
    let text = text.trim();
    let wrong = || SelectorError { part: text.to_owned() };
    let (label, test) = if let Some((label, value)) = text.split_once("!=") {
        (label, Test::IsNot(word(value).ok_or_else(wrong)?))
    } else if let Some((label, value)) = text.split_once('=') {
        (label, Test::Is(word(value).ok_or_else(wrong)?))
    } else if let Some((label, list)) = text.split_once(" notin ") {
        (label, Test::NotIn(list_of(list).ok_or_else(wrong)?))
    } else if let Some((label, list)) = text.split_once(" in ") {
        (label, Test::In(list_of(list).ok_or_else(wrong)?))
    } else if let Some(label) = text.strip_prefix('!') {
        (label, Test::Absent)
    } else {
        (text, Test::Present)
    };
    let label = word(label).filter(|label| !label.is_empty()).ok_or_else(wrong)?;
    Ok(Part { label, test })
}

/// A name or value: no spaces, parentheses or signs inside.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let good = text.chars().all(|c| !c.is_whitespace() && !"(),=!".contains(c));
    good.then(|| text.to_owned())
}

fn list_of(text: &str) -> Option<Vec<String>> {
    text.trim().strip_prefix('(')?.strip_suffix(')')?.split(',').map(word).collect()
}

impl Selector {
    /// Whether the labels fulfil each part. A label that is missing is not equal to any value.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.parts.iter().all(|part| {
            let value = labels.get(&part.label);
            match &part.test {
                Test::Is(wanted) => value == Some(wanted),
                Test::IsNot(other) => value != Some(other),
                Test::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
                Test::NotIn(others) => value.is_none_or(|value| !others.contains(value)),
                Test::Present => value.is_some(),
                Test::Absent => value.is_none(),
            }
        })
    }

    /// Whether it has no part, so that it matches each agent.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        selector.parse::<Selector>().unwrap().matches(&labels)
    }

    #[test]
    fn each_kind_of_part_matches_as_written() {
        let press = [("site", "line-3"), ("role", "press")];
        for (selector, expected) in [
            ("", true),
            ("site=line-3", true),
            ("site=line-4", false),
            ("site!=line-4", true),
            ("env!=test", true),
            ("role in (oven, press)", true),
            ("role in (oven)", false),
            ("env in (test)", false),
            ("role notin (oven)", true),
            ("env notin (test)", true),
            ("role", true),
            ("!role", false),
            ("!retired", true),
            ("site=line-3, env!=test,role in (oven,press),!retired", true),
            ("site=line-3,retired", false),
        ] {
            assert_eq!(matches(selector, &press), expected, "{selector}");
        }
    }

    #[test]
    fn a_part_that_cannot_be_read_is_named() {
        for (selector, part) in
            [("site=line 3", "site=line 3"), ("a,,b", ""), ("role in a", "role in a"), ("=x", "=x"), ("a=b=c", "a=b=c")]
        {
            let error = selector.parse::<Selector>().unwrap_err();
            assert_eq!(error.part, part, "{selector}");
        }
        assert_eq!(
            "site line".parse::<Selector>().unwrap_err().to_string(),
            "selector part \"site line\" is none of label=value, label!=value, label in (a,b), label notin (a,b), label, !label"
        );
    }
}
