//! Programs: their places and names, and the reason why one cannot run, before its start and after the kernel refused
//! it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The places where a Collector is looked for, as a message names them.
pub const COLLECTOR_PLACES: &str = "on PATH";

/// The command that shows which program listens on which port, as a message names it.
pub const LISTENERS: &str = "ss -lntup";

/// More directories in which a Collector is looked for, beside PATH. None here: packages install into PATH.
pub fn collector_directories() -> Vec<PathBuf> {
    Vec::new()
}

/// The name of a program, as PATH is searched for it.
pub fn program_name(name: &OsStr) -> OsString {
    name.to_owned()
}

/// Whether a file can be a program.
pub fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// A mark that tells a file from another one in its place: its number, size and time of change. The second text also
/// tells it from a file that was written anew with the same size and time, and changes when only its rights do.
///
/// # Errors
///
/// If there is no such file.
pub fn stamp(path: &Path) -> io::Result<(String, String)> {
    use std::os::unix::fs::MetadataExt as _;
    let file = fs::metadata(path)?;
    let content = format!("{} {} {}.{:09}", file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    let status = format!("{}.{:09}", file.ctime(), file.ctime_nsec());
    Ok((content, status))
}

/// The files that a process and its first children run, and whether each is gone from its place. Behind a script they are
/// those of the shell and of the program that the script has started. Sources: `/proc/PID/exe` and
/// `/proc/PID/task/PID/children` (proc(5)); the latter only where the kernel was built with it.
pub fn running_programs(pid: u32) -> Vec<(PathBuf, bool)> {
    let (mut pid, mut found) = (pid, Vec::new());
    // A script may start another one.
    for _ in 0..4 {
        let path =
            fs::read_link(format!("/proc/{pid}/exe")).ok().and_then(|path| path.into_os_string().into_string().ok());
        found.extend(path.map(|path| match path.strip_suffix(" (deleted)") {
            Some(path) => (path.into(), true),
            None => (path.into(), false),
        }));
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        match children.split_whitespace().next().and_then(|first| first.parse().ok()) {
            Some(child) => pid = child,
            None => break,
        }
    }
    found
}

/// Whether the last words of a collector say that a port is taken: `bind: address already in use`.
pub fn says_port_is_taken(words: &str) -> bool {
    words.contains("in use")
}

/// The reason why the kernel did not start a program, as a message.
pub fn describe_spawn_error(program: &Path, error: &io::Error) -> String {
    let name = program.display();
    match error.kind() {
        io::ErrorKind::NotFound if program.exists() => match interpreter(program) {
            Some(line) if line.ends_with('\r') => {
                format!("{name}: its lines end as on Windows; save it with the line ends of Unix")
            }
            Some(line) => format!("{name}: its interpreter is missing: {line}"),
            None => format!("{name}: its loader is missing (a binary for another libc?)"),
        },
        io::ErrorKind::NotFound => format!("{name}: no such file; set collector.path or put the collector there"),
        io::ErrorKind::PermissionDenied => {
            if program.is_dir() {
                return format!("{name}: is a directory; name the program in it");
            }
            let enforced = selinux() == Some(true);
            describe_denial(&name.to_string(), enforced.then(|| label(program)).flatten())
        }
        _ if error.raw_os_error() == Some(8) => match elf_machine(program) {
            Some(machine) => format!("{name}: is built for {machine}, this host is {}", std::env::consts::ARCH),
            None => {
                format!(
                    "{name}: is not a program that this host can run; a script begins with a line such as #!/bin/sh"
                )
            }
        },
        _ => format!("{name}: {error}"),
    }
}

/// The rest of the first line of a script, after `#!`.
fn interpreter(program: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(program).and_then(|file| file.take(128).read_to_end(&mut start)).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim_start().to_owned())
}

