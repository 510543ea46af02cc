//! Slows down changes between configs, as the backoff slows down crashes: mirrors that disagree, or a time that is
//! rendered into each answer, must not restart the collector at each poll. The first changes are made at once.

use std::time::{Duration, Instant};

use super::data::flapping::Flapping;
use super::data::hash::ConfigHash;

/// This many changes are made at once. A person who mends a config at a server seldom needs more.
pub const FREE: u32 = 4;

/// The wait before the first change that is damped. It doubles with each further one.
pub const FIRST: Duration = Duration::from_secs(60);

/// The wait doubles this often, up to 32 minutes.
const DOUBLINGS: u32 = 5;

/// After this time without a change, one earlier change is forgotten. It is the longest wait, so a source that
/// alternates for ever gets two changes an hour.
const FORGET: Duration = Duration::from_secs(32 * 60);

/// So many configs are remembered to tell whether two of them alternate.
const RECENT: usize = 4;

/// The changes of a while.
#[derive(Debug, Default)]
pub struct Damping {
    /// Changes that are not forgotten yet, at most those that lead to the longest wait.
    level: u32,
    /// Changes since there was none to remember.
    times: u32,
    first: Option<Instant>,
    last: Option<Instant>,
    /// Whether it was told that a config waits, since the last change.
    told: bool,
    /// The configs that ran, newest last.
    recent: Vec<ConfigHash>,
}

impl Damping {
    /// Remembers a change from one config to another.
    pub fn changed(&mut self, from: ConfigHash, to: ConfigHash, now: Instant) {
        let calm = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let forgotten = calm.as_secs() / FORGET.as_secs();
        self.level = self.level.saturating_sub(forgotten.try_into().unwrap_or(u32::MAX));
        if self.level == 0 {
            *self = Self::default();
        }
        self.level = (self.level + 1).min(FREE + DOUBLINGS);
        self.times += 1;
        self.told = false;
        self.first.get_or_insert(now);
        self.last = Some(now);
        for config in [from, to] {
            if self.recent.last() != Some(&config) {
                self.recent.push(config);
            }
        }
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
    }

    /// Whether the next change may have to wait.
    pub fn is_hot(&self) -> bool {
        self.level >= FREE
    }

    /// The time before which no change may begin. A new config gets twice its probation, so that one of two that
    /// alternate can become the last good one. A config that fails is replaced sooner.
    pub fn until(&self, probation: Duration, failing: bool) -> Option<Instant> {
        let last = self.last.filter(|_| self.level >= FREE)?;
        let wait = FIRST * (1 << (self.level - FREE).min(DOUBLINGS));
        Some(last + if failing { FIRST } else { wait.max(probation * 2) })
    }

    /// The reason why this config waits, if it was not told since the last change.
    pub fn news(&mut self, waits: ConfigHash) -> Option<Flapping> {
        (!std::mem::replace(&mut self.told, true)).then(|| self.describe(waits))
    }

    /// The reason why this config waits.
    pub fn describe(&self, waits: ConfigHash) -> Flapping {
        // A person's rollback is no change, so the newest of these may be the one that waits.
        let other = self.recent.iter().rev().find(|recent| **recent != waits).copied();
        let between = other.filter(|_| self.recent.contains(&waits)).map(|other| (other, waits));
        let within = self.last.zip(self.first).map_or(Duration::ZERO, |(last, first)| last - first);
        Flapping { times: self.times, within, between }
    }

    /// Forgets all changes: a person wants the next one at once.
    pub fn lift(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::time::origin;

    const A: ConfigHash = ConfigHash([1; 32]);
    const B: ConfigHash = ConfigHash([2; 32]);
    const PROBATION: Duration = Duration::from_secs(30);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Changes as soon as that is allowed, for this long. Returns the times of the changes.
    fn alternate(damping: &mut Damping, t0: Instant, length: Duration) -> Vec<Duration> {
        let (mut now, mut times) = (t0, Vec::new());
        while now < t0 + length {
            if damping.until(PROBATION, false).is_none_or(|until| now >= until) {
                let (from, to) = if times.len().is_multiple_of(2) { (A, B) } else { (B, A) };
                damping.changed(from, to, now);
                times.push(now - t0);
            }
            now += Duration::from_secs(1);
        }
        times
    }

    #[test]
    fn the_two_that_alternate_are_two() {
        let mut damping = Damping::default();
        damping.changed(A, B, origin());
        assert_eq!([A, B].map(|waits| damping.describe(waits).between), [Some((B, A)), Some((A, B))]);
        assert_eq!(damping.describe(ConfigHash([3; 32])).between, None);
    }

    #[test]
    fn the_first_changes_are_made_at_once_and_then_the_waits_double() {
        let times = alternate(&mut Damping::default(), origin(), MINUTE * 70);
        let minutes: Vec<u64> = times.iter().map(|time| time.as_secs().div_ceil(60)).collect();
        assert_eq!(minutes, [0, 1, 1, 1, 2, 4, 8, 16, 32, 64], "{times:?}");
    }

    #[test]
    fn configs_that_alternate_for_ever_change_twice_an_hour() {
        let times = alternate(&mut Damping::default(), origin(), MINUTE * 60 * 24);
        let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[9..].iter().all(|gap| *gap >= MINUTE * 30), "{gaps:?}");
    }

    #[test]
    fn a_calm_while_is_rewarded_and_a_calm_day_forgets_all() {
        let (t0, mut damping) = (origin(), Damping::default());
        alternate(&mut damping, t0, MINUTE * 10);
        assert!(damping.until(PROBATION, false).is_some_and(|until| until > t0 + MINUTE * 10));
        let day = t0 + MINUTE * 60 * 24;
        damping.changed(A, B, day);
        assert_eq!(damping.describe(A).times, 1);
        assert_eq!(damping.until(PROBATION, false), None);
    }

    #[test]
    fn a_config_that_fails_is_replaced_after_a_minute_and_one_in_its_probation_after_twice_that() {
        let (t0, mut damping) = (origin(), Damping::default());
        for _ in 0..20 {
            damping.changed(A, B, t0);
        }
        assert_eq!(damping.until(PROBATION, false), Some(t0 + MINUTE * 32));
        assert_eq!(damping.until(PROBATION, true), Some(t0 + FIRST));
        assert_eq!(damping.until(MINUTE * 60, false), Some(t0 + MINUTE * 120));
    }

    #[test]
    fn two_that_alternate_are_told_from_ever_new_ones() {
        let (t0, mut damping) = (origin(), Damping::default());
        damping.changed(A, B, t0);
        damping.changed(B, A, t0 + MINUTE);
        assert_eq!(damping.news(B), Some(Flapping { times: 2, within: MINUTE, between: Some((A, B)) }));
        assert_eq!(damping.news(B), None, "it was told");
        assert_eq!(damping.describe(ConfigHash([3; 32])).between, None);
        damping.lift();
        assert!(!damping.is_hot());
    }
}
