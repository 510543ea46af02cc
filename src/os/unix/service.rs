//! The service manager of Windows, without values on Unix: here a package brings the unit or the script of a service.

use std::path::PathBuf;

use crate::os::{ServiceAccess, ServiceConfig, ServiceDefinition, ServiceError, ServiceProperty, ServiceStatus};

// This type has no values, so no code for services is linked. It is private, since the compiler warns of unreachable
// code wherever it sees that a type has no value.
#[derive(Debug, Clone, Copy)]
enum Never {}

/// The service manager of Windows, which does not exist here.
#[derive(Debug, Clone, Copy)]
pub struct ServiceManager(Never);

#[derive(Debug)]
pub struct Service(Never);

/// Always none: there is no manager to register with.
pub fn service_manager() -> Option<ServiceManager> {
    None
}

impl ServiceManager {
    /// The directory for all files of a service.
    pub fn data_dir(&self) -> PathBuf {
        match self.0 {}
    }

    /// Runs this process as a service.
    pub fn run(&self, _: &'static str, _: impl FnOnce() -> u8 + Send + 'static) -> Result<(), ServiceError> {
        match self.0 {}
    }

    pub fn open(&self, _: &str, _: ServiceAccess) -> Result<Service, ServiceError> {
        match self.0 {}
    }

    pub fn create(&self, _: &str, _: &ServiceDefinition<'_>) -> Result<Service, ServiceError> {
        match self.0 {}
    }
}

impl Service {
    pub fn change(&self, _: &ServiceDefinition<'_>) -> Result<(), ServiceError> {
        match self.0 {}
    }

    pub fn set(&self, _: &ServiceProperty<'_>) -> Result<(), ServiceError> {
        match self.0 {}
    }

    pub fn config(&self) -> Result<ServiceConfig, ServiceError> {
        match self.0 {}
    }

    pub fn status(&self) -> Result<ServiceStatus, ServiceError> {
        match self.0 {}
    }

    pub fn start(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }

    pub fn stop(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }

    pub fn reload(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }

    pub fn delete(&self) -> Result<(), ServiceError> {
        match self.0 {}
    }
}
