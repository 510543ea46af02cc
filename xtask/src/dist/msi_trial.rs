//! Tries the MSI under wine as Windows Installer would run it: refused, installed, upgraded and removed, with the service
//! running on the config that it was given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::build::{self, platforms::Platform};
use crate::command::run;
use crate::console;
use crate::dist::trial::{Scratch, said, skipped};
use crate::dist::{msi, payload, stamp::Stamp};
use crate::wine::Wine;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

const CONFIG: &str = "\
receivers: {nop: }
exporters: {nop: }
service: {pipelines: {metrics: {receivers: [nop], exporters: [nop]}}}
";

/// One more action, which fails after all others.
const FAILS: [&str; 2] = [
    "INSERT INTO `CustomAction` (`Action`, `Type`, `Source`, `Target`) VALUES ('Fails', 3073, 'Action', 'Run')",
    "INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`) VALUES ('Fails', 'NOT REMOVE', 4100)",
];

/// Values that must arrive unchanged. Spaces, quotes and brackets stand in a table of the MSI: wine 8 takes the latter two on
/// its command line for something else, and wine 10 like Windows wants quotes around the value alone, which nobody can pass to
/// it.
const ROW: &str = "5;100%TEMP%'x'$$${env:PATH}--purge#1:{a}é日\\.";
const SITE: &str = r#"a "b" \" c:\d [CONFIG_URL] [~] " --purge ""#;

/// Tries the MSI at `path`, and a newer one that is made for it.
///
/// # Errors
///
/// The step that failed.
pub fn msi(platform: &Platform, way: Option<&str>, path: &Path, binary: &Path) -> Result<(), String> {
    let Some(wine) = Wine::find(platform)? else {
        return skipped(path, &format!("no {} here", platform.needs.emulators.join(" or ")));
    };
    let started = Instant::now();
    let scratch = Scratch::new("installed")?;
    let world = World { wine: &wine, scratch: &scratch };
    if let Some(there) = world.what_is_there()? {
        return skipped(path, &format!("{there} is there in this wine already; remove it"));
    }
    scratch.copy(path, "otelet.msi")?;
    scratch.copy(&build::build(platform, build::COLLECTOR, way)?.path, "collector.exe")?;
    scratch.write("config.yaml", CONFIG)?;
    let newer = newer(platform, way, binary)?;
    let to = scratch.dir.join("newer.msi");
    fs::write(&to, newer).map_err(|cause| format!("{}: cannot write: {cause}", to.display()))?;
    let tried = world.tries();
    if tried.is_err() {
        // The next trial starts with nothing, whatever became of this one.
        for package in ["newer.msi", "otelet.msi"] {
            drop(world.msiexec("/x", package, &[]));
        }
    }
    tried?;
    said(
        &format!(
            "installed, upgraded and removed under wine, with the service on its config; refused bad values and an older \
             version; in {}",
            console::seconds(started.elapsed())
        ),
        path,
    );
    Ok(())
}

/// An MSI of the next version, with the same agent and another licence, by which one sees that files are replaced.
fn newer(platform: &Platform, way: Option<&str>, binary: &Path) -> Result<Vec<u8>, String> {
    let binary = fs::read(binary).map_err(|cause| format!("{}: cannot read: {cause}", binary.display()))?;
    let mut entries = payload::windows(&binary, b"{}")?;
    for entry in entries.iter_mut().filter(|entry| entry.path == "LICENSE") {
        entry.content = Some(b"newer".to_vec());
    }
    let stamp = Stamp { version: next_version().leak(), ..Stamp::now()? };
    msi::msi(&entries, &msi::library(platform, way)?, &stamp)
}

fn next_version() -> String {
    let (head, last) = env!("CARGO_PKG_VERSION").rsplit_once('.').expect("a version has points");
    format!("{head}.{}", last.parse::<u32>().map_or(1, |number| number + 1))
}

