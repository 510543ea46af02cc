//! Takes the secrets out of a config's text before it is reported, and leaves everything else as it was written. Pure.
//!
//! A scalar is taken out if the name of its key says so, whatever its value; if it holds a value that is known to be
//! secret; or if it reads like one: `password=…`, a user in a URL, a private key. References such as
//! `${env:API_KEY}` stay, they are what a person wants to see.
//!
//! What is secret is decided on what the parser reads, not on how it is written. The text is then changed in place, read
//! again and compared with what it should say; if that fails (anchors, aliases, something that a scan of the text
//! takes for something else), the parsed config is written out as JSON instead, which is YAML as well. What cannot
//! be parsed is not shown at all. So a mistake here costs looks, not secrets.
//!
//! What this cannot know: a secret under an innocent name that neither is in the list nor reads like one, and a known
//! value in another encoding, such as base64.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess as _, Visitor};

use crate::config::{self, NODE_LIMIT, Pieces};

/// What stands for what was taken out. As a plain scalar it is good YAML anywhere.
pub const REDACTED: &str = "<redacted>";

/// The largest text that is looked at, in bytes; a larger one is not shown.
const LARGEST: usize = 4 << 20;

/// The shortest known value that is looked for inside of texts, in bytes. A shorter one counts where it is all there is:
/// otherwise a secret `1` would take out every port.
const SHORTEST: usize = 4;

/// The most bytes of text times known values: what bounds the time. A hundred values in 4 MiB take 0.3 s (x86_64, optimised).
const WORK: usize = 512 << 20;

/// The longest user and password in a URL that are looked for beyond a slash, in bytes.
const LONGEST_USER: usize = 256;

/// Takes secrets out of texts.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Looked for everywhere; longest first.
    known: Vec<String>,
    /// Too short to be looked for inside of others.
    short: Vec<String>,
}

/// The values are nobody's business.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.known.len() + self.short.len())
    }
}

impl Redactor {
    /// Makes one that knows these values: secret settings, and whatever came from `${env:}` and `${file:}`. Their parts count
    /// as well: lines and words of eight bytes or more (a token behind `Bearer`), and the password of a URL.
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
        // An empty value is everywhere, and the marker's own words would be looked for in it.
        all.retain(|value| !value.is_empty() && !REDACTED.contains(value));
        let (known, short): (Vec<_>, Vec<_>) = all.into_iter().partition(|value| value.len() >= SHORTEST);
        let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
        Self { known: owned(known), short: owned(short) }
    }

    /// A config without its secrets.
    ///
    /// Takes time in proportion to its size, once for reading and once for each known value.
    pub fn config(&self, text: &str) -> String {
        let shown = text.strip_prefix('\u{feff}').unwrap_or(text);
        self.shown(shown).unwrap_or_else(|| {
            let size = text.len();
            format!("# {REDACTED}: {size} bytes that cannot be shown without the risk of showing a secret\n")
        })
    }

    /// A line for people, such as the collector's last words, without the known values.
    pub fn line(&self, text: &str) -> String {
        if text.len().saturating_mul(self.known.len()) > WORK {
            return REDACTED.to_owned();
        }
        let mut line = text.to_owned();
        for value in self.known.iter().filter(|value| text.contains(value.as_str())) {
            line = line.replace(value.as_str(), REDACTED);
        }
        line
    }

    /// Lines of a log. Beside the known values, what reads like a secret is taken out with the rest of its line.
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

    /// The texts that [`config`](Self::config) takes out: whoever quotes them elsewhere tells a secret.
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
        let pieces = config::pieces(text).ok()?;
        let mut tree = Tree::read(text)?;
        Policy { redactor: self, nodes: &mut tree.nodes }.value(0, false);
        let shown = self.in_place(text, &pieces, &tree).or_else(|| tree.json())?;
        // The last word: also in anchors, tags and whatever else is not a scalar.
        (!self.knows_part_of(&shown)).then_some(shown)
    }

    /// The text with its secret scalars replaced, if it then reads as it should.
    fn in_place(&self, text: &str, pieces: &Pieces, tree: &Tree) -> Option<String> {
        if pieces.marked {
            return None;
        }
        // Where everything is quoted, this is too: JSON stays JSON.
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
        Tree::read(&shown)?.says(tree).then_some(shown)
    }

    /// Comments that speak of secrets. Lines that follow each other are one comment: a secret may be on the next.
    fn secret_comments(&self, text: &str, comments: &[Range<usize>]) -> Vec<(Range<usize>, String)> {
        let mut cuts = Vec::new();
        let mut rest = comments;
        while let Some(first) = rest.first() {
            let follows = |pair: &&[Range<usize>]| text[pair[0].end..pair[1].start].trim().is_empty();
            let (block, after) = rest.split_at(1 + rest.windows(2).take_while(follows).count());
            rest = after;
            let whole = &text[first.start..block[block.len() - 1].end];
            let speaks = words(whole).any(|word| is_secret_name(&whole[word]));
            if speaks || self.is_suspicious(whole) {
                cuts.extend(block.iter().map(|at| (at.clone(), format!("# {REDACTED}"))));
            }
        }
        cuts
    }

    /// Whether a text is secret by what it says.
    fn is_suspicious(&self, text: &str) -> bool {
        self.knows_part_of(text)
            || self.short.iter().any(|value| value == text.trim())
            || text.contains("PRIVATE KEY-----")
            || userinfo(text).is_some()
            || assignment(text).is_some()
    }

    fn knows_part_of(&self, text: &str) -> bool {
        self.known.iter().any(|value| text.contains(value.as_str()))
    }
}

