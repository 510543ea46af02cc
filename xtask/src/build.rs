//! `cargo xtask build`: static, stripped, reproducible binaries for the targets of `targets/platforms.yaml`, by the first
//! way that serves on this machine. It says which one was taken, and of those before it why they were not.

pub mod elf;
pub mod lld;
pub mod pe;
pub mod platforms;
mod toolchain;
mod ways;

use std::path::PathBuf;
use std::time::Instant;

use crate::build::elf::Elf;
use crate::build::pe::Pe;
use crate::build::platforms::Platform;
use crate::build::ways::{Recipe, WAYS};
use crate::command::run;
use crate::{Failure, Flags, console, places};

/// The options of `build`, and of `dist`, which builds first.
pub struct Options {
    platforms: Vec<Platform>,
    /// All of the table: what does not exist yet is left out, and said.
    all: bool,
    way: Option<String>,
}

/// A binary, and what it was made with.
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// The way and its tools, for people.
    pub with: String,
    /// The compiler.
    pub rustc: String,
}

impl Options {
    /// Reads the flags; without any, the target of this machine.
    ///
    /// # Errors
    ///
    /// A flag or a value that is not known.
    pub fn parse(verb: &'static str, args: &[String]) -> Result<Options, Failure> {
        let mut options = Options { platforms: Vec::new(), all: false, way: None };
        let mut flags = Flags::new(verb, args);
        while let Some(name) = flags.next_name() {
            match name {
                "--all" => options.all = true,
                "--target" => {
                    let platform = Platform::named(flags.value(name)?).map_err(Failure::Usage)?;
                    options.platforms.push(platform);
                }
                "--way" => {
                    options.way = Some(known_way(flags.value(name)?)?.to_owned());
                }
                _ => return Err(flags.unknown(name)),
            }
        }
        if options.all {
            if !options.platforms.is_empty() {
                return Err(Failure::Usage("--all and --target: give one of them".to_owned()));
            }
            options.platforms = Platform::all()?;
        } else if options.platforms.is_empty() {
            let here = Platform::here()
                .ok_or_else(|| "this machine is not in targets/platforms.yaml; give --target or --all".to_owned())?;
            options.platforms.push(here);
        }
        Ok(options)
    }

    /// The only way to go, if one was named.
    pub fn way(&self) -> Option<&str> {
        self.way.as_deref()
    }

    /// Leaves out what is not `possible`, if all were asked for; otherwise refuses it.
    ///
    /// # Errors
    ///
    /// Why one that was named is not possible.
    pub fn only(&mut self, possible: impl Fn(&Platform) -> Result<(), String>) -> Result<(), Failure> {
        if self.all {
            self.platforms.retain(|platform| possible(platform).is_ok());
            return Ok(());
        }
        self.platforms.iter().try_for_each(|platform| possible(platform).map_err(Failure::Usage))
    }

    /// How many targets there are.
    pub fn count(&self) -> usize {
        self.platforms.len()
    }

    /// Builds each target and hands it to `then`; one that fails does not keep the others from being tried.
    ///
    /// # Errors
    ///
    /// The targets that failed, after each has said why.
    pub fn each(&self, mut then: impl FnMut(&Platform, Binary) -> Result<(), String>) -> Result<(), Failure> {
        let paint = console::stdout();
        let mut failed = Vec::new();
        for platform in &self.platforms {
            println!("{} {}", paint.bold(&platform.target), paint.dim(&platform.needs.is));
            let done = build(platform, "otelet", self.way()).and_then(|built| then(platform, built));
            if let Err(reason) = done {
                println!("  {}", paint.red(&reason));
                failed.push(platform.target.as_str());
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(format!("failed: {}", failed.join(", ")))) }
    }
}

/// The scripted collector of the tests, and the feature that it wants.
pub const COLLECTOR: &str = "fake-collector";

/// Runs the verb.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    Options::parse("build", args)?.each(|_, _| Ok(()))
}

/// A way by its name.
///
/// # Errors
///
/// The names that there are.
pub fn known_way(way: &str) -> Result<&str, Failure> {
    if WAYS.iter().any(|known| known.0 == way) {
        return Ok(way);
    }
    let names = WAYS.map(|known| known.0).join(", ");
    Err(Failure::Usage(format!("--way={way}: no such way; the ways are {names}")))
}

