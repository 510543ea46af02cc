//! Tries what `dist` made by running it: the binary in a directory with nothing else in it, as root the only one that it can
//! see; on another processor by an emulator. Then the packages are unpacked by the tools of their systems. Trials that this
//! machine cannot run are reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::build::{self, platforms::Platform};
use crate::command::{Ran, run, run_within};
use crate::demo::agent::signal;
use crate::wine::Wine;
use crate::{console, places};

/// How long anything may take; an emulated agent on a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(90);

const CONFIG: &str = "\
receivers: {nop: }
exporters: {nop: }
service: {pipelines: {metrics: {receivers: [nop], exporters: [nop]}}}
";

/// Unpacks the archive, and runs the agent in it on a scripted collector.
///
/// # Errors
///
/// The step that failed.
pub fn archive(platform: &Platform, way: Option<&str>, path: &Path) -> Result<(), String> {
    let scratch = Scratch::new("archive")?;
    must("tar", run("tar", Command::new("tar").arg("-xzf").arg(path).arg("-C").arg(&scratch.dir))?)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = scratch.dir.join(name.trim_end_matches(".tar.gz"));
    let tree = scratch.dir.join("tree");
    fs::create_dir_all(tree.join("etc/systemd/system")).map_err(|cause| format!("{}: {cause}", tree.display()))?;
    let install = folder.join("install.sh");
    let mut command = Command::new("sh");
    command.arg(&install).arg(format!("--root={}", tree.display()));
    must("install.sh", run("install.sh", &mut command)?)?;
    if fs::read(tree.join("usr/local/bin/otelet")).ok() != fs::read(folder.join("otelet")).ok() {
        return Err("install.sh: has not put the agent where it says".to_owned());
    }
    supervises(platform, way, &folder.join("otelet"))
}

/// Unpacks the archive for Windows, and has its agent look after a scripted collector under wine: start it, start it again,
/// and take it along when it is killed itself.
///
/// # Errors
///
/// The step that failed.
pub fn zip(platform: &Platform, way: Option<&str>, path: &Path, binary: &Path) -> Result<(), String> {
    if places::on_path("unzip").is_none() {
        return skipped(path, "no unzip here");
    }
    let scratch = Scratch::new("zip")?;
    must("unzip", run("unzip", Command::new("unzip").arg("-q").arg(path).arg("-d").arg(&scratch.dir))?)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let agent = scratch.dir.join(name.trim_end_matches(".zip")).join("otelet.exe");
    if fs::read(&agent).ok() != fs::read(binary).ok() {
        return Err(format!("{}: has another agent than the one that was built", path.display()));
    }
    let Some(wine) = Wine::find(platform)? else {
        let names = platform.needs.emulators.join(" or ");
        let reason = if names.is_empty() { "nothing runs it here".to_owned() } else { format!("no {names} here") };
        return skipped(path, &reason);
    };
    let version = wine.run("otelet version", &agent, &["version".to_owned()], PATIENCE)?;
    if !version.ok() || version.stdout.trim() != format!("otelet {}", env!("CARGO_PKG_VERSION")) {
        return Err(format!("otelet version: {}", version.last_words()));
    }
    let collector = build::build(platform, build::COLLECTOR, way)?.path;
    scratch.copy(&collector, "collector.exe")?;
    scratch.write("config.yaml", CONFIG)?;
    scratch.write("otelet.yaml", "log_level: info\n")?;
    let started = Instant::now();
    let world = World { scratch, prefix: Vec::new(), root: String::new(), how: String::new() };
    let mut running =
        world.start_as(wine.command(&agent), |name| format!("Z:{}/{name}", world.scratch.dir.display()))?;
    let first = world.healthy_collector(&mut running, None)?;
    let kill = |pid: u64| {
        let arguments = ["/F", "/PID", &pid.to_string()].map(str::to_owned);
        must("taskkill", wine.run("taskkill", Path::new("taskkill"), &arguments, PATIENCE)?)
    };
    kill(first)?;
    let second = world.healthy_collector(&mut running, Some(first))?;
    kill(world.agent_pid()?)?;
    let deadline = Instant::now() + PATIENCE;
    while wine.run("tasklist", Path::new("tasklist"), &[], PATIENCE)?.output.contains("collector.exe") {
        if Instant::now() > deadline {
            return Err(format!("the agent was killed, and its collector {second} runs on\n{}", running.log()));
        }
    }
    said(
        &format!(
            "runs under wine; started and restarted a collector, which ended with it when it was killed, in {}",
            console::seconds(started.elapsed())
        ),
        path,
    );
    Ok(())
}