/// `label` is that of SELinux, where it is enforced: then it is the likeliest reason.
fn describe_denial(name: &str, label: Option<String>) -> String {
    let question = "is it executable, and is its file system mounted noexec?";
    match label {
        None => format!("{name}: permission denied; {question}"),
        Some(label) => format!(
            "{name}: permission denied; SELinux is enforcing and labels it {label}: put it into /usr/local/bin or another \
             place for programs and run restorecon -v on it (ausearch -m avc shows what was refused); else {question}"
        ),
    }
}

/// Whether SELinux is enforced. `None` if this host has none.
pub fn selinux() -> Option<bool> {
    fs::read("/sys/fs/selinux/enforce").ok().map(|text| text.starts_with(b"1"))
}

/// The SELinux label of a file, such as `system_u:object_r:bin_t:s0`.
pub fn label(path: &Path) -> Option<String> {
    let mut value = [0; 256];
    let length = rustix::fs::getxattr(path, "security.selinux", &mut value[..]).ok()?;
    let text = String::from_utf8_lossy(&value[..length]).trim_end_matches('\0').to_owned();
    Some(text).filter(|text| !text.is_empty() && !text.contains(char::is_control))
}

/// The reason why the kernel would not run a program, by its first bytes. None if it can run.
///
/// This is checked before the start, because std starts it by `execvp`. glibc's `execvp` runs a file that the kernel
/// refuses as a shell script: also a binary for another architecture, or half a download. musl's does not.
pub fn foreign(program: &Path) -> Option<String> {
    let mut start = [0; 2];
    let read = File::open(program).and_then(|mut file| file.read(&mut start)).ok()?;
    let runs = match elf_machine(program) {
        Some(machine) => {
            let host = rustix::system::uname().machine().to_string_lossy().into_owned();
            let known: &[&str] = match &*host {
                "x86_64" => &["x86_64", "x86"],
                "aarch64" | "armv8l" => &["aarch64", "arm"],
                "riscv64" => &["riscv64"],
                arm if arm.starts_with("arm") => &["arm"],
                // The programs that this processor runs are not known here.
                _ => return None,
            };
            known.contains(&&*machine) || is_emulated(program)
        }
        None => read == 2 && start == *b"#!",
    };
    (!runs).then(|| describe_spawn_error(program, &rustix::io::Errno::NOEXEC.into()))
}

/// Whether an emulator is registered with the kernel for programs such as this one. Source: the kernel's
/// admin-guide/binfmt-misc.
fn is_emulated(program: &Path) -> bool {
    let mut head = Vec::new();
    if File::open(program).and_then(|file| file.take(128).read_to_end(&mut head)).is_err() {
        return false;
    }
    let Ok(entries) = fs::read_dir("/proc/sys/fs/binfmt_misc") else { return false };
    entries.flatten().any(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| takes(&text, &head)))
}

