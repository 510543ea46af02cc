//! Paces the signs of life for a service manager that restarts an agent without them.

use std::time::{Duration, Instant};

use super::data::time::Due;

/// The time of the next sign of life.
#[derive(Debug)]
pub struct Watchdog {
    /// How long the service manager waits for one; none if it does not watch the agent.
    limit: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// Starts with a sign due at once.
    pub fn new(limit: Option<Duration>, now: Instant) -> Self {
        Self { limit, next: now }
    }

    /// Gives a sign if one is due. Returns whether it did.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = self.due().is_some_and(|due| due.reached(now));
        if due {
            self.next = now + self.quarter();
        }
        due
    }

    /// The time of the next sign: from a quarter of the limit on, and at half of it at the latest, as
    /// sd_watchdog_enabled(3) recommends. In between, any wake-up gives it.
    pub fn due(&self) -> Option<Due> {
        self.limit.map(|_| Due { at: self.next, slack: self.quarter() })
    }

    fn quarter(&self) -> Duration {
        self.limit.unwrap_or_default() / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::time::origin;

    #[test]
    fn signs_of_life_are_at_most_half_the_limit_apart() {
        let (t0, limit) = (origin(), Duration::from_secs(60));
        let mut watchdog = Watchdog::new(Some(limit), t0);
        assert!(watchdog.begin(t0));
        assert!(!watchdog.begin(t0 + limit / 8), "not with each wake-up");
        assert_eq!(watchdog.due().expect("there is a limit").latest(), t0 + limit / 2);
        assert!(watchdog.begin(t0 + limit / 4));
    }

    #[test]
    fn no_wake_ups_without_a_watchdog() {
        let t0 = origin();
        let mut watchdog = Watchdog::new(None, t0);
        assert!(!watchdog.begin(t0 + Duration::from_secs(3600)));
        assert_eq!(watchdog.due(), None);
    }
}
