//! The commands beside `run`, a file each.

pub mod diagnose;
pub mod service;
mod tar;
pub mod validate;