/// Whether an entry of the kernel for an emulator matches the first bytes of a program: magic and mask are hexadecimal.
fn takes(entry: &str, head: &[u8]) -> bool {
    let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let bytes = |text: &str| -> Option<Vec<u8>> {
        let pairs = text.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    let Some(magic) = field("magic ").and_then(bytes) else { return false };
    let mask = field("mask ").and_then(bytes).unwrap_or_else(|| vec![0xff; magic.len()]);
    let offset = field("offset ").and_then(|offset| offset.parse().ok()).unwrap_or(0);
    let Some(there) = head.get(offset..).and_then(|rest| rest.get(..magic.len())) else { return false };
    let fits = |((byte, magic), mask): ((&u8, &u8), &u8)| byte & mask == magic & mask;
    entry.starts_with("enabled") && there.iter().zip(&magic).zip(&mask).all(fits)
}

/// The architecture in an ELF header. Source: `e_machine`, bytes 18 and 19 (elf(5)).
fn elf_machine(program: &Path) -> Option<String> {
    let mut header = [0; 20];
    File::open(program).ok()?.read_exact(&mut header).ok()?;
    if header[..4] != *b"\x7fELF" {
        return None;
    }
    let machine = match header[5] {
        2 => u16::from_be_bytes([header[18], header[19]]),
        _ => u16::from_le_bytes([header[18], header[19]]),
    };
    Some(match machine {
        3 => "x86".into(),
        40 => "arm".into(),
        62 => "x86_64".into(),
        183 => "aarch64".into(),
        243 => "riscv64".into(),
        other => format!("machine {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_runs_programs_that_match_its_magic_and_mask() {
        let qemu_arm = "enabled\ninterpreter /usr/bin/qemu-arm-static\nflags: F\noffset 0\n\
            magic 7f454c4601010100000000000000000002002800\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
        let mut arm = *b"\x7fELF\x01\x01\x01\x00\0\0\0\0\0\0\0\0\x03\x00\x28\x00";
        assert!(takes(qemu_arm, &arm), "its mask matches shared objects too");
        assert!(!takes(&qemu_arm.replace("enabled", "disabled"), &arm));
        arm[18] = 0xb7;
        assert!(!takes(qemu_arm, &arm), "ARM64");
        assert!(!takes(qemu_arm, &arm[..10]));
        assert!(!takes("enabled\n", &arm), "the kernel's own `status`");
        assert!(!takes("enabled\nextension .exe\n", &arm));
        assert!(!takes("enabled\noffset 0\nmagic 7g\n", &arm));
    }

    #[test]
    fn a_script_that_cannot_start_is_told_apart_from_a_binary() {
        let path = std::env::temp_dir().join(format!("otelet-script-{}", std::process::id()));
        for (text, error, words) in [
            ("#!/bin/sh\r\nexec x\r\n", io::ErrorKind::NotFound, "its lines end as on Windows"),
            ("#! /no/such/sh -e\n", io::ErrorKind::NotFound, "its interpreter is missing: /no/such/sh -e"),
            ("\x7fELF", io::ErrorKind::NotFound, "its loader is missing"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = describe_spawn_error(&path, &error.into());
            assert!(said.contains(words), "{text:?}: {said}");
        }
        std::fs::write(&path, "exec otelcol\n").unwrap();
        assert!(foreign(&path).unwrap().ends_with("a script begins with a line such as #!/bin/sh"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let said = describe_spawn_error(&path, &io::ErrorKind::PermissionDenied.into());
        assert!(said.ends_with(": is a directory; name the program in it"), "{said}");
        std::fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_denial_names_the_label_where_selinux_is_enforced() {
        let plain = "/opt/otelcol: permission denied; is it executable, and is its file system mounted noexec?";
        assert_eq!(describe_denial("/opt/otelcol", None), plain);
        let said = describe_denial("/var/lib/x/otelcol", Some("system_u:object_r:var_lib_t:s0".into()));
        assert!(
            said.starts_with("/var/lib/x/otelcol: permission denied; SELinux is enforcing and labels it"),
            "{said}"
        );
        assert!(said.contains(" system_u:object_r:var_lib_t:s0: ") && said.contains("restorecon -v"), "{said}");
        assert!(said.ends_with("is it executable, and is its file system mounted noexec?"), "{said}");
    }

    #[test]
    fn the_label_of_a_file_is_read() {
        let path = std::env::temp_dir().join(format!("otelet-label-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        assert_eq!(label(&path), None);
        let flags = rustix::fs::XattrFlags::empty();
        // Only root may set it, and not every file system can keep it.
        if rustix::fs::setxattr(&path, "security.selinux", b"system_u:object_r:tmp_t:s0\0", flags).is_ok() {
            assert_eq!(label(&path).as_deref(), Some("system_u:object_r:tmp_t:s0"));
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_program_that_cannot_run_is_explained() {
        let missing = Path::new("/nowhere/otelcol");
        let not_found = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(
            describe_spawn_error(missing, &not_found),
            "/nowhere/otelcol: no such file; set collector.path or put the collector there"
        );
    }
}
