//! Prints a page that is made from the table of flags, for packagers: `cargo run --example pages -- man`, or `bash`,
//! `zsh`, `fish`, `settings`; `kept` writes those of the packages into targets/linux/pages. It is an example and not a
//! command, because no host needs these pages in the binary.

use std::process::ExitCode;

use otelet::cli::{self, completions};

fn main() -> ExitCode {
    let text = match std::env::args().nth(1).as_deref() {
        Some("man") => cli::man(),
        Some("bash") => completions::bash(),
        Some("zsh") => completions::zsh(),
        Some("fish") => completions::fish(),
        Some("settings") => cli::settings_reference(),
        Some("kept") => {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/linux/pages");
            let pages = [
                ("otelet.8", cli::man()),
                ("otelet.bash", completions::bash()),
                ("_otelet", completions::zsh()),
                ("otelet.fish", completions::fish()),
            ];
            for (name, text) in pages {
                if let Err(error) = std::fs::write(format!("{folder}/{name}"), text) {
                    eprintln!("pages: {folder}/{name}: {error}");
                    return ExitCode::FAILURE;
                }
            }
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("pages: give one of man, bash, zsh, fish, settings, kept");
            return ExitCode::from(64);
        }
    };
    print!("{text}");
    ExitCode::SUCCESS
}
