//! Decides which config each agent is to have: a changed assignment goes to the agents one at a time and stops at the
//! first that fails.
//!
//! Each agent has a *target*, which the rules give it, and a *desired* config, which it is offered. Where they differ,
//! the agent waits for its turn. Of one config, one agent at a time is on trial; its verdict opens the next turn or stops
//! the config.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::agent::{Agent, Labels, OfferState, Report};
use crate::derive::{Event, Severity, derive};
use crate::ids::{Hash, Millis, Uid};
use crate::selector::Selector;

/// The time for which an applied config must do no harm before the next agent gets it. The agent's own probation comes before.
pub const SETTLE: Millis = 15_000;

/// The time for which an agent may try a config, or not take it, before the config stops.
pub const STUCK: Millis = 15 * 60_000;

/// A version of a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The name of the config.
    pub config: String,
    /// The number of the version.
    pub version: i64,
    /// The SHA-256 of its text.
    pub hash: Hash,
}

/// One row of the assignment. The first row whose selector matches an agent gives it its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The agents.
    pub selector: Selector,
    /// None: these agents get no config.
    pub target: Option<Target>,
}

/// An agent in the fleet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Member {
    /// The facts.
    pub agent: Agent,
    /// The config that it is offered.
    pub desired: Option<Target>,
    /// The config that it was offered before its trial.
    pub before: Option<Target>,
    /// The config that the rules give it.
    pub target: Option<Target>,
    /// Where it stands between the two.
    pub turn: Turn,
    /// Its silence was told.
    pub told_silent: bool,
}

/// Where an agent stands on its way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It has its target, or none.
    #[default]
    Settled,
    /// It came after the assignment: it waits only until the config has worked on one agent.
    Joined,
    /// The assignment changed for it: it waits until it is the next one.
    Moved,
    /// It is on trial.
    Trial {
        /// Since when.
        since: Millis,
        /// The offer was sent.
        offered: bool,
    },
}

/// Why a config goes to no more agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The agent on which it failed.
    pub uid: Uid,
    /// Its words.
    pub why: String,
    /// When.
    pub at: Millis,
}

/// The outcome of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is too early.
    Wait,
    /// The next agent may have the config.
    Good,
    /// The config stops, for this reason.
    Bad(String),
    /// The agent went away before it was offered the config: another one is next.
    PassedOver,
}

/// An input of the fleet.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of Member")]
pub enum Happened {
    /// An agent got its credential.
    Enrolled { uid: Uid, set: Labels },
    /// The status of an agent was brought in by hand.
    Carried { uid: Uid, report: Report },
    /// An agent told something.
    Heard { uid: Uid, report: Report },
    /// An offer was sent.
    Offered { uid: Uid, hash: Hash },
    /// A person changed the assignment.
    Assigned { rules: Vec<Rule> },
    /// A person changed labels and name.
    Labelled { uid: Uid, set: Labels, name: Option<String> },
    /// A person wants an agent to try a config once more that it refused.
    OfferAgain { uid: Uid, hash: Hash },
    /// A person wants a config to go on that was stopped.
    Resumed { hash: Hash },
    /// A person removed an agent.
    Forgotten { uid: Uid },
    /// Time has passed.
    Tick,
}

/// An output of the fleet.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of Member and Fleet")]
pub enum Action {
    /// The member has changed and is kept.
    Keep { uid: Uid },
    /// The member is removed.
    Remove { uid: Uid },
    /// There is something to offer: who is connected gets it at once.
    Offer { uid: Uid },
    /// Something for the timeline; without a uid, of the fleet.
    Event { uid: Option<Uid>, event: Event },
    /// The config goes to no more agents.
    Stopped { hash: Hash, stop: Stop },
    /// The config goes on.
    Lifted { hash: Hash },
    /// The config has worked on an agent.
    Proven { hash: Hash },
}

