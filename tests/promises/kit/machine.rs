//! A Debian in a container without a network, booted by a real service manager: systemd or OpenRC. It needs root,
//! systemd-nspawn, and mmdebstrap once to make it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use otelet::cli::completions;

use super::host::{hash, otelet, stderr, stdout, wait_for, wait_for_longer};

const TARGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/linux");

/// A boot, a stop of a collector that drains, a restart by the watchdog.
pub const LONG: Duration = Duration::from_secs(90);

/// The collector's config in the container, which has no network and needs none.
pub const SITE: &str = "receivers: {hostmetrics: {collection_interval: 1s, scrapers: {memory: {}}}}\n\
     exporters: {debug: {}}\n\
     service: {pipelines: {metrics: {receivers: [hostmetrics], exporters: [debug]}}}\n";

/// The service manager of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum System {
    Systemd,
    /// busybox is its first process, as on Alpine.
    OpenRc,
}

impl System {
    /// The packages that it is made of.
    fn packages(self) -> &'static str {
        match self {
            System::Systemd => "systemd,systemd-sysv,dbus,procps,sysvinit-utils",
            System::OpenRc => "openrc,busybox-static,procps,sysvinit-utils",
        }
    }
}

/// The tasks of busybox as the first process, as on Alpine.
const INITTAB: &str = "::sysinit:/sbin/openrc sysinit\n\
     ::sysinit:/sbin/openrc boot\n\
     ::wait:/sbin/openrc default\n\
     ::wait:/bin/touch /run/booted\n\
     ::shutdown:/sbin/openrc shutdown\n";

pub struct Machine {
    pub dir: PathBuf,
    system: System,
    nspawn: Option<Child>,
    pub leader: u32,
}

impl Machine {
    /// A new machine, booted. None where it cannot be made, after printing why.
    pub fn new(system: System, name: &str) -> Option<Self> {
        let mut machine = Self::image(system, name)?;
        machine.boot();
        Some(machine)
    }

