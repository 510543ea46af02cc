//! The types that events and actions carry, and the report. They decide nothing and import nothing above them.

pub mod alert;
pub mod check;
pub mod clock;
pub mod collector;
pub mod delivery;
pub mod docker;
pub mod export;
pub mod failure;
pub mod flapping;
pub mod hash;
pub mod message;
pub mod record;
pub mod report;
pub mod source;
pub mod time;
