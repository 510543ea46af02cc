//! The record of the rollout as the disk holds it, and the verdict of a validation.

use std::time::SystemTime;

use super::hash::ConfigHash;

/// What the disk holds of all this: everything that must survive the agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// The hash last received from the source, whatever became of it.
    pub remote: Option<ConfigHash>,
    /// The newest config that survived its probation.
    pub last_good: Option<ConfigHash>,
    /// The one before, for a rollback by a person.
    pub previous: Option<ConfigHash>,
    /// A validated config that has not survived its probation yet.
    pub candidate: Option<Candidate>,
    /// Configs that are not tried again, oldest first.
    pub refused: Vec<Refusal>,
}

/// A config on its way to be the last good one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Which.
    pub hash: ConfigHash,
    /// Starts of the agent that found it unproven.
    pub attempts: u32,
}

/// A config that was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Which.
    pub hash: ConfigHash,
    /// Why, in the collector's own words where there are any.
    pub reason: String,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// How often.
    pub times: u32,
    /// Whether it is still not to be tried: another offer in between lifts that.
    pub barred: bool,
}

/// What the collector's `validate` said.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Exit code 0.
    Passed,
    /// It will not run on this.
    Refused(String),
    /// It could not be asked; says nothing about the config.
    Unable(String),
}
