//! Decides which source is asked: first the first one, then the others in order while it is silent, one at a time.
//!
//! Each round of questions begins with the first source, so it serves again with its first answer. The others are asked
//! in the same round if the first has never answered on this host, or has been silent for `config.fallback_after`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::action::Action;
use super::data::failure::Failure;
use super::data::hash::ConfigHash;
use super::data::source::{ActiveSource, ExchangeOutcome, Freshness};
use super::notice::Notice;

/// A question to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The source, counted from the first.
    pub source: usize,
    /// Whether the source may answer "unchanged".
    pub conditional: bool,
}

/// The source that serves, and the progress of the round of questions.
#[derive(Debug)]
pub struct Sources {
    /// The locations in the order of the settings, without secrets.
    locations: Arc<[String]>,
    /// How long the first source may be silent.
    patience: Duration,
    /// The index of the source that answered last.
    serving: usize,
    /// The location of that source, which may be from earlier settings.
    served: Option<String>,
    /// Whether the first source has ever answered, to this agent or an earlier one.
    answered: bool,
    /// The time since which the first source has not answered.
    silent_since: Option<Instant>,
    /// The reason why the first source did not answer when another one did.
    trouble: Option<String>,
    round: Round,
    shown: Option<ActiveSource>,
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
    /// `served` is the location of the source that answered an earlier agent last; `answered` says whether any ever
    /// did.
    pub fn new(locations: Arc<[String]>, patience: Duration, served: Option<String>, answered: bool) -> Self {
        let mut sources = Self {
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
        (self.locations, self.patience, self.answered) = (locations, patience, answered);
        (self.silent_since, self.trouble) = (None, None);
        self.find_served();
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
        freshness: Freshness,
        outcome: ExchangeOutcome,
        out: &mut Vec<Action>,
    ) -> Option<ExchangeOutcome> {
        let asked = match std::mem::replace(&mut self.round, Round::Idle) {
            Round::Asking(asked) => asked,
            other @ (Round::Idle | Round::Looking(_) | Round::Next(..)) => {
                self.round = other;
                return None;
            }
        };
        let ended = match outcome {
            ExchangeOutcome::Unchanged
            | ExchangeOutcome::Empty
            | ExchangeOutcome::Offered(_)
            | ExchangeOutcome::Malformed { .. } => {
                self.serving = source;
                self.served = self.locations.get(source).cloned();
                match (source, freshness) {
                    (0, Freshness::Fresh) => (self.answered, self.silent_since, self.trouble) = (true, None, None),
                    // An answer from an earlier exchange does not show that the server answers now.
                    (0, Freshness::Cached) => {}
                    (_, Freshness::Fresh | Freshness::Cached) => {
                        self.trouble = asked.failure.map(|failure| failure.message)
                    }
                }
                outcome
            }
            ExchangeOutcome::Failed(failure) => {
                let patient = source == 0 && {
                    let since = *self.silent_since.get_or_insert(asked.begun);
                    self.answered && asked.begun.saturating_duration_since(since) < self.patience
                };
                let failure = joined(asked.failure, failure);
                if !patient && source + 1 < self.locations.len() {
                    let asked = RoundProgress { failure: Some(failure), ..asked };
                    self.ask(source + 1, asked);
                    return None;
                }
                ExchangeOutcome::Failed(failure)
            }
            // The source was not asked, so it has not been silent.
            ExchangeOutcome::NotAsked(failure) if asked.failure.is_none() => {
                return Some(ExchangeOutcome::NotAsked(failure));
            }
            ExchangeOutcome::NotAsked(failure) => ExchangeOutcome::Failed(joined(asked.failure, failure)),
            ExchangeOutcome::Replaced => return Some(ExchangeOutcome::Replaced),
        };
        self.show(out);
        Some(ended)
    }

    /// The source that answered last, as of the last round.
    pub fn shown(&self) -> Option<&ActiveSource> {
        self.shown.as_ref()
    }

    /// The time since which the first source has not answered.
    pub fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }

    fn find_served(&mut self) {
        self.serving = self.locations.iter().position(|it| Some(it) == self.served.as_ref()).unwrap_or_default();
    }

    fn ask_first(&mut self, conditional: bool, now: Instant) {
        self.ask(0, RoundProgress { begun: now, conditional, failure: None });
    }

    fn ask(&mut self, source: usize, asked: RoundProgress) {
        // A source that did not serve before must send its config: its "unchanged" would refer to another one.
        let conditional = asked.conditional && source == self.serving;
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
            if let Some(ended) = sources.on_exchanged(source, Freshness::Fresh, answers[source].clone(), &mut out) {
                return (asked, ended, out);
            }
        }
        panic!("the round has no end: {sources:?}")
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
        sources.on_exchanged(0, Freshness::Cached, ExchangeOutcome::Offered(HASH), &mut Vec::new());
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
}
