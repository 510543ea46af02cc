//! The flags that are no settings, and all flags in the order of help.

use std::path::PathBuf;

use super::command::{Command, EVERY, READS_SETTINGS};
use super::invocation::Invocation;
use crate::settings::schema::Row;
use crate::settings::schema::ValueKind::{Nothing, Text};
use crate::settings::schema::flag;
use crate::settings::{SCHEMA, SETTINGS_FILE};

/// A flag that is no setting.
pub(crate) struct Flag {
    pub(crate) row: Row,
    /// The commands that take the flag.
    pub(crate) commands: &'static [Command],
    pub(crate) effect: Effect,
}

/// The effect of a flag on the invocation.
pub(crate) enum Effect {
    /// The flag has no value and sets this to true.
    Switch(fn(&mut Invocation) -> &mut bool),
    /// The flag takes a path.
    Path(fn(&mut Invocation) -> &mut Option<PathBuf>),
    /// The flag has no value and stands for a command.
    Command(Command),
}

/// The flag that help shows before the settings.
static FIRST: Flag =
    Flag { row: SETTINGS_FILE, commands: READS_SETTINGS, effect: Effect::Path(|it| &mut it.flags.file) };

/// The flags that help shows after the settings.
#[rustfmt::skip] // A row is a line.
static LAST: &[Flag] = &[
    path("log_file", &[Command::Run], |it| &mut it.log_file, "Write the log to this file instead of stderr. At 4 MiB it is renamed to PATH.old, so it never grows beyond that."),
    switch("json", &[Command::Status, Command::Doctor], |it| &mut it.json, "Print the status, or what doctor has found, as JSON, for scripts."),
    switch("watch", &[Command::Status], |it| &mut it.watch, "Show the status again every two seconds until ^C; with --json, one object per line."),
    switch("healthy", &[Command::Status], |it| &mut it.healthy, "For probes: print at most one line; exit with 0 if the collector is healthy, else with 1."),
    switch("clear", &[Command::Rollback], |it| &mut it.clear, "Stay on the running config, and forget which configs were refused."),
    path("output", &[Command::Diagnose], |it| &mut it.output, "The archive to write; an existing file is replaced; - is stdout. Without it: otelet-HOST-TIME.tar in the working directory."),
    switch("clear_signed", &[Command::Rollback], |it| &mut it.clear_signed, "Like --clear, and also forget when the newest signed config was signed, in case the signer's clock was ahead."),
    command("help", Command::Help, "Print this text. Also -h."),
    command("version", Command::Version, "Print the version."),
];

/// The flags that are no settings.
pub(crate) fn flags() -> impl Iterator<Item = &'static Flag> {
    std::iter::once(&FIRST).chain(LAST)
}

/// Every flag and every setting, in the order in which help shows them.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    std::iter::once(&FIRST.row).chain(SCHEMA.rows()).chain(LAST.iter().map(|flag| &flag.row))
}

const fn switch(
    key: &'static str,
    commands: &'static [Command],
    place: fn(&mut Invocation) -> &mut bool,
    help: &'static str,
) -> Flag {
    Flag { row: flag(key, Nothing, "", help), commands, effect: Effect::Switch(place) }
}

const fn path(
    key: &'static str,
    commands: &'static [Command],
    place: fn(&mut Invocation) -> &mut Option<PathBuf>,
    help: &'static str,
) -> Flag {
    Flag { row: flag(key, Text("PATH"), "", help), commands, effect: Effect::Path(place) }
}

const fn command(key: &'static str, command: Command, help: &'static str) -> Flag {
    Flag { row: flag(key, Nothing, "", help), commands: EVERY, effect: Effect::Command(command) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_and_environment_name_come_from_the_key() {
        let row = SCHEMA.row("config.poll_every").unwrap();
        assert_eq!(row.flag().unwrap(), "--config-poll-every");
        assert_eq!(row.env().unwrap(), "OTELET_CONFIG_POLL_EVERY");
        assert_eq!(rows().next().unwrap().env().unwrap(), "OTELET_SETTINGS");
        assert_eq!(SCHEMA.row("collector.env").unwrap().flag(), None);
        assert!(SCHEMA.row("json").is_none() && SCHEMA.row("settings").is_none());
    }

    #[test]
    fn no_key_is_repeated_or_the_section_of_another() {
        for (number, row) in rows().enumerate() {
            for other in rows().skip(number + 1) {
                assert_ne!(row.key, other.key);
                assert!(!other.key.starts_with(&format!("{}.", row.key)));
            }
        }
    }
}
