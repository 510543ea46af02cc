//! Paces the plain reports: soon after something changed, else now and then, backing off while nobody takes them.

use std::time::{Duration, Instant};

use super::{Due, Failure, Moment, backoff};

/// Changes come in flocks: this long after the first of them one report tells them all.
const SETTLE: Duration = Duration::from_secs(1);

/// The base and the cap of the backoff after a report that was not taken.
const BASE: Duration = Duration::from_secs(5);
const CAP: Duration = Duration::from_secs(300);

/// Reports so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reports {
    /// Taken by the server.
    pub sent: u64,
    /// Not taken. What they said is in the next one.
    pub failed: u64,
    /// Why the last one failed; none once one has been taken.
    pub last_error: Option<String>,
}

/// When the next report is sent.
#[derive(Debug)]
pub struct Reporting {
    /// None if nobody wants reports.
    every: Option<Duration>,
    next: Option<Due>,
    in_flight: bool,
    changed: bool,
    failures: u32,
    reports: Reports,
}

impl Reporting {
    /// The first report is due soon after the start.
    pub fn new(every: Option<Duration>, now: Instant) -> Self {
        let next = every.map(|_| Due::at(now + SETTLE));
        Self { every, next, in_flight: false, changed: false, failures: 0, reports: Reports::default() }
    }

    /// The settings may have changed who wants them, or how often.
    pub fn reconfigure(&mut self, every: Option<Duration>, now: Instant) {
        if self.every != every {
            self.every = every;
            self.failures = 0;
            self.next = every.map(|_| Due::at(now + SETTLE));
        }
    }

    /// Something that a report tells has changed. While nobody takes reports this does not hurry them.
    pub fn changed(&mut self, now: Instant) {
        self.changed = true;
        if self.failures == 0 {
            self.next = self.next.map(|next| Due::at(next.at.min(now + SETTLE)));
        }
    }

    /// Whether to send one now.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = !self.in_flight && self.next.is_some_and(|next| next.reached(now));
        if due {
            (self.in_flight, self.changed) = (true, false);
        }
        due
    }

    /// Takes what became of a report. Answers with the delay of the next when this failure is news.
    pub fn on_reported(&mut self, result: Result<(), Failure>, at: Moment) -> Option<(String, Duration)> {
        self.in_flight = false;
        let every = self.every?;
        match result {
            Ok(()) => {
                self.reports.sent += 1;
                self.reports.last_error = None;
                self.failures = 0;
                self.next = Some(match self.changed {
                    true => Due::at(at.now + SETTLE),
                    false => backoff::around_or_later(at.now, every, at.dice),
                });
                None
            }
            Err(Failure { message, retry_after, .. }) => {
                let jittered = backoff::full_jitter(self.failures, BASE, CAP, at.dice).max(SETTLE);
                let delay = retry_after.map_or(jittered, |wished| wished.clamp(SETTLE, CAP));
                let news = self.reports.last_error.as_deref() != Some(&message);
                self.failures = self.failures.saturating_add(1);
                self.reports.failed += 1;
                self.reports.last_error = Some(message.clone());
                self.next = Some(Due::at(at.now + delay));
                news.then_some((message, delay))
            }
        }
    }

    /// When the next one is due; none while one is out.
    pub fn due(&self) -> Option<Due> {
        self.next.filter(|_| !self.in_flight)
    }

    /// Reports so far.
    pub fn reports(&self) -> &Reports {
        &self.reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{FailureKind, origin};
    use std::time::SystemTime;

    const EVERY: Duration = Duration::from_secs(300);

    fn at(now: Instant) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice: u64::MAX }
    }

    #[test]
    fn a_flock_of_changes_is_one_report_a_second_later() {
        let t0 = origin();
        let mut reporting = Reporting::new(Some(EVERY), t0);
        assert!(reporting.begin(t0 + SETTLE));
        reporting.on_reported(Ok(()), at(t0 + SETTLE));
        let later = t0 + Duration::from_secs(60);

        reporting.changed(later);
        reporting.changed(later + SETTLE / 2);

        assert!(!reporting.begin(later + SETTLE / 2));
        assert!(reporting.begin(later + SETTLE));
        reporting.on_reported(Ok(()), at(later + SETTLE));
        assert!(!reporting.begin(later + SETTLE * 3));
    }

    #[test]
    fn a_server_that_takes_none_is_left_alone_for_longer_and_longer() {
        let t0 = origin();
        let mut reporting = Reporting::new(Some(EVERY), t0);
        let mut now = t0 + SETTLE;
        let mut delays = Vec::new();
        for _ in 0..9 {
            assert!(reporting.begin(now));
            reporting.on_reported(Err(Failure::new(FailureKind::Status, "answered 503")), at(now));
            reporting.changed(now);
            let next = reporting.due().expect("planned").latest();
            delays.push((next - now).as_secs_f64().round());
            now = next;
        }
        assert_eq!(&delays[..4], [5.0, 10.0, 20.0, 40.0]);
        assert_eq!(delays[8], 300.0);
    }

    #[test]
    fn nobody_who_wants_none_gets_any() {
        let t0 = origin();
        let mut reporting = Reporting::new(None, t0);
        reporting.changed(t0);
        assert!(!reporting.begin(t0 + EVERY));
        assert_eq!(reporting.due(), None);
    }
}
