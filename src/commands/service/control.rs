//! The service as it is: started, stopped, asked for, and how it was registered.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::os::{
    Service, ServiceAccess, ServiceConfig, ServiceEnd, ServiceError, ServiceErrorKind, ServiceManager, ServiceState,
    ServiceStatus,
};

/// The name of the service, for the service manager and for people.
pub const NAME: &str = "otelet";

/// Stands between the program and the flags of a service.
pub const VERB: &str = " run --service";

/// How long a service may take to start, and to stop: the latter is more than any `collector.stop_timeout`.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(660);

/// Time between looks at a service that is on its way.
const LOOK: Duration = Duration::from_millis(100);

/// Where a service logs to.
pub fn log_path(manager: ServiceManager) -> PathBuf {
    manager.data_dir().join("log").join("otelet.log")
}

/// Starts it, and waits until it runs.
pub fn start(manager: ServiceManager) -> Result<String, String> {
    let service = manager.open(NAME, ServiceAccess::Start).map_err(explain)?;
    let limit = Instant::now() + START_LIMIT;
    loop {
        match service.start() {
            Err(error) if error.kind == ServiceErrorKind::AlreadyRunning => break,
            // While the system starts.
            Err(error) if error.kind == ServiceErrorKind::Busy && Instant::now() < limit => std::thread::sleep(LOOK),
            started => break started.map_err(explain)?,
        }
    }
    let status = settled(manager, &service, START_LIMIT)?;
    match status.state {
        ServiceState::Running => Ok(format!("service {NAME} runs: pid {}", status.pid)),
        _ => {
            let log = log_path(manager);
            Err(format!("service {NAME} has ended at once: {}; see {}", how(&status.end), log.display()))
        }
    }
}

/// Stops it, and waits until the collector has ended.
pub fn stop(manager: ServiceManager) -> Result<String, String> {
    let service = manager.open(NAME, ServiceAccess::Stop).map_err(explain)?;
    stop_and_wait(manager, &service)?;
    Ok(format!("service {NAME} is stopped"))
}

