//! The registered service: start, stop, restart, reload, and status.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::os::{
    Service, ServiceAccess, ServiceConfig, ServiceEnd, ServiceError, ServiceErrorKind, ServiceManager, ServiceState,
    ServiceStatus,
};

/// The name of the service, for the service manager and for people.
pub const NAME: &str = "otelet";

/// The text between the program and the flags of a service's command line.
pub const VERB: &str = " run --service";

/// The time limits for a start and for a stop. The second is longer than any `collector.stop_timeout`.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(660);

/// The time between two checks of a service that starts or stops.
const LOOK: Duration = Duration::from_millis(100);

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
            // The manager is busy while the system starts.
            Err(error) if error.kind == ServiceErrorKind::Busy && Instant::now() < limit => std::thread::sleep(LOOK),
            started => break started.map_err(explain)?,
        }
    }
    let status = wait_until_settled(manager, &service, START_LIMIT)?;
    match status.state {
        ServiceState::Running => Ok(format!("service {NAME} runs: pid {}", status.pid)),
        _ => {
            let log = log_path(manager);
            Err(format!("service {NAME} has ended at once: {}; see {}", end_reason(&status.end), log.display()))
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
    // A service that is starting accepts no controls.
    if wait_until_settled(manager, service, START_LIMIT)?.state == ServiceState::Running {
        match service.stop() {
            Err(error) if error.kind == ServiceErrorKind::NotRunning => {}
            stopped => stopped.map_err(explain)?,
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

/// Waits until the service runs or is stopped.
fn wait_until_settled(manager: ServiceManager, service: &Service, limit: Duration) -> Result<ServiceStatus, String> {
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

/// Makes it read its settings again.
pub fn reload(manager: ServiceManager) -> Result<String, String> {
    let service = manager.open(NAME, ServiceAccess::Reload).map_err(explain)?;
    service.reload().map_err(explain)?;
    Ok(format!("service {NAME} reads its settings again; see the result in {}", log_path(manager).display()))
}

/// A description of the service, and whether it runs.
pub fn status(manager: ServiceManager) -> Result<(String, bool), String> {
    let service = manager.open(NAME, ServiceAccess::Look).map_err(explain)?;
    let status = service.status().map_err(explain)?;
    let line =
        service.config().map_or_else(explain, |config| format!("{}\nas {}", config.command_line, config.account));
    Ok(match status.state {
        ServiceState::Running => (format!("service {NAME} runs: pid {}\n{line}", status.pid), true),
        state => (format!("service {NAME} is {}: {}\n{line}", word(state), end_reason(&status.end)), false),
    })
}

/// The registration of the service. None if there is no service, or if it cannot be read.
pub fn registered(manager: ServiceManager) -> Option<ServiceConfig> {
    manager.open(NAME, ServiceAccess::Config).ok()?.config().ok()
}

/// The flags that the service is registered with, if there is one.
pub fn registered_flags(manager: Option<ServiceManager>) -> String {
    manager.and_then(registered).map(|config| flags_of(&config).to_owned()).unwrap_or_default()
}

/// The flags in the command line of a service, with the space before them.
pub fn flags_of(config: &ServiceConfig) -> &str {
    config.command_line.split_once(VERB).map_or("", |(_, flags)| flags)
}

/// The reason why the service manager refused a request, and the way out.
pub fn explain(ServiceError { kind, cause }: ServiceError) -> String {
    match kind {
        ServiceErrorKind::NotInstalled => format!("service {NAME} is not installed; `otelet service install` does it"),
        ServiceErrorKind::BeingRemoved => {
            format!(
                "service {NAME} is being removed; close the programs that show it, such as the list of services, and try again"
            )
        }
        ServiceErrorKind::Denied => {
            format!("the service manager denies it: {cause}; run this as an administrator")
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

/// Why a service does not run.
fn end_reason(end: &ServiceEnd) -> String {
    match end {
        ServiceEnd::Asked => "asked to".into(),
        ServiceEnd::NeverStarted => "not started since the system started".into(),
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
    fn a_refusal_names_the_way_out_and_an_end_its_reason() {
        let says = |kind| explain(ServiceError { kind, cause: std::io::Error::other("no") });
        assert_eq!(
            says(ServiceErrorKind::NotInstalled),
            "service otelet is not installed; `otelet service install` does it"
        );
        assert_eq!(
            says(ServiceErrorKind::BeingRemoved),
            "service otelet is being removed; close the programs that show it, such as the list of services, and try again"
        );
        assert_eq!(says(ServiceErrorKind::Denied), "the service manager denies it: no; run this as an administrator");
        assert_eq!(says(ServiceErrorKind::NotRunning), "the service manager says: no");
        assert_eq!(end_reason(&ServiceEnd::ExitStatus(78)), "exit status 78");
        assert_eq!(end_reason(&ServiceEnd::NeverStarted), "not started since the system started");
        assert_eq!(end_reason(&ServiceEnd::Asked), "asked to");
    }
}
