//! Paces the samples of the host: often enough to be useful, without extra wake-ups where possible.

use std::time::{Duration, Instant};

use super::data::time::Due;

/// The time of the next sample.
#[derive(Debug)]
pub struct SampleSchedule {
    /// The most time between two samples. From half of it on, a sample is taken on any other wake-up, such as a poll or
    /// a probe.
    every: Duration,
    next: Instant,
}

impl SampleSchedule {
    /// Starts with a sample due at once: CPU times need two samples to compare.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every, next: now }
    }

    /// Applies a new interval. If it is shorter, the next sample comes sooner.
    pub fn reconfigure(&mut self, every: Duration, now: Instant) {
        self.every = every;
        self.next = self.next.min(now + every / 2);
    }

    /// Begins a sample if one is due, and plans the next. Returns whether it did.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = self.due().reached(now);
        if due {
            self.next = now + self.every / 2;
        }
        due
    }

    /// The time of the next sample.
    pub fn due(&self) -> Due {
        Due { at: self.next, slack: self.every / 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::time::origin;

    const EVERY: Duration = Duration::from_secs(16);

    #[test]
    fn a_sample_uses_other_wake_ups_and_forces_one_only_at_its_latest_time() {
        let t0 = origin();
        let mut sampling = SampleSchedule::new(EVERY, t0);

        assert!(sampling.begin(t0));
        assert!(!sampling.begin(t0 + EVERY / 4));
        assert!(sampling.begin(t0 + EVERY / 2));
        assert_eq!(sampling.due().latest(), t0 + EVERY / 2 + EVERY);
    }

    #[test]
    fn a_shorter_interval_holds_at_once_and_a_longer_one_after_the_next_sample() {
        let t0 = origin();
        let mut sampling = SampleSchedule::new(EVERY, t0);
        sampling.begin(t0);

        sampling.reconfigure(EVERY / 4, t0);
        assert_eq!(sampling.due().latest(), t0 + EVERY / 4);

        sampling.reconfigure(EVERY * 4, t0);
        assert_eq!(sampling.due().at, t0 + EVERY / 8);
        assert!(sampling.begin(t0 + EVERY / 8));
        assert_eq!(sampling.due().latest(), t0 + EVERY / 8 + EVERY * 4);
    }
}
