//! Judges probes of the collector's health: what one probe means depends on those before it.

use std::time::{Duration, Instant};

use super::data::collector::Probe;
use super::data::time::{Due, Moment};

/// Probes in a row without an answer after which a collector counts as hung. One or two are seen around a reload of a
/// real collector.
const MISSES: u32 = 3;

/// How long a collector may take from its start to its first healthy answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Time from the start to the first probe; it doubles until [`SOON`] while the collector is starting.
const FIRST: Duration = Duration::from_millis(50);

/// Time between probes while it matters: during a start, a probation, and after a miss.
const SOON: Duration = Duration::from_secs(1);

/// Least time between probes of a collector that has been well. With the slack it shares the wake-ups of polls.
const CALM: Duration = Duration::from_secs(8);

/// How long an answer to a probe is waited for by the agent itself; whoever probes gives up earlier.
const LOST: Duration = Duration::from_secs(10);

/// What follows from a probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Nothing to do.
    Fine,
    /// The collector does nothing any more, or never began to: start it anew.
    Hung(String),
    /// It answers, and has said several times that it is not well. Only a config on trial is judged by this.
    Sick(String),
}

/// What is known of the health of one run of the collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    started: Instant,
    healthy_since: Option<Instant>,
    misses: u32,
    trouble: Option<String>,
    pause: Duration,
    next: Due,
    asked: Option<Instant>,
}

impl Health {
    /// A collector that has just been started.
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            healthy_since: None,
            misses: 0,
            trouble: None,
            pause: FIRST,
            next: Due::at(now + FIRST),
            asked: None,
        }
    }

    /// Whether a probe is to be made now. One is out at a time.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = self.asked.is_none() && self.next.reached(now);
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Takes what a probe saw. `on_trial` makes the next one come soon.
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

    /// A probe that is never answered counts as silence.
    pub fn lost(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now >= asked + LOST)
    }

    /// When the next probe, or the end of waiting for one, is due.
    pub fn due(&self) -> Due {
        match self.asked {
            Some(asked) => Due::at(asked + LOST),
            None => self.next,
        }
    }

    /// Since when it has been healthy without a doubt that counts.
    pub fn healthy_since(&self) -> Option<Instant> {
        self.healthy_since
    }

    /// Whether the last thing heard was good.
    pub fn is_healthy(&self) -> bool {
        self.healthy_since.is_some() && self.misses == 0
    }

    /// What the last probe complained of.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn overdue(&self, now: Instant) -> bool {
        match self.healthy_since {
            Some(_) => self.misses >= MISSES,
            None => self.misses >= MISSES && now >= self.started + START_LIMIT,
        }
    }

    fn describe_silence(&self, why: &str) -> String {
        match self.healthy_since {
            Some(_) => format!("no sign of health {MISSES} times in a row: {why}"),
            None => format!("not healthy {}s after its start: {why}", START_LIMIT.as_secs()),
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

    #[test]
    fn two_misses_in_a_row_are_forgiven_and_three_are_not() {
        let t0 = origin();
        let mut health = Health::new(t0);
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
    fn a_collector_that_is_still_starting_has_a_minute() {
        let t0 = origin();
        let mut health = Health::new(t0);
        for second in 0..60 {
            let now = t0 + Duration::from_secs(second);
            assert_eq!(health.on_probe(silent(), true, at(now)), Finding::Fine);
        }
        assert!(matches!(health.on_probe(silent(), true, at(t0 + START_LIMIT)), Finding::Hung(_)));
    }

    #[test]
    fn probes_come_soon_while_it_matters_and_seldom_when_all_is_well() {
        let t0 = origin();
        let mut health = Health::new(t0);
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
        let mut health = Health::new(t0);
        assert!(health.begin(t0 + FIRST));
        assert!(!health.begin(t0 + SOON), "one probe at a time");
        assert!(!health.lost(t0 + SOON));
        assert!(health.lost(health.due().latest()));
    }
}
