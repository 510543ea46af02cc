//! The clocks of a server and of this host.

use std::time::SystemTime;

/// The clocks of a server and of this host, read at the same moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Clocks {
    /// The server, for the log.
    pub server: String,
    /// The server's clock, from the `Date` of its answer.
    pub theirs: SystemTime,
    /// The clock of this host when the answer came.
    pub ours: SystemTime,
}
