//! Paces the samples of the host: often enough to see, seldom enough not to wake the host for them.

use std::time::{Duration, Instant};

use super::Due;

/// The least time between two samples. With [`SLACK`] it lets a sample ride on a poll or a probe.
const EVERY: Duration = Duration::from_secs(8);

/// How much later a sample may be taken.
const SLACK: Duration = Duration::from_secs(8);

/// When the host is sampled next.
#[derive(Debug)]
pub struct Sampling {
    next: Instant,
}

impl Sampling {
    /// The first sample is taken at once: CPU times need two to compare.
    pub fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// Whether a sample is to be taken now; the next is then planned.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = self.due().reached(now);
        if due {
            self.next = now + EVERY;
        }
        due
    }

    /// When the next sample is due.
    pub fn due(&self) -> Due {
        Due { at: self.next, slack: SLACK }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::origin;

    #[test]
    fn a_sample_rides_on_a_wake_up_that_comes_anyway_and_forces_one_only_at_its_latest() {
        let t0 = origin();
        let mut sampling = Sampling::new(t0);

        assert!(sampling.begin(t0));
        assert!(!sampling.begin(t0 + EVERY / 2));
        assert!(sampling.begin(t0 + EVERY));
        assert_eq!(sampling.due().latest(), t0 + EVERY + EVERY + SLACK);
    }
}
