//! Replaces the secrets in a config's text before it is reported, and leaves everything else as it was written. Pure.
//!
//! A scalar is replaced if the name of its key is that of a secret; if it contains a value that is known to be secret;
//! or if its text looks like a secret: `password=…`, a user or a token in a URL, a private key. References such as
//! `${env:API_KEY}` stay, since they are useful to a reader.
//!
//! The decision is made on the parsed values, not on the text. The text is then changed in place, parsed again and
//! compared with the expected values. If that fails (anchors, aliases, a misread by the scan of the text), the parsed
//! config is written out as JSON, which is YAML as well. A text that cannot be parsed is not shown at all. So a mistake
//! here spoils the layout and shows no secret.
//!
//! Two kinds of secrets are not found: one under a harmless name that is neither a known value nor looks like a secret,
//! and a known value in another encoding, such as base64.

#[cfg(test)]
mod tests;
mod tree;
mod words;

use std::fmt;
use std::ops::Range;

use crate::inspect;
use crate::scan::Pieces;
use tree::{Kind, Node, Tree};
pub use words::{REDACTED, is_secret_name};
use words::{assignment, is_public_key, is_reference, secret_path, userinfo, without_paths, words};

/// The largest text that is searched, in bytes; a larger one is not shown.
const LARGEST: usize = 4 << 20;

/// The shortest known value that is searched for within texts, in bytes. A shorter one must be the whole text:
/// otherwise a secret `1` would hide every port.
const SHORTEST: usize = 4;

/// The most bytes of text times known values, to bound the time. A hundred values in 4 MiB take 0.3 s (x86_64,
/// optimised).
const WORK: usize = 512 << 20;

/// Replaces secrets in texts.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Values that are searched for everywhere, longest first.
    known: Vec<String>,
    /// Values that must be a whole text, since they are short.
    short: Vec<String>,
    /// Whether the path of each URL is a secret.
    url_paths: bool,
}

/// Written by hand, since the values are secrets.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.known.len() + self.short.len())
    }
}

