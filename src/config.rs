//! The checks of an offered body and the overlay that is passed beside it. Pure: no file, no clock, no process, and
//! the body itself is never changed.
//!
//! The collector's own `validate` has the last word. What is refused here is what it would refuse or misread anyway,
//! what would cost this host too much to look at, and nothing else. What the collector does was seen on 0.149.0.

use std::fmt;

use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess as _, Visitor,
};
use serde::{Deserialize, Serialize};

/// The largest body that is looked at, in bytes. The transports stop long before.
pub const BODY_LIMIT: usize = 64 << 20;

/// The most nodes that a body may have: scalars, starts and ends of mappings and sequences, anchors, aliases, tags and
/// values that are left out. A line `key: value` counts for three, so that this is 33,000 lines or 1 MB of them.
///
/// The parser keeps about 100 bytes and the text for each. Measured on x86_64 (`VmHWM`): a config of 2,000 lines takes
/// 0.4 MiB beside the body, the worst body of 4 MiB takes 17 MiB.
pub const NODE_LIMIT: usize = 100_000;

/// How deep mappings and sequences may be nested. Real configs stay below 20.
pub const DEPTH_LIMIT: usize = 64;

/// The most aliases (`*name`): they are what makes a small text long to walk.
pub const ALIAS_LIMIT: usize = 500;

/// The longest single scalar, in bytes of its source text.
pub const SCALAR_LIMIT: usize = 256 << 10;

/// The most that `%` directives may take, in bytes: a tag prefix is repeated at each tag that uses it.
pub const DIRECTIVE_LIMIT: usize = 64;

/// The longest id of an extension that an overlay repeats, in bytes, and the most ids.
const ID_LIMIT: usize = 256;

/// The most `health_check` extensions that are looked at.
const CHECK_LIMIT: usize = 16;

/// The extension that the agent adds if the body has none.
const HEALTH_CHECK: &str = "health_check/otelet";
const SD_NOTIFY: &str = "sd_notify/otelet";

/// The collector's default endpoint of `health_check`.
const DEFAULT_ENDPOINT: &str = "localhost:13133";

/// A config that no collector takes: what `validate` says about it lists the extensions that the collector has, which
/// `components` does not do faithfully (it leaves out those that were renamed). See [`capabilities`].
pub const PROBE_CONFIG: &str = "extensions: {otelet_probe: {}}\n";

/// What a body says that the overlay needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspected {
    /// `service.extensions`, in order; empty also if `extensions_readable` is false.
    pub extensions: Vec<String>,
    /// Whether an overlay may repeat `service.extensions` and add to `extensions`. Not so if one of them comes from an
    /// expansion such as `${file:extensions.yaml}`: the collector merges before it expands, so the overlay would
    /// replace what the expansion brings.
    pub extensions_readable: bool,
    /// The first enabled `health_check` that can be probed from here.
    pub health_check: Option<Endpoint>,
    /// Whether an enabled extension is an `sd_notify`.
    pub has_sd_notify: bool,
    /// Whether the body has its own `service.telemetry.resource`, or may have: an expansion around it counts.
    pub has_telemetry_resource: bool,
}

/// Where an HTTP probe goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// An IP address, without brackets.
    pub host: String,
    /// A TCP port, never 0.
    pub port: u16,
    /// Starts with `/`.
    pub path: String,
}

/// Why a body is not given to the collector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing but white space and comments, if that.
    #[error("config is empty; an empty config never replaces a running one")]
    Empty,

    /// Longer than [`BODY_LIMIT`].
    #[error("config is {size} bytes, the most taken is {limit}")]
    TooLarge {
        /// The body's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },

    /// The collector would take UTF-16 too, but what reads configs on their way mostly does not.
    #[error("config is not UTF-8 at byte {at} (line {line}); save it as UTF-8")]
    NotUtf8 {
        /// Offset of the first byte that is wrong.
        at: usize,
        /// The line of that byte, from 1.
        line: usize,
    },

    /// A control character, which YAML forbids even in comments.
    #[error(
        "config has the control character U+{character:04X} on line {line}; YAML takes it only as an escape in double quotes"
    )]
    ControlCharacter {
        /// Its code point.
        character: u32,
        /// Its line, from 1.
        line: usize,
    },

    /// More of something than any real config has, such as a YAML bomb.
    #[error("config has more than {limit} {what} by line {line}; split it, or leave out what is generated")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// The most that is taken.
        limit: usize,
        /// The line where the limit was passed, from 1.
        line: usize,
    },

    /// The collector reads the first document and says nothing about the others.
    #[error(
        "config has a second YAML document on line {line}, which the collector would ignore; join the two or remove the `---`"
    )]
    SecondDocument {
        /// The line of its `---` (or of the `...` before it), from 1.
        line: usize,
    },

    /// The parser's words.
    #[error("config is not well-formed YAML: {cause}")]
    Malformed {
        /// What was expected, with line and column.
        cause: String,
    },

    /// YAML, but not a collector's.
    #[error("config has no pipelines; `service.pipelines` must be a mapping with at least one, such as `traces:`")]
    NoPipelines,
}

/// Which extensions a collector has that can witness its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// The one that answers over HTTP.
    pub health_check: bool,
    /// The one that talks to `NOTIFY_SOCKET`.
    pub sd_notify: bool,
}

/// The second `--config`, and how to see that the collector is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// YAML. Empty if there is nothing to add: then no second `--config` is passed.
    pub text: String,
    /// How the collector's health is seen.
    pub witness: Witness,
}

/// How the health of a collector is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// Its `health_check` answers 200.
    HealthCheck {
        /// An IP address, without brackets.
        host: String,
        /// A TCP port.
        port: u16,
        /// Starts with `/`.
        path: String,
    },
    /// It says `READY=1` and `WATCHDOG=1` on `NOTIFY_SOCKET`.
    SdNotify,
    /// Its process is there.
    Alive,
}

