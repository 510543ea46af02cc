//! The spelling of errors, texts that must not be shown, and the text in files that people write.

mod nearest;
mod plain;
mod token;

pub use nearest::{clip, nearest};
pub use plain::{NotText, decode, disguise, unmarked, without_blank_end};
pub use token::shown_path;

/// The error and its causes, joined by colons into one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