impl Redactor {
    /// Takes the known values: secret settings, and every value that came from `${env:}` or `${file:}`. Their parts
    /// count as well: lines and words of eight bytes or more (a token behind `Bearer`), and the password of a URL.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all: Vec<&str> = Vec::new();
        for value in values {
            let value = value.trim();
            all.push(value);
            all.extend(value.split_whitespace().filter(|part| part.len() >= 8));
            if let Some((user, password)) = userinfo(value).and_then(|user| value[user].split_once(':')) {
                all.extend([user, password].iter().filter(|part| part.len() >= SHORTEST));
            }
        }
        all.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        all.dedup();
        // An empty value is part of every text, and a part of the marker is part of every marker.
        all.retain(|value| !value.is_empty() && !REDACTED.contains(value));
        let (known, short): (Vec<_>, Vec<_>) = all.into_iter().partition(|value| value.len() >= SHORTEST);
        let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
        Self { known: owned(known), short: owned(short), url_paths: false }
    }

    /// Makes the path of each URL a secret, or only the parts that look like a token.
    pub fn hiding_url_paths(self, url_paths: bool) -> Self {
        Self { url_paths, ..self }
    }

    /// Returns a config without its secrets.
    ///
    /// Takes time in proportion to its size, once for reading and once for each known value.
    pub fn config(&self, text: &str) -> String {
        let shown = text.strip_prefix('\u{feff}').unwrap_or(text);
        self.shown(shown).unwrap_or_else(|| {
            let size = text.len();
            format!("# {REDACTED}: {size} bytes that cannot be shown without the risk of showing a secret\n")
        })
    }

    /// Returns a line, such as the collector's last words, without the known values.
    pub fn line(&self, text: &str) -> String {
        if text.len().saturating_mul(self.known.len()) > WORK {
            return REDACTED.to_owned();
        }
        let mut line = text.to_owned();
        for value in self.known.iter().filter(|value| text.contains(value.as_str())) {
            line = line.replace(value.as_str(), REDACTED);
        }
        without_paths(line, self.url_paths)
    }

    /// Returns lines of a log without the known values. A text that looks like a secret is replaced with the rest of
    /// its line.
    pub fn log(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut within_key = false;
        for line in self.line(text).split_inclusive('\n') {
            let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
            // The lines of a private key follow each other, or stand in one with `\n` between them.
            if let Some(at) = body.find("-----BEGIN").filter(|_| body.contains("PRIVATE KEY-----")) {
                within_key = !body.contains("-----END");
                shown.push_str(&body[..at]);
                shown.push_str(REDACTED);
            } else if within_key {
                within_key = !body.contains("-----END");
                shown.push_str(REDACTED);
            } else {
                let user = userinfo(body).map(|at| at.start);
                let value = assignment(body).map(|name| name.end);
                match user.into_iter().chain(value).min() {
                    Some(at) => {
                        shown.push_str(&body[..at]);
                        shown.push(' ');
                        shown.push_str(REDACTED);
                    }
                    None => shown.push_str(body),
                }
            }
            shown.push_str(end);
        }
        shown
    }

    /// Returns the texts that [`config`](Self::config) replaces, so that they can be replaced elsewhere too.
    pub fn secrets_in(&self, text: &str) -> Vec<String> {
        if text.len() > LARGEST {
            return Vec::new();
        }
        let Some(mut tree) = Tree::read(text.strip_prefix('\u{feff}').unwrap_or(text)) else { return Vec::new() };
        Policy { redactor: self, nodes: &mut tree.nodes }.value(0, false);
        let secret = |node: Node| match node {
            Node::Scalar(scalar) => scalar.secret.then_some(scalar.text),
            Node::Map { .. } | Node::Seq { .. } => None,
        };
        tree.nodes.into_iter().filter_map(secret).collect()
    }

    fn shown(&self, text: &str) -> Option<String> {
        if text.len() > LARGEST || text.len().saturating_mul(self.known.len()) > WORK {
            return None;
        }
        let pieces = inspect::pieces(text).ok()?;
        let mut tree = Tree::read(text)?;
        Policy { redactor: self, nodes: &mut tree.nodes }.value(0, false);
        let shown = self.in_place(text, &pieces, &tree).or_else(|| tree.json())?;
        // A last check, which also covers anchors, tags and other parts that are no scalars.
        (!self.knows_part_of(&shown)).then_some(shown)
    }

    /// The text with its secret scalars replaced, if it then parses to the expected values.
    fn in_place(&self, text: &str, pieces: &Pieces, tree: &Tree) -> Option<String> {
        if pieces.marked {
            return None;
        }
        // In a text of JSON the marker is quoted too, so that it stays JSON.
        let quotes = text.trim_start().starts_with(['{', '[']);
        let mut cuts: Vec<(Range<usize>, String)> = Vec::new();
        let mut places = pieces.scalars.iter().peekable();
        for node in &tree.nodes {
            let Node::Scalar(scalar) = node else { continue };
            let is_null = |at: &Range<usize>| ["~", "null", "Null", "NULL"].contains(&&text[at.clone()]);
            if scalar.kind == Kind::Null && !places.peek().is_some_and(|at| is_null(at)) {
                continue; // Left out.
            }
            let at = places.next()?;
            if scalar.secret {
                let quoted = quotes || text[at.clone()].starts_with(['"', '\'']);
                let marker = if quoted { format!("\"{REDACTED}\"") } else { REDACTED.to_owned() };
                cuts.push((at.clone(), marker));
            }
        }
        if places.next().is_some() {
            return None;
        }
        cuts.extend(self.secret_comments(text, &pieces.comments));
        cuts.sort_by_key(|(at, _)| at.start);
        let mut shown = String::with_capacity(text.len());
        let mut done = 0;
        for (at, marker) in cuts {
            shown.push_str(text.get(done..at.start)?);
            shown.push_str(&marker);
            done = at.end;
        }
        shown.push_str(text.get(done..)?);
        Tree::read(&shown)?.reads_as(tree).then_some(shown)
    }

    /// The comments that mention secrets. Adjacent lines are one comment, since the secret may be on the next line.
    fn secret_comments(&self, text: &str, comments: &[Range<usize>]) -> Vec<(Range<usize>, String)> {
        let mut cuts = Vec::new();
        let mut rest = comments;
        while let Some(first) = rest.first() {
            let follows = |pair: &&[Range<usize>]| text[pair[0].end..pair[1].start].trim().is_empty();
            let (block, after) = rest.split_at(1 + rest.windows(2).take_while(follows).count());
            rest = after;
            let whole = &text[first.start..block[block.len() - 1].end];
            let mentions = words(whole).any(|word| is_secret_name(&whole[word]));
            if mentions || self.is_suspicious(whole) {
                cuts.extend(block.iter().map(|at| (at.clone(), format!("# {REDACTED}"))));
            }
        }
        cuts
    }

    /// Whether a text looks like a secret.
    fn is_suspicious(&self, text: &str) -> bool {
        self.knows_part_of(text)
            || self.short.iter().any(|value| value == text.trim())
            || text.contains("PRIVATE KEY-----")
            || userinfo(text).is_some()
            || secret_path(text, self.url_paths).is_some()
            || assignment(text).is_some()
    }

    fn knows_part_of(&self, text: &str) -> bool {
        self.known.iter().any(|value| text.contains(value.as_str()))
    }
}

