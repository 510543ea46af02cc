//! The commands other than `run`, one file each.

pub mod diagnose;
pub mod doctor;
pub mod rollback;
pub mod service;
pub mod status;
mod tar;
pub mod validate;
