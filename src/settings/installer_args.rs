//! The settings from an installer's command line, and how they are written into the settings file. All other text in
//! the file stays exactly as it is. Pure.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use otelet_config::quoted;
use otelet_core::text::{chain, clip};

use super::error::{Place, SettingsError};
use super::file::File;
use super::flags::Flags;
use super::load;
use super::location::Location;
use super::node::{Node, item, join};
use super::schema::ValueKind;
use super::sections::SCHEMA;
use super::world::World;

/// The properties of the MSI, and the flags with the same meaning.
pub const MSI_PROPERTIES: [(&str, &str); 4] = [
    ("CONFIG_URL", "config-url"),
    ("CONFIG_PUBLIC_KEY", "config-public-key"),
    ("COLLECTOR_PATH", "collector-path"),
    ("ATTRIBUTES", ATTRIBUTES),
];

/// The one flag that only installers have: a list of `name=value`.
const ATTRIBUTES: &str = "attributes";

/// The settings from the command line of an installer.
#[derive(Debug, Default, PartialEq)]
pub struct InstallerArgs {
    /// The settings that are flags.
    flags: Flags,
    attributes: Vec<(String, String)>,
}

/// One value to write into the file.
struct Change {
    /// The section, such as `config`. Empty for a key in no section.
    section: &'static str,
    /// The key in the section, such as `url`, or the name of an attribute.
    name: String,
    value: String,
}

impl InstallerArgs {
    /// Adds attributes, `name=value,name=value`, to flags.
    ///
    /// # Errors
    ///
    /// The fault of the list. Values of flags are not checked yet.
    pub fn new(flags: Flags, attributes: Option<&str>) -> Result<InstallerArgs, String> {
        if flags.file.is_some() {
            return Err("--settings: an installer always writes to the default settings file".to_owned());
        }
        let attributes = match attributes {
            None => Vec::new(),
            Some(list) => attributes_in(list).map_err(|why| format!("--{ATTRIBUTES}: {why}"))?,
        };
        Ok(InstallerArgs { flags, attributes })
    }

    pub fn is_empty(&self) -> bool {
        self.flags.iter().next().is_none() && self.attributes.is_empty()
    }

    /// The flags that were set, such as `--config-url`.
    pub fn flags(&self) -> impl Iterator<Item = String> {
        self.flags.iter().filter_map(|(key, _)| SCHEMA.row(key)?.flag())
    }

    /// Checks that a service can use these settings, whatever the settings file holds.
    ///
    /// # Errors
    ///
    /// The flag, its value and the expected value.
    pub fn judge(&self) -> Result<(), String> {
        // No environment and no files, only the flags. A service starts in a system directory, so a relative path is
        // useless.
        let nothing = World {
            var: Box::new(|_| None),
            read: Box::new(|_| Err(io::ErrorKind::NotFound.into())),
            here: PathBuf::new(),
        };
        let settings = load(&self.flags, &nothing).map_err(|error| chain(&error))?;
        let relative = |key: &str, value: &str| {
            let flag = key.replace(['.', '_'], "-");
            format!("--{flag}: \"{}\" is neither a URL nor an absolute path", clip(value))
        };
        for (key, value) in self.flags.iter() {
            let row = SCHEMA.row(key).ok_or_else(|| format!("{key} is not one of otelet's own settings"))?;
            let is_name = key == "collector.path" && Path::new(value).components().count() == 1;
            if row.takes == ValueKind::Text("PATH") && !is_name && !Path::new(value).is_absolute() {
                return Err(relative(key, value).replace("neither a URL nor an", "no"));
            }
            if key == "config.url" && matches!(&settings.config.url, Some(Location::File(path)) if !path.is_absolute())
            {
                return Err(relative(key, value));
            }
        }
        Ok(())
    }

    /// Writes the settings into the text of a settings file.
    ///
    /// # Errors
    ///
    /// A file that is no settings file, or whose layout does not allow this without a change of other text.
    pub fn put_into(&self, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        for change in self.changes() {
            text = change.put_into(text)?;
        }
        Ok(text)
    }

