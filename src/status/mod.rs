//! The status: written by the agent to its runtime directory, read by `otelet status` and by whoever likes JSON.
//!
//! The agent writes it when something changes, and when it is poked: so it costs nothing while nothing happens, and an
//! agent that does not answer a poke is known to hang.
//!
//! The rooms: here is what it says; `ask` reads it and asks for more; `screen` makes a page for people
//! of it; `show` puts that on a terminal.

mod ask;
mod compute;
mod essence;
mod screen;
mod show;

pub use ask::{
    Diagnosis, Request, Standby, Verb, agent_is_alive, diagnosis_path, fresh, path, read, request, request_path,
};
pub use compute::{Facts, collector_state, compute, mask};
pub use essence::{Essence, essence};
pub use screen::screen;
pub use show::show;
