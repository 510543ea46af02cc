//! The pure core of otelet: events in, actions out. It touches nothing: no clock, no file, no process, no socket, no chance.
//!
//! `decide` holds every decision, `telemetry` the points, records and tables of metrics, `units` the spelling of times and sizes, `text` that of
//! errors.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
#![warn(missing_docs)]
// A new variant of a phase or an event has to be thought about at each place; tests wait for one of many.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod decide;
pub mod telemetry;
pub mod text;
pub mod units;
