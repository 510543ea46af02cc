//! Decides when the source is asked: at a jittered interval while it answers, less often while it does not, never twice
//! at a time.

use std::time::{Duration, Instant};

use super::action::Action;
use super::backoff;
use super::data::failure::{Failure, FailureKind, SourceTrouble};
use super::data::hash::ConfigHash;
use super::data::source::{ExchangeOutcome, Exchanges};
use super::data::time::{Due, Moment};
use super::notice::Notice;

/// The base of the backoff after a failed exchange.
const BASE: Duration = Duration::from_secs(2);

/// The least time to the next try after a failed exchange.
const LEAST: Duration = Duration::from_millis(500);

/// The longest time between tries, unless the polls are further apart.
const CAP: Duration = Duration::from_secs(300);

/// The longest delay that a server may ask for. A typing error there must not require a visit here.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The reason why a poll brought no config.
struct PollFailure<'a> {
    message: &'a str,
    /// None if no source has failed.
    kind: Option<FailureKind>,
    retry_after: Option<Duration>,
}

/// The time of the next exchange, and the earlier ones.
#[derive(Debug)]
pub struct Poll {
    next: Option<Due>,
    in_flight: bool,
    nudged: bool,
    failures: u32,
    exchanges: Exchanges,
}

impl Poll {
    /// Starts with an exchange due at once.
    pub fn new(has_source: bool, now: Instant) -> Self {
        Self {
            next: has_source.then_some(Due::at(now)),
            in_flight: false,
            nudged: false,
            failures: 0,
            exchanges: Exchanges::default(),
        }
    }

    /// Begins an exchange if one is due. Returns whether it did.
    pub fn begin(&mut self, now: Instant) -> bool {
        let due = !self.in_flight && self.next.is_some_and(|next| next.reached(now));
        if due {
            self.in_flight = true;
            self.nudged = false;
        }
        due
    }

    /// Plans an exchange at once, or right after the one that is under way.
    pub fn nudge(&mut self, now: Instant) {
        self.nudged = true;
        self.next = self.next.map(|_| Due::at(now));
    }

    /// Whether the last exchange failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The host's clock was set: what failed may have failed because of it, so it is asked again at once. Returns whether
    /// it is.
    pub fn clock_was_set(&mut self, now: Instant) -> bool {
        let again = self.next.is_some() && (self.failures > 0 || self.in_flight);
        if again {
            // The source is not known to answer, so the failures are not forgotten; the backoff begins anew.
            self.failures = self.failures.min(1);
            self.nudge(now);
        }
        again
    }

    /// Applies new settings: a changed source is asked at once.
    pub fn reconfigure(&mut self, has_source: bool, now: Instant) {
        self.next = has_source.then_some(Due::at(now));
        self.nudged = has_source;
    }

    /// Handles the end of an exchange and plans the next.
    pub fn on_exchanged(
        &mut self,
        outcome: &ExchangeOutcome,
        every: Duration,
        (location, running): (Option<&str>, Option<ConfigHash>),
        at: Moment,
        out: &mut Vec<Action>,
    ) {
        self.in_flight = false;
        let next = match outcome {
            ExchangeOutcome::Unchanged => {
                self.exchanges.unchanged += 1;
                self.succeeded(every, location, at, out)
            }
            ExchangeOutcome::Offered(_) | ExchangeOutcome::Malformed { .. } => {
                self.exchanges.offered += 1;
                self.succeeded(every, location, at, out)
            }
            ExchangeOutcome::Replaced => Due::at(at.now),
            ExchangeOutcome::Empty => {
                let why =
                    PollFailure { message: "the source answered with an empty body", kind: None, retry_after: None };
                self.failed(why, every, (location, running), at, out)
            }
            ExchangeOutcome::Failed(Failure { message, kind, retry_after }) => {
                let why = PollFailure { message, kind: Some(*kind), retry_after: *retry_after };
                self.failed(why, every, (location, running), at, out)
            }
            ExchangeOutcome::NotAsked(Failure { message, .. }) => {
                let why = PollFailure { message, kind: None, retry_after: None };
                self.failed(why, every, (location, running), at, out)
            }
        };
        if self.next.is_some() {
            self.next = Some(if self.nudged { Due::at(at.now) } else { next });
        }
    }

    /// The time of the next exchange; none while one is under way, since its end is an event.
    pub fn due(&self) -> Option<Due> {
        self.next.filter(|_| !self.in_flight)
    }

