//! Paces the exports: measurements at an interval, events soon, less often after failures. One is under way at a time.
//! The collector gets exports only while it is healthy; until then they wait, which is no failure.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::backoff;
use super::data::delivery::Deliveries;
use super::data::export::{ExportOutcome, ExportParams};
use super::data::failure::Failure;
use super::data::time::{Due, Moment};
use super::delivery::{Delivery, Pace};
use super::notice::Notice;

/// Events come in groups. One export, this long after the first event, covers them all.
const SETTLE: Duration = Duration::from_secs(1);

/// The limits of a delay that a server asks for. A typing error there must not require a visit here.
const LEAST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(3600);

/// An ending collector breaks the connection before the agent learns of its end. So this many failures are not
/// announced.
const QUIET_FAILURES: u32 = 1;

/// The most refusals that are announced, each once. They come with each export and are counted anyway.
const MOST_REFUSALS: usize = 8;

/// The time of the next export, and whether anything waits for it.
#[derive(Debug)]
pub struct ExportSchedule {
    params: Option<ExportParams>,
    delivery: Delivery,
    /// Whether anything waits.
    waiting: bool,
    /// Whether the last failure was announced.
    told: bool,
    /// The refusals that were announced.
    refusals: BTreeSet<String>,
    /// Whether the receiver was there at the last look.
    ready: bool,
}

impl ExportSchedule {
    /// Starts with nothing waiting.
    pub fn new(params: Option<ExportParams>, now: Instant) -> Self {
        let pace = Pace { settle: SETTLE, wishes: LEAST..=LONGEST };
        Self {
            params,
            delivery: Delivery::new(pace, first(params, now)),
            waiting: false,
            told: false,
            refusals: BTreeSet::new(),
            ready: false,
        }
    }

    /// Applies new settings: another receiver or another interval.
    pub fn reconfigure(&mut self, params: Option<ExportParams>, now: Instant) {
        if self.params != params {
            self.params = params;
            self.told = false;
            self.refusals.clear();
            self.delivery.restart(first(params, now));
            self.waiting &= params.is_some();
        }
    }

    /// New measurements wait, if metrics are exported.
    pub fn measured(&mut self) {
        self.waiting |= self.params.is_some_and(|params| params.metrics);
    }

    /// A new event waits. After a failure this does not shorten the wait.
    pub fn happened(&mut self, now: Instant) {
        if self.params.is_some() {
            self.waiting = true;
            self.delivery.hurry(now);
        }
    }

    /// Begins an export if one is due; `healthy` is the state of the collector. Returns whether it did.
    pub fn begin(&mut self, healthy: bool, now: Instant) -> bool {
        let ready = self.can_be_taken(healthy);
        if ready && !self.ready {
            // The receiver is there again, so the waiting data need not wait for the end of a backoff.
            self.delivery.forgive();
            if self.waiting && self.to_collector() {
                self.delivery.at_once(now);
            }
        }
        self.ready = ready;
        let begun = ready && self.waiting && self.delivery.begin(now);
        self.waiting &= !begun;
        begun
    }

    /// Begins an export although it is not due, because the agent ends.
    pub fn begin_last(&mut self, healthy: bool, now: Instant) -> bool {
        if self.delivery.failures() == 0 {
            self.delivery.at_once(now);
            return self.begin(healthy, now);
        }
        false
    }

