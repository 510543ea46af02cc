//! Runs tests that were built for another system, with an emulator of that system. Left out are only the tests in a
//! list, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;

use crate::check::count;
use crate::command::Ran;
use crate::{console, places};

/// The tests that are left out, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Files of promises, without `.rs`.
    pub files: BTreeMap<String, String>,
    /// Single promises, each as `file::name`.
    pub promises: BTreeMap<String, String>,
    /// Promises that are not built for the system, although their files are.
    #[serde(default)]
    pub not_built: BTreeMap<String, String>,
    /// Tests of the library; one that ends with `::` stands for all below it.
    #[serde(default)]
    pub library: BTreeMap<String, String>,
}

impl LeftOut {
    /// Reads the list in this file of the project.
    ///
    /// # Errors
    ///
    /// The list is missing or malformed.
    pub fn read(list: &str) -> Result<Self, String> {
        let path = places::root().join(list);
        let text = fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))?;
        serde_yaml::from_str(&text).map_err(|cause| format!("{}: {cause}", path.display()))
    }
}

/// The file that lists the promises that run on Linux x86-64 alone, with reasons.
pub const LEFT_TO_LINUX: &str = "tests/promises/kit/left_to_linux.yaml";

/// The files of promises, without `.rs`, that are not run on this target although they could be.
///
/// # Errors
///
/// The list is missing or malformed.
pub fn left_to_linux(target: &str) -> Result<Vec<String>, String> {
    let lists = read_left_to_linux()?;
    let files = |name: &str| lists.get(name).into_iter().flatten().map(|(file, _)| file.clone());
    Ok(files("all").chain(files(target)).collect())
}

/// The number of crates whose tests run on Linux alone.
///
/// # Errors
///
/// The list is missing or malformed.
pub fn crates_left_to_linux() -> Result<usize, String> {
    Ok(read_left_to_linux()?.get(CRATES).map_or(0, BTreeMap::len))
}

/// The key of the crates in the list.
const CRATES: &str = "crates";

/// The lists by target, for `all` of them, and of `crates`: each name with its reason.
fn read_left_to_linux() -> Result<BTreeMap<String, BTreeMap<String, String>>, String> {
    let path = places::root().join(LEFT_TO_LINUX);
    let text = fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))?;
    serde_yaml::from_str(&text).map_err(|cause| format!("{}: {cause}", path.display()))
}

/// A program of tests, and how to run it.
pub struct Program<'a> {
    /// The name of the program in messages.
    pub what: &'a str,
    /// The number of its tests that run at a time.
    pub threads: usize,
    /// Runs it with these arguments to its end, or to the limit of time.
    pub run: &'a dyn Fn(&[String]) -> Result<Ran, String>,
}

impl Program<'_> {
    /// Runs its tests without those that are left out and without the files that are left to Linux. A test that fails
    /// or does not end is run once more, alone: an emulator is slower than the system that it stands for, and on a busy
    /// machine a test may give up too early.
    ///
    /// # Errors
    ///
    /// The output of tests that failed twice, or the test that would be left out by accident.
    pub fn tests(&self, left_out: &BTreeMap<String, String>, left_to_linux: &[String]) -> Result<String, String> {
        let (what, paint) = (self.what, console::stdout());
        for (name, reason) in left_out {
            println!("  {}", paint.dim(&format!("{what}: left out: {name}: {reason}")));
        }
        let names = self.names()?;
        let files: Vec<String> = left_to_linux.iter().map(|file| format!("{file}::")).collect();
        let elsewhere = names.iter().filter(|name| files.iter().any(|file| stands_for(file, name))).count();
        let elsewhere = match elsewhere {
            0 => String::new(),
            some => format!("; {some} of {} files are left to Linux x86-64, see {LEFT_TO_LINUX}", files.len()),
        };
        // Without --exact a name stands for all names that contain it, including other tests.
        let parts: Vec<&String> = left_out.keys().chain(&files).collect();
        let is_left_out = |name: &String| parts.iter().any(|part| stands_for(part, name));
        let by_chance = |name: &&String| !is_left_out(name) && parts.iter().any(|part| name.contains(*part));
        if let Some(name) = names.iter().find(by_chance) {
            return Err(format!(
                "{what}: {name} would be left out too, since it contains a name that is: call it otherwise"
            ));
        }
        if let Some(part) = parts.iter().find(|part| !names.iter().any(|name| stands_for(part, name))) {
            return Err(format!("{what}: {part} is to be left out, and is not there"));
        }
        let skips = parts.iter().flat_map(|name| ["--skip".to_owned(), (*name).clone()]);
        let first = (self.run)(&self.arguments(self.threads, skips))?;
        if first.ok() {
            return Ok(format!("{what}: {}{elsewhere}", count(&first.output)));
        }
        let (passed, ignored) = (ended(&first, "ok"), ended(&first, "ignored"));
        let missing = |name: &String| !passed.contains(name) && !ignored.contains(name) && !is_left_out(name);
        let failed: Vec<String> = names.into_iter().filter(missing).collect();
        if failed.is_empty() {
            return Err(format!("{what}: {}\n{}", first.last_words(), first.output));
        }
        for name in &failed {
            let why = why(&first, name).unwrap_or("it has not ended");
            println!("  {}", paint.yellow(&format!("{what}: done once more, alone: {name}: {why}")));
        }
        let exactly = std::iter::once("--exact".to_owned()).chain(failed.iter().cloned());
        let second = (self.run)(&self.arguments(1, exactly))?;
        if !second.ok() {
            return Err(format!("{what}: {}\n{}", second.last_words(), second.output));
        }
        let (all, again) = (passed.len() + failed.len(), failed.len());
        Ok(format!("{what}: {all} passed, {again} of them the second time, {} ignored{elsewhere}", ignored.len()))
    }

    /// The names of all its tests.
    ///
    /// # Errors
    ///
    /// The output in place of a list.
    pub fn names(&self) -> Result<BTreeSet<String>, String> {
        names(&(self.run)(&["--list".to_owned()])?)
    }

    fn arguments(&self, threads: usize, others: impl Iterator<Item = String>) -> Vec<String> {
        std::iter::once(format!("--test-threads={threads}")).chain(others).collect()
    }
}

