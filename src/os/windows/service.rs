//! The service manager: services registered, changed, started, stopped and removed, and this process run as one.

use std::io;
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_FAILED_SERVICE_CONTROLLER_CONNECT, ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DATABASE_LOCKED,
    ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_EXISTS, ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NEVER_STARTED,
    ERROR_SERVICE_NOT_ACTIVE, ERROR_SERVICE_SPECIFIC_ERROR, NO_ERROR,
};
use windows_sys::Win32::System::Services::*;

use super::files::data_dir;
use super::handles::{done, narrow, wide};
use super::manager::{register_handler, report_end};
use crate::os::{
    ServiceAccess, ServiceConfig, ServiceDefinition, ServiceEnd, ServiceError, ServiceErrorKind, ServiceProperty,
    ServiceState, ServiceStatus,
};

/// The service manager of this machine.
#[derive(Debug, Clone, Copy)]
pub struct ServiceManager(());

/// The service manager. Each Windows has one.
pub fn service_manager() -> Option<ServiceManager> {
    Some(ServiceManager(()))
}

/// The name of a service, and the agent's work as one.
type Body = (&'static str, Box<dyn FnOnce() -> u8 + Send>);

/// The work that starts once the service manager has started its thread.
static BODY: Mutex<Option<Body>> = Mutex::new(None);

impl ServiceManager {
    /// The directory for all files of a service.
    pub fn data_dir(&self) -> PathBuf {
        data_dir()
    }

    /// Runs this process as a service. `body` returns its exit status. Returns when the service has ended.
    ///
    /// # Errors
    ///
    /// [`ServiceErrorKind::NotStartedByManager`] if the service manager has not started this process.
    pub fn run(&self, name: &'static str, body: impl FnOnce() -> u8 + Send + 'static) -> Result<(), ServiceError> {
        if let Ok(mut kept) = BODY.lock() {
            *kept = Some((name, Box::new(body)));
        }
        let mut name = wide(name);
        let table = [
            SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(service_main) },
            SERVICE_TABLE_ENTRYW { lpServiceName: null_mut(), lpServiceProc: None },
        ];
        // SAFETY: the table ends with an empty entry and lives until the call returns, which is when the service has
        // ended.
        Ok(done(unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) })?)
    }

    /// Opens a service for a purpose.
    ///
    /// # Errors
    ///
    /// [`ServiceErrorKind::NotInstalled`] if there is none, or the error of Windows.
    pub fn open(&self, name: &str, access: ServiceAccess) -> Result<Service, ServiceError> {
        let access = match access {
            ServiceAccess::All => SERVICE_ALL_ACCESS,
            ServiceAccess::Start => SERVICE_START | SERVICE_QUERY_STATUS,
            ServiceAccess::Stop => SERVICE_STOP | SERVICE_QUERY_STATUS,
            ServiceAccess::Reload => SERVICE_PAUSE_CONTINUE,
            ServiceAccess::Look => SERVICE_QUERY_STATUS | SERVICE_QUERY_CONFIG,
            ServiceAccess::Config => SERVICE_QUERY_CONFIG,
        };
        let (manager, name) = (connect(SC_MANAGER_CONNECT)?, wide(name));
        // SAFETY: the manager's handle is open, the name ends with NUL.
        Ok(Service(Handle::of(unsafe { OpenServiceW(manager.0, name.as_ptr(), access) })?))
    }

    /// Registers a service that is started with Windows.
    ///
    /// # Errors
    ///
    /// [`ServiceErrorKind::Exists`] if there is one, or the error of Windows.
    pub fn create(&self, name: &str, definition: &ServiceDefinition<'_>) -> Result<Service, ServiceError> {
        let manager = connect(SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE)?;
        let (name, texts) = (wide(name), Texts::of(definition));
        // SAFETY: the handle is open, the texts end with NUL, the other pointers may be null.
        let made = Handle::of(unsafe {
            CreateServiceW(
                manager.0,
                name.as_ptr(),
                texts.display_name.as_ptr(),
                SERVICE_ALL_ACCESS,
                SERVICE_WIN32_OWN_PROCESS,
                SERVICE_AUTO_START,
                SERVICE_ERROR_NORMAL,
                texts.command_line.as_ptr(),
                null(),
                null_mut(),
                null(),
                texts.account(),
                null(),
            )
        });
        Ok(Service(made?))
    }
}

/// Windows calls this on a thread of its own, which becomes the agent's main thread.
unsafe extern "system" fn service_main(_: u32, _: *mut windows_sys::core::PWSTR) {
    let Some((name, body)) = BODY.lock().ok().and_then(|mut kept| kept.take()) else { return };
    if register_handler(name).is_err() {
        return;
    }
    report_end(body());
}

