//! The command line. A flag is a row of the settings or of the table in `flags`; `parse` reads an [`Invocation`] along them;
//! `pages` and `completions` print help, the man page, the settings reference and completions from them.

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
pub use pages::{help, man, settings_reference};
pub use parse::{UsageError, parse};
