//! Decides which configuration runs. A config is offered, kept, validated, recorded and tried; only then is it the last
//! good one.
//!
//! A check (keep, validate, record) and a trial are independent: while one config is in its probation, a newer one is
//! already checked. The newest offer always wins.

use std::time::{Duration, Instant, SystemTime};

use super::action::Action;
use super::backoff;
use super::damping::Damping;
use super::data::hash::ConfigHash;
use super::data::record::{Candidate, Record, Refusal, Verdict};
use super::data::report::RemoteConfigStatus;
use super::data::time::{Due, Moment};
use super::notice::Notice;
use crate::units::counted;

/// The most refused configs that are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 32;

/// A config refused this often is tried again only when a person asks. Fewer refusals are lifted when another config is
/// offered in between. Two servers that disagree must not make the collector change back and forth for ever.
const FINAL: u32 = 3;

/// After this many starts of the agent with the same config in its probation, that config is suspected of causing them.
const ATTEMPTS: u32 = 3;

/// The base of the backoff for work that the host refuses: writing a file, running a validation.
const RETRY_BASE: Duration = Duration::from_secs(4);

/// Its cap for a validation: once a collector is installed, its first config must not wait long.
const VALIDATE_CAP: Duration = Duration::from_secs(16);

/// Its cap for writes: further attempts do not help a full disk.
const WRITE_CAP: Duration = Duration::from_secs(120);

/// The reason of a refusal that a person has asked for.
const BY_A_PERSON: &str = "rolled back by a person";

/// The progress of the check of an offered config.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Check {
    Idle,
    Keeping {
        hash: ConfigHash,
        /// The config that should run. The offered one may differ from it in comments alone.
        beside: Option<ConfigHash>,
    },
    Validating(ConfigHash),
    Recording {
        hash: ConfigHash,
        generation: u64,
    },
    /// The host could not do it. The next try is at this time.
    Retrying {
        hash: ConfigHash,
        at: Instant,
    },
}

/// A passing trouble with a config that is not refused.
#[derive(Debug, Clone, PartialEq)]
struct Trouble {
    hash: ConfigHash,
    message: String,
}

/// Does a rollback, or clears the refusals, while no agent runs.
pub fn on_disk(record: Record, roll_back: bool, wall: SystemTime) -> (Record, Result<String, String>) {
    let mut rollout = Rollout::idle(record);
    let mut out = Vec::new();
    let answer = if roll_back { rollout.roll_back(wall, &mut out) } else { Ok(rollout.clear_refused(&mut out)) };
    (rollout.record, answer)
}

/// The record, the check and the trial of configs.
#[derive(Debug)]
pub struct Rollout {
    /// How long a new config must stay healthy.
    pub probation: Duration,
    /// Whether the collector fails on the config that should run.
    pub failing: bool,
    record: Record,
    check: Check,
    /// The candidate that is recorded and runs, or is about to. A newer one may already be on its way to the record.
    trial: Option<Candidate>,
    next: Option<ConfigHash>,
    tries: u32,
    damping: Damping,
    /// Whether it was told since the last trial that a config took the place of another.
    alike_told: bool,
    trouble: Option<Trouble>,
    needs_body: bool,
    /// Whether the candidate found at start waits for its count of attempts to be on disk.
    resuming: bool,
    generation: u64,
    writing: bool,
    dirty: bool,
    rewrite: Option<Instant>,
    write_failures: u32,
    announced: Option<ConfigHash>,
}

impl Rollout {
    /// Continues from the record on disk. A candidate found there continues its trial, but only so often.
    pub fn new(record: Record, at: Moment, out: &mut Vec<Action>) -> Self {
        let mut rollout = Self::idle(record);
        // An earlier agent received it and ended before it was decided: the source must send it again.
        rollout.needs_body = rollout.record.remote.is_some_and(|hash| !rollout.has_decided(hash));
        if let Some(candidate) = &mut rollout.record.candidate {
            candidate.attempts += 1;
            let Candidate { hash, attempts } = *candidate;
            if attempts > ATTEMPTS && rollout.record.last_good.is_some() {
                rollout.record.candidate = None;
                let reason = format!("the agent or the host ended {ATTEMPTS} times during its probation");
                rollout.tell_refused(hash, &reason, out);
                rollout.refuse(hash, reason, at.wall, out);
            } else {
                rollout.resuming = true;
                rollout.write(out);
                rollout.check = Check::Recording { hash, generation: rollout.generation };
            }
        }
        rollout
    }

