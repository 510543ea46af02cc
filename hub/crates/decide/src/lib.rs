//! Decides for the hub: no clock, no I/O, no randomness. Time comes in as an argument, so that any history can be replayed.
//!
//! `agent` holds the facts about one agent and its state, `fleet` decides which config each agent is to have, `derive`
//! compares two looks at an agent and names the events between them, `selector` reads and matches `site=line-3,!retired`.

// The tests read how many seeds they are to run.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
#![warn(missing_docs)]

mod agent;
mod derive;
mod fleet;
mod ids;
mod selector;
#[cfg(test)]
mod simulation;

pub use agent::{Agent, Health, Labels, Offer, OfferState, Refusal, Report, State};
pub use derive::{Event, Severity, derive};
pub use fleet::{Action, Fleet, Happened, Member, Rule, SETTLE, STUCK, Stop, Target, Turn, Verdict};
pub use ids::{Hash, Millis, Uid};
pub use selector::{Selector, SelectorError};
