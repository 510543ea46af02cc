//! The agent as a Windows service: `otelet service ...` for people, `otelet run --service` for the service manager.
//!
//! Whether it is a service is never guessed: the command line that is registered says so.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_FAILED_SERVICE_CONTROLLER_CONNECT, ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DATABASE_LOCKED,
    ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_EXISTS, ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NOT_ACTIVE,
};
use windows_sys::Win32::System::Services::*;

use super::files::{data_dir, keep_private, private_dir};
use super::handles::{done, narrow, wide};
use super::manager::{meet_manager, take_leave};
use super::pipes::is;
use super::setup;

/// What the service is called by the service manager, and by people.
const NAME: &str = "otelet";
const DISPLAY: &str = "otelet, the OpenTelemetry Collector's agent";
const DESCRIPTION: &str = "Keeps an OpenTelemetry Collector running on its newest good configuration.";

/// How long a service may take to start, and to stop: the latter is more than any `collector.stop_timeout`.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(660);

/// Time between looks at a service that is on its way.
const LOOK: Duration = Duration::from_millis(100);

/// What people are told.
const USAGE: &str = "\
Usage: otelet service install [--account=NAME | --keep] [--settings=PATH] [--flag=value ...]
       otelet service configure [--flag=value ...] [--attributes=NAME=VALUE,...] | --undo
       otelet service uninstall [--purge]
       otelet service start | stop | restart | reload | status

  install    Register the service, or register it anew: started with Windows, restarted when it fails. The flags are
             those of `otelet run`. --account is the account that it runs as: LocalSystem if nothing is said, else
             \"NT SERVICE\\otelet\", \"NT AUTHORITY\\LocalService\" or another one that has no password.
             --keep leaves the account and the flags of one that is registered already, and whether it is disabled.
  configure  Write these settings into the settings file, and leave the rest of it as it is; refuse what the agent would.
             A comma in a value of an attribute is written twice. --undo takes the last time back.
  uninstall  Stop the service and forget it. State and settings stay, unless --purge is given.
  start      Start it, and wait until it runs.
  stop       Stop it, and wait until the collector has ended.
  restart    Stop it if it runs, and start it. One that is disabled stays stopped.
  reload     Have it read its settings again.
  status     Print whether it runs; exit with 0 if it does, else with 1.
";

/// The command line without the name of the program.
pub type Arguments = std::vec::IntoIter<OsString>;

/// Answers a command line with an exit status.
type Answer = fn(Arguments) -> u8;

/// What is to be run, and with what, once the service manager has started its thread.
static SERVICE: Mutex<Option<(Answer, Vec<OsString>)>> = Mutex::new(None);

/// Answers the command line: what concerns the service here, everything else by `answer`.
pub fn serve(answer: Answer) -> u8 {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "service") {
        return command(arguments.split_off(1));
    }
    let before = arguments.len();
    arguments.retain(|argument| argument != "--service");
    if arguments.len() == before {
        let asked_for_help =
            arguments.iter().any(|argument| argument == "help" || argument == "--help" || argument == "-h");
        let status = answer(arguments.into_iter());
        if asked_for_help && status == crate::cli::EXIT_OK {
            println!("\nAs a service of Windows: otelet service help");
        }
        super::finish_log();
        return status;
    }
    run_as_service(answer, arguments)
}

// ---- The service itself --------------------------------------------------------------------------------------------

fn run_as_service(answer: Answer, arguments: Vec<OsString>) -> u8 {
    if let Ok(mut service) = SERVICE.lock() {
        *service = Some((answer, arguments));
    }
    let mut name = wide(NAME);
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(service_main) },
        SERVICE_TABLE_ENTRYW { lpServiceName: null_mut(), lpServiceProc: None },
    ];
    // SAFETY: the table ends with an empty entry and lives until the call returns, which is when the service has ended.
    match done(unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) }) {
        Ok(()) => crate::cli::EXIT_OK,
        Err(error) if is(&error, ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) => {
            eprintln!("otelet: --service is for the service manager, which did not start this; leave it out");
            crate::cli::EXIT_USAGE
        }
        Err(error) => {
            eprintln!("otelet: the service manager does not answer: {error}");
            crate::cli::EXIT_BUG
        }
    }
}

