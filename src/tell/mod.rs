//! What the agent tells: OTLP, plain reports, alerts to a webhook, and the file in which alerts outlive a restart.

pub mod alerts;
mod destination;
pub mod otlp;
pub mod report;
pub mod webhook;
