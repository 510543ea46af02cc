//! The reasons why a body is not given to the collector.

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
