//! Registers the service, changes its registration, and removes it, on request with all files of the agent.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::time::Duration;

use super::control::{NAME, VERB, explain, flags_of, log_path, registered, stop_and_wait};
use crate::os::{self, Service, ServiceAccess, ServiceDefinition, ServiceErrorKind, ServiceManager, ServiceProperty};

const DISPLAY: &str = "otelet, the OpenTelemetry Collector's agent";
const DESCRIPTION: &str = "Keeps an OpenTelemetry Collector running on its newest good configuration.";

/// The time before each restart of a failed service. The last one is used for all further restarts.
const RESTARTS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(60)];

/// The time without a failure after which the next one counts as the first.
const FORGET: Duration = Duration::from_secs(24 * 3600);

/// The time that the service gets when the system shuts down.
const SHUTDOWN_TIME: Duration = Duration::from_secs(120);

/// Registers the service, or changes its registration.
pub fn install(
    manager: ServiceManager,
    account: Option<&str>,
    flags: &[OsString],
    keep: bool,
) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let mut line = quoted(&program.to_string_lossy()) + VERB;
    for flag in flags {
        let flag = flag.to_str().ok_or("a flag is no Unicode; the service manager keeps text only")?;
        line += " ";
        line += &quoted(flag);
    }
    let mut keep_start = false;
    if let Some(there) = registered(manager).filter(|_| keep) {
        line += flags_of(&there);
        keep_start = there.disabled;
    }
    let definition = ServiceDefinition {
        display_name: DISPLAY,
        command_line: &line,
        // None keeps the account of an installed service, which is right for an upgrade only.
        account: account.or((!keep).then_some("LocalSystem")),
        keep_start,
    };
    let (service, what) = match manager.create(NAME, &definition) {
        Ok(service) => (service, "installed"),
        Err(error) if error.kind == ServiceErrorKind::Exists => {
            let service = manager.open(NAME, ServiceAccess::All).map_err(explain)?;
            service.change(&definition).map_err(explain)?;
            (service, "installed anew; a running service changes only when it is restarted")
        }
        Err(error) => return Err(explain(error)),
    };
    describe(&service, !keep_start)?;
    let data = manager.data_dir();
    os::private_dir(&data)
        .and_then(|()| os::keep_private(&data))
        .map_err(|error| format!("{}: {error}", data.display()))?
        .into_iter()
        .for_each(|said| println!("{said}"));
    Ok(format!(
        "service {NAME} {what}; its settings are in {}, its log in {}",
        settings_in(flags),
        log_path(manager).display()
    ))
}

fn settings_in(flags: &[OsString]) -> String {
    let said = flags.iter().find_map(|flag| Some(flag.to_str()?.strip_prefix("--settings=")?.to_owned()));
    said.unwrap_or_else(|| os::default_settings_path().display().to_string())
}

/// Sets the properties of the service beyond its command line.
fn describe(service: &Service, started: bool) -> Result<(), String> {
    service.set(&ServiceProperty::Description(DESCRIPTION)).map_err(explain)?;
    service.set(&ServiceProperty::Restarts { after: &RESTARTS, forget: FORGET }).map_err(explain)?;
    // An older Windows does not know all of these; the service is installed without them.
    for (what, property) in [
        // Windows allows this only for a service that starts with the system.
        ("the delayed start", ServiceProperty::DelayedStart(started)),
        ("a restart after an error", ServiceProperty::RestartAfterError),
        ("time at a shutdown", ServiceProperty::ShutdownTime(SHUTDOWN_TIME)),
        ("an identity of its own", ServiceProperty::OwnIdentity),
    ] {
        if let Err(error) = service.set(&property) {
            eprintln!("otelet: the service manager does not accept {what}: {}", error.cause);
        }
    }
    Ok(())
}

/// An argument, quoted for `CommandLineToArgvW` and the C library.
pub fn quoted(argument: &str) -> String {
    if !argument.is_empty() && !argument.contains([' ', '\t', '"']) {
        return argument.into();
    }
    let mut text = String::from("\"");
    let mut backslashes = 0;
    for letter in argument.chars() {
        match letter {
            '\\' => backslashes += 1,
            // Backslashes before a quote are doubled, and the quote gets one more.
            '"' => {
                text.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        text.push(letter);
    }
    text.extend(std::iter::repeat_n('\\', backslashes));
    text + "\""
}

/// Stops the service and removes it. `purge` also removes all files of the agent.
pub fn uninstall(manager: ServiceManager, purge: bool) -> Result<String, String> {
    match manager.open(NAME, ServiceAccess::All) {
        // The service was removed before: its files are still removed.
        Err(_) if purge && registered(manager).is_none() => {}
        service => {
            let service = service.map_err(explain)?;
            stop_and_wait(manager, &service)?;
            service.delete().map_err(explain)?;
        }
    }
    let data = manager.data_dir();
    if !purge {
        return Ok(format!("service {NAME} is uninstalled; state and settings are still in {}", data.display()));
    }
    match fs::remove_dir_all(&data) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{}: cannot be removed: {error}", data.display()))
        }
        _ => Ok(format!("service {NAME} is uninstalled; {} is removed", data.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_argument_is_split_back_into_the_same_argument() {
        assert_eq!(quoted("--settings=x.yaml"), "--settings=x.yaml");
        assert_eq!(quoted(r"C:\Program Files\otelet\otelet.exe"), r#""C:\Program Files\otelet\otelet.exe""#);
        assert_eq!(quoted(r"C:\a b\"), r#""C:\a b\\""#);
        assert_eq!(quoted(r#"say "a\" b"#), r#""say \"a\\\" b""#);
        assert_eq!(quoted(""), r#""""#);
    }
}
