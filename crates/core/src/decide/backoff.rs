//! Exponential backoff with full jitter: many agents that lost the same server do not come back at the same moment.

use std::time::{Duration, Instant};

use super::data::time::Due;

/// How long before its own time something that is done again and again is done on another wake-up, at the most. A collector that
/// is well is probed as seldom as this, so that there mostly is one.
const RIDE: Duration = Duration::from_secs(16);

/// How much later it may be done if nobody waits for it, at the most.
const LATER: Duration = Duration::from_secs(10);

/// A random time between zero and `base * 2^attempt`, that ceiling being at most `cap`. Attempts count from 0.
///
/// Full jitter gives the least load of all forms of jitter; whoever needs a least time adds it outside.
pub fn full_jitter(attempt: u32, base: Duration, cap: Duration, dice: u64) -> Duration {
    // 2^20 of any base that is used here is far beyond any cap.
    let ceiling = base.saturating_mul(1 << attempt.min(20)).min(cap);
    ceiling.mul_f64(fraction(dice))
}

/// About this time after `since`: at the latest at a time by chance within a tenth of it, so that agents started together drift
/// apart, and sooner, but no more than a tenth, on a wake-up that comes anyway. What has the same `time` so comes together:
/// whose latest time is the first takes the others along.
pub fn around(since: Instant, time: Duration, dice: u64) -> Due {
    let chance = (time / 5).mul_f64(fraction(dice));
    let slack = chance.min(RIDE);
    Due { at: since + time - time / 10 + (chance - slack), slack }
}

/// The same of what nobody waits for: it may come a little later, if there is no such wake-up sooner.
pub fn around_or_later(since: Instant, time: Duration, dice: u64) -> Due {
    let due = around(since, time, dice);
    Due { slack: due.slack + patience(time), ..due }
}

/// How much later than after this time something may be done that nobody waits for.
pub fn patience(time: Duration) -> Duration {
    (time / 6).min(LATER)
}

/// A number in [0, 1) from the upper 53 bits, which is what an `f64` holds.
fn fraction(dice: u64) -> f64 {
    (dice >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::time::origin;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(60);

    #[test]
    fn the_ceiling_doubles_with_each_attempt_up_to_the_cap() {
        let most = |attempt| full_jitter(attempt, BASE, CAP, u64::MAX).as_secs_f64();

        assert!((most(0) - 0.1).abs() < 1e-6);
        assert!((most(3) - 0.8).abs() < 1e-6);
        assert!((most(12) - 60.0).abs() < 1e-6);
        assert!((most(u32::MAX) - 60.0).abs() < 1e-6);
    }

    #[test]
    fn the_whole_range_is_used() {
        assert_eq!(full_jitter(5, BASE, CAP, 0), Duration::ZERO);
        let middle = full_jitter(0, BASE, CAP, u64::MAX / 2).as_secs_f64();
        assert!((middle - 0.05).abs() < 1e-6);
    }

    #[test]
    fn around_is_within_a_tenth_and_by_chance() {
        let t0 = origin();
        for time in [30, 600] {
            let time = Duration::from_secs(time);
            let mut latest = Vec::new();
            for dice in [0, 1 << 40, u64::MAX / 3, u64::MAX] {
                let due = around(t0, time, dice);
                assert!(due.at >= t0 + time * 9 / 10 && due.latest() <= t0 + time * 11 / 10, "{due:?}");
                assert!(due.slack <= RIDE, "a long time keeps its chance: {due:?}");
                latest.push(due.latest() - t0);
            }
            assert_eq!(latest[0], time * 9 / 10);
            assert!(latest[3] > time * 109 / 100, "{latest:?}");
        }
    }

    #[test]
    fn what_is_as_frequent_comes_together() {
        let t0 = origin();
        let [one, other] = [u64::MAX / 5, u64::MAX].map(|dice| around(t0, Duration::from_secs(30), dice));
        assert!(one.latest() < other.latest() && other.reached(one.latest()));
    }
}
