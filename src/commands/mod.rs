//! The commands beside `run`, a file each.

pub mod diagnose;
mod tar;
pub mod validate;
