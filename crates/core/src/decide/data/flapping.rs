//! The reason why a config waits: there were many changes.

use std::fmt;
use std::time::Duration;

use super::hash::ConfigHash;
use crate::units::seconds;

/// The reason why a config waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Flapping {
    /// The number of changes.
    pub times: u32,
    /// The time that they took.
    pub within: Duration,
    /// The config that ran before the present one as well, if it is the one that waits.
    pub between: Option<(ConfigHash, ConfigHash)>,
}

impl fmt::Display for Flapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = seconds(self.within);
        write!(f, "the config has changed {} times within {within}, ", self.times)?;
        match self.between {
            Some((one, other)) => write!(f, "back and forth between {one} and {other}: two servers or files disagree"),
            None => f.write_str("each time to another one: something in it may be rendered anew each time"),
        }
    }
}
