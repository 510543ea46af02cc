//! The made-up config sources: they fall silent, come back and change their offers. Also checks which of them may be
//! asked.

use super::*;
use crate::decide::ActiveSource;

/// How long the first source may be silent.
pub(super) const FALLBACK_AFTER: Duration = Duration::from_secs(120);

/// The first source is asked with each poll. An exchange with it takes 3 seconds at most, and so does one that was
/// under way before.
const RETURN_WITHIN: Duration = Duration::from_secs(33 + 6);

/// The least time to the next round after a failure, unless a server asks for another.
const SOONEST: Duration = Duration::from_millis(500);

const LOCATIONS: [&str; 3] = ["first", "second", "third"];

/// A config source.
pub(super) struct Place {
    pub(super) offers: Option<ConfigHash>,
    pub(super) away: bool,
    /// The config that it gave this agent last, for which it answers "unchanged".
    pub(super) given: Option<ConfigHash>,
    /// The kind of value by which it can be asked for changes.
    validator: Validator,
    /// When it gave a config, unless something else came since.
    looked: Option<Instant>,
    /// Its config was replaced by an older one: by the date, nothing has changed.
    older: bool,
    /// Its page of a login comes in place of the config.
    portal: bool,
}

/// The page of a login.
const PAGE: ConfigHash = ConfigHash([250; 32]);

/// Soon after an older config was put back, counted from the last body.
pub(super) const OLDER_WITHIN: Duration = Duration::from_secs(3600);

/// Questions and answers as an observer sees them who does not know the decisions.
pub(super) struct Rounds {
    pub(super) places: [Place; 3],
    /// The number of sources in the settings.
    pub(super) number: usize,
    /// The time between polls of the server or the settings.
    every: Duration,
    /// Whether the first source has answered on this host.
    answered: bool,
    silent_since: Option<Instant>,
    begun: Instant,
    /// The source that failed last in this round.
    silent: Option<usize>,
    /// The earliest time of the next round.
    not_before: Instant,
    nudged: bool,
    looking: bool,
    /// The source that answered last; on disk, with its config.
    served: Option<usize>,
    on_disk: Option<(usize, Option<ConfigHash>)>,
    /// The configs whose bodies are whole on disk.
    pub(super) bodies: BTreeSet<ConfigHash>,
}

impl Rounds {
    pub(super) fn new(now: Instant, seed: u64) -> Self {
        let place = |number: u8| Place {
            offers: Some(hash(number)),
            away: false,
            given: None,
            validator: [Validator::Tag, Validator::Date, Validator::None]
                [((seed / 8 + u64::from(number)) % 3) as usize],
            looked: None,
            older: false,
            portal: false,
        };
        Self {
            places: [place(0), place(1), place(2)],
            number: LOCATIONS.len(),
            every: POLL_EVERY,
            answered: false,
            silent_since: None,
            begun: now,
            silent: None,
            not_before: now,
            nudged: false,
            looking: false,
            served: None,
            on_disk: None,
            bodies: BTreeSet::new(),
        }
    }

    pub(super) fn locations(&self) -> std::sync::Arc<[String]> {
        LOCATIONS[..self.number].iter().map(|it| it.to_string()).collect()
    }

    fn nudge(&mut self, now: Instant) {
        (self.nudged, self.not_before) = (true, now);
    }

    fn begin(&mut self, now: Instant, seed: u64) {
        let early = self.not_before.saturating_duration_since(now);
        assert!(early.is_zero(), "{seed}: sources are asked {early:?} too early");
        (self.nudged, self.silent) = (false, None);
    }

    /// The disk has stored a record, with the source that answered last.
    pub(super) fn record(&mut self) {
        self.on_disk = self.served.map(|index| (index, self.places[index].given));
    }
}

impl World {
    /// Some source changes its offer or falls silent or comes back, mostly the first.
    pub(super) fn disturb_places(&mut self) {
        let index = [0, 0, 1, 2][self.below(4) as usize];
        let offer = hash(self.below(13) as u8);
        let (what, older) = (self.below(8), self.below(4) == 0);
        let place = &mut self.rounds.places[index];
        match what {
            0 | 1 => place.away = !place.away,
            2 => place.portal = !place.portal,
            3 => place.offers = None,
            _ => (place.offers, place.older) = (Some(offer), older),
        }
    }

    /// The settings name other sources, or the same ones with another header.
    pub(super) fn replace_sources(&mut self) {
        self.rounds.number = 1 + self.below(3) as usize;
        self.forget_sources(self.agent.rollout.has_config());
        for (_, event) in &mut self.pending {
            if let Event::Exchanged { outcome, .. } = event {
                *outcome = ExchangeOutcome::Replaced;
            }
        }
    }

