//! The custom actions of the MSI: they pass the properties of its command line to the installed agent, and the agent's output to
//! Windows Installer's log. The agent does the work: `otelet service ...`.
//!
//! `Prepare` runs first, before anything is changed. It refuses properties that the agent would refuse, and writes the command line
//! of each later action into the property with the action's name. Windows Installer passes that to the action as
//! CustomActionData. `Run` and `Try` run these command lines as LocalSystem: `Run` ends the installation if the agent fails, `Try`
//! continues.
#![cfg(windows)]

use std::ffi::OsString;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use otelet::cli::installer_args;
use otelet::commands::service::{judge_configure, quoted};
use otelet::os::default_settings_path;
use otelet::settings::installer_args::MSI_PROPERTIES;

/// From winerror.h, msi.h and winbase.h. windows-sys has them too, but behind another feature: every crate that uses
/// windows-sys would be compiled twice.
const ERROR_SUCCESS: u32 = 0;
const ERROR_MORE_DATA: u32 = 234;
const ERROR_INSTALL_FAILURE: u32 = 1603;
const INSTALLMESSAGE_ERROR: i32 = 0x0100_0000;
const INSTALLMESSAGE_INFO: i32 = 0x0400_0000;
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

#[link(name = "msi", kind = "raw-dylib")]
unsafe extern "system" {
    fn MsiGetPropertyW(session: u32, name: *const u16, buffer: *mut u16, length: *mut u32) -> u32;
    fn MsiSetPropertyW(session: u32, name: *const u16, value: *const u16) -> u32;
    fn MsiCreateRecord(fields: u32) -> u32;
    fn MsiRecordSetStringW(record: u32, field: u32, value: *const u16) -> u32;
    fn MsiEnumRelatedProductsW(upgrade_code: *const u16, reserved: u32, index: u32, product: *mut u16) -> u32;
    fn MsiProcessMessage(session: u32, kind: i32, record: u32) -> i32;
    fn MsiCloseHandle(handle: u32) -> u32;
}

/// The agent's directory, by its name in the MSI's tables.
const FOLDER: &str = "OteletFolder";

/// The later actions, each with the agent's subcommand. `Configure` and `Uninstall` get further arguments.
const ACTIONS: [(&str, &str); 9] = [
    ("UndoStop", "start"),
    ("Stop", "stop"),
    ("UndoUninstall", "install"),
    ("Uninstall", "uninstall"),
    ("UndoConfigure", "configure --undo"),
    ("Configure", "configure"),
    ("UndoRegister", "uninstall"),
    ("Register", "install --keep"),
    ("Start", "restart"),
];

/// The property that holds the command line of the running action.
const DATA: &str = "CustomActionData";

/// Set if another version of this product is installed: service and state belong to that version then. Windows Installer sets
/// UPGRADINGPRODUCTCODE for this, but wine does not.
const SUCCEEDED: &str = "SUCCEEDED";

/// Separates the agent's path from its arguments: no path contains this character.
const SEPARATOR: char = '|';

/// Called by Windows Installer.
#[unsafe(no_mangle)]
extern "system" fn Prepare(session: u32) -> u32 {
    let session = Session(session);
    if session.another_is_installed() && !session.set(SUCCEEDED, &"1".into()) {
        return session.refuse("Windows Installer does not accept the property SUCCEEDED");
    }
    let mut flags = Vec::new();
    for (property, flag) in MSI_PROPERTIES {
        if let Some(value) = session.property(property) {
            let mut given = OsString::from(format!("--{flag}="));
            given.push(value);
            flags.push(given);
        }
    }
    let removed = session.property("REMOVE").is_some_and(|value| value.eq_ignore_ascii_case("ALL"));
    // An uninstallation must not fail because of a property.
    let judged = || installer_args(flags.iter().cloned()).and_then(|given| judge_configure(&given));
    if !removed && let Err(why) = judged() {
        return session.refuse(&with_property_name(&why));
    }
    let folder = session.property(FOLDER).unwrap_or_default();
    let keep = session.property("KEEP_STATE").is_some_and(|value| value != "0");
    let kept = default_settings_path().parent().is_some_and(Path::exists);
    for (action, verb) in ACTIONS {
        let mut line = folder.clone();
        line.push(format!("otelet.exe{SEPARATOR}service {verb}"));
        match action {
            "Configure" => {
                for flag in flags.iter().filter_map(|flag| flag.to_str()) {
                    line.push(format!(" {}", quoted(flag)));
                }
            }
            "Uninstall" if !keep => line.push(" --purge"),
            // A failed installation must not remove the state that an earlier one has left.
            "UndoRegister" if !kept => line.push(" --purge"),
            _ => {}
        }
        if !session.set(action, &line) {
            return session.refuse(&format!("Windows Installer does not accept the command line of {action}"));
        }
    }
    ERROR_SUCCESS
}

