//! Decides which source is asked: first the first one, then the others in order while it brings no config, one at a
//! time. Also decides when a source must send its config, changed or not.
//!
//! Each round of questions begins with the first source, so it serves again with its first usable config. The others
//! are asked in the same round if this host has no config of the first, or if the first has brought none for
//! `config.fallback_after`: it was silent, or something else than a config came. A refused config of the first is an
//! answer: the config that runs stays. A source whose config is refused is passed over in the same round.
//!
//! "Unchanged" is not believed for ever, since some servers compare times only, and a page that came in place of the
//! config may have left its own behind. So a source must send the body after an answer that was no config, and now and
//! then besides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::Action;
use super::data::failure::{Failure, FailureKind};
use super::data::hash::ConfigHash;
use super::data::source::{ActiveSource, ExchangeOutcome, Freshness, Validator};
use super::notice::Notice;

/// How long "unchanged" is believed of a source that compares times. One body an hour is little beside the polls.
pub const BY_DATE: Duration = Duration::from_secs(3600);

/// How long it is believed of a source that compares tags. Lines may be metered, and tags rarely err.
pub const BY_TAG: Duration = Duration::from_secs(86_400);

/// A question to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The source, counted from the first.
    pub source: usize,
    /// Whether the source may answer "unchanged".
    pub conditional: bool,
}

/// Facts about configs, for the choice of a source.
pub struct Known<'a> {
    /// Whether this host has a config that was accepted, or may still be.
    pub has_config: bool,
    /// Whether this config is refused.
    pub is_refused: &'a dyn Fn(ConfigHash) -> bool,
}

/// The source that serves, and the progress of the round of questions.
#[derive(Debug)]
pub struct Sources {
    /// The locations in the order of the settings, without secrets.
    locations: Arc<[String]>,
    /// The record of each source, in the same order.
    records: Vec<SourceRecord>,
    /// How long the first source may bring no config.
    patience: Duration,
    /// The index of the source that brought a usable config last.
    serving: usize,
    /// The location of that source, which may be from earlier settings.
    served: Option<String>,
    /// Whether the first source has ever brought a config, to this agent or an earlier one.
    answered: bool,
    /// The time since which the first source has brought no config.
    silent_since: Option<Instant>,
    /// The reason why the first source did not serve when another one did.
    trouble: Option<String>,
    round: Round,
    shown: Option<ActiveSource>,
}

/// The record of a source.
#[derive(Debug, Clone, Copy, Default)]
struct SourceRecord {
    /// The config that it brought last.
    brought: Option<ConfigHash>,
    validator: Validator,
    /// When it brought that config last. None if "unchanged" is not to be believed.
    looked: Option<Instant>,
}

impl SourceRecord {
    /// Whether "unchanged" would be believed.
    fn may_be_unchanged(&self, now: Instant) -> bool {
        let limit = match self.validator {
            Validator::None => return true,
            Validator::Date => BY_DATE,
            Validator::Tag => BY_TAG,
        };
        self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < limit)
    }
}

#[derive(Debug)]
enum Round {
    Idle,
    /// The store checks first whether this config, which cannot be started, is whole on disk.
    Looking(ConfigHash),
    Next(Question, RoundProgress),
    Asking(RoundProgress),
}

/// The memory of a round.
#[derive(Debug)]
struct RoundProgress {
    begun: Instant,
    conditional: bool,
    /// The failures of the sources that were asked before in this round.
    failure: Option<Failure>,
}

impl Sources {
    /// `served` is the location of the source that served an earlier agent last; `answered` says whether any ever did.
    pub fn new(locations: Arc<[String]>, patience: Duration, served: Option<String>, answered: bool) -> Self {
        let mut sources = Self {
            records: vec![SourceRecord::default(); locations.len()],
            locations,
            patience,
            serving: 0,
            served,
            answered,
            silent_since: None,
            trouble: None,
            round: Round::Idle,
            shown: None,
        };
        sources.find_served();
        sources
    }

    /// Replaces the sources. An exchange with an old one may still be under way.
    pub fn replace(&mut self, locations: Arc<[String]>, patience: Duration, answered: bool) {
        self.records = vec![SourceRecord::default(); locations.len()];
        (self.locations, self.patience, self.answered) = (locations, patience, answered);
        (self.silent_since, self.trouble) = (None, None);
        self.find_served();
    }

