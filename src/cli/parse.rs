//! Reads a command line.

use std::ffi::OsString;

use otelet_core::text::{clip, nearest};

use super::command::{COMMANDS, Command, READS_SETTINGS};
use super::flags::{Effect, Flag, flags, rows};
use super::invocation::Invocation;
use crate::settings::schema::{Kind, Row};
use crate::settings::{SCHEMA, kloudmate_row};

/// A fault in a command line. Its exit status is [`exit::USAGE`](crate::exit::USAGE).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Reads a command line, without the name of the program.
///
/// `--flag=value` and `--flag value` are the same. A repeated flag counts as its last value.
///
/// # Errors
///
/// [`UsageError`] for an unknown command or flag (with the nearest known one), a missing or needless value, text that
/// is not UTF-8, and a flag that the command does not take. It repeats no value.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    use lexopt::Arg;

    let mut parser = lexopt::Parser::from_args(args);
    let mut command = None;
    let mut given: Vec<KnownFlag> = Vec::new();
    let mut invocation = Invocation::default();
    while let Some(arg) = parser.next().map_err(|e| UsageError(e.to_string()))? {
        let known = match arg {
            Arg::Short('h') => by_flag("help")?,
            Arg::Short(other) => return Err(unknown_flag(&format!("-{other}"))),
            Arg::Long(name) => match kloudmate_row(name) {
                None => by_flag(name)?,
                Some(row) => {
                    let value = match parser.optional_value() {
                        Some(value) => value,
                        None if row.value.is_empty() => "true".into(),
                        None => parser.value().map_err(|_| {
                            UsageError(format!("--{} needs a value: --{}={}", row.name, row.name, row.value))
                        })?,
                    };
                    let value = value
                        .into_string()
                        .map_err(|_| UsageError(format!("--{}: its value is not UTF-8", row.name)))?;
                    invocation.flags.push(row.name, value);
                    continue;
                }
            },
            Arg::Value(name) if command.is_none() => {
                command = Some(by_name(&name.to_string_lossy())?);
                continue;
            }
            Arg::Value(name) if command == Some(Command::Help) && invocation.topic.is_none() => {
                invocation.topic = Some(by_name(&name.to_string_lossy())?);
                continue;
            }
            Arg::Value(_) => {
                return Err(UsageError("only one command is allowed; the value of a flag follows the flag".to_owned()));
            }
        };
        given.push(known);
        let name = known.name();
        match known {
            KnownFlag::Setting(row) => {
                let value = value_of(&mut parser, row)?;
                let value = value.into_string().map_err(|_| UsageError(format!("{name}: its value is not UTF-8")))?;
                invocation.flags.push(row.key, value);
            }
            KnownFlag::Flag(Flag { row, effect: Effect::Path(place), .. }) => {
                *place(&mut invocation) = Some(value_of(&mut parser, row)?.into());
            }
            KnownFlag::Flag(_) if parser.optional_value().is_some() => {
                return Err(UsageError(format!("{name} takes no value")));
            }
            KnownFlag::Flag(Flag { effect: Effect::Switch(place), .. }) => *place(&mut invocation) = true,
            KnownFlag::Flag(Flag { effect: Effect::Command(asked), .. }) => command = Some(*asked),
        }
    }
    invocation.command = command.unwrap_or_default();
    // Help is printed whatever the other flags are.
    if invocation.command == Command::Help {
        return Ok(invocation);
    }
    if invocation.watch && invocation.healthy {
        return Err(UsageError("--watch does not go with --healthy, which answers once".to_owned()));
    }
    match given.iter().find(|known| !known.commands().contains(&invocation.command)) {
        None => Ok(invocation),
        Some(known) => Err(UsageError(format!(
            "{} does not go with {}, only with {}",
            known.name(),
            invocation.command.name(),
            known.commands().iter().map(|command| command.name()).collect::<Vec<_>>().join(", "),
        ))),
    }
}

/// A flag that has a row.
#[derive(Clone, Copy)]
enum KnownFlag {
    Setting(&'static Row),
    Flag(&'static Flag),
}

impl KnownFlag {
    fn name(self) -> String {
        let (Self::Setting(row) | Self::Flag(Flag { row, .. })) = self;
        row.flag().expect("it was found by its flag")
    }

    fn commands(self) -> &'static [Command] {
        match self {
            Self::Setting(_) => READS_SETTINGS,
            Self::Flag(flag) => flag.commands,
        }
    }
}

fn value_of(parser: &mut lexopt::Parser, row: &Row) -> Result<OsString, UsageError> {
    let value = match parser.optional_value() {
        Some(value) => Some(value),
        None => parser.value().ok().filter(|value| !value.as_encoded_bytes().starts_with(b"--")),
    };
    value.ok_or_else(|| {
        let flag = row.flag().expect("it was found by its flag");
        UsageError(format!("{flag} needs a value: {flag}={}", row.value()))
    })
}

fn by_name(name: &str) -> Result<Command, UsageError> {
    if let Some((command, ..)) = COMMANDS.iter().find(|(_, known, _)| *known == name) {
        return Ok(*command);
    }
    let known = COMMANDS.iter().map(|(_, known, _)| *known);
    let way_out = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the commands are {}", known.collect::<Vec<_>>().join(", ")),
    };
    Err(UsageError(format!("unknown command \"{}\"; {way_out}", clip(name))))
}

