//! The agent as a Windows service: `otelet service ...` for people, `otelet run --service` for the service manager.
//!
//! The agent does not guess whether it runs as a service: the registered command line has `--service`. On systems
//! without a [`ServiceManager`], nothing of this is used.

mod configure;
mod control;
mod register;

use std::ffi::OsString;

pub use register::quoted;

use crate::cli;
use crate::exit;
use crate::os::{self, ServiceErrorKind, ServiceManager};
use crate::settings::installer_args::InstallerArgs;

use control::NAME;

const USAGE: &str = "\
Usage: otelet service install [--account=NAME | --keep] [--settings=PATH] [--flag=value ...]
       otelet service configure [--flag=value ...] [--attributes=NAME=VALUE,...] | --undo
       otelet service uninstall [--purge]
       otelet service start | stop | restart | reload | status

  install    Register the service, or change its registration: it starts with Windows and restarts when it fails. The
             flags are those of `otelet run`. --account is the account that it runs as: LocalSystem by default, else
             \"NT SERVICE\\otelet\", \"NT AUTHORITY\\LocalService\" or another one that has no password.
             --keep keeps the account and the flags of a registered service, and leaves it disabled if it is.
  configure  Write these settings into the settings file, without changing the rest of it. Settings that the agent would
             refuse are not written. Write a comma inside a value of an attribute twice. --undo reverts the last change.
  uninstall  Stop the service and remove it. State and settings stay, unless --purge is given.
  start      Start it, and wait until it runs.
  stop       Stop it, and wait until the collector has ended.
  restart    Stop it if it runs, and start it. A disabled service stays stopped.
  reload     Make it read its settings again.
  status     Print whether it runs; exit with 0 if it does, else with 1.
";

/// Runs a command line and returns its exit status.
type RunCommand = fn(Vec<OsString>) -> u8;

/// Runs the command line: commands about the service here, all others by `run_command`.
pub fn serve(manager: ServiceManager, mut arguments: Vec<OsString>, run_command: RunCommand) -> u8 {
    if arguments.first().is_some_and(|first| first == "service") {
        return command(manager, arguments.split_off(1));
    }
    let before = arguments.len();
    arguments.retain(|argument| argument != "--service");
    if arguments.len() == before {
        let asked_for_help =
            arguments.iter().any(|argument| argument == "help" || argument == "--help" || argument == "-h");
        let status = run_command(arguments);
        if asked_for_help && status == exit::OK {
            println!("\nAs a service of Windows: otelet service help");
        }
        os::finish_log();
        return status;
    }
    run_as_service(manager, run_command, arguments)
}

fn run_as_service(manager: ServiceManager, run_command: RunCommand, arguments: Vec<OsString>) -> u8 {
    let body = move || {
        open_log(manager);
        run_command(arguments)
    };
    match manager.run(NAME, body) {
        Ok(()) => exit::OK,
        Err(error) if error.kind == ServiceErrorKind::NotStartedByManager => {
            eprintln!("otelet: --service is for the service manager, which did not start this process; leave it out");
            exit::USAGE
        }
        Err(error) => {
            eprintln!("otelet: the service manager does not answer: {}", error.cause);
            exit::BUG
        }
    }
}

/// Sends the log, and all other output on stderr, to a file: a service has no stderr.
fn open_log(manager: ServiceManager) {
    let path = control::log_path(manager);
    let directory = path.parent().expect("it is in the data directory");
    // An error cannot be reported anywhere; the service runs without a log.
    drop(os::private_dir(directory).and_then(|()| crate::log::into_file(&path)));
}

fn command(manager: ServiceManager, mut arguments: Vec<OsString>) -> u8 {
    let verb = if arguments.is_empty() { OsString::new() } else { arguments.remove(0) };
    let verb = verb.to_string_lossy().into_owned();
    let purge = verb == "uninstall" && arguments.iter().any(|argument| argument == "--purge");
    arguments.retain(|argument| !(purge && argument == "--purge"));
    if !matches!(&*verb, "install" | "configure") && !arguments.is_empty() {
        eprintln!("otelet: otelet service {verb} does not take {}\n\n{USAGE}", arguments[0].display());
        return exit::USAGE;
    }
    match &*verb {
        "install" => install(manager, arguments),
        "configure" => configure(manager, arguments),
        "uninstall" => print_result(register::uninstall(manager, purge)),
        "start" => print_result(control::start(manager)),
        "stop" => print_result(control::stop(manager)),
        "restart" => print_result(control::restart(manager)),
        "reload" => print_result(control::reload(manager)),
        "status" => match control::status(manager) {
            Ok((text, true)) => print_result(Ok(text)),
            Ok((text, false)) => {
                println!("{text}");
                exit::NO
            }
            Err(why) => print_result(Err(why)),
        },
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            exit::OK
        }
        "" => {
            eprint!("{USAGE}");
            exit::USAGE
        }
        other => {
            eprintln!("otelet: unknown command \"service {}\"\n\n{USAGE}", otelet_core::text::clip(other));
            exit::USAGE
        }
    }
}

fn print_result(result: Result<String, String>) -> u8 {
    match result {
        Ok(text) => {
            println!("{text}");
            exit::OK
        }
        Err(why) => {
            eprintln!("otelet: {why}");
            exit::NO
        }
    }
}

fn install(manager: ServiceManager, mut arguments: Vec<OsString>) -> u8 {
    let mut account = None;
    arguments.retain(|argument| match argument.to_string_lossy().strip_prefix("--account=") {
        Some(name) => {
            account = Some(name.to_owned()).filter(|name| !name.is_empty());
            false
        }
        None => true,
    });
    let before = arguments.len();
    arguments.retain(|argument| argument != "--keep");
    let keep = arguments.len() < before;
    if keep && (account.is_some() || !arguments.is_empty()) {
        eprintln!("otelet: --keep keeps account and flags, so neither can be given\n\n{USAGE}");
        return exit::USAGE;
    }
    // The service would refuse bad flags at each start, so they are refused here.
    let as_run = std::iter::once("run".into()).chain(arguments.iter().cloned());
    if let Err(error) = cli::parse(as_run) {
        eprintln!("otelet: {error}");
        return exit::USAGE;
    }
    print_result(register::install(manager, account.as_deref(), &arguments, keep))
}

fn configure(manager: ServiceManager, arguments: Vec<OsString>) -> u8 {
    let path = os::default_settings_path();
    if arguments.iter().any(|argument| argument == "--undo") {
        return print_result(configure::undo(&path));
    }
    match cli::installer_args(arguments) {
        Ok(given) => print_result(configure::configure(&given, &path, &control::registered_flags(Some(manager)))),
        Err(why) => {
            eprintln!("otelet: {why}");
            exit::USAGE
        }
    }
}

/// Checks whether the given settings can be written into the settings file, as far as this user may read it.
///
/// # Errors
///
/// Why the agent would refuse them.
pub fn judge_configure(given: &InstallerArgs) -> Result<(), String> {
    configure::judge(given, &os::default_settings_path(), &control::registered_flags(os::service_manager()))
}