    /// Makes each source send its config with the next question: a person asked.
    pub fn look_again(&mut self) {
        self.records.iter_mut().for_each(|record| record.looked = None);
    }

    /// Begins a round. `lost` is a config that cannot be started, perhaps because its body is lost: the store checks
    /// that first.
    pub fn begin(&mut self, lost: Option<ConfigHash>, conditional: bool, now: Instant, out: &mut Vec<Action>) {
        match lost {
            Some(hash) => {
                self.round = Round::Looking(hash);
                out.push(Action::CheckBody(hash));
            }
            None => self.ask_first(conditional, now),
        }
    }

    /// Handles the store's check of a body. Returns the end of the round, if no source is left to ask.
    pub fn on_body_checked(
        &mut self,
        hash: ConfigHash,
        whole: bool,
        conditional: bool,
        now: Instant,
    ) -> Option<ExchangeOutcome> {
        if !matches!(self.round, Round::Looking(looked) if looked == hash) {
            return None;
        }
        if self.locations.is_empty() {
            self.round = Round::Idle;
            return Some(ExchangeOutcome::Replaced);
        }
        // The source still has the body: if ours is torn, ask for it unconditionally.
        self.ask_first(conditional && whole, now);
        None
    }

    /// The question to be asked now, if there is one.
    pub fn take_question(&mut self) -> Option<Question> {
        match std::mem::replace(&mut self.round, Round::Idle) {
            Round::Next(question, asked) => {
                self.round = Round::Asking(asked);
                Some(question)
            }
            other @ (Round::Idle | Round::Looking(_) | Round::Asking(_)) => {
                self.round = other;
                None
            }
        }
    }

    /// Handles the end of an exchange. Returns the end of the round, unless another source is asked now.
    pub fn on_exchanged(
        &mut self,
        source: usize,
        (freshness, validator): (Freshness, Validator),
        outcome: ExchangeOutcome,
        known: &Known<'_>,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Option<ExchangeOutcome> {
        let asked = match std::mem::replace(&mut self.round, Round::Idle) {
            Round::Asking(asked) => asked,
            other @ (Round::Idle | Round::Looking(_) | Round::Next(..)) => {
                self.round = other;
                return None;
            }
        };
        self.note(source, validator, &outcome, now);
        let why = match &outcome {
            ExchangeOutcome::Unchanged | ExchangeOutcome::Offered(_) => match self.brought(source) {
                Some(hash) if (known.is_refused)(hash) => {
                    Some(self.unusable(source, &format!("its config {hash} is refused")))
                }
                Some(_) | None => None,
            },
            ExchangeOutcome::Empty => Some(self.unusable(source, "answered with an empty body")),
            ExchangeOutcome::Malformed { reason, .. } => Some(self.unusable(source, reason)),
            ExchangeOutcome::Failed(failure) => Some(failure.clone()),
            // The source was not asked, so it has not been silent.
            ExchangeOutcome::NotAsked(_) if asked.failure.is_none() => return Some(outcome),
            ExchangeOutcome::NotAsked(failure) => Some(failure.clone()),
            ExchangeOutcome::Replaced => return Some(outcome),
        };
        let Some(why) = why else {
            self.serving = source;
            self.served = self.locations.get(source).cloned();
            match (source, freshness) {
                (0, Freshness::Fresh) => (self.answered, self.silent_since, self.trouble) = (true, None, None),
                // An answer from an earlier exchange does not show that the server answers now.
                (0, Freshness::Cached) => {}
                (_, Freshness::Fresh | Freshness::Cached) => {
                    self.trouble = asked.failure.map(|failure| failure.message);
                }
            }
            self.show(out);
            return Some(outcome);
        };
        let patient = source == 0 && self.is_patient(&outcome, asked.begun, known.has_config);
        if !patient && source + 1 < self.locations.len() {
            let failure = Some(joined(asked.failure, why));
            self.ask(source + 1, RoundProgress { failure, ..asked });
            return None;
        }
        self.show(out);
        Some(match asked.failure {
            Some(before) => ExchangeOutcome::Failed(joined(Some(before), why)),
            None => outcome,
        })
    }

    /// The configs that sources other than this one brought last.
    pub fn brought_by_others(&self, source: usize) -> Vec<ConfigHash> {
        let others = self.records.iter().enumerate().filter(|(index, _)| *index != source);
        others.filter_map(|(_, record)| record.brought).collect()
    }

