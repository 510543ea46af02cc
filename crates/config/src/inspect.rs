//! The checks of an offered body. Pure: no file, no clock, no process, and the body itself is never changed.
//!
//! The collector's own `validate` has the last word. This refuses only a body that the collector would refuse or
//! misread anyway, and one that would cost this host too much to read. The collector's behaviour was observed with
//! 0.149.0.

use crate::refusal::{BODY_LIMIT, Refusal};
use crate::scan::{Pieces, Scan};
use crate::walk::{self, Inspection};
use crate::words::squeeze;
use otelet_core::text::unmarked;

/// Checks a body and reads the values that the overlay needs.
///
/// Takes time in proportion to the size of the body (15 to 150 ns a byte) with its aliases written out, less than 256
/// KiB of stack and the memory named at [`NODE_LIMIT`](crate::NODE_LIMIT).
///
/// The collector accepts a byte order mark, CR or CRLF as line ends, tabs after a colon, anchors, merge keys, unknown
/// tags and keys written as `service::pipelines`, and so does this function. The collector refuses control characters
/// (even in comments), tabs as indentation, duplicate keys and an empty first document. So does this function, but it
/// leaves duplicate keys to `validate`, which names both lines. The collector silently ignores a second document; this
/// function refuses it.
///
/// # Errors
///
/// [`Refusal`]. Its text is written for the author of the config.
pub fn inspect(body: &[u8]) -> Result<Inspection, Refusal> {
    if body.len() > BODY_LIMIT {
        return Err(Refusal::TooLarge { size: body.len(), limit: BODY_LIMIT });
    }
    if let Some(refusal) = markup(body) {
        return Err(refusal);
    }
    let text = characters(body)?;
    // The parser would take a byte order mark for indentation here.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let nodes = Scan::new(text).count()?;
    if nodes == 0 {
        return Err(Refusal::Empty);
    }

    let document = serde_yaml::Deserializer::from_str(text).next().ok_or(Refusal::Empty)?;
    let found = walk::walk(document).map_err(|error| {
        let line = error.location().and_then(|at| text.lines().nth(at.line().saturating_sub(1)));
        let by_tab = line.is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'));
        let hint = if by_tab { "; a tab indents the line: write spaces" } else { "" };
        Refusal::Malformed { cause: squeeze(&error.to_string(), 300) + hint }
    })?;
    found.inspected()
}

/// The refusal of a page or another document with tags. They come from login pages, proxies and stores, with status 200.
pub fn markup(body: &[u8]) -> Option<Refusal> {
    /// Where a page must say what it is, in bytes.
    const HEAD: usize = 4096;
    /// The longest title that is repeated, in bytes.
    const TITLE: usize = 80;

    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    // A config may begin with the merge key `<<`.
    let is_tag = matches!(body, [b'<', b'!' | b'?' | b'a'..=b'z' | b'A'..=b'Z', ..]);
    if !is_tag {
        return None;
    }
    let head = String::from_utf8_lossy(&body[..body.len().min(HEAD)]);
    let lower = head.to_ascii_lowercase();
    let is_page = ["<!doctype html", "<html", "<head", "<body", "<title", "<script", "<meta"]
        .iter()
        .any(|tag| lower.contains(tag));
    if !is_page {
        return Some(Refusal::Xml);
    }
    let between = || {
        let from = lower.find("<title")?;
        let from = from + lower[from..].find('>')? + 1;
        let to = from + lower[from..].find('<')?;
        let title: String = head[from..to].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words = title.split_whitespace().collect::<Vec<_>>().join(" ");
        (!words.is_empty()).then(|| format!(", its title is {:?}", squeeze(&words, TITLE)))
    };
    Some(Refusal::WebPage { titled: between().unwrap_or_default() })
}

/// Finds the scalars and comments of a YAML text, within the limits of [`inspect`].
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
pub(crate) fn characters(body: &[u8]) -> Result<&str, Refusal> {
    let forms: [(&[u8], _); 4] =
        [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ", "xz"), (b"PK\x03\x04", "zip")];
    if let Some((_, form)) = forms.iter().find(|(magic, _)| body.starts_with(magic)) {
        return Err(Refusal::Compressed { form });
    }
    let line = |at: usize| 1 + body[..at].iter().filter(|byte| **byte == b'\n').count();
    unmarked(body).map_err(|_| Refusal::Utf16)?;
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