/// Checks a body and reads from it what the overlay needs.
///
/// Takes time in proportion to the size of the body (15 to 150 ns a byte; aliases may make it 650), less than 256 KiB of
/// stack and the memory named at [`NODE_LIMIT`].
///
/// What the collector itself does with the odd ones: a byte order mark, CR or CRLF as line ends, tabs after a colon,
/// anchors, merge keys, unknown tags and keys written as `service::pipelines` are all taken, and so they are here.
/// Control characters (even in comments), tabs as indentation, duplicate keys and an empty first document are refused;
/// of these the duplicate keys are left to its `validate`, which names both lines. A second document is ignored by it
/// without a word, and refused here.
///
/// # Errors
///
/// [`Refusal`], whose text is what the config's author reads.
pub fn inspect(body: &[u8]) -> Result<Inspected, Refusal> {
    if body.len() > BODY_LIMIT {
        return Err(Refusal::TooLarge { size: body.len(), limit: BODY_LIMIT });
    }
    let text = characters(body)?;
    // The parser would take a byte order mark for indentation here.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let nodes = Scan::new(text).count()?;
    if nodes == 0 {
        return Err(Refusal::Empty);
    }

    let mut found = Found::default();
    let document = serde_yaml::Deserializer::from_str(text).next().ok_or(Refusal::Empty)?;
    let seed = Walk { place: Place::Root, found: &mut found };
    seed.deserialize(document).map_err(|error| Refusal::Malformed { cause: squeeze(&error.to_string(), 300) })?;
    found.inspected()
}

/// Reads from the error about [`PROBE_CONFIG`] which extensions the collector has; nothing, if it says anything else.
///
/// 0.149.0 says `'extensions' unknown type: "otelet_probe" for id: "otelet_probe" (valid values: [health_check
/// file_storage])`, in no particular order, and ends with 1.
pub fn capabilities(stderr: &str) -> Capabilities {
    let list = stderr
        .split_once("\"otelet_probe\"")
        .and_then(|(_, rest)| rest.split_once("(valid values: ["))
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(list, _)| list);
    let has = |name| list.split([' ', ',']).any(|word| word == name);
    Capabilities { health_check: has("health_check"), sd_notify: has("sd_notify") }
}

/// Makes the second `--config` for a body: a `health_check` on a loopback port if the body has none that can be probed,
/// or an `sd_notify` if that is all that the collector has, and the identity of this agent as resource attributes of
/// the collector's own telemetry.
///
/// The collector merges mappings deeply and replaces lists, hence `service.extensions` is repeated. A null in the body
/// (`extensions:`) merges like an empty mapping; a string (`extensions: ${file:x}`) would be replaced, hence nothing is
/// added beside one. Resource attributes of the overlay win over the body's of the same name, hence a body that has its
/// own keeps them alone. An attribute whose name contains `::` is left out: the collector reads that as a path.
pub fn overlay(
    inspected: &Inspected,
    capabilities: Capabilities,
    free_port: u16,
    identity: &[(String, String)],
) -> Overlay {
    let addable = inspected.extensions_readable;
    let mut added = None;
    let witness = if let Some(Endpoint { host, port, path }) = inspected.health_check.clone() {
        Witness::HealthCheck { host, port, path }
    } else if addable && capabilities.health_check {
        added = Some((HEALTH_CHECK, format!("{{endpoint: {}}}", quoted(&format!("127.0.0.1:{free_port}"), true))));
        Witness::HealthCheck { host: "127.0.0.1".to_owned(), port: free_port, path: "/".to_owned() }
    } else if inspected.has_sd_notify {
        Witness::SdNotify
    } else if addable && capabilities.sd_notify {
        added = Some((SD_NOTIFY, "{}".to_owned()));
        Witness::SdNotify
    } else {
        Witness::Alive
    };

    let mut text = String::new();
    let mut service = String::new();
    if let Some((id, config)) = added {
        let listed = inspected.extensions.iter().map(String::as_str).filter(|listed| *listed != id);
        let ids: Vec<String> = listed.chain([id]).map(|id| quoted(id, true)).collect();
        text = format!("extensions:\n  {id}: {config}\n");
        service = format!("  extensions: [{}]\n", ids.join(", "));
    }
    let attributes = identity.iter().filter(|(name, _)| !name.is_empty() && !name.contains("::"));
    let attributes: String =
        attributes.map(|(name, value)| format!("      {}: {}\n", quoted(name, false), quoted(value, true))).collect();
    if !inspected.has_telemetry_resource && !attributes.is_empty() {
        service += &format!("  telemetry:\n    resource:\n{attributes}");
    }
    if !service.is_empty() {
        text += &format!("service:\n{service}");
    }
    Overlay { text, witness }
}

/// Makes of the end of a collector's output, or of what `validate` printed, one line of at most 1 KiB that says why it
/// ended: what follows the last `Error: `, or the line of a Go panic, or the last line logged as an error, or else the
/// last line that is not empty. Empty if there is nothing to say.
///
/// 0.149.0 writes `Error: ` and the reason, over several lines if need be, as its last words; official builds repeat it
/// after `collector server run finished with error: `.
pub fn last_words(tail: &[u8]) -> String {
    const REPEATED: &str = "collector server run finished with error: ";

    let text = harmless(&String::from_utf8_lossy(tail));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let marked = |line: &&str| ["Error: ", "panic: ", "fatal error: "].iter().any(|mark| line.starts_with(mark));
    let logged = |line: &&str| ["\terror\t", "\tfatal\t", "\tpanic\t"].iter().any(|level| line.contains(level));

    let words = if let Some(at) = lines.iter().rposition(marked) {
        match lines[at].strip_prefix("Error: ") {
            Some(first) => {
                let more = lines[at + 1..].iter().take_while(|line| !line.contains(REPEATED));
                [first].into_iter().chain(more.copied()).collect::<Vec<_>>().join(" ")
            }
            None => lines[at].to_owned(),
        }
    } else if let Some(line) = lines.iter().rfind(|line| line.contains(REPEATED)) {
        line.split_once(REPEATED).map_or("", |(_, reason)| reason).to_owned()
    } else {
        lines.iter().rfind(|line| logged(line)).or(lines.last()).copied().unwrap_or_default().to_owned()
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    squeeze(&shorten_lists(&words), 1024)
}

/// Checks the encoding: UTF-8 without control characters. The list is libyaml's, and the collector's parser has the
/// same.
fn characters(body: &[u8]) -> Result<&str, Refusal> {
    let line = |at: usize| 1 + body[..at].iter().filter(|byte| **byte == b'\n').count();
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        Refusal::NotUtf8 { at, line: line(at) }
    })?;
    let forbidden = |c: char| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    match text.char_indices().find(|(_, c)| forbidden(*c)) {
        Some((at, c)) => Err(Refusal::ControlCharacter { character: c.into(), line: line(at) }),
        None => Ok(text),
    }
}