    fn idle(record: Record) -> Self {
        Self {
            probation: Duration::ZERO,
            failing: false,
            record,
            check: Check::Idle,
            trial: None,
            next: None,
            tries: 0,
            damping: Damping::default(),
            alike_told: false,
            trouble: None,
            needs_body: false,
            resuming: false,
            generation: 0,
            writing: false,
            dirty: false,
            rewrite: None,
            write_failures: 0,
            announced: None,
        }
    }

    /// The config that should run now.
    pub fn wanted(&self) -> Option<ConfigHash> {
        if self.resuming { None } else { self.on_trial().or(self.record.last_good) }
    }

    /// The config in its probation.
    pub fn on_trial(&self) -> Option<ConfigHash> {
        self.trial.map(|candidate| candidate.hash)
    }

    /// Whether "unchanged" is no usable answer, because the body was lost.
    pub fn needs_body(&self) -> bool {
        self.needs_body
    }

    /// The record that is on disk or will be.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The config that is being checked or waits for its check.
    pub fn checking(&self) -> Option<ConfigHash> {
        self.next.or(match self.check {
            Check::Idle => None,
            Check::Keeping { hash, .. }
            | Check::Validating(hash)
            | Check::Recording { hash, .. }
            | Check::Retrying { hash, .. } => Some(hash),
        })
    }

    /// Whether the body of this config still has to be written to disk.
    pub fn awaits_body(&self, hash: ConfigHash) -> bool {
        self.next == Some(hash) || matches!(self.check, Check::Keeping { hash: kept, .. } if kept == hash)
    }

    /// The passing trouble with this config.
    pub fn trouble(&self, hash: ConfigHash) -> Option<&str> {
        self.trouble.as_ref().filter(|trouble| trouble.hash == hash).map(|trouble| trouble.message.as_str())
    }

    /// The refusal of this config, if it must not be tried now.
    pub fn barred(&self, hash: ConfigHash) -> Option<&Refusal> {
        self.record.refused.iter().find(|refused| refused.hash == hash && refused.barred)
    }

    /// Whether this config was accepted or refused.
    fn has_decided(&self, hash: ConfigHash) -> bool {
        let Record { last_good, candidate, .. } = &self.record;
        let accepted = [*last_good, candidate.map(|candidate| candidate.hash)].contains(&Some(hash));
        accepted || self.barred(hash).is_some()
    }

    /// The status of the config received last, and the reason if it failed. `healthy` is the config on which the
    /// collector is healthy now: a first config that failed before and works now is on probation again.
    pub fn status(&self, healthy: Option<ConfigHash>) -> (RemoteConfigStatus, String) {
        let Some(remote) = self.record.remote else {
            return (RemoteConfigStatus::Unset, String::new());
        };
        if let Some(refused) = self.barred(remote) {
            return (RemoteConfigStatus::Failed, refused.reason.clone());
        }
        let works = healthy == Some(remote) && self.on_trial() == Some(remote);
        if let Some(trouble) = self.trouble(remote).filter(|_| !works) {
            return (RemoteConfigStatus::Failed, trouble.into());
        }
        if self.record.last_good == Some(remote) && self.on_trial().is_none() {
            return (RemoteConfigStatus::Applied, String::new());
        }
        if self.held_until().is_some() && self.next == Some(remote) {
            return (RemoteConfigStatus::Applying, self.damping.describe(remote).to_string());
        }
        let waits = self.needs_body && self.check == Check::Idle;
        let message = if waits { "it is not decided, and the source is asked for it again" } else { "" };
        (RemoteConfigStatus::Applying, message.into())
    }

    /// The time of the next task.
    pub fn due(&self) -> Option<Due> {
        let retry = match self.check {
            Check::Retrying { at, .. } => Some(at),
            Check::Idle | Check::Keeping { .. } | Check::Validating(_) | Check::Recording { .. } => None,
        };
        let change = self.held_until().filter(|_| self.is_free());
        retry.into_iter().chain(self.rewrite).chain(change).min().map(Due::at)
    }

