//! Decisions: the only place in the program that asks the agent, and the only place in this room that reads a clock or draws
//! a random number.

use std::time::{Instant, SystemTime};

use otelet_core::decide::{Action, Agent, Event, Moment};

/// Now, with a fresh random number.
pub(super) fn moment() -> Moment {
    Moment { now: Instant::now(), wall: SystemTime::now(), dice: fastrand::u64(..) }
}

/// Asks the agent for the actions that follow from an event.
pub(super) fn ask(agent: &mut Agent, event: Event, at: Moment) -> Vec<Action> {
    agent.on(event, at)
}
