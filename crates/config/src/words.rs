//! Shortens a collector's last output to one line that a person can read. Pure.

/// Returns one line of at most 1 KiB that says why a collector ended, from the end of its output or from the output of
/// `validate`. That is the text behind the last `Error: `, or the line of a Go panic, or the last line logged as an
/// error, or else the last line that is not empty and no ordinary log line. Returns an empty string if the output has no
/// such line.
///
/// 0.149.0 ends its output with `Error: ` and the reason, which may take several lines. Official builds repeat it after
/// `collector server run finished with error: `.
pub fn last_words(tail: &[u8]) -> String {
    const REPEATED: &str = "collector server run finished with error: ";

    let text = harmless(&String::from_utf8_lossy(tail));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let marked = |line: &&str| ["Error: ", "panic: ", "fatal error: "].iter().any(|mark| line.starts_with(mark));
    let is_of = |line: &&str, levels: &[&str]| {
        levels
            .iter()
            .any(|level| line.contains(&format!("\t{level}\t")) || line.contains(&format!("\"level\":\"{level}\"")))
    };
    let logged = |line: &&str| is_of(line, &["error", "fatal", "panic"]);
    // A collector that was killed has said what it does, and nothing of its end.
    let calm = |line: &&&str| is_of(line, &["debug", "info", "warn"]);

    let words = if let Some(at) = lines.iter().rposition(marked) {
        match lines[at].strip_prefix("Error: ") {
            Some(first) => {
                let more = lines[at + 1..].iter().take_while(|line| !line.contains(REPEATED));
                [first].into_iter().chain(more.copied()).collect::<Vec<_>>().join(" ")
            }
            None => lines[at].to_owned(),
        }
    } else if let Some(line) = lines.iter().rfind(|line| line.contains(REPEATED)) {
        line.split_once(REPEATED).map_or("", |(_, reason)| reason).to_owned()
    } else {
        let last = lines.last().filter(|line| !calm(line));
        lines.iter().rfind(|line| logged(line)).or(last).copied().unwrap_or_default().to_owned()
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    squeeze(&shorten_lists(&words), 1024)
}

/// Removes terminal escapes and control characters; line ends and tabs stay, CR becomes a line end.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                    chars.next_if(|c| matches!(c, '@'..='~'));
                }
            }
            '\r' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            // Control characters, and characters that change the direction of the text behind them.
            _ if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {}
            _ => out.push(c),
        }
    }
    out
}

/// Shortens each `(valid values: [...])`: in a collector with all components it has a hundred names.
fn shorten_lists(text: &str) -> String {
    const BEGIN: &str = "(valid values: [";
    const MOST: usize = 8;

    let mut out = String::new();
    let mut rest = text;
    while let Some((before, list)) = rest.split_once(BEGIN) {
        let (list, after) = list.split_at(list.find(']').unwrap_or(list.len()));
        let names: Vec<&str> = list.split(' ').collect();
        out += before;
        out += BEGIN;
        out += &names[..names.len().min(MOST)].join(" ");
        if names.len() > MOST {
            out += &format!(" and {} more", names.len() - MOST);
        }
        rest = after;
    }
    out + rest
}

/// Cuts the middle out of a text longer than `limit` bytes: a message begins with the step that failed and ends with
/// the reason.
pub(crate) fn squeeze(text: &str, limit: usize) -> String {
    const CUT: &str = " ... ";

    if text.len() <= limit {
        return text.to_owned();
    }
    let head = text.floor_char_boundary((limit - CUT.len()) / 2);
    let tail = text.ceil_char_boundary(text.len() - (limit - CUT.len() - head));
    format!("{}{CUT}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_reason() {
        let words = |text: &str| last_words(text.as_bytes());

        // A port that is in use, in the words of 0.149.0.
        assert_eq!(
            words(
                "2026-11-23T18:14:28.882Z\tinfo\tservice.go:292\tShutdown complete.\t{\"a\": 1}\n\
                 Error: failed to start extensions: failed to bind to address 127.0.0.1:1: listen \
                 tcp 127.0.0.1:1: bind: address already in use\n"
            ),
            "failed to start extensions: failed to bind to address 127.0.0.1:1: listen \
             tcp 127.0.0.1:1: bind: address already in use"
        );
        // An unknown component, over several lines.
        assert_eq!(
            words(
                "Error: failed to get config: decoding failed:\n\n'receivers' unknown type: \"x\" \
                 for id: \"x\" (valid values: [a b c d e f g h i j])\n"
            ),
            "failed to get config: decoding failed: 'receivers' unknown type: \"x\" \
             for id: \"x\" (valid values: [a b c d e f g h and 2 more])"
        );
        // Official builds print the reason twice.
        let again = "2026/11/23 18:14:28 collector server run finished with error: no pipeline\n";
        assert_eq!(words(&format!("Error: no pipeline\n{again}")), "no pipeline");
        assert_eq!(words(again), "no pipeline");

        let panic = "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.f()\n";
        assert_eq!(words(panic), "panic: runtime error: index out of range");
        assert_eq!(words("Error: old\nfatal error: out of memory\n"), "fatal error: out of memory");
        let logged = "t\tinfo\ta\nt\terror\tx.go:1\tit broke\nx.f\n\t/x.go:3\nt\tinfo\tShutdown.\n";
        assert_eq!(words(logged), "t error x.go:1 it broke");
        let json = "{\"level\":\"error\",\"msg\":\"it broke\"}\n{\"level\":\"info\",\"msg\":\"x\"}\n";
        assert_eq!(words(json), "{\"level\":\"error\",\"msg\":\"it broke\"}");
        // One that was killed.
        assert_eq!(words("t\tinfo\tx.go:1\tEverything is ready.\n"), "");
        assert_eq!(words("{\"level\":\"info\",\"msg\":\"ready\"}\n"), "");
        assert_eq!(words("one\r\n\ttwo\n\n"), "two");
        assert_eq!(words(" \n\0\n"), "");
        assert_eq!(words("\u{1b}[1;31mred\u{1b}[0m\u{7} \u{202e}text"), "red text");
        assert_eq!(last_words(b"\xff\xfe broken"), "\u{fffd}\u{fffd} broken");

        let long = words(&format!("Error: begin {} end", "é".repeat(2000)));
        assert!(long.starts_with("begin é") && long.ends_with("é end"), "{long}");
        assert!((1020..=1024).contains(&long.len()), "{}", long.len());
    }
}