/// Decides which scalars are secret.
struct Policy<'a> {
    redactor: &'a Redactor,
    nodes: &'a mut Vec<Node>,
}

impl Policy<'_> {
    /// Judges a value and everything in it; `secret` says whether its key names a secret. Returns the index of the node
    /// behind it.
    fn value(&mut self, at: usize, secret: bool) -> usize {
        match &mut self.nodes[at] {
            Node::Scalar(scalar) => {
                let suspicious = scalar.kind != Kind::Null && self.redactor.is_suspicious(&scalar.text);
                let named = secret
                    && match scalar.kind {
                        Kind::Text => !scalar.text.is_empty() && !is_reference(&scalar.text),
                        Kind::Number => true,
                        Kind::Bool | Kind::Null => false,
                    };
                scalar.secret = suspicious || named;
                at + 1
            }
            Node::Seq { end } => {
                let (mut next, end) = (at + 1, *end);
                while next < end {
                    next = self.value(next, secret);
                }
                end
            }
            Node::Map { end } => {
                let end = *end;
                self.map(at, end, secret);
                end
            }
        }
    }

    fn map(&mut self, at: usize, end: usize, secret: bool) {
        let names_a_secret = self.names_a_secret(at, end);
        let is_attribute = ["action", "value", "from_attribute", "from_context", "pattern"]
            .iter()
            .any(|sibling| self.child(at, end, sibling).is_some());
        let mut next = at + 1;
        while next < end {
            let key = match &self.nodes[next] {
                Node::Scalar(key) => key.text.clone(),
                Node::Map { .. } | Node::Seq { .. } => String::new(),
            };
            // The text of a key is secret only if it looks like a secret.
            let value = self.value(next, false);
            let named = match key.as_str() {
                // The key of an attribute, as in the processors' `{key: host.name, action: upsert}`.
                "key" if is_attribute => false,
                "value" | "default" => names_a_secret,
                // Any header may hold credentials, under any name.
                "headers" => true,
                key => {
                    let public = |node: &Node| matches!(node, Node::Scalar(it) if is_public_key(key, &it.text));
                    is_secret_name(key) && !self.nodes.get(value).is_some_and(public)
                }
            };
            next = self.value(value, secret || named);
        }
    }

    /// Whether this is `{name: API_KEY, value: …}` or the like.
    fn names_a_secret(&self, at: usize, end: usize) -> bool {
        ["name", "key", "header"].iter().filter_map(|name| self.child(at, end, name)).any(is_secret_name)
    }

    /// The text of the scalar under this key.
    fn child(&self, at: usize, end: usize, name: &str) -> Option<&str> {
        let mut next = at + 1;
        while next < end {
            let value = self.behind(next);
            if let (Node::Scalar(key), Node::Scalar(scalar)) = (&self.nodes[next], self.nodes.get(value)?)
                && key.text == name
            {
                return Some(&scalar.text);
            }
            next = self.behind(value);
        }
        None
    }

    fn behind(&self, at: usize) -> usize {
        match &self.nodes[at] {
            Node::Map { end } | Node::Seq { end } => *end,
            Node::Scalar(_) => at + 1,
        }
    }
}
