//! Paces the plain reports: soon after a change, else at an interval, less often after failures.

use std::time::{Duration, Instant};

use super::data::delivery::Deliveries;
use super::data::failure::Failure;
use super::data::time::{Due, Moment};
use super::delivery::{self, Delivery, Pace};

/// Changes come in groups. One report, this long after the first change, covers them all.
const SETTLE: Duration = Duration::from_secs(1);

/// The time of the next report.
#[derive(Debug)]
pub struct ReportSchedule {
    /// None if no reports are wanted.
    every: Option<Duration>,
    delivery: Delivery,
}

impl ReportSchedule {
    /// Starts with a report due soon.
    pub fn new(every: Option<Duration>, now: Instant) -> Self {
        let pace = Pace { settle: SETTLE, wishes: delivery::LIKE_BACKOFF };
        Self { every, delivery: Delivery::new(pace, first(every, now)) }
    }

    /// Applies new settings: another receiver or another interval.
    pub fn reconfigure(&mut self, every: Option<Duration>, now: Instant) {
        if self.every != every {
            self.every = every;
            self.delivery.restart(first(every, now));
        }
    }

    /// Plans a report soon, because its content has changed. After a failure this does not shorten the wait.
    pub fn changed(&mut self, now: Instant) {
        if self.every.is_some() {
            self.delivery.hurry(now);
        }
    }

    /// Begins a report if one is due. Returns whether it did.
    pub fn begin(&mut self, now: Instant) -> bool {
        self.delivery.begin(now)
    }

    /// Handles the end of a report. Returns the reason and the delay of the next try if the failure is news.
    pub fn on_reported(&mut self, result: Result<(), Failure>, at: Moment) -> Option<(String, Duration)> {
        self.delivery.landed();
        let every = self.every?;
        match result {
            Ok(()) => {
                self.delivery.taken(1, None, every, at);
                None
            }
            Err(failure) => {
                let retry = self.delivery.failed(failure, at);
                retry.is_news.then_some((retry.message, retry.delay))
            }
        }
    }

    /// Whether the last one failed.
    pub fn is_failing(&self) -> bool {
        self.delivery.failures() > 0
    }

    /// The host's clock was set. Returns whether something that failed is tried again at once.
    pub fn clock_was_set(&mut self, now: Instant) -> bool {
        self.delivery.clock_was_set(now)
    }

    /// The time of the next report; none while one is under way.
    pub fn due(&self) -> Option<Due> {
        self.delivery.due()
    }

    /// The reports so far.
    pub fn deliveries(&self) -> &Deliveries {
        self.delivery.deliveries()
    }
}

fn first(every: Option<Duration>, now: Instant) -> Option<Due> {
    every.map(|_| Due::at(now + SETTLE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::failure::FailureKind;
    use crate::decide::data::time::origin;
    use std::time::SystemTime;

    const EVERY: Duration = Duration::from_secs(300);

    fn at(now: Instant) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice: u64::MAX }
    }

    #[test]
    fn many_changes_make_one_report_a_second_later() {
        let t0 = origin();
        let mut reports = ReportSchedule::new(Some(EVERY), t0);
        assert!(reports.begin(t0 + SETTLE));
        reports.on_reported(Ok(()), at(t0 + SETTLE));
        let later = t0 + Duration::from_secs(60);

        reports.changed(later);
        reports.changed(later + SETTLE / 2);

        assert!(!reports.begin(later + SETTLE / 2));
        assert!(reports.begin(later + SETTLE));
        reports.on_reported(Ok(()), at(later + SETTLE));
        assert!(!reports.begin(later + SETTLE * 3));
    }

    #[test]
    fn failed_reports_back_off_to_five_minutes() {
        let t0 = origin();
        let mut reports = ReportSchedule::new(Some(EVERY), t0);
        let mut now = t0 + SETTLE;
        let mut delays = Vec::new();
        for _ in 0..9 {
            assert!(reports.begin(now));
            reports.on_reported(Err(Failure::new(FailureKind::Status, "answered 503")), at(now));
            reports.changed(now);
            let next = reports.due().expect("planned").latest();
            delays.push((next - now).as_secs_f64().round());
            now = next;
        }
        assert_eq!(&delays[..4], [5.0, 10.0, 20.0, 40.0]);
        assert_eq!(delays[8], 300.0);
    }

    #[test]
    fn no_reports_without_a_url() {
        let t0 = origin();
        let mut reports = ReportSchedule::new(None, t0);
        reports.changed(t0);
        assert!(!reports.begin(t0 + EVERY));
        assert_eq!(reports.due(), None);
    }
}