/// Counts what the YAML parser is going to keep, before it does: it holds all of a document in memory, at some 100 bytes
/// for each node, and `[,[,[,` makes a node of every other byte.
///
/// This follows libyaml's scanner closely enough to see the same tokens: where indentation, quotes, block scalars and
/// comments begin and end is what decides whether a `[` is one. Text that is not YAML may be miscounted, since the
/// parser stops at the first error and this does not. A test holds that it never counts too little.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    /// In characters, as libyaml has it.
    column: usize,

    nodes: usize,
    aliases: usize,
    directives: usize,

    /// The column of the innermost block collection, -1 outside of all, and of those around it.
    indent: isize,
    indents: Vec<isize>,
    /// Whether each open `[` or `{` is a `{`.
    flow: Vec<bool>,
    /// The token that a `:` would make a key, by line and column: one outside of all flow collections and one in each.
    keys: Vec<Option<(usize, usize)>>,
    key_allowed: bool,
    /// The last token was `:` or `?`, so that a `-` at the same indentation begins a sequence.
    after_key: bool,

    document: Document,
}

/// How far the scan is with the document that the collector reads.
#[derive(Clone, Copy)]
enum Document {
    Before,
    Within,
    Ended { line: usize },
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            line: 1,
            column: 0,
            nodes: 0,
            aliases: 0,
            directives: 0,
            indent: -1,
            indents: Vec::new(),
            flow: Vec::new(),
            keys: vec![None],
            key_allowed: true,
            after_key: false,
            document: Document::Before,
        }
    }

    fn count(mut self) -> Result<usize, Refusal> {
        loop {
            self.pass_blanks();
            self.unroll(self.column as isize);
            let Some(&byte) = self.text.get(self.at) else {
                return Ok(self.nodes);
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
            ("aliases", self.aliases, ALIAS_LIMIT),
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
                // The value of a last key without one.
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
                // The value, if it is left out; a pair in a sequence is a mapping of its own.
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
                self.nodes += 1;
                self.aliases += usize::from(byte == b'*');
                self.save_key();
                self.key_allowed = false;
                self.after_key = after_key;
                self.skip();
                while self.text.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-')) {
                    self.skip();
                }
            }
            b'!' => {
                self.nodes += 2;
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
                    // What cannot begin a token ends the parser.
                    scan.skip();
                }
            })?,
        }
        Ok(())
    }

    /// Passes white space and comments.
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
                while self.at < self.text.len() && self.break_len() == 0 {
                    self.skip();
                }
            }
            if self.break_len() == 0 {
                // A tab here is an error to the parser; passing it keeps this going.
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

    /// Passes empty lines and indentation; finds out the indentation if it is 0.
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

    /// Begins a block collection if the column is further in than the one around it; says whether it did.
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
        self.keys.last_mut().expect("there is one for the outside of all flow collections")
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

/// The bytes of the line's end here, 0 if there is none: CR, LF, both, NEL, LS or PS.
fn break_len(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] | [0xc2, 0x85, ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

/// The values that are looked at; everything else is passed over without being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Service,
    Pipelines,
    Enabled,
    Telemetry,
    Resource,
    Extensions,
    Check,
    CheckEndpoint,
    CheckPath,
    /// A key, or an enabled extension.
    Name,
}

impl Place {
    const COUNT: usize = Self::Name as usize + 1;
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shape {
    #[default]
    Absent,
    Null,
    Mapping,
    Sequence,
    /// A string with `${...}` in it: what the collector reads there cannot be known here.
    Expansion,
    Other,
}

/// What was seen on the way through a body.
#[derive(Debug, Default)]
struct Found {
    shapes: [Shape; Place::COUNT],
    pipelines: usize,
    enabled: Vec<String>,
    /// The last key or id: `None` unless it is a string of at most [`ID_LIMIT`] bytes.
    name: Option<String>,
    /// An enabled extension has a name that is not plain text.
    enabled_unclear: bool,
    checks: Vec<Check>,
    /// A merge key or a key like `service::telemetry` on the way: parts of the config come from elsewhere.
    scattered: bool,
}

/// The settings of one `health_check`.
#[derive(Debug)]
struct Check {
    id: String,
    /// `None` if it is not plain text.
    endpoint: Option<String>,
    path: Option<String>,
    /// Whether it is plain HTTP without authentication.
    plain: bool,
}

impl Found {
    fn inspected(self) -> Result<Inspected, Refusal> {
        use Shape::{Absent, Expansion, Mapping, Null, Sequence};

        let shape = |place: Place| self.shapes[place as usize];
        if shape(Place::Root) == Null {
            return Err(Refusal::Empty);
        }
        let has_pipelines = match (shape(Place::Service), shape(Place::Pipelines)) {
            (Expansion, _) | (Mapping, Expansion) => true,
            (Mapping, Mapping) => self.pipelines > 0,
            _ => false,
        };
        if !has_pipelines && !self.scattered {
            return Err(Refusal::NoPipelines);
        }

        let clear = !self.scattered && shape(Place::Service) == Mapping;
        let extensions_readable = clear
            && !self.enabled_unclear
            && matches!(shape(Place::Enabled), Absent | Null | Sequence)
            && matches!(shape(Place::Extensions), Absent | Null | Mapping);
        let has_telemetry_resource = !clear
            || !matches!(shape(Place::Telemetry), Absent | Null | Mapping)
            || !matches!(shape(Place::Resource), Absent | Null);
        let extensions = if extensions_readable { self.enabled } else { Vec::new() };
        let settings = |id: &String| self.checks.iter().rfind(|check| check.id.trim() == id.trim());
        Ok(Inspected {
            health_check: extensions
                .iter()
                .filter(|id| kind(id) == "health_check")
                .find_map(|id| settings(id).and_then(Check::endpoint)),
            has_sd_notify: extensions.iter().any(|id| kind(id) == "sd_notify"),
            extensions,
            extensions_readable,
            has_telemetry_resource,
        })
    }
}

impl Check {
    /// Where this one can be probed: at an IP address or `localhost`. Other names are not, since looking them up may
    /// hang; all addresses of the host (`0.0.0.0`, `[::]`, none) and `localhost` are probed at 127.0.0.1, where the
    /// collector listens for each of them.
    fn endpoint(&self) -> Option<Endpoint> {
        let path =
            self.path.as_deref().filter(|path| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()));
        let (host, port) = self.endpoint.as_deref()?.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = match host {
            "" | "localhost" => std::net::Ipv4Addr::LOCALHOST.into(),
            _ => bare.parse::<std::net::IpAddr>().ok()?,
        };
        let address = if address.is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { address };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let plain = self.plain && (address.is_ipv4() || host != bare);
        plain.then_some(())?;
        Some(Endpoint { host: address.to_string(), port, path: path?.to_owned() })
    }
}

impl Check {
    fn child(&mut self, key: &str) -> Option<Place> {
        match key {
            _ if !self.plain => {}
            "endpoint" => return Some(Place::CheckEndpoint),
            "path" => return Some(Place::CheckPath),
            "response_body" | "check_collector_pipeline" | "cors" | "include_metadata" => {}
            // `tls`, `auth`, `transport`, `use_v2` and whatever comes: it may not answer a plain GET.
            _ => self.plain = false,
        }
        None
    }
}

/// The type in an id such as `health_check/2`.
fn kind(id: &str) -> &str {
    id.split('/').next().unwrap_or_default().trim()
}

/// Walks the values that matter, whatever they are; never fails by their type.
struct Walk<'f> {
    place: Place,
    found: &'f mut Found,
}

