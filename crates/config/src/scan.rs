//! Counts the nodes of a body before it is parsed, to bound the cost of parsing. Pure; one pass; memory in proportion
//! to the depth only.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::refusal::Refusal;

/// The most nodes that a body may have: scalars, starts and ends of mappings and sequences, anchors, aliases, tags and
/// omitted values. A line `key: value` counts as three, so this limit is 33,000 such lines or 1 MB.
///
/// The parser keeps about 100 bytes and the text of each node. Measured on x86_64 (`VmHWM`): a config of 2,000 lines
/// takes 0.4 MiB beside the body, the worst body of 4 MiB takes 17 MiB.
pub const NODE_LIMIT: usize = 100_000;

/// How deep mappings and sequences may be nested. Real configs stay below 20.
pub const DEPTH_LIMIT: usize = 64;

/// The most nodes that a body may have once its aliases (`*name`) are written out: that many are walked through. They
/// are not kept, so this bounds time and not memory.
///
/// A generated config of 1,500 tenants that share their lists and defaults has some 150,000. The collector's own parser
/// (yaml.v3) takes 400,000 that come from aliases alone, and ever fewer beyond.
pub const EXPANDED_LIMIT: usize = 500_000;

/// The longest single scalar, in bytes of its source text.
pub const SCALAR_LIMIT: usize = 256 << 10;

/// The most that `%` directives may take, in bytes: a tag prefix is repeated at each tag that uses it.
pub const DIRECTIVE_LIMIT: usize = 64;

/// Counts the nodes that the YAML parser would make. The parser holds a whole document in memory, at some 100 bytes for
/// each node, and in `[,[,[,` every other byte makes a node.
///
/// The scan follows libyaml's scanner closely enough to see the same tokens: whether a `[` is a token depends on the
/// indentation, quotes, block scalars and comments around it. Text that is not YAML may be miscounted, since the parser
/// stops at the first error and the scan does not. A test checks that it never counts too little.
pub(crate) struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    /// In characters, as libyaml counts.
    column: usize,

    nodes: usize,
    /// The surplus of nodes that the aliases stand for over the aliases themselves.
    repeated: usize,
    /// Anchors whose node has not ended.
    anchors: Vec<Anchor<'a>>,
    /// The number of nodes when a name was given to one, and what that one has, with its aliases written out.
    sizes: BTreeMap<&'a [u8], (usize, usize)>,
    directives: usize,

    /// The column of the innermost block collection, or -1 outside of all.
    indent: isize,
    /// The columns of the block collections around it.
    indents: Vec<isize>,
    /// Whether each open `[` or `{` is a `{`.
    flow: Vec<bool>,
    /// The token that a following `:` would turn into a key, by line and column: one outside of all flow collections
    /// and one in each.
    keys: Vec<Option<(usize, usize)>>,
    key_allowed: bool,
    /// Whether the last token was `:` or `?`: then a `-` at the same indentation begins a sequence.
    after_key: bool,

    document: Document,
    pieces: Option<Pieces>,
}

/// The most anchors whose nodes are inside of each other. There can be as many as levels; some are seen to end late.
const ANCHOR_LIMIT: usize = 4 * DEPTH_LIMIT;

/// An anchor (`&name`) and where its node may end.
struct Anchor<'a> {
    name: &'a [u8],
    /// The nodes before it.
    start: usize,
    line: usize,
    /// The column of the block collection that it is in.
    indent: isize,
    /// The number of `[` and `{` that it is in.
    flow: usize,
    /// Whether it follows a `:` or `?`.
    after_key: bool,
}

/// The byte ranges of the scalars, keys among them, and of the comments in a text, in order.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// Each with its quotes or the head of its block scalar. Omitted values have none.
    pub(crate) scalars: Vec<Range<usize>>,
    /// From `#` to the end of the line.
    pub(crate) comments: Vec<Range<usize>>,
    /// Whether there are anchors, aliases or tags.
    pub(crate) marked: bool,
}

/// Whether the scan is before, in or behind the first document, the one that the collector reads.
#[derive(Clone, Copy)]
enum Document {
    Before,
    Within,
    Ended { line: usize },
}