    /// A new machine, not booted yet.
    pub fn image(system: System, name: &str) -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        let tools = ["systemd-nspawn", "mmdebstrap", "nsenter", "tar"];
        let missing = tools.into_iter().find(|tool| !on_path(tool));
        let file_system = match (root, missing) {
            (false, _) => Err("needs root".to_owned()),
            (true, Some(tool)) => Err(format!("{tool} is missing")),
            (true, None) => file_system(system),
        };
        let file_system = match file_system {
            Ok(file_system) => file_system,
            Err(why) => {
                println!("skipped: no machine with {system:?}: {why}");
                return None;
            }
        };
        let dir = std::env::temp_dir().join(format!("otelet-machine-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("root")).unwrap();
        let unpacked =
            Command::new("tar").arg("-xf").arg(file_system).arg("-C").arg(dir.join("root")).status().unwrap();
        assert!(unpacked.success());
        // The Collector listens on localhost with its own metrics, and the machine has no name server.
        fs::write(dir.join("root/etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        let machine = Self { dir, system, nspawn: None, leader: 0 };
        if system == System::OpenRc {
            let root = machine.root();
            // Debian's own services expect those of sysvinit, which are not installed here.
            let services = root.join("etc/runlevels/sysinit");
            for entry in fs::read_dir(&services).unwrap().flatten() {
                fs::remove_file(entry.path()).unwrap();
            }
            fs::write(root.join("etc/inittab"), INITTAB).unwrap();
            std::os::unix::fs::symlink("/bin/busybox", root.join("sbin/init")).unwrap();
        }
        Some(machine)
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub fn boot(&mut self) {
        let console = fs::File::create(self.dir.join("console")).unwrap();
        let nspawn = Command::new("systemd-nspawn")
            .args(["--boot", "--register=no", "--keep-unit", "--private-network", "--capability=all", "--quiet"])
            .arg(format!("--machine=otelet-{}", std::process::id()))
            .arg("-D")
            .arg(self.root())
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        self.nspawn = Some(nspawn);
        // The first child makes the namespaces; the machine's first process has the pid 1 in them.
        let leader = || {
            let pids = fs::read_to_string(&children).ok()?;
            let first = |pid: &&str| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
            };
            pids.split_whitespace().find(first)?.parse().ok()
        };
        self.leader = wait_for_longer(LONG, "the machine's first process", leader, || self.console());
        let up = || match self.system {
            System::Systemd => {
                let state = stdout(&self.run(&["systemctl", "is-system-running"]));
                ["running", "degraded"].contains(&state.trim()).then_some(())
            }
            System::OpenRc => self.run(&["test", "-e", "/run/booted"]).status.success().then_some(()),
        };
        wait_for_longer(LONG, "the end of its boot", up, || self.console());
    }

    pub fn pull_the_plug(&mut self) {
        let Some(mut nspawn) = self.nspawn.take() else { return };
        if self.leader > 0 {
            super::host::signal(self.leader, super::host::Signal::KILL);
            super::host::gone(self.leader);
        }
        let _ = nspawn.kill();
        let _ = nspawn.wait();
    }

    fn console(&self) -> String {
        fs::read_to_string(self.dir.join("console")).unwrap_or_default()
    }

    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = if self.leader > 0 {
            let mut nsenter = Command::new("nsenter");
            nsenter.args(["-t", &self.leader.to_string(), "-m", "-p", "-u", "-i", "-n", "-C", "--"]);
            nsenter
        } else {
            let mut chroot = Command::new("chroot");
            chroot.arg(self.root());
            chroot
        };
        command
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed, and returns its output.
    pub fn does(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}{}\n{}", stdout(&output), stderr(&output), self.journal());
        stdout(&output)
    }

    pub fn journal(&self) -> String {
        match self.system {
            System::Systemd => stdout(&self.run(&["journalctl", "--no-pager", "-n", "60"])),
            System::OpenRc => {
                fs::read_to_string(self.root().join("var/log/otelet/otelet.log")).unwrap_or_default() + &self.console()
            }
        }
    }

    /// Puts an archive into the machine, as a person would carry it there.
    pub fn carries(&self, version: &str, otelet: &Path, site: &str) -> String {
        let directory = self.root().join("opt").join(version);
        fs::create_dir_all(&directory).unwrap();
        let collector = std::env::var("OTELET_COLLECTOR").expect("cargo xtask check --real sets OTELET_COLLECTOR");
        fs::copy(otelet, directory.join("otelet")).unwrap();
        fs::copy(collector, directory.join("otelcol")).unwrap();
        fs::write(directory.join("site.yaml"), site).unwrap();
        for name in ["install.sh", "uninstall.sh", "otelet.service", "otelet.openrc", "otelet.yaml"] {
            fs::copy(Path::new(TARGETS).join(name), directory.join(name)).unwrap();
        }
        let pages = [
            ("otelet.8", otelet::cli::man()),
            ("otelet.bash", completions::bash()),
            ("_otelet", completions::zsh()),
            ("otelet.fish", completions::fish()),
        ];
        for (name, text) in pages {
            fs::write(directory.join(name), text).unwrap();
        }
        let files =
            fs::read_dir(&directory).unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let sums: String =
            files.map(|name| format!("{}  {name}\n", hash(fs::read(directory.join(&name)).unwrap()))).collect();
        fs::write(directory.join("SHA256SUMS"), sums).unwrap();
        format!("/opt/{version}")
    }

    /// The agents or the collectors that run, by pid.
    pub fn processes(&self, name: &str) -> Vec<u32> {
        let output = self.run(&["pidof", name]);
        stdout(&output).split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until one agent and one collector run and are healthy, and returns their pids.
    pub fn one_of_each(&self) -> (u32, u32) {
        let look = || {
            let healthy = self.run(&["otelet", "status", "--healthy"]).status.success();
            match (healthy, &self.processes("otelet")[..], &self.processes("otelcol")[..]) {
                (true, [agent], [collector]) => Some((*agent, *collector)),
                _ => None,
            }
        };
        wait_for_longer(LONG, "one agent and one collector", look, || self.journal())
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&stdout(&self.run(&["otelet", "status", "--json"]))).unwrap_or_default()
    }

    pub fn instance_uid(&self) -> String {
        self.status()["agent"]["instance_uid"].as_str().expect("an agent that runs has one").to_owned()
    }

    /// Waits until the collector runs on this config.
    pub fn applies(&self, config: &str) {
        let applied = || (self.status()["config"]["effective_hash"] == hash(config)).then_some(());
        wait_for_longer(LONG, "the config", applied, || self.journal());
    }

    /// Upgrades this machine, which has the agent under test, to a version that is never healthy: the upgrade is rolled
    /// back, also where the power fails before its first check. A healthy version stays.
    pub fn takes_bad_upgrades_back(mut self, guard: &str) {
        self.one_of_each();
        let first = hash(fs::read(otelet()).unwrap());
        let installed = |machine: &Self| hash(fs::read(machine.root().join("usr/local/bin/otelet")).unwrap());

        // An agent that starts, and never has a healthy collector.
        let broken = self.dir.join("broken");
        let text = "#!/bin/sh\n[ \"$1\" = version ] && exit\n[ \"$1\" = run ] || exit 1\nexec sleep 1000\n";
        fs::write(&broken, text).unwrap();
        fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
        let archive = self.carries("broken", &broken, SITE);

        let output = self.run(&["sh", &format!("{archive}/install.sh"), "--wait=5"]);
        assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
        assert!(stderr(&output).contains("upgrade reverted; the previous version runs again"), "{}", stderr(&output));
        assert_eq!(installed(&self), first);
        self.one_of_each();

        // The same, but the power fails before the first check: the next boot rolls it back.
        let mut installer = Command::new("nsenter")
            .args(["-t", &self.leader.to_string(), "-m", "-p", "-u", "-i", "-n", "-C", "--", "sh"])
            .args([&format!("{archive}/install.sh"), "--wait=20"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the broken one in place", || (installed(&self) == hash(text)).then_some(()), || self.journal());
        self.pull_the_plug();
        let _ = installer.wait();
        self.boot();
        wait_for_longer(LONG, "the first one again", || (installed(&self) == first).then_some(()), || self.journal());
        self.one_of_each();
        let guard = self.root().join(guard);
        wait_for("the end of the upgrade", || (!guard.exists()).then_some(()), || self.journal());

        // A healthy version stays, with its config and the same identity.
        let before = self.instance_uid();
        let better = SITE.replace("memory: {}", "memory: {}, load: {}");
        let archive = self.carries("better", Path::new(otelet()), &better);
        self.does(&["sh", &format!("{archive}/install.sh"), "--wait=60"]);
        self.applies(&better);
        assert_eq!(self.instance_uid(), before);
        self.pull_the_plug();
        self.boot();
        self.applies(&better);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.pull_the_plug();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// A Debian for each service manager, made once and kept with cargo's builds.
fn file_system(system: System) -> Result<PathBuf, String> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock();
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian-{}.tar", format!("{system:?}").to_lowercase()));
    if path.exists() {
        return Ok(path);
    }
    let new = path.with_extension("new.tar");
    let made = Command::new("mmdebstrap")
        .args(["--format=tar", "--variant=minbase"])
        .arg(format!("--include={}", system.packages()))
        .arg("bookworm")
        .arg(&new)
        .output()
        .map_err(|error| format!("mmdebstrap: {error}"))?;
    if !made.status.success() {
        let said = stderr(&made);
        return Err(format!("mmdebstrap: {}", said.lines().last().unwrap_or_default()));
    }
    fs::rename(&new, &path).map_err(|error| error.to_string())?;
    Ok(path)
}
