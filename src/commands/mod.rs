//! The commands beside `run`, a file each.

pub mod diagnose;
pub mod service;
pub mod status;
mod tar;
pub use crate::run::trial as validate;
