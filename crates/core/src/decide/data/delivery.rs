//! The counts of deliveries.

/// Deliveries so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Deliveries {
    /// Taken by the other side.
    pub sent: u64,
    /// Not taken. What they said is in a later one.
    pub failed: u64,
    /// Why the last one failed, or what of it was refused; none once one was taken whole.
    pub last_error: Option<String>,
}
