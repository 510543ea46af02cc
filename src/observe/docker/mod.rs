//! A Docker engine, asked on its socket: what happens to its containers, which ones run, and what they use.
//!
//! `watch` follows the stream of events as a task, `scan` lists the containers on a thread, `events` and `usage` turn
//! what they bring into records and points, `links` leads a collector to their logs, `answer` takes HTTP apart. Nothing here decides when: `decide::docker` does.

pub mod answer;
mod container;
mod engine;
pub mod events;
pub mod links;
pub mod scan;
pub mod usage;
pub mod watch;

pub use engine::Engine;
