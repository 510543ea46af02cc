//! Decides when alerts are sent to the webhook: at once when one fires or is resolved, and at an interval while any
//! fires.

use std::time::{Duration, Instant};

use super::action::Action;
use super::clock::ServerClock;
use super::data::clock::Clocks;
use super::data::delivery::Deliveries;
use super::data::failure::Failure;
use super::data::message::AlertMessage;
use super::data::time::{Due, Moment};
use super::delivery::{self, Delivery, Pace};
use super::notice::Notice;

/// The receiver ends an alert that was not repeated for this many intervals, even if the agent is gone.
const FADES_AFTER_TURNS: u32 = 4;

/// The time of the next batch, and the receiver's clock.
#[derive(Debug)]
pub struct WebhookSchedule {
    /// None if there is no webhook.
    every: Option<Duration>,
    delivery: Delivery,
    /// The number of the last resolved alert in the batch that was begun last.
    last: u64,
    clock: ServerClock,
    /// Whether the last batch was sent only because the one before had wrong times.
    corrected: bool,
}

impl WebhookSchedule {
    /// Starts with nothing to send.
    pub fn new(every: Option<Duration>) -> Self {
        let pace = Pace { settle: Duration::ZERO, wishes: delivery::LIKE_BACKOFF };
        Self { every, delivery: Delivery::new(pace, None), last: 0, clock: ServerClock::default(), corrected: false }
    }

    /// Applies new settings. Another webhook needs all alerts.
    pub fn reconfigure(&mut self, every: Option<Duration>, now: Instant) {
        self.every = every;
        self.delivery.restart(None);
        self.changed(now);
    }

    /// Plans a batch, because an alert fired or was resolved. After a failure this does not shorten the wait.
    pub fn changed(&mut self, now: Instant) {
        if self.every.is_some() {
            self.delivery.hurry(now);
        }
    }

    /// Whether there is a webhook.
    pub fn is_wanted(&self) -> bool {
        self.every.is_some()
    }

    /// The time after which an alert ends by itself unless it is repeated.
    pub fn fades_after(&self) -> Duration {
        self.every.unwrap_or_default() * FADES_AFTER_TURNS
    }

    /// Begins a batch if one is due; `last` is the number of the last resolved alert in it. Returns whether it did.
    pub fn begin(&mut self, now: Instant, anything: bool, last: u64) -> bool {
        if !anything && self.delivery.is_due(now) {
            self.delivery.rest();
        }
        let begun = self.delivery.begin(now);
        if begun {
            self.last = last;
        }
        begun
    }

    /// The number of the last resolved alert in the batch that is under way.
    pub fn in_flight(&self) -> Option<u64> {
        self.delivery.in_flight().then_some(self.last)
    }

    /// Learns the receiver's clock from an answer. Returns whether it differs from the earlier estimate: the times of
    /// that batch were wrong then.
    pub fn learn(&mut self, clocks: Option<&Clocks>, out: &mut Vec<Action>) -> bool {
        let news = clocks.filter(|clocks| self.clock.learn(clocks));
        if let Some(Clocks { server, .. }) = news.filter(|_| self.clock.ahead() != 0) {
            let (server, ahead) = (server.clone(), self.clock.ahead());
            out.push(Action::Tell(Notice::ClocksDiffer { server, ahead }));
        }
        self.corrected &= news.is_some();
        news.is_some()
    }

    /// Plans a batch at once, because the last one had wrong times. Returns whether it did.
    pub fn send_again(&mut self, now: Instant) -> bool {
        // Only once: a clock that jumps with each answer must not cause batch after batch.
        self.corrected = !self.corrected && self.every.is_some();
        if self.corrected {
            self.delivery.landed();
            self.delivery.at_once(now);
        }
        self.corrected
    }

    /// Converts the times of a message to the receiver's clock, as far as it is known.
    pub fn in_their_time(&self, message: AlertMessage) -> AlertMessage {
        let (starts_at, ends_at) = (self.clock.theirs(message.starts_at), self.clock.theirs(message.ends_at));
        AlertMessage { starts_at, ends_at, ..message }
    }

