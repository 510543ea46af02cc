//! Parses the command line, runs the command, and ends with its exit status.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use otelet::cli::{self, Command, Invocation};
use otelet::commands::{diagnose, doctor, rollback, service, status, validate};
use otelet::settings::{self, World};
use otelet::{exit, os, run};

fn main() -> ExitCode {
    os::keep_descriptors();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    ExitCode::from(match os::service_manager() {
        Some(manager) => service::serve(manager, arguments, answer),
        None => answer(arguments),
    })
}

fn answer(arguments: Vec<OsString>) -> u8 {
    match cli::parse(arguments) {
        Ok(invocation) => dispatch(invocation),
        Err(error) => {
            eprintln!("otelet: {error}");
            exit::USAGE
        }
    }
}

fn dispatch(invocation: Invocation) -> u8 {
    match invocation.command {
        Command::Help => {
            print(&invocation.topic.map_or_else(cli::help, cli::help_of));
            return exit::OK;
        }
        Command::Version => {
            print(concat!("otelet ", env!("CARGO_PKG_VERSION"), "\n"));
            return exit::OK;
        }
        // These have to work when the settings cannot be used.
        Command::Diagnose => return diagnose::diagnose(&invocation),
        Command::Doctor => return doctor::doctor(&invocation),
        // Before the settings are read: people look for errors in the settings in that file.
        Command::Run => log_into_file(invocation.log_file.as_deref()),
        Command::Validate | Command::Status | Command::Rollback => {}
    }
    let settings = match settings::load(&invocation.flags, &World::real()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("otelet: {}", otelet_core::text::chain(&error));
            return error.exit_status();
        }
    };
    otelet::http::hide_paths(settings.config.hide_url_paths);
    match invocation.command {
        Command::Run => run::run(invocation.flags, settings),
        Command::Validate => validate::validate(&invocation, settings),
        Command::Status => status::show(&invocation, &settings),
        Command::Rollback => rollback::roll_back(&invocation, &settings),
        Command::Doctor | Command::Diagnose | Command::Version | Command::Help => unreachable!("answered above"),
    }
}

/// Sends the log to a file. The agent runs even if it cannot be written.
fn log_into_file(named: Option<&Path>) {
    let variable = std::env::var_os("OTELET_LOG_FILE").filter(|value| !value.is_empty());
    let Some(path) = named.map(Path::to_path_buf).or_else(|| variable.map(PathBuf::from)) else { return };
    if let Err(error) = otelet::log::into_file(&path) {
        eprintln!("otelet: --log-file={}: {error}; the log goes to stderr", path.display());
    }
}

fn print(text: &str) {
    use std::io::Write;
    // A reader that has gone away is no reason to panic.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
