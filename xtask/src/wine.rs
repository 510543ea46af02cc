//! A wine that runs the agent for Windows on another system: that of this machine if it is new enough, or else one of a
//! newer Debian, which is kept in `target/`. Its Windows is that of `WINEPREFIX`, or one of the project's own in `target/`.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::build::platforms::Platform;
use crate::command::{Ran, run, run_within};
use crate::{console, places};

/// How long wine may take to make its Windows, and to answer; and how long a Debian may take to come.
const PATIENCE: Duration = Duration::from_secs(180);
const FETCHING: Duration = Duration::from_secs(900);

/// The version that the promises hold under. 8.0 loses the end of a pipe or a connection now and then, and shows ACLs by the
/// modes of Unix; what is between the two was not tried.
const NEW_ENOUGH: Version = Version(10, 0);

/// The Debian that has it.
const SUITE: &str = "trixie";

/// Functions of this library that Rust's std and Go need: Debian's wine 8.0 lacks them and its 10.0 has them.
const PROCESS_PRNG: &str = "\
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T size) {
  while (size) {
    ULONG piece = size > 0x10000000 ? 0x10000000 : (ULONG)size;
    if (!SystemFunction036(to, piece)) return FALSE;
    to += piece;
    size -= piece;
  }
  return TRUE;
}
";

/// Of a wine: `wine-10.0 (Debian 10.0~repack-6)`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Version(u32, u32);

