//! Exponential backoff with full jitter: many agents that lost the same server do not come back at the same moment.

use std::time::{Duration, Instant};

use super::data::time::Due;

/// A repeated task may be done this much before its time, on another wake-up. A healthy collector is probed at least
/// this often, so there mostly is such a wake-up.
const RIDE: Duration = Duration::from_secs(16);

/// A task that nobody waits for may be done this much after its time.
const LATER: Duration = Duration::from_secs(10);

/// A random time between zero and `base * 2^attempt`, but no more than `cap`. Attempts count from 0.
///
/// Full jitter gives the least load of all forms of jitter. A caller that needs a least time adds it.
pub fn full_jitter(attempt: u32, base: Duration, cap: Duration, dice: u64) -> Duration {
    // 2^20 times any base in use is far beyond any cap.
    let ceiling = base.saturating_mul(1 << attempt.min(20)).min(cap);
    ceiling.mul_f64(fraction(dice))
}

/// The time of a task that repeats after about `time`. Its latest moment is random within a tenth of `time`, so that
/// agents that were started together drift apart. Its earliest moment is up to a tenth sooner, on a wake-up that comes
/// anyway. So tasks with the same `time` are done together: the wake-up for the first one does the others as well.
pub fn around(since: Instant, time: Duration, dice: u64) -> Due {
    let chance = (time / 5).mul_f64(fraction(dice));
    let slack = chance.min(RIDE);
    Due { at: since + time - time / 10 + (chance - slack), slack }
}

/// The same for a task that nobody waits for: it may be done a little later, if no other wake-up comes sooner.
pub fn around_or_later(since: Instant, time: Duration, dice: u64) -> Due {
    let due = around(since, time, dice);
    Due { slack: due.slack + patience(time), ..due }
}

/// How much later a task may be done that nobody waits for.
pub fn patience(time: Duration) -> Duration {
    (time / 6).min(LATER)
}

/// A number in [0, 1) from the upper 53 bits, the precision of an `f64`.
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
    fn around_is_random_within_a_tenth() {
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
    fn tasks_with_the_same_interval_share_a_wake_up() {
        let t0 = origin();
        let [one, other] = [u64::MAX / 5, u64::MAX].map(|dice| around(t0, Duration::from_secs(30), dice));
        assert!(one.latest() < other.latest() && other.reached(one.latest()));
    }
}
