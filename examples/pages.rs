//! Prints a page that is made from the table of flags, for packagers: `cargo run --example pages -- man`, or `bash`,
//! `zsh`, `fish`, `settings`. It is an example and not a command, because no host needs these pages in the binary.

use std::process::ExitCode;

use otelet::cli::{self, completions};

fn main() -> ExitCode {
    let text = match std::env::args().nth(1).as_deref() {
        Some("man") => cli::man(),
        Some("bash") => completions::bash(),
        Some("zsh") => completions::zsh(),
        Some("fish") => completions::fish(),
        Some("settings") => cli::settings_reference(),
        _ => {
            eprintln!("pages: give one of man, bash, zsh, fish, settings");
            return ExitCode::from(64);
        }
    };
    print!("{text}");
    ExitCode::SUCCESS
}
