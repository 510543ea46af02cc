//! The counts of deliveries.

/// The deliveries to one receiver since the start of the agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Deliveries {
    /// The number that the receiver accepted.
    pub sent: u64,
    /// The number that failed. Their contents are part of a later delivery.
    pub failed: u64,
    /// The reason of the last failure or refusal; none after a delivery was accepted whole.
    pub last_error: Option<String>,
}