struct World<'a> {
    wine: &'a Wine,
    scratch: &'a Scratch,
}

/// The agent's state by its own status.
#[derive(Debug, PartialEq)]
struct Snapshot {
    agent: u64,
    uid: String,
    source: String,
    attributes: Value,
}

impl World<'_> {
    fn tries(&self) -> Result<(), String> {
        let url = format!("CONFIG_URL={}", self.path("config.yaml"));
        let collector = format!("COLLECTOR_PATH={}", self.path("collector.exe"));

        // Nothing is left of one that is refused.
        self.refused(
            "otelet.msi",
            &["CONFIG_URL=example"],
            "CONFIG_URL: \"example\" is neither a URL nor an absolute path",
        )?;
        self.nothing_is_there()?;

        // Nor of one that fails at its end, when the service runs already.
        self.patch("otelet.msi", "failing.msi", &FAILS)?;
        self.refused("failing.msi", &[&url, &collector], "this action has no command line")?;
        self.nothing_is_there()?;

        let given = format!("INSERT INTO `Property` (`Property`, `Value`) VALUES ('ATTRIBUTES', 'site={SITE},rack=7')");
        self.patch("otelet.msi", "given.msi", &[&given])?;
        self.done("/i", "given.msi", &[&url, &collector])?;
        let first = self.runs()?;
        same("the source of configs", &first.source, &self.path("config.yaml"))?;
        same("the attributes", &first.attributes, &serde_json::json!({"site": SITE, "rack": "7"}))?;

        // Nor is anything touched by an upgrade that is.
        self.refused("newer.msi", &["CONFIG_PUBLIC_KEY=x"], "CONFIG_PUBLIC_KEY: expected KEY")?;
        same("what runs after a refused upgrade", &self.runs()?, &first)?;

        // A property that is not given keeps its value.
        self.done("/i", "newer.msi", &[&format!("ATTRIBUTES=rack=8,row={ROW}")])?;
        let second = self.runs()?;
        same("the uid after an upgrade", &second.uid, &first.uid)?;
        same("the source after an upgrade", &second.source, &first.source)?;
        same(
            "the attributes after an upgrade",
            &second.attributes,
            &serde_json::json!({"site": SITE, "rack": "8", "row": ROW}),
        )?;
        let licence = self.drive("Program Files/otelet/LICENSE");
        same("the licence after an upgrade", &fs::read_to_string(&licence).unwrap_or_default(), &"newer".to_owned())?;

        self.done("/x", "newer.msi", &["KEEP_STATE=1"])?;
        self.not_there(&["Program Files/otelet"])?;
        self.no_service()?;

        self.done("/i", "newer.msi", &[])?;
        let third = self.runs()?;
        same("the uid after it was kept", &third.uid, &first.uid)?;
        same("the source after it was kept", &third.source, &first.source)?;
        same("the attributes after they were kept", &third.attributes, &second.attributes)?;
        // wine 8 does not log the words of the condition, only that there was one.
        self.refused("otelet.msi", &[], "LaunchConditions")?;
        same("what runs after a refused downgrade", &self.runs()?, &third)?;

        self.done("/x", "newer.msi", &[])?;
        self.nothing_is_there()
    }

    /// Makes another MSI of one.
    fn patch(&self, from: &str, to: &str, queries: &[&str]) -> Result<(), String> {
        self.scratch.copy(&self.scratch.dir.join(from), to)?;
        let mut msibuild = Command::new("msibuild");
        let ran = run("msibuild", msibuild.current_dir(&self.scratch.dir).args([to, "-q"]).args(queries))?;
        if ran.ok() { Ok(()) } else { Err(format!("msibuild: {}", ran.output)) }
    }

    /// As wine calls a file of the scratch directory.
    fn path(&self, name: &str) -> String {
        format!("Z:{}\\{name}", self.scratch.dir.display().to_string().replace('/', "\\"))
    }

    fn drive(&self, path: &str) -> PathBuf {
        self.wine.drive().join(path)
    }

    /// Whether it ended well, and what it wrote into its log.
    fn msiexec(&self, verb: &str, package: &str, properties: &[&str]) -> Result<(bool, String), String> {
        let arguments = [verb, &self.path(package), "/qn", "/l*v", &self.path("log")];
        // The service that it starts would hold a pipe open.
        let mut command = self.wine.command(Path::new("msiexec"));
        command.args(arguments).args(properties).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|cause| format!("msiexec: cannot be started: {cause}"))?;
        let limit = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < limit => thread::sleep(Duration::from_millis(50)),
                _ => {
                    child.kill().ok();
                    child.wait().ok();
                    return Err(format!("msiexec {verb} {package} {properties:?} does not end"));
                }
            }
        };
        // wine 8 writes letters of one byte, Windows of two.
        let mut log = fs::read(self.scratch.dir.join("log")).unwrap_or_default();
        log.retain(|byte| *byte != 0);
        Ok((status.success(), String::from_utf8_lossy(&log).into_owned()))
    }

    fn done(&self, verb: &str, package: &str, properties: &[&str]) -> Result<(), String> {
        let (done, log) = self.msiexec(verb, package, properties)?;
        if done { Ok(()) } else { Err(format!("msiexec {verb} {package} {properties:?} failed\n{log}")) }
    }

    fn refused(&self, package: &str, properties: &[&str], why: &str) -> Result<(), String> {
        let (done, log) = self.msiexec("/i", package, properties)?;
        match (done, log.contains(why)) {
            (true, _) => Err(format!("{package} {properties:?} was installed\n{log}")),
            (false, true) => Ok(()),
            (false, false) => Err(format!("{package} {properties:?}: the log does not say: {why}\n{log}")),
        }
    }

    /// Waits until the service runs its collector, and says what it says.
    fn runs(&self) -> Result<Snapshot, String> {
        let agent = self.drive("Program Files/otelet/otelet.exe");
        let limit = Instant::now() + PATIENCE;
        let ask = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            self.wine.run("otelet", &agent, &words, PATIENCE)
        };
        loop {
            let ran = ask(&["status", "--json"])?;
            let status: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
            if status["collector"]["healthy"] == true && ask(&["service", "status"])?.ok() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return Ok(Snapshot {
                    agent: status["agent"]["pid"].as_u64().unwrap_or_default(),
                    uid: text(&status["agent"]["instance_uid"]),
                    source: text(&status["config"]["source"]),
                    attributes: status["agent"]["attributes"].clone(),
                });
            }
            if Instant::now() > limit {
                let log = fs::read_to_string(self.drive("ProgramData/otelet/log/otelet.log")).unwrap_or_default();
                return Err(format!("the service has no healthy collector\n{}\n{log}", ran.output));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn nothing_is_there(&self) -> Result<(), String> {
        match self.what_is_there()? {
            Some(there) => Err(format!("{there} is there still")),
            None => Ok(()),
        }
    }

    /// Something that an installation makes.
    fn what_is_there(&self) -> Result<Option<String>, String> {
        let made = ["Program Files/otelet", "ProgramData/otelet"].map(|path| self.not_there(&[path]));
        Ok(made.into_iter().chain([self.no_service()]).find_map(Result::err))
    }

    fn not_there(&self, paths: &[&str]) -> Result<(), String> {
        match paths.iter().map(|path| self.drive(path)).find(|path| path.exists()) {
            Some(path) => Err(path.display().to_string()),
            None => Ok(()),
        }
    }

    fn no_service(&self) -> Result<(), String> {
        let ran = self.wine.run("sc", Path::new("sc"), &["query", "otelet"].map(str::to_owned), PATIENCE)?;
        // wine's sc says so by its exit status only.
        if ran.ok() { Err("the service otelet".to_owned()) } else { Ok(()) }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: found {found:?}, wanted {wanted:?}")) }
}
