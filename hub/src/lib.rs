//! otelet-hub: shows otelet agents, gives them their configs and asks no cloud for anything.
//!
//! `agents` turns what agents say into facts, `hub` is the table in memory and its only writer, `otelet-hub-decide`
//! decides, `store` keeps, `web` and `auth` are the side of people, `serve` accepts connections.

pub mod agents;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod configs;
pub mod hub;
pub mod serve;
pub mod store;
pub mod tls;
pub mod web;

/// All that the hub serves.
pub fn router(app: web::App) -> axum::Router {
    agents::router(std::sync::Arc::clone(&app.hub)).merge(web::router(app))
}
