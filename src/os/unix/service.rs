//! No service manager that the agent registers with: on Unix a package brings the unit or the script of a service.

use std::path::PathBuf;

use crate::os::{ServiceAccess, ServiceConfig, ServiceDefinition, ServiceError, ServiceProperty, ServiceStatus};

// Without a value of this type no code for services is linked. It is private, since the compiler warns of unreachable code
// wherever a type is seen to have no value.
#[derive(Debug, Clone, Copy)]
enum Never {}

/// The service manager of Windows, which is not here.
#[derive(Debug, Clone, Copy)]
pub struct ServiceManager(Never);

/// A service of it.
#[derive(Debug)]
pub struct Service(Never);

/// None: there is no manager to register with.
pub fn service_manager() -> Option<ServiceManager> {
    None
}

impl ServiceManager {
    /// Where a service keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        match self.0 {}
    }

    /// Runs this process as a service.
    pub fn run(&self, _: &'static str, _: impl FnOnce() -> u8 + Send + 'static) -> Result<(), ServiceError> {
        match self.0 {}
    }

    /// Opens a service.
    pub fn open(&self, _: &str, _: ServiceAccess) -> Result<Service, ServiceError> {
        match self.0 {}
    }

    /// Registers a service.
    pub fn create(&self, _: &str, _: &ServiceDefinition<'_>) -> Result<Service, ServiceError> {
        match self.0 {}
    }
}

impl Service {
    /// Registers it anew.
    pub fn change(&self, _: &ServiceDefinition<'_>) -> Result<(), ServiceError> {
        match self.0 {}
    }

    /// Sets a property.
    pub fn set(&self, _: &ServiceProperty<'_>) -> Result<(), ServiceError> {
        match self.0 {}
    }

    /// How it is registered.
    pub fn config(&self) -> Result<ServiceConfig, ServiceError> {
        match self.0 {}
    }

    /// How it is.
    pub fn status(&self) -> Result<ServiceStatus, ServiceError> {
        match self.0 {}
    }

    /// Asks for a start.
    pub fn start(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }

    /// Asks for a stop.
    pub fn stop(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }

    /// Has it read its settings.
    pub fn reload(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }

    /// Removes it.
    pub fn delete(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }
}
