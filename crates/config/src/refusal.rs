//! The reasons for refusing a body before the collector sees it.

/// The largest body that is inspected, in bytes. The transports have lower limits.
pub const BODY_LIMIT: usize = 64 << 20;

/// Why a body is refused before the collector sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body has nothing but white space and comments.
    #[error("config is empty; an empty config never replaces a running one")]
    Empty,

    /// The body is longer than [`BODY_LIMIT`].
    #[error("config is {size} bytes, the most taken is {limit}")]
    TooLarge {
        /// The body's size in bytes.
        size: usize,
        /// The limit that it exceeds, in bytes.
        limit: usize,
    },

    /// The body is a compressed file, as object stores keep them. A server that says so is understood.
    #[error(
        "config is compressed ({form}); store it as plain text{}",
        if *form == "gzip" { ", or let the server say content-encoding: gzip" } else { "" }
    )]
    Compressed {
        /// The name of the form.
        form: &'static str,
    },

    /// The body is not UTF-8. The collector would take UTF-16 too, but most programs that handle configs on their way
    /// would not.
    #[error("config is not UTF-8 at byte {at} (line {line}); save it as UTF-8")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        at: usize,
        /// The line of that byte, from 1.
        line: usize,
    },

    /// The body has a control character, which YAML forbids even in comments.
    #[error(
        "config has the control character U+{character:04X} on line {line}; YAML takes it only as an escape in double quotes"
    )]
    ControlCharacter {
        /// The Unicode code point of the character.
        character: u32,
        /// The line of the character, from 1.
        line: usize,
    },

    /// The body has more nodes, levels or aliases than any real config: it may be a YAML bomb.
    #[error("config has more than {limit} {what} by line {line}; split it, or leave out what is generated")]
    TooComplex {
        /// The thing that is counted, in the plural.
        what: &'static str,
        /// The most that is accepted.
        limit: usize,
        /// The line where the limit was passed, from 1.
        line: usize,
    },

    /// The body has a second document. The collector would read the first and silently ignore the others.
    #[error(
        "config has a second YAML document on line {line}, which the collector would ignore; join the two or remove the `---`"
    )]
    SecondDocument {
        /// The line of its `---` (or of the `...` before it), from 1.
        line: usize,
    },

    /// The body is not well-formed YAML.
    #[error("config is not well-formed YAML: {cause}")]
    Malformed {
        /// The parser's message, with line and column.
        cause: String,
    },

    /// The body is YAML, but not a config of a collector.
    #[error("config has no pipelines; `service.pipelines` must be a mapping with at least one, such as `traces:`")]
    NoPipelines,
}