/// All agents, and the assignment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fleet {
    rules: Vec<Rule>,
    members: BTreeMap<Uid, Member>,
    stops: BTreeMap<Hash, Stop>,
    proven: BTreeSet<Hash>,
    /// By target: who waits for a turn. Follows from the members.
    waiting: BTreeMap<Hash, BTreeSet<Uid>>,
    /// By config: who is on trial. Follows from the members.
    trials: BTreeMap<Hash, Uid>,
}

impl Fleet {
    /// Puts a fleet together from what was kept. `now` is when the hub began to listen.
    pub fn new(
        rules: Vec<Rule>,
        members: BTreeMap<Uid, Member>,
        stops: BTreeMap<Hash, Stop>,
        proven: BTreeSet<Hash>,
        now: Millis,
    ) -> Self {
        let mut fleet = Self { rules, members, stops, proven, ..Self::default() };
        for (uid, member) in &mut fleet.members {
            member.agent.listening_since = now;
            match (member.turn, &member.target) {
                (Turn::Joined | Turn::Moved, Some(target)) => {
                    fleet.waiting.entry(target.hash).or_default().insert(*uid);
                }
                (Turn::Trial { .. }, Some(target)) => _ = fleet.trials.insert(target.hash, *uid),
                (Turn::Settled, _) | (_, None) => {}
            }
        }
        fleet
    }

    /// All agents.
    pub fn members(&self) -> &BTreeMap<Uid, Member> {
        &self.members
    }

    /// One agent.
    pub fn member(&self, uid: Uid) -> Option<&Member> {
        self.members.get(&uid)
    }

    /// The assignment.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The configs that were stopped.
    pub fn stops(&self) -> &BTreeMap<Hash, Stop> {
        &self.stops
    }

    /// Whether the config has worked on an agent.
    pub fn is_proven(&self, hash: Hash) -> bool {
        self.proven.contains(&hash)
    }

    /// The number of agents that wait for this config, and the one that is on trial with it.
    pub fn progress(&self, hash: Hash) -> (usize, Option<Uid>) {
        (self.waiting.get(&hash).map_or(0, BTreeSet::len), self.trials.get(&hash).copied())
    }

    /// The number of the row, from 0, that matches these labels.
    pub fn row_for(&self, labels: &Labels) -> Option<usize> {
        self.rules.iter().position(|rule| rule.selector.matches(labels))
    }

    /// The config to send to an agent now, if there is one that it neither has nor refused.
    pub fn offer(&self, uid: Uid) -> Option<&Target> {
        let member = self.members.get(&uid)?;
        let agent = &member.agent;
        let target = member.desired.as_ref()?;
        let wanted = agent.takes_configs != Some(false)
            && agent.outcome(target.hash).is_none()
            && !agent.refused.contains_key(&target.hash);
        wanted.then_some(target)
    }

