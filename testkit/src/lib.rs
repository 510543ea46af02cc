//! What the unit tests of the agent and its promises share. It knows nothing of the agent, and is in no release.

pub mod server;
pub mod wire;
