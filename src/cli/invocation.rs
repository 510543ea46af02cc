//! A command line, read.

use std::path::PathBuf;

use super::command::Command;
use crate::settings::Flags;

/// A command line, read but not yet judged: values of settings are checked by [`load`](crate::settings::load).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Invocation {
    pub command: Command,
    /// `status --json`
    pub json: bool,
    /// `status --watch`
    pub watch: bool,
    /// `status --healthy`
    pub healthy: bool,
    /// `rollback --clear`
    pub clear: bool,
    /// `diagnose --output=`
    pub output: Option<PathBuf>,
    /// `run --log-file=`
    pub log_file: Option<PathBuf>,
    /// `rollback --clear-signed`
    pub clear_signed: bool,
    pub flags: Flags,
}
