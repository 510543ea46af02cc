//! What is known of a Collector's config without running it: no file, no clock, no process.
//!
//! `inspect` checks an offered body (`scan` counts before anything is parsed, `walk` reads what the overlay needs),
//! `overlay` makes what is passed beside it, `words` makes one line of a collector's output, `redact` takes the secrets
//! out of what is shown, `signature` verifies, `hash` names a body.

// No I/O; its tests read files and run minisign.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
#![warn(missing_docs)]

mod hash;
mod inspect;
mod overlay;
pub mod redact;
mod refusal;
mod scan;
pub mod signature;
#[cfg(test)]
mod tests;
mod walk;
mod words;

pub use hash::hash;
pub use inspect::inspect;
pub use overlay::{Capabilities, Intake, Overlay, PROBE_CONFIG, Witness, capabilities, overlay, quoted};
pub use refusal::{BODY_LIMIT, Refusal};
pub use scan::{ALIAS_LIMIT, DEPTH_LIMIT, DIRECTIVE_LIMIT, NODE_LIMIT, SCALAR_LIMIT};
pub use walk::{Endpoint, Inspected, Pipeline, Way};
pub use words::last_words;