/// Unpacks a `.deb` by dpkg-deb, and compares the agent in it.
///
/// # Errors
///
/// The step that failed.
pub fn deb(path: &Path, binary: &Path) -> Result<(), String> {
    if places::on_path("dpkg-deb").is_none() {
        return skipped(path, "no dpkg-deb here");
    }
    let scratch = Scratch::new("deb")?;
    must("dpkg-deb", run("dpkg-deb", Command::new("dpkg-deb").arg("--info").arg(path))?)?;
    must("dpkg-deb", run("dpkg-deb", Command::new("dpkg-deb").arg("--extract").arg(path).arg(&scratch.dir))?)?;
    unpacked(path, &scratch.dir, binary)
}

/// Has rpm check the digests of a `.rpm`, unpacks it, and compares the agent in it.
///
/// # Errors
///
/// The step that failed.
pub fn rpm(path: &Path, binary: &Path) -> Result<(), String> {
    for tool in ["rpmkeys", "rpm2cpio", "cpio"] {
        if places::on_path(tool).is_none() {
            return skipped(path, &format!("no {tool} here"));
        }
    }
    let scratch = Scratch::new("rpm")?;
    must("rpmkeys", run("rpmkeys", Command::new("rpmkeys").args(["--checksig", "--nosignature"]).arg(path))?)?;
    let archive = scratch.dir.join("payload");
    let file = fs::File::create(&archive).map_err(|cause| format!("{}: {cause}", archive.display()))?;
    let status = Command::new("rpm2cpio").arg(path).stdout(file).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(format!("{}: rpm2cpio cannot read it", path.display()));
    }
    let mut cpio = Command::new("cpio");
    cpio.current_dir(&scratch.dir).args(["--extract", "--quiet", "--make-directories", "--file=payload"]);
    must("cpio", run("cpio", &mut cpio)?)?;
    unpacked(path, &scratch.dir, binary)
}

fn unpacked(path: &Path, tree: &Path, binary: &Path) -> Result<(), String> {
    let there =
        fs::read(tree.join("usr/bin/otelet")).map_err(|cause| format!("{}: no agent: {cause}", path.display()))?;
    if fs::read(binary).ok() != Some(there) {
        return Err(format!("{}: has another agent than the one that was built", path.display()));
    }
    said("unpacked, with the agent that was built", path);
    Ok(())
}

/// The agent has to start, restart and stop a collector.
fn supervises(platform: &Platform, way: Option<&str>, binary: &Path) -> Result<(), String> {
    let Some(world) = World::of(platform, way, binary)? else {
        let names = platform.needs.emulators.join(" or ");
        return skipped(
            binary,
            &format!("it is for {}, and neither it nor {names} can be run here", platform.needs.is),
        );
    };
    let mut command = world.agent();
    let ran = run_within("otelet version", command.arg("version"), Some(PATIENCE))?;
    if !ran.ok() || ran.stdout != format!("otelet {}\n", env!("CARGO_PKG_VERSION")) {
        return Err(format!("otelet version: {}", ran.last_words()));
    }
    let started = Instant::now();
    let mut agent = world.start()?;
    let first = world.healthy_collector(&mut agent, None)?;
    signal("KILL", first)?;
    let second = world.healthy_collector(&mut agent, Some(first))?;
    agent.stop()?;
    if signal("0", second).is_ok() {
        return Err(format!("the agent has ended, and its collector {second} runs on"));
    }
    said(
        &format!(
            "runs {}; started, restarted and stopped a collector in {}",
            world.how,
            console::seconds(started.elapsed())
        ),
        binary,
    );
    Ok(())
}

