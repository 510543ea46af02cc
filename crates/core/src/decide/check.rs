//! Paces the checks and keeps their results. A check that does not return counts as failed and is not started again
//! before it returns. So a stalled check occupies one thread at most and delays no other check.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::Action;
use super::backoff;
use super::data::check::{CheckOutcome, CheckPlan, CheckReport, CheckResult};
use super::data::time::{Due, Moment};
use super::notice::Notice;

/// The most checks under way at once, not counting stalled ones: each may have a thread.
pub const MOST_AT_ONCE: usize = 4;

/// A check may take this much beyond its timeout before it counts as stalled: a killed program has to be gone, and the
/// resolver of Windows knows no timeout.
pub const GRACE: Duration = Duration::from_secs(2);

/// The first checks after a start are made within this time, together at a random moment.
pub const FIRST_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Check {
    /// Numbers are never used again: a result with an unknown number belongs to earlier settings.
    generation: u64,
    plan: CheckPlan,
    next: Due,
    /// The time since which it is under way.
    running: Option<Instant>,
    stalled: bool,
    last: Option<CheckResult>,
}

impl Check {
    fn is_failing(&self) -> bool {
        self.last.as_ref().is_some_and(|last| !last.ok)
    }
}

/// All checks of the settings.
#[derive(Debug)]
pub struct Checks {
    checks: Vec<Check>,
    generations: u64,
}

impl Checks {
    /// Plans the first run of each check.
    pub fn new(plans: &Arc<[CheckPlan]>, at: Moment) -> Self {
        let mut checks = Self { checks: Vec::new(), generations: 0 };
        checks.reconfigure(plans, at);
        checks
    }

    /// Applies new settings. Unchanged checks continue, the others begin anew.
    pub fn reconfigure(&mut self, plans: &Arc<[CheckPlan]>, at: Moment) {
        let mut old = std::mem::take(&mut self.checks);
        for plan in plans.iter() {
            let known = old.iter().position(|check| check.plan == *plan);
            let check = match known {
                Some(index) => old.swap_remove(index),
                None => self.begin_anew(plan, at),
            };
            self.checks.push(check);
        }
    }

    fn begin_anew(&mut self, plan: &CheckPlan, at: Moment) -> Check {
        self.generations += 1;
        let half = FIRST_WITHIN.min(plan.every) / 2;
        let slack = backoff::full_jitter(0, half, half, mixed(at.dice, self.generations));
        Check {
            generation: self.generations,
            plan: plan.clone(),
            next: Due { at: at.now + half, slack },
            running: None,
            stalled: false,
            last: None,
        }
    }

    /// Starts the checks that are due, as far as there is room, and notes the stalled ones.
    pub fn begin(&mut self, at: Moment, out: &mut Vec<Action>) {
        for check in &mut self.checks {
            if stall(check).is_some_and(|due| due.reached(at.now)) {
                check.stalled = true;
                let limit = crate::units::seconds(check.plan.timeout);
                let message = format!("did not come back within {limit}; it is not started again before it does");
                take(check, Err(message), None, at, out);
            }
        }
        let mut room = MOST_AT_ONCE.saturating_sub(self.under_way());
        // The check that has waited longest is the first.
        let mut due: Vec<usize> = (0..self.checks.len())
            .filter(|index| self.checks[*index].running.is_none() && self.checks[*index].next.reached(at.now))
            .collect();
        due.sort_by_key(|index| self.checks[*index].next.at);
        for index in due {
            if room == 0 {
                return;
            }
            room -= 1;
            let check = &mut self.checks[index];
            check.running = Some(at.now);
            out.push(Action::Check { index, generation: check.generation });
        }
    }

    /// Handles the end of a check.
    pub fn on_checked(&mut self, generation: u64, outcome: CheckOutcome, at: Moment, out: &mut Vec<Action>) {
        let known = self.checks.iter_mut().find(|check| check.generation == generation);
        let Some(check) = known.filter(|check| check.running.is_some()) else { return };
        let started = check.running.take().unwrap_or(at.now);
        check.stalled = false;
        // The next run counts from the start of this one, so that a slow check is not made less often.
        check.next = backoff::around(started, check.plan.every, mixed(at.dice, generation));
        take(check, outcome.result, Some(outcome.took), at, out);
    }

    /// Whether a check fails.
    pub fn is_failing(&self) -> bool {
        self.checks.iter().any(Check::is_failing)
    }

    /// The host's clock was set: what fails may fail because of it, so it is checked again at once. Returns whether
    /// anything is.
    pub fn clock_was_set(&mut self, now: Instant) -> bool {
        let failing = self.checks.iter_mut().filter(|check| check.is_failing());
        let again = failing.map(|check| check.next = Due::at(now)).count();
        again > 0
    }