/// Called by Windows on a thread of its own, which becomes the agent's one thread.
unsafe extern "system" fn service_main(_: u32, _: *mut windows_sys::core::PWSTR) {
    let Some((answer, arguments)) = SERVICE.lock().ok().and_then(|mut service| service.take()) else { return };
    if meet_manager(NAME).is_err() {
        return;
    }
    open_log();
    take_leave(answer(arguments.into_iter()));
}

/// What the agent logs, and what others print to its stderr, goes into a file: a service has no other.
fn open_log() {
    let path = log_path();
    let directory = path.parent().expect("it is in a directory of ours");
    // There is nobody to be told; the service runs all the same.
    drop(private_dir(directory).and_then(|()| crate::log::into_file(&path)));
}

// ---- What people ask for -------------------------------------------------------------------------------------------

fn command(mut arguments: Vec<OsString>) -> u8 {
    let verb = if arguments.is_empty() { OsString::new() } else { arguments.remove(0) };
    let verb = verb.to_string_lossy().into_owned();
    let purge = verb == "uninstall" && arguments.iter().any(|argument| argument == "--purge");
    arguments.retain(|argument| !(purge && argument == "--purge"));
    if !matches!(&*verb, "install" | "configure") && !arguments.is_empty() {
        eprintln!("otelet: otelet service {verb} does not take {}\n\n{USAGE}", arguments[0].display());
        return crate::cli::EXIT_USAGE;
    }
    let done = match &*verb {
        "install" => return install_or_explain(arguments),
        "configure" => return setup::configure_or_explain(arguments),
        "uninstall" => uninstall(purge),
        "start" => start(),
        "stop" => stop(),
        "restart" => restart(),
        "reload" => reload(),
        "status" => return status(),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return crate::cli::EXIT_OK;
        }
        "" => {
            eprint!("{USAGE}");
            return crate::cli::EXIT_USAGE;
        }
        other => {
            eprintln!("otelet: unknown command \"service {}\"\n\n{USAGE}", crate::cli::clip(other));
            return crate::cli::EXIT_USAGE;
        }
    };
    answer(done)
}

pub(super) fn answer(done: Result<String, String>) -> u8 {
    match done {
        Ok(text) => {
            println!("{text}");
            crate::cli::EXIT_OK
        }
        Err(why) => {
            eprintln!("otelet: {why}");
            crate::cli::EXIT_NO
        }
    }
}

fn install_or_explain(mut arguments: Vec<OsString>) -> u8 {
    let mut account = None;
    arguments.retain(|argument| match argument.to_string_lossy().strip_prefix("--account=") {
        Some(name) => {
            account = Some(name.to_owned()).filter(|name| !name.is_empty());
            false
        }
        None => true,
    });
    let before = arguments.len();
    arguments.retain(|argument| argument != "--keep");
    let keep = arguments.len() < before;
    if keep && (account.is_some() || !arguments.is_empty()) {
        eprintln!("otelet: --keep keeps account and flags, so that none can be given\n\n{USAGE}");
        return crate::cli::EXIT_USAGE;
    }
    // What the service would refuse at each start is refused here.
    let as_run = std::iter::once("run".into()).chain(arguments.iter().cloned());
    if let Err(error) = crate::cli::parse(as_run) {
        eprintln!("otelet: {error}");
        return crate::cli::EXIT_USAGE;
    }
    answer(install(account.as_deref(), &arguments, keep))
}

/// A handle of the service manager's, of the manager itself or of a service.
struct Scm(SC_HANDLE);