/// Where the agent is run, and how.
struct World {
    scratch: Scratch,
    /// The text before the agent's own words.
    prefix: Vec<String>,
    /// The scratch directory by the agent's name for it.
    root: String,
    how: String,
}

impl World {
    /// Puts agent and collector into a directory of their own. None where the binary cannot be run.
    fn of(platform: &Platform, way: Option<&str>, binary: &Path) -> Result<Option<World>, String> {
        let scratch = Scratch::new("world")?;
        let mut collector = None;
        let (prefix, root, how) = if platform.is_here() {
            // Static like the agent, so that it too needs nothing around it.
            collector = Some(build::build(platform, build::COLLECTOR, way)?.path);
            if is_root() && scratch.has_dev_null() {
                let dir = scratch.dir.display().to_string();
                (
                    vec!["chroot".to_owned(), dir, "/otelet".to_owned()],
                    String::new(),
                    "in a chroot with nothing but /dev/null".to_owned(),
                )
            } else {
                let dir = scratch.dir.display().to_string();
                (vec![format!("{dir}/otelet")], dir, "in a directory of its own".to_owned())
            }
        } else {
            let Some(emulator) = platform.needs.emulators.iter().find_map(|name| places::on_path(name)) else {
                return Ok(None);
            };
            let dir = scratch.dir.display().to_string();
            let how = format!("under {}", emulator.file_name().unwrap_or_default().to_string_lossy());
            (vec![emulator.display().to_string(), format!("{dir}/otelet")], dir, how)
        };
        scratch.copy(binary, "otelet")?;
        match collector {
            Some(collector) => scratch.copy(&collector, "collector")?,
            // An agent for another processor takes no program for this one; a script is for all of them.
            None => {
                scratch.copy(&host_collector()?, "scripted")?;
                scratch.script("collector", &format!("#!/bin/sh\nexec '{root}/scripted' \"$@\"\n"))?;
            }
        }
        scratch.write("config.yaml", CONFIG)?;
        scratch.write("otelet.yaml", "log_level: info\n")?;
        Ok(Some(World { scratch, prefix, root, how }))
    }