    /// Handles the end of an export. Returns the notice about it, if any.
    pub fn on_exported(&mut self, result: Result<ExportOutcome, Failure>, healthy: bool, at: Moment) -> Option<Notice> {
        self.delivery.landed();
        let params = self.params?;
        match result {
            Ok(ExportOutcome { sent, more, trouble }) => {
                let back = std::mem::take(&mut self.told);
                self.delivery.taken(sent, trouble.clone(), params.every, at);
                if more {
                    self.delivery.at_once(at.now);
                }
                self.waiting |= more;
                match trouble {
                    Some(message) => {
                        let news = self.refusals.len() < MOST_REFUSALS && self.refusals.insert(message.clone());
                        news.then_some(Notice::ExportRefused { message })
                    }
                    None => back.then_some(Notice::ExportBack),
                }
            }
            // The collector was gone, which other notices say.
            Err(_) if params.to_collector && !healthy => {
                self.waiting = true;
                self.delivery.at_once(at.now);
                None
            }
            Err(failure) => {
                let kind = failure.kind;
                let retry = self.delivery.failed(failure, at);
                self.waiting = true;
                let quiet = params.to_collector && self.delivery.failures() <= QUIET_FAILURES;
                let news = !quiet && (!self.told || retry.is_news);
                self.told |= news;
                news.then_some(Notice::ExportFailed { message: retry.message, kind, delay: retry.delay })
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

    /// The time of the next export; none while one is under way, nothing waits, or the receiver is absent.
    pub fn due(&self, healthy: bool) -> Option<Due> {
        self.delivery.due().filter(|_| self.waiting && self.can_be_taken(healthy))
    }

    /// Whether one is under way.
    pub fn in_flight(&self) -> bool {
        self.delivery.in_flight()
    }

    /// Whether exports go to the collector of this agent.
    pub fn to_collector(&self) -> bool {
        self.params.is_some_and(|params| params.to_collector)
    }

    /// The exports so far.
    pub fn deliveries(&self) -> &Deliveries {
        self.delivery.deliveries()
    }

    fn can_be_taken(&self, healthy: bool) -> bool {
        self.params.is_some_and(|params| healthy || !params.to_collector)
    }
}

/// The time of the first export.
fn first(params: Option<ExportParams>, now: Instant) -> Option<Due> {
    let every = params?.every;
    Some(Due { at: now + every, slack: backoff::patience(every) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::failure::FailureKind;
    use crate::decide::data::time::origin;
    use std::time::SystemTime;

    const EVERY: Duration = Duration::from_secs(60);
    const AWAY: ExportParams = ExportParams { every: EVERY, to_collector: false, metrics: true };
    const NEAR: ExportParams = ExportParams { every: EVERY, to_collector: true, metrics: true };

    fn at(now: Instant) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice: u64::MAX }
    }

    fn failure() -> Result<ExportOutcome, Failure> {
        Err(Failure::new(FailureKind::Status, "answered 503"))
    }

    #[test]
    fn samples_wait_for_their_time_and_events_for_a_second() {
        let t0 = origin();
        let mut exports = ExportSchedule::new(Some(AWAY), t0);
        assert_eq!(exports.due(false), None, "nothing waits");
        exports.measured();
        assert_eq!(exports.due(false), Some(Due { at: t0 + EVERY, slack: backoff::patience(EVERY) }));

        let t1 = t0 + EVERY / 2;
        exports.happened(t1);
        exports.happened(t1 + SETTLE / 2);
        assert_eq!(exports.due(false), Some(Due::at(t1 + SETTLE)));
        assert!(!exports.begin(false, t1 + SETTLE / 2));
        assert!(exports.begin(false, t1 + SETTLE));
        assert!(!exports.begin(false, t1 + EVERY), "one is out");
        exports.on_exported(Ok(ExportOutcome { sent: 1, ..ExportOutcome::default() }), false, at(t1 + SETTLE));
        assert_eq!(exports.due(false), None);
    }

    #[test]
    fn after_an_outage_exports_follow_each_other_at_once() {
        let t0 = origin();
        let mut exports = ExportSchedule::new(Some(AWAY), t0);
        exports.measured();
        let mut now = t0 + EVERY;
        assert!(exports.begin(false, now));
        let news = exports.on_exported(failure(), false, at(now));
        assert!(matches!(news, Some(Notice::ExportFailed { .. })), "{news:?}");
        now = exports.due(false).unwrap().latest();
        assert!(exports.begin(false, now));
        assert_eq!(exports.on_exported(failure(), false, at(now)), None, "the same again is no news");
        let delay = exports.due(false).unwrap().latest() - now;
        assert_eq!(delay.as_secs_f64().round(), 10.0);

        now += delay;
        assert!(exports.begin(false, now));
        let more = ExportOutcome { sent: 1, more: true, trouble: None };
        assert_eq!(exports.on_exported(Ok(more), false, at(now)), Some(Notice::ExportBack));
        assert!(exports.begin(false, now), "at once");
        exports.on_exported(Ok(ExportOutcome { sent: 1, ..ExportOutcome::default() }), false, at(now));
        assert_eq!(exports.due(false), None);
        assert_eq!((exports.deliveries().sent, exports.deliveries().failed), (2, 2));
    }

    #[test]
    fn retry_after_is_obeyed_within_limits() {
        let t0 = origin();
        let mut exports = ExportSchedule::new(Some(AWAY), t0);
        for (wished, kept) in [(7, Duration::from_secs(7)), (0, LEAST), (86_400, LONGEST)] {
            exports.measured();
            let now = exports.due(false).unwrap().latest();
            assert!(exports.begin(false, now));
            let retry_after = Some(Duration::from_secs(wished));
            let failure = Failure { retry_after, ..Failure::new(FailureKind::Status, "429") };
            exports.on_exported(Err(failure), false, at(now));
            assert_eq!(exports.due(false).unwrap().latest(), now + kept);
        }
    }

    #[test]
    fn exports_wait_for_a_stopped_collector_without_a_failure() {
        let t0 = origin();
        let mut exports = ExportSchedule::new(Some(NEAR), t0);
        exports.happened(t0);
        assert!(!exports.begin(false, t0 + EVERY));
        assert_eq!(exports.due(false), None, "no wake-up is spent on it");
        assert!(exports.begin(true, t0 + EVERY), "as soon as it is healthy");

        // It ends while the export is under way.
        assert_eq!(exports.on_exported(failure(), false, at(t0 + EVERY)), None);
        assert_eq!(exports.deliveries().failed, 0);
        assert!(!exports.begin(false, t0 + EVERY));
        // It comes back, ends before the agent learns of that, and comes back again.
        assert!(exports.begin(true, t0 + EVERY * 2));
        assert_eq!(exports.on_exported(failure(), true, at(t0 + EVERY * 2)), None, "said by the collector's end");
        assert!(!exports.begin(false, t0 + EVERY * 2));
        assert!(exports.begin(true, t0 + EVERY * 2), "no backoff for what is new");
    }

    #[test]
    fn each_refusal_is_announced_once() {
        let t0 = origin();
        let mut exports = ExportSchedule::new(Some(AWAY), t0);
        let refused = || Ok(ExportOutcome { sent: 1, more: false, trouble: Some("answered 400".into()) });
        exports.measured();
        assert!(exports.begin(false, t0 + EVERY));
        let told = exports.on_exported(refused(), false, at(t0 + EVERY));
        assert_eq!(told, Some(Notice::ExportRefused { message: "answered 400".into() }));
        exports.measured();
        assert!(exports.begin(false, t0 + EVERY * 3));
        assert_eq!(exports.on_exported(refused(), false, at(t0 + EVERY * 3)), None);
    }

    #[test]
    fn without_metrics_only_events_are_exported() {
        let t0 = origin();
        let mut exports = ExportSchedule::new(Some(ExportParams { metrics: false, ..AWAY }), t0);
        exports.measured();
        assert_eq!(exports.due(false), None);
        exports.happened(t0);
        assert!(exports.begin(false, t0 + SETTLE));
    }

    #[test]
    fn no_exports_without_settings() {
        let t0 = origin();
        let mut exports = ExportSchedule::new(None, t0);
        exports.measured();
        exports.happened(t0);
        assert!(!exports.begin(true, t0 + EVERY) && !exports.begin_last(true, t0 + EVERY));
        assert_eq!(exports.due(true), None);
    }
}