/// A config as the parser reads it, flat: each collection followed by what is in it.
struct Tree {
    nodes: Vec<Node>,
    /// Bytes of text so far. Only aliases can make it much more than the source.
    bytes: usize,
    /// The most of them.
    limit: usize,
}

enum Node {
    Map {
        /// The number of the node behind it.
        end: usize,
    },
    Seq {
        /// The number of the node behind it.
        end: usize,
    },
    Scalar(Scalar),
}

struct Scalar {
    text: String,
    kind: Kind,
    secret: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    Bool,
    Null,
}

impl Tree {
    /// `None` if it is not one YAML document, or one whose aliases make it too large.
    fn read(text: &str) -> Option<Self> {
        let mut tree = Self { nodes: Vec::new(), bytes: 0, limit: 4096 + text.len() * 2 };
        let mut documents = serde_yaml::Deserializer::from_str(text);
        Reader(&mut tree).deserialize(documents.next()?).ok()?;
        documents.next().is_none().then_some(tree)
    }

    /// Whether this is that tree with its secrets replaced and nothing else changed.
    fn says(&self, other: &Self) -> bool {
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

    /// Written out as JSON, without the secrets.
    fn json(&self) -> Option<String> {
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

/// Decides which scalars are secret.
struct Policy<'a> {
    redactor: &'a Redactor,
    nodes: &'a mut Vec<Node>,
}

impl Policy<'_> {
    /// Judges a value and what is in it, of a key that is `secret` or not. Answers with the number of the node behind it.
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
            // A key by itself is secret only if its text is.
            let value = self.value(next, false);
            let named = match key.as_str() {
                // Of `{key: host.name, action: upsert}`, as processors have it.
                "key" if is_attribute => false,
                "value" | "default" => names_a_secret,
                // Who may send is in a header often enough, under whatever name.
                "headers" => true,
                key => is_secret_name(key),
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

/// Parts of a name that say enough wherever they stand, without what separates words.
const SECRET_PARTS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "authorization",
    "credential",
    "privatekey",
    "accesskey",
    "connectionstring",
];

/// Words that say enough if they stand alone.
const SECRET_WORDS: &[&str] = &[
    "key",
    "keys",
    "pass",
    "pwd",
    "psk",
    "dsn",
    "datasource",
    "jwt",
    "sas",
    "sig",
    "signature",
    "cookie",
    "bearer",
    "community",
];

/// Last words that say that it is only about one.
const HARMLESS_ENDS: &[&str] = &["file", "path", "dir", "url", "uri", "endpoint"];

/// Names that are known to be about something else: what to route or group by.
const HARMLESS: &[&str] = &["routing_key", "partition_key", "metadata_keys", "group_by_keys"];

/// Whether what stands under this name is secret.
pub fn is_secret_name(name: &str) -> bool {
    // Longer than any name: a text that happens to be where names are.
    if name.len() > 256 || HARMLESS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return false;
    }
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let words = split_words(name);
    if words.last().is_some_and(|last| HARMLESS_ENDS.contains(&last.as_str())) {
        return false;
    }
    SECRET_PARTS.iter().any(|part| letters.contains(part))
        || words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
}

/// The words of `api_key`, `X-Api-Key`, `apiKey` and `APIKey`, in lower case.
fn split_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let chars: Vec<char> = name.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1);
        let begins = c.is_ascii_uppercase()
            && (before.is_some_and(|c| c.is_ascii_lowercase())
                || before.is_some_and(|c| c.is_ascii_uppercase()) && after.is_some_and(char::is_ascii_lowercase));
        if begins || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if c.is_ascii_alphanumeric() {
            words.last_mut().expect("it starts with a word").push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a text only says where a secret is: `${env:NAME}`, `Bearer ${file:PATH}`, without a default.
fn is_reference(text: &str) -> bool {
    let mut rest = text.trim();
    for scheme in ["Bearer ", "Basic ", "Token "] {
        let split = rest.get(..scheme.len());
        if split.is_some_and(|start| start.eq_ignore_ascii_case(scheme)) {
            rest = rest[scheme.len()..].trim_start();
        }
    }
    let place = |c: char| c.is_ascii_alphanumeric() || "_-./\\ ".contains(c);
    let mut references = 0;
    while let Some((reference, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
        let named = ["env:", "file:"].iter().find_map(|scheme| reference.strip_prefix(scheme)).unwrap_or(reference);
        let named = named.strip_prefix("C:").unwrap_or(named);
        if named.is_empty() || !named.chars().all(place) {
            return false;
        }
        references += 1;
        rest = after;
    }
    references > 0 && rest.is_empty()
}

/// The user, and the password if there is one, of a URL in a text.
fn userinfo(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = text[from..].find("://") {
        let start = from + found + 3;
        let rest = &text[start..];
        let until = |end: Option<usize>| &rest[..end.unwrap_or(rest.len())];
        let authority = until(rest.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c)));
        if let Some(at) = authority.rfind('@') {
            return Some(start..start + at);
        }
        // A password with a slash in it: what looks like host and port has no number there.
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        if port.is_some_and(|port| !port.starts_with('$') && port.parse::<u16>().is_err()) {
            let near = &rest[..rest.floor_char_boundary(LONGEST_USER)];
            let word = near.split(char::is_whitespace).next().unwrap_or_default();
            if let Some(at) = word.rfind('@') {
                return Some(start..start + at);
            }
        }
        from = start;
    }
    None
}