    /// Handles the end of a batch. Returns the reason and the delay of the next try if the failure is news.
    pub fn on_sent(&mut self, result: Result<(), Failure>, more: bool, at: Moment) -> Option<(String, Duration)> {
        self.delivery.landed();
        let every = self.every?;
        match result {
            Ok(()) => {
                self.delivery.taken(1, None, every, at);
                if !more {
                    self.delivery.rest();
                }
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

    /// The time of the next batch; none while one is under way.
    pub fn due(&self) -> Option<Due> {
        self.delivery.due()
    }

    /// The batches so far.
    pub fn deliveries(&self) -> &Deliveries {
        self.delivery.deliveries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::failure::FailureKind;
    use crate::decide::data::time::origin;
    use std::time::SystemTime;

    const EVERY: Duration = Duration::from_secs(60);

    fn at(now: Instant) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice: u64::MAX }
    }

    #[test]
    fn a_change_is_sent_at_once_and_repeated_while_anything_fires() {
        let t0 = origin();
        let mut webhook = WebhookSchedule::new(Some(EVERY));
        assert!(!webhook.begin(t0, true, 0), "nothing has changed");

        webhook.changed(t0);
        assert!(webhook.begin(t0, true, 0));
        webhook.changed(t0);
        assert!(!webhook.begin(t0, true, 0), "one is out");
        assert_eq!(webhook.due(), None);

        webhook.on_sent(Ok(()), true, at(t0));
        assert!(webhook.begin(t0, true, 0), "it has changed since");
        webhook.on_sent(Ok(()), true, at(t0));
        let due = webhook.due().expect("it is repeated");
        assert!(due.at >= t0 + EVERY * 9 / 10 && due.latest() < t0 + EVERY * 2, "{due:?}");
        assert!(webhook.begin(due.at, true, 0));
        webhook.on_sent(Ok(()), false, at(due.at));
        assert_eq!(webhook.due(), None, "nothing fires any more");
    }

    #[test]
    fn failures_back_off_and_changes_do_not_hurry_the_next_try() {
        let t0 = origin();
        let mut webhook = WebhookSchedule::new(Some(EVERY));
        let (mut now, mut delays, mut news) = (t0, Vec::new(), 0);
        for _ in 0..9 {
            webhook.changed(now);
            assert!(webhook.begin(now, true, 0));
            let said = webhook.on_sent(Err(Failure::new(FailureKind::Status, "answered 503")), true, at(now));
            news += u32::from(said.is_some());
            webhook.changed(now);
            let next = webhook.due().expect("planned").latest();
            delays.push((next - now).as_secs_f64().round());
            now = next;
        }
        assert_eq!(&delays[..4], [5.0, 10.0, 20.0, 40.0]);
        assert_eq!(delays[8], 300.0);
        assert_eq!(news, 1, "it is said once");
    }

    #[test]
    fn an_alert_ends_by_itself_after_four_intervals_and_never_before_its_start() {
        let webhook = WebhookSchedule::new(Some(EVERY));
        assert_eq!(webhook.fades_after(), EVERY * 4);
        let since = SystemTime::UNIX_EPOCH + EVERY * 1_000;
        let alert = crate::decide::Alert {
            name: "a".into(),
            metric: "m".into(),
            attributes: Vec::new(),
            labels: Vec::new(),
            severity: crate::decide::AlertSeverity::Info,
            summary: None,
            since,
            value: 2.0,
            threshold: crate::decide::Threshold::Above(1.0),
        };
        let message = AlertMessage::new(&alert, SystemTime::UNIX_EPOCH + EVERY);
        assert_eq!((message.starts_at, message.ends_at), (since, since));
        assert_eq!(
            message.annotations,
            [
                ("summary", "m is above 1".to_owned()),
                ("description", "m is 2, bad is above 1".into()),
                ("value", "2".into()),
                ("threshold", "above 1".into())
            ]
        );
    }

    #[test]
    fn no_messages_without_a_webhook() {
        let t0 = origin();
        let mut webhook = WebhookSchedule::new(None);
        webhook.changed(t0);
        assert!(!webhook.begin(t0, true, 0));
        assert_eq!(webhook.due(), None);
    }
}