    fn forget_sources(&mut self, answered: bool) {
        let rounds = &mut self.rounds;
        (rounds.answered, rounds.silent_since) = (answered, None);
        // Only the config received last is known again, with its source.
        for (index, place) in rounds.places.iter_mut().enumerate() {
            // Neither a restart nor new settings keep what an HTTP server can be asked by.
            let kept = place.validator == Validator::None && rounds.served == Some(index) && index < rounds.number;
            (place.given, place.looked) = (place.given.filter(|_| kept), None);
        }
    }

    /// The record and the source that the next agent finds on disk: only whole bodies count, as in the store.
    pub(super) fn load(&mut self) -> (Record, Option<String>) {
        let rounds = &mut self.rounds;
        let whole = |hash: &ConfigHash| rounds.bodies.contains(hash);
        let mut record = self.disk.clone();
        record.candidate = record.candidate.filter(|candidate| whole(&candidate.hash));
        record.previous = record.previous.filter(whole);
        record.last_good = record.last_good.filter(whole);
        if record.last_good.is_none() {
            record.last_good = record.previous.take();
        }
        let refused = |hash: &ConfigHash| record.refused.iter().any(|it| it.hash == *hash);
        let known = record.remote.is_some_and(|hash| whole(&hash) || refused(&hash));
        rounds.served = rounds.on_disk.map(|(index, _)| index);
        for (index, place) in rounds.places.iter_mut().enumerate() {
            let kept = rounds.on_disk.filter(|(served, _)| known && *served == index);
            place.given = kept.and_then(|(_, given)| given);
        }
        (rounds.nudged, rounds.looking, rounds.not_before, rounds.every) = (false, false, self.now, POLL_EVERY);
        let served = rounds.served.map(|index| LOCATIONS[index].to_owned());
        self.forget_sources(record.last_good.is_some() || record.candidate.is_some());
        // A torn body is set aside, so the agent after the next does not find it either.
        self.disk = record.clone();
        (record, served)
    }

    /// The body of a config is lost or torn.
    pub(super) fn tear(&mut self) {
        let record = self.agent.rollout.record();
        let newest = self.agent.rollout.checking().or(record.remote);
        let hashes = [record.last_good, self.agent.rollout.on_trial(), record.previous, newest];
        let index = self.below(4) as usize;
        if let Some(hash) = hashes[index] {
            self.rounds.bodies.remove(&hash);
        }
    }

    pub(super) fn ask(&mut self, source: usize, conditional: bool) {
        let (seed, now) = (self.seed, self.now);
        let out = self.pending.iter().filter(|(_, event)| asks(event)).count();
        assert_eq!(out, 0, "{seed}: a second exchange while one is out");
        let rounds = &mut self.rounds;
        assert!(source < rounds.number, "{seed}: source {source} is not in the settings");
        match source.checked_sub(1) {
            None => {
                if !std::mem::take(&mut rounds.looking) {
                    rounds.begin(now, seed);
                }
                rounds.begun = now;
            }
            Some(before) => {
                assert_eq!(rounds.silent, Some(before), "{seed}: source {source} is asked out of turn");
                let silent = rounds.silent_since.map_or(Duration::ZERO, |since| rounds.begun - since);
                let has_config = self.agent.rollout.has_config();
                let may = !rounds.answered || !has_config || silent >= FALLBACK_AFTER;
                assert!(may, "{seed}: source {source} is asked after a silence of {silent:?}");
            }
        }
        let place = &self.rounds.places[source];
        if conditional && place.validator != Validator::None && place.given.is_some() {
            let limit = if place.validator == Validator::Date { BY_DATE } else { BY_TAG };
            let age = place.looked.map(|looked| self.rounds.begun - looked);
            let may = age.is_some_and(|age| age < limit);
            assert!(may, "{seed}: source {source} may call its config unchanged, {age:?} after its body");
        }
        let delay = self.millis(3_000);
        let (freshness, outcome) = self.answer(source, conditional);
        let validator = self.rounds.places[source].validator;
        self.pending.push((now + delay, Event::Exchanged { source, freshness, validator, outcome }));
    }

    pub(super) fn look_at_body(&mut self, hash: ConfigHash) {
        let out = self.pending.iter().filter(|(_, event)| asks(event)).count();
        assert_eq!(out, 0, "{}: a look at a body while an exchange is out", self.seed);
        self.rounds.begin(self.now, self.seed);
        self.rounds.looking = true;
        let whole = self.rounds.bodies.contains(&hash);
        self.later(500, Event::BodyChecked { hash, whole });
    }