impl<'a> Scan<'a> {
    /// Begins at the start of a text without a byte order mark.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            line: 1,
            column: 0,
            nodes: 0,
            repeated: 0,
            anchors: Vec::new(),
            sizes: BTreeMap::new(),
            directives: 0,
            indent: -1,
            indents: Vec::new(),
            flow: Vec::new(),
            keys: vec![None],
            key_allowed: true,
            after_key: false,
            document: Document::Before,
            pieces: None,
        }
    }

    /// Counts, and returns the ranges of all scalars and comments.
    pub(crate) fn pieces(mut self) -> Result<Pieces, Refusal> {
        self.pieces = Some(Pieces::default());
        self.run()?;
        Ok(self.pieces.unwrap_or_default())
    }

    /// The number of nodes, 0 for an empty document.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooComplex`] and [`Refusal::SecondDocument`].
    pub(crate) fn count(mut self) -> Result<usize, Refusal> {
        self.run()?;
        Ok(self.nodes)
    }

    fn run(&mut self) -> Result<(), Refusal> {
        loop {
            self.pass_blanks();
            self.unroll(self.column as isize);
            let Some(&byte) = self.text.get(self.at) else {
                return Ok(());
            };
            self.token(byte)?;
            self.limits()?;
        }
    }

    fn limits(&self) -> Result<(), Refusal> {
        let depth = self.indents.len() + self.flow.len();
        let limits = [
            ("nodes", self.nodes, NODE_LIMIT),
            ("levels of nesting", depth, DEPTH_LIMIT),
            ("nodes with its aliases written out", self.expanded(), EXPANDED_LIMIT),
            ("anchors inside of each other", self.anchors.len(), ANCHOR_LIMIT),
            ("bytes of % directives", self.directives, DIRECTIVE_LIMIT),
        ];
        match limits.into_iter().find(|(_, seen, limit)| seen > limit) {
            Some((what, _, limit)) => Err(self.too_complex(what, limit)),
            None => Ok(()),
        }
    }

    fn too_complex(&self, what: &'static str, limit: usize) -> Refusal {
        Refusal::TooComplex { what, limit, line: self.line }
    }

    fn token(&mut self, byte: u8) -> Result<(), Refusal> {
        if self.column == 0 && byte == b'%' {
            let from = self.at;
            while self.at < self.text.len() && self.break_len() == 0 {
                self.skip();
            }
            self.directives += self.at - from;
            return Ok(());
        }
        if self.at_indicator() {
            self.document = match self.document {
                Document::Before if byte == b'.' => Document::Before,
                Document::Before => Document::Within,
                Document::Within => Document::Ended { line: self.line },
                ended @ Document::Ended { .. } => ended,
            };
            self.unroll(-1);
            self.forget_key();
            self.key_allowed = false;
            self.at += 3;
            self.column += 3;
            return Ok(());
        }
        if let Document::Ended { line } = self.document {
            return Err(Refusal::SecondDocument { line });
        }
        self.document = Document::Within;

        self.close_anchors(byte);
        let in_flow = !self.flow.is_empty();
        let in_mapping = self.flow.last() == Some(&true);
        let alone = self.blank_at(1);
        let after_key = std::mem::take(&mut self.after_key);
        match byte {
            b'[' | b'{' => {
                self.nodes += 2;
                self.save_key();
                self.flow.push(byte == b'{');
                self.keys.push(None);
                self.key_allowed = true;
                self.skip();
            }
            b']' | b'}' => {
                // The omitted value of the last key.
                self.nodes += usize::from(in_mapping);
                self.forget_key();
                if self.flow.pop().is_some() {
                    self.keys.pop();
                }
                self.key_allowed = false;
                self.skip();
            }
            b',' => {
                self.nodes += usize::from(in_mapping);
                self.forget_key();
                self.key_allowed = true;
                self.skip();
            }
            b'-' if alone => {
                self.nodes += 1;
                if !in_flow && !self.roll(self.column) && after_key {
                    self.nodes += 2;
                }
                self.forget_key();
                self.key_allowed = true;
                self.skip();
            }
            b'?' if in_flow || alone => {
                self.nodes += if in_flow && !in_mapping { 4 } else { 2 };
                self.roll(self.column);
                self.forget_key();
                self.key_allowed = !in_flow;
                self.after_key = true;
                self.skip();
            }
            b':' if in_flow || alone => {
                // The value, in case it is omitted; a pair in a sequence is a mapping of its own.
                self.nodes += if in_flow && !in_mapping { 3 } else { 1 };
                match self.take_key() {
                    Some(column) => {
                        self.roll(column);
                        self.key_allowed = false;
                    }
                    None => {
                        self.nodes += 1;
                        self.roll(self.column);
                        self.key_allowed = !in_flow;
                    }
                }
                self.after_key = true;
                self.skip();
            }
            b'*' | b'&' => {
                let from = self.at;
                self.nodes += 1;
                self.mark();
                self.save_key();
                self.key_allowed = false;
                self.after_key = after_key;
                self.skip();
                while self.text.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-')) {
                    self.skip();
                }
                let name = &self.text[from + 1..self.at];
                if byte == b'&' {
                    self.open_anchor(name, after_key);
                } else {
                    self.repeated = self.repeated.saturating_add(self.size_of(name).saturating_sub(1));
                }
            }
            b'!' => {
                self.nodes += 2;
                self.mark();
                self.save_key();
                self.key_allowed = false;
                self.after_key = after_key;
                self.tag();
            }
            b'|' | b'>' if !in_flow => self.scalar(|scan| {
                scan.forget_key();
                scan.key_allowed = true;
                scan.block_scalar();
            })?,
            b'"' | b'\'' => self.scalar(|scan| {
                scan.save_key();
                scan.key_allowed = false;
                scan.quoted(byte);
            })?,
            _ => self.scalar(|scan| {
                scan.save_key();
                scan.key_allowed = false;
                let from = scan.at;
                scan.plain();
                if scan.at == from {
                    // The parser stops at a byte that cannot begin a token.
                    scan.skip();
                }
            })?,
        }
        Ok(())
    }

    /// The nodes so far, with each alias written out.
    fn expanded(&self) -> usize {
        self.nodes.saturating_add(self.repeated)
    }

    fn open_anchor(&mut self, name: &'a [u8], after_key: bool) {
        self.anchors.push(Anchor {
            name,
            start: self.expanded(),
            line: self.line,
            indent: self.indent,
            flow: self.flow.len(),
            after_key,
        });
    }

    /// Ends the anchors whose node has ended before this token. A node that seems to be longer than it is counts for
    /// more, never for less.
    fn close_anchors(&mut self, byte: u8) {
        let (column, depth) = (self.column as isize, self.flow.len());
        let ended = |anchor: &Anchor| match anchor.flow {
            0 if depth > 0 || self.line == anchor.line => false,
            // A sequence may be as far to the left as the key before it.
            0 => column < anchor.indent || column == anchor.indent && !(anchor.after_key && byte == b'-'),
            flow => depth < flow || depth == flow && matches!(byte, b',' | b']' | b'}'),
        };
        while let Some(anchor) = self.anchors.pop_if(|anchor| ended(anchor)) {
            let size = self.expanded() - anchor.start;
            // A name may be given again: the last one counts.
            let known = self.sizes.entry(anchor.name).or_default();
            if anchor.start >= known.0 {
                *known = (anchor.start, size);
            }
        }
    }

    /// The nodes of an anchor's node, as far as they are known.
    fn size_of(&self, name: &[u8]) -> usize {
        match self.anchors.iter().rev().find(|anchor| anchor.name == name) {
            Some(open) => self.expanded() - open.start,
            None => self.sizes.get(name).map_or(1, |(_, size)| *size),
        }
    }

    /// Skips white space and comments.
    fn pass_blanks(&mut self) {
        loop {
            if self.column == 0 && self.rest().starts_with(b"\xef\xbb\xbf") {
                self.skip();
            }
            while let Some(b' ' | b'\t') = self.text.get(self.at)
                && (self.text[self.at] == b' ' || !self.flow.is_empty() || !self.key_allowed)
            {
                self.skip();
            }
            if self.text.get(self.at) == Some(&b'#') {
                let from = self.at;
                while self.at < self.text.len() && self.break_len() == 0 {
                    self.skip();
                }
                if let Some(pieces) = &mut self.pieces {
                    pieces.comments.push(from..self.at);
                }
            }
            if self.break_len() == 0 {
                // The parser refuses a tab here. The scan skips it, so that it goes on.
                if self.text.get(self.at) != Some(&b'\t') {
                    return;
                }
                self.skip();
            } else {
                self.skip_break();
                if self.flow.is_empty() {
                    self.key_allowed = true;
                }
            }
        }
    }

    fn scalar(&mut self, pass: impl FnOnce(&mut Self)) -> Result<(), Refusal> {
        let from = self.at;
        self.nodes += 1;
        pass(self);
        if self.at - from > SCALAR_LIMIT {
            return Err(self.too_complex("bytes in one scalar", SCALAR_LIMIT));
        }
        if let Some(pieces) = &mut self.pieces {
            // The scan of plain and block scalars skips the blanks behind them, too.
            let length = self.text[from..self.at].trim_ascii_end().len();
            pieces.scalars.push(from..from + length);
        }
        Ok(())
    }

    fn plain(&mut self) {
        let indent = self.indent + 1;
        let in_flow = !self.flow.is_empty();
        let mut broken = false;
        loop {
            if self.at_indicator() || self.text.get(self.at) == Some(&b'#') {
                break;
            }
            while !self.blank_at(0) {
                let byte = self.text[self.at];
                let ends =
                    byte == b':' && self.blank_at(1) || in_flow && matches!(byte, b',' | b'[' | b']' | b'{' | b'}');
                if ends {
                    break;
                }
                broken = false;
                self.skip();
            }
            if self.at == self.text.len() || !self.blank_at(0) {
                break;
            }
            while self.at < self.text.len() && self.blank_at(0) {
                if self.break_len() == 0 {
                    self.skip();
                } else {
                    self.skip_break();
                    broken = true;
                }
            }
            if !in_flow && (self.column as isize) < indent {
                break;
            }
        }
        if broken {
            self.key_allowed = true;
        }
    }

    fn quoted(&mut self, quote: u8) {
        self.skip();
        while let Some(&byte) = self.text.get(self.at) {
            if self.break_len() > 0 {
                self.skip_break();
            } else if byte == b'\\' && quote == b'"' {
                self.skip();
                if self.break_len() > 0 {
                    self.skip_break();
                } else if self.at < self.text.len() {
                    self.skip();
                }
            } else if byte == quote {
                self.skip();
                if quote == b'"' || self.text.get(self.at) != Some(&quote) {
                    return;
                }
                self.skip();
            } else {
                self.skip();
            }
        }
    }

    fn block_scalar(&mut self) {
        self.skip();
        let mut indent = 0;
        while let Some(byte @ (b'+' | b'-' | b'1'..=b'9')) = self.text.get(self.at) {
            if byte.is_ascii_digit() {
                indent = self.indent.max(0) + isize::from(byte - b'0');
            }
            self.skip();
        }
        while self.at < self.text.len() && self.break_len() == 0 {
            self.skip();
        }
        self.skip_break();
        self.block_breaks(&mut indent);
        while self.column as isize == indent && self.at < self.text.len() {
            while self.at < self.text.len() && self.break_len() == 0 {
                self.skip();
            }
            self.skip_break();
            self.block_breaks(&mut indent);
        }
    }

    /// Skips empty lines and indentation; determines the indentation if it is 0.
    fn block_breaks(&mut self, indent: &mut isize) {
        let mut widest = 0;
        loop {
            while (*indent == 0 || (self.column as isize) < *indent) && self.text.get(self.at) == Some(&b' ') {
                self.skip();
            }
            widest = widest.max(self.column as isize);
            if self.break_len() == 0 {
                break;
            }
            self.skip_break();
        }
        if *indent == 0 {
            *indent = widest.max(self.indent + 1).max(1);
        }
    }

    fn tag(&mut self) {
        let verbatim = self.rest().starts_with(b"!<");
        let in_flow = !self.flow.is_empty();
        while !self.blank_at(0) {
            let byte = self.text[self.at];
            if !verbatim && in_flow && matches!(byte, b',' | b'[' | b']' | b'{' | b'}') {
                break;
            }
            self.skip();
            if verbatim && byte == b'>' {
                break;
            }
        }
    }

    /// Begins a block collection if the column is further right than that of the collection around it. Returns whether
    /// it did.
    fn roll(&mut self, column: usize) -> bool {
        let begins = self.flow.is_empty() && self.indent < column as isize;
        if begins {
            self.nodes += 2;
            self.indents.push(self.indent);
            self.indent = column as isize;
        }
        begins
    }

    fn unroll(&mut self, column: isize) {
        while self.flow.is_empty() && self.indent > column {
            self.indent = self.indents.pop().expect("an indentation was kept when this one began");
        }
    }

    fn mark(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            pieces.marked = true;
        }
    }

    fn save_key(&mut self) {
        if self.key_allowed {
            *self.key() = Some((self.line, self.column));
        }
    }

    fn forget_key(&mut self) {
        *self.key() = None;
    }

    /// The column of the key that a `:` on this line belongs to.
    fn take_key(&mut self) -> Option<usize> {
        let here = self.line;
        self.key().take().filter(|(line, _)| *line == here).map(|(_, column)| column)
    }

    fn key(&mut self) -> &mut Option<(usize, usize)> {
        self.keys.last_mut().expect("the entry outside of all flow collections is never removed")
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    /// Whether `---` or `...` stands here, alone at the start of a line.
    fn at_indicator(&self) -> bool {
        self.column == 0 && (self.rest().starts_with(b"---") || self.rest().starts_with(b"...")) && self.blank_at(3)
    }

    /// Whether white space, a line's end or the text's end is so many bytes ahead.
    fn blank_at(&self, ahead: usize) -> bool {
        let at = self.at + ahead;
        matches!(self.text.get(at), None | Some(b' ' | b'\t')) || break_len(&self.text[at..]) > 0
    }

    fn break_len(&self) -> usize {
        break_len(self.rest())
    }

    fn skip(&mut self) {
        self.at += match self.text[self.at] {
            ..0xc0 => 1,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        };
        self.column += 1;
    }

    fn skip_break(&mut self) {
        let len = self.break_len();
        if len > 0 {
            self.at += len;
            self.line += 1;
            self.column = 0;
        }
    }
}

