//! Programs: their places and names, and the reason why one cannot run.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::{ERROR_BAD_EXE_FORMAT, ERROR_EXE_MACHINE_TYPE_MISMATCH};

use super::pipes::is;

/// The places where a Collector is looked for, as a message names them.
pub const COLLECTOR_PLACES: &str = r"on PATH or in %ProgramFiles%\OpenTelemetry Collector";

/// The command that shows which program listens on which port, as a message names it.
pub const LISTENERS: &str = "netstat -abn";

/// More directories in which a Collector is looked for, beside PATH: its installer uses this one and does not change
/// PATH. Source: `windows-installer.wxs` of opentelemetry-collector-releases. Like PATH, the variable comes from the
/// user who starts the agent. Only administrators can write to the directory.
pub fn collector_directories() -> Vec<PathBuf> {
    let programs = std::env::var_os("ProgramFiles").map(PathBuf::from).filter(|path| path.is_absolute());
    programs.map(|path| path.join("OpenTelemetry Collector")).into_iter().collect()
}

/// The name of a program without its extension: `otelcol` for `otelcol.exe` and `OtelCol.EXE`.
pub fn program_name(name: &OsStr) -> OsString {
    let lower = name.to_ascii_lowercase();
    match Path::new(&lower).extension() {
        Some(extension) if extension == "exe" => Path::new(&lower).with_extension("").into_os_string(),
        Some(_) | None => lower,
    }
}

/// Whether a file is a program by its extension: a config of the Collector may also begin with `otelcol`.
pub fn is_program(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("exe")) && path.is_file()
}

/// A mark that tells a file from another one in its place: its size and its times. The second text is empty here.
///
/// # Errors
///
/// If there is no such file.
pub fn stamp(path: &Path) -> io::Result<(String, String)> {
    use std::os::windows::fs::MetadataExt as _;
    let file = std::fs::metadata(path)?;
    Ok((format!("{} {} {}", file.file_size(), file.last_write_time(), file.creation_time()), String::new()))
}

/// The files that a process and its children run. None here: a file cannot be replaced while it runs, only renamed.
pub fn running_programs(_: u32) -> Vec<(PathBuf, bool)> {
    Vec::new()
}

/// Whether the last words of a collector say that a port is taken. Behind `bind: `, Go prints Windows' message in the
/// language of the system. The port is on loopback and was free before, so any error there means that another program
/// has taken it.
pub fn says_port_is_taken(words: &str) -> bool {
    words.contains(": bind: ")
}

/// The reason why Windows did not start a program, as a message.
pub fn describe_spawn_error(program: &Path, error: &io::Error) -> String {
    let name = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("{name}: no such file; set collector.path or put the collector there"),
        io::ErrorKind::PermissionDenied => {
            format!("{name}: permission denied; may the agent run it, and does a policy or an antivirus forbid it?")
        }
        _ if is(error, ERROR_BAD_EXE_FORMAT) || is(error, ERROR_EXE_MACHINE_TYPE_MISMATCH) => match machine(program) {
            Some(machine) => format!("{name}: is built for {machine}, this host is {}", std::env::consts::ARCH),
            None => format!("{name}: is not a program that this host can run"),
        },
        _ => format!("{name}: {error}"),
    }
}

/// Always none: Windows itself refuses a program that it cannot run.
pub fn foreign(_: &Path) -> Option<String> {
    None
}

/// The architecture in the header of a program. Source: PE Format, "COFF File Header".
fn machine(program: &Path) -> Option<String> {
    let mut file = File::open(program).ok()?;
    let mut header = [0; 64];
    file.read_exact(&mut header).ok()?;
    let at = u32::from_le_bytes(header[60..64].try_into().expect("four bytes"));
    file.seek(SeekFrom::Start(at.into())).ok()?;
    let mut header = [0; 6];
    file.read_exact(&mut header).ok()?;
    if header[..4] != *b"PE\0\0" {
        return None;
    }
    Some(match u16::from_le_bytes([header[4], header[5]]) {
        0x014c => "x86".into(),
        0x8664 => "x86_64".into(),
        0xaa64 => "aarch64".into(),
        other => format!("machine {other:#x}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_of_this_program_is_read() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(machine(&own).as_deref(), Some(std::env::consts::ARCH));
        let error = io::Error::from_raw_os_error(ERROR_BAD_EXE_FORMAT as i32);
        assert!(describe_spawn_error(&own, &error).contains(": is built for "));
    }

    #[test]
    fn a_program_name_has_no_extension_and_ignores_case() {
        for name in ["otelcol", "otelcol.exe", "OtelCol.EXE"] {
            assert_eq!(program_name(name.as_ref()), "otelcol");
        }
        assert_eq!(program_name("otelcol.yaml".as_ref()), "otelcol.yaml");
        assert!(is_program(&std::env::current_exe().unwrap()));
        assert!(!is_program(Path::new("otelcol.exe")), "there is no such file");
        assert!(
            !is_program(&std::env::current_exe().unwrap().with_extension("d")),
            "no program, whether it is there or not"
        );
    }

    #[test]
    fn a_taken_port_is_recognized_in_any_language() {
        for words in [
            "Only one usage of each socket address (protocol/network address/port) is normally permitted.",
            "Normalerweise darf jede Socketadresse nur jeweils einmal verwendet werden.",
            "winapi error #10048",
        ] {
            assert!(says_port_is_taken(&format!(
                "failed to bind to address 127.0.0.1:1: listen tcp 127.0.0.1:1: bind: {words}"
            )));
        }
        assert!(!says_port_is_taken("cannot find the file 127.0.0.1:1"));
    }
}