/// Where a text gives a secret its value on the way: the name in `password=…`, `api_key: …`, `--token …`, `Bearer …`.
fn assignment(text: &str) -> Option<Range<usize>> {
    words(text).find(|word| {
        let after = &text[word.end..];
        let name = &text[word.clone()];
        if name.eq_ignore_ascii_case("bearer") || name.eq_ignore_ascii_case("basic") {
            let value = after.strip_prefix(' ').map_or("", |rest| rest.split_whitespace().next().unwrap_or_default());
            if value.len() >= 8 && !value.starts_with("${") {
                return true;
            }
        }
        let after_quote = after.trim_start_matches(['"', '\'', '\\', ' ']);
        let assigned = match after_quote.strip_prefix(['=', ':']) {
            // `==` compares, `::` and `://` join, and at the end nothing follows.
            Some(value) => !value.starts_with(['=', ':', '/']) && !value.trim_start().is_empty(),
            None => name.starts_with("--") && after.starts_with(' ') && !after.trim_start().is_empty(),
        };
        let value = after_quote.trim_start_matches(['=', ':', ' ', '"', '\'']);
        // Last, since it may be long: a text of one word would be read once for each name in it.
        assigned
            && is_secret_name(name)
            && !value.split_whitespace().next().is_some_and(|it| is_reference(it) || is_gone(it))
    })
}

