//! The commands beside `run`, a file each.

pub mod diagnose;
pub mod rollback;
pub mod service;
pub mod status;
mod tar;
pub mod validate;