    fn changes(&self) -> impl Iterator<Item = Change> {
        let flags = self.flags.iter().map(|(key, value)| {
            let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
            Change { section, name: name.to_owned(), value: value.to_owned() }
        });
        let attribute =
            |(name, value): &(String, String)| Change { section: ATTRIBUTES, name: name.clone(), value: value.clone() };
        flags.chain(self.attributes.iter().map(attribute))
    }
}

/// Reads `name=value,name=value`. A comma in a value is written twice.
fn attributes_in(list: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    // No list and no attribute has this character.
    for part in list.replace(",,", "\0").split(',') {
        let part = part.replace('\0', ",");
        let (name, value) = part.split_once('=').unwrap_or_default();
        let name = name.trim();
        if name.is_empty() {
            let part = clip(&part);
            return Err(format!("expected name=value,name=value with each comma in a value doubled, found \"{part}\""));
        }
        if found.iter().any(|(known, _)| known == name) {
            return Err(format!("\"{}\" is set twice; keep one", clip(name)));
        }
        found.push((name.to_owned(), value.to_owned()));
    }
    Ok(found)
}

/// The keys and values of a settings file, without its layout.
type Flat = BTreeMap<String, String>;

fn flat(file: &File) -> Flat {
    let mut flat = Flat::new();
    for (key, node) in file.nodes() {
        match node {
            Node::Text(text) => drop(flat.insert(key.to_owned(), text.clone())),
            Node::List(texts) => {
                flat.extend(texts.iter().enumerate().map(|(number, text)| (item(key, number), text.clone())));
            }
            Node::Map(entries) => flat.extend(entries.iter().map(|(name, text)| (join(key, name), text.clone()))),
            Node::Maps(count) => drop(flat.insert(key.to_owned(), count.to_string())),
        }
    }
    flat
}

impl Change {
    /// Tries several candidates. It takes the first one that has the new value and otherwise the same values as before.
    fn put_into(&self, text: String) -> Result<String, String> {
        let file = parsed(text.clone()).map_err(|error| chain(&error))?;
        let key = join(self.section, &self.name);
        // As in the collector's config, a dollar sign is written twice.
        let mut wanted = flat(&file);
        let there = wanted.insert(key.clone(), self.value.replace('$', "$$"));
        if there.as_ref() == wanted.get(&key) {
            return Ok(text);
        }
        let is_right = |text: &String| parsed(text.clone()).is_ok_and(|file| flat(&file) == wanted);
        let mut candidates = if there.is_some() { self.in_place(&text, &file, &key) } else { self.added(&text, &file) };
        candidates.find(is_right).ok_or_else(|| {
            format!("{key}: the layout of the settings file does not allow a change of this value alone; edit the file by hand")
        })
    }

    /// Candidates with the value replaced, one for each possible end of the old value on its line.
    fn in_place<'a>(&self, text: &'a str, file: &File, key: &str) -> Box<dyn Iterator<Item = String> + 'a> {
        let Some(start) = spot(text, file, key) else { return Box::new(std::iter::empty()) };
        let rest = &text[start..];
        let value = quoted(&self.value, true);
        Box::new(ends(rest).into_iter().map(move |end| format!("{}{value}{}", &text[..start], &rest[end..])))
    }

    /// Candidates with a new key: as the first key of its section, or at the end of the file.
    fn added<'a>(&self, text: &'a str, file: &File) -> Box<dyn Iterator<Item = String> + 'a> {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let name = if self.section == ATTRIBUTES { quoted(&self.name, false) } else { self.name.clone() };
        let entry = format!("{name}: {}", quoted(&self.value, true));
        let mut candidates = Vec::new();
        if !self.section.is_empty() {
            if let Some(at) = spot(text, file, self.section) {
                let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let indent = " ".repeat(text[line..at].chars().count());
                candidates.push(format!("{}{indent}{entry}{newline}{}", &text[..line], &text[line..]));
                if text[at..].starts_with('{') {
                    let (before, after) = text.split_at(at + 1);
                    candidates.push(format!("{before}{entry}{after}"));
                    candidates.push(format!("{before}{entry}, {after}"));
                }
            }
            // The section may have only comments.
            let head = format!("{}:", self.section);
            let empty = |line: &&str| line.starts_with(&head) && !line[head.len()..].contains(['{', '[']);
            if let Some(line) = text.split_inclusive('\n').find(empty) {
                let after = line.as_ptr() as usize - text.as_ptr() as usize + line.len();
                let ended = if line.ends_with('\n') { "" } else { newline };
                candidates.push(format!("{}{ended}  {entry}{newline}{}", &text[..after], &text[after..]));
            }
        }
        let ended = if text.is_empty() || text.ends_with('\n') { "" } else { newline };
        candidates.push(match self.section {
            "" => format!("{text}{ended}{entry}{newline}"),
            section => format!("{text}{ended}{section}:{newline}  {entry}{newline}"),
        });
        Box::new(candidates.into_iter())
    }
}

