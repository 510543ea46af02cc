//! Links by the lld inside zig with flags that zig's own front end refuses. cargo-zigbuild takes this program for zig; a call
//! that has no such flag is handed on as it is.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// The variable that makes this program a zig, and names the real one; empty for the one of Python's package.
pub const ZIG: &str = "OTELET_XTASK_ZIG";

/// The beginnings of the flags that lld knows and zig does not let through.
const OF_LLD: [&str; 2] = ["-Wl,--icf=", "-Wl,-z,pack-relative-relocs"];

/// Runs as zig.
pub fn stand_in(zig: &Path) -> ExitCode {
    let (of_lld, rest): (Vec<OsString>, Vec<OsString>) = std::env::args_os()
        .skip(1)
        .partition(|arg| arg.to_str().is_some_and(|arg| OF_LLD.iter().any(|flag| arg.starts_with(flag))));
    let linked = if of_lld.is_empty() { run(command(zig).args(rest)) } else { link(zig, &of_lld, &rest) };
    linked.unwrap_or_else(|reason| {
        eprintln!("{}: {reason}", zig.display());
        ExitCode::FAILURE
    })
}

/// The real zig.
pub fn command(zig: &Path) -> Command {
    if zig.as_os_str().is_empty() {
        let mut python = Command::new("python3");
        python.args(["-m", "ziglang"]);
        return python;
    }
    Command::new(zig)
}

fn run(command: &mut Command) -> Result<ExitCode, String> {
    let status = command.status().map_err(|cause| cause.to_string())?;
    // A signal has no code.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Links twice: zig finds its start files, its libc and the order, says so, and lld is called again with more flags.
fn link(zig: &Path, of_lld: &[OsString], rest: &[OsString]) -> Result<ExitCode, String> {
    let ran = command(zig).args(rest).arg("-v").stderr(Stdio::piped()).output().map_err(|cause| cause.to_string())?;
    let output = String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() {
        return Err(output.into_owned());
    }
    let line =
        output.lines().rev().find_map(|line| line.strip_prefix("ld.lld ")).ok_or_else(|| {
            format!("does not say how it calls lld, so these flags have no place: {of_lld:?}\n{output}")
        })?;
    let more = of_lld.iter().filter_map(|flag| flag.to_str()?.strip_prefix("-Wl,")).flat_map(|flag| flag.split(','));
    run(command(zig).arg("ld.lld").args(words(line, |path| Path::new(path).exists())).args(more))
}

/// The words of a command that was printed without quotes: a path ends where a file is.
fn words(line: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        match words.last_mut() {
            Some(last) if last.starts_with('/') && !exists(last) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_is_one_word() {
        let files = ["/home/a b/x.o", "/lib/c.a"];
        let words = words("--icf=all -o /home/a b/x.o /lib/c.a -s", |path| files.contains(&path));
        assert_eq!(words, ["--icf=all", "-o", "/home/a b/x.o", "/lib/c.a", "-s"]);
    }
}