    fn answer(&mut self, source: usize, conditional: bool) -> (Freshness, ExchangeOutcome) {
        let offered = |hash| match character(hash) {
            Character::Malformed => ExchangeOutcome::Malformed { hash, reason: "not YAML".into(), foreign: false },
            _ => ExchangeOutcome::Offered(hash),
        };
        let Place { offers, away, given, older, portal, validator, .. } = self.rounds.places[source];
        if away {
            // An announced config may be cached: an agent that lost it gets it again without a question to the server.
            // In the end only a lost one: answers that come and go for ever are damped.
            if let (0, false, Some(hash), 0) = (source, conditional, given, self.below(4))
                && !(self.quiet && self.rounds.bodies.contains(&hash))
            {
                return (Freshness::Cached, offered(hash));
            }
            let retry_after = (self.below(3) == 0).then(|| SOONEST + self.millis(60_000));
            let failure = Failure { retry_after, ..Failure::new(FailureKind::Status, "answered 503") };
            return (Freshness::Fresh, ExchangeOutcome::Failed(failure));
        }
        if portal {
            let reason = "a web page".into();
            return (Freshness::Fresh, ExchangeOutcome::Malformed { hash: PAGE, reason, foreign: true });
        }
        let by_date = older && validator == Validator::Date && given.is_some();
        let outcome = match offers {
            None => ExchangeOutcome::Empty,
            Some(_) if conditional && by_date => ExchangeOutcome::Unchanged,
            Some(hash) if conditional && given == Some(hash) => ExchangeOutcome::Unchanged,
            Some(hash) => offered(hash),
        };
        (Freshness::Fresh, outcome)
    }

    /// Takes note of an event before the agent handles it.
    pub(super) fn note_event(&mut self, event: &Event) {
        let rounds = &mut self.rounds;
        match event {
            Event::Nudged | Event::ClearRefused | Event::Reconfigured { .. } => rounds.nudge(self.now),
            Event::Interval(every) if every.is_zero() => rounds.every = POLL_EVERY,
            Event::Interval(every) => rounds.every = (*every).max(SHORTEST_INTERVAL),
            Event::Exchanged { source, freshness, outcome, .. } => {
                let place = &mut rounds.places[*source];
                match outcome {
                    ExchangeOutcome::Offered(hash) | ExchangeOutcome::Malformed { hash, foreign: false, .. } => {
                        // By the date of this body, a later one is a change again.
                        (place.given, place.looked, place.older) = (Some(*hash), Some(self.now), false);
                    }
                    ExchangeOutcome::Malformed { .. } | ExchangeOutcome::Empty => place.looked = None,
                    ExchangeOutcome::Failed(_) if place.validator == Validator::Date => place.looked = None,
                    ExchangeOutcome::Failed(_)
                    | ExchangeOutcome::Unchanged
                    | ExchangeOutcome::Replaced
                    | ExchangeOutcome::NotAsked(_) => {}
                }
                let given = place.given;
                if let ExchangeOutcome::Offered(hash) | ExchangeOutcome::Malformed { hash, .. } = outcome {
                    // The body of a config that is to run again is restored when it arrives.
                    let (rollout, record) = (&self.agent.rollout, self.agent.rollout.record());
                    let trusted = [rollout.on_trial(), record.last_good, record.previous].contains(&Some(*hash));
                    if trusted && !self.disk_full {
                        rounds.bodies.insert(*hash);
                    }
                }
                let is_refused = |hash: ConfigHash| self.agent.rollout.barred(hash).is_some();
                let usable = match outcome {
                    ExchangeOutcome::Offered(hash) => !is_refused(*hash),
                    ExchangeOutcome::Unchanged => !given.is_some_and(is_refused),
                    ExchangeOutcome::Replaced | ExchangeOutcome::NotAsked(_) => return,
                    ExchangeOutcome::Empty | ExchangeOutcome::Failed(_) | ExchangeOutcome::Malformed { .. } => false,
                };
                match usable {
                    true => rounds.served = Some(*source),
                    false => rounds.silent = Some(*source),
                }
                let is_silence = match outcome {
                    ExchangeOutcome::Failed(_) | ExchangeOutcome::Empty => true,
                    ExchangeOutcome::Malformed { foreign, .. } => *foreign,
                    _ => false,
                };
                match (source, freshness) {
                    (0, _) if is_silence => drop(rounds.silent_since.get_or_insert(rounds.begun)),
                    (0, Freshness::Fresh) => {
                        (rounds.answered, rounds.silent_since) = (rounds.answered || usable, None);
                    }
                    (_, _) => {}
                }
            }
            Event::Kept { hash, result: Ok(()), .. } => drop(rounds.bodies.insert(*hash)),
            _ => {}
        }
    }

