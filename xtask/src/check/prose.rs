//! Counts sentences of comments and Markdown that open with a clause in place of a noun: "What was read", "Those of the
//! host". Readers stop at them, and nobody in the field writes so. It is a smoke alarm: a low figure does not make good prose.
//!
//! Questions are left out, and so are the openings that have a place in plain English: whether, where, when, if, how, why.
//! Code, tables and headings are not read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::check::Outcome;
use crate::command::run;
use crate::rust::{self, Comment};
use crate::{Failure, Flags, places};

/// The percentage of headless openings at which the step fails, of comments and of docs each.
const LIMIT: f64 = 3.0;

/// Openings that are always headless outside a question.
const HEADLESS: [&str; 9] =
    ["what", "whatever", "whatsoever", "who", "whoever", "whom", "whomever", "whose", "whichever"];

/// Words that make an opening "that" or "those" stand for a noun that is not there: "That for ARM64 was never run".
/// "Those hosts are" and "that is" have their noun.
const AFTER_THAT: [&str; 20] = [
    "about", "at", "behind", "below", "between", "by", "for", "from", "in", "not", "of", "on", "that", "to", "under",
    "which", "who", "whose", "with", "without",
];

/// A doc comment of at most this many words most often repeats the name below it.
const FEW_WORDS: usize = 4;
/// The most characters of a commit's subject.
const SUBJECT: usize = 60;
/// The commit after which subjects are counted: the rule is younger than the commits before it.
const SUBJECTS_SINCE: &str = "6861835";
/// The files named as the worst.
const WORST: usize = 5;

/// Runs the step.
pub fn step() -> Outcome {
    match Prose::read(&places::root()) {
        Ok(prose) if prose.is_plain() => Outcome::Passed(prose.figures()),
        Ok(prose) => Outcome::Failed(format!("error: {}\n{}\n{}", too_many(), prose.figures(), prose.worst())),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Runs the verb `prose`.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let mut root = places::root();
    let mut list = false;
    let mut below = Vec::new();
    let mut flags = Flags::new("prose", args);
    while let Some(name) = flags.next_name() {
        match name {
            "--dir" => root = flags.value(name)?.into(),
            "--list" => list = true,
            path if !path.starts_with('-') => below.push(path.trim_end_matches('/')),
            _ => return Err(flags.unknown(name)),
        }
    }
    let mut prose = Prose::read(&root)?;
    if !below.is_empty() {
        prose.files.retain(|name, _| below.iter().any(|path| Path::new(name).starts_with(path)));
    }
    if list {
        for (name, file) in &prose.files {
            for sentence in &file.headless {
                println!("{name}:{}: {}", sentence.line, sentence.text);
            }
        }
    }
    println!("{}\n{}", prose.worst(), prose.figures());
    if prose.is_plain() { Ok(()) } else { Err(Failure::Failed(too_many())) }
}

fn too_many() -> String {
    format!(
        "{LIMIT} % or more of the sentences of comments or docs open headless; `cargo xtask prose --list` lists them"
    )
}

/// The sentences of a tree.
struct Prose {
    /// By path below the root.
    files: BTreeMap<String, File>,
    /// Commits since [`SUBJECTS_SINCE`], and those of them whose subject is too long; nothing without git.
    subjects: Option<(usize, usize)>,
}

#[derive(Debug, Default)]
struct File {
    sentences: usize,
    headless: Vec<Sentence>,
    /// Doc comments of few words.
    short: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sentence {
    line: usize,
    text: String,
}

impl Prose {
    fn read(root: &Path) -> Result<Prose, String> {
        let mut files = BTreeMap::new();
        for path in places::files(root)? {
            let read = match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => rust_file,
                Some("md") => markdown_file,
                _ => continue,
            };
            let text = std::fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.insert(name, read(&text));
        }
        Ok(Prose { files, subjects: subjects(root) })
    }

    /// Sentences and headless ones of the files with this ending.
    fn count(&self, ending: &str) -> (usize, usize) {
        let files = || self.files.iter().filter(|(name, _)| name.ends_with(ending)).map(|(_, file)| file);
        (files().map(|file| file.sentences).sum(), files().map(|file| file.headless.len()).sum())
    }

    fn is_plain(&self) -> bool {
        [".rs", ".md"].iter().all(|ending| percent(self.count(ending)) < LIMIT)
    }

    /// One line for the table.
    fn figures(&self) -> String {
        let share = |ending| {
            let (all, headless) = self.count(ending);
            format!("{:.1} % ({headless} of {all})", percent((all, headless)))
        };
        let short: usize = self.files.values().map(|file| file.short).sum();
        let subjects = match self.subjects {
            Some((all, long)) => format!("; {long} of {all} commit subjects above {SUBJECT} characters"),
            None => String::new(),
        };
        format!(
            "headless openings: {} of comments, {} of docs; {short} doc comments of {FEW_WORDS} words or fewer{subjects}",
            share(".rs"),
            share(".md"),
        )
    }

    fn worst(&self) -> String {
        let mut files: Vec<(usize, &str)> =
            self.files.iter().map(|(name, file)| (file.headless.len(), name.as_str())).collect();
        files.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let names: Vec<String> = files
            .iter()
            .filter(|(count, _)| *count > 0)
            .take(WORST)
            .map(|(count, name)| format!("{name} ({count})"))
            .collect();
        if names.is_empty() { "none".to_owned() } else { format!("most of them in: {}", names.join(", ")) }
    }
}

fn percent((all, some): (usize, usize)) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * some as f64 / all as f64 }
}

