//! Notices that the host's clock was set, and converts times to a server's clock. A server judges times by its own
//! clock, and the clock of an edge host is often wrong. So it gets times by its own clock, as far as its answers show that.

use std::time::{Duration, SystemTime};

use super::data::clock::Clocks;
use super::data::time::Moment;

/// Clocks that differ by fewer seconds count as equal: an answer takes its time, and its date has no fractions.
const ALIKE: u64 = 30;

/// A clock that moves by more than this, apart from the time that has passed, was set. A time service that is already in
/// step moves it by less.
const STEP: u64 = 5;

/// The host's own clock, compared with the monotonic one.
#[derive(Debug)]
pub struct HostClock {
    last: Moment,
}

impl HostClock {
    /// Starts with the clocks as they are.
    pub fn new(at: Moment) -> Self {
        Self { last: at }
    }

    /// Compares both clocks. Returns the seconds by which the clock was set forward since the last time, if it was.
    pub fn stepped(&mut self, at: Moment) -> Option<i64> {
        let last = std::mem::replace(&mut self.last, at);
        let passed = at.now.saturating_duration_since(last.now);
        let expected = last.wall.checked_add(passed)?;
        let by = since_1970(at.wall) - since_1970(expected);
        (by.unsigned_abs() > STEP).then_some(by)
    }
}

/// A server's clock, as its answers show it.
#[derive(Debug, Default)]
pub struct ServerClock {
    /// The seconds that it is ahead of ours; zero until its answers show otherwise.
    ahead: i64,
}

impl ServerClock {
    /// Learns from an answer. Returns whether the clock differs from the earlier estimate: times that were sent are
    /// wrong then.
    pub fn learn(&mut self, clocks: &Clocks) -> bool {
        let (ours, theirs) = (since_1970(clocks.ours), since_1970(clocks.theirs));
        let ahead = if ours.abs_diff(theirs) < ALIKE { 0 } else { theirs - ours };
        if self.ahead.abs_diff(ahead) < ALIKE {
            return false;
        }
        self.ahead = ahead;
        true
    }

    /// The seconds that it is ahead of ours.
    pub fn ahead(&self) -> i64 {
        self.ahead
    }

    /// Converts a time of our clock to the server's.
    pub fn theirs(&self, ours: SystemTime) -> SystemTime {
        let seconds = Duration::from_secs(self.ahead.unsigned_abs());
        let shifted = if self.ahead < 0 { ours.checked_sub(seconds) } else { ours.checked_add(seconds) };
        shifted.unwrap_or(ours)
    }
}

fn since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn clocks(ours: u64, theirs: u64) -> Clocks {
        Clocks { server: "http://a/".into(), theirs: at(theirs), ours: at(ours) }
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_one_that_goes_on() {
        let t0 = crate::decide::data::time::origin();
        let moment = |passed: u64, wall: u64| Moment { now: t0 + Duration::from_secs(passed), wall: at(wall), dice: 0 };
        let mut clock = HostClock::new(moment(0, 60));
        assert_eq!(clock.stepped(moment(3_600, 3_660)), None);
        assert_eq!(clock.stepped(moment(3_601, 3_664)), None, "in step within some seconds");
        assert_eq!(clock.stepped(moment(3_602, 1_700_000_000)), Some(1_699_996_335));
        assert_eq!(clock.stepped(moment(3_603, 1_700_000_001)), None);
        assert_eq!(clock.stepped(moment(3_604, 60)), Some(-1_699_999_942));
    }

    #[test]
    fn clocks_that_differ_by_less_than_half_a_minute_count_as_equal() {
        let mut clock = ServerClock::default();
        assert!(!clock.learn(&clocks(1_000, 1_029)));
        assert!(!clock.learn(&clocks(1_029, 1_000)));
        assert_eq!(clock.theirs(at(5_000)), at(5_000));

        assert!(clock.learn(&clocks(1_000, 1_030)));
        assert_eq!(clock.theirs(at(5_000)), at(5_030));
        assert!(!clock.learn(&clocks(1_000, 1_059)), "it is known well enough");
        assert_eq!(clock.theirs(at(5_000)), at(5_030));
    }

    #[test]
    fn a_corrected_clock_is_noticed() {
        let mut clock = ServerClock::default();
        assert!(clock.learn(&clocks(1_000_000, 1_000)));
        assert_eq!(clock.ahead(), -999_000);
        assert_eq!(clock.theirs(at(2_000_000)), at(1_001_000));
        assert!(clock.learn(&clocks(1_001, 1_002)));
        assert_eq!(clock.theirs(at(2_000_000)), at(2_000_000));
    }
}
