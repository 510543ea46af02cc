//! Telemetry and messages that the agent sends: OTLP, plain reports, alerts to a webhook, and the file that stores
//! alerts over a restart.

pub mod alerts;
mod destination;
pub mod otlp;
pub mod report;
pub mod webhook;
