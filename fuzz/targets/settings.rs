//! A settings file and flags of any content: they are accepted or refused in words, never with a secret in them, and
//! accepted settings make a usable source.
//!
//! The input is a command line, one argument a line, then a byte 0xff, then the settings file.

#![no_main]

use std::ffi::OsString;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use otelet::cli;
use otelet::settings::{World, load};
use otelet::source::Source;

const SECRET: &str = "hunter2";

fuzz_target!(|data: &[u8]| {
    let (line, file) = match data.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&[][..], data),
    };
    // The secret is the value of a variable alone: the author of a file or a flag may be shown its own text.
    if data.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
        return;
    }
    let line = String::from_utf8_lossy(line);
    let Ok(invocation) = cli::parse(line.lines().map(OsString::from)) else { return };
    let file = file.to_vec();
    let world = World {
        var: Box::new(|name| (name == "TOKEN").then(|| SECRET.into())),
        read: Box::new(move |path| match path.ends_with("secret") {
            true => Ok(SECRET.into()),
            false => Ok(file.clone()),
        }),
        here: PathBuf::from("/here"),
    };
    match load(&invocation.flags, &world) {
        Err(error) => {
            let said = format!("{error} {error:?}");
            assert!(!said.contains(SECRET), "{said}");
            assert!(!error.to_string().contains('\n'), "{said}");
        }
        Ok(settings) => {
            assert_eq!(load(&invocation.flags, &world).unwrap(), settings, "twice the same");
            assert!(settings.state_dir.is_absolute() && settings.runtime_dir.is_absolute());
            let unchecked = |arg: &String| ["--config", "--set"].contains(&arg.split('=').next().unwrap());
            assert!(!settings.collector.args.iter().any(unchecked));
            if settings.config.url.is_some() {
                let source = Source::new(&settings.config, &settings.state_dir).map(|source| source.describe());
                source.expect("what the settings take, the source can use");
            }
        }
    }
});
