//! Judges probes of the collector's health: the meaning of one probe depends on those before it.

use std::time::{Duration, Instant};

use super::data::collector::Probe;
use super::data::time::{Due, Moment};
use crate::units::format_time;

/// A collector counts as hung after this many probes in a row without an answer. One or two occur around a reload of a
/// real collector.
const MISSES: u32 = 3;

/// A start that takes longer than this is told, with the time that it may still take.
const SLOW: Duration = Duration::from_secs(30);

/// Time from the start to the first probe. It doubles up to [`SOON`] while the collector is starting.
const FIRST: Duration = Duration::from_millis(50);

/// Time between probes during a start, a probation, and after a miss.
const SOON: Duration = Duration::from_secs(1);

/// Least time between probes of a healthy collector. With the slack they share the wake-ups of polls.
const CALM: Duration = Duration::from_secs(8);

/// A probe without an answer after this time is lost. The prober itself gives up earlier.
const LOST: Duration = Duration::from_secs(10);

/// The finding after a probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Nothing has to be done.
    Fine,
    /// The collector does not work any more, or never did: start it anew.
    Hung(String),
    /// It answers, but has been unhealthy several times in a row. Only a config on trial fails by this.
    Sick(String),
}

/// The health of one run of the collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    started: Instant,
    /// The most time from the start to the first healthy answer.
    limit: Duration,
    slow_told: bool,
    healthy_since: Option<Instant>,
    misses: u32,
    trouble: Option<String>,
    pause: Duration,
    next: Due,
    asked: Option<Instant>,
}

impl Health {
    /// Starts with a collector that has just been started and has this much time to become healthy.
    pub fn new(limit: Duration, now: Instant) -> Self {
        Self {
            started: now,
            limit,
            slow_told: false,
            healthy_since: None,
            misses: 0,
            trouble: None,
            pause: FIRST,
            next: Due::at(now + FIRST),
            asked: None,
        }
    }

    /// Begins a probe if one is due and none is under way. Returns whether it did.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = self.asked.is_none() && self.next.reached(now);
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Handles the result of a probe. With `on_trial` the next one comes soon.
    pub fn on_probe(&mut self, probe: Probe, on_trial: bool, at: Moment) -> Finding {
        self.asked = None;
        let finding = match probe {
            Probe::Healthy => {
                self.misses = 0;
                self.trouble = None;
                self.healthy_since.get_or_insert(at.now);
                Finding::Fine
            }
            Probe::Unhealthy(why) => {
                self.misses += 1;
                self.trouble = Some(why.clone());
                if self.overdue(at.now) {
                    Finding::Sick(format!("{why}, {MISSES} times in a row"))
                } else {
                    Finding::Fine
                }
            }
            Probe::Silent(why) => {
                self.misses += 1;
                self.trouble = Some(why.clone());
                if self.overdue(at.now) { Finding::Hung(self.describe_silence(&why)) } else { Finding::Fine }
            }
        };
        self.plan(on_trial, at.now);
        finding
    }