    /// The time of the next task. A check that waits for room has none: a result makes room.
    pub fn due(&self) -> Option<Due> {
        let room = self.under_way() < MOST_AT_ONCE;
        let due = |check: &Check| match check.running {
            Some(_) => stall(check),
            None => room.then_some(check.next),
        };
        self.checks.iter().filter_map(due).min_by_key(Due::latest)
    }

    /// The reports on all checks, in the order of the settings.
    pub fn reports(&self) -> Vec<CheckReport> {
        let seen = |check: &Check| CheckReport {
            name: check.plan.name.clone(),
            kind: check.plan.kind,
            last: check.last.clone(),
        };
        self.checks.iter().map(seen).collect()
    }

    fn under_way(&self) -> usize {
        self.checks.iter().filter(|check| check.running.is_some() && !check.stalled).count()
    }
}

/// The time at which a check under way counts as stalled; none if it does already.
fn stall(check: &Check) -> Option<Due> {
    let started = check.running.filter(|_| !check.stalled)?;
    Some(Due { at: started + check.plan.timeout + GRACE, slack: GRACE })
}

/// Keeps a result, and announces a change between good and bad.
fn take(check: &mut Check, result: Result<String, String>, took: Option<Duration>, at: Moment, out: &mut Vec<Action>) {
    let ok = result.is_ok();
    let message = result.unwrap_or_else(|why| why);
    let before = check.last.as_ref().map(|last| (last.ok, last.since));
    let (name, kind) = (check.plan.name.clone(), check.plan.kind);
    match before {
        Some((false, since)) if ok => {
            let failed_for = at.wall.duration_since(since).unwrap_or_default();
            out.push(Action::Tell(Notice::CheckGoodAgain { name, kind, failed_for }));
        }
        None | Some((true, _)) if !ok => {
            let every = check.plan.every;
            out.push(Action::Tell(Notice::CheckFailed { name, kind, message: message.clone(), every }));
        }
        _ => {}
    }
    let since = before.filter(|(was, _)| *was == ok).map_or(at.wall, |(_, since)| since);
    check.last = Some(CheckResult { ok, since, at: at.wall, took, message });
}