    /// The exchanges so far.
    pub fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    fn succeeded(&mut self, every: Duration, location: Option<&str>, at: Moment, out: &mut Vec<Action>) -> Due {
        if self.failures > 0 {
            out.push(Action::Tell(Notice::SourceBack {
                failures: self.failures,
                location: location.map(str::to_owned),
            }));
        }
        self.failures = 0;
        self.exchanges.last_error = None;
        self.exchanges.last_success = Some(at.wall);
        backoff::around(at.now, every, at.dice)
    }

    fn failed(
        &mut self,
        why: PollFailure<'_>,
        every: Duration,
        (location, running): (Option<&str>, Option<ConfigHash>),
        at: Moment,
        out: &mut Vec<Action>,
    ) -> Due {
        let PollFailure { message, kind, retry_after } = why;
        let jittered = backoff::full_jitter(self.failures, BASE, CAP.max(every), at.dice);
        let wished = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let delay = match wished {
            Duration::ZERO => jittered.max(LEAST),
            // A little later than asked, so that not all agents come back in the same second.
            _ => wished + backoff::full_jitter(0, BASE, BASE, at.dice),
        };
        // The first failure and each new reason are news; a repetition is not.
        let news = self.exchanges.last_error.as_deref() != Some(message);
        let trouble = SourceTrouble { kind, location: location.map(str::to_owned) };
        out.push(Action::Tell(Notice::ExchangeFailed { why: message.into(), trouble, delay, running, news }));
        self.failures = self.failures.saturating_add(1);
        self.exchanges.failed += 1;
        self.exchanges.last_error = Some(message.into());
        Due::at(at.now + delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::time::origin;
    use std::time::SystemTime;

    const EVERY: Duration = Duration::from_secs(30);

    fn at(now: Instant, dice: u64) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice }
    }

    fn failed(retry_after: Option<Duration>) -> ExchangeOutcome {
        ExchangeOutcome::Failed(Failure { retry_after, ..Failure::new(FailureKind::Status, "answered 503") })
    }

    /// Delay of the next exchange after this one.
    fn delay(poll: &mut Poll, outcome: &ExchangeOutcome, dice: u64) -> Duration {
        let t0 = origin();
        poll.on_exchanged(outcome, EVERY, (None, None), at(t0, dice), &mut Vec::new());
        poll.due().expect("a poll is planned").latest() - t0
    }

    #[test]
    fn a_second_exchange_never_starts_while_one_is_out() {
        let t0 = origin();
        let mut poll = Poll::new(true, t0);

        assert!(poll.begin(t0));
        poll.nudge(t0);
        assert!(!poll.begin(t0 + Duration::from_secs(3600)));
        poll.on_exchanged(&ExchangeOutcome::Unchanged, EVERY, (None, None), at(t0, 0), &mut Vec::new());
        assert!(poll.begin(t0), "the nudge was not forgotten");
    }

    #[test]
    fn polls_are_jittered_by_a_tenth() {
        let mut poll = Poll::new(true, origin());
        assert_eq!(delay(&mut poll, &ExchangeOutcome::Unchanged, 0), EVERY * 9 / 10);
        assert!(delay(&mut poll, &ExchangeOutcome::Unchanged, u64::MAX) > EVERY);
    }

    #[test]
    fn failures_back_off_up_to_five_minutes_and_one_success_ends_that() {
        let mut poll = Poll::new(true, origin());
        let delays: Vec<_> = (0..12).map(|_| delay(&mut poll, &failed(None), u64::MAX).as_secs_f64().round()).collect();
        assert_eq!(&delays[..4], [2.0, 4.0, 8.0, 16.0]);
        assert_eq!(delays[11], 300.0);

        delay(&mut poll, &ExchangeOutcome::Unchanged, 0);
        assert!(delay(&mut poll, &failed(None), u64::MAX) <= BASE);
    }

    #[test]
    fn retry_after_is_obeyed_up_to_an_hour() {
        let mut poll = Poll::new(true, origin());
        assert_eq!(delay(&mut poll, &failed(Some(Duration::from_secs(120))), 0), Duration::from_secs(120));
        let year = Duration::from_secs(365 * 86_400);
        assert_eq!(delay(&mut poll, &failed(Some(year)), 0), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn without_a_source_nothing_is_asked() {
        let t0 = origin();
        let mut poll = Poll::new(false, t0);
        poll.nudge(t0);
        assert!(!poll.begin(t0));
        assert_eq!(poll.due(), None);
    }
}
