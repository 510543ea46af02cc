//! otelet: a very small agent that keeps an existing OpenTelemetry Collector running on its newest good configuration.
//!
//! The map: `decide` decides and touches nothing. Everything beside it does what it is told and reports back. `run` is
//! where they meet: the only place that waits, reads the clock or draws a random number. `collector`, `source`, `store` and
//! `http` keep the Collector on its config; `host`, `check`, `docker` and `alerts` are what the agent sees; `telemetry`, `otlp`,
//! `reporter`, `webhook`, `status` and `diagnose` are how it tells; `os` is where operating systems meet.
//!
//! Deliberately absent: a listening port; a Collector; a second place that knows what should run; state that is stored
//! though it could be computed.

pub mod cli;
pub mod collector;
pub mod commands;
pub mod exit;
pub mod http;
pub mod log;
pub mod observe;
pub mod os;
pub mod run;
pub mod settings;
pub mod source;
pub mod status;
pub mod store;
pub mod tell;
