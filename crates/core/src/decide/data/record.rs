//! The record of the rollout as the disk holds it, and the verdict of a validation.

use std::time::SystemTime;

use super::hash::ConfigHash;

/// The part of the rollout that survives the agent, as the disk holds it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// The hash last received from the source, valid or not.
    pub remote: Option<ConfigHash>,
    /// The newest config that survived its probation.
    pub last_good: Option<ConfigHash>,
    /// The last good config before that, for a rollback by a person.
    pub previous: Option<ConfigHash>,
    /// A validated config that has not survived its probation yet.
    pub candidate: Option<Candidate>,
    /// Configs that are not tried again, oldest first.
    pub refused: Vec<Refusal>,
}

/// A config on its way to be the last good one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The hash of the config.
    pub hash: ConfigHash,
    /// The number of starts of the agent that found it still in its probation.
    pub attempts: u32,
}

/// A config that was refused or rolled back.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The hash of the config.
    pub hash: ConfigHash,
    /// The reason, in the collector's own words if there are any.
    pub reason: String,
    /// The time of the last refusal, by the wall clock.
    pub at: SystemTime,
    /// The number of refusals.
    pub times: u32,
    /// Whether it must not be tried now. An offer of another config lifts this.
    pub barred: bool,
}

/// The verdict of the collector's `validate`.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The config is valid: exit code 0.
    Passed,
    /// The config is invalid, for this reason.
    Refused(String),
    /// The collector could not be asked, for this reason, which says nothing about the config.
    Unable(String),
    /// Its body on disk is lost or torn, for this reason. The source still has it.
    Lost(String),
}
