//! Tells whether two configs differ in comments and blank lines alone, so that nothing has to be started anew.
//!
//! Scalars are compared byte for byte: in a block scalar or between quotes a `#` and an empty line are content. The
//! text between the scalars is compared without comments, blank lines and white space at the ends of lines. Everything
//! else counts as a difference, even where YAML knows none, such as the indentation or the kind of quotes.

use crate::inspect::{characters, pieces};

/// Whether the bodies differ in comments and blank lines alone. A body that [`inspect`](crate::inspect) refuses is like
/// no other.
pub fn alike(one: &[u8], other: &[u8]) -> bool {
    matches!((essence(one), essence(other)), (Some(one), Some(other)) if one == other)
}

/// The text without its comments and blank lines; none if it is not a config.
fn essence(body: &[u8]) -> Option<Vec<u8>> {
    let text = characters(body).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = pieces(text).ok()?;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut comments = found.comments.into_iter().peekable();
    let (mut at, mut fixed) = (0, 0);
    for scalar in found.scalars.into_iter().map(Some).chain([None]) {
        let until = scalar.as_ref().map_or(bytes.len(), |scalar| scalar.start);
        while let Some(comment) = comments.next_if(|comment| comment.start < until) {
            between(bytes.get(at..comment.start)?, fixed, &mut out);
            at = comment.end;
        }
        between(bytes.get(at..until)?, fixed, &mut out);
        let Some(scalar) = scalar else { break };
        // The line breaks and blanks that end a block scalar may belong to it.
        let is_block = matches!(bytes[scalar.start], b'|' | b'>');
        let blanks =
            if is_block { bytes[scalar.end..].iter().take_while(|it| it.is_ascii_whitespace()).count() } else { 0 };
        at = scalar.end + blanks;
        out.extend_from_slice(&bytes[scalar.start..at]);
        fixed = out.len();
    }
    trim(fixed, &mut out);
    if out.len() > fixed && out.last() == Some(&b'\n') {
        out.pop();
    }
    Some(out)
}

/// Adds the text between two scalars. The text before `fixed` belongs to a scalar and is not trimmed.
fn between(text: &[u8], fixed: usize, out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'\r' | b'\n' => {
                trim(fixed, out);
                // Only the first of several breaks, and none in front of everything.
                if !out.is_empty() && (out.len() == fixed || out.last() != Some(&b'\n')) {
                    out.push(b'\n');
                }
            }
            byte => out.push(*byte),
        }
    }
}

/// Removes blanks at the end of a line.
fn trim(fixed: usize, out: &mut Vec<u8>) {
    while out.len() > fixed && matches!(out.last(), Some(b' ' | b'\t')) {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        "receivers:\n  otlp:\n    protocols: {grpc: , http: }\nexporters:\n  otlp: {endpoint: \"a#b:1\"}\n";

    #[test]
    fn comments_and_blank_lines_make_no_difference() {
        for other in [
            format!("# rendered at 2026-11-30T04:00:00Z\n{CONFIG}"),
            format!("\n\n{CONFIG}\n\n# the end"),
            CONFIG.replace("  otlp:\n", "  # of the host\n\n  otlp: # all of it\n"),
            CONFIG.replace("receivers:", "receivers:   "),
            CONFIG.replace('\n', "\r\n"),
            format!("\u{feff}{CONFIG}"),
            CONFIG.trim_end().to_owned() + " # no line break",
            CONFIG.replace("{grpc: , ", "{grpc: , # not yet\n      "),
        ] {
            let same = alike(CONFIG.as_bytes(), other.as_bytes());
            // A line break in a flow mapping is the one that is not seen through.
            assert_eq!(same, !other.contains("not yet"), "{other}");
        }
    }

    #[test]
    fn everything_else_does() {
        for (one, other) in [
            ("a: b", "a: c"),
            ("a: b", "a: 'b'"),
            ("a:\n  b: c", "a:\nb: c"),
            ("a: 'x # y'", "a: 'x'"),
            ("a: x#y", "a: x"),
            ("a: \"x\n\n  y\"", "a: \"x\n  y\""),
            ("a: x\n\n  y", "a: x\n  y"),
            ("a: |\n  x\n  # no comment\n", "a: |\n  x\n"),
            ("a: |\n  x\n\n  y\n", "a: |\n  x\n  y\n"),
            ("a: |+\n  x\n\n\nb: c", "a: |+\n  x\n\nb: c"),
            ("a: |+\n  x\n\n", "a: |+\n  x\n"),
            ("a: |\n  x \n", "a: |\n  x\n"),
            ("a: >\n  x\n", "a: |\n  x\n"),
            ("a: &b c", "a: c"),
            ("a: ${env:X}", "a: ${env:Y}"),
            ("a: !!str 1", "a: 1"),
            ("- a\n- b", "- b\n- a"),
            ("a:", "a: b"),
        ] {
            assert!(!alike(one.as_bytes(), other.as_bytes()), "{one:?}, {other:?}");
            assert!(alike(one.as_bytes(), one.as_bytes()), "{one:?}");
        }
    }

    #[test]
    fn a_body_that_is_no_config_is_like_no_other() {
        assert!(!alike(b"a: \xff", b"a: \xff"));
        assert!(!alike(b"a: b\n---\nc: d", b"a: b\n---\nc: d"));
    }
}
