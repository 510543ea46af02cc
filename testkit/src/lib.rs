//! The test kit of the agent's unit tests and promises. It does not depend on the agent, and no release contains it.

pub mod names;
pub mod server;
pub mod wire;
