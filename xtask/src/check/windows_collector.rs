//! The promises that need a real Collector, on Windows: the small distribution, built for it, under the agent in wine.
//! `tests/promises/kit/not_on_windows.yaml` lists the tests that are left out there, as for all others.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::check::count;
use crate::check::foreign::LeftOut;
use crate::check::windows::LIST;
use crate::command::{Ran, run_within};
use crate::wine::Wine;
use crate::{collector, console, places};

const TARGET: &str = "x86_64-pc-windows-gnu";

/// The mark of a test that needs a Collector.
const MARK: &str = "#[ignore = \"needs a real Collector: cargo xtask check --real\"]";

/// The longest time for all of them: 62 s on two cores with a load of six.
const LIMIT: Duration = Duration::from_secs(600);

/// The longest time that wine takes to start its services.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs these tests by the program of the promises, and returns how many passed and how long it took.
///
/// # Errors
///
/// The tests that failed twice, or why no Collector could be made.
pub fn tries(wine: &Wine, promises: &Path) -> Result<String, String> {
    let collector = collector::small_for(TARGET)?;
    let paint = console::stdout();
    let left_out = LeftOut::read(LIST)?;
    let files = files_with_one(&left_out)?;
    // --exact: a part of a name would stand for all names that contain it.
    let run = |what: &str, names: &[String]| -> Result<Ran, String> {
        let mut command = wine.command(promises);
        command.args(["--ignored", "--exact", "--show-output", "--test-threads=2"]).args(names);
        command.env("OTELET_COLLECTOR", seen_from_wine(&collector)).current_dir(places::root());
        run_within(what, &mut command, Some(LIMIT))
    };
    let _awake = Awake::keep(wine)?;
    let what = "the real Collector under wine";
    let listed = run(what, &["--list".to_owned()])?;
    let (skipped, names): (Vec<String>, Vec<String>) =
        names(&listed, &files)?.into_iter().partition(|name| left_out.promises.contains_key(name));
    for name in &skipped {
        println!("  {}", paint.dim(&format!("collector: left out: {name}: {}", left_out.promises[name])));
    }
    let started = Instant::now();
    let first = run(what, &names)?;
    say(&first);
    let again: Vec<String> = names.iter().filter(|name| !is_kept(&first, name)).cloned().collect();
    let kept = format!("collector: {} of {} kept", names.len(), names.len());
    if again.is_empty() {
        return Ok(format!("{kept} in {}", console::seconds(started.elapsed())));
    }
    // As with the other tests under wine: on a busy machine it sometimes takes longer than a test waits.
    println!("  {}", paint.yellow(&format!("collector: done once more: {}", again.join(", "))));
    let second = run(what, &again)?;
    match again.iter().all(|name| is_kept(&second, name)) {
        true => Ok(format!("{kept}, {} of them the second time", again.len())),
        false => Err(format!("{what}: {}, {}\n{}", count(&second.output), second.last_words(), second.output)),
    }
}

/// A wine that stays up between two programs, and lets a Collector start at once.
struct Awake(Child);

impl Awake {
    /// A Collector first asks the service manager whether it is a service. Windows says no at once; wine 8 makes it
    /// wait ten seconds for the pipe of the last started service, whose number is in the registry, unless that number
    /// is removed.
    fn keep(wine: &Wine) -> Result<Self, String> {
        const LAST: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\ServiceCurrent";
        let mut shell = wine.command(Path::new("cmd"));
        // The shell ends with its input.
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let awake = Self(shell.spawn().map_err(|cause| format!("wine: cannot be started: {cause}"))?);
        let limit = Instant::now() + PATIENCE;
        // The service manager answers when it has started all automatic services.
        while !succeeds(wine, "sc", &["query", "PlugPlay"], limit)? {
            if Instant::now() > limit {
                return Err("wine's service manager does not answer".to_owned());
            }
        }
        match succeeds(wine, "reg", &["add", LAST, "/ve", "/t", "REG_DWORD", "/d", "4000000", "/f"], limit)? {
            true => Ok(awake),
            false => Err(format!("wine: reg add {LAST}: refused")),
        }
    }
}

/// Runs a program of wine's own without its output, which services that it starts would hold open for ever.
fn succeeds(wine: &Wine, program: &str, words: &[&str], limit: Instant) -> Result<bool, String> {
    let cannot = |cause| format!("wine {program}: {cause}");
    let mut command = wine.command(Path::new(program));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(cannot)?;
    loop {
        match child.try_wait().map_err(cannot)? {
            Some(status) => return Ok(status.success()),
            None if Instant::now() > limit => {
                child.kill().ok();
                child.wait().ok();
                return Ok(false);
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// The path in wine, which has the root of this system as a drive.
fn seen_from_wine(path: &Path) -> String {
    format!("Z:{}", path.display().to_string().replace('/', "\\"))
}

/// The files of promises, without their ending, that contain such a test.
fn files_with_one(left_out: &LeftOut) -> Result<Vec<String>, String> {
    let folder = places::root().join("tests/promises");
    let cannot = |cause| format!("{}: {cause}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if text.contains(MARK) && !left_out.files.contains_key(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

fn file_of(name: &str) -> String {
    name.split("::").next().unwrap_or_default().to_owned()
}

/// The tests of these files that are marked as needing something.
fn names(listed: &Ran, files: &[String]) -> Result<Vec<String>, String> {
    if !listed.ok() {
        return Err(listed.output.clone());
    }
    let names = listed.stdout.lines().filter_map(|line| line.trim().strip_suffix(": test").map(str::to_owned));
    let names: Vec<String> = names.filter(|name| files.contains(&file_of(name))).collect();
    match names.is_empty() {
        true => Err(format!("no promise of {} needs a real Collector\n{}", files.join(", "), listed.output)),
        false => Ok(names),
    }
}

fn is_kept(ran: &Ran, name: &str) -> bool {
    ran.stdout
        .lines()
        .any(|line| line.trim().strip_prefix("test ").and_then(|line| line.strip_suffix(" ... ok")) == Some(name))
}

/// Prints each test on a line, and what it measured or could not do.
fn say(ran: &Ran) {
    let marks = ["test ", "skipped:", "not validated here:", "memory under wine:"];
    let told = ran.output.lines().map(str::trim).filter(|line| marks.iter().any(|mark| line.starts_with(mark)));
    told.filter(|line| !line.starts_with("test result:")).for_each(|line| println!("  {line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_system_is_one_of_windows() {
        assert_eq!(seen_from_wine(Path::new("/a b/otelcol.exe")), r"Z:\a b\otelcol.exe");
    }

    #[test]
    fn the_files_that_need_a_collector_are_found_by_their_mark() {
        let files = files_with_one(&LeftOut::read(LIST).unwrap()).unwrap();
        assert!(files.iter().any(|file| file == "runs_a_real_collector"), "{files:?}");
        assert!(!files.iter().any(|file| file == "watches_a_real_docker" || file == "stops_in_order"), "{files:?}");
    }
}