/// Whether a name of the list stands for this test: one that ends with `::` does for all below it.
fn stands_for(part: &str, name: &str) -> bool {
    if part.ends_with("::") { name.starts_with(part) } else { name == part }
}

/// The names in `a::b: test`.
///
/// # Errors
///
/// The output in place of a list.
pub fn names(ran: &Ran) -> Result<BTreeSet<String>, String> {
    if !ran.ok() {
        return Err(ran.output.clone());
    }
    Ok(ran.stdout.lines().filter_map(|line| Some(line.trim().strip_suffix(": test")?.to_owned())).collect())
}

/// The names in `test a::b ... ok`, or of tests that ended in another way.
fn ended(ran: &Ran, how: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let (name, said) = line.strip_prefix("test ")?.split_once(" ... ")?;
        // An ignored test has its reason behind the word.
        (said.split(',').next() == Some(how)).then(|| name.to_owned())
    };
    ran.output.lines().filter_map(|line| name(line.trim())).collect()
}

/// The first line of a failed test's message, below the line with the place.
fn why<'a>(ran: &'a Ran, name: &str) -> Option<&'a str> {
    let head = format!("---- {name} stdout ----");
    let said =
        ran.output.lines().skip_while(|line| line.trim() != head).skip_while(|line| !line.contains(" panicked at "));
    said.skip(1).find(|line| !line.trim().is_empty()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::sync::Mutex;

    use super::*;

    fn ran(code: i32, output: &str) -> Ran {
        let (status, text) = (ExitStatus::from_raw(code << 8), output.to_owned());
        Ran { status, stdout: text.clone(), output: text, timed_out: false }
    }

    /// Tries a program whose first run prints this, and whose second ends with this status. Returns the result and the
    /// arguments of each run.
    fn trial(left_out: &str, first: &str, second: i32) -> (Result<String, String>, Vec<String>) {
        trial_without(&[], left_out, first, second)
    }

    /// The same, with these files left to Linux.
    fn trial_without(
        files: &[&str],
        left_out: &str,
        first: &str,
        second: i32,
    ) -> (Result<String, String>, Vec<String>) {
        let asked = Mutex::new(Vec::new());
        let run = |arguments: &[String]| {
            let mut asked = asked.lock().unwrap();
            asked.push(arguments.join(" "));
            Ok(match (&*arguments[0], asked.len()) {
                ("--list", _) => ran(0, "a::good: test\na::bad: test\nb::hangs: test\nb::no: test\nb::real: test\n"),
                (_, 2) => ran(101, first),
                _ => ran(second, "test result: of the second\n"),
            })
        };
        let left_out = BTreeMap::from([(left_out.to_owned(), "not there".to_owned())]);
        let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
        let result = Program { what: "them", threads: 3, run: &run }.tests(&left_out, &files);
        (result, asked.into_inner().unwrap())
    }

    const FIRST: &str = "
running 4 tests
test a::good ... ok
test b::real ... ignored, needs a collector
test a::bad ... FAILED
---- a::bad stdout ----

thread 'a::bad' (288) panicked at tests/promises/a.rs:1:2:
waited in vain
";

    #[test]
    fn a_test_that_failed_or_did_not_end_is_repeated_and_no_other() {
        let (result, asked) = trial("b::no", FIRST, 0);

        assert_eq!(result.unwrap(), "them: 3 passed, 2 of them the second time, 1 ignored");
        assert_eq!(asked[..2], ["--list", "--test-threads=3 --skip b::no"]);
        assert_eq!(asked[2], "--test-threads=1 --exact a::bad b::hangs");
        assert_eq!(why(&ran(101, FIRST), "a::bad"), Some("waited in vain"));
        assert_eq!(why(&ran(101, FIRST), "b::hangs"), None);
    }

    #[test]
    fn files_that_are_left_to_linux_are_counted_and_must_have_a_test() {
        let (result, asked) = trial_without(&["a"], "b::no", FIRST, 0);
        let said = result.unwrap();
        assert!(said.ends_with(&format!("; 2 of 1 files are left to Linux x86-64, see {LEFT_TO_LINUX}")), "{said}");
        assert_eq!(asked[1], "--test-threads=3 --skip b::no --skip a::");
        assert_eq!(asked[2], "--test-threads=1 --exact b::hangs");

        let why = trial_without(&["gone"], "b::no", FIRST, 0).0.unwrap_err();
        assert!(why.contains("gone:: is to be left out, and is not there"), "{why}");
    }

    #[test]
    fn each_file_left_to_linux_has_a_reason_exists_and_could_be_run() {
        let mut lists = read_left_to_linux().unwrap();
        for (name, reason) in lists.remove(CRATES).unwrap() {
            let path = places::root().join("crates").join(name.trim_start_matches("otelet-"));
            assert!(path.is_dir() && reason.len() > 10, "{name}: {reason}");
        }
        let targets = [crate::check::arm64::TARGET, crate::check::windows::TARGET];
        assert!(lists.keys().all(|name| name == "all" || targets.contains(&&**name)), "{:?}", lists.keys());
        for (file, reason) in lists.values().flatten() {
            let path = places::root().join(format!("tests/promises/{file}.rs"));
            assert!(path.is_file() && reason.len() > 10, "{file}: {reason}");
        }
        for (target, list) in targets.iter().zip([crate::check::arm64::LIST, crate::check::windows::LIST]) {
            let cannot = LeftOut::read(list).unwrap().files;
            let both: Vec<String> =
                left_to_linux(target).unwrap().into_iter().filter(|file| cannot.contains_key(file)).collect();
            assert!(both.is_empty(), "{list} and {LEFT_TO_LINUX}: {both:?}");
        }
    }

    #[test]
    fn each_file_of_promises_is_compiled() {
        let folder = places::root().join("tests/promises");
        let main = fs::read_to_string(folder.join("main.rs")).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else { continue };
            assert!(main.contains(&format!("\nmod {module};\n")), "{name} is no module of main.rs");
        }
    }

    #[test]
    fn no_test_is_left_out_because_its_name_contains_another() {
        for part in ["b::", "b::no"] {
            assert!(trial(part, FIRST, 0).0.is_ok(), "{part}");
        }
        for part in ["::no", "b::n", "ood"] {
            let why = trial(part, FIRST, 0).0.unwrap_err();
            assert!(why.contains("would be left out too"), "{part}: {why}");
        }
    }

    #[test]
    fn a_test_that_fails_twice_fails_the_run() {
        assert!(trial("b::no", FIRST, 101).0.unwrap_err().starts_with("them: test result: of the second"));
        let all = "test a::good ... ok\ntest a::bad ... ok\ntest b::hangs ... ok\ntest b::real ... ok\n";
        assert!(
            trial("b::no", all, 0).0.unwrap_err().contains("b::real ... ok"),
            "nothing is known that could be done again"
        );
    }

    #[test]
    fn each_entry_of_a_list_has_a_reason_and_an_existing_file() {
        for list in [crate::check::windows::LIST, crate::check::arm64::LIST] {
            let left_out = LeftOut::read(list).unwrap();
            for (file, reason) in &left_out.files {
                let path = places::root().join(format!("tests/promises/{file}.rs"));
                assert!(path.is_file() && reason.len() > 10, "{list}: {file}: {reason}");
            }
            for (name, reason) in left_out.promises.iter().chain(&left_out.not_built).chain(&left_out.library) {
                assert!(name.contains("::") && reason.len() > 10, "{list}: {name}: {reason}");
            }
        }
    }

    /// The steps refuse a name without a test only after a build for another system; this reads the source.
    #[test]
    fn each_promise_in_a_list_is_a_function_of_its_file() {
        for list in [crate::check::windows::LIST, crate::check::arm64::LIST] {
            let left_out = LeftOut::read(list).unwrap();
            for name in left_out.promises.keys().chain(left_out.not_built.keys()) {
                let (file, test) = name.split_once("::").unwrap();
                let path = places::root().join(format!("tests/promises/{file}.rs"));
                let source = std::fs::read_to_string(path).unwrap_or_default();
                assert!(source.contains(&format!("]\nfn {test}() {{")), "{list} names {name}, which is not there");
            }
        }
    }
}
