//! Reads and checks a Collector's config without running it: no file, no clock, no process.
//!
//! `inspect` checks an offered body: `scan` counts its nodes before it is parsed, `walk` reads the values that the
//! overlay needs. `merge` lays configs over each other. `overlay` writes the second `--config`. `words` shortens a
//! collector's output to one line, `advice` adds the next step. `addresses` lists where it listens and sends to. `redact` hides secrets in texts that are shown.
//! `signature` verifies a config, `hash` computes its hash, `alike` compares two.

// No I/O; its tests read files and run minisign.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
#![warn(missing_docs)]

mod addresses;
mod advice;
mod alike;
mod hash;
mod inspect;
pub mod merge;
mod overlay;
pub mod redact;
mod refusal;
mod scan;
pub mod signature;
#[cfg(test)]
mod tests;
mod walk;
mod words;

pub use addresses::{Address, Addresses, addresses};
pub use advice::{Surroundings, advised};
pub use alike::alike;
pub use hash::hash;
pub use inspect::{inspect, markup};
pub use overlay::{
    COMPONENTS_PROBE, Capabilities, Intake, Loopback, Overlay, PROBE_CONFIG, Witness, capabilities, overlay, quoted,
    valid_values,
};
pub use refusal::{BODY_LIMIT, Refusal};
pub use scan::{DEPTH_LIMIT, DIRECTIVE_LIMIT, EXPANDED_LIMIT, NODE_LIMIT, SCALAR_LIMIT};
pub use walk::{Destination, Endpoint, Inspection, Pipeline, SignalPath};
pub use words::last_words;
