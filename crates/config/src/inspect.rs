//! The checks of an offered body and the overlay that is passed beside it. Pure: no file, no clock, no process, and
//! the body itself is never changed.
//!
//! The collector's own `validate` has the last word. What is refused here is what it would refuse or misread anyway,
//! what would cost this host too much to look at, and nothing else. What the collector does was seen on 0.149.0.
//!
//! The rooms: `scan` counts before anything is parsed, `walk` reads what the overlay needs to know, `overlay` makes it,
//! `words` makes one line of what a collector said.

mod overlay;
mod scan;
#[cfg(test)]
mod tests;
mod walk;
mod words;

pub(crate) use overlay::quoted;
pub use overlay::{Capabilities, Intake, Overlay, PROBE_CONFIG, Witness, capabilities, overlay};
pub(crate) use scan::Pieces;
use scan::Scan;
pub use scan::{ALIAS_LIMIT, DEPTH_LIMIT, DIRECTIVE_LIMIT, NODE_LIMIT, SCALAR_LIMIT};
pub use walk::{Endpoint, Inspected, Pipeline, Way};
pub use words::last_words;
use words::squeeze;

/// The largest body that is looked at, in bytes. The transports stop long before.
pub const BODY_LIMIT: usize = 64 << 20;

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

    let document = serde_yaml::Deserializer::from_str(text).next().ok_or(Refusal::Empty)?;
    let found = walk::walk(document).map_err(|error| Refusal::Malformed { cause: squeeze(&error.to_string(), 300) })?;
    found.inspected()
}

/// Finds the scalars and comments of a text that is YAML, within the limits of [`inspect`].
///
/// # Errors
///
/// [`Refusal`] if it is too large or too complex.
pub(crate) fn pieces(text: &str) -> Result<Pieces, Refusal> {
    if text.len() > BODY_LIMIT {
        return Err(Refusal::TooLarge { size: text.len(), limit: BODY_LIMIT });
    }
    Scan::new(text).pieces()
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
