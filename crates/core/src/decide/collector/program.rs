//! Looks at the program and the files of the host on disk while a collector runs, and changes to others that take its
//! config.

use std::time::{Duration, Instant};

use super::{Collector, Phase, Run, RunFailure};
use crate::decide::action::Action;
use crate::decide::data::collector::{Change, Changed, OnReplaced, ProgramTrial};
use crate::decide::notice::Notice;

/// Least time between looks at the program on disk. They share the wake-ups of other work.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Time after which a replaced program that could not be asked is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(120);

/// A program or a file that lies in the place of the one that is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replacement {
    /// The change on disk.
    pub change: Change,
    /// How far it is.
    pub state: ReplacementState,
}

/// How far a replacement is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReplacementState {
    /// It is asked whether it takes the config that runs.
    Asked,
    /// It takes the config.
    Ready,
    /// It is not used.
    Refused,
    /// It could not be asked. The next try is at this time.
    Unable(Instant),
}

impl Collector {
    /// Looks at the program on disk, and changes to another one that takes the config. A config in its probation is not
    /// disturbed: it would be blamed for what the other program does.
    pub(super) fn up_look(&mut self, mut run: Run, now: Instant, out: &mut Vec<Action>) -> (Phase, Option<RunFailure>) {
        if self.on_trial == Some(run.config) {
            return (Phase::Up(run), None);
        }
        let ready = run.replacement.filter(|it| it.state == ReplacementState::Ready);
        let starts = |change: Change| change.of == Changed::Local || self.on_replaced == OnReplaced::Restart;
        if ready.is_some_and(|it| starts(it.change)) {
            // The obstacle to its start may be gone.
            self.without_additions = false;
            return (self.stop(run, None, now, out), None);
        }
        if now >= run.looked + LOOK_EVERY {
            run.looked = now;
            out.push(Action::LookAtProgram);
        }
        (Phase::Up(run), None)
    }

    pub(super) fn up_looked(&self, mut run: Run, other: Option<Change>, now: Instant, out: &mut Vec<Action>) -> Run {
        // After its probation it is looked at again.
        if self.on_trial == Some(run.config) {
            return run;
        }
        let Some(change) = other else {
            run.replacement = None;
            return run;
        };
        let ask = match run.replacement {
            Some(Replacement { change: known, state }) if known == change => match state {
                ReplacementState::Asked | ReplacementState::Ready | ReplacementState::Refused => false,
                ReplacementState::Unable(until) => now >= until,
            },
            Some(_) | None => true,
        };
        if ask {
            run.replacement = Some(Replacement { change, state: ReplacementState::Asked });
            out.push(Action::TryProgram { config: run.config, change });
        }
        run
    }

    pub(super) fn up_tried(
        &self,
        mut run: Run,
        change: Change,
        trial: ProgramTrial,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Run {
        let config = run.config;
        let asked = Replacement { change, state: ReplacementState::Asked };
        let Some(replacement) = run.replacement.as_mut().filter(|it| **it == asked) else { return run };
        let is_program = change.of == Changed::Program;
        replacement.state = match trial {
            ProgramTrial::Takes(version) => {
                let starts = self.on_replaced == OnReplaced::Restart;
                out.push(Action::Tell(match is_program {
                    true => Notice::ProgramReplaced { config, version, starts },
                    false => Notice::LocalChanged { config },
                }));
                ReplacementState::Ready
            }
            ProgramTrial::Same => ReplacementState::Refused,
            ProgramTrial::Refuses(why) => {
                out.push(Action::Tell(match is_program {
                    true => Notice::ProgramRefuses { config, why },
                    false => Notice::LocalRefused { config, why },
                }));
                ReplacementState::Refused
            }
            ProgramTrial::Unable(why) => {
                out.push(Action::Tell(Notice::ProgramNotAsked { why, delay: ASK_AGAIN }));
                ReplacementState::Unable(now + ASK_AGAIN)
            }
        };
        run
    }
}