/// Builds one program of the agent's package for one target, by `way` or by the first that serves.
///
/// # Errors
///
/// The compiler's output, or the tools to install where no way serves.
pub fn build(platform: &Platform, program: &str, way: Option<&str>) -> Result<Binary, String> {
    compile(platform, program, Kind::Program, found(platform, way)?)
}

/// Builds the library of one package, for Windows to load.
///
/// # Errors
///
/// As [`build`].
pub fn library(platform: &Platform, package: &str, way: Option<&str>) -> Result<PathBuf, String> {
    Ok(compile(platform, package, Kind::Library, found(platform, way)?)?.path)
}

/// The output of a build.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Program,
    Library,
}

fn found(platform: &Platform, way: Option<&str>) -> Result<Recipe, String> {
    let paint = console::stdout();
    for (name, find) in WAYS.iter().filter(|known| way.is_none_or(|way| way == known.0)) {
        match find(platform) {
            Ok(recipe) => {
                println!("  {}", paint.green(&format!("{name}: taken: {}", recipe.with)));
                return Ok(recipe);
            }
            Err(reason) => println!("  {}", paint.dim(&format!("{name}: {reason}"))),
        }
    }
    Err(ways::what_to_install(platform))
}

/// The source of a program of tests, and how cargo is asked for it.
pub type Tests = (&'static str, &'static [&'static str]);
/// The tests of the library.
pub const LIBRARY: Tests = ("src/lib.rs", &["--lib"]);
/// The promises.
pub const PROMISES: Tests = ("tests/promises/main.rs", &["--test", "promises"]);

/// Builds these tests of the agent's package for one target. Answers with the programs.
///
/// # Errors
///
/// The compiler's output, or the tools to install where no way serves.
pub fn tests<const N: usize>(platform: &Platform, options: [Tests; N]) -> Result<[PathBuf; N], String> {
    let Recipe { mut command, mut arguments, rustflags, .. } = found(platform, None)?;
    // Tests of another panic strategy than the programs', with std's own library for tests.
    for argument in arguments.iter_mut().filter(|argument| argument.starts_with("-Zbuild-std=")) {
        *argument = "-Zbuild-std=std,panic_abort,test".to_owned();
    }
    command
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\u{1f}"))
        .env("CARGO_TARGET_DIR", places::target().join("cross"))
        .arg("test")
        .args(arguments)
        .args(["--no-run", "--locked", "--package", "otelet"])
        .args(options.iter().flat_map(|tests| tests.1))
        .args(["--target", &platform.target]);
    let ran = run(&format!("building the tests for {}", platform.target), &mut command)?;
    if !ran.ok() {
        return Err(format!("the tests cannot be built\n{}", ran.output));
    }
    let named = |test: &str| {
        // Executable tests/promises/main.rs (target/cross/TARGET/debug/deps/promises-0123456789abcdef.exe)
        let line = ran.output.lines().find(|line| line.contains("Executable ") && line.contains(test));
        let path =
            line.and_then(|line| line.split_once('(')?.1.strip_suffix(')')).map(|path| places::root().join(path));
        path.ok_or_else(|| format!("cargo does not say where the tests of {test} are\n{}", ran.output))
    };
    let mut programs = [const { PathBuf::new() }; N];
    for (program, (source, _)) in programs.iter_mut().zip(options) {
        *program = named(source)?;
    }
    Ok(programs)
}

/// Whether any way serves.
///
/// # Errors
///
/// The tools to install.
pub fn possible(platform: &Platform) -> Result<(), String> {
    let serves = WAYS.iter().any(|(_, find)| find(platform).is_ok());
    if serves { Ok(()) } else { Err(ways::what_to_install(platform)) }
}

fn compile(platform: &Platform, program: &str, kind: Kind, recipe: Recipe) -> Result<Binary, String> {
    let Recipe { mut command, arguments, with, rustc, rustflags, release, remapped } = recipe;
    let taken = platform.every.rustflags.iter().filter(|flag| !platform.needs.without.contains(flag));
    let mut flags: Vec<String> = taken.cloned().collect();
    flags.extend(platform.needs.rustflags.iter().cloned());
    flags.extend(rustflags);
    flags.extend(release);
    // Neither the name of a person nor that of a directory may be in the binary: two directories give the same bytes.
    flags.extend(remapped.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    flags.push(format!("--remap-path-prefix={}=crates", cargo_home().join("registry/src").display()));
    flags.push(format!("--remap-path-prefix={}=otelet", places::root().display()));
    let folder = places::target().join("cross");
    command
        .env_remove("RUSTFLAGS")
        // Between the flags; a path may have a space in it.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env(format!("CFLAGS_{}", platform.underscored()), platform.every.cflags.join(" "))
        .env("CARGO_TARGET_DIR", &folder)
        .arg("build")
        .args(arguments)
        .args(["--release", "--locked", "--target", &platform.target]);
    match kind {
        // Tests alone have its feature on by themselves.
        Kind::Program if program == COLLECTOR => {
            command.args(["--package", "otelet", "--bin", COLLECTOR, "--features", COLLECTOR])
        }
        Kind::Program => command.args(["--package", "otelet", "--bin", program]),
        Kind::Library => command.args(["--package", program, "--lib"]),
    };
    let started = Instant::now();
    let ran = run(&format!("building {program} for {}", platform.target), &mut command)?;
    if !ran.ok() {
        return Err(format!("cannot be built\n{}", ran.output));
    }
    let release = folder.join(&platform.target).join("release");
    let path = match kind {
        Kind::Program => release.join(platform.program(program)),
        Kind::Library => release.join(format!("{}.dll", program.replace('-', "_"))),
    };
    let is = inspect(platform, kind, &path)?;
    let size = std::fs::metadata(&path).map_err(|cause| format!("{}: {cause}", path.display()))?.len();
    println!(
        "  {program}: {} ({size} bytes), {is}, in {}: {}",
        console::bytes(size),
        console::seconds(started.elapsed()),
        path.display()
    );
    Ok(Binary { path, with, rustc })
}

/// The kind of a binary in a word; a binary that must not be released is an error.
fn inspect(platform: &Platform, kind: Kind, path: &std::path::Path) -> Result<&'static str, String> {
    if let Some(machine) = platform.needs.pe {
        return inspect_pe(machine, kind, path);
    }
    let machine = platform.needs.machine.expect("a target has one of the two");
    let elf = Elf::read(path)?;
    if elf.machine != machine {
        return Err(format!("{}: is for machine {}, not for {machine}", path.display(), elf.machine));
    }
    match (elf.is_static, elf.position_independent) {
        (false, _) => Err(format!("{}: wants a dynamic loader; it must run on any distribution", path.display())),
        (true, true) => Ok("static-pie"),
        (true, false) => Ok("static, not position independent: rustc has no static-pie for this target by this way"),
    }
}

/// The same for Windows: what an attacker may count on, and which libraries have to be there.
fn inspect_pe(machine: u16, kind: Kind, path: &std::path::Path) -> Result<&'static str, String> {
    let pe = Pe::read(path)?;
    let no = |what: String| Err(format!("{}: {what}", path.display()));
    if pe.machine != machine {
        return no(format!("is for machine {:#x}, not for {machine:#x}", pe.machine));
    }
    if kind == Kind::Program && !pe.console {
        return no("is no program for the console".to_owned());
    }
    if !(pe.moves && pe.moves_far && pe.no_execute) {
        return no("is not for random addresses, all 64 bits of them, or lets data be executed".to_owned());
    }
    match pe.imports.iter().find(|name| !pe::of_windows(name)) {
        Some(name) => no(format!("wants {name}, which Windows does not have")),
        None => Ok("for random addresses, needs nothing but Windows"),
    }
}

fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, Failure> {
        Options::parse("build", &args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    fn complaint(args: &[&str]) -> String {
        match parse(args) {
            Err(Failure::Usage(message)) => message,
            Err(Failure::Failed(message)) => panic!("not about usage: {message}"),
            Ok(_) => panic!("accepted: {args:?}"),
        }
    }

    #[test]
    fn a_way_or_target_that_is_not_known_is_answered_with_those_that_are() {
        assert_eq!(complaint(&["--way=x"]), "--way=x: no such way; the ways are rustup-target, cross, zig, zig-std");
        assert!(complaint(&["--target=x"]).starts_with("x: not in targets/platforms.yaml"));
        assert_eq!(
            complaint(&["--all", "--target=armv7-unknown-linux-musleabihf"]),
            "--all and --target: give one of them"
        );
    }

    #[test]
    fn all_is_the_whole_table() {
        assert_eq!(parse(&["--all"]).ok().unwrap().platforms.len(), Platform::all().unwrap().len());
    }
}
