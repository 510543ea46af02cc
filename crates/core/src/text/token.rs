//! Tells a secret in the path of a URL from an ordinary name: some services have one there, such as those for webhooks.

/// A run of letters and digits of this length, both among them, is no word of any language.
const RUN: usize = 20;

/// The same for a part with dashes and underscores in it, if it has small and capital letters too.
const PART: usize = 32;

/// The text in the place of a secret.
const HIDDEN: &str = "<redacted>";

/// Returns the path of a URL as it may be shown: without all of its parts, or without each that looks like a token.
pub fn shown_path(path: &str, hide_all: bool) -> String {
    if hide_all && path.chars().any(|c| c != '/') {
        return format!("/{HIDDEN}");
    }
    let parts: Vec<&str> = path.split('/').map(|part| if is_token(part) { HIDDEN } else { part }).collect();
    parts.join("/")
}

/// Whether a part of a path looks like a token: a long random text, a number in hex, or a UUID.
fn is_token(part: &str) -> bool {
    // In a sentence, a URL may end in the middle of one.
    let part = part.trim_end_matches([':', ',', ';', '.', ')']);
    let has = |text: &str, kind: fn(&char) -> bool| text.chars().any(|c| kind(&c));
    let run = part.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        run.len() >= RUN && has(run, char::is_ascii_digit) && has(run, char::is_ascii_alphabetic)
            || run.len() >= PART && has(run, char::is_ascii_uppercase) && has(run, char::is_ascii_lowercase)
    });
    let whole = part.len() >= PART
        && !part.contains('.')
        && [char::is_ascii_digit, char::is_ascii_uppercase, char::is_ascii_lowercase]
            .iter()
            .all(|kind| has(part, *kind));
    run || whole || is_uuid(part)
}

fn is_uuid(part: &str) -> bool {
    let groups: Vec<&str> = part.split('-').collect();
    let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_hidden_and_names_are_not() {
        for (path, shown) in [
            ("/services/T024BE7LD/B01/abcdefghij0123456789ABCD", "/services/T024BE7LD/B01/<redacted>"),
            ("/ping/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/ping/<redacted>"),
            ("/bot123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11/sendMessage", "/<redacted>/sendMessage"),
            ("/t/5f4dcc3b5aa765d61d8327deb882cf99/site.yaml", "/t/<redacted>/site.yaml"),
            ("/c/5f4dcc3b5aa765d61d8327deb882cf99.yaml", "/c/<redacted>"),
        ] {
            assert_eq!(shown_path(path, false), shown);
        }
        for name in [
            "/",
            "",
            "/v1/metrics",
            "/edge/site-12.yaml",
            "/edge-prod-eu-west-1-cluster-07/collector.yaml",
            "/Site-Config-North-Plant-2026-Hall-4-Line-2.yaml",
            "/kundenkonfigurationsverwaltung/werk7",
            "/20261130104512123456/site.yaml",
            "/agents/config-check",
        ] {
            assert_eq!(shown_path(name, false), name);
        }
        for (path, shown) in [("/edge/site-12.yaml", "/<redacted>"), ("/", "/"), ("", "")] {
            assert_eq!(shown_path(path, true), shown);
        }
    }
}
