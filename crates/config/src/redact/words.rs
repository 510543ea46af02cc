//! Judges names and texts: whether they name, look like or refer to a secret.

use std::ops::Range;

use otelet_core::text::shown_path;

/// The text in the place of a secret. As a plain scalar it is valid YAML anywhere.
pub const REDACTED: &str = "<redacted>";

/// The longest user and password with a slash in them that are found in a URL, in bytes.
const LONGEST_USER: usize = 256;

/// Parts that make any name the name of a secret; separators of words are removed first.
const SECRET_PARTS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "authorization",
    "credential",
    "privatekey",
    "accesskey",
    "connectionstring",
];

/// Whole words that make a name the name of a secret.
const SECRET_WORDS: &[&str] = &[
    "key",
    "keys",
    "pass",
    "pwd",
    "psk",
    "dsn",
    "datasource",
    "jwt",
    "sas",
    "sig",
    "signature",
    "cookie",
    "bearer",
    "community",
];

/// Last words that make a name harmless: the value only says where a secret is.
const HARMLESS_ENDS: &[&str] = &["file", "path", "dir", "url", "uri", "endpoint"];

/// Names with such a word that are known to be harmless: keys to route or group by.
const HARMLESS: &[&str] = &["routing_key", "partition_key", "metadata_keys", "group_by_keys"];

/// Whether a value under this name is secret.
pub fn is_secret_name(name: &str) -> bool {
    // Longer than any name: a text in the place of a name.
    if name.len() > 256 || HARMLESS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return false;
    }
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let words = split_words(name);
    if words.last().is_some_and(|last| HARMLESS_ENDS.contains(&last.as_str())) {
        return false;
    }
    SECRET_PARTS.iter().any(|part| letters.contains(part))
        || words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
}

/// The words of `api_key`, `X-Api-Key`, `apiKey` and `APIKey`, in lower case.
fn split_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let chars: Vec<char> = name.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1);
        let begins = c.is_ascii_uppercase()
            && (before.is_some_and(|c| c.is_ascii_lowercase())
                || before.is_some_and(|c| c.is_ascii_uppercase()) && after.is_some_and(char::is_ascii_lowercase));
        if begins || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if c.is_ascii_alphanumeric() {
            words.last_mut().expect("it starts with a word").push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a text only says where a secret is: `${env:NAME}`, `Bearer ${file:PATH}`, without a default.
pub(super) fn is_reference(text: &str) -> bool {
    let mut rest = text.trim();
    for scheme in ["Bearer ", "Basic ", "Token "] {
        let split = rest.get(..scheme.len());
        if split.is_some_and(|start| start.eq_ignore_ascii_case(scheme)) {
            rest = rest[scheme.len()..].trim_start();
        }
    }
    let place = |c: char| c.is_ascii_alphanumeric() || "_-./\\ ".contains(c);
    let mut references = 0;
    while let Some((reference, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
        let named = ["env:", "file:"].iter().find_map(|scheme| reference.strip_prefix(scheme)).unwrap_or(reference);
        let named = named.strip_prefix("C:").unwrap_or(named);
        if named.is_empty() || !named.chars().all(place) {
            return false;
        }
        references += 1;
        rest = after;
    }
    references > 0 && rest.is_empty()
}

/// The user, and the password if there is one, of a URL in a text.
pub(super) fn userinfo(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = text[from..].find("://") {
        let start = from + found + 3;
        let rest = &text[start..];
        let until = |end: Option<usize>| &rest[..end.unwrap_or(rest.len())];
        let authority = until(rest.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c)));
        if let Some(at) = authority.rfind('@') {
            return Some(start..start + at);
        }
        // The password may have a slash in it: then the text before the slash looks like host and port, but the port is
        // no number.
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        if port.is_some_and(|port| !port.starts_with('$') && port.parse::<u16>().is_err()) {
            let near = &rest[..rest.floor_char_boundary(LONGEST_USER)];
            let word = near.split(char::is_whitespace).next().unwrap_or_default();
            if let Some(at) = word.rfind('@') {
                return Some(start..start + at);
            }
        }
        from = start;
    }
    None
}

/// The paths of the URLs in a text.
fn url_paths(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find("://")? + 3;
        let end = |from: usize, ends: &str| {
            let found = text[from..].find(|c: char| c.is_whitespace() || ends.contains(c));
            found.map_or(text.len(), |length| from + length)
        };
        let path = end(start, "/?#\"'<>");
        let path = path..end(path, "?#\"'<>");
        // A URL within a path is a part of it, so each byte is read once.
        from = path.end;
        Some(path)
    })
}

/// The first path of a URL that is a secret: any path if `all`, else one with a token in it.
pub(super) fn secret_path(text: &str, all: bool) -> Option<Range<usize>> {
    url_paths(text).find(|path| shown_path(&text[path.clone()], all) != text[path.clone()])
}

/// A text without the secrets in the paths of its URLs.
pub(super) fn without_paths(text: String, all: bool) -> String {
    if secret_path(&text, all).is_none() {
        return text;
    }
    let (mut shown, mut done) = (String::with_capacity(text.len()), 0);
    for path in url_paths(&text) {
        shown.push_str(&text[done..path.start]);
        shown.push_str(&shown_path(&text[path.clone()], all));
        done = path.end;
    }
    shown + &text[done..]
}

/// Finds an assignment to a secret in a text: the name in `password=…`, `api_key: …`, `--token …`, `Bearer …`.
pub(super) fn assignment(text: &str) -> Option<Range<usize>> {
    words(text).find(|word| {
        let after = &text[word.end..];
        let name = &text[word.clone()];
        if name.eq_ignore_ascii_case("bearer") || name.eq_ignore_ascii_case("basic") {
            let value = after.strip_prefix(' ').map_or("", |rest| rest.split_whitespace().next().unwrap_or_default());
            if value.len() >= 8 && !value.starts_with("${") {
                return true;
            }
        }
        let after_quote = after.trim_start_matches(['"', '\'', '\\', ' ']);
        let assigned = match after_quote.strip_prefix(['=', ':']) {
            // `==` compares, `::` and `://` join, and an empty value is no secret.
            Some(value) => !value.starts_with(['=', ':', '/']) && !value.trim_start().is_empty(),
            None => name.starts_with("--") && after.starts_with(' ') && !after.trim_start().is_empty(),
        };
        let value = after_quote.trim_start_matches(['=', ':', ' ', '"', '\'']);
        // Checked last, since the value may be long: in a text of one word it would be read once for each name.
        assigned
            && is_secret_name(name)
            && !value.split_whitespace().next().is_some_and(|it| {
                is_reference(it)
                    || is_marker(it)
                    || is_public_key(name, it.trim_end_matches(['"', '\'', '}', ']', ',']))
            })
    })
}

/// Whether this is a public key of minisign under its name. A secret key may stand there by mistake; it is longer.
pub(super) fn is_public_key(name: &str, value: &str) -> bool {
    /// 42 bytes in base64.
    const LENGTH: usize = 56;
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("public_key"))
        && value.len() == LENGTH
        && value.starts_with("RW")
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

/// Whether this value was replaced before, by this or by `Secret`.
fn is_marker(value: &str) -> bool {
    [REDACTED, "<set>"].contains(&value.trim_end_matches([',', ';', '.', '}', ')', ']', '"', '\'']))
}

/// The words of a text that can be names.
pub(super) fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(part)?;
        let end = text[start..].find(|c| !part(c)).map_or(text.len(), |length| start + length);
        from = end;
        Some(start..end)
    })
}
