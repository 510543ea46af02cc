//! Paces what is sent again and again: reports, exports, batches of alerts. One is out at a time; after a failure the next
//! waits for longer and longer, and changes do not hurry it then.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::backoff;
use super::data::delivery::Deliveries;
use super::data::failure::Failure;
use super::data::time::{Due, Moment};

/// The base and the cap of the backoff after a delivery that was not taken, and the least time to the next try.
const BASE: Duration = Duration::from_secs(5);
const CAP: Duration = Duration::from_secs(300);
const LEAST: Duration = Duration::from_secs(1);

/// How one kind of delivery is paced.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Changes come in flocks: this long after the first of them one delivery tells them all.
    pub settle: Duration,
    /// The times to the next try that a server may ask for: a typing error there must not cost a visit here.
    pub wishes: RangeInclusive<Duration>,
}

/// A server may put off the next try by as much as the backoff does, and no more.
pub const LIKE_BACKOFF: RangeInclusive<Duration> = LEAST..=CAP;

/// When the next one is sent.
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

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Why.
    pub message: String,
    /// How long it takes until the next try.
    pub delay: Duration,
    /// Whether the last one failed otherwise, or did not fail.
    pub is_news: bool,
}

impl Delivery {
    /// Nothing has been sent yet.
    pub fn new(pace: Pace, next: Option<Due>) -> Self {
        let deliveries = Deliveries::default();
        Self { pace, next, in_flight: false, hurried: false, failures: 0, deliveries }
    }

    /// The settings changed: earlier failures say nothing any more.
    pub fn restart(&mut self, next: Option<Due>) {
        (self.next, self.failures) = (next, 0);
    }

    /// There is somebody again who takes it: earlier failures say nothing any more.
    pub fn forgive(&mut self) {
        self.failures = 0;
    }

    /// Something has changed that is to be told soon. While nobody takes deliveries this does not hurry them.
    pub fn hurry(&mut self, now: Instant) {
        self.hurried = true;
        let soon = now + self.pace.settle;
        match self.next {
            None => self.next = Some(Due::at(soon)),
            Some(next) if self.failures == 0 => self.next = Some(Due::at(next.at.min(soon))),
            Some(_) => {}
        }
    }

    /// The next one is due at once.
    pub fn at_once(&mut self, now: Instant) {
        self.next = Some(Due::at(now));
    }

    /// There is nothing to send until something changes.
    pub fn rest(&mut self) {
        self.next = None;
    }

    /// Whether one may be begun now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due.reached(now))
    }

    /// Begins one if it is due. Whether it was.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = self.is_due(now);
        if due {
            (self.in_flight, self.hurried) = (true, false);
        }
        due
    }

    /// The one that was out has come back; nobody wants to hear what became of it.
    pub fn landed(&mut self) {
        self.in_flight = false;
    }

    /// So many were taken, but for what `trouble` says. The next is due in the usual time, or soon if something changed.
    pub fn taken(&mut self, sent: u64, trouble: Option<String>, every: Duration, at: Moment) {
        (self.in_flight, self.failures) = (false, 0);
        self.deliveries.sent += sent;
        self.deliveries.last_error = trouble;
        self.next = Some(match self.hurried {
            true => Due::at(at.now + self.pace.settle),
            false => backoff::around_or_later(at.now, every, at.dice),
        });
    }

    /// It was not taken.
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

    /// When the next one is due; none while one is out.
    pub fn due(&self) -> Option<Due> {
        self.next.filter(|_| !self.in_flight)
    }

    /// Whether one is out.
    pub fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Deliveries so far.
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }
}
