//! The promises whose outcome may differ on ARM64, built for it and run on this machine by qemu. The kernel is told to
//! start ARM64 programs with qemu, so that the agent and its collectors are ARM64 as well.
//! `tests/promises/kit/not_under_qemu.yaml` lists the tests that cannot work there, with reasons, and
//! `left_to_linux.yaml` beside it the files that run on Linux x86-64 alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::build::{self, platforms::Platform};
use crate::check::Outcome;
use crate::check::foreign::{LeftOut, Program, left_to_linux};
use crate::command::{run, run_within};
use crate::places;

pub const TARGET: &str = "aarch64-unknown-linux-musl";
pub const LIST: &str = "tests/promises/kit/not_under_qemu.yaml";

/// The longest time for all tests; they take some four minutes on two busy cores.
const LIMIT: Duration = Duration::from_secs(1200);

/// The kernel's list of programs that an emulator starts, see binfmt_misc in its documentation.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";
const NAME: &str = "otelet-aarch64";

pub fn step() -> Outcome {
    let all = || -> Result<Outcome, String> {
        if cfg!(target_arch = "aarch64") {
            return Ok(Outcome::Passed("this machine is ARM64: the tests ran on it".to_owned()));
        }
        let platform = Platform::named(TARGET)?;
        if let Err(reason) = build::possible(&platform) {
            return Ok(Outcome::Skipped(format!("arm64: not built: {reason}")));
        }
        let [promises] = build::tests(&platform, [build::PROMISES])?;
        let _emulated = match Emulated::new(&platform, &promises) {
            Ok(emulated) => emulated,
            Err(reason) => return Ok(Outcome::Skipped(format!("arm64: not run: {reason}"))),
        };
        tests(&promises, LeftOut::read(LIST)?, &left_to_linux(TARGET)?).map(Outcome::Passed)
    };
    all().unwrap_or_else(Outcome::Failed)
}

/// Runs the promises without those that are left out, whole files among them.
fn tests(program: &Path, left_out: LeftOut, left_to_linux: &[String]) -> Result<String, String> {
    let run = |arguments: &[String]| {
        let mut command = Command::new(program);
        // OTELET_BINARY may name an agent for another processor, which is not under test here.
        command.args(arguments).current_dir(places::root()).env_remove("OTELET_BINARY");
        run_within("the promises on ARM64", &mut command, Some(LIMIT))
    };
    let files = left_out.files.into_iter().map(|(file, reason)| (format!("{file}::"), reason));
    Program { what: "promises", threads: 3, run: &run }.tests(&files.chain(left_out.promises).collect(), left_to_linux)
}

/// ARM64 programs start on this machine as long as this value lives.
struct Emulated {
    registered: Option<PathBuf>,
}

impl Emulated {
    /// Has the kernel start such programs by the first emulator that is there, unless it does so already.
    fn new(platform: &Platform, program: &Path) -> Result<Self, String> {
        if starts(program) {
            return Ok(Self { registered: None });
        }
        let emulators = &platform.needs.emulators;
        let emulator = emulators.iter().find_map(|name| places::on_path(name));
        let emulator = emulator.ok_or_else(|| format!("no {} here", emulators.join(" or ")))?;
        if !Path::new(BINFMT).join("register").exists() {
            let mut mount = Command::new("mount");
            let ran = run("mount", mount.args(["-t", "binfmt_misc", "binfmt_misc", BINFMT]))?;
            if !ran.ok() {
                return Err(format!("binfmt_misc cannot be mounted: {}", ran.last_words()));
            }
        }
        let registered = Path::new(BINFMT).join(NAME);
        fs::write(Path::new(BINFMT).join("register"), registration(platform, &emulator))
            .map_err(|cause| format!("{BINFMT}: an emulator cannot be registered: {cause}"))?;
        let emulated = Self { registered: Some(registered) };
        if starts(program) { Ok(emulated) } else { Err(format!("{} does not start it", emulator.display())) }
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        if let Some(registered) = &self.registered
            && let Err(cause) = fs::write(registered, "-1")
        {
            eprintln!("{}: cannot be taken back: {cause}", registered.display());
        }
    }
}

fn starts(program: &Path) -> bool {
    run("the list of promises on ARM64", Command::new(program).arg("--list")).is_ok_and(|ran| ran.ok())
}

/// The registration at the kernel: a 64-bit little-endian ELF file of this machine, position independent or not, is
/// given to the emulator. The emulator is opened now (F), so that it is also there in another root directory.
fn registration(platform: &Platform, emulator: &Path) -> String {
    let machine = platform.needs.machine.expect("it is a Linux");
    let mut magic = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0";
    magic[18..].copy_from_slice(&machine.to_le_bytes());
    let mut mask = [0xff; 20];
    // EI_OSABI, see elf(5): every ABI is accepted.
    mask[7] = 0;
    // ET_EXEC is 2, ET_DYN 3.
    mask[16] = 0xfe;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    format!(":{NAME}:M::{}:{}:{}:F", hex(&magic), hex(&mask), emulator.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_either_kind_are_given_to_the_emulator() {
        let platform = Platform::named(TARGET).unwrap();
        let said = registration(&platform, Path::new("/usr/bin/qemu-aarch64-static"));
        assert!(said.starts_with(":otelet-aarch64:M::\\x7f\\x45\\x4c\\x46\\x02\\x01"), "{said}");
        assert!(said.contains("\\x02\\x00\\xb7\\x00:\\xff"), "{said}");
        assert!(said.ends_with("\\xfe\\xff\\xff\\xff:/usr/bin/qemu-aarch64-static:F"), "{said}");
    }
}