impl Walk<'_> {
    fn saw(self, shape: Shape) {
        self.found.shapes[self.place as usize] = shape;
    }

    fn child(&mut self, key: &str) -> Option<Place> {
        let sections = [Place::Root, Place::Service, Place::Telemetry, Place::Extensions];
        if sections.contains(&self.place) && (key == "<<" || key.contains("::")) {
            self.found.scattered = true;
        }
        let place = match (self.place, key) {
            (Place::Root, "service") => Place::Service,
            (Place::Root, "extensions") => Place::Extensions,
            (Place::Service, "pipelines") => Place::Pipelines,
            (Place::Service, "extensions") => Place::Enabled,
            (Place::Service, "telemetry") => Place::Telemetry,
            (Place::Telemetry, "resource") => Place::Resource,
            (Place::Extensions, id) if kind(id) == "health_check" => {
                if self.found.checks.len() == CHECK_LIMIT {
                    return None;
                }
                let (endpoint, path) = (Some(DEFAULT_ENDPOINT.to_owned()), Some("/".to_owned()));
                self.found.checks.push(Check { id: id.to_owned(), endpoint, path, plain: true });
                return Some(Place::Check);
            }
            (Place::Check, key) => return self.check().child(key),
            _ => return None,
        };
        // The collector refuses a key that stands twice; looking twice would only multiply aliases.
        (self.found.shapes[place as usize] == Shape::Absent).then_some(place)
    }

    fn check(&mut self) -> &mut Check {
        self.found.checks.last_mut().expect("one was added on the way in")
    }

    /// A mapping or a sequence that was not looked into.
    fn collection(mut self, shape: Shape) {
        if matches!(self.place, Place::Check | Place::CheckEndpoint | Place::CheckPath) {
            self.check().plain = false;
        }
        self.saw(shape);
    }

    /// A value that is neither a mapping, a sequence nor null.
    fn scalar(mut self, text: Option<&str>) {
        let plain = text.filter(|text| text.len() <= ID_LIMIT && !text.contains('$')).map(str::to_owned);
        match self.place {
            Place::Check => self.check().plain = false,
            Place::CheckEndpoint => self.check().endpoint = plain,
            Place::CheckPath => self.check().path = plain,
            Place::Name => self.found.name = text.filter(|text| text.len() <= ID_LIMIT).map(str::to_owned),
            _ => {}
        }
        self.saw(if text.is_some_and(|text| text.contains("${")) { Shape::Expansion } else { Shape::Other });
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        match self.place {
            Place::Name => return Err(A::Error::custom("a mapping where a name is expected")),
            Place::Enabled | Place::Resource | Place::CheckEndpoint | Place::CheckPath => {
                IgnoredAny.visit_map(map)?;
                self.collection(Shape::Mapping);
                return Ok(());
            }
            _ => {}
        }
        let mut len = 0;
        while map.next_key_seed(Walk { place: Place::Name, found: self.found })?.is_some() {
            len += 1;
            let key = self.found.name.take().unwrap_or_default();
            match self.child(&key) {
                Some(place) => map.next_value_seed(Walk { place, found: self.found })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if self.place == Place::Pipelines {
            self.found.pipelines = len;
        }
        self.saw(Shape::Mapping);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        match self.place {
            Place::Name => return Err(A::Error::custom("a list where a name is expected")),
            Place::Enabled => {}
            _ => {
                IgnoredAny.visit_seq(seq)?;
                self.collection(Shape::Sequence);
                return Ok(());
            }
        }
        while seq.next_element_seed(Walk { place: Place::Name, found: self.found })?.is_some() {
            let room = self.found.enabled.len() < ID_LIMIT;
            match self.found.name.take().filter(|id| room && !id.contains('$')) {
                Some(id) => self.found.enabled.push(id),
                None => self.found.enabled_unclear = true,
            }
        }
        self.saw(Shape::Sequence);
        Ok(())
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        match self.place {
            // The collector takes a null as an unset key, except here, where nobody knows.
            Place::CheckEndpoint | Place::CheckPath => self.check().plain = false,
            Place::Name => self.found.name = None,
            _ => {}
        }
        self.saw(Shape::Null);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.scalar(Some(text));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }
}

/// A string as YAML in double quotes, of which the collector makes the same string again.
///
/// JSON's quoting would not do: it leaves U+007F to U+009F, U+FEFF and U+FFFE as they are, at which the parser stops, and
/// U+0085, U+2028 and U+2029, which it takes for line ends. In values a `$` is doubled, since the collector expands
/// `${env:X}` there; it does not in keys.
fn quoted(text: &str, value: bool) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' if value => out.push_str("$$"),
            '\0'..=' ' | '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                if c != ' ' =>
            {
                out += &format!("\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Leaves out terminal escapes and control characters; line ends and tabs stay, CR becomes a line end.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                    chars.next_if(|c| matches!(c, '@'..='~'));
                }
            }
            '\r' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            // Control characters, and those that turn the direction of what follows.
            _ if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {}
            _ => out.push(c),
        }
    }
    out
}

