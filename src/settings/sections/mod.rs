//! The sections: a file each, with its rows, its settings and how they are read.

use super::schema::Schema;

pub(crate) mod alerts;
pub(crate) mod checks;
pub(crate) mod collector;
pub(crate) mod config;
pub(crate) mod docker;
pub(crate) mod export;
pub(crate) mod general;
pub(crate) mod host;
pub(crate) mod kloudmate;
pub(crate) mod report;
pub(crate) mod webhook;

/// Every setting, in the order in which help shows them.
pub const SCHEMA: Schema = Schema(&[
    config::ROWS,
    collector::ROWS,
    report::ROWS,
    host::ROWS,
    export::ROWS,
    checks::ROWS,
    alerts::ROWS,
    webhook::ROWS,
    docker::ROWS,
    general::ROWS,
]);
