//! Two clocks, read at the same moment.

use std::time::SystemTime;

/// Two clocks, read at the same moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Clocks {
    /// The server that was asked, for people.
    pub server: String,
    /// Its clock, by the `Date` of its answer.
    pub theirs: SystemTime,
    /// Ours, when the answer came.
    pub ours: SystemTime,
}
