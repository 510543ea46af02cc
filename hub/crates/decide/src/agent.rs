//! The facts about one agent, as they were told, and its state, which follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Hash, Millis};

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// The time between polls until an agent is known to have another one.
const INTERVAL: Millis = 30_000;

/// The longest interval of an agent: its own limit is a day.
const LONGEST: Millis = 86_400_000;

/// An agent is silent after this many intervals and this much more.
const INTERVALS: Millis = 3;
const ALLOWANCE: Millis = 15_000;

/// The most refused hashes that are kept for an agent; the oldest is forgotten first.
const MAX_REFUSALS: usize = 32;

/// The facts about one agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Agent {
    /// When it got its credential, or was imported.
    pub enrolled: Millis,
    /// It was imported by hand and never connects.
    pub carried: bool,
    /// When it was heard last.
    pub heard: Option<Millis>,
    /// The time between its polls; 0 while it is unknown.
    pub interval: Millis,
    /// The time between its last two messages, if that was longer than an interval.
    #[serde(skip)]
    pub last_gap: Millis,
    /// Since when it can be heard: while the hub did not run, nobody was silent.
    #[serde(skip)]
    pub listening_since: Millis,
    /// Its last message was a goodbye.
    pub goodbye: bool,
    /// The labels that its host gives it.
    pub local: Labels,
    /// The labels that were set here. They win.
    pub set: Labels,
    /// The name of its host.
    pub host: String,
    /// The name that was set here.
    pub name: Option<String>,
    /// The operating system and its version.
    pub os: String,
    /// The protocol that it talks.
    pub protocol: String,
    /// Whether it takes configs; None if it does not tell.
    pub takes_configs: Option<bool>,
    /// The version of the agent.
    pub agent_version: String,
    /// The name and version of its collector.
    pub collector_version: String,
    /// None if it does not tell.
    pub health: Option<Health>,
    /// The config that it was offered last, as it tells.
    pub offer: Option<Offer>,
    /// The config that its collector runs.
    pub running: Option<Hash>,
    /// The configs that it refused. They are not offered to it again.
    pub refused: BTreeMap<Hash, Refusal>,
    /// Failed checks and critical alerts that fire, each in one line.
    pub alerts: Vec<String>,
    /// The kinds of components that its collector has, and their names.
    pub components: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Restarts of the collector since the agent started.
    pub restarts: u64,
    /// The last end of the collector that nobody asked for, with its last words.
    pub last_exit: Option<String>,
}

/// The health of a collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its process runs.
    pub up: bool,
    /// It was seen to work.
    pub healthy: bool,
    /// Why it is not healthy.
    pub trouble: String,
}

/// An offer, as the agent tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The config.
    pub hash: Hash,
    /// The outcome.
    pub state: OfferState,
    /// The reason of a failure, in the collector's words.
    pub message: String,
    /// Since when it is in this state.
    pub since: Millis,
}

/// The outcome of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferState {
    /// The agent has the config on its disk. That is all it can tell.
    Fetched,
    /// It is checked or tried.
    Applying,
    /// It runs.
    Applied,
    /// It was refused or rolled back.
    Failed,
}

/// A config that an agent will not have again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason.
    pub why: String,
    /// When it was told first.
    pub at: Millis,
}

/// News from an agent. Nothing is said of a field that is `None`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of Agent")]
pub struct Report {
    pub goodbye: bool,
    pub interval: Option<Millis>,
    pub local: Option<Labels>,
    pub host: Option<String>,
    pub os: Option<String>,
    pub protocol: Option<String>,
    pub takes_configs: Option<bool>,
    pub agent_version: Option<String>,
    pub collector_version: Option<String>,
    pub health: Option<Health>,
    /// Hash, outcome and message.
    pub offer: Option<(Hash, OfferState, String)>,
    pub running: Option<Hash>,
    /// More hashes that the agent will not try, with the reasons.
    pub barred: Vec<(Hash, String)>,
    pub alerts: Option<Vec<String>>,
    pub components: Option<BTreeMap<String, BTreeSet<String>>>,
    pub restarts: Option<u64>,
    pub last_exit: Option<Option<String>>,
}