/// The sentences in the comments of a Rust file.
fn rust_file(source: &str) -> File {
    let comments = rust::split(source).1;
    let mut file = File::default();
    for block in comments.chunk_by(follows) {
        let lines: Vec<(usize, &str)> = block.iter().map(|one| (one.line, one.text.as_str())).collect();
        file.add(&paragraphs(&lines));
        if block[0].mark == "///" {
            let words: usize = block.iter().map(|one| one.text.split_whitespace().count()).sum();
            file.short += usize::from((1..=FEW_WORDS).contains(&words));
        }
    }
    file
}

/// Whether two comments belong to one block: the same mark on the next line, and no code before either.
fn follows(a: &Comment, b: &Comment) -> bool {
    b.line == a.line + 1 && a.mark == b.mark && !a.after_code && !b.after_code
}

/// The sentences of a Markdown file.
fn markdown_file(source: &str) -> File {
    let lines: Vec<(usize, &str)> = source.lines().enumerate().map(|(at, line)| (at + 1, line)).collect();
    let mut file = File::default();
    file.add(&paragraphs(&lines));
    file
}

impl File {
    fn add(&mut self, paragraphs: &[Vec<(usize, &str)>]) {
        for sentence in paragraphs.iter().flat_map(|lines| sentences(lines)) {
            self.sentences += 1;
            if is_headless(&sentence.text) {
                self.headless.push(sentence);
            }
        }
    }
}

/// The paragraphs and list items of Markdown, without code, tables, headings and HTML.
fn paragraphs<'a>(lines: &[(usize, &'a str)]) -> Vec<Vec<(usize, &'a str)>> {
    let mut paragraphs = vec![Vec::new()];
    let mut fenced = false;
    for &(line, text) in lines {
        let trimmed = text.trim();
        let fence = trimmed.starts_with("```") || trimmed.starts_with("~~~");
        fenced ^= fence;
        let indented_code = text.starts_with("    ") && paragraphs.last().is_some_and(Vec::is_empty);
        let skipped = ["#", "|", "<", "[!", "!["].iter().any(|start| trimmed.starts_with(start));
        if fence || fenced || indented_code || skipped || trimmed.is_empty() {
            paragraphs.push(Vec::new());
            continue;
        }
        let item = list_item(trimmed);
        if item.is_some() {
            paragraphs.push(Vec::new());
        }
        if let Some(paragraph) = paragraphs.last_mut() {
            paragraph.push((line, item.unwrap_or(trimmed)));
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

/// The text of `- item`, `* item`, `1. item` or `> item`.
fn list_item(text: &str) -> Option<&str> {
    let numbered = || {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        (rest.len() < text.len()).then(|| rest.strip_prefix(". "))?
    };
    ["- ", "* ", "+ ", "> "].iter().find_map(|mark| text.strip_prefix(mark)).or_else(numbered)
}

/// The sentences of a paragraph, each with the line that it begins on.
fn sentences(lines: &[(usize, &str)]) -> Vec<Sentence> {
    let mut sentences: Vec<Sentence> = Vec::new();
    let mut open = false;
    let mut quoted = false;
    for &(line, text) in lines {
        let words: Vec<&str> = text.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            match sentences.last_mut().filter(|_| open) {
                Some(sentence) => {
                    sentence.text.push(' ');
                    sentence.text.push_str(word);
                }
                None => sentences.push(Sentence { line, text: (*word).to_owned() }),
            }
            // A full stop between backticks is code.
            quoted ^= word.matches('`').count() % 2 == 1;
            let bare = word.trim_end_matches(['"', '\'', ')', '*', '_', ']', '`']);
            let ends = bare.ends_with(['.', '!', '?']) && !["e.g.", "i.e.", "etc.", "vs."].contains(&bare);
            let next = words.get(at + 1).copied();
            // A number, a name in code or a capital may begin the next one; a small letter goes on.
            let goes_on = next.is_some_and(|next| next.starts_with(char::is_lowercase));
            open = quoted || !ends || goes_on;
        }
    }
    sentences.retain(|sentence| sentence.text.contains(char::is_alphabetic));
    sentences
}

/// Whether a sentence opens with a clause in place of a noun.
fn is_headless(sentence: &str) -> bool {
    if sentence.trim_end_matches(['"', '\'', ')', '*', '_']).ends_with('?') {
        return false;
    }
    let mut words = sentence
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '`').to_lowercase());
    let (Some(first), Some(second)) = (words.next(), words.next()) else { return false };
    match first.as_str() {
        "that" | "those" => AFTER_THAT.contains(&second.as_str()),
        word => HEADLESS.contains(&word),
    }
}

