//! Decides which configuration runs: offered, kept, validated, recorded, tried, and only then the last good one.
//!
//! A check (keep, validate, record) and a trial are independent: while one config is in its probation a newer one is
//! already checked, and the newest offer always wins.

use std::time::{Duration, Instant, SystemTime};

use super::action::Action;
use super::backoff;
use super::data::hash::ConfigHash;
use super::data::record::{Candidate, Record, Refusal, Verdict};
use super::data::report::RemoteConfigStatus;
use super::data::time::{Due, Moment};
use super::notice::Notice;

/// Refusal configs that are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 32;

/// A config refused this often is not tried again because another one was offered in between, only when a person asks:
/// two servers that disagree must not make the collector change back and forth for ever.
const FINAL: u32 = 3;

/// Starts of the agent with the same config still in its probation, after which that config is suspected of them.
const ATTEMPTS: u32 = 3;

/// The base of the backoff for what the host would not do: write a file, run a validation.
const RETRY_BASE: Duration = Duration::from_secs(4);

/// Its cap for a validation: a collector that is installed at last does not wait long for its first config.
const VALIDATE_CAP: Duration = Duration::from_secs(16);

/// Its cap for writes: a full disk is not helped by more of them.
const WRITE_CAP: Duration = Duration::from_secs(120);

/// How far the check of an offered config has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Check {
    Idle,
    Keeping(ConfigHash),
    Validating(ConfigHash),
    Recording {
        hash: ConfigHash,
        generation: u64,
    },
    /// The host would not do it; tried again.
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

/// What a person asks for while no agent runs: back to the config before, or refused configs forgotten.
pub fn on_disk(record: Record, roll_back: bool, wall: SystemTime) -> (Record, Result<String, String>) {
    let mut rollout = Rollout::idle(record);
    let mut out = Vec::new();
    let answer = if roll_back { rollout.roll_back(wall, &mut out) } else { Ok(rollout.clear_refused(&mut out)) };
    (rollout.record, answer)
}

/// Which configuration runs, and how it came to that.
#[derive(Debug)]
pub struct Rollout {
    record: Record,
    check: Check,
    /// The candidate that is recorded and runs, or is about to. A newer one may already be on its way to the record.
    trial: Option<Candidate>,
    next: Option<ConfigHash>,
    tries: u32,
    trouble: Option<Trouble>,
    needs_body: bool,
    /// The candidate found at start waits for its count of attempts to be on disk.
    resuming: bool,
    generation: u64,
    writing: bool,
    dirty: bool,
    rewrite: Option<Instant>,
    write_failures: u32,
    announced: Option<ConfigHash>,
}