/// Shortens each `(valid values: [...])`, which has a hundred names in a collector with everything.
fn shorten_lists(text: &str) -> String {
    const BEGIN: &str = "(valid values: [";
    const MOST: usize = 8;

    let mut out = String::new();
    let mut rest = text;
    while let Some((before, list)) = rest.split_once(BEGIN) {
        let (list, after) = list.split_at(list.find(']').unwrap_or(list.len()));
        let names: Vec<&str> = list.split(' ').collect();
        out += before;
        out += BEGIN;
        out += &names[..names.len().min(MOST)].join(" ");
        if names.len() > MOST {
            out += &format!(" and {} more", names.len() - MOST);
        }
        rest = after;
    }
    out + rest
}

/// Cuts out the middle of what is longer than so many bytes: it begins with what failed and ends with why.
fn squeeze(text: &str, limit: usize) -> String {
    const CUT: &str = " ... ";

    if text.len() <= limit {
        return text.to_owned();
    }
    let head = text.floor_char_boundary((limit - CUT.len()) / 2);
    let tail = text.ceil_char_boundary(text.len() - (limit - CUT.len() - head));
    format!("{}{CUT}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use serde_yaml::Value;

    use super::*;

    const GOOD: &str = "\
receivers:
  otlp: {protocols: {http: {endpoint: 127.0.0.1:4318}}}
exporters:
  nop:
extensions:
  health_check: {endpoint: 127.0.0.1:13133, path: /health}
  file_storage: {directory: /tmp}
processors:
  transform:
    log_statements:
      - context: log
        statements:
          - set(attributes[\"it's\"], \"a [b\") where body != \"#\" # a 'comment' [
          - |-
            keep_keys(attributes, [\"x\", 'y
          - >2
              folded { text
service:
  extensions: [health_check, file_storage]
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [nop]}
";

    fn check(body: &str) -> Result<Inspected, Refusal> {
        inspect(body.as_bytes())
    }

    /// [`GOOD`] with one part replaced.
    fn with(part: &str, other: &str) -> String {
        assert!(GOOD.contains(part), "{part}");
        GOOD.replacen(part, other, 1)
    }

    fn probed(settings: &str) -> Option<String> {
        let part = "health_check: {endpoint: 127.0.0.1:13133, path: /health}";
        let Endpoint { host, port, path } = check(&with(part, settings)).unwrap().health_check?;
        Some(format!("{host} {port} {path}"))
    }

    #[test]
    fn a_good_body_tells_what_the_overlay_needs() {
        let (host, path) = ("127.0.0.1".to_owned(), "/health".to_owned());
        let expected = Inspected {
            extensions: vec!["health_check".to_owned(), "file_storage".to_owned()],
            extensions_readable: true,
            health_check: Some(Endpoint { host, port: 13133, path }),
            has_sd_notify: false,
            has_telemetry_resource: false,
        };
        assert_eq!(check(GOOD), Ok(expected));
    }

    #[test]
    fn what_the_collector_takes_is_taken() {
        let json = r#"{"service":{"pipelines":{"traces":{"receivers":["otlp"]}}},"a":"\ud7ff\/"}"#;
        for body in [
            format!("\u{feff}{GOOD}"),
            GOOD.replace('\n', "\r\n"),
            GOOD.replace('\n', "\r"),
            with("service:", "service:\t# tab"),
            format!("---\n{GOOD}...\n"),
            format!("%YAML 1.1\n---\n{GOOD}"),
            format!("{GOOD}---\n"),
            format!("{GOOD}# \u{1f600} \u{a0}\n"),
            with("level: none", "level: !foo none"),
            with("level: none", "level: !!str none"),
            with("{metrics: {level: none}}", "\n    metrics: &a {level: none}\n    x: *a"),
            with("  pipelines:", "  pipelines: !foo"),
            json.to_owned(),
            "service: ${file:service.yaml}".to_owned(),
            "service: {pipelines: '${file:pipelines.yaml}'}".to_owned(),
            "service::pipelines::traces: {receivers: [otlp]}".to_owned(),
            "service: {<<: &x {pipelines: {traces: }}}".to_owned(),
        ] {
            assert_eq!(check(&body).err(), None, "{body}");
        }
    }

    #[test]
    fn a_refusal_says_where_and_why() {
        let refused = |body: &[u8]| inspect(body).unwrap_err().to_string();

        for empty in ["", " \n\n", "# only this\n", "---\n", "~\n", "---\n...\n", "%YAML 1.1\n", "\u{feff}"] {
            assert_eq!(check(empty), Err(Refusal::Empty), "{empty:?}");
        }
        assert_eq!(refused(b""), "config is empty; an empty config never replaces a running one");
        assert_eq!(refused(b"a: 1\nb: \xe9\n"), "config is not UTF-8 at byte 8 (line 2); save it as UTF-8");
        assert_eq!(
            refused(b"a: 1\n# \x1b[31m\n"),
            "config has the control character U+001B on line 2; \
             YAML takes it only as an escape in double quotes"
        );
        assert_eq!(
            refused(format!("{GOOD}---\nb: 2\n").as_bytes()),
            "config has a second YAML document on line 23, which the collector would ignore; \
             join the two or remove the `---`"
        );
        for body in [
            "a: 1",
            "[]",
            "text",
            "service:",
            "service: {}",
            "service: x",
            "service: [a]",
            "service: {pipelines: }",
            "service: {pipelines: {}}",
            "service: {pipelines: [a]}",
            "service: {pipelines: 1}",
        ] {
            assert_eq!(check(body), Err(Refusal::NoPipelines), "{body}");
        }
        assert_eq!(
            Refusal::NoPipelines.to_string(),
            "config has no pipelines; `service.pipelines` must be a mapping with at least one, such as `traces:`"
        );
        assert_eq!(
            refused(b"a: ["),
            "config is not well-formed YAML: did not find expected node content at line 2 column 1, \
             while parsing a flow node"
        );
        assert!(
            refused(b"a:\n\tb: 1\n").contains("cannot start any token at line 2 column 1"),
            "{}",
            refused(b"a:\n\tb: 1\n")
        );
        assert_eq!(refused(b"a: *b\n"), "config is not well-formed YAML: unknown anchor at line 1 column 4");
        assert_eq!(refused(&vec![b'#'; BODY_LIMIT + 1]), "config is 67108865 bytes, the most taken is 67108864");
    }

    #[test]
    fn extensions_are_repeated_only_if_they_can_be_read() {
        let readable = |part: &str, other: &str| check(&with(part, other)).unwrap().extensions_readable;
        let list = "[health_check, file_storage]";

        assert!(readable(list, ""));
        assert!(readable(list, "[]"));
        assert!(readable("  extensions: [health_check, file_storage]\n", ""));
        assert!(readable(list, "\n  - health_check\n  - 'file_storage'"));
        assert!(!readable(list, "${file:extensions.yaml}"));
        assert!(!readable(list, "[health_check, '${env:MORE}']"));
        assert!(!readable(list, "[health_check, 1]"));
        let nested = check(&with(list, "[health_check, [a]]")).unwrap_err().to_string();
        assert!(nested.contains("a list where a name is expected at line 19"), "{nested}");
        assert!(!readable(list, "{health_check: }"));
        assert!(!readable("service:\n", "service:\n  <<: {}\n"));
        assert!(!readable("service:\n", "service::telemetry: {}\nservice:\n"));
        let unread = check("extensions: ${file:x}\nservice: {pipelines: {traces: }}").unwrap();
        assert!(!unread.extensions_readable);

        let unread = check(&with(list, "[health_check, 1]")).unwrap();
        assert_eq!((unread.extensions.len(), unread.health_check), (0, None));
        assert!(!readable(list, &format!("[{}]", "a,".repeat(ID_LIMIT + 1))));
        assert!(!readable(list, &format!("[{}]", "a".repeat(ID_LIMIT + 1))));
    }

    #[test]
    fn a_health_check_is_probed_where_it_can_be_read() {
        let at = |settings: &str| probed(&format!("health_check: {settings}"));
        let some = |text: &str| Some(text.to_owned());

        assert_eq!(at(""), some("127.0.0.1 13133 /"));
        assert_eq!(at("{}"), some("127.0.0.1 13133 /"));
        assert_eq!(at("{endpoint: 'localhost:1'}"), some("127.0.0.1 1 /"));
        assert_eq!(at("{endpoint: '0.0.0.0:1'}"), some("127.0.0.1 1 /"));
        assert_eq!(at("{endpoint: ':1', path: /a}"), some("127.0.0.1 1 /a"));
        assert_eq!(at("{endpoint: '[::]:1'}"), some("127.0.0.1 1 /"));
        assert_eq!(at("{endpoint: '[::1]:1'}"), some("::1 1 /"));
        assert_eq!(at("{endpoint: 10.1.2.3:65535, response_body: {}}"), some("10.1.2.3 65535 /"));
        let aliased = "b: &b 'localhost:2'\n  health_check: {endpoint: *b}";
        assert_eq!(probed(aliased), some("127.0.0.1 2 /"));

        for settings in [
            "{endpoint: '${env:POD_IP}:13133'}",
            "{endpoint: '$HOST:1'}",
            "{endpoint: 'host.example:1'}",
            "{endpoint: '::1:1'}",
            "{endpoint: 'localhost:http'}",
            "{endpoint: 'localhost:0'}",
            "{endpoint: 'localhost:65536'}",
            "{endpoint: localhost}",
            "{endpoint: 13133}",
            "{endpoint: }",
            "{endpoint: [a]}",
            "{path: health}",
            "{path: '/a b'}",
            "{path: \"/a\\r\\nb\"}",
            "{tls: {cert_file: a}}",
            "{auth: {authenticator: a}}",
            "{transport: unix}",
            "{use_v2: true}",
            "{<<: {tls: {}}}",
            "${file:x}",
            "[]",
            "1",
        ] {
            assert_eq!(at(settings), None, "{settings}");
        }
        // Not enabled, not configured, another type, and the first of two.
        let not_enabled = with("[health_check, file_storage]", "[file_storage]");
        assert_eq!(check(&not_enabled).unwrap().health_check, None);
        assert_eq!(probed("other:"), None);
        assert_eq!(probed("health_checkv2:"), None);
        let two = with("  health_check: {", "  health_check/b: {endpoint: ':9'}\n  health_check: {");
        let two = two.replace("[health_check,", "[health_check/b, health_check,");
        assert_eq!(check(&two).unwrap().health_check.unwrap().port, 9);
    }

    #[test]
    fn a_resource_of_the_bodys_own_is_seen() {
        let has = |telemetry: &str| {
            let body = with("{metrics: {level: none}}", telemetry);
            check(&body).unwrap().has_telemetry_resource
        };
        assert!(!has(""));
        assert!(!has("{resource: }"));
        assert!(has("{resource: {a: b}}"));
        assert!(has("{resource: {}}"));
        assert!(has("{resource: '${file:x}'}"));
        assert!(has("${file:telemetry.yaml}"));
        assert!(has("{<<: {resource: {a: b}}}"));
        assert!(check("service: ${file:service.yaml}").unwrap().has_telemetry_resource);
    }

    fn inspected(extensions: &[&str]) -> Inspected {
        let extensions: Vec<String> = extensions.iter().map(|id| (*id).to_owned()).collect();
        let has_sd_notify = extensions.iter().any(|id| kind(id) == "sd_notify");
        Inspected { extensions, extensions_readable: true, has_sd_notify, ..Inspected::default() }
    }

    fn pairs(identity: &[(&str, &str)]) -> Vec<(String, String)> {
        identity.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const NONE: Capabilities = Capabilities { health_check: false, sd_notify: false };
    const HEALTH: Capabilities = Capabilities { health_check: true, sd_notify: false };
    const NOTIFY: Capabilities = Capabilities { health_check: false, sd_notify: true };
    const BOTH: Capabilities = Capabilities { health_check: true, sd_notify: true };

    #[test]
    fn an_overlay_repeats_the_extensions_and_adds_one() {
        let made = overlay(&inspected(&["a", "health_check/x"]), BOTH, 4711, &[]);
        assert_eq!(
            made.text,
            "extensions:\n  health_check/otelet: {endpoint: \"127.0.0.1:4711\"}\n\
             service:\n  extensions: [\"a\", \"health_check/x\", \"health_check/otelet\"]\n"
        );
        let (host, path) = ("127.0.0.1".to_owned(), "/".to_owned());
        assert_eq!(made.witness, Witness::HealthCheck { host, port: 4711, path });

        let made = overlay(&inspected(&["a"]), NOTIFY, 4711, &[]);
        assert_eq!(
            made.text,
            "extensions:\n  sd_notify/otelet: {}\n\
             service:\n  extensions: [\"a\", \"sd_notify/otelet\"]\n"
        );
        assert_eq!(made.witness, Witness::SdNotify);
    }

    #[test]
    fn nothing_to_add_is_an_empty_overlay() {
        let empty = |witness| Overlay { text: String::new(), witness };
        assert_eq!(overlay(&inspected(&["a"]), NONE, 1, &[]), empty(Witness::Alive));
        let unreadable = Inspected { has_telemetry_resource: true, ..Inspected::default() };
        assert_eq!(overlay(&unreadable, BOTH, 1, &pairs(&[("a", "b")])), empty(Witness::Alive));
        let own = inspected(&["sd_notify/mine"]);
        assert_eq!(overlay(&own, NOTIFY, 1, &[]), empty(Witness::SdNotify));

        let (host, path) = ("127.0.0.1".to_owned(), "/health".to_owned());
        let checked = overlay(&check(GOOD).unwrap(), BOTH, 1, &[]);
        assert_eq!(checked, empty(Witness::HealthCheck { host, port: 13133, path }));
    }

    #[test]
    fn the_identity_is_added_unless_the_body_has_its_own() {
        let identity =
            pairs(&[("service.instance.id", "1"), ("a::b", "a path"), ("", "nameless"), ("$k", "${env:X} $$")]);
        let made = overlay(&check(GOOD).unwrap(), BOTH, 1, &identity);
        assert_eq!(
            made.text,
            "service:\n  telemetry:\n    resource:\n      \"service.instance.id\": \"1\"\n      \
             \"$k\": \"$${env:X} $$$$\"\n"
        );
        let own = Inspected { has_telemetry_resource: true, ..inspected(&[]) };
        assert_eq!(overlay(&own, NONE, 1, &identity).text, "");
    }

    #[test]
    fn any_string_survives_quoting() {
        let codes = (0..0x3000_u32).chain(0xd700..0x1_0100).chain([0x1_f600, 0x10_ffff]);
        let every: String = codes.filter_map(char::from_u32).collect();
        let read: String = serde_yaml::from_str(&quoted(&every, false)).unwrap();
        assert_eq!(read, every);
        assert_eq!(characters(quoted(&every, false).as_bytes()).err(), None);
        let odd = "a\"\\\n\u{85}\u{1f600}$é/ ";
        assert_eq!(quoted(odd, true), "\"a\\\"\\\\\\u000a\\u0085\u{1f600}$$é/ \"");

        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let text: String = (0..20).map(|_| random.char(..)).collect();
            assert_eq!(serde_yaml::from_str::<String>(&quoted(&text, false)).unwrap(), text);
        }
    }

    #[test]
    fn capabilities_are_read_from_the_collectors_refusal() {
        let said = |list: &str| {
            capabilities(&format!(
                "Error: failed to get config: cannot unmarshal the configuration: decoding failed \
                 due to the following error(s):\n\n'extensions' unknown type: \"otelet_probe\" for \
                 id: \"otelet_probe\" (valid values: [{list}])\n"
            ))
        };
        assert_eq!(said("health_check file_storage"), HEALTH);
        assert_eq!(said("zpages sd_notify health_check"), BOTH);
        assert_eq!(said("health_checkv2 file_storage"), NONE);
        assert_eq!(said(""), NONE);
        for other in [
            "",
            "Segmentation fault",
            "(valid values: [health_check])",
            "\"otelet_probe\" (valid values: [health_check",
        ] {
            assert_eq!(capabilities(other), NONE, "{other}");
        }
    }

    #[test]
    fn the_last_words_are_the_reason() {
        let words = |text: &str| last_words(text.as_bytes());

        // A taken port, as 0.149.0 says it.
        assert_eq!(
            words(
                "2026-11-23T18:14:28.882Z\tinfo\tservice.go:292\tShutdown complete.\t{\"a\": 1}\n\
                 Error: failed to start extensions: failed to bind to address 127.0.0.1:1: listen \
                 tcp 127.0.0.1:1: bind: address already in use\n"
            ),
            "failed to start extensions: failed to bind to address 127.0.0.1:1: listen \
             tcp 127.0.0.1:1: bind: address already in use"
        );
        // An unknown component, over several lines.
        assert_eq!(
            words(
                "Error: failed to get config: decoding failed:\n\n'receivers' unknown type: \"x\" \
                 for id: \"x\" (valid values: [a b c d e f g h i j])\n"
            ),
            "failed to get config: decoding failed: 'receivers' unknown type: \"x\" \
             for id: \"x\" (valid values: [a b c d e f g h and 2 more])"
        );
        // Official builds say it twice.
        let again = "2026/11/23 18:14:28 collector server run finished with error: no pipeline\n";
        assert_eq!(words(&format!("Error: no pipeline\n{again}")), "no pipeline");
        assert_eq!(words(again), "no pipeline");

        let panic = "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.f()\n";
        assert_eq!(words(panic), "panic: runtime error: index out of range");
        assert_eq!(words("Error: old\nfatal error: out of memory\n"), "fatal error: out of memory");
        let logged = "t\tinfo\ta\nt\terror\tx.go:1\tit broke\nx.f\n\t/x.go:3\nt\tinfo\tShutdown.\n";
        assert_eq!(words(logged), "t error x.go:1 it broke");
        assert_eq!(words("one\r\n\ttwo\n\n"), "two");
        assert_eq!(words(" \n\0\n"), "");
        assert_eq!(words("\u{1b}[1;31mred\u{1b}[0m\u{7} \u{202e}text"), "red text");
        assert_eq!(last_words(b"\xff\xfe broken"), "\u{fffd}\u{fffd} broken");

        let long = words(&format!("Error: begin {} end", "é".repeat(2000)));
        assert!(long.starts_with("begin é") && long.ends_with("é end"), "{long}");
        assert!((1020..=1024).contains(&long.len()), "{}", long.len());
    }

    #[test]
    fn bombs_are_refused_before_they_go_off() {
        let times = |text: &str| text.repeat((4 << 20) / text.len());
        let laugh = |n: usize| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(200));
        let laughs: String = (1..10).map(laugh).collect();
        let deep: String = (0..2000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        for (name, bomb, what) in [
            ("laughs", format!("a0: &a0 x\n{laughs}"), "aliases"),
            ("brackets", times("["), "levels of nesting"),
            ("brackets on lines", times("[\n"), "levels of nesting"),
            ("braces", times("{a: "), "levels of nesting"),
            ("dashes", times("- "), "levels of nesting"),
            ("deep", deep, "levels of nesting"),
            ("explicit keys", times("? "), "levels of nesting"),
            ("commas", format!("[{}", times("a,")), "nodes"),
            ("colons", format!("{{{}", times(":,")), "nodes"),
            ("list", times("- a\n"), "nodes"),
            ("mapping", times("a:\n"), "nodes"),
            ("empty entries", times("-\n"), "nodes"),
            ("anchors", times("- &a\n"), "nodes"),
            ("tags", times("- !a\n"), "nodes"),
            ("merge keys", format!("a: &a {{}}\n{}", times("<<: *a\n")), "aliases"),
            ("tag prefix", format!("%TAG ! {}\n---\n", "a".repeat(70)), "bytes of % directives"),
            ("directives", times("%A\n"), "bytes of % directives"),
            ("plain", times("a"), "bytes in one scalar"),
            ("plain over lines", times("a\n"), "bytes in one scalar"),
            ("double quotes", format!("\"{}", times("\\L")), "bytes in one scalar"),
            ("single quotes", format!("'{}", times("''")), "bytes in one scalar"),
            ("block", format!("a: |\n{}", times(" \n")), "bytes in one scalar"),
        ] {
            match check(&bomb) {
                Err(Refusal::TooComplex { what: said, .. }) => assert_eq!(said, what, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(
            check(&format!("a:\n  {}", "[".repeat(100))).unwrap_err().to_string(),
            "config has more than 64 levels of nesting by line 2; \
             split it, or leave out what is generated"
        );
        // Nothing is kept of further documents; they are not even looked for.
        let documents = format!("{GOOD}{}", times("---\n"));
        assert_eq!(check(&documents).err(), None);
    }

    #[test]
    fn the_largest_bodies_that_are_taken_need_little_stack() {
        let lines: String = (0..33_000).map(|n| format!("  key{n}: value\n")).collect();
        let nested = format!("x: {}{}\n", "[".repeat(60), "]".repeat(60));
        let aliases = format!("x: &x [{}]\ny: [{}]\n", "a, ".repeat(1000), "*x, ".repeat(ALIAS_LIMIT));
        let long = format!("x: \"{}\"\n", "a".repeat(SCALAR_LIMIT - 2));
        for part in [format!("x:\n{lines}"), nested, aliases, long] {
            let body = format!("{GOOD}{part}");
            let small = thread::Builder::new().stack_size(256 << 10);
            small.spawn(move || check(&body).unwrap()).unwrap().join().unwrap();
        }
    }

    /// What the parser makes of a value: an event for each scalar, two for each collection.
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
    fn the_count_is_never_below_what_the_parser_makes() {
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
        for _ in 0..60_000 {
            let length = random.usize(1..14);
            let text: String = (0..length).map(|_| parts[random.usize(..parts.len())]).collect();
            let Ok(counted) = Scan::new(&text).count() else {
                continue;
            };
            // A document that is empty is a null that nobody wrote.
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

    #[test]
    fn no_mutation_of_a_config_makes_it_panic_or_hang() {
        let pieces = [
            "[",
            "]",
            "{",
            "}",
            ": ",
            "- ",
            "\"",
            "'",
            "|\n",
            ">\n",
            "&a ",
            "*a",
            "!!binary ",
            "<<: ",
            "\0",
            "${",
            "\n---\n",
            "? ",
            "\n",
            "\u{feff}",
            "\u{2028}",
        ];
        let mut random = fastrand::Rng::with_seed(42);
        let begun = Instant::now();
        for _ in 0..6_000 {
            let mut body = GOOD.as_bytes().to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..body.len());
                let to = (at + random.usize(..20)).min(body.len());
                let part = body[at..to].to_vec();
                match random.u8(..4) {
                    0 => drop(body.drain(at..to)),
                    1 => body[at] = random.u8(..),
                    2 => drop(body.splice(at..at, pieces[random.usize(..pieces.len())].bytes())),
                    _ => {
                        let to = random.usize(..body.len());
                        drop(body.splice(to..to, part));
                    }
                }
            }
            if let Ok(seen) = inspect(&body) {
                let made = overlay(&seen, BOTH, 1, &[]);
                assert!(serde_yaml::from_str::<Value>(&made.text).is_ok(), "{}", made.text);
            }
            last_words(&body);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}