fn parsed(text: String) -> Result<File, SettingsError> {
    File::parse(SCHEMA, crate::os::default_settings_path(), true, text)
}

/// The position in the text where the value of a key begins.
fn spot(text: &str, file: &File, key: &str) -> Option<usize> {
    let Place::Spot { line, column, .. } = file.place(key) else { return None };
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let within = text[start..].char_indices().nth(column - 1).map_or(text.len() - start, |(at, _)| at);
    Some(start + within)
}

/// The possible ends of the value at the start of a text: behind its closing quote, or, without quotes, behind each
/// letter that may be its last.
fn ends(text: &str) -> Vec<usize> {
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    let quote = line.chars().next().filter(|first| ['"', '\''].contains(first));
    let Some(quote) = quote else {
        let stops = |at: &usize| {
            let before = line[..*at].chars().next_back().is_some_and(|letter| !letter.is_whitespace());
            let after = line[*at..].chars().next();
            before && after.is_none_or(|letter| letter.is_whitespace() || [',', '}', ']'].contains(&letter))
        };
        return line.char_indices().map(|(at, _)| at).chain([line.len()]).filter(stops).collect();
    };
    let mut letters = line.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        match letter {
            '\\' if quote == '"' => drop(letters.next()),
            '\'' if quote == '\'' && next == Some('\'') => drop(letters.next()),
            letter if letter == quote => return vec![at + 1],
            _ => {}
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli;

    const KEY: &str = "RWREku3J4iZ/rjYHz7xs+DWe8V0juLEau+gSIqNg2VLBZOpUfbUdMdKj";

    fn given(flags: &[&str]) -> InstallerArgs {
        cli::installer_args(flags.iter().map(OsString::from)).unwrap()
    }

    fn put(flags: &[&str], text: &str) -> String {
        given(flags).put_into(text).unwrap()
    }

    #[test]
    fn settings_are_added_to_a_file_of_comments() {
        let flags = ["--config-url=https://c.example/x", "--attributes=site=a,rack=b"];
        assert_eq!(
            put(&flags, "# Settings of otelet."),
            "# Settings of otelet.\nconfig:\n  url: \"https://c.example/x\"\nattributes:\n  \"rack\": \"b\"\n  \"site\": \"a\"\n"
        );
    }

    #[test]
    fn all_other_text_in_the_file_stays() {
        let url = ["--config-url=https://new.example"];
        for (before, after) in [
            (
                "config:\n  # ours\n  url: old   # of 2019\n",
                "config:\n  # ours\n  url: \"https://new.example\"   # of 2019\n",
            ),
            ("config:\n  url: a#b\n", "config:\n  url: \"https://new.example\"\n"),
            ("config:\n  url: \"a #\\\"\" # \"\n", "config:\n  url: \"https://new.example\" # \"\n"),
            ("config:\n  url: 'a #''b' # '\n", "config:\n  url: \"https://new.example\" # '\n"),
            ("config: {url: 'o''ld', timeout: 5s}\n", "config: {url: \"https://new.example\", timeout: 5s}\n"),
            ("config: {timeout: 5s}\n", "config: {url: \"https://new.example\", timeout: 5s}\n"),
            ("config: {}\n", "config: {url: \"https://new.example\"}\n"),
            (
                "config:\n    timeout: 5s\nlog_level: info\n",
                "config:\n    url: \"https://new.example\"\n    timeout: 5s\nlog_level: info\n",
            ),
            (
                "config: # nothing\n  # url: x\nlog_level: info\n",
                "config: # nothing\n  url: \"https://new.example\"\n  # url: x\nlog_level: info\n",
            ),
            ("config:", "config:\n  url: \"https://new.example\"\n"),
            (
                "log_level: info\r\nconfig:\r\n  url: ü\r\n  timeout: 5s\r\n",
                "log_level: info\r\nconfig:\r\n  url: \"https://new.example\"\r\n  timeout: 5s\r\n",
            ),
            ("checks:\n- {tcp: \"a:1\"}", "checks:\n- {tcp: \"a:1\"}\nconfig:\n  url: \"https://new.example\"\n"),
        ] {
            assert_eq!(put(&url, before), after, "{before}");
            assert_eq!(put(&url, after), after, "a second run changes nothing");
        }
    }

    #[test]
    fn a_file_with_an_unsupported_layout_is_refused() {
        let why =
            given(&["--config-url=https://new.example"]).put_into("config:\n  url: >\n    https://old\n    .example\n");
        assert!(why.unwrap_err().starts_with("config.url: the layout of the settings file does not allow"));
        let why = given(&["--log-level=debug"]).put_into("{log_level: info}\n...\n{").unwrap_err();
        assert!(why.contains(":"), "{why}");
    }

    #[test]
    fn no_value_can_inject_yaml() {
        for value in [
            "a b",
            "\"",
            "'",
            "%TEMP%",
            "100 %",
            "; shutdown",
            "a: b",
            "#",
            "x\nconfig:\n  url: evil",
            "${env:PATH}",
            "$$",
            "é日本🦀",
            "\\",
            "{",
            "- x",
            "=",
            "\t",
            "|",
            "&calc",
            "--purge",
            "[~]",
            "\u{2028}",
            "",
        ] {
            let text =
                put(&[&format!("--identity={value}"), &format!("--attributes=a={value},b=c")], "log_level: info\n");
            let path = crate::os::default_settings_path();
            let world = super::super::tests::world(&[], &[(path.to_str().unwrap(), &text)]);
            let settings = load(&Flags::default(), &world).unwrap_or_else(|error| panic!("{value:?}: {error}\n{text}"));
            assert_eq!(settings.identity.unwrap_or_default(), value, "{text}");
            assert_eq!(
                settings.attributes,
                [("b", "c"), ("a", value)].map(|(a, b)| (a.to_owned(), b.to_owned())),
                "{text}"
            );
            assert_eq!(settings.config.url, None);
        }
    }

    #[test]
    fn attributes_that_are_not_given_stay() {
        assert_eq!(
            put(&["--attributes=site=b,a.b=x,,y=z"], "attributes: {site: a, rack: '7'}\n"),
            "attributes: {\"a.b\": \"x,y=z\", site: \"b\", rack: '7'}\n"
        );
    }

    #[test]
    fn what_a_service_cannot_use_is_refused() {
        for (flag, why) in [
            (
                "--config-url=ftp://x",
                "--config-url: expected URL, found \"ftp://x\": write http://, https://, file:/// or a path",
            ),
            ("--config-url=example", "--config-url: \"example\" is neither a URL nor an absolute path"),
            ("--config-public-key=x", "--config-public-key: expected KEY, found <set>: "),
            ("--state-dir=x", "--state-dir: \"x\" is no absolute path"),
            ("--collector-path=a/b", "--collector-path: \"a/b\" is no absolute path"),
        ] {
            let said = given(&[flag]).judge().unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        let key = format!("--config-public-key={KEY}");
        given(&["--config-url=https://c.example", &key, "--collector-path=otelcol"]).judge().unwrap();
        given(&[]).judge().unwrap();
    }

    #[test]
    fn flags_that_are_no_settings_are_refused() {
        for (flag, why) in [
            (
                "--attributes=site",
                "--attributes: expected name=value,name=value with each comma in a value doubled, found \"site\"",
            ),
            ("--attributes=a=1,a=2", "--attributes: \"a\" is set twice; keep one"),
            ("--config-ulr=x", "unknown flag --config-ulr; did you mean --config-url?"),
            ("status", "only one command is allowed; the value of a flag follows the flag"),
            ("--settings=x", "--settings: an installer always writes to the default settings file"),
        ] {
            assert_eq!(cli::installer_args([flag.into()]).unwrap_err(), why);
        }
        assert!(given(&["--api-key=x"]).judge().unwrap_err().ends_with("is not one of otelet's own settings"));
    }
}
