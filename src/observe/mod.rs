//! What the agent sees beside the collector: the host, a Docker engine, the results of checks.

pub mod check;
pub mod docker;
pub mod host;
