//! otelet: a very small agent that keeps an existing OpenTelemetry Collector running on its newest good configuration.
//!
//! The map, from the top down. A room uses only rooms below it.
//!
//! - `cli` parses the command line, and `commands` has a file for each verb.
//! - `run` is the event loop. It gives `otelet_core::decide` each event with the time, and performs the actions.
//! - `tell` sends metrics, events, reports and alerts.
//! - `source` asks for configs, `collector` handles the child, `observe` looks at the host, its containers and the checks.
//! - `status` is the agent's state in a file, for people and scripts.
//! - `settings` reads the settings; `store` keeps the state directory; `http` is the client of all servers.
//! - `log` writes the log; `exit` has the exit statuses; `os` hides the differences between operating systems.
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