impl Report {
    /// Whether it says nothing but that the agent is there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The state of an agent: the first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words are explained where they are decided, in Agent::state")]
pub enum State {
    New,
    Carried,
    Gone,
    Silent,
    CollectorDown,
    ConfigFailed,
    Unhealthy,
    Alerting,
    Rolling,
    Drifted,
    Healthy,
}

impl State {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 11] = [
        Self::New,
        Self::Carried,
        Self::Gone,
        Self::Silent,
        Self::CollectorDown,
        Self::ConfigFailed,
        Self::Unhealthy,
        Self::Alerting,
        Self::Rolling,
        Self::Drifted,
        Self::Healthy,
    ];

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Carried => "carried",
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::CollectorDown => "collector down",
            Self::ConfigFailed => "config failed",
            Self::Unhealthy => "unhealthy",
            Self::Alerting => "alerting",
            Self::Rolling => "rolling",
            Self::Drifted => "drifted",
            Self::Healthy => "healthy",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Agent {
    /// Takes news in.
    pub fn hear(&mut self, report: &Report, now: Millis) {
        fn put<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
        self.heard = Some(now);
        self.carried = false;
        if self.goodbye && !report.goodbye {
            // It was started anew, maybe with another interval.
            self.interval = 0;
        }
        self.goodbye = report.goodbye;
        put(&mut self.interval, &report.interval);
        put(&mut self.local, &report.local);
        put(&mut self.host, &report.host);
        put(&mut self.os, &report.os);
        put(&mut self.protocol, &report.protocol);
        put(&mut self.agent_version, &report.agent_version);
        put(&mut self.collector_version, &report.collector_version);
        put(&mut self.alerts, &report.alerts);
        put(&mut self.restarts, &report.restarts);
        put(&mut self.last_exit, &report.last_exit);
        if report.takes_configs.is_some() {
            self.takes_configs = report.takes_configs;
        }
        if report.health.is_some() {
            self.health.clone_from(&report.health);
        }
        if report.running.is_some() {
            self.running = report.running;
        }
        if report.components.is_some() {
            self.components.clone_from(&report.components);
        }
        if let Some((hash, state, message)) = &report.offer
            // A poll tells only that the config is on the agent's disk; a report has told more.
            && (*state != OfferState::Fetched || self.outcome(*hash).is_none())
        {
            let same = self.offer.as_ref().filter(|known| (known.hash, known.state) == (*hash, *state));
            let since = same.map_or(now, |known| known.since);
            self.offer = Some(Offer { hash: *hash, state: *state, message: message.clone(), since });
            match state {
                OfferState::Failed => self.bar(*hash, message, now),
                // It was offered again, by a person, and now it works.
                OfferState::Applied => _ = self.refused.remove(hash),
                OfferState::Fetched | OfferState::Applying => {}
            }
        }
        for (hash, why) in &report.barred {
            self.bar(*hash, why, now);
        }
    }

    /// Learns from a message at this time how long the agent's interval is. Returns whether it has learned something.
    ///
    /// Messages may always come sooner than the interval, so only two long gaps of about one length tell anything.
    pub fn pace(&mut self, now: Millis) -> bool {
        let Some(heard) = self.heard else { return false };
        let known = if self.interval > 0 { self.interval } else { INTERVAL };
        let gap = now.saturating_sub(heard).min(LONGEST);
        let is_long = gap.saturating_mul(4) > known.saturating_mul(5);
        let is_steady = is_long && self.last_gap > 0 && (gap - self.last_gap).abs() * 4 <= self.last_gap;
        self.last_gap = if is_long { gap } else { 0 };
        if is_steady {
            self.interval = gap;
        }
        is_steady
    }

    fn bar(&mut self, hash: Hash, why: &str, at: Millis) {
        self.refused.entry(hash).or_insert_with(|| Refusal { why: why.to_owned(), at });
        while self.refused.len() > MAX_REFUSALS {
            let newest = self.offer.as_ref().map(|offer| offer.hash);
            let oldest = self.refused.iter().filter(|(hash, _)| Some(**hash) != newest).min_by_key(|(_, it)| it.at);
            let Some(oldest) = oldest.map(|(hash, _)| *hash) else { return };
            self.refused.remove(&oldest);
        }
    }

    /// The labels of both sides; those that were set here win.
    pub fn labels(&self) -> Labels {
        let mut labels = self.local.clone();
        labels.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        labels
    }

    /// When it becomes silent, unless it is heard before.
    pub fn silent_at(&self) -> Option<Millis> {
        let interval = if self.interval > 0 { self.interval } else { INTERVAL };
        let from = self.heard.map(|heard| heard.max(self.listening_since));
        from.map(|from| from.saturating_add(interval.saturating_mul(INTERVALS)).saturating_add(ALLOWANCE))
    }

    /// Whether nothing was heard for too long. An agent that was never heard is not silent, but new.
    pub fn is_silent(&self, now: Millis) -> bool {
        self.silent_at().is_some_and(|at| now > at)
    }

    /// The outcome of this config on this agent, if it is the newest that it was offered.
    pub fn outcome(&self, hash: Hash) -> Option<&Offer> {
        self.offer.as_ref().filter(|offer| offer.hash == hash)
    }

    /// The state. `desired` is the config that it is meant to run.
    pub fn state(&self, desired: Option<Hash>, now: Millis) -> State {
        if self.carried {
            return State::Carried;
        }
        if self.heard.is_none() {
            return State::New;
        }
        if self.goodbye {
            return State::Gone;
        }
        if self.is_silent(now) {
            return State::Silent;
        }
        let failed = desired.is_some_and(|desired| self.refused.contains_key(&desired))
            || self.offer.as_ref().is_some_and(|offer| offer.state == OfferState::Failed);
        // Where the newest config failed and left no other one to run, the config is what is wrong.
        let down = self.health.as_ref().is_some_and(|health| !health.up);
        if down && !(failed && self.running.is_none()) {
            return State::CollectorDown;
        }
        if failed {
            return State::ConfigFailed;
        }
        let applying = self.offer.as_ref().is_some_and(|offer| offer.state == OfferState::Applying);
        let asked = desired.is_some_and(|desired| self.outcome(desired).is_none() && self.running != Some(desired));
        let unhealthy = self.health.as_ref().is_some_and(|health| !health.healthy);
        if unhealthy && !applying {
            return State::Unhealthy;
        }
        if !self.alerts.is_empty() {
            return State::Alerting;
        }
        if applying || asked {
            return State::Rolling;
        }
        match (desired, self.running) {
            (Some(desired), Some(running)) if desired != running => State::Drifted,
            _ => State::Healthy,
        }
    }

    /// Why it is not healthy, in one line.
    pub fn trouble(&self, desired: Option<Hash>, now: Millis) -> Option<String> {
        let health = || self.health.as_ref().map(|health| health.trouble.clone()).filter(|why| !why.is_empty());
        match self.state(desired, now) {
            State::CollectorDown => Some(health().unwrap_or_else(|| "the collector does not run".into())),
            State::ConfigFailed => {
                let told = self.offer.as_ref().filter(|offer| offer.state == OfferState::Failed);
                let told = told.map(|offer| (offer.hash, &offer.message));
                let kept = desired.and_then(|hash| Some((hash, &self.refused.get(&hash)?.why)));
                told.or(kept).map(|(hash, why)| format!("{} refused: {why}", hash.short()))
            }
            State::Unhealthy => Some(health().unwrap_or_else(|| "the collector is not healthy".into())),
            State::Alerting => self.alerts.first().cloned(),
            State::Silent => Some("silent".into()),
            State::Drifted => self.running.map(|running| format!("runs {}", running.short())),
            State::New | State::Carried | State::Gone | State::Rolling | State::Healthy => None,
        }
    }

    /// The components that a config names and this agent's collector does not have, as `receiver journald`. Empty if the
    /// agent never told its components.
    ///
    /// The list of a Collector leaves out old names of renamed components, so this is a warning and no bar.
    pub fn lacks<'a>(&self, named: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
        let Some(components) = &self.components else { return Vec::new() };
        let mut lacking = Vec::new();
        for (kind, name) in named {
            let kinds = components.iter().filter(|(listed, _)| listed.trim_end_matches('s') == kind);
            let mut listed = kinds.flat_map(|(_, names)| names).peekable();
            // A collector that does not list this kind at all says nothing about it.
            if listed.peek().is_some() && !listed.any(|it| it == name) {
                lacking.push(format!("{kind} {name}"));
            }
        }
        lacking
    }