/// The length of the line end at the start of this text in bytes, or 0: CR, LF, both, NEL, LS or PS.
fn break_len(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] | [0xc2, 0x85, ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_yaml::Value;

    use super::*;
    use crate::tests::GOOD;

    /// The parser's events for a value: one for each scalar, two for each collection.
    fn events(value: &Value) -> usize {
        match value {
            Value::Sequence(items) => 2 + items.iter().map(events).sum::<usize>(),
            Value::Mapping(items) => 2 + items.iter().map(|(key, value)| events(key) + events(value)).sum::<usize>(),
            Value::Tagged(tagged) => events(&tagged.value),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        }
    }

    fn first_document(text: &str) -> Option<Value> {
        let document = serde_yaml::Deserializer::from_str(text).next()?;
        serde::Deserialize::deserialize(document).ok()
    }

    #[test]
    fn the_count_is_never_below_the_parsers() {
        let parts = [
            "a",
            "b",
            "- ",
            "-",
            ": ",
            ":",
            "? ",
            "[",
            "]",
            "{",
            "}",
            ",",
            ", ",
            "\"",
            "'",
            "#",
            " #",
            "|",
            ">",
            "|2",
            ">-",
            "\n",
            "\n",
            "\n ",
            "\n  ",
            "\n   ",
            "\r\n",
            "\t",
            "&a ",
            "&b ",
            "&a b",
            "*a ",
            "*b ",
            "*a",
            "\nc: *a",
            "\nb: &a ",
            "!t ",
            "!<x,> ",
            "\\",
            "\\\"",
            "''",
            "...",
            "\n---\n",
            "\n...\n",
            "%",
            "\u{85}",
            "\u{2028}",
            "é",
            " ",
            "\n- ",
            "\na: ",
            "\n  b: ",
            "[a]",
            "{a: b}",
            "\n\u{feff}",
            "a: b",
            "- a",
        ];
        let mut random = fastrand::Rng::with_seed(2026);
        let mut parsed = 0;
        for _ in 0..80_000 {
            let length = random.usize(1..14);
            let text: String = (0..length).map(|_| parts[random.usize(..parts.len())]).collect();
            let mut scan = Scan::new(&text);
            if scan.run().is_err() {
                continue;
            }
            let counted = scan.expanded();
            // An empty document reads as a null that is not in the text.
            if let Some(value) = first_document(&text).filter(|value| *value != Value::Null) {
                parsed += 1;
                let made = events(&value);
                assert!(counted >= made, "{text:?}: counted {counted}, made {made}: {value:?}");
            }
        }
        assert!(parsed > 5_000, "only {parsed} of the texts were YAML");

        // Nor is it far above.
        let made = events(&first_document(GOOD).unwrap());
        let counted = Scan::new(GOOD).count().unwrap();
        assert!(counted <= made * 2, "counted {counted}, made {made}");
    }
}