    /// Whether there is a config that was accepted, or may still be.
    pub fn has_config(&self) -> bool {
        let Record { last_good, candidate, .. } = &self.record;
        last_good.is_some() || candidate.is_some() || self.checking().is_some()
    }

    /// Handles the offer of a config that passed the agent's own checks. `others` are the configs that other sources
    /// offer: their refusals stay.
    pub fn on_offered(&mut self, hash: ConfigHash, others: &[ConfigHash], now: Instant, out: &mut Vec<Action>) {
        self.needs_body = false;
        self.received(hash, others, out);
        if self.record.last_good == Some(hash) {
            self.next = None;
            self.withdraw(hash, now, out);
        } else if self.barred(hash).is_some() {
            self.next = None;
            self.announce_barred(hash, out);
        } else if self.on_trial() == Some(hash) || self.next.is_none() && self.checking() == Some(hash) {
            self.next = None;
        } else {
            self.next = Some(hash);
            if let Check::Validating(old) = self.check
                && old != hash
            {
                // A newer config must not wait for an answer that nobody wants any more.
                out.push(Action::EndValidation);
                self.check = Check::Idle;
            }
            self.advance(out);
        }
    }

    /// Handles the offer of a body that fails the agent's own checks.
    pub fn on_malformed(
        &mut self,
        hash: ConfigHash,
        reason: String,
        others: &[ConfigHash],
        at: Moment,
        out: &mut Vec<Action>,
    ) {
        self.needs_body = false;
        self.received(hash, others, out);
        self.next = None;
        if self.barred(hash).is_some() {
            self.announce_barred(hash, out);
        } else {
            self.tell_refused(hash, &reason, out);
            self.refuse(hash, reason, at.wall, out);
        }
    }

    /// Handles the end of writing a body. `alike` tells that it differs from the config beside it in comments and blank
    /// lines alone; then nothing has to be validated or started, and the earlier config that it takes the place of is
    /// returned.
    pub fn on_kept(
        &mut self,
        hash: ConfigHash,
        alike: bool,
        result: Result<(), String>,
        location: Option<&str>,
        out: &mut Vec<Action>,
    ) -> Option<ConfigHash> {
        let beside = match self.check {
            Check::Keeping { hash: kept, beside } if kept == hash => beside,
            Check::Idle
            | Check::Keeping { .. }
            | Check::Validating(_)
            | Check::Recording { .. }
            | Check::Retrying { .. } => return None,
        };
        match result {
            Ok(()) if self.superseded(hash) => self.drop_check(out),
            Ok(()) if alike && beside == self.wanted() => {
                self.replace(beside, hash, out);
                self.drop_check(out);
                return beside;
            }
            Ok(()) => {
                // An offer repeated because the host could not keep it is not news.
                if self.trouble(hash).is_none() {
                    out.push(Action::Tell(Notice::ConfigOffered { hash, location: location.map(str::to_owned) }));
                }
                self.check = Check::Validating(hash);
                out.push(Action::Validate(hash));
            }
            Err(why) => self.lose(hash, format!("cannot keep config {hash}: {why}"), out),
        }
        None
    }

    /// Handles the verdict of the collector.
    pub fn on_validated(&mut self, hash: ConfigHash, verdict: Verdict, at: Moment, out: &mut Vec<Action>) {
        if self.check != Check::Validating(hash) {
            return;
        }
        match verdict {
            // Its body may be deleted by now, so even a refusal means nothing.
            _ if self.superseded(hash) => self.drop_check(out),
            Verdict::Refused(reason) => {
                self.check = Check::Idle;
                self.tell_refused(hash, &reason, out);
                self.refuse(hash, reason, at.wall, out);
                self.advance(out);
            }
            Verdict::Passed => {
                self.tries = 0;
                self.clear_trouble(hash);
                self.record.candidate = Some(Candidate { hash, attempts: 0 });
                self.write(out);
                self.check = Check::Recording { hash, generation: self.generation };
            }
            Verdict::Unable(why) => {
                let delay = backoff::full_jitter(self.tries, RETRY_BASE, VALIDATE_CAP, at.dice).max(RETRY_BASE / 4);
                self.tries += 1;
                self.trouble(hash).is_none_or(|known| known != why).then(|| {
                    out.push(Action::Tell(Notice::CannotValidate { hash, why: why.clone(), delay }));
                });
                self.trouble = Some(Trouble { hash, message: why });
                self.check = Check::Retrying { hash, at: at.now + delay };
            }
            Verdict::Lost(why) => self.lose(hash, format!("config {hash} was lost before its validation: {why}"), out),
        }
    }

