//! Exponential backoff with full jitter: many agents that lost the same server do not come back at the same moment.

use std::time::Duration;

/// A random time between zero and `base * 2^attempt`, that ceiling being at most `cap`. Attempts count from 0.
///
/// Full jitter gives the least load of all forms of jitter; whoever needs a least time adds it outside.
pub fn full_jitter(attempt: u32, base: Duration, cap: Duration, dice: u64) -> Duration {
    // 2^20 of any base that is used here is far beyond any cap.
    let ceiling = base.saturating_mul(1 << attempt.min(20)).min(cap);
    ceiling.mul_f64(fraction(dice))
}

/// The time, made up to a tenth shorter or longer, so that agents started together drift apart.
pub fn about(time: Duration, dice: u64) -> Duration {
    time.mul_f64(0.9 + 0.2 * fraction(dice))
}

/// A number in [0, 1) from the upper 53 bits, which is what an `f64` holds.
fn fraction(dice: u64) -> f64 {
    (dice >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn about_stays_within_a_tenth() {
        for dice in [0, 1 << 40, u64::MAX / 3, u64::MAX] {
            let time = about(Duration::from_secs(30), dice);
            assert!((27.0..=33.0).contains(&time.as_secs_f64()), "{time:?}");
        }
    }
}