impl Rollout {
    /// Goes on from what the disk holds. A candidate found there goes on with its trial, but not for ever.
    pub fn new(record: Record, at: Moment, out: &mut Vec<Action>) -> Self {
        let mut rollout = Self::idle(record);
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
            record,
            check: Check::Idle,
            trial: None,
            next: None,
            tries: 0,
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

    /// Whether the source must be asked for the body itself: what it was last asked for was lost.
    pub fn needs_body(&self) -> bool {
        self.needs_body
    }

    /// What is on disk, or will be.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The config that is being checked or waits for it.
    pub fn checking(&self) -> Option<ConfigHash> {
        self.next.or(match self.check {
            Check::Idle => None,
            Check::Keeping(hash)
            | Check::Validating(hash)
            | Check::Recording { hash, .. }
            | Check::Retrying { hash, .. } => Some(hash),
        })
    }

    /// Whether the body of this config is still to be put on disk.
    pub fn awaits_body(&self, hash: ConfigHash) -> bool {
        self.next == Some(hash) || self.check == Check::Keeping(hash)
    }

    /// The passing trouble with this config.
    pub fn trouble(&self, hash: ConfigHash) -> Option<&str> {
        self.trouble.as_ref().filter(|trouble| trouble.hash == hash).map(|trouble| trouble.message.as_str())
    }

    /// Why this config is not tried.
    pub fn barred(&self, hash: ConfigHash) -> Option<&Refusal> {
        self.record.refused.iter().find(|refused| refused.hash == hash && refused.barred)
    }

    /// The status of the config received last, and why it failed.
    pub fn status(&self) -> (RemoteConfigStatus, String) {
        let Some(remote) = self.record.remote else {
            return (RemoteConfigStatus::Unset, String::new());
        };
        if let Some(refused) = self.barred(remote) {
            return (RemoteConfigStatus::Failed, refused.reason.clone());
        }
        if let Some(trouble) = self.trouble(remote) {
            return (RemoteConfigStatus::Failed, trouble.into());
        }
        if self.record.last_good == Some(remote) && self.on_trial().is_none() {
            return (RemoteConfigStatus::Applied, String::new());
        }
        (RemoteConfigStatus::Applying, String::new())
    }

    /// When it next wants to be asked.
    pub fn due(&self) -> Option<Due> {
        let retry = match self.check {
            Check::Retrying { at, .. } => Some(at),
            Check::Idle | Check::Keeping(_) | Check::Validating(_) | Check::Recording { .. } => None,
        };
        retry.into_iter().chain(self.rewrite).min().map(Due::at)
    }

    /// The source offers a config that passed the agent's own checks.
    pub fn on_offered(&mut self, hash: ConfigHash, out: &mut Vec<Action>) {
        self.needs_body = false;
        self.received(hash, out);
        if self.record.last_good == Some(hash) {
            self.next = None;
            self.withdraw(hash, out);
        } else if self.barred(hash).is_some() {
            self.next = None;
            self.announce_barred(hash, out);
        } else if self.on_trial() == Some(hash) || self.checking() == Some(hash) {
            self.next = None;
        } else {
            // The same again because the host could not hold it is not news.
            if self.trouble(hash).is_none() {
                out.push(Action::Tell(Notice::ConfigOffered { hash }));
            }
            self.next = Some(hash);
            self.advance(out);
        }
    }

    /// The source offers something that the collector need not even be shown.
    pub fn on_malformed(&mut self, hash: ConfigHash, reason: String, at: Moment, out: &mut Vec<Action>) {
        self.needs_body = false;
        self.received(hash, out);
        self.next = None;
        if self.barred(hash).is_some() {
            self.announce_barred(hash, out);
        } else {
            self.tell_refused(hash, &reason, out);
            self.refuse(hash, reason, at.wall, out);
        }
    }

    /// The body is on disk, or is not.
    pub fn on_kept(&mut self, hash: ConfigHash, result: Result<(), String>, out: &mut Vec<Action>) {
        if self.check != Check::Keeping(hash) {
            return;
        }
        match result {
            Ok(()) if self.superseded(hash) => self.drop_check(out),
            Ok(()) => {
                self.check = Check::Validating(hash);
                out.push(Action::Validate(hash));
            }
            Err(why) => self.lose(hash, format!("cannot keep config {hash}: {why}"), out),
        }
    }

    /// The collector has said what it thinks of it.
    pub fn on_validated(&mut self, hash: ConfigHash, verdict: Verdict, at: Moment, out: &mut Vec<Action>) {
        if self.check != Check::Validating(hash) {
            return;
        }
        match verdict {
            // Its body may be swept away by now, so not even a refusal says anything.
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
        }
    }

    /// A record is on disk, or is not.
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
                // What was found on disk at start needs no second permission to be tried.
                Err(why) if !self.resuming => {
                    self.record.candidate = self.trial;
                    self.lose(hash, format!("cannot record config {hash} as candidate: {why}"), out);
                }
                Ok(()) | Err(_) => {
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

    /// A run on this config ended badly.
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
            // With nothing to go back to, trying again is the only way to telemetry: the host may have been the
            // reason (an engine that is not up yet), and nobody may come to say so.
            None => {
                if self.trouble(config).is_none() {
                    out.push(Action::Tell(Notice::NothingToReturnTo { hash: config }));
                }
                self.trouble = Some(Trouble { hash: config, message: reason });
            }
        }
    }

