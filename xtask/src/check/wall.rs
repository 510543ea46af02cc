//! Proves that the wall around `otelet-core` holds. In a copy of the tree, the core is made to read clocks, touch files and
//! so on, and clippy has to refuse each with the reason in `.clippy.toml`. Then it is made to import the agent and crates of
//! others, which must not compile. Its manifest may name thiserror and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::check::Outcome;
use crate::command::run;
use crate::places;

/// The module that is made to break the rules.
const MODULE: &str = "crates/core/src/decide/mod.rs";

/// The crates that the core may name.
const DEPENDENCIES: [&str; 1] = ["thiserror"];

/// The rows of `.clippy.toml`, and a use of each.
const BREACHES: [(&str, &str); 48] = [
    ("std::time::Instant::now", "std::time::Instant::now()"),
    ("std::time::Instant::elapsed", "instant.elapsed()"),
    ("std::time::SystemTime::now", "std::time::SystemTime::now()"),
    ("std::time::SystemTime::elapsed", "wall.elapsed()"),
    ("std::process::Command::new", "std::process::Command::new(\"true\")"),
    ("std::process::exit", "std::process::exit(0)"),
    ("std::process::abort", "std::process::abort()"),
    ("std::process::id", "std::process::id()"),
    ("std::env::args", "std::env::args()"),
    ("std::env::args_os", "std::env::args_os()"),
    ("std::env::var", "std::env::var(\"HOME\")"),
    ("std::env::var_os", "std::env::var_os(\"HOME\")"),
    ("std::env::vars", "std::env::vars()"),
    ("std::env::vars_os", "std::env::vars_os()"),
    ("std::env::current_dir", "std::env::current_dir()"),
    ("std::env::current_exe", "std::env::current_exe()"),
    ("std::env::temp_dir", "std::env::temp_dir()"),
    ("std::thread::sleep", "std::thread::sleep(std::time::Duration::ZERO)"),
    ("std::thread::spawn", "std::thread::spawn(|| ())"),
    ("std::thread::scope", "std::thread::scope(|_| ())"),
    ("std::thread::Builder::spawn", "std::thread::Builder::new().spawn(|| ())"),
    ("std::fs::read", "std::fs::read(path)"),
    ("std::fs::read_to_string", "std::fs::read_to_string(path)"),
    ("std::fs::read_dir", "std::fs::read_dir(path)"),
    ("std::fs::write", "std::fs::write(path, \"\")"),
    ("std::fs::rename", "std::fs::rename(path, path)"),
    ("std::fs::copy", "std::fs::copy(path, path)"),
    ("std::fs::remove_file", "std::fs::remove_file(path)"),
    ("std::fs::remove_dir_all", "std::fs::remove_dir_all(path)"),
    ("std::fs::create_dir", "std::fs::create_dir(path)"),
    ("std::fs::create_dir_all", "std::fs::create_dir_all(path)"),
    ("std::fs::metadata", "std::fs::metadata(path)"),
    ("std::fs::exists", "std::fs::exists(path)"),
    ("std::fs::File::open", "std::fs::File::open(path)"),
    ("std::fs::File::create", "std::fs::File::create(path)"),
    ("std::fs::OpenOptions::new", "std::fs::OpenOptions::new()"),
    ("std::path::Path::exists", "path.exists()"),
    ("std::path::Path::is_file", "path.is_file()"),
    ("std::path::Path::is_dir", "path.is_dir()"),
    ("std::path::Path::metadata", "path.metadata()"),
    ("std::net::TcpStream::connect", "std::net::TcpStream::connect(\"[::1]:9\")"),
    ("std::net::TcpListener::bind", "std::net::TcpListener::bind(\"[::1]:9\")"),
    ("std::net::UdpSocket::bind", "std::net::UdpSocket::bind(\"[::1]:9\")"),
    ("std::net::ToSocketAddrs::to_socket_addrs", "std::net::ToSocketAddrs::to_socket_addrs(\"localhost:9\")"),
    ("std::io::stdin", "std::io::stdin()"),
    ("std::io::stdout", "std::io::stdout()"),
    ("std::io::stderr", "std::io::stderr()"),
    ("std::collections::hash_map::RandomState", "std::collections::hash_map::RandomState::new()"),
];

