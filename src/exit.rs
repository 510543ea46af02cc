//! Exit statuses. The numbers from 64 follow sysexits(3).

/// Asked to stop, or the answer is yes.
pub const OK: u8 = 0;
/// The answer is no: `validate` refused the config, `status --healthy` found no healthy collector, `doctor` found something
/// bad.
pub const NO: u8 = 1;
/// A bad flag or command: `EX_USAGE`.
pub const USAGE: u8 = 64;
/// A bug in the agent: `EX_SOFTWARE`.
pub const BUG: u8 = 70;
/// Neither directory for the state can be made: `EX_CANTCREAT`.
pub const CANNOT_CREATE: u8 = 73;
/// The settings cannot be used: `EX_CONFIG`.
pub const SETTINGS: u8 = 78;
