//! The tools of the promises: hosts, servers, engines, machines and clusters to try the agent on. No promise is in
//! here.

#[cfg(unix)]
pub mod cluster;
pub mod engine;
pub mod host;
#[cfg(unix)]
pub mod machine;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
pub mod system;
pub mod tap;

pub use otelet_testkit::server;