/// Makes other random numbers of the same one, one for each check.
fn mixed(dice: u64, number: u64) -> u64 {
    // Fibonacci hashing spreads neighbours.
    (dice ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::CheckKind;
    use crate::decide::data::time::origin;
    use std::time::SystemTime;

    const EVERY: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_secs(5);

    fn tcp(name: &str) -> CheckPlan {
        CheckPlan { name: name.into(), kind: CheckKind::Tcp, every: EVERY, timeout: TIMEOUT, fingerprint: 0 }
    }

    fn moment(now: Instant, dice: u64) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice }
    }

    fn started(out: &[Action]) -> Vec<u64> {
        let generation = |action: &Action| match action {
            Action::Check { generation, .. } => Some(*generation),
            _ => None,
        };
        out.iter().filter_map(generation).collect()
    }

    fn told(out: &[Action]) -> Vec<String> {
        let line = |action: &Action| match action {
            Action::Tell(notice) => Some(notice.to_string()),
            _ => None,
        };
        out.iter().filter_map(line).collect()
    }

    fn good() -> CheckOutcome {
        CheckOutcome { result: Ok(String::new()), took: Duration::from_millis(1) }
    }

    fn bad(why: &str) -> CheckOutcome {
        CheckOutcome { result: Err(why.into()), took: Duration::from_millis(1) }
    }

    fn begin(checks: &mut Checks, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        checks.begin(moment(now, 0), &mut out);
        out
    }

    fn back(checks: &mut Checks, generation: u64, outcome: CheckOutcome, now: Instant, dice: u64) -> Vec<Action> {
        let mut out = Vec::new();
        checks.on_checked(generation, outcome, moment(now, dice), &mut out);
        out
    }

    #[test]
    fn the_first_check_comes_within_seconds_and_the_next_within_a_tenth_of_the_interval() {
        for dice in 0..200 {
            let t0 = origin();
            let mut checks = Checks::new(&[tcp("a")].into(), moment(t0, dice));
            let first = checks.due().unwrap();
            assert!(first.at >= t0 && first.latest() <= t0 + FIRST_WITHIN);
            assert_eq!(started(&begin(&mut checks, first.at)), [1]);

            back(&mut checks, 1, good(), first.at + TIMEOUT / 2, dice);
            let next = checks.due().unwrap();
            assert!(next.at >= first.at + EVERY.mul_f64(0.9), "{:?}", next.at - first.at);
            assert!(next.latest() <= first.at + EVERY.mul_f64(1.1), "{:?}", next.latest() - first.at);
        }
    }

    #[test]
    fn four_checks_run_at_once_and_the_longest_waiting_is_next() {
        let t0 = origin();
        let names: Vec<CheckPlan> = (0..6).map(|number| tcp(&number.to_string())).collect();
        let mut checks = Checks::new(&names.into(), moment(t0, 7));
        let later = t0 + FIRST_WITHIN;

        let first = started(&begin(&mut checks, later));
        assert_eq!(first.len(), MOST_AT_ONCE);
        assert!(checks.due().unwrap().at > later, "who waits for room makes no deadline");
        assert!(begin(&mut checks, later).is_empty());

        back(&mut checks, first[0], good(), later, 7);
        let second = started(&begin(&mut checks, later));
        assert_eq!(second.len(), 1);
        assert!(!first.contains(&second[0]));
    }

    #[test]
    fn a_stalled_check_fails_once_and_leaves_its_place_to_others() {
        let t0 = origin();
        let names: Vec<CheckPlan> = (0..5).map(|number| tcp(&number.to_string())).collect();
        let mut checks = Checks::new(&names.into(), moment(t0, 7));
        let start = t0 + FIRST_WITHIN;
        let stuck = started(&begin(&mut checks, start));

        let late = start + TIMEOUT + GRACE;
        let out = begin(&mut checks, late);
        assert_eq!(told(&out).len(), MOST_AT_ONCE, "{out:?}");
        let fifth = started(&out);
        assert_eq!(fifth.len(), 1, "{out:?}");
        back(&mut checks, fifth[0], good(), late, 7);

        let much_later = late + EVERY * 2;
        assert_eq!(started(&begin(&mut checks, much_later)), fifth);

        let out = back(&mut checks, stuck[0], good(), much_later, 7);
        assert_eq!(told(&out).len(), 1, "good again");
        assert_eq!(started(&begin(&mut checks, much_later + EVERY)), [stuck[0]]);
    }

    #[test]
    fn only_changes_between_good_and_bad_are_announced() {
        let t0 = origin();
        let mut checks = Checks::new(&[tcp("db")].into(), moment(t0, 7));
        let mut now = t0;
        let mut run = |outcome| {
            now += EVERY * 2;
            begin(&mut checks, now);
            told(&back(&mut checks, 1, outcome, now, 7))
        };

        assert!(run(good()).is_empty());
        assert_eq!(run(bad("connection refused")), ["check db failed: connection refused; checking again every 30s"]);
        assert!(run(bad("no route to host")).is_empty());
        assert_eq!(run(good()), ["check db is good again"]);
        assert!(run(good()).is_empty());
    }

    #[test]
    fn results_of_earlier_settings_are_ignored_and_unchanged_checks_continue() {
        let t0 = origin();
        let mut checks = Checks::new(&[tcp("a"), tcp("b")].into(), moment(t0, 7));
        begin(&mut checks, t0 + FIRST_WITHIN);
        let other = CheckPlan { every: EVERY * 2, ..tcp("a") };

        checks.reconfigure(&[other, tcp("b")].into(), moment(t0 + FIRST_WITHIN, 7));
        assert!(back(&mut checks, 1, bad("gone"), t0 + FIRST_WITHIN, 7).is_empty());
        assert_eq!(told(&back(&mut checks, 2, bad("refused"), t0 + FIRST_WITHIN, 7)).len(), 1);
        assert_eq!(checks.reports()[0].last, None);
    }

    #[test]
    fn a_check_that_fails_is_made_at_once_when_the_clock_is_set() {
        let (t0, mut out) = (origin(), Vec::new());
        let mut checks = Checks::new(&[tcp("good"), tcp("bad")].into(), moment(t0, 0));
        let now = t0 + EVERY;
        checks.begin(moment(now, 0), &mut out);
        let [good, bad] = started(&out)[..] else { panic!("{out:?}") };
        let outcome = |result| CheckOutcome { result, took: Duration::ZERO };
        checks.on_checked(good, outcome(Ok(String::new())), moment(now, 0), &mut Vec::new());
        checks.on_checked(bad, outcome(Err("not valid yet".into())), moment(now, 0), &mut Vec::new());
        let second = now + Duration::from_secs(1);
        assert!(checks.clock_was_set(second));
        let mut out = Vec::new();
        checks.begin(moment(second, 0), &mut out);
        assert_eq!(started(&out).len(), 1, "the good one waits for its time");
        assert!(!Checks::new(&[tcp("new")].into(), moment(t0, 0)).clock_was_set(second));
    }
}