    fn agent(&self) -> Command {
        let mut command = Command::new(&self.prefix[0]);
        command.args(&self.prefix[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn start(&self) -> Result<Running, String> {
        self.start_as(self.agent(), |name| format!("{}/{name}", self.root))
    }

    /// Starts it by this command; the second says what it calls the files.
    fn start_as(&self, mut command: Command, path: impl Fn(&str) -> String) -> Result<Running, String> {
        let log = self.scratch.dir.join("log");
        let file = fs::File::create(&log).map_err(|cause| format!("{}: {cause}", log.display()))?;
        let second = file.try_clone().map_err(|cause| format!("{}: {cause}", log.display()))?;
        let collector = if self.scratch.dir.join("collector.exe").exists() { "collector.exe" } else { "collector" };
        command
            .arg("run")
            .arg(format!("--settings={}", path("otelet.yaml")))
            .arg(format!("--config-url={}", path("config.yaml")))
            .arg(format!("--collector-path={}", path(collector)))
            .arg(format!("--state-dir={}", path("state")))
            .arg(format!("--runtime-dir={}", path("run")))
            .arg("--collector-probation=1s")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|cause| format!("{program}: cannot be started: {cause}"))?;
        Ok(Running { child, log })
    }

    /// The agent's own process, as it says itself: that of an emulator has another number.
    fn agent_pid(&self) -> Result<u64, String> {
        let text = fs::read_to_string(self.scratch.dir.join("run/status.json")).unwrap_or_default();
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        status["agent"]["pid"].as_u64().ok_or_else(|| "the status has no process of the agent".to_owned())
    }

    /// The process of a healthy collector other than `before`, from the status file: asking by `otelet status` needs `/proc`.
    fn healthy_collector(&self, agent: &mut Running, before: Option<u64>) -> Result<u64, String> {
        let path = self.scratch.dir.join("run/status.json");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let status: Value = serde_json::from_str(&text).unwrap_or_default();
            let collector = &status["collector"];
            if let (Some(true), Some(pid)) = (collector["healthy"].as_bool(), collector["pid"].as_u64())
                && Some(pid) != before
            {
                return Ok(pid);
            }
            if let Ok(Some(status)) = agent.child.try_wait() {
                return Err(format!("the agent has ended: {status}\n{}", agent.log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("no healthy collector after {}\n{}", console::seconds(PATIENCE), agent.log()))
    }
}

/// An agent that is ended with the trial, whatever becomes of it.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn stop(mut self) -> Result<(), String> {
        signal("TERM", self.child.id().into())?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the agent has ended: {status}\n{}", self.log())),
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(format!("the agent does not stop\n{}", self.log()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // Its collector is asked to end when the agent is gone.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// The scripted collector for this machine: what is emulated starts it all the same.
fn host_collector() -> Result<PathBuf, String> {
    let ran = run(
        "building the scripted collector",
        places::cargo().args(["build", "--locked", "--package", "otelet"]).args([
            "--bin",
            build::COLLECTOR,
            "--features",
            build::COLLECTOR,
        ]),
    )?;
    must("the scripted collector", ran)?;
    Ok(places::target().join("debug").join(places::program(build::COLLECTOR)))
}

/// A directory that goes with its owner.
pub struct Scratch {
    /// Where it is.
    pub dir: PathBuf,
}

impl Scratch {
    /// Makes an empty one.
    ///
    /// # Errors
    ///
    /// Where it cannot be made.
    pub fn new(name: &str) -> Result<Scratch, String> {
        // Tests of one process run beside each other.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("otelet-dist-{}-{number}-{name}", std::process::id()));
        fs::remove_dir_all(&dir).ok();
        fs::create_dir_all(&dir).map_err(|cause| format!("{}: cannot make it: {cause}", dir.display()))?;
        Ok(Scratch { dir })
    }

    /// Writes a file into it.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|cause| format!("{}: cannot write: {cause}", path.display()))
    }

    fn script(&self, name: &str, text: &str) -> Result<(), String> {
        self.write(name, text)?;
        must("chmod", run("chmod", Command::new("chmod").arg("755").arg(self.dir.join(name)))?)
    }

    /// Makes the one device that no host is without: whoever starts a process opens it.
    fn has_dev_null(&self) -> bool {
        let dev = self.dir.join("dev");
        let mut mknod = Command::new("mknod");
        mknod.args(["-m", "666"]).arg(dev.join("null")).args(["c", "1", "3"]);
        fs::create_dir_all(&dev).is_ok() && run("mknod", &mut mknod).is_ok_and(|ran| ran.ok())
    }

    /// Copies a file into it.
    ///
    /// # Errors
    ///
    /// One that cannot be copied.
    pub fn copy(&self, from: &Path, name: &str) -> Result<(), String> {
        let to = self.dir.join(name);
        fs::copy(from, &to).map(drop).map_err(|cause| format!("{}: cannot copy: {cause}", from.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}

fn is_root() -> bool {
    run("asking id", Command::new("id").arg("-u")).is_ok_and(|ran| ran.stdout.trim() == "0")
}

fn must(what: &str, ran: Ran) -> Result<(), String> {
    if ran.ok() { Ok(()) } else { Err(format!("{what}: {}\n{}", ran.last_words(), ran.output)) }
}

/// Says why one was not tried.
///
/// # Errors
///
/// None.
pub fn skipped(path: &Path, reason: &str) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    println!("  {}", console::stdout().yellow(&format!("skipped: {name} was not tried: {reason}")));
    Ok(())
}

/// Says how one was tried.
pub fn said(what: &str, path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    println!("  {}", console::stdout().green(&format!("tried: {name}: {what}")));
}
