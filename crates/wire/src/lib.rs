//! The messages between agents, servers and collectors: types and their encoding, no I/O.
//!
//! `opamp` and `otlp` are excerpts of the two protocols, `attributes` is shared by both, `kloudmate` reads the answers
//! of KloudMate's service, `status` is an agent's account of itself, with the states in `states`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
#![warn(missing_docs)]

mod attributes;
pub mod kloudmate;
pub mod opamp;
pub mod otlp;
mod states;
pub mod status;

pub use attributes::{AnyValue, KeyValue};