    /// The config that this source brought last.
    pub fn brought(&self, source: usize) -> Option<ConfigHash> {
        self.records.get(source)?.brought
    }

    /// The source that serves, as of the last round.
    pub fn shown(&self) -> Option<&ActiveSource> {
        self.shown.as_ref()
    }

    /// The location of the source that serves; of the first one until one does.
    pub fn location(&self) -> Option<&str> {
        self.locations.get(self.serving).map(String::as_str)
    }

    /// The time since which the first source has brought no config.
    pub fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }

    fn find_served(&mut self) {
        self.serving = self.locations.iter().position(|it| Some(it) == self.served.as_ref()).unwrap_or_default();
    }

    /// Notes what an answer shows of its source.
    fn note(&mut self, source: usize, validator: Validator, outcome: &ExchangeOutcome, now: Instant) {
        let was_asked = !matches!(outcome, ExchangeOutcome::NotAsked(_) | ExchangeOutcome::Replaced);
        let Some(record) = self.records.get_mut(source).filter(|_| was_asked) else { return };
        record.validator = validator;
        match outcome {
            ExchangeOutcome::Offered(hash) | ExchangeOutcome::Malformed { hash, foreign: false, .. } => {
                (record.brought, record.looked) = (Some(*hash), Some(now));
            }
            ExchangeOutcome::Malformed { hash, foreign: true, .. } => {
                (record.brought, record.looked) = (Some(*hash), None);
            }
            ExchangeOutcome::Empty => (record.brought, record.looked) = (None, None),
            // A tag still tells its config from everything else. A time may be later than that of the next config.
            ExchangeOutcome::Failed(failure) if failure.kind.answered() && validator == Validator::Date => {
                record.looked = None;
            }
            ExchangeOutcome::Failed(_)
            | ExchangeOutcome::Unchanged
            | ExchangeOutcome::NotAsked(_)
            | ExchangeOutcome::Replaced => {}
        }
    }

    /// Whether the config that runs stays although the first source brought no usable one.
    fn is_patient(&mut self, outcome: &ExchangeOutcome, begun: Instant, has_config: bool) -> bool {
        let knows_a_config = self.answered && has_config;
        match outcome {
            ExchangeOutcome::Failed(_) | ExchangeOutcome::Empty | ExchangeOutcome::Malformed { foreign: true, .. } => {
                let since = *self.silent_since.get_or_insert(begun);
                knows_a_config && begun.saturating_duration_since(since) < self.patience
            }
            ExchangeOutcome::Unchanged
            | ExchangeOutcome::Offered(_)
            | ExchangeOutcome::Malformed { foreign: false, .. } => {
                self.silent_since = None;
                knows_a_config
            }
            ExchangeOutcome::NotAsked(_) | ExchangeOutcome::Replaced => false,
        }
    }

    fn unusable(&self, source: usize, why: &str) -> Failure {
        let location = self.locations.get(source).map_or("a source of earlier settings", String::as_str);
        Failure::new(FailureKind::Config, format!("{location}: {why}"))
    }

    fn ask_first(&mut self, conditional: bool, now: Instant) {
        self.ask(0, RoundProgress { begun: now, conditional, failure: None });
    }

    fn ask(&mut self, source: usize, asked: RoundProgress) {
        // A source that did not serve before must send its config: its "unchanged" would refer to another one.
        let may_be_unchanged = self.records.get(source).is_none_or(|record| record.may_be_unchanged(asked.begun));
        let conditional = asked.conditional && source == self.serving && may_be_unchanged;
        self.round = Round::Next(Question { source, conditional }, asked);
    }

    /// Announces a change of the serving source.
    fn show(&mut self, out: &mut Vec<Action>) {
        let Some(location) = self.locations.get(self.serving).cloned() else { return };
        let trouble = self.trouble.clone().filter(|_| self.serving > 0);
        let before = self.shown.as_ref().map(|shown| &shown.location);
        match &trouble {
            Some(trouble) if before != Some(&location) => {
                let (location, trouble) = (location.clone(), trouble.clone());
                out.push(Action::Tell(Notice::FallbackServes { location, trouble }));
            }
            None if before.is_some_and(|known| *known != location) => {
                out.push(Action::Tell(Notice::SourceServesAgain { location: location.clone() }));
            }
            Some(_) | None => {}
        }
        self.shown = Some(ActiveSource { location, trouble });
    }
}

