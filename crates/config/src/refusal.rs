//! The reasons for refusing a body before the collector sees it.

use otelet_core::text::NotText;

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

    /// The body has two bytes a character.
    #[error("config {}", NotText::Utf16)]
    Utf16,

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

    /// The body is a page of HTML.
    #[error(
        "a web page came, not a config{titled}; is a login page, a captive portal or an error page in the way? Open the address in a browser, or with `curl -i`"
    )]
    WebPage {
        /// `, its title is "..."`, or nothing.
        titled: String,
    },

    /// The body is XML of another kind.
    #[error(
        "an XML document came, not a config; object stores and gateways send one with the reason of an error: look at the address with `curl -i`"
    )]
    Xml,

    /// The body is YAML or JSON, and has nothing of a config.
    #[error(
        "config has no pipelines and no other section of a config; if an error message came in its place, look at the address with `curl -i`"
    )]
    NotAConfig,

    /// The body is a part of a config. One that could have pipelines and has none is left to the collector.
    #[error("config has no pipelines; `service.pipelines` must be a mapping with at least one, such as `traces:`")]
    NoPipelines,
}

impl Refusal {
    /// Whether something else came in place of a config. A config with a mistake is one.
    pub fn is_foreign(&self) -> bool {
        match self {
            Self::WebPage { .. } | Self::Xml | Self::NotAConfig | Self::Empty => true,
            Self::TooLarge { .. }
            | Self::NotUtf8 { .. }
            | Self::Utf16
            | Self::Compressed { .. }
            | Self::ControlCharacter { .. }
            | Self::TooComplex { .. }
            | Self::SecondDocument { .. }
            | Self::Malformed { .. }
            | Self::NoPipelines => false,
        }
    }
}
