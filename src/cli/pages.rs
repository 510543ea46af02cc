//! The pages made from the rows: help, the man page, the settings reference. Pure.

use super::command::{COMMANDS, Command, EVERY};
use super::flags::{flags, rows};
use crate::settings::schema::{Kind, Row, ValueKind};
use crate::settings::{SCHEMA, kloudmate_help};

/// The output of `otelet help COMMAND`.
pub fn help_of(command: Command) -> String {
    let about = COMMANDS.iter().find(|(known, ..)| *known == command).map_or("", |(_, _, about)| about);
    let mut text = format!("{about}\n\nUsage: otelet {} [--flag=value ...]\n", command.name());
    text += &flag_entries(|row| match flags().find(|flag| std::ptr::eq(&flag.row, row)) {
        Some(flag) => flag.commands.contains(&command) && flag.commands.len() < EVERY.len(),
        None => command == Command::Run,
    });
    match command {
        Command::Help | Command::Version => {}
        Command::Run => text += "\nThe settings that only a file can have: otelet help.\n",
        Command::Validate | Command::Status | Command::Rollback | Command::Doctor | Command::Diagnose => {
            text += "\nEach setting is a flag here too: otelet help run lists them.\n";
        }
    }
    text
}

/// The output of `otelet help`, at most 100 columns wide.
pub fn help() -> String {
    let mut text = "otelet: keeps an OpenTelemetry Collector running on its newest good config\n\n\
         Usage: otelet [run | validate | status | rollback | doctor | diagnose | version] [--flag=value ...]\n\n"
        .to_owned();
    for (_, name, help) in COMMANDS {
        text += &format!("  {name:<10} {help}\n");
    }
    text += &flag_entries(|_| true);
    text += "\nOnly in the settings file:\n\n";
    for row in rows().filter(|row| row.kind == Kind::File) {
        text += &entry(row.key, row);
    }
    text += &kloudmate_help();
    text += "\nEach setting is a flag, a variable and a key in the settings file, and counts in this order:\n\
         --config-url, OTELET_CONFIG_URL, config.url.\n\
         Exit status: 0 asked to stop or nothing bad, 1 refused, not healthy or something bad, 64 bad flag,\n\
         70 bug in the agent, 78 bad settings.\n";
    text
}

/// The man page otelet(8), in roff.
pub fn man() -> String {
    let mut text = format!(
        ".TH OTELET 8 \"\" \"otelet {}\" \"System Administration\"\n\
         .SH NAME\notelet \\- keeps an OpenTelemetry Collector running on its newest good config\n\
         .SH SYNOPSIS\n.B otelet\n\
         [run | validate | status | rollback | doctor | diagnose | version] [\\-\\-flag=value ...]\n\
         .SH DESCRIPTION\n\
         otelet finds the Collector of this host, takes its config from a URL or a file, has the Collector validate \
         it, and runs the Collector on it. A config that is refused, or that does not stay healthy through its \
         probation, is replaced by the last good one.\n\
         .SH COMMANDS\n",
        env!("CARGO_PKG_VERSION")
    );
    for (_, name, help) in COMMANDS {
        text += &format!(".TP\n.B {}\n{}\n", roff(name), roff(help));
    }
    text += ".SH OPTIONS\nEach setting is a flag, an environment variable and a key in the settings file, and counts \
             in this order. An empty variable counts as not set; an empty flag or key unsets what has no default.\n";
    for row in rows().filter(|row| row.kind != Kind::File) {
        let flag = flag_with_value(row).expect("only rows of the file have no flag");
        text += &format!(".TP\n.B {}\n{}", roff(&flag), roff(row.help));
        text += &facts(row).map(|facts| roff(&facts)).collect::<String>();
        text += "\n";
    }
    text += ".SH SETTINGS FILE\nYAML. In each value ${env:NAME} stands for a variable, ${env:NAME:\\-text} for a \
             variable or else the text, ${file:PATH} for the content of a file, and $$ for a dollar sign. Besides \
             the keys of the flags above:\n";
    for row in rows().filter(|row| row.kind == Kind::File) {
        text += &format!(".TP\n.B {}\n{}\n", roff(row.key), roff(row.help));
    }
    text += ".SH FILES\n";
    for row in rows().filter(|row| row.default.starts_with('/')) {
        text += &format!(".TP\n.I {}\n{}\n", roff(row.default), roff(row.help));
    }
    text += ".SH EXIT STATUS\n\
             .TP\n.B 0\nAsked to stop, or the answer is yes.\n\
             .TP\n.B 1\nThe config was refused, the collector is not healthy, or doctor has found something bad.\n\
             .TP\n.B 64\nA bad flag.\n\
             .TP\n.B 70\nA bug in the agent.\n\
             .TP\n.B 78\nBad settings.\n\
             .SH SIGNALS\n\
             .TP\n.B SIGHUP\nRead the settings again and ask the source at once.\n\
             .TP\n.B SIGTERM, SIGINT\nStop the collector, then the agent; a second one does so at once.\n";
    text
}