    /// Handles the end of writing the record.
    pub fn on_recorded(&mut self, generation: u64, result: Result<(), String>, at: Moment, out: &mut Vec<Action>) {
        self.writing = false;
        match &result {
            Ok(()) => self.write_failures = 0,
            Err(why) => {
                let delay = backoff::full_jitter(self.write_failures, RETRY_BASE, WRITE_CAP, at.dice).max(RETRY_BASE);
                if self.write_failures == 0 {
                    out.push(Action::Tell(Notice::CannotRecord { why: why.clone(), delay }));
                }
                self.write_failures += 1;
                self.rewrite = Some(at.now + delay);
            }
        }
        if let Check::Recording { hash, generation: awaited } = self.check
            && generation >= awaited
        {
            self.check = Check::Idle;
            match result {
                // A candidate found on disk at the start was recorded before, so its trial goes on even if this write
                // failed.
                Err(why) if !self.resuming => {
                    self.record.candidate = self.trial;
                    self.lose(hash, format!("cannot record config {hash} as candidate: {why}"), out);
                }
                Ok(()) | Err(_) => {
                    if let Some(from) = self.wanted() {
                        self.damping.changed(from, hash, at.now);
                    }
                    self.alike_told = false;
                    self.trial = self.record.candidate;
                    out.push(Action::Tell(Notice::TrialBegins { hash }));
                }
            }
            self.resuming = false;
            self.advance(out);
        }
        if self.dirty && self.rewrite.is_none() {
            self.write(out);
        }
    }

    /// Handles a run on this config that ended badly.
    pub fn on_failed(&mut self, config: ConfigHash, reason: String, at: Moment, out: &mut Vec<Action>) {
        if self.on_trial() != Some(config) {
            return;
        }
        match self.record.last_good {
            Some(good) => {
                self.end_trial();
                out.push(Action::Tell(Notice::RolledBack { from: config, to: good, reason: reason.clone() }));
                self.refuse(config, reason, at.wall, out);
            }
            // Without an earlier config, trying again is the only way to telemetry. The host may have been the cause,
            // such as an engine that is not up yet, and nobody may come to say so.
            None => {
                if self.trouble(config).is_none() {
                    out.push(Action::Tell(Notice::NothingToReturnTo { hash: config, reason: reason.clone() }));
                }
                self.trouble = Some(Trouble { hash: config, message: reason });
            }
        }
    }

    /// Makes the candidate the last good config after its probation.
    pub fn promote(&mut self, out: &mut Vec<Action>) {
        let Some(hash) = self.on_trial() else { return };
        self.record.previous = self.record.last_good.filter(|good| *good != hash).or(self.record.previous);
        self.record.last_good = Some(hash);
        self.end_trial();
        self.record.refused.retain(|refused| refused.hash != hash);
        self.clear_trouble(hash);
        out.push(Action::Tell(Notice::Applied { hash }));
        self.write(out);
    }

    /// Does every task that is due: the next try of a validation or of a write.
    pub fn on_due(&mut self, at: Moment, out: &mut Vec<Action>) {
        if let Check::Retrying { hash, at: due } = self.check
            && at.now >= due
        {
            if self.superseded(hash) {
                self.drop_check(out);
            } else {
                self.check = Check::Validating(hash);
                out.push(Action::Validate(hash));
            }
        }
        if self.rewrite.is_some_and(|due| at.now >= due) && !self.writing {
            self.write(out);
        }
        match self.held_until() {
            Some(until) if at.now < until => self.tell_held(until - at.now, out),
            Some(_) | None => self.begin_next(out),
        }
    }

    /// The time until which the offered config waits, because there were many changes.
    pub fn held_until(&self) -> Option<Instant> {
        self.next.and_then(|_| self.damping.until(self.probation, self.failing))
    }

    /// Forgets earlier changes: a person must not be made to wait.
    pub fn hurry(&mut self, out: &mut Vec<Action>) {
        self.damping.lift();
        self.begin_next(out);
    }