    /// The name that people see.
    pub fn shown(&self) -> Option<&str> {
        self.name.as_deref().or(Some(self.host.as_str())).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Hash = Hash([1; 32]);
    const BAD: Hash = Hash([2; 32]);

    fn healthy() -> Agent {
        let mut agent = Agent::default();
        agent.hear(
            &Report {
                health: Some(Health { up: true, healthy: true, trouble: String::new() }),
                offer: Some((GOOD, OfferState::Applied, String::new())),
                running: Some(GOOD),
                ..Report::default()
            },
            1000,
        );
        agent
    }

    fn unwell(up: bool) -> Option<Health> {
        Some(Health { up, healthy: false, trouble: "no such port".into() })
    }

    #[test]
    fn the_first_state_that_holds_is_the_state() {
        let now = 2000;
        assert_eq!(Agent::default().state(Some(GOOD), now), State::New);
        assert_eq!(Agent { carried: true, ..healthy() }.state(Some(GOOD), now), State::Carried);
        assert_eq!(healthy().state(Some(GOOD), now), State::Healthy);
        assert_eq!(healthy().state(None, now), State::Healthy);
        assert_eq!(healthy().state(Some(BAD), now), State::Rolling, "it was not offered yet");

        let mut agent = Agent { alerts: vec!["disk-full".into()], ..healthy() };
        assert_eq!(agent.state(Some(GOOD), now), State::Alerting);
        agent.health = unwell(true);
        assert_eq!(agent.state(Some(GOOD), now), State::Unhealthy);
        agent.hear(&Report { offer: Some((BAD, OfferState::Failed, "unknown type".into())), ..Report::default() }, now);
        assert_eq!(agent.state(Some(BAD), now), State::ConfigFailed);
        assert_eq!(agent.trouble(Some(BAD), now).unwrap(), "02020202 refused: unknown type");
        agent.health = unwell(false);
        assert_eq!(agent.state(Some(BAD), now), State::CollectorDown);
        agent.running = None;
        assert_eq!(agent.state(Some(BAD), now), State::ConfigFailed, "there was nothing else to run");
        agent.goodbye = true;
        assert_eq!(agent.state(Some(BAD), now), State::Gone);
    }

    #[test]
    fn an_agent_is_silent_after_three_intervals_and_a_bit() {
        let agent = Agent { interval: 10_000, ..healthy() };
        assert_eq!(agent.state(Some(GOOD), 1000 + 45_000), State::Healthy);
        assert_eq!(agent.state(Some(GOOD), 1000 + 45_001), State::Silent);
        assert_eq!(healthy().state(Some(GOOD), 1000 + 105_001), State::Silent, "30 s until another one is known");
    }

    #[test]
    fn a_slow_agent_is_known_after_two_polls_and_an_outage_teaches_nothing() {
        let mut agent = healthy();
        let mut now = 1000;
        let mut poll = |agent: &mut Agent, gap: Millis| {
            now += gap;
            let learned = agent.pace(now);
            agent.hear(&Report::default(), now);
            learned
        };
        assert!(!poll(&mut agent, 300_000));
        assert!(poll(&mut agent, 310_000));
        assert!(!poll(&mut agent, 1000), "a change is told at once, and changes nothing");
        assert_eq!(agent.interval, 310_000);
        assert!(!agent.is_silent(agent.heard.unwrap() + 900_000));

        let mut agent = healthy();
        let learned = [3_600_000, 30_000, 30_000, 3_600_000, 30_000].map(|gap| poll(&mut agent, gap));
        // The clock of the first agent goes on, so the first gap is longer still.
        assert_eq!(learned, [false; 5]);
    }

    #[test]
    fn an_agent_that_runs_another_config_has_drifted() {
        let agent = Agent { running: Some(BAD), ..healthy() };
        assert_eq!(agent.state(Some(GOOD), 2000), State::Drifted);
        assert_eq!(agent.trouble(Some(GOOD), 2000).unwrap(), "runs 02020202");
    }

    #[test]
    fn a_config_on_probation_is_rolling_though_its_collector_is_not_healthy_yet() {
        let mut agent = Agent { health: unwell(true), ..healthy() };
        agent.hear(&Report { offer: Some((BAD, OfferState::Applying, String::new())), ..Report::default() }, 1500);
        assert_eq!(agent.state(Some(BAD), 2000), State::Rolling);
    }

    #[test]
    fn refusals_are_kept_until_the_config_works_and_the_oldest_is_forgotten() {
        let mut agent = healthy();
        for n in 0..40 {
            let offer = Some((Hash([100 + n; 32]), OfferState::Failed, "no".into()));
            agent.hear(&Report { offer, ..Report::default() }, Millis::from(n));
        }
        assert_eq!(agent.refused.len(), MAX_REFUSALS);
        assert!(!agent.refused.contains_key(&Hash([107; 32])) && agent.refused.contains_key(&Hash([108; 32])));
        let works = Some((Hash([139; 32]), OfferState::Applied, String::new()));
        agent.hear(&Report { offer: works, ..Report::default() }, 50);
        assert!(!agent.refused.contains_key(&Hash([139; 32])));
    }

    #[test]
    fn missing_components_are_named_only_where_the_list_is_known() {
        let mut agent = healthy();
        let named = [("receiver", "otlp"), ("receiver", "journald"), ("exporter", "debug")];
        assert!(agent.lacks(named).is_empty());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        agent.components = Some(BTreeMap::from([("receivers".into(), names(&["otlp", "filelog"]))]));
        assert_eq!(agent.lacks(named), ["receiver journald"]);
    }

    #[test]
    fn labels_that_were_set_here_win() {
        let label = |value: &str| Labels::from([("site".to_owned(), value.to_owned())]);
        let agent = Agent { local: label("a"), set: label("b"), ..Agent::default() };
        assert_eq!(agent.labels(), label("b"));
    }
}
