//! Questions to a service manager and its answers, as types that each system has. `service_manager` says whether there is a
//! manager that the agent registers with: only Windows has one.

use std::io;
use std::time::Duration;

/// A service to be registered.
#[derive(Debug)]
pub struct ServiceDefinition<'a> {
    /// The name that people see in a list.
    pub display_name: &'a str,
    /// Program and arguments, quoted.
    pub command_line: &'a str,
    /// The account that it runs as. None leaves the one that it has; a new service gets LocalSystem.
    pub account: Option<&'a str>,
    /// Leaves a service disabled that is. A new service is started with the system in any case.
    pub keep_start: bool,
}

/// How a service is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Program and arguments, quoted.
    pub command_line: String,
    /// The account that it runs as.
    pub account: String,
    /// Whether nobody can start it.
    pub disabled: bool,
}

/// A property of a service beyond its command line.
#[derive(Debug)]
pub enum ServiceProperty<'a> {
    /// A sentence for people.
    Description(&'a str),
    /// Started again after these times when it fails. A failure counts as the first one again after `forget`.
    Restarts {
        /// The time before each restart.
        after: &'a [Duration],
        /// The time without a failure.
        forget: Duration,
    },
    /// Whether it is started some time after the system.
    DelayedStart(bool),
    /// Restarted also when it ends by itself with an error, and not only when it is killed.
    RestartAfterError,
    /// The time that it has when the system goes down.
    ShutdownTime(Duration),
    /// An identity that it shares with no other service.
    OwnIdentity,
}

/// The purpose that a service is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAccess {
    /// All of the below, a change and a removal.
    All,
    /// Start it and see how it is.
    Start,
    /// Stop it and see how it is.
    Stop,
    /// Have it read its settings.
    Reload,
    /// See how it is and how it is registered.
    Look,
    /// See how it is registered.
    Config,
}

/// How a service is.
#[derive(Debug)]
pub struct ServiceStatus {
    /// Whether it runs.
    pub state: ServiceState,
    /// Its process, if it runs.
    pub pid: u32,
    /// Why it does not run.
    pub end: ServiceEnd,
}

/// Whether a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs.
    Running,
    /// It does not run.
    Stopped,
    /// It says that it starts.
    Starting,
    /// It says that it stops.
    Stopping,
    /// Paused, or on its way there.
    Other,
}

/// Why a service does not run.
#[derive(Debug)]
pub enum ServiceEnd {
    /// It was asked to stop, or ended without an error.
    Asked,
    /// It was not started since the system was.
    NeverStarted,
    /// It has ended with this status.
    ExitStatus(u32),
    /// The system gives this error for it.
    Error(io::Error),
}

/// Why a service manager does not do what it is asked.
#[derive(Debug)]
pub struct ServiceError {
    /// The kind, for whoever can do something about it.
    pub kind: ServiceErrorKind,
    /// The error of the system, with its words.
    pub cause: io::Error,
}

/// The refusals that a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceErrorKind {
    /// No service has this name.
    NotInstalled,
    /// A service has this name already.
    Exists,
    /// It goes when the last program has closed it.
    BeingRemoved,
    /// It runs already.
    AlreadyRunning,
    /// It does not run.
    NotRunning,
    /// Somebody else changes services, as the system does while it starts.
    Busy,
    /// This process was not started by the service manager.
    NotTheManagers,
    /// The user may not do it.
    Denied,
    /// Something else.
    Other,
}
