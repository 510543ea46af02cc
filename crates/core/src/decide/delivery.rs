//! Paces repeated deliveries: reports, exports, batches of alerts. One is under way at a time. After each failure the
//! next try waits longer, and a change does not shorten that wait.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::backoff;
use super::data::delivery::Deliveries;
use super::data::failure::Failure;
use super::data::time::{Due, Moment};

/// The base and the cap of the backoff after a failed delivery, and the least time to the next try.
const BASE: Duration = Duration::from_secs(5);
const CAP: Duration = Duration::from_secs(300);
const LEAST: Duration = Duration::from_secs(1);

/// The pace of one kind of delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Changes come in groups. One delivery, this long after the first change, covers them all.
    pub settle: Duration,
    /// The limits of a delay that a server asks for. A typing error there must not require a visit here.
    pub wishes: RangeInclusive<Duration>,
}

/// Limits for a server that may delay the next try as long as the backoff does, and no longer.
pub const LIKE_BACKOFF: RangeInclusive<Duration> = LEAST..=CAP;

/// The time of the next delivery and the counts of the earlier ones.
#[derive(Debug)]
pub struct Delivery {
    pace: Pace,
    next: Option<Due>,
    in_flight: bool,
    /// Whether anything changed since the last one was begun.
    hurried: bool,
    failures: u32,
    deliveries: Deliveries,
}

/// The plan after a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The reason of the failure.
    pub message: String,
    /// Time to the next try.
    pub delay: Duration,
    /// Whether the one before succeeded or failed for another reason.
    pub is_news: bool,
}

impl Delivery {
    /// Starts without any delivery.
    pub fn new(pace: Pace, next: Option<Due>) -> Self {
        let deliveries = Deliveries::default();
        Self { pace, next, in_flight: false, hurried: false, failures: 0, deliveries }
    }

    /// Applies changed settings: earlier failures no longer count.
    pub fn restart(&mut self, next: Option<Due>) {
        (self.next, self.failures) = (next, 0);
    }

    /// Forgets earlier failures, because the receiver is there again.
    pub fn forgive(&mut self) {
        self.failures = 0;
    }

    /// Plans a delivery soon, because something changed. After a failure this does not shorten the wait.
    pub fn hurry(&mut self, now: Instant) {
        self.hurried = true;
        let soon = now + self.pace.settle;
        match self.next {
            None => self.next = Some(Due::at(soon)),
            Some(next) if self.failures == 0 => self.next = Some(Due::at(next.at.min(soon))),
            Some(_) => {}
        }
    }

    /// Plans the next delivery for now.
    pub fn at_once(&mut self, now: Instant) {
        self.next = Some(Due::at(now));
    }

    /// The host's clock was set: what failed may have failed because of it, so it is tried again at once. Returns whether
    /// it is.
    pub fn clock_was_set(&mut self, now: Instant) -> bool {
        let again = self.failures > 0;
        if again {
            self.failures = 1;
            self.at_once(now);
        }
        again
    }

    /// Plans no delivery until something changes.
    pub fn rest(&mut self) {
        self.next = None;
    }

    /// Whether one can begin now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due.reached(now))
    }

    /// Begins a delivery if one is due. Returns whether it did.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = self.is_due(now);
        if due {
            (self.in_flight, self.hurried) = (true, false);
        }
        due
    }

    /// Ends the delivery that is under way without counting it.
    pub fn landed(&mut self) {
        self.in_flight = false;
    }

    /// Counts a success, apart from a refused part in `trouble`. The next delivery is due in the usual time, or soon if
    /// something changed.
    pub fn taken(&mut self, sent: u64, trouble: Option<String>, every: Duration, at: Moment) {
        (self.in_flight, self.failures) = (false, 0);
        self.deliveries.sent += sent;
        self.deliveries.last_error = trouble;
        self.next = Some(match self.hurried {
            true => Due::at(at.now + self.pace.settle),
            false => backoff::around_or_later(at.now, every, at.dice),
        });
    }

    /// Counts a failure and plans the next try.
    pub fn failed(&mut self, failure: Failure, at: Moment) -> Retry {
        let Failure { message, retry_after, .. } = failure;
        let jittered = backoff::full_jitter(self.failures, BASE, CAP, at.dice).max(LEAST);
        let delay =
            retry_after.map_or(jittered, |wished| wished.clamp(*self.pace.wishes.start(), *self.pace.wishes.end()));
        self.in_flight = false;
        self.failures = self.failures.saturating_add(1);
        self.next = Some(Due::at(at.now + delay));
        self.deliveries.failed += 1;
        let last_error = self.deliveries.last_error.replace(message.clone());
        Retry { is_news: last_error.as_ref() != Some(&message), message, delay }
    }

    /// The time of the next delivery; none while one is under way.
    pub fn due(&self) -> Option<Due> {
        self.next.filter(|_| !self.in_flight)
    }

    /// Whether one is under way.
    pub fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// The number of failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The deliveries so far.
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }
}
