//! The commands other than `run`, one file each.

pub mod diagnose;
pub mod service;
mod tar;
pub mod validate;