    /// Takes in what happened, and says what follows.
    pub fn on(&mut self, happened: Happened, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        match happened {
            Happened::Enrolled { uid, set } => {
                let member = self.members.entry(uid).or_default();
                if member.agent.enrolled == 0 {
                    member.agent.enrolled = now;
                    member.agent.listening_since = now;
                }
                // A token that is used again by the same agent brings its labels again; those of a person stay.
                for (name, value) in set {
                    member.agent.set.entry(name).or_insert(value);
                }
                actions.push(Action::Keep { uid });
                self.retarget(uid, Turn::Joined, &mut actions);
            }
            Happened::Carried { uid, report } => {
                let member = self.members.entry(uid).or_default();
                // An agent that connects tells better than a file.
                if member.agent.heard.is_none() || member.agent.carried {
                    if member.agent.enrolled == 0 {
                        member.agent.enrolled = now;
                    }
                    member.agent.hear(&report, now);
                    member.agent.carried = true;
                    actions.push(Action::Keep { uid });
                }
            }
            Happened::Heard { uid, report } => self.heard(uid, &report, now, &mut actions),
            Happened::Offered { uid, hash } => {
                if let Some(member) = self.members.get_mut(&uid)
                    && let Turn::Trial { since, offered: false } = member.turn
                    && member.desired.as_ref().is_some_and(|desired| desired.hash == hash)
                {
                    member.turn = Turn::Trial { since, offered: true };
                    actions.push(Action::Keep { uid });
                }
            }
            Happened::Assigned { rules } => {
                self.rules = rules;
                for uid in self.members.keys().copied().collect::<Vec<_>>() {
                    self.retarget(uid, Turn::Moved, &mut actions);
                }
            }
            Happened::Labelled { uid, set, name } => {
                if let Some(member) = self.members.get_mut(&uid) {
                    member.agent.set = set;
                    member.agent.name = name;
                    actions.push(Action::Keep { uid });
                    self.retarget(uid, Turn::Moved, &mut actions);
                }
            }
            Happened::OfferAgain { uid, hash } => {
                if let Some(member) = self.members.get_mut(&uid) {
                    member.agent.refused.remove(&hash);
                    if member.agent.outcome(hash).is_some_and(|offer| offer.state == OfferState::Failed) {
                        member.agent.offer = None;
                    }
                    actions.push(Action::Keep { uid });
                    if member.desired.as_ref().is_some_and(|desired| desired.hash == hash) {
                        actions.push(Action::Offer { uid });
                    }
                }
            }
            Happened::Resumed { hash } => {
                if self.stops.remove(&hash).is_some() {
                    actions.push(Action::Lifted { hash });
                }
            }
            Happened::Forgotten { uid } => {
                self.leave_queues(uid);
                if self.members.remove(&uid).is_some() {
                    actions.push(Action::Remove { uid });
                }
            }
            Happened::Tick => self.tell_silence(now, &mut actions),
        }
        self.judge(now, &mut actions);
        self.open_turns(now, &mut actions);
        actions
    }

    fn heard(&mut self, uid: Uid, report: &Report, now: Millis, actions: &mut Vec<Action>) {
        let Some(member) = self.members.get_mut(&uid) else { return };
        if member.agent.pace(now) {
            actions.push(Action::Keep { uid });
        }
        let quiet = report.is_empty() && !member.told_silent && !member.agent.goodbye && !member.agent.carried;
        if quiet && member.agent.heard.is_some() {
            member.agent.heard = Some(now);
            return;
        }
        let desired = member.desired.as_ref().map(|target| target.hash);
        let mut before = member.agent.clone();
        // A silence that was told ends with this message; one that nobody noticed is no event.
        before.listening_since = if member.told_silent { 0 } else { now };
        let labels = before.local.clone();
        member.agent.hear(report, now);
        member.told_silent = false;
        let events = derive((&before, desired, now), (&member.agent, desired, now));
        actions.extend(events.into_iter().map(|event| Action::Event { uid: Some(uid), event }));
        actions.push(Action::Keep { uid });
        if labels != member.agent.local {
            let turn = if before.heard.is_none() { Turn::Joined } else { Turn::Moved };
            self.retarget(uid, turn, actions);
        }
    }

    fn tell_silence(&mut self, now: Millis, actions: &mut Vec<Action>) {
        for (uid, member) in &mut self.members {
            let agent = &member.agent;
            if !member.told_silent && !agent.goodbye && !agent.carried && agent.is_silent(now) {
                member.told_silent = true;
                let event = Event { name: "agent.silent", severity: Severity::Error, text: "is silent".into() };
                actions.push(Action::Event { uid: Some(*uid), event });
                actions.push(Action::Keep { uid: *uid });
            }
        }
    }

    fn leave_queues(&mut self, uid: Uid) {
        self.waiting.retain(|_, waiting| {
            waiting.remove(&uid);
            !waiting.is_empty()
        });
        self.trials.retain(|_, on_trial| *on_trial != uid);
    }

