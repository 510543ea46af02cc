//! Why a program does not run, in words.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use windows_sys::Win32::Foundation::{ERROR_BAD_EXE_FORMAT, ERROR_EXE_MACHINE_TYPE_MISMATCH};

use super::pipes::is;

/// What is wrong with a program that Windows would not start, in words.
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

/// Windows says by itself what it does not run.
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
    fn the_machine_of_this_very_program_is_known() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(machine(&own).as_deref(), Some(std::env::consts::ARCH));
        let error = io::Error::from_raw_os_error(ERROR_BAD_EXE_FORMAT as i32);
        assert!(describe_spawn_error(&own, &error).contains(": is built for "));
    }
}
