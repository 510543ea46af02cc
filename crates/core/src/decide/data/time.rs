//! The time that a decision is given, and the time at which the next one is due.

use std::time::{Duration, Instant, SystemTime};

/// The time and the random number for one decision.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The monotonic clock, on which all decisions count.
    pub now: Instant,
    /// The wall clock, for people. It may jump, so no decision depends on it, but what failed is tried again after a jump.
    pub wall: SystemTime,
    /// A fresh random number, for jitter.
    pub dice: u64,
}

/// The time of a task, and how much later it may still be done. One wake-up can then do several tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    /// The earliest time.
    pub at: Instant,
    /// The latest time is this much after `at`.
    pub slack: Duration,
}

impl Due {
    /// A task that must be done at this time.
    pub fn at(at: Instant) -> Self {
        Self { at, slack: Duration::ZERO }
    }

    /// Whether the earliest time has come.
    pub fn reached(&self, now: Instant) -> bool {
        now >= self.at
    }

    /// The latest time.
    pub fn latest(&self) -> Instant {
        self.at + self.slack
    }
}

/// A point on the monotonic clock for tests to count from. Rust has no other way to make an `Instant`.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up; tests only add to it")]
pub(crate) fn origin() -> Instant {
    Instant::now()
}