    /// Goes back to an earlier config for a person: from a trial to the last good one, else to the one before that.
    pub fn roll_back(&mut self, wall: SystemTime, out: &mut Vec<Action>) -> Result<String, String> {
        let (from, to) = match (self.record.candidate.or(self.trial), self.record.last_good, self.record.previous) {
            (Some(candidate), Some(good), _) => (candidate.hash, good),
            (None, Some(good), Some(previous)) => (good, previous),
            (_, _, None) | (_, None, _) => {
                return Err("there is no config before this one; nothing was changed".into());
            }
        };
        if !self.abandon() {
            self.record.previous = None;
        }
        self.record.last_good = Some(to);
        let reason = BY_A_PERSON.to_string();
        out.push(Action::Tell(Notice::RolledBack { from, to, reason: reason.clone() }));
        self.refuse(from, reason, wall, out);
        self.advance(out);
        Ok(format!("config {from} is refused from now on, config {to} runs; `otelet rollback --clear` lifts that"))
    }

    /// Clears the refusals for a person, so that these configs are tried when offered again.
    pub fn clear_refused(&mut self, out: &mut Vec<Action>) -> String {
        let number = self.record.refused.iter().filter(|refused| refused.barred).count();
        self.record.refused.clear();
        self.needs_body = true;
        self.announced = None;
        out.push(Action::Tell(Notice::RefusalsCleared { number }));
        self.write(out);
        self.hurry(out);
        let when = if number == 1 { "it is" } else { "they are" };
        format!("{} may be tried again when {when} offered", counted(number as u64, "refused config"))
    }

    /// Writes the record again, for what is on disk beside it.
    pub fn record_again(&mut self, out: &mut Vec<Action>) {
        self.write(out);
    }

    /// The collector is run in another way from now on, so it may take what it refused. A config that a person rolled
    /// back stays refused.
    pub fn reconsider(&mut self, out: &mut Vec<Action>) {
        let remote = self.record.remote;
        let mut number = 0;
        for refused in &mut self.record.refused {
            if refused.barred && Some(refused.hash) == remote && refused.reason != BY_A_PERSON {
                refused.barred = false;
                number += 1;
            }
        }
        if number > 0 {
            (self.needs_body, self.announced) = (true, None);
            out.push(Action::Tell(Notice::RefusalsCleared { number }));
            self.write(out);
        }
    }

    /// Remembers the config received last, and lifts the refusals of others.
    fn received(&mut self, hash: ConfigHash, others: &[ConfigHash], out: &mut Vec<Action>) {
        let mut changed = self.record.remote.replace(hash) != Some(hash);
        for refused in &mut self.record.refused {
            let stays = refused.hash == hash || refused.times >= FINAL || others.contains(&refused.hash);
            changed |= refused.barred && !stays;
            refused.barred &= stays;
        }
        if changed {
            self.write(out);
        }
    }

    /// The source offers the last good config again, so the candidate is dropped.
    fn withdraw(&mut self, good: ConfigHash, now: Instant, out: &mut Vec<Action>) {
        if let Some(candidate) = self.record.candidate.or(self.trial) {
            if self.on_trial().is_some() {
                self.damping.changed(candidate.hash, good, now);
            }
            self.abandon();
            out.push(Action::Tell(Notice::Withdrawn { hash: candidate.hash, good }));
            self.write(out);
        }
    }

    /// Ends the present trial and the one that was about to begin. Returns whether there was any.
    fn abandon(&mut self) -> bool {
        if let Check::Recording { .. } = self.check {
            self.check = Check::Idle;
            self.resuming = false;
        }
        let trial = self.trial.take();
        self.record.candidate.take().or(trial).is_some()
    }

    /// Ends the present trial; a newer candidate that is just being recorded stays.
    fn end_trial(&mut self) {
        if let Some(trial) = self.trial.take() {
            self.record.candidate = self.record.candidate.filter(|candidate| candidate.hash != trial.hash);
        }
    }

    fn refuse(&mut self, hash: ConfigHash, reason: String, wall: SystemTime, out: &mut Vec<Action>) {
        let earlier = self.record.refused.iter().position(|refused| refused.hash == hash);
        let times = earlier.map_or(0, |index| self.record.refused.remove(index).times) + 1;
        if self.record.refused.len() >= REMEMBERED {
            self.record.refused.remove(0);
        }
        self.announced = Some(hash);
        self.record.refused.push(Refusal { hash, reason, at: wall, times, barred: true });
        self.clear_trouble(hash);
        self.write(out);
    }