/// The rows about types, which a call of their methods breaks as well.
const TYPES: [&str; 2] = ["std::fs::File", "std::net::TcpStream"];

/// Imports that must not compile, by the crate that they name: the agent, and crates that it links.
const IMPORTS: [(&str, &str); 5] = [
    ("otelet", "use otelet::os as _;"),
    ("otelet_config", "use otelet_config as _;"),
    ("fastrand", "use fastrand::u64 as _;"),
    ("smol", "use smol::Timer as _;"),
    ("serde", "use serde::Serialize as _;"),
];

/// Runs the step.
pub fn step() -> Outcome {
    match prove() {
        Ok(detail) => Outcome::Passed(detail),
        Err(report) => Outcome::Failed(report),
    }
}

fn prove() -> Result<String, String> {
    let rules = read(&places::root().join(".clippy.toml"))?;
    let unproved = unproved(&rules);
    if !unproved.is_empty() {
        return Err(format!(
            "error: rows of .clippy.toml and breaches in xtask/src/check/wall.rs differ: {}",
            unproved.join(", ")
        ));
    }
    manifest()?;

    let copy = Copy::new()?;
    let uses: Vec<&str> = BREACHES.iter().map(|(_, line)| *line).collect();
    let linted = copy.with(&function(&uses), "clippy")?;
    let passed: Vec<&str> =
        BREACHES.iter().map(|row| row.0).chain(TYPES).filter(|path| !refused(path, &linted)).collect();
    if !passed.is_empty() {
        return Err(format!("error: not refused in the core: {}\n{linted}", passed.join(", ")));
    }
    let clock = reason("std::time::Instant::now", &rules).ok_or(".clippy.toml: Instant::now has no reason")?;
    if !linted.contains(clock) {
        return Err(format!("error: a read of the clock is refused without the reason: {clock}\n{linted}"));
    }

    let imports: Vec<&str> = IMPORTS.iter().map(|(_, line)| *line).collect();
    let compiled = copy.with(&imports.join("\n"), "check")?;
    let found: Vec<&str> = IMPORTS.iter().map(|row| row.0).filter(|name| !unresolved(name, &compiled)).collect();
    if !found.is_empty() {
        return Err(format!("error: the core can import {}\n{compiled}", found.join(", ")));
    }
    Ok(format!(
        "{} uses of std refused, {} imports do not compile, depends on {}; a clock read: {clock}",
        BREACHES.len(),
        IMPORTS.len(),
        DEPENDENCIES.join(", ")
    ))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))
}

/// The rows of `.clippy.toml` without a breach, and breaches without a row.
fn unproved(rules: &str) -> Vec<String> {
    let rows: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("{ path = \"")?.split('"').next()).collect();
    let tried: BTreeSet<&str> = BREACHES.iter().map(|row| row.0).chain(TYPES).collect();
    rows.symmetric_difference(&tried).map(|path| (*path).to_owned()).collect()
}

/// Checks what the core depends on, for each target and for its build.
fn manifest() -> Result<(), String> {
    let ran = run(
        "dependencies of the core",
        places::cargo()
            .args(["tree", "--package", "otelet-core", "--edges", "normal,build", "--target", "all"])
            .args(["--depth", "1", "--prefix", "none", "--locked"]),
    )?;
    if !ran.ok() {
        return Err(ran.output);
    }
    let names = ran.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let others: Vec<&str> = names.filter(|name| !name.starts_with('[') && !DEPENDENCIES.contains(name)).collect();
    if others.is_empty() { Ok(()) } else { Err(format!("error: otelet-core depends on {}", others.join(", "))) }
}

/// A function that has all of these uses.
fn function(uses: &[&str]) -> String {
    let mut text = String::from(
        "/// Breaks the rules.\npub fn breach(instant: std::time::Instant, wall: std::time::SystemTime, path: &std::path::Path) {\n",
    );
    for line in uses {
        text.push_str(&format!("    let _ = || {line};\n"));
    }
    text.push_str("    let _: Option<(std::fs::File, std::net::TcpStream)> = None;\n}\n");
    text
}

/// A copy of the tree; it is removed at the end.
struct Copy {
    root: PathBuf,
    /// The module as it is in the tree.
    module: String,
}