/// Commits since the rule about subjects, and how many break it; nothing without git or that commit.
fn subjects(root: &Path) -> Option<(usize, usize)> {
    let range = format!("{SUBJECTS_SINCE}..HEAD");
    let mut git = Command::new("git");
    git.current_dir(root).args(["log", "--no-merges", "--format=%s", &range]);
    let ran = run("subjects of commits", &mut git).ok().filter(|ran| ran.ok())?;
    let long = ran.stdout.lines().filter(|subject| subject.chars().count() > SUBJECT).count();
    Some((ran.stdout.lines().count(), long))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headless(file: &File) -> Vec<(usize, &str)> {
        file.headless.iter().map(|sentence| (sentence.line, sentence.text.as_str())).collect()
    }

    #[test]
    fn headless_openings_are_told_from_nouns_and_questions() {
        for text in [
            "What was read.",
            "Whoever likes JSON reads it.",
            "Those of the host are first.",
            "That for ARM64 was never run.",
            "That which ended is gone.",
            "**What** is kept.",
            "\"Who asks\" is logged.",
        ] {
            assert!(is_headless(text), "{text}");
        }
        for text in [
            "What is it?",
            "Whether it runs.",
            "Where it stands.",
            "Those hosts are first.",
            "That is all.",
            "How long it waits.",
            "The host is what counts.",
            "What",
        ] {
            assert!(!is_headless(text), "{text}");
        }
    }

    #[test]
    fn comments_are_joined_and_split_into_sentences() {
        let file = rust_file(
            "//! One opens here. What\n//! follows, e.g. this, ends here.\n\nfn f() {} // What is alone\n// Whose is next.\nlet x = \"What no. \";\n",
        );
        assert_eq!(file.sentences, 4);
        assert_eq!(
            headless(&file),
            [(1, "What follows, e.g. this, ends here."), (4, "What is alone"), (5, "Whose is next.")]
        );
    }

    #[test]
    fn code_tables_and_headings_of_markdown_are_not_read() {
        let file = markdown_file(
            "# What it is\n\nA page. What stays.\n\n```\nWhat code.\n```\n| What | cell |\n- Those of a list\n  go on.\n1. Plain.\n",
        );
        assert_eq!(file.sentences, 4);
        assert_eq!(headless(&file), [(3, "What stays."), (9, "Those of a list go on.")]);
    }

    #[test]
    fn short_doc_comments_are_counted_and_long_ones_are_not() {
        let file =
            rust_file("/// Its exit status.\na: u8,\n/// The most bytes of one file.\nb: u8,\n// Few words.\nc: u8,\n");
        assert_eq!(file.short, 1);
    }

    #[test]
    fn the_limit_is_for_comments_and_docs_each() {
        let tree = |headless: usize| {
            let mut file = File { sentences: 100, ..File::default() };
            file.headless = vec![Sentence { line: 1, text: "What.".to_owned() }; headless];
            let files = BTreeMap::from([
                ("src/a.rs".to_owned(), File { sentences: 1000, ..File::default() }),
                ("docs/a.md".to_owned(), file),
            ]);
            Prose { files, subjects: Some((7, 2)) }
        };
        assert!(tree(2).is_plain());
        assert!(!tree(3).is_plain());
        assert_eq!(
            tree(3).figures(),
            "headless openings: 0.0 % (0 of 1000) of comments, 3.0 % (3 of 100) of docs; \
             0 doc comments of 4 words or fewer; 2 of 7 commit subjects above 60 characters"
        );
        assert_eq!(tree(3).worst(), "most of them in: docs/a.md (3)");
    }
}
