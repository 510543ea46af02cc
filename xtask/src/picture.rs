//! `cargo xtask picture`: draws the README's picture, a terminal session as SVG, light and dark, from a real run of the demo.
//!
//! The text is what the demo printed: lines are left out and shortened, never written. A picture is refused if a directory
//! or the name of this machine is in it. It has no script, no style sheet and no font of its own, so GitHub shows it as an
//! image; each run of text has its width written down, so that it looks the same in any monospaced font.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::command::run;
use crate::{Failure, Flags, places};

/// Characters in a line of the picture. GitHub shows a README some 830 pixels wide: this just fits, so it is not scaled.
const COLUMNS: usize = 100;
/// Pixels: the width of a character, between two lines, and around the text.
const CHARACTER: f64 = 7.8;
const LINE: usize = 20;
const FONT: f64 = 13.0;
const MARGIN: usize = 22;
const TITLE_BAR: usize = 38;
/// Every engine has one of these; the last is its own choice.
const FONTS: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,Liberation Mono,DejaVu Sans Mono,monospace";

/// What is shown of a step of the demo, in its order: which lines of the agent, and which of what was seen.
const STEPS: [(Pick, Pick); 6] = [
    (Pick::Last(5), Pick::Last(1)),
    (Pick::Last(1), Pick::Last(1)),
    (Pick::Warnings, Pick::Last(2)),
    (Pick::Warnings, Pick::Last(1)),
    (Pick::Warnings, Pick::Last(1)),
    (Pick::Warnings, Pick::First(1)),
];

/// A choice of lines.
#[derive(Debug, Clone, Copy)]
enum Pick {
    First(usize),
    Last(usize),
    /// Those that warn, without the restart that follows at once.
    Warnings,
}