impl Scm {
    fn of(handle: SC_HANDLE) -> io::Result<Self> {
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(handle)) }
    }

    fn manager(access: u32) -> Result<Self, String> {
        // SAFETY: this machine, its usual database.
        Self::of(unsafe { OpenSCManagerW(null(), null(), access) }).map_err(explain)
    }

    fn service(access: u32) -> Result<Self, String> {
        let (manager, name) = (Self::manager(SC_MANAGER_CONNECT)?, wide(NAME));
        // SAFETY: the manager's handle is open, the name ends with NUL.
        Self::of(unsafe { OpenServiceW(manager.0, name.as_ptr(), access) }).map_err(explain)
    }

    fn status(&self) -> Result<SERVICE_STATUS_PROCESS, String> {
        let mut status = SERVICE_STATUS_PROCESS::default();
        let (size, mut needed) = (size_of_val(&status) as u32, 0);
        // SAFETY: the handle is open, the buffer as large as is said.
        done(unsafe {
            QueryServiceStatusEx(self.0, SC_STATUS_PROCESS_INFO, (&raw mut status).cast(), size, &mut needed)
        })
        .map_err(explain)?;
        Ok(status)
    }

    fn control(&self, control: u32) -> io::Result<()> {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the handle is open, the structure lives until the call returns.
        done(unsafe { ControlService(self.0, control, &mut status) })
    }

    fn configure<T>(&self, what: u32, value: &T) -> io::Result<()> {
        // SAFETY: the handle is open, and the structure is the one that `what` names.
        done(unsafe { ChangeServiceConfig2W(self.0, what, std::ptr::from_ref(value).cast()) })
    }

    /// Waits until the service is in a state that lasts.
    fn settled(&self, limit: Duration) -> Result<SERVICE_STATUS_PROCESS, String> {
        let limit = Instant::now() + limit;
        loop {
            let status = self.status()?;
            match status.dwCurrentState {
                SERVICE_RUNNING | SERVICE_STOPPED => return Ok(status),
                state if Instant::now() > limit => {
                    return Err(format!("service {NAME} is still {}; see {}", word(state), log_path().display()));
                }
                _ => std::thread::sleep(LOOK),
            }
        }
    }
}

impl Drop for Scm {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this.
        unsafe { CloseServiceHandle(self.0) };
    }
}

fn explain(error: io::Error) -> String {
    match error {
        error if is(&error, ERROR_SERVICE_DOES_NOT_EXIST) => {
            format!("service {NAME} is not installed; `otelet service install` does it")
        }
        error if is(&error, ERROR_SERVICE_MARKED_FOR_DELETE) => {
            format!("service {NAME} is being removed; close what shows it, such as the list of services, and try again")
        }
        error if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("the service manager does not let you: {error}; run this as an administrator")
        }
        error => format!("the service manager says: {error}"),
    }
}

fn log_path() -> PathBuf {
    data_dir().join("log").join("otelet.log")
}

