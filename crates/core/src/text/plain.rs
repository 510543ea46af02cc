//! Small files that people write: settings, tokens, certificates, signatures. Editors add to them what nobody sees.

use std::fmt;

/// Why the content of a file is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotText {
    /// Two bytes a character, as PowerShell and some editors on Windows write it.
    Utf16,
    /// Another encoding. The place of the first invalid byte, from 1, in lines and characters.
    NotUtf8 {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Utf16 => {
                f.write_str("is UTF-16, as PowerShell and some editors on Windows write it; save it as UTF-8")
            }
            Self::NotUtf8 { .. } => f.write_str("not UTF-8"),
        }
    }
}

/// The content without the byte order mark at its start.
///
/// # Errors
///
/// [`NotText::Utf16`], with a mark or without. Other bytes are not checked: a comment may be in any encoding.
pub fn unmarked(bytes: &[u8]) -> Result<&[u8], NotText> {
    match bytes {
        // No ASCII text has a NUL in every other byte.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [1..=255, 0, 1..=255, 0, ..] | [0, 1..=255, 0, 1..=255, ..] => {
            Err(NotText::Utf16)
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(rest),
        _ => Ok(bytes),
    }
}

/// The text in a file, without the byte order mark at its start.
///
/// # Errors
///
/// [`NotText`] for anything but UTF-8.
pub fn decode(mut bytes: Vec<u8>) -> Result<String, NotText> {
    let mark = bytes.len() - unmarked(&bytes)?.len();
    bytes.drain(..mark);
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let last = good.rsplit('\n').next().unwrap_or_default();
        NotText::NotUtf8 { line: 1 + good.matches('\n').count(), column: 1 + last.chars().count() }
    })
}

/// The text without the end of its last line and the blank lines behind it. Spaces in that line stay.
pub fn without_blank_end(text: &str) -> &str {
    let mut kept = text;
    while let Some((before, last)) = kept.rsplit_once('\n') {
        if !last.trim_matches([' ', '\t', '\r']).is_empty() {
            break;
        }
        kept = before.strip_suffix('\r').unwrap_or(before);
    }
    kept
}

/// The first character that only looks like a plain one: its number in the text, from 1, and its name.
pub fn disguise(text: &str) -> Option<(usize, &'static str)> {
    text.chars().enumerate().find_map(|(at, c)| name_of(c).map(|name| (at + 1, name)))
}

/// The name of a character that nobody can tell from a space, or that nobody can see.
fn name_of(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{a0}' => "a no-break space (U+00A0)",
        '\u{202f}' => "a narrow no-break space (U+202F)",
        '\u{2000}'..='\u{200a}' | '\u{3000}' => "a wide or narrow space that is not the plain one",
        '\u{200b}'..='\u{200f}' | '\u{2060}' => "an invisible character of zero width",
        '\u{feff}' => "a byte order mark in the middle (U+FEFF)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_left_out_and_utf_16_is_named() {
        assert_eq!(decode(b"\xef\xbb\xbfa: b\r\n".to_vec()), Ok("a: b\r\n".to_owned()));
        assert_eq!(decode(b"\xef\xbb\xbf".to_vec()), Ok(String::new()));
        // The mark is one only at the start, and once.
        assert_eq!(decode(b"\xef\xbb\xbf\xef\xbb\xbfa".to_vec()), Ok("\u{feff}a".to_owned()));
        for text in ["a: b\n", "state_dir: /x"] {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for bytes in [&little, &big] {
                assert_eq!(decode(bytes.clone()), Err(NotText::Utf16));
            }
            assert_eq!(decode([&[0xff, 0xfe], &little[..]].concat()), Err(NotText::Utf16));
            assert_eq!(decode([&[0xfe, 0xff], &big[..]].concat()), Err(NotText::Utf16));
        }
        assert_eq!(decode(b"a\n\xc3\xa4\xe4".to_vec()), Err(NotText::NotUtf8 { line: 2, column: 2 }));
        for short in [&b""[..], b"a", b"\0", b"\xef\xbb", b"a\0b"] {
            assert_eq!(unmarked(short), Ok(short));
        }
        assert_eq!(
            NotText::Utf16.to_string(),
            "is UTF-16, as PowerShell and some editors on Windows write it; save it as UTF-8"
        );
    }

    #[test]
    fn blank_lines_at_the_end_are_left_out() {
        for (text, kept) in [
            ("token", "token"),
            ("token\n", "token"),
            ("token\r\n", "token"),
            ("token\n\n\n", "token"),
            ("token\r\n \t\r\n\r\n", "token"),
            ("to \n", "to "),
            ("a\n\nb\n", "a\n\nb"),
            ("\n", ""),
            ("", ""),
            (" ", " "),
        ] {
            assert_eq!(without_blank_end(text), kept, "{text:?}");
        }
    }

    #[test]
    fn a_character_in_disguise_is_named_with_its_place() {
        assert_eq!(disguise("ä\u{a0}b"), Some((2, "a no-break space (U+00A0)")));
        assert_eq!(disguise("a\u{200b}"), Some((2, "an invisible character of zero width")));
        assert_eq!(disguise("plain\ttext ü"), None);
    }
}
