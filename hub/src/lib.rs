//! otelet-hub: shows otelet agents, gives them their configs and asks no cloud for anything.

pub mod agents;
pub mod clock;
pub mod configs;
pub mod hub;
pub mod serve;
pub mod store;

/// All that the hub serves.
pub fn router(hub: std::sync::Arc<hub::Hub>) -> axum::Router {
    agents::router(hub)
}
