//! `otelet validate`: tries the settings, the source and the collector's own `validate` as the agent of this host would,
//! and starts nothing.

use crate::cli::Invocation;
use crate::exit;
use crate::run::trial::{self, Asker};
use crate::settings::{ProtocolName, Settings};

/// Prints each step that works and the first that does not. Answers with the exit status.
pub fn validate(invocation: &Invocation, mut settings: Settings) -> u8 {
    // A source that is named here is the one that is meant: no other one may answer for it.
    let named = invocation.flags.get("config.url").is_some();
    if named {
        settings.config.fallback.clear();
    }
    let tried = match (named, settings.config.protocol) {
        (true, ProtocolName::KloudMate) => Err("source: KloudMate's service announces a config only once, so \
            --config-url cannot be asked here; name a file and --config-protocol=get, or leave both out to look at the \
            config that is kept"
            .to_owned()),
        (true | false, _) => trial::run(&settings, Asker::Person { names_source: named }),
    };
    match tried {
        Ok(()) => exit::OK,
        Err(why) => {
            println!("{why}");
            exit::NO
        }
    }
}
