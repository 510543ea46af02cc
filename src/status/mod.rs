//! The status: written by the agent to its runtime directory, read by `otelet status` and by scripts.
//!
//! The agent writes it when something changes, and when it is poked: so it costs nothing while nothing happens, and an
//! agent that does not answer a poke is known to hang.
//!
//! `compute` puts it together, `ask` reads it and asks a running agent for more. `commands::status` shows it to people.

mod ask;
mod compute;
mod diagnosis;
mod essence;

pub use ask::{Request, Standby, Verb, agent_is_alive, fresh, own, owner, path, read, request, request_path, stranger};
pub use compute::{Facts, collector_state, compute, mask};
pub use diagnosis::{Diagnosis, secret_variables};
pub use essence::{Essence, essence};