/// A service that was opened.
#[derive(Debug)]
pub struct Service(Handle);

impl Service {
    /// Changes the registration. A running service is not affected.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub fn change(&self, definition: &ServiceDefinition<'_>) -> Result<(), ServiceError> {
        let texts = Texts::of(definition);
        let start = if definition.keep_start { SERVICE_NO_CHANGE } else { SERVICE_AUTO_START };
        // SAFETY: the handle is open, the texts end with NUL, the other pointers may be null.
        Ok(done(unsafe {
            ChangeServiceConfigW(
                self.0.0,
                SERVICE_WIN32_OWN_PROCESS,
                start,
                SERVICE_ERROR_NORMAL,
                texts.command_line.as_ptr(),
                null(),
                null_mut(),
                null(),
                texts.account(),
                null(),
                texts.display_name.as_ptr(),
            )
        })?)
    }

    /// Sets a property.
    ///
    /// # Errors
    ///
    /// The error of Windows. An older one does not know all properties.
    pub fn set(&self, property: &ServiceProperty<'_>) -> Result<(), ServiceError> {
        match property {
            ServiceProperty::Description(text) => {
                let mut text = wide(text);
                let description = SERVICE_DESCRIPTIONW { lpDescription: text.as_mut_ptr() };
                self.configure(SERVICE_CONFIG_DESCRIPTION, &description)
            }
            ServiceProperty::Restarts { after, forget } => {
                let restart = |delay| SC_ACTION { Type: SC_ACTION_RESTART, Delay: milliseconds(delay) };
                let mut actions: Vec<SC_ACTION> = after.iter().map(restart).collect();
                let recovery = SERVICE_FAILURE_ACTIONSW {
                    dwResetPeriod: u32::try_from(forget.as_secs()).unwrap_or(u32::MAX),
                    lpRebootMsg: null_mut(),
                    lpCommand: null_mut(),
                    cActions: actions.len() as u32,
                    lpsaActions: actions.as_mut_ptr(),
                };
                self.configure(SERVICE_CONFIG_FAILURE_ACTIONS, &recovery)
            }
            ServiceProperty::DelayedStart(delayed) => {
                let delayed = SERVICE_DELAYED_AUTO_START_INFO { fDelayedAutostart: (*delayed).into() };
                self.configure(SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &delayed)
            }
            ServiceProperty::RestartAfterError => {
                let also = SERVICE_FAILURE_ACTIONS_FLAG { fFailureActionsOnNonCrashFailures: 1 };
                self.configure(SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &also)
            }
            ServiceProperty::ShutdownTime(limit) => {
                let patience = SERVICE_PRESHUTDOWN_INFO { dwPreshutdownTimeout: milliseconds(limit) };
                self.configure(SERVICE_CONFIG_PRESHUTDOWN_INFO, &patience)
            }
            ServiceProperty::OwnIdentity => {
                let sid = SERVICE_SID_INFO { dwServiceSidType: SERVICE_SID_TYPE_UNRESTRICTED };
                self.configure(SERVICE_CONFIG_SERVICE_SID_INFO, &sid)
            }
        }
    }

    fn configure<T>(&self, what: u32, value: &T) -> Result<(), ServiceError> {
        // SAFETY: the handle is open, and the structure is the one that `what` names.
        Ok(done(unsafe { ChangeServiceConfig2W(self.0.0, what, std::ptr::from_ref(value).cast()) })?)
    }

    /// The registration of the service.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub fn config(&self) -> Result<ServiceConfig, ServiceError> {
        // The largest size that Windows allows; u64 gives the alignment.
        let mut buffer = vec![0_u64; 1024];
        let mut needed = 0;
        // SAFETY: the handle is open, the size is that of the buffer, and the texts of the structure are in the buffer.
        unsafe {
            let config = buffer.as_mut_ptr().cast::<QUERY_SERVICE_CONFIGW>();
            done(QueryServiceConfigW(self.0.0, config, 8 * 1024, &mut needed))?;
            let read = |text: *mut u16| {
                let length = if text.is_null() { 0 } else { (0..).take_while(|at| *text.add(*at) != 0).count() };
                narrow(&(0..length).map(|at| *text.add(at)).collect::<Vec<u16>>())
            };
            Ok(ServiceConfig {
                command_line: read((*config).lpBinaryPathName),
                account: read((*config).lpServiceStartName),
                disabled: (*config).dwStartType == SERVICE_DISABLED,
            })
        }
    }

    /// The status of the service.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub fn status(&self) -> Result<ServiceStatus, ServiceError> {
        let mut status = SERVICE_STATUS_PROCESS::default();
        let (size, mut needed) = (size_of_val(&status) as u32, 0);
        // SAFETY: the handle is open, and the size is that of the structure.
        done(unsafe {
            QueryServiceStatusEx(self.0.0, SC_STATUS_PROCESS_INFO, (&raw mut status).cast(), size, &mut needed)
        })?;
        let state = match status.dwCurrentState {
            SERVICE_RUNNING => ServiceState::Running,
            SERVICE_STOPPED => ServiceState::Stopped,
            SERVICE_START_PENDING => ServiceState::Starting,
            SERVICE_STOP_PENDING => ServiceState::Stopping,
            _ => ServiceState::Other,
        };
        let end = match (status.dwWin32ExitCode, status.dwServiceSpecificExitCode) {
            (NO_ERROR, _) => ServiceEnd::Asked,
            (ERROR_SERVICE_NEVER_STARTED, _) => ServiceEnd::NeverStarted,
            (ERROR_SERVICE_SPECIFIC_ERROR, code) => ServiceEnd::ExitStatus(code),
            (code, _) => ServiceEnd::Error(io::Error::from_raw_os_error(code as i32)),
        };
        Ok(ServiceStatus { state, pid: status.dwProcessId, end })
    }

    /// Requests a start without waiting for it.
    ///
    /// # Errors
    ///
    /// [`ServiceErrorKind::AlreadyRunning`], [`ServiceErrorKind::Busy`], or the error of Windows.
    pub fn start(&self) -> Result<(), ServiceError> {
        // SAFETY: the handle is open; no arguments.
        Ok(done(unsafe { StartServiceW(self.0.0, 0, null()) })?)
    }

    /// Requests a stop without waiting for it.
    ///
    /// # Errors
    ///
    /// [`ServiceErrorKind::NotRunning`], or the error of Windows.
    pub fn stop(&self) -> Result<(), ServiceError> {
        self.control(SERVICE_CONTROL_STOP)
    }

    /// Makes the service read its settings again.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub fn reload(&self) -> Result<(), ServiceError> {
        self.control(SERVICE_CONTROL_PARAMCHANGE)
    }

    fn control(&self, control: u32) -> Result<(), ServiceError> {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the handle is open, the structure lives until the call returns.
        Ok(done(unsafe { ControlService(self.0.0, control, &mut status) })?)
    }

    /// Removes the service as soon as the last program closes it.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub fn delete(&self) -> Result<(), ServiceError> {
        // SAFETY: the handle is open.
        Ok(done(unsafe { DeleteService(self.0.0) })?)
    }
}

