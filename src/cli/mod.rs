//! The command line. A flag is a row of the settings or of the table in `flags`. From these rows, `parse` reads an
//! [`Invocation`], `pages` prints help, the man page and the settings reference, and `completions` prints completions.

mod command;
pub mod completions;
mod flags;
mod installer;
mod invocation;
mod pages;
mod parse;

pub use command::{COMMANDS, Command};
pub use flags::rows;
pub use installer::installer_args;
pub use invocation::Invocation;
pub use pages::{help, help_of, man, settings_reference};
pub use parse::{UsageError, parse};
