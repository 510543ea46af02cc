//! A wine that runs the agent for Windows on another system: that of `WINEPREFIX`, or one of the project's own in `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::build::platforms::Platform;
use crate::command::{run, run_within};
use crate::{console, places};

/// How long wine may take to make its Windows, and to answer.
const PATIENCE: Duration = Duration::from_secs(180);

/// What Rust's std and Go want of this library, which wine has had since its version 8.9.
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

/// A wine that is ready.
pub struct Wine {
    program: PathBuf,
    prefix: PathBuf,
}

impl Wine {
    /// Finds it, and makes what it needs. None where there is none.
    ///
    /// # Errors
    ///
    /// What it lacks.
    pub fn find(platform: &Platform) -> Result<Option<Wine>, String> {
        let Some(program) = platform.needs.emulators.iter().find_map(|name| places::on_path(name)) else {
            return Ok(None);
        };
        let given = std::env::var_os("WINEPREFIX").map(PathBuf::from);
        let wine = Wine { program, prefix: given.unwrap_or_else(|| places::target().join("wine")) };
        if !wine.prefix.join("drive_c/windows").is_dir() {
            fs::create_dir_all(&wine.prefix).map_err(|cause| format!("{}: {cause}", wine.prefix.display()))?;
            wine.must("making a Windows of wine's", &["wineboot", "--init"])?;
            // Older ones are told so by what they are called, which the agent reports.
            wine.must("making it a Windows 10", &["winecfg", "-v", "win10"])?;
        }
        wine.add_process_prng(platform)?;
        wine.wait_for_services()?;
        Ok(Some(wine))
    }

    /// Where its drive C: is.
    pub fn drive(&self) -> PathBuf {
        self.prefix.join("drive_c")
    }

    /// A program of Windows and its first arguments.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.bare();
        command.arg(program);
        command
    }

    fn bare(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all").env("WINEARCH", "win64").env("DISPLAY", "");
        command
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
            .map_err(|cause| format!("{}: cannot be started: {cause}", self.program.display()))?;
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

    /// Runs one to its end.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn run(
        &self,
        what: &str,
        program: &Path,
        arguments: &[String],
        limit: Duration,
    ) -> Result<crate::command::Ran, String> {
        run_within(what, self.command(program).args(arguments).current_dir(places::root()), Some(limit))
    }
}
