//! Asks a Docker engine on its socket for the events of its containers, the list of them, and their usage.
//!
//! `watch` follows the stream of events as a task, and `events` makes records of it. `scan` lists the containers on a
//! thread, and `usage` makes points of their statistics. `links` makes links to their logs for a collector. `ask` sends
//! their requests, and `answer` parses HTTP. `decide::docker` decides when each of them runs.

pub mod answer;
mod ask;
mod container;
mod engine;
pub mod events;
pub mod links;
pub mod scan;
pub mod usage;
pub mod watch;

pub use ask::check_container;
pub use engine::Engine;