impl Copy {
    fn new() -> Result<Copy, String> {
        let root = places::target().join("tmp").join("wall");
        let cannot = |cause| format!("{}: cannot write: {cause}", root.display());
        if root.exists() {
            fs::remove_dir_all(&root).map_err(cannot)?;
        }
        copy_tree(&places::root(), &root).map_err(cannot)?;
        let module = read(&root.join(MODULE))?;
        Ok(Copy { root, module })
    }

    /// The output of a verb of cargo that has to refuse the core with this addition.
    fn with(&self, addition: &str, verb: &str) -> Result<String, String> {
        let path = self.root.join(MODULE);
        fs::write(&path, format!("{}\n{addition}", self.module))
            .map_err(|cause| format!("{}: cannot write: {cause}", path.display()))?;
        // The same target directory as for the tree itself, so that dependencies are not checked twice.
        let ran = run(
            &format!("{verb} on the changed copy"),
            places::cargo().current_dir(&self.root).env("CARGO_TARGET_DIR", places::target()).args([
                verb,
                "--package",
                "otelet-core",
                "--lib",
                "--locked",
            ]),
        )?;
        if ran.ok() {
            return Err(format!("error: {verb} accepts a core that breaks the rules\n{}", ran.output));
        }
        Ok(ran.output)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).ok();
    }
}

/// Whether clippy names this path as disallowed.
fn refused(path: &str, output: &str) -> bool {
    output.lines().any(|line| {
        ["use of a disallowed method `", "use of a disallowed type `"]
            .iter()
            .filter_map(|start| line.split_once(start)?.1.split('`').next())
            .any(|named| path == named)
    })
}

/// Whether the compiler has an error that this crate cannot be found.
fn unresolved(name: &str, output: &str) -> bool {
    output.lines().any(|line| {
        ["error[E0432]", "error[E0433]"].iter().any(|code| line.starts_with(code))
            && line.contains(&format!("`{name}`"))
    })
}

/// The reason in `{ path = "PATH", reason = "..." }`.
fn reason<'a>(path: &str, rules: &'a str) -> Option<&'a str> {
    let (_, row) = rules.split_once(&format!("\"{path}\""))?;
    let row = row.split('}').next()?;
    let (_, text) = row.split_once("reason")?;
    text.split('"').nth(1)
}

/// Copies the workspace's own files: neither what is built nor what is hidden, except for `.clippy.toml`.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let hidden = text.starts_with('.') && text != ".clippy.toml";
        if hidden || text == "target" || entry.path() == places::target() {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_for_its_very_path() {
        let output = "error: use of a disallowed method `std::fs::read`\nerror: use of a disallowed type `std::net::TcpStream`\n";
        assert!(refused("std::fs::read", output));
        assert!(refused("std::net::TcpStream", output));
        assert!(!refused("std::fs::read_to_string", output));
        assert!(!refused("std::net::TcpStream::connect", output));
    }

    #[test]
    fn a_crate_that_is_missing_is_told_from_other_errors() {
        let output = "error[E0432]: unresolved import `otelet`\nerror[E0425]: cannot find `smol`\n";
        assert!(unresolved("otelet", output));
        assert!(!unresolved("smol", output));
        assert!(!unresolved("otele", output));
    }

    #[test]
    fn the_reason_is_that_of_the_row() {
        let rules = "disallowed-methods = [\n  { path = \"a::b\", reason = \"one\" },\n  { path = \"a::c\", reason = \"two\" },\n]";
        assert_eq!(reason("a::c", rules), Some("two"));
        assert_eq!(reason("a::d", rules), None);
    }

    #[test]
    fn a_row_without_a_breach_is_named_and_so_is_a_breach_without_a_row() {
        let all: String =
            BREACHES.iter().map(|row| row.0).chain(TYPES).map(|path| format!("  {{ path = \"{path}\" }},\n")).collect();
        assert_eq!(unproved(&all), Vec::<String>::new());
        assert_eq!(unproved(&format!("{all}{{ path = \"std::fs::hard_link\" }}")), ["std::fs::hard_link"]);
        assert_eq!(unproved(all.split_once('\n').unwrap().1), ["std::time::Instant::now"]);
    }
}