    /// Gives an agent the target that the rules have for it, and a turn if that is another config.
    fn retarget(&mut self, uid: Uid, turn: Turn, actions: &mut Vec<Action>) {
        let Some(member) = self.members.get(&uid) else { return };
        let row = self.row_for(&member.agent.labels());
        let target = row.and_then(|row| self.rules[row].target.clone());
        if target == member.target {
            return;
        }
        self.leave_queues(uid);
        let member = self.members.get_mut(&uid).expect("it was found above");
        let same_text = |one: &Option<Target>, other: &Option<Target>| {
            one.as_ref().map(|target| target.hash) == other.as_ref().map(|target| target.hash)
        };
        // A trial that is cut short leaves a config that nobody has judged: until its turn, the agent is to have the one
        // before.
        if let Turn::Trial { .. } = member.turn {
            member.desired = member.before.take();
        }
        member.target = target;
        match &member.target {
            None => (member.desired, member.before, member.turn) = (None, None, Turn::Settled),
            Some(_) if same_text(&member.target, &member.desired) => {
                (member.desired, member.turn) = (member.target.clone(), Turn::Settled);
            }
            Some(target) => {
                member.turn = turn;
                self.waiting.entry(target.hash).or_default().insert(uid);
            }
        }
        actions.push(Action::Keep { uid });
    }

    /// Judges the trials.
    fn judge(&mut self, now: Millis, actions: &mut Vec<Action>) {
        // There is one trial a config, so this list is short.
        for (hash, uid) in self.trials.clone() {
            let member = self.members.get_mut(&uid).expect("an agent that is removed leaves its trial");
            let verdict = verdict(member, hash, now);
            let (severity, text) = match &verdict {
                Verdict::Wait => continue,
                Verdict::Good => {
                    member.turn = Turn::Settled;
                    member.before = None;
                    if self.proven.insert(hash) {
                        actions.push(Action::Proven { hash });
                    }
                    (Severity::Info, format!("config {} is good here", hash.short()))
                }
                Verdict::Bad(why) => {
                    member.turn = Turn::Settled;
                    if member.agent.outcome(hash).is_none() && !member.agent.refused.contains_key(&hash) {
                        // It may have the config or not. When it is back it must not get it beside the next one on trial.
                        member.turn = Turn::Moved;
                        member.desired = member.before.take();
                        self.waiting.entry(hash).or_default().insert(uid);
                    }
                    let stop = Stop { uid, why: why.clone(), at: now };
                    self.stops.insert(hash, stop.clone());
                    actions.push(Action::Stopped { hash, stop });
                    (Severity::Error, format!("config {} stops here: {why}", hash.short()))
                }
                Verdict::PassedOver => {
                    member.turn = Turn::Moved;
                    member.desired = member.before.take();
                    self.waiting.entry(hash).or_default().insert(uid);
                    (Severity::Info, format!("config {} passes it over: it is silent", hash.short()))
                }
            };
            self.trials.remove(&hash);
            let name = match verdict {
                Verdict::Good => "assignment.good",
                Verdict::Bad(_) => "assignment.stopped",
                Verdict::PassedOver | Verdict::Wait => "assignment.passed_over",
            };
            actions.push(Action::Event { uid: Some(uid), event: Event { name, severity, text } });
            actions.push(Action::Keep { uid });
        }
    }

    /// Gives turns to those who wait.
    fn open_turns(&mut self, now: Millis, actions: &mut Vec<Action>) {
        let mut done = Vec::new();
        for (hash, waiting) in &self.waiting {
            if self.stops.contains_key(hash) {
                continue;
            }
            for uid in waiting {
                let member = self.members.get_mut(uid).expect("an agent that is removed leaves the queues");
                if !can_take(&member.agent, *hash, now) {
                    continue;
                }
                let at_once = member.turn == Turn::Joined && self.proven.contains(hash);
                if at_once {
                    member.turn = Turn::Settled;
                } else if self.trials.contains_key(hash) {
                    continue;
                } else {
                    self.trials.insert(*hash, *uid);
                    member.before = member.desired.take();
                    member.turn = Turn::Trial { since: now, offered: false };
                }
                member.desired.clone_from(&member.target);
                done.push((*hash, *uid));
                actions.push(Action::Keep { uid: *uid });
                actions.push(Action::Offer { uid: *uid });
            }
        }
        for (hash, uid) in done {
            if let Some(waiting) = self.waiting.get_mut(&hash) {
                waiting.remove(&uid);
                if waiting.is_empty() {
                    self.waiting.remove(&hash);
                }
            }
        }
    }
}