pub fn stop_and_wait(manager: ServiceManager, service: &Service) -> Result<(), String> {
    // One that is just starting takes no controls.
    if settled(manager, service, START_LIMIT)?.state == ServiceState::Running {
        match service.stop() {
            Err(error) if error.kind == ServiceErrorKind::NotRunning => {}
            told => told.map_err(explain)?,
        }
    }
    let limit = Instant::now() + STOP_LIMIT;
    loop {
        let state = service.status().map_err(explain)?.state;
        if state == ServiceState::Stopped {
            return Ok(());
        }
        if Instant::now() > limit {
            return Err(format!("service {NAME} is still {}", word(state)));
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until the service is in a state that lasts.
fn settled(manager: ServiceManager, service: &Service, limit: Duration) -> Result<ServiceStatus, String> {
    let limit = Instant::now() + limit;
    loop {
        let status = service.status().map_err(explain)?;
        match status.state {
            ServiceState::Running | ServiceState::Stopped => return Ok(status),
            state if Instant::now() > limit => {
                let log = log_path(manager);
                return Err(format!("service {NAME} is still {}; see {}", word(state), log.display()));
            }
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// Stops it if it runs, and starts it.
pub fn restart(manager: ServiceManager) -> Result<String, String> {
    if registered(manager).is_some_and(|config| config.disabled) {
        return Ok(format!("service {NAME} is disabled, and stays stopped"));
    }
    stop(manager)?;
    start(manager)
}

/// Has it read its settings again.
pub fn reload(manager: ServiceManager) -> Result<String, String> {
    let service = manager.open(NAME, ServiceAccess::Reload).map_err(explain)?;
    service.reload().map_err(explain)?;
    Ok(format!("service {NAME} reads its settings again; what it finds is in {}", log_path(manager).display()))
}

/// Whether it runs, and as what, in words and as a yes or no.
pub fn status(manager: ServiceManager) -> Result<(String, bool), String> {
    let service = manager.open(NAME, ServiceAccess::Look).map_err(explain)?;
    let status = service.status().map_err(explain)?;
    let line =
        service.config().map_or_else(explain, |config| format!("{}\nas {}", config.command_line, config.account));
    Ok(match status.state {
        ServiceState::Running => (format!("service {NAME} runs: pid {}\n{line}", status.pid), true),
        state => (format!("service {NAME} is {}: {}\n{line}", word(state), how(&status.end)), false),
    })
}

/// How the service is registered. None where there is none, or where it cannot be asked for.
pub fn registered(manager: ServiceManager) -> Option<ServiceConfig> {
    manager.open(NAME, ServiceAccess::Config).ok()?.config().ok()
}

/// The flags that the service is registered with, if there is one.
pub fn registered_flags(manager: Option<ServiceManager>) -> String {
    manager.and_then(registered).map(|config| flags_of(&config).to_owned()).unwrap_or_default()
}

/// The flags of a service as they stand in its command line, with the space before them.
pub fn flags_of(config: &ServiceConfig) -> &str {
    config.command_line.split_once(VERB).map_or("", |(_, flags)| flags)
}

/// Why the service manager does not do it, and the way out.
pub fn explain(ServiceError { kind, cause }: ServiceError) -> String {
    match kind {
        ServiceErrorKind::NotInstalled => format!("service {NAME} is not installed; `otelet service install` does it"),
        ServiceErrorKind::BeingRemoved => {
            format!("service {NAME} is being removed; close what shows it, such as the list of services, and try again")
        }
        ServiceErrorKind::Denied => {
            format!("the service manager does not let you: {cause}; run this as an administrator")
        }
        ServiceErrorKind::Exists
        | ServiceErrorKind::AlreadyRunning
        | ServiceErrorKind::NotRunning
        | ServiceErrorKind::Busy
        | ServiceErrorKind::NotStartedByManager
        | ServiceErrorKind::Other => format!("the service manager says: {cause}"),
    }
}

fn word(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Running => "running",
        ServiceState::Stopped => "stopped",
        ServiceState::Starting => "starting",
        ServiceState::Stopping => "stopping",
        ServiceState::Other => "in another state",
    }
}

/// Why it does not run.
fn how(end: &ServiceEnd) -> String {
    match end {
        ServiceEnd::Asked => "asked to".into(),
        ServiceEnd::NeverStarted => "not started since the system was".into(),
        ServiceEnd::ExitStatus(code) => format!("exit status {code}"),
        ServiceEnd::Error(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_service_are_kept_as_they_were_written() {
        let flags = |line: &str| {
            let config = ServiceConfig { command_line: line.into(), account: String::new(), disabled: false };
            flags_of(&config).to_owned()
        };
        assert_eq!(
            flags(r#""C:\a b\otelet.exe" run --service "--settings=C:\x y.yaml" --log-level=debug"#),
            r#" "--settings=C:\x y.yaml" --log-level=debug"#
        );
        assert_eq!(flags(r"C:\otelet.exe run --service"), "");
        assert_eq!(flags(r"C:\somebody\else.exe"), "");
    }

    #[test]
    fn a_refusal_says_the_way_out_and_an_end_its_reason() {
        let says = |kind| explain(ServiceError { kind, cause: std::io::Error::other("no") });
        assert_eq!(
            says(ServiceErrorKind::NotInstalled),
            "service otelet is not installed; `otelet service install` does it"
        );
        assert_eq!(
            says(ServiceErrorKind::BeingRemoved),
            "service otelet is being removed; close what shows it, such as the list of services, and try again"
        );
        assert_eq!(
            says(ServiceErrorKind::Denied),
            "the service manager does not let you: no; run this as an administrator"
        );
        assert_eq!(says(ServiceErrorKind::NotRunning), "the service manager says: no");
        assert_eq!(how(&ServiceEnd::ExitStatus(78)), "exit status 78");
        assert_eq!(how(&ServiceEnd::NeverStarted), "not started since the system was");
        assert_eq!(how(&ServiceEnd::Asked), "asked to");
    }
}
