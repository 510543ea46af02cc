//! The ways to build for another machine. Each says what it would run, or why it cannot; the first that can is taken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::build::platforms::Platform;
use crate::build::toolchain::{Toolchain, Zig};
use crate::command::run_within;
use crate::places;

/// How long a container engine may take to say that it is there.
const ENGINE_LIMIT: Duration = Duration::from_secs(20);

/// A way that can be gone.
pub struct Recipe {
    /// Cargo, or what stands in for it.
    pub command: Command,
    /// The arguments after its verb.
    pub arguments: Vec<String>,
    /// Its tools, for people.
    pub with: String,
    /// The compiler, for the bill of materials.
    pub rustc: String,
    /// Flags for rustc, besides those of every target.
    pub rustflags: Vec<String>,
    /// Flags for rustc for what is released: it never unwinds, as tests do.
    pub release: Vec<String>,
    /// Paths that the binary must not contain: a directory, and its replacement.
    pub remapped: Vec<(PathBuf, &'static str)>,
}

/// Leaves out the unwind tables of zig's libc and of ring's assembler, which no flag of a compiler keeps away. INSERT says that
/// everything else is as lld would have it.
const NO_UNWIND_TABLES: &[u8] = b"SECTIONS { /DISCARD/ : { *(.eh_frame) } } INSERT AFTER .text;\n";

type Way = (&'static str, fn(&Platform) -> Result<Recipe, String>);

/// The ways, in the order in which they are tried.
pub const WAYS: [Way; 4] =
    [("rustup-target", by_rustup_target), ("cross", by_cross), ("zig", by_zig), ("zig-std", by_zig_with_std)];

/// The tools to install where no way serves, in one line.
pub fn what_to_install(platform: &Platform) -> String {
    let target = &platform.target;
    format!(
        "no way to build for {target} here; either `rustup target add {target}` and {}, or cross and a container engine, \
         or `pip install ziglang cargo-zigbuild` and that rustup target or `rustup component add rust-src`",
        platform.needs.compilers.join(" or "),
    )
}

/// A target of rustup, with a C compiler from PATH.
fn by_rustup_target(platform: &Platform) -> Result<Recipe, String> {
    let toolchain = with_std(platform)?;
    let compiler = platform
        .needs
        .compilers
        .iter()
        .find_map(|name| places::on_path(name))
        .ok_or_else(|| format!("std is installed, but not {}", platform.needs.compilers.join(" or ")))?;
    let mut command = toolchain.cargo();
    command
        .env(format!("CC_{}", platform.underscored()), &compiler)
        .env(format!("CARGO_TARGET_{}_LINKER", platform.underscored().to_uppercase()), &compiler);
    let with = format!("{}, {}", toolchain.name(), compiler.display());
    Ok(Recipe {
        command,
        arguments: Vec::new(),
        with,
        rustc: toolchain.version.clone(),
        rustflags: Vec::new(),
        release: Vec::new(),
        remapped: Vec::new(),
    })
}

/// cross, which builds in a container.
fn by_cross(platform: &Platform) -> Result<Recipe, String> {
    let cross = places::on_path("cross").ok_or("cross is not on PATH")?;
    let engine = ["docker", "podman"]
        .into_iter()
        .find(|engine| {
            run_within("asking the engine", Command::new(engine).arg("info"), Some(ENGINE_LIMIT))
                .is_ok_and(|ran| ran.ok())
        })
        .ok_or("no container engine answers: neither docker nor podman")?;
    let toolchain = Toolchain::all().into_iter().next().ok_or("no rustc on PATH")?;
    if platform.target.ends_with("gnullvm") {
        return Err("it has no image for this target".to_owned());
    }
    let mut command = places::cargo_as(&cross);
    command.env("CROSS_CONTAINER_ENGINE", engine);
    Ok(Recipe {
        command,
        arguments: Vec::new(),
        with: format!("cross by {engine}, {}", toolchain.name()),
        rustc: toolchain.version,
        rustflags: Vec::new(),
        release: Vec::new(),
        // In the container they are there.
        remapped: vec![("/cargo/registry/src".into(), "crates"), ("/project".into(), "otelet")],
    })
}

/// zig, with the std that rustup installed.
fn by_zig(platform: &Platform) -> Result<Recipe, String> {
    let toolchain = with_std(platform)?;
    let zig = Zig::find()?;
    let command = zig.cargo(&toolchain);
    let (rustflags, release) = (for_zig(platform)?, without_unwinding(platform)?);
    let with = format!("{}, zig {}", toolchain.name(), zig.version);
    Ok(Recipe {
        command,
        arguments: Vec::new(),
        with,
        rustc: toolchain.version,
        rustflags,
        release,
        remapped: Vec::new(),
    })
}

/// zig, with std built from its sources.
fn by_zig_with_std(platform: &Platform) -> Result<Recipe, String> {
    let (toolchain, sources) = Toolchain::all()
        .into_iter()
        .find_map(|toolchain| toolchain.sources().map(|sources| (toolchain, sources)))
        .ok_or("no toolchain here has the sources of std: `rustup component add rust-src`, or Debian's rust-web-src")?;
    let zig = Zig::find()?;
    let mut command = zig.cargo(&toolchain);
    // build-std is not stable yet. It is the one thing here that is not, and concerns std alone.
    command.env("RUSTC_BOOTSTRAP", "1");
    let arguments = vec![
        "-Zbuild-std=std,panic_abort".to_owned(),
        format!("-Zbuild-std-features={}", platform.every.std_features.join(",")),
    ];
    let with = format!("{} with std from its sources, zig {}", toolchain.name(), zig.version);
    let (rustflags, release) = (for_zig(platform)?, without_unwinding(platform)?);
    Ok(Recipe {
        command,
        arguments,
        with,
        rustc: toolchain.version,
        rustflags,
        release,
        remapped: vec![(sources, "rust")],
    })
}

/// The first toolchain that has std for it.
fn with_std(platform: &Platform) -> Result<Toolchain, String> {
    Toolchain::all()
        .into_iter()
        .find(|toolchain| toolchain.has_std(&platform.target))
        .ok_or_else(|| format!("std is not installed: `rustup target add {}`", platform.target))
}

/// The flags for zig. Rust's std for Windows asks for libssp, which zig does not have and nothing needs: empty ones serve.
fn for_zig(platform: &Platform) -> Result<Vec<String>, String> {
    let mut flags = platform.needs.zig.clone();
    if platform.is_windows() {
        let folder = places::tools().join("empty-libraries");
        for name in ["libssp.a", "libssp_nonshared.a", "libssp.dll.a"] {
            write_if_other(&folder.join(name), b"!<arch>\n")?;
        }
        flags.push(format!("-Lnative={}", folder.display()));
    }
    Ok(flags)
}

/// Drops the unwinder and its tables; Windows reads them itself.
fn without_unwinding(platform: &Platform) -> Result<Vec<String>, String> {
    if platform.is_windows() {
        return Ok(Vec::new());
    }
    let script = places::tools().join("no-unwind-tables.ld");
    write_if_other(&script, NO_UNWIND_TABLES)?;
    let mut flags = vec![format!("-Clink-arg=-Wl,-T,{}", script.display())];
    // ARMv7 unwinds by other tables and functions.
    if platform.processor() != "armv7" {
        flags.push(format!("-Clink-arg={}", places::root().join("xtask/src/build/no_unwinder.c").display()));
    }
    Ok(flags)
}

fn write_if_other(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let cannot = |cause| format!("{}: cannot write: {cause}", path.display());
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).map_err(cannot)?;
    std::fs::write(path, bytes).map_err(cannot)
}
