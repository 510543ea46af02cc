//! otelet-hub: shows otelet agents, gives them their configs and asks no cloud for anything.

pub mod store;