    /// The candidate has survived its probation.
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

    /// What has come due: a retry of a check or of a write.
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
    }

    /// A person wants the config before: out of a trial the last good one, else the one before that.
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
        let reason = "rolled back by a person".to_string();
        out.push(Action::Tell(Notice::RolledBack { from, to, reason: reason.clone() }));
        self.refuse(from, reason, wall, out);
        self.advance(out);
        Ok(format!("config {from} is refused from now on, config {to} runs; `otelet rollback --clear` lifts that"))
    }

    /// A person wants refused configs to be tried again.
    pub fn clear_refused(&mut self, out: &mut Vec<Action>) -> String {
        let number = self.record.refused.iter().filter(|refused| refused.barred).count();
        self.record.refused.clear();
        self.needs_body = true;
        self.announced = None;
        out.push(Action::Tell(Notice::RefusalsCleared { number }));
        self.write(out);
        format!("{number} refused configs may be tried again when they are offered")
    }

    /// Remembers what was received, and what that lifts.
    fn received(&mut self, hash: ConfigHash, out: &mut Vec<Action>) {
        for refused in &mut self.record.refused {
            refused.barred &= refused.hash == hash || refused.times >= FINAL;
        }
        if self.record.remote != Some(hash) {
            self.record.remote = Some(hash);
            self.write(out);
        }
    }

    /// The source is back at the last good config: a candidate is no longer wanted by anybody.
    fn withdraw(&mut self, good: ConfigHash, out: &mut Vec<Action>) {
        if let Some(candidate) = self.record.candidate.or(self.trial) {
            self.abandon();
            out.push(Action::Tell(Notice::Withdrawn { hash: candidate.hash, good }));
            self.write(out);
        }
    }

    /// Ends the trial that runs and the one that was about to. Whether there was any.
    fn abandon(&mut self) -> bool {
        if let Check::Recording { .. } = self.check {
            self.check = Check::Idle;
            self.resuming = false;
        }
        let trial = self.trial.take();
        self.record.candidate.take().or(trial).is_some()
    }

    /// Ends the trial that runs; a newer candidate that is just being recorded stays.
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
        out.push(Action::Tell(Notice::Refused { hash, reason: reason.into(), running: self.record.last_good }));
    }

    /// Says once, and not at each poll, that an offer is not tried again.
    fn announce_barred(&mut self, hash: ConfigHash, out: &mut Vec<Action>) {
        if self.announced.replace(hash) != Some(hash) {
            out.push(Action::Tell(Notice::StillRefused { hash }));
        }
    }

    /// The host would not hold the config: the body is gone, ask for it again. Nothing is said about the config.
    fn lose(&mut self, hash: ConfigHash, message: String, out: &mut Vec<Action>) {
        if self.trouble(hash).is_none() {
            out.push(Action::Tell(Notice::Lost { message: message.clone() }));
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

    /// Whether the source has offered something else since the check of this config began.
    fn superseded(&self, hash: ConfigHash) -> bool {
        self.record.remote != Some(hash) || self.barred(hash).is_some()
    }

    fn drop_check(&mut self, out: &mut Vec<Action>) {
        self.check = Check::Idle;
        self.advance(out);
    }

    /// Begins the check that waits, if nothing is being checked. A retry gives way to a newer offer.
    fn advance(&mut self, out: &mut Vec<Action>) {
        match self.check {
            Check::Idle | Check::Retrying { .. } => {
                if let Some(hash) = self.next.take() {
                    self.tries = 0;
                    self.check = Check::Keeping(hash);
                    out.push(Action::Keep(hash));
                }
            }
            Check::Keeping(_) | Check::Validating(_) | Check::Recording { .. } => {}
        }
    }

    /// Has the record written, now or when the write that is out has ended.
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
