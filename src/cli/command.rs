//! The commands of the command line, their names and their help.

/// A command of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Command {
    #[default]
    Run,
    /// Read the settings, ask the source once, validate the offered config.
    Validate,
    Status,
    /// Go back to the config before the last good one.
    Rollback,
    /// Look at everything that the agent needs, and say what is wrong.
    Doctor,
    /// Collect the files that support needs in one archive.
    Diagnose,
    Version,
    Help,
}

/// The commands, their names and their help.
pub static COMMANDS: &[(Command, &str, &str)] = &[
    (Command::Run, "run", "Run the agent. This is the default."),
    (Command::Validate, "validate", "Read the settings, ask the config source once, validate; start nothing."),
    (Command::Status, "status", "Show what runs, since when, from where; see --watch, --json and --healthy below."),
    (Command::Rollback, "rollback", "Go back to the config before the last good one; --clear forgets refused configs."),
    (Command::Doctor, "doctor", "Look at all that the agent needs on this host; say what is bad, and the cure."),
    (
        Command::Diagnose,
        "diagnose",
        "Write settings, status, configs and the last logs to one archive, without secrets.",
    ),
    (Command::Version, "version", "Print the version."),
    (Command::Help, "help", "Print this text, or with a command behind it the help of that one."),
];

/// The commands that read the settings.
pub(crate) const READS_SETTINGS: &[Command] =
    &[Command::Run, Command::Validate, Command::Status, Command::Rollback, Command::Doctor, Command::Diagnose];
pub(crate) const EVERY: &[Command] = &[
    Command::Run,
    Command::Validate,
    Command::Status,
    Command::Rollback,
    Command::Doctor,
    Command::Diagnose,
    Command::Version,
    Command::Help,
];

impl Command {
    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        COMMANDS.iter().find(|(known, ..)| *known == self).map_or("", |(_, name, _)| name)
    }
}