/// Names the property instead of the flag: the reader has set a property.
fn with_property_name(why: &str) -> String {
    let of_flag =
        |(property, flag): (&str, &str)| Some(format!("{property}:{}", why.strip_prefix(&format!("--{flag}:"))?));
    MSI_PROPERTIES.into_iter().find_map(of_flag).unwrap_or_else(|| why.to_owned())
}

/// Called by Windows Installer.
#[unsafe(no_mangle)]
extern "system" fn Run(session: u32) -> u32 {
    let session = Session(session);
    match run(&session) {
        Ok(()) => ERROR_SUCCESS,
        Err(why) => session.refuse(&why),
    }
}

/// Called by Windows Installer.
#[unsafe(no_mangle)]
extern "system" fn Try(session: u32) -> u32 {
    let session = Session(session);
    if let Err(why) = run(&session) {
        session.say(INSTALLMESSAGE_INFO, &format!("{why}; the installation continues"));
    }
    ERROR_SUCCESS
}

/// Runs the agent with the action's command line, and passes its output to the log.
fn run(session: &Session) -> Result<(), String> {
    let line = session.property(DATA).unwrap_or_default();
    let units: Vec<u16> = line.encode_wide().collect();
    let separator = units.iter().position(|unit| *unit == SEPARATOR as u16).ok_or("this action has no command line")?;
    let program = OsString::from_wide(&units[..separator]);
    let arguments = OsString::from_wide(&units[separator + 1..]);
    let output = Command::new(&program)
        .raw_arg(arguments)
        .stdin(Stdio::null())
        .creation_flags(CREATE_NO_WINDOW)
        .output()
        .map_err(|error| format!("{}: cannot be started: {error}", program.display()))?;
    let output_text = String::from_utf8_lossy(&output.stdout);
    let error_text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let words = if error_text.trim().is_empty() { output_text } else { error_text };
        return Err(format!("{} ({})", words.trim(), output.status));
    }
    for line in output_text.lines().chain(error_text.lines()) {
        session.say(INSTALLMESSAGE_INFO, line);
    }
    Ok(())
}

struct Session(u32);

impl Session {
    /// The value of a property. None if it is empty, which is the same as not set.
    fn property(&self, name: &str) -> Option<OsString> {
        let name = wide(name);
        let mut buffer = vec![0_u16; 256];
        loop {
            let mut length = buffer.len() as u32;
            // SAFETY: the name ends with NUL, and `length` is the buffer's length.
            let code = unsafe { MsiGetPropertyW(self.0, name.as_ptr(), buffer.as_mut_ptr(), &mut length) };
            let length = length as usize;
            match code {
                ERROR_MORE_DATA => buffer.resize(length + 1, 0),
                ERROR_SUCCESS if length > 0 => return Some(OsString::from_wide(&buffer[..length])),
                _ => return None,
            }
        }
    }

    fn set(&self, name: &str, value: &OsString) -> bool {
        let (name, value) = (wide(name), value.encode_wide().chain([0]).collect::<Vec<_>>());
        // SAFETY: both end with NUL.
        unsafe { MsiSetPropertyW(self.0, name.as_ptr(), value.as_ptr()) == ERROR_SUCCESS }
    }

    fn another_is_installed(&self) -> bool {
        let (Some(code), Some(own)) = (self.property("UpgradeCode"), self.property("ProductCode")) else {
            return false;
        };
        let code: Vec<u16> = code.encode_wide().chain([0]).collect();
        let next = |index| {
            // A GUID in braces, and its NUL.
            let mut product = [0_u16; 39];
            // SAFETY: the code ends with NUL, and the buffer is as long as the function wants it.
            let found = unsafe { MsiEnumRelatedProductsW(code.as_ptr(), 0, index, product.as_mut_ptr()) };
            (found == ERROR_SUCCESS).then(|| OsString::from_wide(&product[..38]))
        };
        (0..).map_while(next).any(|product| product != own)
    }

    /// Writes a line to the log. An error is also shown on the screen, unless the installation is silent.
    fn say(&self, kind: i32, text: &str) {
        // The text is a field of its own in the record: brackets would have a meaning in the template.
        let (template, text) = (wide("otelet: [1]"), wide(text.strip_prefix("otelet: ").unwrap_or(text)));
        // SAFETY: the texts end with NUL, and nobody uses the record after this.
        unsafe {
            let record = MsiCreateRecord(1);
            MsiRecordSetStringW(record, 0, template.as_ptr());
            MsiRecordSetStringW(record, 1, text.as_ptr());
            MsiProcessMessage(self.0, kind, record);
            MsiCloseHandle(record);
        }
    }

    fn refuse(&self, why: &str) -> u32 {
        self.say(INSTALLMESSAGE_ERROR, why);
        ERROR_INSTALL_FAILURE
    }
}

/// The text in UTF-16 with a NUL at its end, for calls of Windows.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
