//! Observes the world beside the collector: the host, a Docker engine, and the targets of checks.

pub mod check;
pub mod docker;
pub mod host;