fn install(account: Option<&str>, flags: &[OsString], keep: bool) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let mut line = quoted(&program.to_string_lossy()) + VERB;
    for flag in flags {
        let flag = flag.to_str().ok_or("a flag is no Unicode; the service manager keeps text only")?;
        line += " ";
        line += &quoted(flag);
    }
    let mut start = SERVICE_AUTO_START;
    if let Some(there) = registered().filter(|_| keep) {
        line += there.flags();
        if there.disabled {
            start = SERVICE_NO_CHANGE;
        }
    }
    let manager = Scm::manager(SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE)?;
    let (name, display, line) = (wide(NAME), wide(DISPLAY), wide(&line));
    // Said in any case: without it, one that was installed before would keep the account that it has, as an upgrade wants.
    let account = account.or((!keep).then_some("LocalSystem")).map(wide);
    let account = account.as_ref().map_or(null(), |name| name.as_ptr());
    let (kind, when_it_fails) = (SERVICE_WIN32_OWN_PROCESS, SERVICE_ERROR_NORMAL);
    // SAFETY: the handles are open, the texts end with NUL, the other pointers may be null.
    let made = Scm::of(unsafe {
        CreateServiceW(
            manager.0,
            name.as_ptr(),
            display.as_ptr(),
            SERVICE_ALL_ACCESS,
            kind,
            SERVICE_AUTO_START,
            when_it_fails,
            line.as_ptr(),
            null(),
            null_mut(),
            null(),
            account,
            null(),
        )
    });
    let (service, what) = match made {
        Ok(service) => (service, "installed"),
        Err(error) if is(&error, ERROR_SERVICE_EXISTS) => {
            let service = Scm::service(SERVICE_ALL_ACCESS)?;
            // SAFETY: as above.
            done(unsafe {
                ChangeServiceConfigW(
                    service.0,
                    kind,
                    start,
                    when_it_fails,
                    line.as_ptr(),
                    null(),
                    null_mut(),
                    null(),
                    account,
                    null(),
                    display.as_ptr(),
                )
            })
            .map_err(explain)?;
            (service, "installed anew; what runs goes on as before until it is restarted")
        }
        Err(error) => return Err(explain(error)),
    };
    describe(&service, start != SERVICE_NO_CHANGE)?;
    let data = data_dir();
    private_dir(&data)
        .and_then(|()| keep_private(&data))
        .map_err(|error| format!("{}: {error}", data.display()))?
        .into_iter()
        .for_each(|said| println!("{said}"));
    Ok(format!(
        "service {NAME} {what}; its settings are in {}, its log in {}",
        settings_in(flags),
        log_path().display()
    ))
}

fn settings_in(flags: &[OsString]) -> String {
    let said = flags.iter().find_map(|flag| Some(flag.to_str()?.strip_prefix("--settings=")?.to_owned()));
    said.unwrap_or_else(|| super::default_settings_path().display().to_string())
}

/// What a service is beyond its command line.
fn describe(service: &Scm, started: bool) -> Result<(), String> {
    let mut description = wide(DESCRIPTION);
    let description = SERVICE_DESCRIPTIONW { lpDescription: description.as_mut_ptr() };
    let restart = |seconds: u32| SC_ACTION { Type: SC_ACTION_RESTART, Delay: seconds * 1000 };
    let mut actions = [restart(1), restart(5), restart(60)];
    let recovery = SERVICE_FAILURE_ACTIONSW {
        // A day without a failure: the next one is the first.
        dwResetPeriod: 24 * 3600,
        lpRebootMsg: null_mut(),
        lpCommand: null_mut(),
        cActions: actions.len() as u32,
        lpsaActions: actions.as_mut_ptr(),
    };
    // Windows takes it of a service that is started with it, and of no other.
    let delayed = SERVICE_DELAYED_AUTO_START_INFO { fDelayedAutostart: started.into() };
    // Also when it ends by itself with an error, and not only when it is killed.
    let also = SERVICE_FAILURE_ACTIONS_FLAG { fFailureActionsOnNonCrashFailures: 1 };
    let patience = SERVICE_PRESHUTDOWN_INFO { dwPreshutdownTimeout: 120_000 };
    let sid = SERVICE_SID_INFO { dwServiceSidType: SERVICE_SID_TYPE_UNRESTRICTED };
    service.configure(SERVICE_CONFIG_DESCRIPTION, &description).map_err(explain)?;
    service.configure(SERVICE_CONFIG_FAILURE_ACTIONS, &recovery).map_err(explain)?;
    // What an older Windows does not know is said, and no reason not to install it.
    for (what, answer) in [
        ("the delayed start", service.configure(SERVICE_CONFIG_DELAYED_AUTO_START_INFO, &delayed)),
        ("a restart after an error", service.configure(SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &also)),
        ("time at a shutdown", service.configure(SERVICE_CONFIG_PRESHUTDOWN_INFO, &patience)),
        ("an identity of its own", service.configure(SERVICE_CONFIG_SERVICE_SID_INFO, &sid)),
    ] {
        if let Err(error) = answer {
            eprintln!("otelet: the service manager does not take {what}: {error}");
        }
    }
    Ok(())
}

