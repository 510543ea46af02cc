//! Splits Rust source into words and comments, for the checks that read source as text. It knows strings, characters,
//! lifetimes and nested comments, and nothing of grammar.

/// The kind of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name or keyword; `r#` is removed.
    Name,
    /// `::`, or one character.
    Mark,
    /// A string; its text is the content between the quotes, escapes as written.
    Text,
    /// A number, character or lifetime.
    Other,
}

/// A word of a source file.
#[derive(Debug, Clone)]
pub struct Word {
    pub kind: Kind,
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

impl Word {
    /// Whether this is the name, keyword or mark `text`.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Name | Kind::Mark) && self.text == text
    }
}

/// One line of a comment, without its marks.
#[derive(Debug, Clone)]
pub struct Comment {
    /// Counted from 1.
    pub line: usize,
    /// The mark it begins with: `//`, `///`, `//!` or `/*`.
    pub mark: &'static str,
    pub text: String,
    /// Whether code stands before it on its line.
    pub after_code: bool,
}

/// The words and comments of `source`.
pub fn split(source: &str) -> (Vec<Word>, Vec<Comment>) {
    let mut reader = Reader { rest: source, line: 1, words: Vec::new(), comments: Vec::new() };
    reader.read();
    (reader.words, reader.comments)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    words: Vec<Word>,
    comments: Vec<Comment>,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        while let Some(first) = self.rest.chars().next() {
            if first.is_whitespace() {
                self.take(first.len_utf8());
            } else if self.rest.starts_with("//") {
                self.line_comment();
            } else if self.rest.starts_with("/*") {
                self.block_comment();
            } else if let Some((prefix, hashes)) = string_start(self.rest) {
                self.string(prefix, hashes);
            } else if first == '\'' {
                self.character_or_lifetime();
            } else if let Some(rest) = self.rest.strip_prefix("r#").filter(|rest| rest.starts_with(is_name)) {
                let length = name_length(rest);
                self.take(2);
                self.push(Kind::Name, length);
            } else if first.is_ascii_digit() {
                self.number();
            } else if is_name(first) {
                self.push(Kind::Name, name_length(self.rest));
            } else if self.rest.starts_with("::") {
                self.push(Kind::Mark, 2);
            } else {
                self.push(Kind::Mark, first.len_utf8());
            }
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let line = self.line;
        let text = self.take(length).to_owned();
        self.words.push(Word { kind, text, line });
    }

    fn line_comment(&mut self) {
        let length = self.rest.find('\n').unwrap_or(self.rest.len());
        let after_code = self.words.last().is_some_and(|word| word.line == self.line);
        let line = self.line;
        let text = self.take(length);
        // Four slashes are an ordinary comment.
        let mark = match text.as_bytes().get(2) {
            Some(b'/') if !text.starts_with("////") => "///",
            Some(b'!') => "//!",
            _ => "//",
        };
        let text = text.get(mark.len()..).unwrap_or("").trim().to_owned();
        self.comments.push(Comment { line, mark, text, after_code });
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        let mut at = 0;
        while let Some(rest) = self.rest.get(at..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with("/*") {
                depth += 1;
                at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            } else {
                at += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
        let after_code = self.words.last().is_some_and(|word| word.line == self.line);
        let line = self.line;
        let text = self.take(at);
        for (offset, part) in text.lines().enumerate() {
            let part = part.trim().trim_start_matches("/*").trim_end_matches("*/").trim_start_matches('*').trim();
            self.comments.push(Comment { line: line + offset, mark: "/*", text: part.to_owned(), after_code });
        }
    }

    fn string(&mut self, prefix: usize, hashes: Option<usize>) {
        let line = self.line;
        self.take(prefix);
        let (length, end) = match hashes {
            Some(hashes) => {
                let end = format!("\"{}", "#".repeat(hashes));
                (self.rest.find(&end).unwrap_or(self.rest.len()), end.len())
            }
            None => (escaped_length(self.rest, '"'), 1),
        };
        let text = self.take(length).to_owned();
        self.take(end.min(self.rest.len()));
        self.words.push(Word { kind: Kind::Text, text, line });
    }

    fn character_or_lifetime(&mut self) {
        let mut chars = self.rest.chars().skip(1);
        let (first, second) = (chars.next(), chars.next());
        let length = if first == Some('\\') || second == Some('\'') {
            let inner = self.rest.get(1..).map_or(0, |rest| escaped_length(rest, '\''));
            (inner + 2).min(self.rest.len())
        } else {
            1 + self.rest.get(1..).map_or(0, name_length)
        };
        self.push(Kind::Other, length);
    }

    fn number(&mut self) {
        let mut length = name_length(self.rest);
        // `1.5` is one number; `1..5` and `1.max(2)` are not.
        let fraction = self.rest.get(length..).and_then(|rest| rest.strip_prefix('.'));
        if let Some(fraction) = fraction.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            length += 1 + name_length(fraction);
        }
        self.push(Kind::Other, length);
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn name_length(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// The length of `text` up to the quote that closes it.
fn escaped_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// Where a string begins here: the length up to and with its first quote, and the hashes of a raw one.
fn string_start(text: &str) -> Option<(usize, Option<usize>)> {
    let letters = text.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let prefix = text.get(..letters)?;
    if !["", "b", "c", "r", "br", "cr"].contains(&prefix) {
        return None;
    }
    let rest = text.get(letters..)?;
    let hashes = if prefix.ends_with('r') { rest.find(|c| c != '#')? } else { 0 };
    let quoted = rest.get(hashes..)?.starts_with('"');
    quoted.then_some((letters + hashes + 1, prefix.ends_with('r').then_some(hashes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        split(source).0.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn comments_and_strings_are_not_names() {
        let source = "a /* b /* c */ d */ \"e // \\\" f\" r#\"g \" h\"# 'i' b'\\'' 'j k::l // m\n1.5..2";
        assert_eq!(
            words(source),
            ["a", "e // \\\" f", "g \" h", "'i'", "b", "'\\''", "'j", "k", "::", "l", "1.5", ".", ".", "2"]
        );
        let kinds: Vec<Kind> = split("crate \"crate\"").0.into_iter().map(|word| word.kind).collect();
        assert_eq!(kinds, [Kind::Name, Kind::Text]);
    }

    #[test]
    fn comments_keep_their_line_and_mark() {
        let comments = split("//! One.\n\nfn f() {} // Two.\n/// Three.\n//// Four.\n").1;
        let seen: Vec<(usize, &str, &str, bool)> =
            comments.iter().map(|one| (one.line, one.mark, one.text.as_str(), one.after_code)).collect();
        assert_eq!(
            seen,
            [
                (1, "//!", "One.", false),
                (3, "//", "Two.", true),
                (4, "///", "Three.", false),
                (5, "//", "// Four.", false)
            ]
        );
    }
}
