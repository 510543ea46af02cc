//! The Rust toolchains and the zig of this machine: the one that runs us, and others on PATH, such as the distribution's.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::lld;
use crate::command::run;
use crate::{console, places};

/// The version that is installed where zig is missing; later ones may link differently.
const ZIG: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];

/// A rustc and its cargo.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// Its directory, in which there is `bin/rustc`.
    pub sysroot: PathBuf,
    /// The output of `rustc --version`.
    pub version: String,
}

impl Toolchain {
    /// All that there are, the one that runs us first.
    pub fn all() -> Vec<Toolchain> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let named = std::env::var_os("RUSTC").map(PathBuf::from);
        let on_path = std::env::split_paths(&path).map(|dir| dir.join(places::program("rustc")));
        let mut all: Vec<Toolchain> = Vec::new();
        for rustc in named.into_iter().chain(on_path.filter(|rustc| rustc.is_file())) {
            if let Some(found) = Toolchain::of(&rustc)
                && all.iter().all(|known| known.sysroot != found.sysroot)
            {
                all.push(found);
            }
        }
        all
    }

    /// Two programs of one toolchain, or nothing: a rustc without its cargo does not build.
    fn of(rustc: &Path) -> Option<Toolchain> {
        // The variables that cargo sets for its children lead a rustc of another toolchain to the wrong libraries.
        let ask = |argument: &[&str]| {
            let ran = run("asking rustc", Command::new(rustc).args(argument).env_remove("LD_LIBRARY_PATH")).ok()?;
            ran.ok().then(|| ran.stdout.trim().to_owned())
        };
        let found = Toolchain { sysroot: ask(&["--print", "sysroot"])?.into(), version: ask(&["--version"])? };
        (found.bin("rustc").is_file() && found.bin("cargo").is_file()).then_some(found)
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(places::program(name))
    }

    /// Whether std for `target` is installed.
    pub fn has_std(&self, target: &str) -> bool {
        self.sysroot.join("lib/rustlib").join(target).join("lib").is_dir()
    }

    /// Where the sources of std are, if they are there.
    pub fn sources(&self) -> Option<PathBuf> {
        let rust = self.sysroot.join("lib/rustlib/src/rust");
        rust.join("library/Cargo.lock").is_file().then_some(rust)
    }

    /// A short name: `rustc 1.95.0`.
    pub fn name(&self) -> String {
        self.version.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// Makes `command` use this toolchain, whatever else is on PATH.
    pub fn lend<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(self.sysroot.join("bin")).chain(std::env::split_paths(&path));
        command
            .env("PATH", std::env::join_paths(dirs).expect("it came from PATH"))
            .env("RUSTC", self.bin("rustc"))
            .env("CARGO", self.bin("cargo"))
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("LD_LIBRARY_PATH")
    }

    /// Its cargo, in the workspace.
    pub fn cargo(&self) -> Command {
        let mut command = places::cargo_as(&self.bin("cargo"));
        self.lend(&mut command);
        command
    }
}

/// cargo-zigbuild, and the zig that it uses.
#[derive(Debug)]
pub struct Zig {
    zigbuild: PathBuf,
    /// Empty where it is a module of Python.
    zig: PathBuf,
    /// The output of `zig version`.
    pub version: String,
}

impl Zig {
    /// From PATH, from `target/tools`, or put there now by Python's pip: 500 MB, a minute once.
    ///
    /// # Errors
    ///
    /// Why neither serves.
    pub fn find() -> Result<Zig, String> {
        if let Some(zigbuild) = places::on_path("cargo-zigbuild") {
            let zig = std::env::var_os("CARGO_ZIGBUILD_ZIG_PATH").map(PathBuf::from).or_else(|| places::on_path("zig"));
            return Zig::of(zigbuild, zig);
        }
        let folder = places::tools().join("zig");
        let zigbuild = folder.join("bin/cargo-zigbuild");
        if !zigbuild.is_file() {
            install(&folder)?;
        }
        let zig = unpacked(&folder).ok_or_else(|| format!("{}: has no zig; remove it", folder.display()))?;
        Zig::of(zigbuild, Some(zig))
    }

    fn of(zigbuild: PathBuf, zig: Option<PathBuf>) -> Result<Zig, String> {
        let zig = zig.unwrap_or_default();
        let ran = run("asking zig", lld::command(&zig).arg("version"))
            .map_err(|_| "cargo-zigbuild is here, but no zig: pip install ziglang")?;
        if !ran.ok() {
            return Err(format!("cargo-zigbuild is here, but no zig: {}", ran.last_words()));
        }
        Ok(Zig { zigbuild, zig, version: ran.stdout.trim().to_owned() })
    }

    /// `cargo-zigbuild` in the workspace.
    pub fn cargo(&self, toolchain: &Toolchain) -> Command {
        let mut command = places::cargo_as(&self.zigbuild);
        toolchain.lend(&mut command);
        // This program stands in for zig, for the flags that only its lld knows.
        if let Ok(this) = std::env::current_exe() {
            command.env("CARGO_ZIGBUILD_ZIG_PATH", this).env(lld::ZIG, &self.zig);
        }
        command
    }
}

/// The zig of a Python environment.
fn unpacked(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder.join("lib")).ok()?;
    versions.flatten().map(|version| version.path().join("site-packages/ziglang/zig")).find(|zig| zig.is_file())
}

fn install(folder: &Path) -> Result<(), String> {
    let names = ZIG.join(" and ");
    let by_hand = |reason: String| format!("{names} cannot be installed by pip: {reason}");
    eprintln!("{}", console::stderr().dim(&format!("  installing {names} into target/tools")));
    // Where ensurepip is packaged apart, the environment has no pip of its own.
    let made = run("making a Python environment", Command::new("python3").args(["-m", "venv"]).arg(folder));
    match made {
        Ok(ran) if ran.ok() => {}
        Ok(ran) => {
            std::fs::remove_dir_all(folder).ok();
            return Err(by_hand(format!("python3 -m venv: {}", ran.last_words())));
        }
        Err(reason) => return Err(by_hand(reason)),
    }
    let pip = folder.join("bin/pip");
    let installed = run("installing zig", Command::new(&pip).args(["install", "--quiet"]).args(ZIG))?;
    if !installed.ok() {
        std::fs::remove_dir_all(folder).ok();
        return Err(by_hand(installed.last_words()));
    }
    Ok(())
}
