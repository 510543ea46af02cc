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
    given: Option<ConfigHash>,
}

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
    pub(super) fn new(now: Instant) -> Self {
        let place = |number| Place { offers: Some(hash(number)), away: false, given: None };
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
        let offer = hash(self.below(12) as u8);
        let turns = self.below(3) == 0;
        let place = &mut self.rounds.places[index];
        if turns {
            place.away = !place.away;
        } else {
            place.offers = Some(offer);
        }
    }

    /// The settings name other sources, or the same ones with another header.
    pub(super) fn replace_sources(&mut self) {
        self.rounds.number = 1 + self.below(3) as usize;
        self.forget_sources(self.agent.rollout.record().remote.is_some());
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
            place.given = place.given.filter(|_| rounds.served == Some(index) && index < rounds.number);
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
        self.forget_sources(record.remote.is_some());
        // A torn body is set aside, so the agent after the next does not find it either.
        self.disk = record.clone();
        (record, served)
    }

    /// The body of a config is lost or torn.
    pub(super) fn tear(&mut self) {
        let record = self.agent.rollout.record();
        let hashes = [record.last_good, self.agent.rollout.on_trial(), record.previous, record.remote];
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
                let may = !rounds.answered || silent >= FALLBACK_AFTER;
                assert!(may, "{seed}: source {source} is asked after a silence of {silent:?}");
            }
        }
        let delay = self.millis(3_000);
        let (freshness, outcome) = self.answer(source, conditional);
        self.pending.push((now + delay, Event::Exchanged { source, freshness, outcome }));
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
            Character::Malformed => ExchangeOutcome::Malformed { hash, reason: "not YAML".into() },
            _ => ExchangeOutcome::Offered(hash),
        };
        let Place { offers, away, given } = self.rounds.places[source];
        if away {
            // An announced config may be cached: an agent that lost it gets it again without a question to the server.
            if let (0, false, Some(hash), 0) = (source, conditional, given, self.below(4)) {
                return (Freshness::Cached, offered(hash));
            }
            let retry_after = (self.below(3) == 0).then(|| SOONEST + self.millis(60_000));
            let failure = Failure { retry_after, ..Failure::new(FailureKind::Status, "answered 503") };
            return (Freshness::Fresh, ExchangeOutcome::Failed(failure));
        }
        let outcome = match offers {
            None => ExchangeOutcome::Empty,
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
            Event::Exchanged { source, freshness, outcome } => {
                if let ExchangeOutcome::Offered(hash) | ExchangeOutcome::Malformed { hash, .. } = outcome {
                    rounds.places[*source].given = Some(*hash);
                    // The body of a config that is to run again is restored when it arrives.
                    let (rollout, record) = (&self.agent.rollout, self.agent.rollout.record());
                    let trusted = [rollout.on_trial(), record.last_good, record.previous].contains(&Some(*hash));
                    if trusted && !self.disk_full {
                        rounds.bodies.insert(*hash);
                    }
                }
                match outcome {
                    ExchangeOutcome::Failed(_) => rounds.silent = Some(*source),
                    ExchangeOutcome::Replaced | ExchangeOutcome::NotAsked(_) => {}
                    ExchangeOutcome::Unchanged
                    | ExchangeOutcome::Empty
                    | ExchangeOutcome::Offered(_)
                    | ExchangeOutcome::Malformed { .. } => rounds.served = Some(*source),
                }
                match (source, outcome, freshness) {
                    (0, ExchangeOutcome::Failed(_), _) => drop(rounds.silent_since.get_or_insert(rounds.begun)),
                    (0, ExchangeOutcome::Replaced | ExchangeOutcome::NotAsked(_), _) | (_, _, Freshness::Cached) => {}
                    (0, _, Freshness::Fresh) => (rounds.answered, rounds.silent_since) = (true, None),
                    (_, _, Freshness::Fresh) => {}
                }
            }
            Event::Kept { hash, result: Ok(()) } => drop(rounds.bodies.insert(*hash)),
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
        let rounds = &mut self.rounds;
        let wait = match outcome {
            ExchangeOutcome::Unchanged | ExchangeOutcome::Offered(_) | ExchangeOutcome::Malformed { .. } => {
                rounds.every * 9 / 10
            }
            ExchangeOutcome::Empty | ExchangeOutcome::Failed(_) | ExchangeOutcome::NotAsked(_) => SOONEST,
            ExchangeOutcome::Replaced => Duration::ZERO,
        };
        rounds.not_before = if rounds.nudged { self.now } else { self.now + wait };
    }

    /// Makes all sources answer, each with a config that was never tried.
    pub(super) fn calm_places(&mut self) {
        self.rounds.places.iter_mut().for_each(|place| place.away = false);
        if self.rounds.number < LOCATIONS.len() {
            self.replace_sources();
            self.rounds.number = LOCATIONS.len();
            let params = Box::new(self.params());
            self.feed(Event::Reconfigured { params, sources_replaced: true, restart: false });
        }
        self.feed(Event::Interval(Duration::ZERO));
        for (place, number) in self.rounds.places.iter_mut().zip(200..) {
            place.offers = Some(hash(number));
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

    /// While the first source is silent the next one that answers serves. The first serves again with its first answer.
    pub(super) fn first_falls_silent(&mut self) {
        let away = if self.seed % 4 == 1 { &[0][..] } else { &[0, 1] };
        away.iter().for_each(|index| self.rounds.places[*index].away = true);
        self.wait_for(hash(200 + away.len() as u8), "the fallback does not serve");
        let serving = self.agent.report().serving.expect("one has answered");
        assert_eq!(serving.location, LOCATIONS[away.len()], "{}", self.seed);
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