fn by_flag(name: &str) -> Result<KnownFlag, UsageError> {
    let name = format!("--{name}");
    let is = |row: &Row| row.flag().as_ref() == Some(&name);
    let flag = flags().find(|flag| is(&flag.row)).map(KnownFlag::Flag);
    flag.or_else(|| SCHEMA.rows().find(|row| is(row)).map(KnownFlag::Setting)).ok_or_else(|| unknown_flag(&name))
}

fn unknown_flag(flag: &str) -> UsageError {
    if let Some(row) = SCHEMA
        .rows()
        .find(|row| row.kind == Kind::File && row.key.replace(['.', '_'], "-") == flag.trim_start_matches('-'))
    {
        return UsageError(format!("{flag} has more than one value: set {} in the settings file", row.key));
    }
    let way_out = match nearest(flag, rows().filter_map(Row::flag)) {
        Some(near) => format!("did you mean {near}?"),
        None => "otelet help lists them".to_owned(),
    };
    UsageError(format!("unknown flag {}; {way_out}", clip(flag)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn parsed(line: &str) -> Invocation {
        parse(line.split_whitespace().map(OsString::from)).unwrap()
    }

    fn refused(line: &str) -> String {
        parse(line.split_whitespace().map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_command_line_means_run() {
        assert_eq!(parsed(""), Invocation::default());
        assert_eq!(parsed("").command, Command::Run);
    }

    #[test]
    fn each_command_is_read_by_its_name() {
        for (command, name, _) in COMMANDS {
            assert_eq!(parsed(name).command, *command);
        }
    }

    #[test]
    fn a_value_follows_an_equals_sign_or_a_space() {
        for line in ["--config-poll-every=5s run", "run --config-poll-every 5s"] {
            assert_eq!(parsed(line).flags.get("config.poll_every"), Some("5s"));
        }
        assert_eq!(parsed("--collector-nice -5").flags.get("collector.nice"), Some("-5"));
        assert_eq!(parsed("--config-url=").flags.get("config.url"), Some(""));
        assert_eq!(parsed("--settings=a.yaml").flags.file, Some(PathBuf::from("a.yaml")));
    }

    #[test]
    fn a_repeated_flag_counts_as_its_last_value() {
        assert_eq!(parsed("--config-url=a --config-url=b").flags.get("config.url"), Some("b"));
    }

    #[test]
    fn flags_without_a_value_may_stand_before_or_after_their_command() {
        let status = parsed("--json status --healthy");
        assert!(status.json && status.healthy && !status.clear);
        assert!(parsed("rollback --clear").clear);
        assert!(parsed("rollback --clear-signed").clear_signed);
    }

    #[test]
    fn help_and_version_are_commands_and_flags() {
        for line in ["help", "--help", "-h", "status -h", "--clear --help", "validate --help"] {
            assert_eq!(parsed(line).command, Command::Help, "{line}");
        }
        assert_eq!(parsed("--version").command, Command::Version);
        for (line, topic) in [
            ("help run", Some(Command::Run)),
            ("help help", Some(Command::Help)),
            ("status --help", None),
            ("--help", None),
            ("help --help", None),
        ] {
            assert_eq!(parsed(line).topic, topic, "{line}");
        }
        assert_eq!(refused("help rum"), "unknown command \"rum\"; did you mean run?");
        assert_eq!(refused("help run status"), "only one command is allowed; the value of a flag follows the flag");
    }

    #[test]
    fn an_unknown_flag_names_the_nearest_known_one() {
        assert_eq!(refused("--config-ulr=x"), "unknown flag --config-ulr; did you mean --config-url?");
        assert_eq!(refused("--poll-every=1s"), "unknown flag --poll-every; did you mean --config-poll-every?");
        assert_eq!(refused("--config.url=x"), "unknown flag --config.url; did you mean --config-url?");
        assert_eq!(refused("--frobnicate"), "unknown flag --frobnicate; otelet help lists them");
        assert_eq!(refused("-x"), "unknown flag -x; otelet help lists them");
        assert_eq!(
            refused("--collector-args=-v"),
            "--collector-args has more than one value: set collector.args in the settings file"
        );
    }

    #[test]
    fn an_unknown_command_names_the_nearest_known_one() {
        assert_eq!(refused("statsu"), "unknown command \"statsu\"; did you mean status?");
        assert_eq!(
            refused("frob"),
            "unknown command \"frob\"; the commands are run, validate, status, rollback, doctor, diagnose, version, help"
        );
        assert_eq!(refused("run status"), "only one command is allowed; the value of a flag follows the flag");
    }

    #[test]
    fn a_flag_of_another_command_is_refused() {
        assert_eq!(refused("status --clear"), "--clear does not go with status, only with rollback");
        assert_eq!(
            refused("version --state-dir=x"),
            "--state-dir does not go with version, only with run, validate, status, rollback, doctor, diagnose"
        );
    }

    #[test]
    fn a_missing_or_needless_value_is_refused() {
        assert_eq!(refused("--config-url"), "--config-url needs a value: --config-url=URL");
        assert_eq!(refused("--config-url --json"), "--config-url needs a value: --config-url=URL");
        assert_eq!(refused("status --json=hunter2"), "--json takes no value");
    }

    #[test]
    fn values_of_flags_are_not_printed_for_debugging() {
        assert!(!format!("{:?}", parsed("--config-http-proxy=http://u:hunter2@p")).contains("hunter2"));
    }
}