impl Version {
    fn parse(said: &str) -> Option<Self> {
        let number = |text: &str| text.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok();
        let (major, minor) = said.lines().find_map(|line| line.strip_prefix("wine-"))?.split_once('.')?;
        Some(Self(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A wine that is ready.
pub struct Wine {
    launcher: Launcher,
    version: Version,
    prefix: PathBuf,
    /// Whether the prefix is nobody else's.
    own: bool,
}

/// The program that starts it.
#[derive(Clone)]
enum Launcher {
    /// This machine's own.
    Here(PathBuf),
    /// The loader of the Debian whose `/usr` this is.
    Debian(PathBuf),
}

impl Launcher {
    /// Wine itself, or its server, which is beside it.
    fn command(&self, is_server: bool) -> Command {
        match self {
            Self::Here(wine) if is_server => Command::new(wine.with_file_name("wineserver")),
            Self::Here(wine) => Command::new(wine),
            Self::Debian(usr) => {
                // Everything but /usr is this machine's, so that each path means the same inside. The mount is gone with
                // the last process that sees it.
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /usr && exec \"$@\""]).arg(usr);
                command.arg(if is_server { "/usr/bin/wineserver-stable" } else { "/usr/bin/wine-stable" });
                command
            }
        }
    }

    fn version(&self) -> Result<Version, String> {
        let ran = run_within("wine --version", self.command(false).arg("--version"), Some(PATIENCE))?;
        Version::parse(&ran.stdout)
            .ok_or_else(|| format!("wine does not say which version it is: {}", ran.last_words()))
    }
}

impl Wine {
    /// Finds it, and makes what it needs. None where there is none.
    ///
    /// # Errors
    ///
    /// The part that it lacks.
    pub fn find(platform: &Platform) -> Result<Option<Wine>, String> {
        // None runs programs for another processor.
        if platform.needs.emulators.is_empty() {
            return Ok(None);
        }
        // `cargo xtask prepare` may be fetching it right now.
        let lock = places::target().join("wine.lock");
        let cannot = |cause| format!("{}: cannot lock: {cause}", lock.display());
        fs::create_dir_all(places::target()).map_err(cannot)?;
        let _one_at_a_time = fs::File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(cannot)?;
        let given = std::env::var_os("WINEPREFIX").map(PathBuf::from);
        let Some((launcher, version)) = choose(platform, given.is_some()) else { return Ok(None) };
        let own = given.is_none();
        // Another version would change a Windows for good.
        let prefix = given.unwrap_or_else(|| places::target().join(format!("wine-{version}")));
        let wine = Wine { launcher, version, prefix, own };
        wine.make_windows()?;
        wine.add_process_prng(platform)?;
        wine.wait_for_services()?;
        Ok(Some(wine))
    }

    /// Where its drive C: is.
    pub fn drive(&self) -> PathBuf {
        self.prefix.join("drive_c")
    }

    /// Why the promises cannot be expected to hold under it, if so.
    pub fn too_old(&self) -> Option<String> {
        (self.version < NEW_ENOUGH).then(|| {
            format!("wine {} loses the end of a pipe now and then; it takes {NEW_ENOUGH} or later", self.version)
        })
    }

    /// The directory with `drive_c` in it.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// A program of Windows and its first arguments: a path of this system's, or the name of one that wine itself has.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.bare();
        command.arg(program);
        command
    }

    fn bare(&self) -> Command {
        self.surrounded(self.launcher.command(false))
    }

    fn surrounded(&self, mut command: Command) -> Command {
        command
            .env_remove("OTELET_BINARY")
            .env("WINEPREFIX", self.prefix())
            .env("WINEDEBUG", "-all")
            .env("WINEARCH", "win64")
            .env("DISPLAY", "");
        // Nothing is shown, and nobody is asked whether more is to be fetched.
        command.env("WINEDLLOVERRIDES", "mscoree,mshtml,winewayland.drv=");
        command
    }

    /// Has wine make its Windows, unless it has done so to the end.
    fn make_windows(&self) -> Result<(), String> {
        let cannot = |cause: std::io::Error| format!("{}: {cause}", self.prefix.display());
        let made = self.prefix.join("made-by-xtask");
        if made.is_file() || (!self.own && self.prefix.join("drive_c/windows").is_dir()) {
            return Ok(());
        }
        if self.own && self.prefix.exists() {
            // Half of one.
            fs::remove_dir_all(&self.prefix).map_err(cannot)?;
        }
        fs::create_dir_all(&self.prefix).map_err(cannot)?;
        self.must("making a Windows of wine's", &["wineboot", "--init"])?;
        // Older ones are told so by what they are called, which the agent reports.
        self.must("making it a Windows 10", &["winecfg", "-v", "win10"])?;
        // The registry is written when the server ends.
        let mut server = self.surrounded(self.launcher.command(true));
        let ran = run_within("waiting for wine's server", server.arg("--wait"), Some(PATIENCE))?;
        if !ran.ok() {
            return Err(format!("wine's server does not end: {}", ran.last_words()));
        }
        fs::write(made, "").map_err(cannot)
    }

    fn must(&self, what: &str, arguments: &[&str]) -> Result<(), String> {
        // Services that it starts hold its stdout open for ever: what it says goes into a file.
        let log = self.prefix.join("log");
        let file = fs::File::create(&log).map_err(|cause| format!("{}: {cause}", log.display()))?;
        let second = file.try_clone().map_err(|cause| format!("{}: {cause}", log.display()))?;
        let mut child = self
            .bare()
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .stdout(file)
            .stderr(second)
            .spawn()
            .map_err(|cause| format!("wine cannot be started: {cause}"))?;
        let limit = Instant::now() + PATIENCE;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(None) if Instant::now() < limit => std::thread::sleep(Duration::from_millis(100)),
                ended => {
                    child.kill().ok();
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    return Err(format!("{what}: {ended:?}\n{said}"));
                }
            }
        }
    }

    /// The database of services is locked for some seconds.
    fn wait_for_services(&self) -> Result<(), String> {
        let limit = Instant::now() + PATIENCE;
        loop {
            match self.must("asking wine's service manager", &["sc", "query", "winmgmt"]) {
                Err(reason) if Instant::now() > limit => return Err(reason),
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn add_process_prng(&self, platform: &Platform) -> Result<(), String> {
        const NAME: &str = "bcryptprimitives.dll";
        let library = self.prefix.join("drive_c/windows/system32").join(NAME);
        if library.is_file() {
            return Ok(());
        }
        let lacks = |why: &str| format!("this wine has no {NAME}, and it cannot be made: {why}");
        let compiler = platform.needs.compilers.iter().find_map(|name| places::on_path(name));
        let compiler = compiler.ok_or_else(|| lacks(&format!("no {} here", platform.needs.compilers.join(" or "))))?;
        let source = self.prefix.join("bcryptprimitives.c");
        fs::write(&source, PROCESS_PRNG).map_err(|cause| format!("{}: {cause}", source.display()))?;
        let mut command = Command::new(compiler);
        command.args(["-O2", "-s", "-shared", "-o"]).arg(&library).arg(&source).arg("-ladvapi32");
        let ran = run(NAME, &mut command)?;
        if !ran.ok() {
            return Err(lacks(&ran.last_words()));
        }
        println!("  {}", console::stdout().dim(&format!("made {NAME}, which this wine lacks")));
        Ok(())
    }

    /// Runs one to its end. One that takes longer is ended, with all that runs in the project's own Windows.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn run(&self, what: &str, program: &Path, arguments: &[String], limit: Duration) -> Result<Ran, String> {
        let ran = run_within(what, self.command(program).args(arguments).current_dir(places::root()), Some(limit))?;
        if ran.timed_out && self.own {
            let mut server = self.surrounded(self.launcher.command(true));
            run_within("ending wine's server", server.arg("--kill"), Some(PATIENCE))?;
        }
        Ok(ran)
    }
}

/// The first wine that is new enough, or else the one that there is. Says which, and why not another.
fn choose(platform: &Platform, prefix_is_given: bool) -> Option<(Launcher, Version)> {
    let paint = console::stdout();
    let found = platform.needs.emulators.iter().find_map(|name| places::on_path(name)).map(|path| {
        let launcher = Launcher::Here(path.clone());
        (path, launcher.version().map(|version| (launcher, version)))
    });
    let here = match found {
        None => None,
        Some((path, Ok((launcher, version)))) => {
            if version >= NEW_ENOUGH || prefix_is_given {
                println!("  {}", paint.green(&format!("{}: taken: wine {version}", path.display())));
                return Some((launcher, version));
            }
            println!("  {}", paint.dim(&format!("{}: wine {version} is older than {NEW_ENOUGH}", path.display())));
            Some((path, launcher, version))
        }
        Some((path, Err(reason))) => {
            println!("  {}", paint.dim(&format!("{}: {reason}", path.display())));
            None
        }
    };
    let newer = debian().and_then(|usr| {
        let launcher = Launcher::Debian(usr.clone());
        let version = launcher.version()?;
        if version < NEW_ENOUGH {
            return Err(format!("{}: has wine {version}", usr.display()));
        }
        println!("  {}", paint.green(&format!("Debian {SUITE}: taken: wine {version} in {}", usr.display())));
        Ok((launcher, version))
    });
    match (newer, here) {
        (Ok(newer), _) => Some(newer),
        (Err(reason), Some((path, launcher, version))) => {
            println!("  {}", paint.dim(&format!("Debian {SUITE}: {reason}")));
            println!(
                "  {}",
                paint.yellow(&format!("{}: taken: wine {version}, there is no newer one", path.display()))
            );
            Some((launcher, version))
        }
        (Err(reason), None) => {
            println!("  {}", paint.dim(&format!("Debian {SUITE}: {reason}")));
            None
        }
    }
}

/// The `/usr` of a Debian with wine in it, which is made once and kept with what cargo builds.
fn debian() -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("its wine is for Linux on x86-64".to_owned());
    }
    let target = places::target();
    if fs::metadata("/proc/self").map(|own| own.uid()).ok() != Some(0) {
        return Err("it takes root".to_owned());
    }
    if fs::canonicalize("/lib").ok() != Some(PathBuf::from("/usr/lib")) {
        return Err("it takes a system whose programs and libraries are all in /usr".to_owned());
    }
    for place in [places::root(), target.clone()] {
        if place.starts_with("/usr") {
            return Err(format!("{}: its /usr would hide this", place.display()));
        }
    }
    let there = target.join(format!("debian-{SUITE}-wine"));
    let usr = there.join("usr");
    if there.is_dir() {
        return Ok(usr);
    }
    if places::on_path("mmdebstrap").is_none() {
        return Err("no mmdebstrap here, to fetch it with".to_owned());
    }
    let scratch = target.join(format!("debian-{SUITE}-wine.{}", std::process::id()));
    // Its mounts end with it, however it ends: the folder removed below belongs to nobody else.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "mmdebstrap", "--variant=minbase", "--include=wine,wine64", "--format=directory", SUITE])
        .arg(&scratch);
    let ran = run_within("fetching a Debian with wine", &mut command, Some(FETCHING))?;
    let made = match ran.ok() {
        // Somebody else may have been quicker.
        true if there.is_dir() => Ok(()),
        true => fs::rename(&scratch, &there).map_err(|cause| format!("{}: {cause}", there.display())),
        false => Err(format!("mmdebstrap: {}", ran.last_words())),
    };
    let _ = fs::remove_dir_all(&scratch);
    made.map(|()| usr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_whatever_follows_it() {
        assert_eq!(Version::parse("wine-10.0 (Debian 10.0~repack-6)\n"), Some(Version(10, 0)));
        assert_eq!(Version::parse("it looks like wine32 is missing\nwine-9.0-rc1\n"), Some(Version(9, 0)));
        assert_eq!(Version::parse("wine-8.21.1 (Staging)"), Some(Version(8, 21)));
        assert_eq!(Version::parse("10.0"), None);
        assert!(Version(8, 21) < NEW_ENOUGH && Version(10, 0) >= NEW_ENOUGH && Version(11, 0) > NEW_ENOUGH);
    }
}