/// The settings as a Markdown table, for docs/settings.md.
pub fn settings_reference() -> String {
    let mut text = "| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n".to_owned();
    for row in rows().filter(|row| row.takes != ValueKind::Nothing) {
        let key = if SCHEMA.row(row.key).is_some() { row.key } else { "" };
        let limits = row.limits().map_or(String::new(), |limits| format!(" From {limits}."));
        let cells = [
            code(key),
            code(&flag_with_value(row).unwrap_or_default()),
            code(&row.env().unwrap_or_default()),
            code(row.default),
            format!("{}{limits}", row.help),
        ];
        text += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}

/// The flags of these rows, each section after an empty line.
fn flag_entries(are_wanted: impl Fn(&'static Row) -> bool) -> String {
    let (mut text, mut section) = (String::new(), None);
    for row in rows().filter(|row| are_wanted(row)) {
        let Some(flag) = flag_with_value(row) else {
            continue;
        };
        let group = (row.section(), row.takes == ValueKind::Nothing);
        if section.replace(group) != Some(group) {
            text += "\n";
        }
        text += &entry(&flag, row);
    }
    text
}

/// The flag with its placeholder, such as `--config-url=URL`.
fn flag_with_value(row: &Row) -> Option<String> {
    let flag = row.flag()?;
    Some(if row.takes == ValueKind::Nothing { flag } else { format!("{flag}={}", row.value()) })
}

/// A row of help: its name on the left, its meaning on the right.
fn entry(name: &str, row: &Row) -> String {
    const LEFT: usize = 35;
    const WIDTH: usize = 100;
    let mut meaning = row.help.to_owned();
    if !row.default.is_empty() {
        meaning += &format!(" [{}]", row.default);
    }
    let mut left = format!("  {name}");
    let mut text = String::new();
    if left.len() + 2 > LEFT {
        text = format!("{left}\n");
        left.clear();
    }
    for line in wrap(&meaning, WIDTH - LEFT) {
        text += &format!("{left:<LEFT$}{line}\n");
        left.clear();
    }
    text
}

/// Default, limits and environment name, as sentences after the help.
fn facts(row: &Row) -> impl Iterator<Item = String> {
    let default = (!row.default.is_empty()).then(|| format!(" Default: {}.", row.default));
    let limits = row.limits().map(|limits| format!(" From {limits}."));
    let names = row.env().map(|env| match SCHEMA.row(row.key) {
        Some(_) => format!(" Also: {env}, {}.", row.key),
        None => format!(" Also: {env}."),
    });
    default.into_iter().chain(limits).chain(names)
}

/// Escapes text for roff: hyphens, backslashes, and a dot or quote at the start of a line.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Breaks text between words into lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("it starts with a line");
        if line.is_empty() {
            *line = word.to_owned();
        } else if line.len() + 1 + word.len() <= width {
            *line += " ";
            *line += word;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag_and_key_within_100_columns() {
        let help = help();
        for row in rows() {
            assert!(help.contains(&flag_with_value(row).unwrap_or(row.key.to_owned())), "{}", row.key);
        }
        for line in help.lines() {
            assert!(line.len() <= 100, "{} columns: {line}", line.len());
        }
        assert!(help.contains("Time between polls. [30s]\n"));
        assert!(help.contains("  run        Run the agent. This is the default.\n"));
    }

    #[test]
    fn help_of_a_command_has_its_flags_and_no_others() {
        let (run, status, version) = (help_of(Command::Run), help_of(Command::Status), help_of(Command::Version));
        assert!(run.starts_with("Run the agent. This is the default.\n\nUsage: otelet run [--flag=value ...]\n\n"));
        assert!(
            run.contains("  --settings=PATH") && run.contains("--config-url=URL") && run.contains("--log-file=PATH")
        );
        assert!(!run.contains("  --json") && !run.contains("--help"), "{run}");
        assert!(status.contains("--json") && status.contains("--watch") && status.contains("--settings=PATH"));
        assert!(!status.contains("--clear") && !status.contains("--config-url") && status.contains("otelet help run"));
        assert_eq!(version, "Print the version.\n\nUsage: otelet version [--flag=value ...]\n");
    }

    #[test]
    fn the_man_page_is_roff_without_lost_lines() {
        let man = man();
        assert!(man.starts_with(".TH OTELET 8 "));
        assert!(man.contains(
            ".TP\n.B \\-\\-config\\-poll\\-every=TIME\nTime between polls. Default: 30s. From 10ms to 24h. \
             Also: OTELET_CONFIG_POLL_EVERY, config.poll_every.\n"
        ));
        for line in man.lines() {
            let request = line.split(' ').next().unwrap();
            assert!(!line.starts_with('\''), "{line}");
            assert!(
                !line.starts_with('.') || [".TH", ".SH", ".TP", ".B", ".I"].contains(&request),
                "a line that roff takes for a request: {line}"
            );
        }
    }

    #[test]
    fn the_reference_has_a_line_of_five_cells_for_every_setting() {
        let reference = settings_reference();
        for row in SCHEMA.rows() {
            assert!(reference.contains(&format!("| `{}` |", row.key)), "{}", row.key);
        }
        for line in reference.lines() {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 6, "{line}");
        }
        assert!(
            reference
                .contains("| `collector.log` | `--collector-log=pass\\|drop` | `OTELET_COLLECTOR_LOG` | `pass` | ")
        );
    }
}
