//! `otelet rollback`: back to the config before the last good one, or lets refused configs be tried again. A running agent
//! does it; without one the change is made on disk.

use std::time::SystemTime;

use crate::cli::Invocation;
use crate::exit;
use crate::settings::Settings;
use crate::status::{self, Verb};
use crate::store::{Store, StoreError};
use otelet_core::decide;

/// Rolls back, and prints the result. Answers with the exit status.
pub fn roll_back(invocation: &Invocation, settings: &Settings) -> u8 {
    let verb = match (invocation.clear_signed, invocation.clear) {
        (true, _) => Verb::ClearSigned,
        (false, true) => Verb::ClearRefused,
        (false, false) => Verb::RollBack,
    };
    let running = status::read(&settings.runtime_dir).is_ok_and(|status| status::agent_is_alive(&status));
    // A directory that was named on the command line is meant.
    let named = invocation.flags.get("runtime_dir").is_some();
    let done = if let Some(why) = status::stranger(settings).filter(|_| running && !named) {
        Err(why)
    } else if running {
        status::request(&settings.runtime_dir, verb)
    } else {
        roll_back_on_disk(verb, settings)
    };
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

/// Changes the state that the next agent starts from.
fn roll_back_on_disk(verb: Verb, settings: &Settings) -> Result<String, String> {
    let store = Store::new(&settings.state_dir);
    store.lock().map_err(|error| match error {
        StoreError::InUse { .. } => "an agent runs on this state directory with another runtime_dir; name it".into(),
        error => error.chain(),
    })?;
    let (mut memory, warnings) = store.load();
    warnings.iter().for_each(|warning| eprintln!("otelet: {warning}"));
    let (record, answer) = decide::rollout::on_disk(memory.record, verb == Verb::RollBack, SystemTime::now());
    let text = answer?;
    memory.record = record;
    memory.source.validators = Default::default();
    if verb == Verb::ClearSigned {
        memory.source.signed = None;
    }
    store.save(&memory).map_err(|error| error.chain())?;
    Ok(text + verb.more())
}
