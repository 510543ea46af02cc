//! `otelet validate`: tries the settings, the source and the collector's own `validate`, and starts nothing.

use crate::exit;
use crate::run::trial;
use crate::settings::Settings;

/// Prints each step that works and the first that does not. Answers with the exit status.
pub fn validate(settings: &Settings) -> u8 {
    match trial::run(settings) {
        Ok(()) => exit::OK,
        Err(why) => {
            println!("{why}");
            exit::NO
        }
    }
}