/// Whether an agent is there to take this config.
fn can_take(agent: &Agent, hash: Hash, now: Millis) -> bool {
    agent.heard.is_some()
        && !agent.carried
        && !agent.goodbye
        && !agent.is_silent(now)
        && agent.takes_configs != Some(false)
        && !agent.refused.contains_key(&hash)
}

/// Judges the trial of a config on an agent.
fn verdict(member: &Member, hash: Hash, now: Millis) -> Verdict {
    let Turn::Trial { since, offered } = member.turn else { return Verdict::Wait };
    let agent = &member.agent;
    if let Some(refusal) = agent.refused.get(&hash) {
        return Verdict::Bad(refusal.why.clone());
    }
    let silent = agent.is_silent(now);
    let stuck = now > since.saturating_add(STUCK);
    let Some(offer) = agent.outcome(hash) else {
        return match (offered, silent, stuck) {
            (true, true, _) => Verdict::Bad("it is silent since it was sent the config".into()),
            (true, false, true) => Verdict::Bad("it has not taken the config for 15 minutes".into()),
            (false, true, _) => Verdict::PassedOver,
            (false, false, true) => Verdict::Bad("it has not asked for a config for 15 minutes".into()),
            (_, false, false) => Verdict::Wait,
        };
    };
    let settled = offer.since.max(since).saturating_add(SETTLE);
    match offer.state {
        OfferState::Failed => Verdict::Bad(offer.message.clone()),
        OfferState::Applying if silent => Verdict::Bad("it is silent since it tries the config".into()),
        OfferState::Applying if stuck => Verdict::Bad("it has tried the config for 15 minutes without an end".into()),
        OfferState::Applying => Verdict::Wait,
        OfferState::Applied | OfferState::Fetched if now < settled => Verdict::Wait,
        OfferState::Applied | OfferState::Fetched => match &agent.health {
            Some(health) if !health.healthy => Verdict::Bad(match health.trouble.as_str() {
                "" => "its collector is not healthy with the config".into(),
                trouble => trouble.to_owned(),
            }),
            Some(_) => Verdict::Good,
            // It tells nothing of its collector: that it still asks is all there is.
            None if agent.heard.is_some_and(|heard| heard >= settled) => Verdict::Good,
            None if silent => Verdict::Bad("it is silent since it has the config".into()),
            None => Verdict::Wait,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Health;

    const OLD: Hash = Hash([1; 32]);
    const NEW: Hash = Hash([2; 32]);

    fn uid(n: u8) -> Uid {
        Uid([n; 16])
    }

    fn assigned(hash: Hash) -> Happened {
        let target = Some(Target { config: "edge".into(), version: hash.0[0].into(), hash });
        Happened::Assigned { rules: vec![Rule { selector: "".parse().unwrap(), target }] }
    }

    fn told(n: u8, hash: Hash, state: OfferState, healthy: bool) -> Happened {
        let report = Report {
            health: Some(Health { up: true, healthy, trouble: "no such port".into() }),
            offer: Some((hash, state, "unknown type".into())),
            running: Some(hash),
            ..Report::default()
        };
        Happened::Heard { uid: uid(n), report }
    }

    /// Agents 1 to `number`, each heard at 1000.
    fn fleet(number: u8) -> Fleet {
        let mut fleet = Fleet::default();
        for n in 1..=number {
            fleet.on(Happened::Enrolled { uid: uid(n), set: Labels::new() }, 1000);
            fleet.on(told(n, OLD, OfferState::Applied, true), 1000);
        }
        fleet
    }

    #[test]
    fn an_agent_that_refused_the_config_before_does_not_stop_it_for_the_others() {
        let mut fleet = fleet(2);
        fleet.on(told(1, NEW, OfferState::Failed, true), 1000);
        fleet.on(assigned(NEW), 2000);
        assert!(fleet.stops().is_empty());
        assert_eq!(fleet.progress(NEW), (1, Some(uid(2))));
        assert_eq!((fleet.offer(uid(1)), fleet.offer(uid(2)).map(|it| it.hash)), (None, Some(NEW)));
    }

    #[test]
    fn a_silent_agent_is_not_given_the_turn() {
        let mut fleet = fleet(2);
        let later = 1000 + 200_000;
        fleet.on(told(2, OLD, OfferState::Applied, true), later);
        let actions = fleet.on(assigned(NEW), later);
        assert_eq!(fleet.progress(NEW), (1, Some(uid(2))));
        assert!(!actions.contains(&Action::Offer { uid: uid(1) }));
        fleet.on(told(1, OLD, OfferState::Applied, true), later + 1);
        fleet.on(told(2, NEW, OfferState::Applied, true), later + 1);
        fleet.on(Happened::Tick, later + 1 + SETTLE);
        assert_eq!(fleet.progress(NEW), (0, Some(uid(1))), "it gets the config when it is back");
    }

    #[test]
    fn the_next_agent_waits_until_the_config_has_done_no_harm_for_a_while() {
        let mut fleet = fleet(2);
        fleet.on(assigned(NEW), 2000);
        fleet.on(told(1, NEW, OfferState::Applied, true), 3000);
        fleet.on(Happened::Tick, 3000 + SETTLE - 1);
        assert_eq!(fleet.progress(NEW), (1, Some(uid(1))));
        fleet.on(Happened::Tick, 3000 + SETTLE);
        assert_eq!(fleet.progress(NEW), (0, Some(uid(2))));
    }

    #[test]
    fn a_config_that_makes_a_collector_unhealthy_stops_with_its_words() {
        let mut fleet = fleet(2);
        fleet.on(assigned(NEW), 2000);
        fleet.on(told(1, NEW, OfferState::Applied, false), 3000);
        let actions = fleet.on(Happened::Tick, 3000 + SETTLE);
        let stop = Stop { uid: uid(1), why: "no such port".into(), at: 3000 + SETTLE };
        assert!(actions.contains(&Action::Stopped { hash: NEW, stop: stop.clone() }));
        assert_eq!((fleet.progress(NEW), fleet.stops().get(&NEW)), ((1, None), Some(&stop)));
    }

    #[test]
    fn an_agent_that_takes_no_configs_holds_nobody_up() {
        let mut fleet = fleet(2);
        let report = Report { takes_configs: Some(false), ..Report::default() };
        fleet.on(Happened::Heard { uid: uid(1), report }, 1500);
        fleet.on(assigned(NEW), 2000);
        assert_eq!(fleet.progress(NEW), (1, Some(uid(2))));
    }

    #[test]
    fn the_same_text_under_another_number_moves_nobody() {
        let mut fleet = fleet(1);
        fleet.on(assigned(OLD), 2000);
        fleet.on(told(1, OLD, OfferState::Applied, true), 3000);
        fleet.on(Happened::Tick, 2000 + SETTLE + 1000);
        let target = Some(Target { config: "other".into(), version: 9, hash: OLD });
        let rules = vec![Rule { selector: "".parse().unwrap(), target: target.clone() }];
        let actions = fleet.on(Happened::Assigned { rules }, 40_000);
        assert!(!actions.contains(&Action::Offer { uid: uid(1) }));
        assert_eq!(fleet.member(uid(1)).unwrap().desired, target);
    }
}