/// A handle of the manager itself or of a service.
#[derive(Debug)]
struct Handle(SC_HANDLE);

impl Handle {
    fn of(handle: SC_HANDLE) -> io::Result<Self> {
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(handle)) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing uses it after this.
        unsafe { CloseServiceHandle(self.0) };
    }
}

fn connect(access: u32) -> io::Result<Handle> {
    // SAFETY: both pointers may be null: this machine, its default database.
    Handle::of(unsafe { OpenSCManagerW(null(), null(), access) })
}

/// The texts of a definition in UTF-16.
struct Texts {
    display_name: Vec<u16>,
    command_line: Vec<u16>,
    account: Option<Vec<u16>>,
}

impl Texts {
    fn of(definition: &ServiceDefinition<'_>) -> Self {
        Self {
            display_name: wide(definition.display_name),
            command_line: wide(definition.command_line),
            account: definition.account.map(wide),
        }
    }

    /// The account, or null to keep the current one.
    fn account(&self) -> *const u16 {
        self.account.as_ref().map_or(null(), |name| name.as_ptr())
    }
}

fn milliseconds(time: &Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl From<io::Error> for ServiceError {
    fn from(cause: io::Error) -> Self {
        let kind = match cause.raw_os_error().unwrap_or_default() as u32 {
            ERROR_SERVICE_DOES_NOT_EXIST => ServiceErrorKind::NotInstalled,
            ERROR_SERVICE_EXISTS => ServiceErrorKind::Exists,
            ERROR_SERVICE_MARKED_FOR_DELETE => ServiceErrorKind::BeingRemoved,
            ERROR_SERVICE_ALREADY_RUNNING => ServiceErrorKind::AlreadyRunning,
            ERROR_SERVICE_NOT_ACTIVE => ServiceErrorKind::NotRunning,
            ERROR_SERVICE_DATABASE_LOCKED => ServiceErrorKind::Busy,
            ERROR_FAILED_SERVICE_CONTROLLER_CONNECT => ServiceErrorKind::NotStartedByManager,
            _ if cause.kind() == io::ErrorKind::PermissionDenied => ServiceErrorKind::Denied,
            _ => ServiceErrorKind::Other,
        };
        Self { kind, cause }
    }
}
