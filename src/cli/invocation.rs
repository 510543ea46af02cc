//! The result of reading a command line.

use std::path::PathBuf;

use super::command::Command;
use crate::settings::Flags;

/// A command line whose values are not checked yet: [`load`](crate::settings::load) checks the values of settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Invocation {
    pub command: Command,
    /// The command that help is wanted of.
    pub topic: Option<Command>,
    pub json: bool,
    pub watch: bool,
    pub healthy: bool,
    pub clear: bool,
    pub output: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    pub clear_signed: bool,
    pub flags: Flags,
}