/// An argument as `CommandLineToArgvW` and the C library take it apart.
pub fn quoted(argument: &str) -> String {
    if !argument.is_empty() && !argument.contains([' ', '\t', '"']) {
        return argument.into();
    }
    let mut text = String::from("\"");
    let mut backslashes = 0;
    for letter in argument.chars() {
        match letter {
            '\\' => backslashes += 1,
            // Those in front of a quote are doubled, and one more is for the quote.
            '"' => {
                text.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        text.push(letter);
    }
    text.extend(std::iter::repeat_n('\\', backslashes));
    text + "\""
}

fn uninstall(purge: bool) -> Result<String, String> {
    match Scm::service(SERVICE_ALL_ACCESS) {
        // Somebody has removed it before: what is left goes all the same.
        Err(_) if purge && registered().is_none() => {}
        service => {
            let service = service?;
            stop_and_wait(&service)?;
            // SAFETY: the handle is open.
            done(unsafe { DeleteService(service.0) }).map_err(explain)?;
        }
    }
    if purge {
        return setup::purge().map(|text| format!("service {NAME} is uninstalled; {text}"));
    }
    Ok(format!("service {NAME} is uninstalled; state and settings are still in {}", data_dir().display()))
}

fn restart() -> Result<String, String> {
    if registered().is_some_and(|service| service.disabled) {
        return Ok(format!("service {NAME} is disabled, and stays stopped"));
    }
    stop()?;
    start()
}

fn start() -> Result<String, String> {
    let service = Scm::service(SERVICE_START | SERVICE_QUERY_STATUS)?;
    let limit = Instant::now() + START_LIMIT;
    loop {
        // SAFETY: the handle is open; no arguments.
        match done(unsafe { StartServiceW(service.0, 0, null()) }) {
            Err(error) if is(&error, ERROR_SERVICE_ALREADY_RUNNING) => break,
            // While the system starts.
            Err(error) if is(&error, ERROR_SERVICE_DATABASE_LOCKED) && Instant::now() < limit => {
                std::thread::sleep(LOOK);
            }
            started => break started.map_err(explain)?,
        }
    }
    let status = service.settled(START_LIMIT)?;
    match status.dwCurrentState {
        SERVICE_RUNNING => Ok(format!("service {NAME} runs: pid {}", status.dwProcessId)),
        _ => Err(format!("service {NAME} has ended at once: {}; see {}", how(&status), log_path().display())),
    }
}

fn stop() -> Result<String, String> {
    let service = Scm::service(SERVICE_STOP | SERVICE_QUERY_STATUS)?;
    stop_and_wait(&service)?;
    Ok(format!("service {NAME} is stopped"))
}

fn stop_and_wait(service: &Scm) -> Result<(), String> {
    // One that is just starting takes no controls.
    if service.settled(START_LIMIT)?.dwCurrentState == SERVICE_RUNNING {
        match service.control(SERVICE_CONTROL_STOP) {
            Err(error) if is(&error, ERROR_SERVICE_NOT_ACTIVE) => {}
            told => told.map_err(explain)?,
        }
    }
    let limit = Instant::now() + STOP_LIMIT;
    loop {
        let status = service.status()?;
        if status.dwCurrentState == SERVICE_STOPPED {
            return Ok(());
        }
        if Instant::now() > limit {
            return Err(format!("service {NAME} is still {}", word(status.dwCurrentState)));
        }
        std::thread::sleep(LOOK);
    }
}

fn reload() -> Result<String, String> {
    let service = Scm::service(SERVICE_PAUSE_CONTINUE)?;
    service.control(SERVICE_CONTROL_PARAMCHANGE).map_err(explain)?;
    Ok(format!("service {NAME} reads its settings again; what it finds is in {}", log_path().display()))
}

fn status() -> u8 {
    let asked = Scm::service(SERVICE_QUERY_STATUS | SERVICE_QUERY_CONFIG)
        .and_then(|service| Ok((service.status()?, command_line(&service))));
    match asked {
        Ok((status, line)) if status.dwCurrentState == SERVICE_RUNNING => {
            println!("service {NAME} runs: pid {}\n{line}", status.dwProcessId);
            crate::cli::EXIT_OK
        }
        Ok((status, line)) => {
            println!("service {NAME} is {}: {}\n{line}", word(status.dwCurrentState), how(&status));
            crate::cli::EXIT_NO
        }
        Err(why) => answer(Err(why)),
    }
}

/// How it is registered.
pub(super) struct Registered {
    /// Its command line.
    pub(super) line: String,
    account: String,
    disabled: bool,
}

/// What stands between the program and the flags of a service.
const VERB: &str = " run --service";

impl Registered {
    /// Its flags as they stand in the command line, with the space before them.
    pub(super) fn flags(&self) -> &str {
        self.line.split_once(VERB).map_or("", |(_, flags)| flags)
    }
}

/// How the service is registered. None where there is none, or where it cannot be asked for.
pub(super) fn registered() -> Option<Registered> {
    config(&Scm::service(SERVICE_QUERY_CONFIG).ok()?).ok()
}

/// What is run, and as whom.
fn command_line(service: &Scm) -> String {
    config(service).map_or_else(|why| why, |service| format!("{}\nas {}", service.line, service.account))
}

fn config(service: &Scm) -> Result<Registered, String> {
    // As large as Windows lets it be; of u64 for the alignment.
    let mut buffer = vec![0_u64; 1024];
    let mut needed = 0;
    // SAFETY: the handle is open, the buffer as large as is said, and the text that the structure points to is in it.
    unsafe {
        let config = buffer.as_mut_ptr().cast::<QUERY_SERVICE_CONFIGW>();
        done(QueryServiceConfigW(service.0, config, 8 * 1024, &mut needed)).map_err(explain)?;
        let read = |text: *mut u16| {
            let length = if text.is_null() { 0 } else { (0..).take_while(|at| *text.add(*at) != 0).count() };
            narrow(&(0..length).map(|at| *text.add(at)).collect::<Vec<u16>>())
        };
        Ok(Registered {
            line: read((*config).lpBinaryPathName),
            account: read((*config).lpServiceStartName),
            disabled: (*config).dwStartType == SERVICE_DISABLED,
        })
    }
}

fn word(state: u32) -> &'static str {
    match state {
        SERVICE_RUNNING => "running",
        SERVICE_STOPPED => "stopped",
        SERVICE_START_PENDING => "starting",
        SERVICE_STOP_PENDING => "stopping",
        _ => "in another state",
    }
}

/// Why it does not run.
fn how(status: &SERVICE_STATUS_PROCESS) -> String {
    match (status.dwWin32ExitCode, status.dwServiceSpecificExitCode) {
        (0, _) => "asked to".into(),
        (1077, _) => "not started since the system was".into(),
        (1066, code) => format!("exit status {code}"),
        (code, _) => io::Error::from_raw_os_error(code as i32).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_service_are_kept_as_they_were_written() {
        let flags =
            |line: &str| Registered { line: line.into(), account: String::new(), disabled: false }.flags().to_owned();
        assert_eq!(
            flags(r#""C:\a b\otelet.exe" run --service "--settings=C:\x y.yaml" --log-level=debug"#),
            r#" "--settings=C:\x y.yaml" --log-level=debug"#
        );
        assert_eq!(flags(r"C:\otelet.exe run --service"), "");
        assert_eq!(flags(r"C:\somebody\else.exe"), "");
    }

    #[test]
    fn an_argument_is_quoted_so_that_it_is_taken_apart_as_it_was() {
        assert_eq!(quoted("--settings=x.yaml"), "--settings=x.yaml");
        assert_eq!(quoted(r"C:\Program Files\otelet\otelet.exe"), r#""C:\Program Files\otelet\otelet.exe""#);
        assert_eq!(quoted(r"C:\a b\"), r#""C:\a b\\""#);
        assert_eq!(quoted(r#"say "a\" b"#), r#""say \"a\\\" b""#);
        assert_eq!(quoted(""), r#""""#);
    }
}
