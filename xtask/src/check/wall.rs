//! Proves that the wall around `src/decide` holds: in a copy of the tree, what the wall is there to stop is put into
//! `src/decide/mod.rs`, and clippy has to refuse each of it with the reason that `.clippy.toml` gives.

use std::fs;
use std::path::Path;

use crate::check::Outcome;
use crate::command::run;
use crate::places;

/// What a decision must not call, and a line of Rust that does.
const BREACHES: [(&str, &str); 8] = [
    ("std::time::Instant::now", "std::time::Instant::now();"),
    ("std::time::SystemTime::now", "std::time::SystemTime::now();"),
    ("std::thread::sleep", "std::thread::sleep(std::time::Duration::ZERO);"),
    ("std::env::var", "std::env::var(\"HOME\").ok();"),
    ("std::fs::read", "std::fs::read(\"/\").ok();"),
    ("std::net::TcpStream::connect", "std::net::TcpStream::connect(\"[::1]:9\").ok();"),
    ("std::process::Command::new", "std::process::Command::new(\"true\");"),
    ("fastrand::u64", "fastrand::u64(..);"),
];

/// Runs the step.
pub fn step() -> Outcome {
    match breach() {
        Ok(output) => judge(&output),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Makes the copy with its breaches, and returns what clippy says about it.
fn breach() -> Result<String, String> {
    let copy = places::target().join("tmp").join("wall");
    let cannot = |cause| format!("{}: cannot write: {cause}", copy.display());
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(cannot)?;
    }
    copy_tree(&places::root(), &copy).map_err(cannot)?;
    let module = copy.join("src/decide/mod.rs");
    let mut text = fs::read_to_string(&module).map_err(cannot)?;
    text.push_str("\n/// What the wall is there to stop.\npub fn breach() {\n");
    for (_, line) in BREACHES {
        text.push_str(&format!("    let _ = {line}\n"));
    }
    text.push_str("}\n");
    fs::write(&module, text).map_err(cannot)?;
    // The same target directory as for the tree itself, so that dependencies are not checked twice.
    let ran = run(
        "clippy on the breached copy",
        places::cargo().current_dir(&copy).env("CARGO_TARGET_DIR", places::target()).args([
            "clippy",
            "--package",
            "otelet",
            "--lib",
            "--locked",
        ]),
    )?;
    fs::remove_dir_all(&copy).ok();
    if ran.ok() {
        return Err(format!(
            "clippy passes on a copy whose src/decide reads the clock; is the lint denied there?\n{}",
            ran.output
        ));
    }
    Ok(ran.output)
}

fn judge(output: &str) -> Outcome {
    let rules = [".clippy.toml", "clippy.toml"]
        .iter()
        .find_map(|name| fs::read_to_string(places::root().join(name)).ok())
        .unwrap_or_default();
    let passed: Vec<&str> = BREACHES.iter().map(|(path, _)| *path).filter(|path| !refused(path, output)).collect();
    if !passed.is_empty() {
        return Outcome::Failed(format!("not refused in src/decide: {}\n{output}", passed.join(", ")));
    }
    match reason("std::time::Instant::now", &rules) {
        Some(reason) if output.contains(reason) => {
            Outcome::Passed(format!("{} of {} refused; a clock read: {reason}", BREACHES.len(), BREACHES.len()))
        }
        Some(reason) => Outcome::Failed(format!("refused without the reason: {reason}\n{output}")),
        None => Outcome::Failed(".clippy.toml: no reason is given with std::time::Instant::now".to_owned()),
    }
}

/// Whether clippy names `path`, or the type it belongs to, as disallowed.
fn refused(path: &str, output: &str) -> bool {
    output.lines().any(|line| {
        ["use of a disallowed method `", "use of a disallowed type `"]
            .iter()
            .filter_map(|start| line.split_once(start)?.1.split('`').next())
            .any(|named| path == named || path.starts_with(&format!("{named}::")))
    })
}

/// The reason in `{ path = "PATH", reason = "..." }`.
fn reason<'a>(path: &str, rules: &'a str) -> Option<&'a str> {
    let (_, row) = rules.split_once(&format!("\"{path}\""))?;
    let row = row.split('}').next()?;
    let (_, text) = row.split_once("reason")?;
    text.split('"').nth(1)
}

/// Copies the workspace's own files: neither what is built nor what is hidden, except for what cargo and clippy read.
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
    fn a_refusal_counts_for_the_very_method_or_its_type() {
        let output = "error: use of a disallowed method `std::fs::read`\nerror: use of a disallowed type `std::net::TcpStream`\n";
        assert!(refused("std::fs::read", output));
        assert!(refused("std::net::TcpStream::connect", output));
        assert!(!refused("std::fs::read_to_string", output));
        assert!(!refused("std::env::var", output));
    }

    #[test]
    fn the_reason_is_that_of_the_row() {
        let rules = "disallowed-methods = [\n  { path = \"a::b\", reason = \"one\" },\n  { path = \"a::c\", reason = \"two\" },\n]";
        assert_eq!(reason("a::c", rules), Some("two"));
        assert_eq!(reason("a::d", rules), None);
    }
}
