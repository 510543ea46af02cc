//! The command line of an installer, which writes settings into the settings file.

use std::ffi::OsString;

use super::command::Command;
use super::parse::parse;
use crate::settings::installer_args::InstallerArgs;

/// Reads flags that are settings, and `--attributes=name=value,name=value`.
///
/// # Errors
///
/// A flag that [`parse`] refuses or that is no setting, and a list of attributes that cannot be read. Values of
/// settings are not checked yet.
pub fn installer_args(arguments: impl IntoIterator<Item = OsString>) -> Result<InstallerArgs, String> {
    let mut attributes = None;
    let mut others = vec![OsString::from("run")];
    for argument in arguments {
        let text = argument.to_str().ok_or("a flag is not Unicode text")?;
        match text.strip_prefix("--attributes=") {
            Some(list) => attributes = Some(list.to_owned()),
            None => others.push(argument),
        }
    }
    let invocation = parse(others).map_err(|error| error.to_string())?;
    if invocation.command != Command::Run {
        return Err("only settings are allowed here, such as --config-url=URL".to_owned());
    }
    InstallerArgs::new(invocation.flags, attributes.as_deref())
}
