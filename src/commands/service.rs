//! The agent as a Windows service: `otelet service ...` for people, `otelet run --service` for the service manager.
//!
//! Whether it is a service is never guessed: the command line that is registered says so. None of this is reached where the
//! system has no [`ServiceManager`].

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

  install    Register the service, or register it anew: started with Windows, restarted when it fails. The flags are
             those of `otelet run`. --account is the account that it runs as: LocalSystem if nothing is said, else
             \"NT SERVICE\\otelet\", \"NT AUTHORITY\\LocalService\" or another one that has no password.
             --keep leaves the account and the flags of one that is registered already, and whether it is disabled.
  configure  Write these settings into the settings file, and leave the rest of it as it is; refuse what the agent would.
             A comma in a value of an attribute is written twice. --undo takes the last time back.
  uninstall  Stop the service and forget it. State and settings stay, unless --purge is given.
  start      Start it, and wait until it runs.
  stop       Stop it, and wait until the collector has ended.
  restart    Stop it if it runs, and start it. One that is disabled stays stopped.
  reload     Have it read its settings again.
  status     Print whether it runs; exit with 0 if it does, else with 1.
";

/// Answers a command line with an exit status.
type Answer = fn(Vec<OsString>) -> u8;

/// Answers the command line: what concerns the service here, everything else by `answer`.
pub fn serve(manager: ServiceManager, mut arguments: Vec<OsString>, answer: Answer) -> u8 {
    if arguments.first().is_some_and(|first| first == "service") {
        return command(manager, arguments.split_off(1));
    }
    let before = arguments.len();
    arguments.retain(|argument| argument != "--service");
    if arguments.len() == before {
        let asked_for_help =
            arguments.iter().any(|argument| argument == "help" || argument == "--help" || argument == "-h");
        let status = answer(arguments);
        if asked_for_help && status == exit::OK {
            println!("\nAs a service of Windows: otelet service help");
        }
        os::finish_log();
        return status;
    }
    run_as_service(manager, answer, arguments)
}

fn run_as_service(manager: ServiceManager, answer: Answer, arguments: Vec<OsString>) -> u8 {
    let body = move || {
        open_log(manager);
        answer(arguments)
    };
    match manager.run(NAME, body) {
        Ok(()) => exit::OK,
        Err(error) if error.kind == ServiceErrorKind::NotStartedByManager => {
            eprintln!("otelet: --service is for the service manager, which did not start this; leave it out");
            exit::USAGE
        }
        Err(error) => {
            eprintln!("otelet: the service manager does not answer: {}", error.cause);
            exit::BUG
        }
    }
}

/// Has the log, and all else on stderr, go into a file: the stderr of a service leads nowhere.
fn open_log(manager: ServiceManager) {
    let path = control::log_path(manager);
    let directory = path.parent().expect("it is in a directory of ours");
    // There is nobody to be told; the service runs all the same.
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
        "uninstall" => answer(register::uninstall(manager, purge)),
        "start" => answer(control::start(manager)),
        "stop" => answer(control::stop(manager)),
        "restart" => answer(control::restart(manager)),
        "reload" => answer(control::reload(manager)),
        "status" => match control::status(manager) {
            Ok((text, true)) => answer(Ok(text)),
            Ok((text, false)) => {
                println!("{text}");
                exit::NO
            }
            Err(why) => answer(Err(why)),
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

fn answer(done: Result<String, String>) -> u8 {
    match done {
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
        eprintln!("otelet: --keep keeps account and flags, so that none can be given\n\n{USAGE}");
        return exit::USAGE;
    }
    // Flags that the service would refuse at each start are refused here.
    let as_run = std::iter::once("run".into()).chain(arguments.iter().cloned());
    if let Err(error) = cli::parse(as_run) {
        eprintln!("otelet: {error}");
        return exit::USAGE;
    }
    answer(register::install(manager, account.as_deref(), &arguments, keep))
}

fn configure(manager: ServiceManager, arguments: Vec<OsString>) -> u8 {
    let path = os::default_settings_path();
    if arguments.iter().any(|argument| argument == "--undo") {
        return answer(configure::undo(&path));
    }
    match cli::installer_args(arguments) {
        Ok(given) => answer(configure::configure(&given, &path, &control::registered_flags(Some(manager)))),
        Err(why) => {
            eprintln!("otelet: {why}");
            exit::USAGE
        }
    }
}

/// Whether settings that are given can be put into the settings file that is there; as far as this user may read it.
///
/// # Errors
///
/// Why the agent would refuse them.
pub fn judge_configure(given: &InstallerArgs) -> Result<(), String> {
    configure::judge(given, &os::default_settings_path(), &control::registered_flags(os::service_manager()))
}