/// Runs the verb.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let mut from = None;
    let mut flags = Flags::new("picture", args);
    while let Some(name) = flags.next_name() {
        match name {
            "--from" => from = Some(flags.value(name)?.to_owned()),
            _ => return Err(flags.unknown(name)),
        }
    }
    let transcript = match from {
        Some(path) => fs::read_to_string(&path).map_err(|cause| format!("{path}: cannot read: {cause}"))?,
        None => play()?,
    };
    let lines = session(&transcript)?;
    leaks_nothing(&lines)?;
    for (name, palette) in [("light", &LIGHT), ("dark", &DARK)] {
        let path = places::root().join(format!("docs/demo-{name}.svg"));
        fs::write(&path, svg(&lines, palette)).map_err(|cause| format!("{}: cannot write: {cause}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// The demo's own output, whole lines, and kept in `target/` to draw from it again.
fn play() -> Result<String, String> {
    let xtask = std::env::current_exe().map_err(|cause| format!("this program cannot be found: {cause}"))?;
    let mut demo = Command::new(xtask);
    // An xtask that runs another one: cargo's variables are still right for it.
    demo.args(["demo", "--exit", "--whole-lines"]).current_dir(places::root()).env("NO_COLOR", "1");
    let ran = run("the demo", &mut demo)?;
    if !ran.ok() {
        return Err(format!("the demo failed\n{}", ran.output));
    }
    let kept = places::target().join("demo.txt");
    fs::write(&kept, &ran.stdout).map_err(|cause| format!("{}: cannot write: {cause}", kept.display()))?;
    println!("drawn from {}, which `--from` draws again", kept.display());
    Ok(ran.stdout)
}

/// A line of the picture.
#[derive(Debug, Clone, PartialEq)]
enum Line {
    Prompt(String),
    Step(String),
    /// Of the agent's log: its level and its text.
    Log(String, String),
    Seen(String),
    Blank,
}

/// Chooses and shortens the lines.
fn session(transcript: &str) -> Result<Vec<Line>, String> {
    let mut lines = vec![Line::Prompt("cargo xtask demo --exit".to_owned())];
    let (story, _) = transcript.split_once("\nSummary").ok_or("the demo's output has no summary: did it end early?")?;
    let mut steps = Vec::new();
    for line in story.lines() {
        let number = format!("{}. ", steps.len() + 1);
        if line.starts_with(&number) {
            steps.push((line, Vec::new(), Vec::new()));
        } else if let Some((_, log, seen)) = steps.last_mut() {
            if let Some(text) = line.trim_start().strip_prefix("agent | ") {
                log.push(text);
            } else if let Some(text) = line.trim_start().strip_prefix("seen: ") {
                seen.push(text);
            }
        }
    }
    if steps.len() != STEPS.len() {
        return Err(format!("the demo has {} steps, the picture knows {}: see STEPS", steps.len(), STEPS.len()));
    }
    for ((heading, log, seen), (of_log, of_seen)) in steps.iter().zip(STEPS) {
        lines.push(Line::Blank);
        lines.push(Line::Step((*heading).to_owned()));
        for text in picked(log, of_log) {
            let (level, text) = text.split_once(' ').unwrap_or((text, ""));
            lines.push(Line::Log(level.to_owned(), shortened(text.trim_start(), COLUMNS - 9)));
        }
        lines.extend(picked(seen, of_seen).map(|text| Line::Seen(shortened(text, COLUMNS - 9))));
    }
    Ok(lines)
}

fn picked<'a>(lines: &'a [&'a str], pick: Pick) -> impl Iterator<Item = &'a str> {
    let range = match pick {
        Pick::First(count) => 0..count.min(lines.len()),
        Pick::Last(count) => lines.len().saturating_sub(count)..lines.len(),
        Pick::Warnings => 0..lines.len(),
    };
    let warnings = matches!(pick, Pick::Warnings);
    let shown = move |line: &&str| !warnings || (line.starts_with("WARN") && !line.contains(" restart "));
    lines[range].iter().copied().filter(shown)
}

/// Cuts a text to `width` characters: first what stands in brackets, then its middle, at spaces, so that its beginning
/// and its end stay.
fn shortened(text: &str, width: usize) -> String {
    let fits = |text: &str| text.chars().count() <= width;
    if fits(text) {
        return text.to_owned();
    }
    let text = without_asides(text);
    if fits(&text) {
        return text;
    }
    let words: Vec<&str> = text.split(' ').collect();
    let length = |words: &[&str]| words.iter().map(|word| word.chars().count() + 1).sum::<usize>();
    // The beginning says which config, the end says the reason and what follows from it.
    let heads = || (1..words.len()).take_while(|&count| length(&words[..count]) <= width / 2);
    let whole = |count: &usize| words[count - 1].ends_with([':', ';']);
    let head = heads().filter(whole).last().or_else(|| heads().last()).unwrap_or(1);
    let room = width.saturating_sub(length(&words[..head]) + 2);
    let tail = (head..words.len()).find(|&from| length(&words[from..]) <= room + 1).unwrap_or(words.len());
    format!("{} … {}", words[..head].join(" "), words[tail..].join(" ")).trim_end().to_owned()
}

/// A text without parentheses and objects, and the space before each.
fn without_asides(text: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' if depth > 0 => depth -= 1,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        if matches!(c, '(' | '{') && out.ends_with(' ') {
            out.pop();
        }
    }
    out
}

/// # Errors
///
/// The line that names a directory of this machine, or the machine.
fn leaks_nothing(lines: &[Line]) -> Result<(), String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let root = places::root().display().to_string();
    let folder = std::env::temp_dir().display().to_string();
    for line in lines {
        let (Line::Prompt(text) | Line::Step(text) | Line::Log(_, text) | Line::Seen(text)) = line else { continue };
        let named = [root.as_str(), folder.as_str(), home.trim_end_matches('/')]
            .into_iter()
            .find(|path| path.len() > 1 && text.contains(path))
            .or_else(|| text.split(|c: char| !c.is_alphanumeric() && c != '-').find(|word| *word == host.trim()));
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            return Err(format!("the picture would show {named:?} of this machine: {text}"));
        }
    }
    Ok(())
}

/// Colours, as CSS has them.
struct Palette {
    page: &'static str,
    bar: &'static str,
    edge: &'static str,
    text: &'static str,
    quiet: &'static str,
    good: &'static str,
    warn: &'static str,
    accent: &'static str,
}

const LIGHT: Palette = Palette {
    page: "#ffffff",
    bar: "#f6f8fa",
    edge: "#d1d9e0",
    text: "#1f2328",
    quiet: "#59636e",
    good: "#1a7f37",
    warn: "#9a6700",
    accent: "#0969da",
};

const DARK: Palette = Palette {
    page: "#0d1117",
    bar: "#151b23",
    edge: "#3d444d",
    text: "#e6edf3",
    quiet: "#9198a1",
    good: "#3fb950",
    warn: "#d29922",
    accent: "#4493f8",
};

fn svg(lines: &[Line], colours: &Palette) -> String {
    let width = (COLUMNS as f64 * CHARACTER).ceil() as usize + 2 * MARGIN;
    let height = TITLE_BAR + MARGIN + lines.iter().map(height_of).sum::<usize>() + MARGIN / 2;
    let Palette { page, bar, edge, quiet, .. } = colours;
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-family="{FONTS}" font-size="{FONT}">
<!-- Made by `cargo xtask picture` from a run of the demo: do not edit. -->
<title>The demo applies a good config, refuses a broken one, rolls back one that fails, and restarts a killed Collector.</title>
<rect x="0.5" y="0.5" width="{}" height="{}" rx="10" fill="{page}" stroke="{edge}"/>
<path d="M0.5 {TITLE_BAR}V10.5a10 10 0 0 1 10-10H{}a10 10 0 0 1 10 10V{TITLE_BAR}Z" fill="{bar}" stroke="{edge}"/>
<circle cx="{MARGIN}" cy="19" r="5.5" fill="#ff5f57"/><circle cx="{}" cy="19" r="5.5" fill="#febc2e"/><circle cx="{}" cy="19" r="5.5" fill="#28c840"/>
<text x="{}" y="23" text-anchor="middle" font-size="12" fill="{quiet}">otelet, and an OpenTelemetry Collector</text>
"##,
        width - 1,
        height - 1,
        width as f64 - 10.5,
        MARGIN + 20,
        MARGIN + 40,
        width / 2,
    );
    let mut y = TITLE_BAR + MARGIN + 4;
    for line in lines {
        draw(&mut out, line, y, colours);
        y += height_of(line);
    }
    out.push_str("</svg>\n");
    out
}

/// An empty line separates, and needs no line for it.
fn height_of(line: &Line) -> usize {
    if *line == Line::Blank { LINE * 3 / 5 } else { LINE }
}

fn draw(out: &mut String, line: &Line, y: usize, colours: &Palette) {
    let Palette { text: plain, quiet, good, warn, accent, .. } = colours;
    match line {
        Line::Blank => {}
        Line::Prompt(text) => {
            put(out, 0, y, "$", good, true);
            put(out, 2, y, text, plain, true);
        }
        Line::Step(text) => {
            let (number, name) = text.split_once(' ').unwrap_or((text, ""));
            put(out, 0, y, number, accent, true);
            put(out, 3, y, name, plain, true);
        }
        Line::Log(level, text) => {
            let (colour, words) = if level == "INFO" { (quiet, quiet) } else { (warn, plain) };
            put(out, 3, y, level, colour, level != "INFO");
            put(out, 9, y, text, words, false);
        }
        Line::Seen(text) => {
            // A tick that is drawn: not every font has one.
            let (x, y) = (column(4), y as f64);
            let _ = writeln!(
                out,
                r#"<path d="M{:.1} {:.1}l3 3.4l6-7.6" fill="none" stroke="{good}" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"/>"#,
                x + 1.0,
                y - 4.2
            );
            put(out, 9, y as usize, text, good, false);
        }
    }
}

/// Where a column begins, in pixels.
fn column(column: usize) -> f64 {
    MARGIN as f64 + column as f64 * CHARACTER
}

fn put(out: &mut String, at: usize, y: usize, text: &str, colour: &str, bold: bool) {
    let length = text.chars().count() as f64 * CHARACTER;
    let weight = if bold { r#" font-weight="600""# } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        r#"<text x="{:.1}" y="{y}" textLength="{length:.1}" lengthAdjust="spacingAndGlyphs" fill="{colour}"{weight}>{text}</text>"#,
        column(at)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of the demo, as it was printed.
    const TRANSCRIPT: &str = "\
otelet demo: a small agent keeps a real Collector running, whatever comes
   agent      /home/somebody/target/release/otelet, 3.46 MiB

1. a good config is applied, and data flows
     agent | INFO  config source: http://127.0.0.1:44087/config.yaml
     agent | INFO  config b9e813fb offered; validating it
     agent | INFO  config b9e813fb is valid; changing to it
     agent | INFO  collector started: pid 12649, config b9e813fb, watched by health_check
     agent | INFO  collector healthy: config b9e813fb, 51ms after its start
     agent | INFO  config b9e813fb applied; it has survived its probation
   seen: applied, and the last good config after 3.3 s: collector pid 12649, watched by health_check
   seen: 12 data points, one export each 5.0 s; memory in use on this host: 1.31 GiB

2. a better config is applied, and other data flows
     agent | INFO  config 7342279a applied; it has survived its probation
   seen: applied; one export each 999 ms now; load 8.70, memory in use 1.65 GiB

3. a broken config is refused; nothing stops
     agent | INFO  config 8eb23e71 offered; validating it
     agent | WARN  config 8eb23e71 refused: failed to get config: cannot unmarshal the configuration: decoding failed due to the following error(s): 'receivers' unknown type: \"hostmetricz\" for id: \"hostmetricz\" (valid values: [otlp hostmetrics file_log filelog]); staying on 7342279a
   seen: refused, in the collector's own words: unknown type: \"hostmetricz\" & <more>
   seen: pid 13177 runs on, and its data keeps coming

4. a config that validates and then dies is rolled back
     agent | WARN  collector exited: code 1 after 70ms; its last words: cannot start pipelines
     agent | WARN  collector restart 1 in 0s
   seen: the better config runs again; its data, due each second, paused for 1.2 s

5. the collector is killed with -9, and comes back
     agent | WARN  collector exited: signal 9 (SIGKILL) after 2.1s; its last words: 2026-11-29T23:11:33.243Z info service.go:264 Everything is ready. Begin running. {\"resource\": {\"host.name\": \"vm\"}}
   seen: pid 13938 is up and healthy after 70 ms; data again after 1.0 s

6. the config server goes away; telemetry does not
     agent | WARN  config poll failed: Connection refused (os error 111); next try in 1.1s, still on 7342279a
   seen: 2 polls failed; 3 exports came meanwhile
   seen: the server is back; the agent asked again after 348 ms

Summary
   agent's binary                         3.46 MiB
";

    fn text(line: &Line) -> &str {
        match line {
            Line::Prompt(text) | Line::Step(text) | Line::Log(_, text) | Line::Seen(text) => text,
            Line::Blank => "",
        }
    }

    #[test]
    fn each_step_is_shown_and_no_line_is_too_long() {
        let lines = session(TRANSCRIPT).unwrap_or_else(|reason| panic!("{reason}"));

        assert_eq!(lines.iter().filter(|line| matches!(line, Line::Step(_))).count(), 6);
        assert!(lines.iter().all(|line| text(line).chars().count() <= COLUMNS - 9), "{lines:#?}");
        let all: Vec<&str> = lines.iter().map(text).collect();
        assert!(!all.iter().any(|line| line.contains("config source") || line.contains("restart 1")), "{all:#?}");
        assert!(!all.concat().contains("/home/somebody"), "{all:#?}");
        let refused = all.iter().find(|line| line.starts_with("config 8eb23e71 refused")).unwrap();
        assert!(refused.contains("\"hostmetricz\"") && refused.ends_with("staying on 7342279a"), "{refused}");
        let killed = all.iter().find(|line| line.contains("signal 9")).unwrap();
        assert!(killed.ends_with("Begin running."), "{killed}");
        assert_eq!(all.last(), Some(&"2 polls failed; 3 exports came meanwhile"));
    }

    #[test]
    fn another_number_of_steps_is_an_error_and_not_a_smaller_picture() {
        let less = TRANSCRIPT.replace("6. the config server", "the config server");
        assert!(session(&less).unwrap_err().contains("5 steps"));
    }

    #[test]
    fn the_picture_is_well_formed_and_brings_nothing_with_it() {
        let lines = session(TRANSCRIPT).unwrap();
        for palette in [&LIGHT, &DARK] {
            let picture = svg(&lines, palette);
            assert!(picture.contains("&amp; &lt;more&gt;"), "{picture}");
            assert_eq!(picture.matches("<text ").count(), picture.matches("</text>").count());
            let comment = picture.split_once("<!--").and_then(|(_, rest)| rest.split_once("-->")).unwrap().0;
            assert!(!comment.contains("--"), "XML takes no two hyphens in a comment: {comment}");
            for word in ["<script", "<style", "href", "@font-face", "url("] {
                assert!(!picture.contains(word), "{word}");
            }
        }
    }

    #[test]
    fn the_readme_shows_both_pictures_and_has_at_most_8_kib() {
        let readme = fs::read_to_string(places::root().join("README.md")).unwrap();
        for name in ["docs/demo-light.svg", "docs/demo-dark.svg"] {
            assert!(readme.contains(name), "README.md does not show {name}");
            assert!(places::root().join(name).is_file(), "{name} is missing: cargo xtask picture");
        }
        assert!(readme.len() <= 8192, "README.md has {} bytes; move a part to docs/", readme.len());
    }

    #[test]
    fn a_line_that_names_a_directory_of_this_machine_is_refused() {
        let root = places::root().display().to_string();
        assert!(leaks_nothing(&[Line::Seen(format!("{root}/target/release/otelet"))]).is_err());
        assert!(leaks_nothing(&session(TRANSCRIPT).unwrap()).is_ok());
    }
}