    fn tell_refused(&self, hash: ConfigHash, reason: &str, out: &mut Vec<Action>) {
        let running = self.on_trial().or(self.record.last_good).filter(|running| *running != hash);
        out.push(Action::Tell(Notice::Refused { hash, reason: reason.into(), running }));
    }

    /// Says once, and not at each poll, that an offer is not tried again.
    fn announce_barred(&mut self, hash: ConfigHash, out: &mut Vec<Action>) {
        if self.announced.replace(hash) != Some(hash) {
            out.push(Action::Tell(Notice::StillRefused { hash }));
        }
    }

    /// The host could not keep the config. The body is gone, so the source is asked for it again. The config is not
    /// refused.
    fn lose(&mut self, hash: ConfigHash, message: String, out: &mut Vec<Action>) {
        if self.trouble(hash).is_none() {
            out.push(Action::Tell(Notice::Lost { hash, message: message.clone() }));
        }
        self.trouble = Some(Trouble { hash, message });
        self.needs_body = true;
        self.check = Check::Idle;
        self.advance(out);
    }

    fn clear_trouble(&mut self, hash: ConfigHash) {
        if self.trouble.as_ref().is_some_and(|trouble| trouble.hash == hash) {
            self.trouble = None;
        }
    }

    /// Whether the source has offered another config since this check began, or this one is barred by now.
    fn superseded(&self, hash: ConfigHash) -> bool {
        self.record.remote != Some(hash) || self.barred(hash).is_some()
    }

    fn drop_check(&mut self, out: &mut Vec<Action>) {
        self.check = Check::Idle;
        self.advance(out);
    }

    /// Begins the check that waits, unless there were many changes: then `on_due` begins it in time.
    fn advance(&mut self, out: &mut Vec<Action>) {
        if !self.damping.is_hot() {
            self.begin_next(out);
        }
    }

    /// Begins the check that waits, if none is under way. A waiting retry gives way to a newer offer.
    fn begin_next(&mut self, out: &mut Vec<Action>) {
        if self.is_free()
            && let Some(hash) = self.next.take()
        {
            self.tries = 0;
            let beside = self.wanted();
            self.check = Check::Keeping { hash, beside };
            out.push(Action::Keep { hash, beside });
        }
    }

    fn is_free(&self) -> bool {
        match self.check {
            Check::Idle | Check::Retrying { .. } => true,
            Check::Keeping { .. } | Check::Validating(_) | Check::Recording { .. } => false,
        }
    }

    /// Says once since the last change that a config waits, and not at each poll.
    fn tell_held(&mut self, delay: Duration, out: &mut Vec<Action>) {
        if let Some(hash) = self.next
            && let Some(flapping) = self.damping.news(hash)
        {
            out.push(Action::Tell(Notice::ConfigHeld { hash, flapping, delay }));
        }
    }

    /// Lets a config take the place of one that has the same content.
    fn replace(&mut self, old: Option<ConfigHash>, new: ConfigHash, out: &mut Vec<Action>) {
        for candidate in [&mut self.trial, &mut self.record.candidate].into_iter().flatten() {
            if old == Some(candidate.hash) {
                candidate.hash = new;
            }
        }
        self.record.previous = self.record.previous.filter(|previous| *previous != new);
        if self.record.last_good == old {
            self.record.last_good = Some(new);
            self.record.previous = self.record.previous.or(old);
        }
        self.record.refused.retain(|refused| refused.hash != new);
        self.clear_trouble(new);
        let news = !std::mem::replace(&mut self.alike_told, true);
        out.push(Action::Tell(Notice::ConfigAlike { hash: new, news }));
        self.write(out);
    }

    /// Writes the record, now or when the write under way has ended.
    fn write(&mut self, out: &mut Vec<Action>) {
        self.generation += 1;
        self.rewrite = None;
        if self.writing {
            self.dirty = true;
        } else {
            self.dirty = false;
            self.writing = true;
            out.push(Action::Record { generation: self.generation, record: self.record.clone() });
        }
    }
}