    /// Takes note of an event after the agent handled it and before it acts: the earliest time of the next round.
    pub(super) fn note_end(&mut self, event: &Event, actions: &[Action]) {
        let Event::Exchanged { outcome, .. } = event else { return };
        let goes_on = actions.iter().any(|action| matches!(action, Action::Exchange { source: 1.., .. }));
        if goes_on {
            return;
        }
        let Event::Exchanged { source, .. } = event else { return };
        let rounds = &mut self.rounds;
        let wait = match outcome {
            // The round has failed.
            _ if rounds.silent == Some(*source) && *source > 0 => SOONEST,
            ExchangeOutcome::Unchanged | ExchangeOutcome::Offered(_) | ExchangeOutcome::Malformed { .. } => {
                rounds.every * 9 / 10
            }
            ExchangeOutcome::Empty | ExchangeOutcome::Failed(_) | ExchangeOutcome::NotAsked(_) => SOONEST,
            ExchangeOutcome::Replaced => Duration::ZERO,
        };
        rounds.not_before = if rounds.nudged { self.now } else { self.now + wait };
    }

    /// Makes all sources answer with their own configs.
    pub(super) fn places_answer(&mut self) {
        self.rounds.places.iter_mut().for_each(|place| (place.away, place.portal) = (false, false));
        self.feed(Event::Interval(Duration::ZERO));
    }

    pub(super) fn first_has_a_config(&self) -> bool {
        self.rounds.places[0].offers.is_some()
    }

    /// Makes each source offer a config that was never tried.
    pub(super) fn calm_places(&mut self) {
        if self.rounds.number < LOCATIONS.len() {
            self.replace_sources();
            self.rounds.number = LOCATIONS.len();
            let params = Box::new(self.params());
            self.feed(Event::Reconfigured { params, sources_replaced: true, restart: false });
        }
        for (place, number) in self.rounds.places.iter_mut().zip(200..) {
            place.offers = Some(hash(number));
            place.older = self.seed % 16 < 8;
        }
    }

    /// A collector that ended on a torn config runs again: the source still has the body.
    pub(super) fn lose_the_body(&mut self) {
        let newest = hash(200);
        self.rounds.bodies.remove(&newest);
        let pids: Vec<u32> = self.processes.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.end(pid, "signal 9", Duration::ZERO));
        while self.agent.report().effective.is_some() {
            self.let_time_pass();
        }
        self.wait_for(newest, "its body was torn and not fetched again");
    }

    /// While the first source is silent the next one with a usable config serves. The first serves again with its first
    /// answer.
    pub(super) fn first_falls_silent(&mut self) {
        self.rounds.places[0].away = true;
        let second = &mut self.rounds.places[1];
        let third_serves = self.seed % 4 == 3;
        match self.seed % 32 {
            3 | 19 => second.portal = true,
            7 => second.offers = None,
            11 => second.offers = Some(hash(4)),
            15 | 31 => second.offers = Some(hash(5)),
            _ => second.away = third_serves,
        }
        let serves = if third_serves { 2 } else { 1 };
        self.wait_for(hash(200 + serves), "the fallback does not serve");
        let serving = self.agent.report().serving.expect("one has answered");
        assert_eq!(serving.location, LOCATIONS[usize::from(serves)], "{}", self.seed);
        assert!(serving.trouble.is_some(), "{}: nobody knows why", self.seed);

        self.rounds.places[0].away = false;
        let end = self.now + RETURN_WITHIN;
        let first = Some(ActiveSource { location: LOCATIONS[0].into(), trouble: None });
        while self.agent.report().serving != first {
            assert!(self.now < end, "{}: the first does not serve again: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
        self.wait_for(hash(200), "the config of the first is not back");
    }

    fn wait_for(&mut self, config: ConfigHash, otherwise: &str) {
        let end = self.now + FALLBACK_AFTER + BACK_WITHIN;
        while !is_back(&self.agent, config) {
            assert!(self.now < end, "{}: {otherwise}: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
    }
}

fn asks(event: &Event) -> bool {
    matches!(event, Event::Exchanged { .. } | Event::BodyChecked { .. })
}
