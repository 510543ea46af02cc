//! The requests to a service manager and its answers, as types for all systems. Only Windows has a manager that the
//! agent registers with; elsewhere `service_manager` returns none.

use std::io;
use std::time::Duration;

/// A service to be registered.
#[derive(Debug)]
pub struct ServiceDefinition<'a> {
    /// The name that people see in a list.
    pub display_name: &'a str,
    /// The program and its arguments, quoted.
    pub command_line: &'a str,
    /// The account that it runs as. None keeps the current one; a new service gets LocalSystem.
    pub account: Option<&'a str>,
    /// Keeps a disabled service disabled. A new service is always started with the system.
    pub keep_start: bool,
}

/// How a service is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The program and its arguments, quoted.
    pub command_line: String,
    /// The account that it runs as.
    pub account: String,
    /// Whether it is disabled, so that it cannot be started.
    pub disabled: bool,
}

/// A property of a service beyond its command line.
#[derive(Debug)]
pub enum ServiceProperty<'a> {
    Description(&'a str),
    /// It is restarted after these times when it fails. After `forget` without a failure, the next one is the first
    /// again.
    Restarts {
        /// The time before each restart.
        after: &'a [Duration],
        /// The time without a failure.
        forget: Duration,
    },
    /// Whether it is started some time after the system.
    DelayedStart(bool),
    /// It is restarted also when it ends with an error, not only when it is killed.
    RestartAfterError,
    /// The time that it gets when the system shuts down.
    ShutdownTime(Duration),
    /// An identity that it shares with no other service.
    OwnIdentity,
}

/// The purpose that a service is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAccess {
    /// All purposes below, and to change and remove it.
    All,
    /// Start it and read its status.
    Start,
    /// Stop it and read its status.
    Stop,
    /// Make it read its settings again.
    Reload,
    /// Read its status and its registration.
    Look,
    /// Read its registration.
    Config,
}

/// The status of a service.
#[derive(Debug)]
pub struct ServiceStatus {
    pub state: ServiceState,
    /// The pid of its process, if it runs.
    pub pid: u32,
    /// Why it does not run.
    pub end: ServiceEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    Running,
    Stopped,
    /// It reports that it is starting.
    Starting,
    /// It reports that it is stopping.
    Stopping,
    /// Paused, or on its way there.
    Other,
}

/// Why a service does not run.
#[derive(Debug)]
pub enum ServiceEnd {
    /// It was asked to stop, or ended without an error.
    Asked,
    /// It was not started since the system started.
    NeverStarted,
    /// It ended with this exit status.
    ExitStatus(u32),
    /// The system reports this error for it.
    Error(io::Error),
}

/// Why a service manager refuses a request.
#[derive(Debug)]
pub struct ServiceError {
    /// The kind, for a caller that handles it.
    pub kind: ServiceErrorKind,
    /// The error of the system, with its message.
    pub cause: io::Error,
}

/// The kinds of refusals that a caller distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceErrorKind {
    /// No service has this name.
    NotInstalled,
    /// A service has this name already.
    Exists,
    /// It is removed as soon as the last program closes it.
    BeingRemoved,
    AlreadyRunning,
    NotRunning,
    /// Another program changes services, as the system does while it starts.
    Busy,
    /// This process was not started by the service manager.
    NotStartedByManager,
    /// The user may not do it.
    Denied,
    Other,
}