    /// Whether a probe was never answered, which counts as silence.
    pub fn lost(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now >= asked + LOST)
    }

    /// The time of the next probe, or of the end of waiting for one.
    pub fn due(&self) -> Due {
        match self.asked {
            Some(asked) => Due::at(asked + LOST),
            None => self.next,
        }
    }

    /// The time since which it has been healthy, apart from forgiven misses.
    pub fn healthy_since(&self) -> Option<Instant> {
        self.healthy_since
    }

    /// Gives a collector that is still starting this much time from its start on.
    pub fn allow(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// The time that a slow start may take. Once for each start, and only if that is longer than it took so far.
    pub fn slow_news(&mut self, now: Instant) -> Option<Duration> {
        let slow = self.healthy_since.is_none() && now >= self.started + SLOW && self.limit > SLOW;
        (slow && !std::mem::replace(&mut self.slow_told, true)).then_some(self.limit)
    }

    /// Whether the last probe was good.
    pub fn is_healthy(&self) -> bool {
        self.healthy_since.is_some() && self.misses == 0
    }

    /// The complaint of the last probe.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn overdue(&self, now: Instant) -> bool {
        match self.healthy_since {
            Some(_) => self.misses >= MISSES,
            None => self.misses >= MISSES && now >= self.started + self.limit,
        }
    }

    fn describe_silence(&self, why: &str) -> String {
        match self.healthy_since {
            Some(_) => format!("no sign of health {MISSES} times in a row: {why}"),
            None => format!("not healthy {} after its start (collector.start_timeout): {why}", format_time(self.limit)),
        }
    }

    fn plan(&mut self, on_trial: bool, now: Instant) {
        let calm = self.is_healthy() && !on_trial;
        self.next = if calm {
            Due { at: now + CALM, slack: CALM }
        } else {
            self.pause = (self.pause * 2).min(SOON);
            Due::at(now + self.pause)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::time::origin;
    use std::time::SystemTime;

    fn at(now: Instant) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice: 0 }
    }

    fn silent() -> Probe {
        Probe::Silent("connection refused".into())
    }

    const LIMIT: Duration = Duration::from_secs(300);

    #[test]
    fn two_misses_in_a_row_are_forgiven_and_three_are_not() {
        let t0 = origin();
        let mut health = Health::new(LIMIT, t0);
        assert_eq!(health.on_probe(Probe::Healthy, false, at(t0)), Finding::Fine);

        assert_eq!(health.on_probe(silent(), false, at(t0)), Finding::Fine);
        assert_eq!(health.on_probe(silent(), false, at(t0)), Finding::Fine);
        assert!(!health.is_healthy());
        assert_eq!(
            health.on_probe(silent(), false, at(t0)),
            Finding::Hung("no sign of health 3 times in a row: connection refused".into())
        );
    }

    #[test]
    fn a_collector_that_is_still_starting_has_the_time_of_the_settings() {
        let t0 = origin();
        let mut health = Health::new(LIMIT, t0);
        for second in 0..300 {
            let now = t0 + Duration::from_secs(second);
            assert_eq!(health.on_probe(silent(), true, at(now)), Finding::Fine);
        }
        let hung = Finding::Hung("not healthy 5m after its start (collector.start_timeout): connection refused".into());
        assert_eq!(health.on_probe(silent(), true, at(t0 + LIMIT)), hung);
        health.allow(LIMIT * 2);
        assert_eq!(health.on_probe(silent(), true, at(t0 + LIMIT)), Finding::Fine);
    }

    #[test]
    fn a_slow_start_is_told_once_and_a_quick_one_never() {
        let t0 = origin();
        let mut health = Health::new(LIMIT, t0);
        assert_eq!(health.slow_news(t0 + SLOW / 2), None);
        assert_eq!(health.slow_news(t0 + SLOW), Some(LIMIT));
        assert_eq!(health.slow_news(t0 + SLOW * 2), None, "it was told");

        let mut quick = Health::new(LIMIT, t0);
        quick.on_probe(Probe::Healthy, false, at(t0));
        assert_eq!(quick.slow_news(t0 + SLOW), None);
        assert_eq!(Health::new(SLOW, t0).slow_news(t0 + SLOW), None, "it is about to be ended");
    }

    #[test]
    fn probes_are_frequent_on_trial_and_after_a_miss_and_rare_otherwise() {
        let t0 = origin();
        let mut health = Health::new(LIMIT, t0);
        assert_eq!(health.due(), Due::at(t0 + FIRST));

        health.on_probe(Probe::Healthy, true, at(t0));
        assert!(health.due().latest() <= t0 + SOON);
        health.on_probe(Probe::Healthy, false, at(t0));
        assert_eq!(health.due().at, t0 + CALM);
        health.on_probe(silent(), false, at(t0));
        assert!(health.due().latest() <= t0 + SOON);
    }

    #[test]
    fn a_probe_without_an_answer_is_noticed() {
        let t0 = origin();
        let mut health = Health::new(LIMIT, t0);
        assert!(health.begin(t0 + FIRST));
        assert!(!health.begin(t0 + SOON), "one probe at a time");
        assert!(!health.lost(t0 + SOON));
        assert!(health.lost(health.due().latest()));
    }
}
