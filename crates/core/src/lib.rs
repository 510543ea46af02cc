//! The pure core of otelet: events in, actions out. It reads no clock, file or socket, starts no process and draws no
//! random number.
//!
//! `decide` holds every decision; `examine` the verdicts of `otelet doctor`; `telemetry` the points, records and tables of metrics; `units` the spelling of times
//! and sizes; `text` the spelling of errors.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
#![warn(missing_docs)]
// A match has to name each variant, so that a new phase or event stops the build at each place that must handle it.
// Tests may wait for one of many.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod decide;
pub mod examine;
pub mod telemetry;
pub mod text;
pub mod units;