/// Whether this is what was taken out already, or was never told.
fn is_gone(value: &str) -> bool {
    [REDACTED, "<set>"].contains(&value.trim_end_matches([',', ';', '.', '}', ')', ']', '"', '\'']))
}

/// The words of a text, as names are written.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(part)?;
        let end = text[start..].find(|c| !part(c)).map_or(text.len(), |length| start + length);
        from = end;
        Some(start..end)
    })
}

/// Reads whatever is there into a tree.
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

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn redacted(text: &str) -> String {
        Redactor::default().config(text)
    }

    #[test]
    fn a_scalar_goes_by_the_name_of_its_key_and_the_rest_stays_as_it_was_written() {
        for (text, shown) in [
            ("password: hunter2", "password: <redacted>"),
            (
                "a: # why\n  Password:   hunter2   # old\n\n  b: 0x1F\n",
                "a: # why\n  Password:   <redacted>   # old\n\n  b: 0x1F\n",
            ),
            ("{\"apiKey\": \"hunter2\", \"n\": 10485760}", "{\"apiKey\": \"<redacted>\", \"n\": 10485760}"),
            ("{\"pin_token\":1234,\"n\":1.10}", "{\"pin_token\":\"<redacted>\",\"n\":1.10}"),
            ("x: {a: [1, {client_secret: 'hunter2', b: c}]}", "x: {a: [1, {client_secret: \"<redacted>\", b: c}]}"),
            ("key_pem: |\n  hunter2\n\n   hunter3\nb: 1\n", "key_pem: <redacted>\nb: 1\n"),
            ("token: >-\n  hunter2\n# end\nb: 1", "token: <redacted>\n# end\nb: 1"),
            ("token: \"hunter2\n  hunter3\"\nb: 1", "token: \"<redacted>\"\nb: 1"),
            ("token: hunter2\n  hunter3\nb: 1", "token: <redacted>\nb: 1"),
            ("tokens:\n- hunter2\n- x: hunter3\nb:", "tokens:\n- <redacted>\n- x: <redacted>\nb:"),
            ("? password\n: hunter2\n", "? password\n: <redacted>\n"),
            ("\"pass\\u0077ord\": hunter2", "\"pass\\u0077ord\": <redacted>"),
            ("a: 1\r\npassword: hunter2\r\nb: 2\r\n", "a: 1\r\npassword: <redacted>\r\nb: 2\r\n"),
            ("\u{feff}password: hunter2", "password: <redacted>"),
            ("---\npassword: hunter2\n...\n", "---\npassword: <redacted>\n...\n"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn a_log_loses_what_reads_like_a_secret_and_keeps_the_rest() {
        let redactor = Redactor::new(["hunter2-known"]);
        for (line, shown) in [
            ("config 7f3a applied\n", "config 7f3a applied\n"),
            ("got hunter2-known, and more\n", "got <redacted>, and more\n"),
            ("why: password=hunter2 is wrong\nnext", "why: password <redacted>\nnext"),
            ("{\"api_key\": \"hunter2\"}", "{\"api_key <redacted>"),
            ("{X-Key: <set>, key: hunter2}", "{X-Key: <set>, key <redacted>"),
            ("token=hunter2-known", "token=<redacted>"),
            ("token=hunter2-known-and-more", "token <redacted>"),
            ("Authorization: Bearer hunter2hunter2", "Authorization <redacted>"),
            ("GET https://user:hunter2@c.example/v1 failed", "GET https:// <redacted>"),
            (
                "a -----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\nb",
                "a <redacted>\n<redacted>\n<redacted>\nb",
            ),
            ("k -----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\nb", "k <redacted>\nb"),
        ] {
            assert_eq!(redactor.log(line), shown);
        }
    }

    #[test]
    fn the_secrets_of_a_config_are_known_to_whoever_looks_for_them_elsewhere() {
        let text = "a: {password: hunter2, token: \"${env:T}\", n: 1, url: 'https://u:hunter3@h'}";
        assert_eq!(Redactor::default().secrets_in(text), ["hunter2", "https://u:hunter3@h"]);
        assert_eq!(Redactor::default().secrets_in("a: [b"), [""; 0]);
    }

    #[test]
    fn names_are_judged_by_their_words() {
        let secret = "password PASSWORD db_password passwd client-secret token bearer_token accessToken api_key API-Key \
                      apikey X-Api-Key access_key_id private_key keyPem key credentials Authorization dsn pwd sasKey \
                      connection_string community htpasswd ${env:API_KEY}";
        for name in secret.split_whitespace() {
            assert!(is_secret_name(name), "{name}");
        }
        let harmless = "endpoint keyboard monkey host key_file password_file bearer_token_file token_url compass \
                        routing_key metadata_keys author authenticator username timeout passive designate";
        for name in harmless.split_whitespace() {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn every_header_goes_but_references_stay() {
        let text = "headers:\n  X-Site: north-4\n  Authorization: ${env:KM_API_KEY}\n  A: Bearer ${file:/run/token}\n  \
                    B: ${env:TOKEN:-hunter2}\n  C: Bearer hunter2\n  D: ${env:A}${B}\n";
        let shown = "headers:\n  X-Site: <redacted>\n  Authorization: ${env:KM_API_KEY}\n  A: Bearer ${file:/run/token}\n  \
                     B: <redacted>\n  C: <redacted>\n  D: ${env:A}${B}\n";
        assert_eq!(redacted(text), shown);
        assert_eq!(redacted("headers: [{key: a, value: hunter2}]"), "headers: [{key: <redacted>, value: <redacted>}]");
    }

    #[test]
    fn nothing_true_false_empty_or_null_is_a_secret() {
        let text = "password: \"\"\ntoken:\nkey: ~\ninclude_token: true\n";
        assert_eq!(redacted(text), text);
    }

    #[test]
    fn the_names_of_attributes_are_no_keys() {
        let text = "- {key: host.name, action: upsert, value: \"4\"}\n- {key: a, from_attribute: b}\n";
        assert_eq!(redacted(text), text);
        assert_eq!(redacted("api: {key: hunter2, site: eu}"), "api: {key: <redacted>, site: eu}");
        let named = "env: [{value: hunter2, name: DB_PASSWORD}, {name: LANG, value: C}]";
        let shown = "env: [{value: <redacted>, name: DB_PASSWORD}, {name: LANG, value: C}]";
        assert_eq!(redacted(named), shown);
    }

    #[test]
    fn what_reads_like_a_secret_goes_whatever_its_name() {
        for secret in [
            "https://user:hunter2@c.example/v1",
            "https://hunter2@c.example",
            "postgres://me:hun/ter2@db/x",
            "host=db user=me password=hunter2 sslmode=disable",
            "https://c.example/v1?api_key=hunter2",
            "https://c.example/v1?a=b&sig=hunter2",
            "--token hunter2",
            "curl -H 'Authorization: Bearer hunter2-hunter2'",
            "Basic aHVudGVyMjpodW50ZXIy",
            "-----BEGIN EC PRIVATE KEY-----hunter2",
            "{\"password\": \"hunter2\"}",
            "${env:API_KEY:-hunter2}",
        ] {
            let text = serde_json::to_string(&serde_json::json!({"a": {"b": [secret]}})).unwrap();
            assert_eq!(redacted(&text), "{\"a\":{\"b\":[\"<redacted>\"]}}", "{secret}");
        }
        for innocent in [
            "https://c.example:4318/v1/a@b",
            "http://[::1]:4318",
            "https://${env:HOST}:${env:PORT}/v1",
            "unix:///var/run/docker.sock",
            "where attributes[\"password\"] == \"x\"",
            "set(attributes[\"token\"], \"y\") where key == 1",
            "service::telemetry",
            "tokens are counted",
            "basic",
            "0.0.0.0:4317",
            "password=${env:PASSWORD}",
        ] {
            let text = serde_json::to_string(&serde_json::json!({"a": innocent})).unwrap();
            assert_eq!(redacted(&text), text);
        }
    }

    #[test]
    fn known_values_go_wherever_they_are() {
        let redactor = Redactor::new(["Bearer 0123456789", "https://me:hunter2@c.example", "pin7", "42", ""]);
        for (text, shown) in [
            ("a: x0123456789y", "a: <redacted>"),
            ("a: say hunter2!", "a: <redacted>"),
            ("a: \"hu\\u006eter2\"", "a: \"<redacted>\""),
            ("a: 'hun\n\n  ter2'\nb: >-\n  x\n  pin7", "a: 'hun\n\n  ter2'\nb: <redacted>"),
            ("hunter2: 1", "<redacted>: 1"),
            ("a: 1 # pin7\nb: 142\nc: 42", "a: 1 # <redacted>\nb: 142\nc: <redacted>"),
            ("a: &hunter2 1", "{\"a\": 1}\n"),
        ] {
            assert_eq!(redactor.config(text), shown);
        }
        assert_eq!(redactor.line("401 for 0123456789 of me"), "401 for <redacted> of me");
        assert_eq!(format!("{redactor:?}"), "Redactor(6 values)");
        assert_eq!(redactor.config("a: !hunter2 1"), "{\"a\": 1}\n");
        assert!(redactor.config("%FOO hunter2\n---\na: 1").starts_with("# <redacted>: "));
    }

    #[test]
    fn comments_that_speak_of_secrets_go_with_their_neighbours() {
        let text = "# good\n\n# the old password:\n#   hunter2\na: 1 # fine\nb: 2 # token=hunter2\n#end";
        let shown = "# <redacted>\n\n# <redacted>\n# <redacted>\na: 1 # fine\nb: 2 # <redacted>\n# <redacted>";
        assert_eq!(redacted(text), shown);
        assert_eq!(redacted("# one\na: 1 # two\n"), "# one\na: 1 # two\n");
    }

    #[test]
    fn what_cannot_be_changed_in_place_is_shown_as_json() {
        for (text, shown) in [
            (
                "x: &x {password: hunter2, n: 10485760, f: 0.5, t: \"1\"}\ny: *x\nz: [~, true, .inf, 1: 2]",
                "{\"x\": {\"password\": \"<redacted>\", \"n\": 10485760, \"f\": 0.5, \"t\": \"1\"}, \"y\": \
                 {\"password\": \"<redacted>\", \"n\": 10485760, \"f\": 0.5, \"t\": \"1\"}, \"z\": [null, true, \"inf\", \
                 {\"1\": 2}]}\n",
            ),
            ("a: &s hunter2\npassword: *s", "{\"a\": \"hunter2\", \"password\": \"<redacted>\"}\n"),
            ("a: !!str 1\npassword: !x [hunter2]", "{\"a\": \"1\", \"password\": [\"<redacted>\"]}\n"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_is_not_shown() {
        let bomb: String = (1..20).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
        let bomb = format!("a0: &a0 password\n{bomb}");
        let deep = "[".repeat(1000);
        for text in [
            "password: hunter2: x",
            "password: \"hunter2",
            "a: 1\n---\npassword: hunter2\n",
            "{[a, b]: &x hunter2}",
            "",
            &deep,
            &bomb,
            &format!("a: {}", "x".repeat(LARGEST)),
        ] {
            let size = text.len();
            let shown =
                format!("# <redacted>: {size} bytes that cannot be shown without the risk of showing a secret\n");
            assert_eq!(redacted(text), shown);
        }
        let many: Vec<String> = (0..2000).map(|number| format!("secret-{number}")).collect();
        let text = format!("a: [{}]", "x, ".repeat(200_000));
        assert!(Redactor::new(many.iter().map(String::as_str)).config(&text).starts_with("# <redacted>"));
    }

    /// Writes one value in one of the ways that YAML has for it, at this indentation.
    fn written(rng: &mut Rng, text: &str, indent: usize, in_flow: bool) -> String {
        let pad = " ".repeat(indent + 2);
        let (first, second) = text.split_at(text.len() / 2);
        let escaped: String = text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
        match rng.usize(..if in_flow { 5 } else { 10 }) {
            0 => text.to_owned(),
            1 => format!("\"{text}\""),
            2 => format!("'{text}'"),
            3 => format!("\"{first}\\\n{pad}{second}\""),
            4 => format!("\"{escaped}\""),
            5 => format!("|\n{pad}{text}\n"),
            6 => format!(">- # folded\n\n{pad}{text}\n"),
            7 => format!("|2-\n{pad}{text}"),
            8 => format!("\n{pad}{text}"),
            _ => format!("\n{pad}- {text}\n{pad}- [x, \"{text}\"]"),
        }
    }

    /// A config with secrets under telling names in all kinds of styles; answers with what must and must not be shown.
    fn planted(rng: &mut Rng) -> (String, Vec<String>, Vec<String>) {
        let names = ["password", "API_KEY", "x-token", "clientSecret", "\"authorization\"", "'private_key'", "key"];
        let (mut text, mut hidden, mut shown) = (String::new(), Vec::new(), Vec::new());
        let marker = |rng: &mut Rng| format!("m{:016x}", rng.u64(..));
        for section in 0..rng.usize(1..5) {
            text += &format!("section{section}:\n");
            for entry in 0..rng.usize(1..6) {
                let value = marker(rng);
                if rng.bool() {
                    text += &format!("  entry{entry}: {value}\n");
                    shown.push(value);
                    continue;
                }
                let name = names[rng.usize(..names.len())];
                // No name stands twice in a mapping.
                text += &match rng.usize(..4) {
                    0 => {
                        let other = marker(rng);
                        let value = written(rng, &value, 0, true);
                        shown.push(other.clone());
                        format!("  flow{entry}: {{a: {other}, {name}: {value}, b: [1, {{c: d}}]}}\n")
                    }
                    1 => format!("  list{entry}:\n  - {name}: {}\n    b: c\n", written(rng, &value, 4, false)),
                    2 => format!("  {entry}:\n    {name}: {}\n", written(rng, &value, 4, false)),
                    _ => format!("  headers{entry}: 1\n  # {name} is {value}\n"),
                };
                hidden.push(value);
            }
        }
        (text, hidden, shown)
    }

    #[test]
    fn no_planted_secret_is_shown_and_nothing_else_is_hidden() {
        let mut in_place = 0;
        for seed in 0..3000 {
            let rng = &mut Rng::with_seed(seed);
            let (text, hidden, shown) = planted(rng);
            let output = redacted(&text);
            for value in &hidden {
                assert!(!output.contains(value.as_str()), "seed {seed} shows {value}\n{text}\n{output}");
            }
            for value in &shown {
                assert!(output.contains(value.as_str()), "seed {seed} hides {value}\n{text}\n{output}");
            }
            in_place += usize::from(!output.starts_with('{'));
        }
        assert_eq!(in_place, 3000, "none needs the JSON form");
    }

    /// What stands under names that speak of secrets, by a walk of its own.
    fn under_secret_names(value: &serde_yaml::Value, secret: bool, found: &mut Vec<String>) {
        use serde_yaml::Value;
        match value {
            Value::Mapping(map) => {
                for (name, value) in map {
                    let name = name.as_str().unwrap_or_default().to_lowercase();
                    let speaks = ["password", "api_key", "token", "secret", "authorization", "private_key"];
                    under_secret_names(value, secret || speaks.iter().any(|word| name.contains(word)), found);
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| under_secret_names(item, secret, found)),
            Value::Tagged(tagged) => under_secret_names(&tagged.value, secret, found),
            Value::String(text) if secret => found.push(text.clone()),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    #[test]
    fn no_mutation_brings_a_secret_out() {
        let noise = [
            "\n",
            "\n  ",
            " ",
            "  ",
            "\t",
            "'",
            "\"",
            "#",
            " #",
            ":",
            ": ",
            "- ",
            "? ",
            "|",
            ">",
            "|2\n",
            "{",
            "}",
            "[",
            "]",
            ",",
            "&a ",
            "*a ",
            "!x ",
            "\\",
            "---\n",
            "...",
            "%Y\n",
            "\r",
            "\u{feff}",
            "\u{85}",
            "\u{2028}",
            "<<: ",
            "password: ",
            "~",
            "\u{e9}",
        ];
        let (mut read, mut refused) = (0, 0);
        for seed in 0..4_000 {
            let rng = &mut Rng::with_seed(seed);
            let (mut text, hidden, shown) = planted(rng);
            for _ in 0..rng.usize(1..4) {
                let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                let mut place = || places[rng.usize(..places.len())];
                let (from, to) = (place(), place());
                match rng.usize(..4) {
                    0 => drop(text.remove(from)),
                    1 => text.insert_str(from, noise[rng.usize(..noise.len())]),
                    2 => text.insert_str(from, &text[to..].chars().take(20).collect::<String>()),
                    _ => text.replace_range(from..from + text[from..].find(' ').map_or(0, |at| at + 1), ""),
                }
            }
            let output = redacted(&text);
            let mut secret = Vec::new();
            match serde_yaml::from_str(&output) {
                Ok(value) => under_secret_names(&value, false, &mut secret),
                // The collector would refuse it, and this walk cannot go on.
                Err(error) if error.to_string().contains("duplicate entry") => {}
                Err(error) => panic!("seed {seed}: no YAML any more: {error}\n{text}\n{output}"),
            }
            for marker in hidden.iter().chain(&shown) {
                let leaks = secret.iter().any(|text| text.contains(marker.as_str()));
                assert!(!leaks, "seed {seed} shows {marker}\n{text}\n{output}");
            }
            // And if all of it is known, none of it comes out, whatever it was made into.
            let all = hidden.iter().chain(&shown).map(String::as_str);
            let output = Redactor::new(all.clone()).config(&text);
            assert!(!all.clone().any(|marker| output.contains(marker)), "seed {seed}\n{text}\n{output}");
            if output.starts_with('#') {
                refused += 1
            } else {
                read += 1
            };
        }
        assert!(read > 600 && refused > 600, "both happen: {read} read, {refused} not");
    }

    #[test]
    fn the_worst_of_4_mib_takes_little_time_and_stack() {
        let fill = |unit: &str| unit.repeat((1 << 20) / unit.len());
        let texts = [
            format!("a: 1 # {}", fill("://x:y/")),
            format!("a: 1 # {}", fill("key ")),
            format!("a: 1 # {}", fill("token=${env:A}")),
            fill("# a\n"),
            format!("a: [{}]", "'://x:y', ".repeat(NODE_LIMIT / 2)),
            format!("{}1", "- ".repeat(60)),
            format!("a: |\n{}", "  password\n".repeat(20_000)),
            format!("a: {}", "x".repeat(200_000)),
        ];
        let job = move || {
            let redactor = Redactor::new(["hunter2hunter2"; 1]);
            for text in texts {
                let started = std::time::Instant::now();
                redactor.config(&text);
                assert!(started.elapsed().as_secs() < 10, "{:.40}", text);
            }
        };
        std::thread::Builder::new().stack_size(256 * 1024).spawn(job).unwrap().join().unwrap();
    }
}
