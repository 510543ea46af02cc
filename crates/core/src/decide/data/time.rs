//! The time that a decision is given, and the time at which it wants to be asked again.

use std::time::{Duration, Instant, SystemTime};

/// What the outside gives to each decision.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock, for what people read; it may jump and decides nothing.
    pub wall: SystemTime,
    /// A fresh random number, for jitter.
    pub dice: u64,
}

/// A time at which something is to be done, and how much later still serves: one wake-up then does several things.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    /// Not before.
    pub at: Instant,
    /// Not later than this after `at`.
    pub slack: Duration,
}

impl Due {
    /// Exactly at this time.
    pub fn at(at: Instant) -> Self {
        Self { at, slack: Duration::ZERO }
    }

    /// Whether the time has come.
    pub fn reached(&self, now: Instant) -> bool {
        now >= self.at
    }

    /// The time at which it can wait no longer.
    pub fn latest(&self) -> Instant {
        self.at + self.slack
    }
}

/// A place on the monotonic clock for tests to count from. There is no other way to get one.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up; tests only add to it")]
pub(crate) fn origin() -> Instant {
    Instant::now()
}