/// Joins the failures of a round. The first source determines when it is asked again.
fn joined(before: Option<Failure>, failure: Failure) -> Failure {
    match before {
        Some(before) => Failure { message: format!("{}; {}", before.message, failure.message), ..before },
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::failure::FailureKind;
    use crate::decide::data::time::origin;

    const PATIENCE: Duration = Duration::from_secs(600);

    const HASH: ConfigHash = ConfigHash([1; 32]);

    const REFUSED: ConfigHash = ConfigHash([2; 32]);

    fn sources(number: usize, answered: bool) -> Sources {
        let locations: Vec<String> = ["a", "b", "c"].map(String::from)[..number].to_vec();
        Sources::new(locations.into(), PATIENCE, None, answered)
    }

    fn silent(why: &str) -> ExchangeOutcome {
        ExchangeOutcome::Failed(Failure::new(FailureKind::Status, why))
    }

    /// Runs a round with these answers. Returns the sources asked, conditionally or not, the end and the actions.
    fn round(
        sources: &mut Sources,
        now: Instant,
        answers: &[ExchangeOutcome],
    ) -> (Vec<(usize, bool)>, ExchangeOutcome, Vec<Action>) {
        let (mut asked, mut out) = (Vec::new(), Vec::new());
        sources.begin(None, true, now, &mut out);
        while let Some(Question { source, conditional }) = sources.take_question() {
            asked.push((source, conditional));
            assert_eq!(sources.take_question(), None, "never two at a time");
            if let Some(ended) = answer(sources, source, Freshness::Fresh, answers[source].clone(), now, &mut out) {
                return (asked, ended, out);
            }
        }
        panic!("the round has no end: {sources:?}")
    }

    /// An answer of a source with ETags, to a host that has a config.
    fn answer(
        sources: &mut Sources,
        source: usize,
        freshness: Freshness,
        outcome: ExchangeOutcome,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Option<ExchangeOutcome> {
        let known = Known { has_config: true, is_refused: &|hash| hash == REFUSED };
        sources.on_exchanged(source, (freshness, Validator::Tag), outcome, &known, now, out)
    }

    fn malformed(foreign: bool) -> ExchangeOutcome {
        ExchangeOutcome::Malformed { hash: ConfigHash([3; 32]), reason: "broken".into(), foreign }
    }

    fn order(asked: &[(usize, bool)]) -> Vec<usize> {
        asked.iter().map(|(source, _)| *source).collect()
    }

    #[test]
    fn the_others_are_asked_at_once_while_the_first_has_never_answered() {
        let mut sources = sources(3, false);
        let answers = [silent("no a"), silent("no b"), ExchangeOutcome::Offered(HASH)];

        let (asked, ended, out) = round(&mut sources, origin(), &answers);

        assert_eq!(asked, [(0, true), (1, false), (2, false)]);
        assert_eq!(ended, ExchangeOutcome::Offered(HASH));
        let (location, trouble) = ("c".to_owned(), "no a; no b".to_owned());
        assert_eq!(out, [Action::Tell(Notice::FallbackServes { location, trouble })]);
    }

    #[test]
    fn a_first_source_that_has_answered_may_be_silent_for_a_while() {
        let t0 = origin();
        let mut sources = sources(2, true);
        let answers = [silent("no a"), ExchangeOutcome::Unchanged];

        assert_eq!(order(&round(&mut sources, t0, &answers).0), [0]);
        assert_eq!(order(&round(&mut sources, t0 + PATIENCE - Duration::from_nanos(1), &answers).0), [0]);
        assert_eq!(order(&round(&mut sources, t0 + PATIENCE, &answers).0), [0, 1]);
    }

    #[test]
    fn the_first_source_serves_again_with_its_first_answer() {
        let t0 = origin();
        let mut sources = sources(2, false);
        round(&mut sources, t0, &[silent("no a"), ExchangeOutcome::Offered(HASH)]);

        let (asked, _, out) = round(&mut sources, t0, &[ExchangeOutcome::Offered(HASH), silent("no b")]);

        assert_eq!(asked, [(0, false)]);
        assert_eq!(out, [Action::Tell(Notice::SourceServesAgain { location: "a".into() })]);
        assert_eq!(sources.shown(), Some(&ActiveSource { location: "a".into(), trouble: None }));
        let (asked, _, out) = round(&mut sources, t0, &[ExchangeOutcome::Unchanged, silent("no b")]);
        assert_eq!((asked, out), (vec![(0, true)], Vec::new()));
    }

    #[test]
    fn when_no_source_answers_all_failures_are_named() {
        let mut sources = sources(2, false);
        let retry_after = Some(Duration::from_secs(7));
        let first = Failure { retry_after, ..Failure::new(FailureKind::Status, "no a") };

        let (_, ended, out) = round(&mut sources, origin(), &[ExchangeOutcome::Failed(first.clone()), silent("no b")]);

        assert_eq!(ended, ExchangeOutcome::Failed(Failure { message: "no a; no b".into(), ..first }));
        assert_eq!(out, []);
    }

    #[test]
    fn a_cached_answer_does_not_end_a_silence() {
        let t0 = origin();
        let mut sources = sources(2, true);
        round(&mut sources, t0, &[silent("no a"), ExchangeOutcome::Unchanged]);

        sources.begin(None, true, t0, &mut Vec::new());
        sources.take_question();
        answer(&mut sources, 0, Freshness::Cached, ExchangeOutcome::Offered(HASH), t0, &mut Vec::new());
        assert_eq!(sources.silent_since(), Some(t0));

        round(&mut sources, t0, &[ExchangeOutcome::Unchanged, silent("no b")]);
        assert_eq!(sources.silent_since(), None);
    }

    #[test]
    fn an_exchange_that_never_began_is_no_silence_of_the_source() {
        let mut sources = sources(2, true);
        for ended in
            [ExchangeOutcome::NotAsked(Failure::new(FailureKind::Thread, "no thread")), ExchangeOutcome::Replaced]
        {
            let (asked, end, _) = round(&mut sources, origin(), &[ended.clone(), silent("no b")]);
            assert_eq!((order(&asked), end), (vec![0], ended));
            assert_eq!((sources.silent_since(), sources.shown()), (None, None));
        }
    }

    #[test]
    fn a_torn_config_is_asked_for_unconditionally() {
        for (whole, wanted) in [(true, true), (false, false)] {
            let (mut sources, mut out) = (sources(1, true), Vec::new());
            sources.begin(Some(HASH), true, origin(), &mut out);
            assert_eq!(out, [Action::CheckBody(HASH)]);
            assert_eq!(sources.take_question(), None, "the store looks first");

            assert_eq!(sources.on_body_checked(HASH, whole, true, origin()), None);

            assert_eq!(sources.take_question(), Some(Question { source: 0, conditional: wanted }));
        }
    }

    #[test]
    fn the_serving_source_is_known_after_a_restart_and_new_settings() {
        let served = || Some("b".to_owned());
        let locations: Arc<[String]> = ["a", "b"].map(String::from).into();
        let answers = [silent("no a"), ExchangeOutcome::Unchanged];
        let mut sources = Sources::new(locations.clone(), Duration::ZERO, served(), true);
        assert_eq!(round(&mut sources, origin(), &answers).0, [(0, false), (1, true)]);

        sources.replace(["b", "a"].map(String::from).into(), PATIENCE, true);

        assert_eq!(round(&mut sources, origin(), &[ExchangeOutcome::Unchanged, silent("no a")]).0, [(0, true)]);
    }

    #[test]
    fn a_fallback_without_a_usable_config_is_passed_over() {
        for bad in [malformed(true), malformed(false), ExchangeOutcome::Offered(REFUSED), ExchangeOutcome::Empty] {
            let mut sources = sources(3, false);
            let answers = [silent("no a"), bad.clone(), ExchangeOutcome::Offered(HASH)];

            let (asked, ended, out) = round(&mut sources, origin(), &answers);

            assert_eq!((order(&asked), ended), (vec![0, 1, 2], ExchangeOutcome::Offered(HASH)), "{bad:?}");
            let Action::Tell(Notice::FallbackServes { location, trouble }) = &out[0] else { panic!("{out:?}") };
            assert!(location == "c" && trouble.starts_with("no a; b: "), "{location}: {trouble}");
            // The refused one is still offered, so its refusal must not be lifted by the good one.
            let others = sources.brought_by_others(2);
            assert_eq!(others.is_empty(), bad == ExchangeOutcome::Empty, "{bad:?}");
            let (asked, ..) = round(&mut sources, origin(), &answers);
            assert_eq!(asked, [(0, false), (1, false), (2, true)], "{bad:?}");
        }
    }

    #[test]
    fn when_no_source_has_a_usable_config_the_round_has_failed() {
        let mut sources = sources(2, false);
        let (_, ended, out) = round(&mut sources, origin(), &[silent("no a"), malformed(true)]);
        let failure = Failure::new(FailureKind::Status, "no a; b: broken");
        assert_eq!((ended, out), (ExchangeOutcome::Failed(failure), Vec::new()));
    }

    #[test]
    fn a_mistake_in_the_first_config_is_an_answer_and_a_page_in_its_place_is_silence() {
        let t0 = origin();
        for (bad, patience) in [(malformed(false), None), (malformed(true), Some(PATIENCE))] {
            let mut sources = sources(2, true);
            let answers = [bad, ExchangeOutcome::Offered(HASH)];
            assert_eq!(order(&round(&mut sources, t0, &answers).0), [0]);
            let late = round(&mut sources, t0 + PATIENCE, &answers);
            assert_eq!(order(&late.0), if patience.is_some() { vec![0, 1] } else { vec![0] });
        }
        // Without any config of its own, the host needs one now.
        let mut sources = sources(2, false);
        let answers = [malformed(false), ExchangeOutcome::Offered(HASH)];
        assert_eq!(order(&round(&mut sources, t0, &answers).0), [0, 1]);
    }

    #[test]
    fn unchanged_is_believed_for_an_hour_by_date_and_for_a_day_by_tag() {
        let (t0, second) = (origin(), Duration::from_secs(1));
        for (validator, limit) in [(Validator::Date, BY_DATE), (Validator::Tag, BY_TAG)] {
            let mut sources = sources(1, true);
            let mut ask = |outcome, now| {
                sources.begin(None, true, now, &mut Vec::new());
                let question = sources.take_question().unwrap();
                let known = Known { has_config: true, is_refused: &|_| false };
                sources.on_exchanged(0, (Freshness::Fresh, validator), outcome, &known, now, &mut Vec::new());
                question.conditional
            };
            // Nothing is known of a source before its first answer.
            ask(ExchangeOutcome::Offered(HASH), t0);
            assert!(ask(ExchangeOutcome::Unchanged, t0 + limit - second));
            assert!(!ask(ExchangeOutcome::Offered(HASH), t0 + limit));
            assert!(ask(ExchangeOutcome::Unchanged, t0 + limit + second));
        }
    }

    #[test]
    fn after_an_answer_that_was_no_config_the_body_is_asked_for() {
        let t0 = origin();
        let failed = |kind| ExchangeOutcome::Failed(Failure::new(kind, "no"));
        for (validator, answer, conditional) in [
            (Validator::Tag, malformed(true), false),
            (Validator::Date, malformed(true), false),
            (Validator::Date, ExchangeOutcome::Empty, false),
            (Validator::Date, malformed(false), true),
            (Validator::Date, failed(FailureKind::Status), false),
            (Validator::Date, failed(FailureKind::Redirect), false),
            (Validator::Date, failed(FailureKind::Timeout), true),
            (Validator::Tag, failed(FailureKind::Status), true),
            // It acknowledges its configs by other means.
            (Validator::None, malformed(true), true),
        ] {
            let mut sources = sources(1, true);
            for outcome in [ExchangeOutcome::Offered(HASH), answer.clone()] {
                sources.begin(None, true, t0, &mut Vec::new());
                sources.take_question();
                let known = Known { has_config: true, is_refused: &|_| false };
                sources.on_exchanged(0, (Freshness::Fresh, validator), outcome, &known, t0, &mut Vec::new());
            }
            sources.begin(None, true, t0, &mut Vec::new());
            let wanted = Question { source: 0, conditional };
            assert_eq!(sources.take_question(), Some(wanted), "{validator:?}, {answer:?}");
        }
    }

    #[test]
    fn a_person_who_asks_gets_the_body() {
        let mut sources = sources(1, true);
        round(&mut sources, origin(), &[ExchangeOutcome::Offered(HASH)]);
        sources.look_again();
        assert_eq!(round(&mut sources, origin(), &[ExchangeOutcome::Offered(HASH)]).0, [(0, false)]);
    }
}
