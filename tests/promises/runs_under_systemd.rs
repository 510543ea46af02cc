//! A Debian booted by a real systemd, in a container without a network: the installer, the unit, its watchdog, a reboot, and
//! upgrades that are taken back. It needs root, systemd-nspawn, and mmdebstrap once, to make the box.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::host::{OTELET, hash, stderr, stdout, wait_for, wait_for_longer};

const TARGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/linux");

/// A boot, a stop of a collector that drains, a restart by the watchdog.
const LONG: Duration = Duration::from_secs(90);

/// What the collector does in the box: it has no network, and needs none.
const SITE: &str = "receivers: {hostmetrics: {collection_interval: 1s, scrapers: {memory: {}}}}\n\
     exporters: {debug: {}}\n\
     service: {pipelines: {metrics: {receivers: [hostmetrics], exporters: [debug]}}}\n";

/// A machine.
struct Machine {
    dir: PathBuf,
    nspawn: Option<Child>,
    leader: u32,
}

impl Machine {
    /// A new one, booted. None where it cannot be made, after saying why.
    fn new(name: &str) -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        let tools = ["systemd-nspawn", "mmdebstrap", "nsenter", "tar"];
        let missing = tools.into_iter().find(|tool| !on_path(tool));
        let file_system = match (root, missing) {
            (false, _) => Err("needs root".to_owned()),
            (true, Some(tool)) => Err(format!("{tool} is missing")),
            (true, None) => file_system(),
        };
        let file_system = match file_system {
            Ok(file_system) => file_system,
            Err(why) => {
                println!("skipped: no machine with systemd: {why}");
                return None;
            }
        };
        let dir = std::env::temp_dir().join(format!("otelet-machine-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("root")).unwrap();
        let unpacked =
            Command::new("tar").arg("-xf").arg(file_system).arg("-C").arg(dir.join("root")).status().unwrap();
        assert!(unpacked.success());
        // The Collector's own metrics are at localhost, and nobody here tells where that is.
        fs::write(dir.join("root/etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        let mut machine = Self { dir, nspawn: None, leader: 0 };
        machine.boot();
        Some(machine)
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn boot(&mut self) {
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
        // The first child makes the namespaces; the one that is the machine's first process has the pid 1 in them.
        let leader = || {
            let pids = fs::read_to_string(&children).ok()?;
            let first = |pid: &&str| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
            };
            pids.split_whitespace().find(first)?.parse().ok()
        };
        self.leader = wait_for_longer(LONG, "the machine's first process", leader, || self.console());
        let up = || {
            let state = stdout(&self.run(&["systemctl", "is-system-running"]));
            ["running", "degraded"].contains(&state.trim()).then_some(())
        };
        wait_for_longer(LONG, "the end of its boot", up, || self.console());
    }

    /// The power goes.
    fn pull_the_plug(&mut self) {
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

    fn run(&self, words: &[&str]) -> Output {
        Command::new("nsenter")
            .args(["-t", &self.leader.to_string(), "-m", "-p", "-u", "-i", "-n", "-C", "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs something that must work, and returns what it printed.
    fn does(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}{}\n{}", stdout(&output), stderr(&output), self.journal());
        stdout(&output)
    }

    fn journal(&self) -> String {
        stdout(&self.run(&["journalctl", "--no-pager", "-n", "60"]))
    }

    /// Puts an archive into the machine, as somebody would carry it there.
    fn carries(&self, version: &str, otelet: &Path, site: &str) -> String {
        let directory = self.root().join("opt").join(version);
        fs::create_dir_all(&directory).unwrap();
        let collector = std::env::var("OTELET_COLLECTOR").expect("cargo xtask check --real sets OTELET_COLLECTOR");
        fs::copy(otelet, directory.join("otelet")).unwrap();
        fs::copy(collector, directory.join("otelcol")).unwrap();
        fs::write(directory.join("site.yaml"), site).unwrap();
        for name in ["install.sh", "uninstall.sh", "otelet.service", "otelet.openrc", "otelet.yaml"] {
            fs::copy(Path::new(TARGETS).join(name), directory.join(name)).unwrap();
        }
        let files =
            fs::read_dir(&directory).unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let sums: String =
            files.map(|name| format!("{}  {name}\n", hash(fs::read(directory.join(&name)).unwrap()))).collect();
        fs::write(directory.join("SHA256SUMS"), sums).unwrap();
        format!("/opt/{version}")
    }

    fn installs(&self) {
        let archive = self.carries("first", Path::new(OTELET), SITE);
        self.does(&["sh", &format!("{archive}/install.sh"), "--wait=60"]);
        assert_eq!(self.does(&["systemctl", "is-active", "otelet"]).trim(), "active");
    }

    /// The agents and the collectors that run, by pid.
    fn processes(&self, name: &str) -> Vec<u32> {
        let output = self.run(&["pidof", name]);
        stdout(&output).split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until one agent and one collector run and are healthy, and returns their pids.
    fn one_of_each(&self) -> (u32, u32) {
        let look = || {
            let healthy = self.run(&["/usr/local/bin/otelet", "status", "--healthy"]).status.success();
            match (healthy, &self.processes("otelet")[..], &self.processes("otelcol")[..]) {
                (true, [agent], [collector]) => Some((*agent, *collector)),
                _ => None,
            }
        };
        wait_for_longer(LONG, "one agent and one collector", look, || self.journal())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.pull_the_plug();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// A Debian with systemd, made once and kept with what cargo builds.
fn file_system() -> Result<PathBuf, String> {
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = MAKING.lock();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-systemd.tar");
    if path.exists() {
        return Ok(path);
    }
    let new = path.with_extension("new.tar");
    let made = Command::new("mmdebstrap")
        .args(["--format=tar", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,procps,sysvinit-utils"])
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

#[test]
#[ignore = "needs root, systemd-nspawn and a real Collector: cargo xtask check --real"]
fn the_service_survives_a_crash_a_hang_a_reload_a_stop_and_a_reboot() {
    let Some(mut machine) = Machine::new("service") else { return };
    machine.installs();
    let (agent, collector) = machine.one_of_each();

    // An own user with one capability, and what systemd thinks of the rest.
    let status = machine.does(&["cat", &format!("/proc/{agent}/status")]);
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    assert_eq!(field("CapEff:"), "0000000000000004", "CAP_DAC_READ_SEARCH");
    let exposure = machine.does(&["systemd-analyze", "security", "otelet.service", "--threshold=20", "--no-pager"]);
    println!("{}", exposure.lines().last().unwrap_or_default());
    let shown = machine.does(&["systemctl", "status", "otelet", "--no-pager"]);
    assert!(shown.contains("Status: \"collector healthy, config "), "{shown}");

    // The collector crashes, and only it is started again.
    machine.does(&["kill", "-9", &collector.to_string()]);
    wait_for("another collector", || (machine.processes("otelcol") != [collector]).then_some(()), || machine.journal());
    let (same, collector) = machine.one_of_each();
    assert_eq!(same, agent);

    // A reload keeps both.
    machine.does(&["systemctl", "reload", "otelet"]);
    assert_eq!(machine.one_of_each(), (agent, collector));

    // An agent that hangs is started again, and its collector is not doubled.
    fs::create_dir_all(machine.root().join("etc/systemd/system/otelet.service.d")).unwrap();
    fs::write(
        machine.root().join("etc/systemd/system/otelet.service.d/quick.conf"),
        "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n",
    )
    .unwrap();
    machine.does(&["systemctl", "daemon-reload"]);
    machine.does(&["systemctl", "restart", "otelet"]);
    let (agent, _) = machine.one_of_each();
    machine.does(&["kill", "-STOP", &agent.to_string()]);
    wait_for_longer(
        LONG,
        "another agent",
        || (!machine.processes("otelet").contains(&agent)).then_some(()),
        || machine.journal(),
    );
    machine.one_of_each();
    assert!(machine.journal().contains("Watchdog timeout"), "{}", machine.journal());

    // A stop is in order: the collector drains, and nothing is left.
    machine.does(&["systemctl", "stop", "otelet"]);
    assert_eq!((machine.processes("otelet"), machine.processes("otelcol")), (vec![], vec![]));
    let journal = machine.journal();
    assert!(journal.contains("collector stopped: pid") && journal.contains("otelet stopped"), "{journal}");
    machine.does(&["systemctl", "start", "otelet"]);
    machine.one_of_each();

    // The power goes and comes back.
    machine.pull_the_plug();
    machine.boot();
    machine.one_of_each();

    machine.does(&["sh", "/opt/first/uninstall.sh", "--purge"]);
    let left = machine.does(&["sh", "-c", "find / -xdev -name '*otelet*' -not -path '/opt/*' -not -path '/proc/*'"]);
    let left: Vec<&str> =
        left.lines().filter(|path| !path.contains("otelet.service.d") && !path.contains("/log/")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!machine.run(&["id", "otelet"]).status.success(), "its user is gone too");
}

#[test]
#[ignore = "needs root, systemd-nspawn and a real Collector: cargo xtask check --real"]
fn an_upgrade_that_is_not_healthy_is_taken_back_also_after_a_power_cut() {
    let Some(mut machine) = Machine::new("upgrade") else { return };
    machine.installs();
    machine.one_of_each();
    let first = hash(fs::read(OTELET).unwrap());
    let installed = |machine: &Machine| hash(fs::read(machine.root().join("usr/local/bin/otelet")).unwrap());

    // An agent that starts, and never has a healthy collector.
    let broken = machine.dir.join("broken");
    fs::write(&broken, "#!/bin/sh\n[ \"$1\" = run ] || exit 1\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let archive = machine.carries("broken", &broken, SITE);
    // Its first check is that the program runs here: this one says its version.
    let version = fs::read_to_string(&broken).unwrap().replace("exit 1", "[ \"$1\" = version ]; exit");
    fs::write(machine.root().join("opt/broken/otelet"), &version).unwrap();
    let sums = machine.root().join("opt/broken/SHA256SUMS");
    let text = fs::read_to_string(&sums).unwrap().replace(&hash(fs::read(&broken).unwrap()), &hash(&version));
    fs::write(&sums, text).unwrap();

    let output = machine.run(&["sh", &format!("{archive}/install.sh"), "--wait=5"]);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains("upgrade taken back; what ran before runs again"), "{}", stderr(&output));
    assert_eq!(installed(&machine), first);
    machine.one_of_each();

    // The same, but the power goes before anybody has looked: the next boot takes it back.
    let mut installer = Command::new("nsenter")
        .args(["-t", &machine.leader.to_string(), "-m", "-p", "-u", "-i", "-n", "-C", "--", "sh"])
        .args([&format!("{archive}/install.sh"), "--wait=20"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the broken one in place", || (installed(&machine) == hash(&version)).then_some(()), || machine.journal());
    machine.pull_the_plug();
    let _ = installer.wait();
    machine.boot();
    wait_for_longer(LONG, "the first one again", || (installed(&machine) == first).then_some(()), || machine.journal());
    machine.one_of_each();
    let guard = machine.root().join("etc/systemd/system/otelet-upgrade.service");
    wait_for("the end of the upgrade", || (!guard.exists()).then_some(()), || machine.journal());

    // A better one stays, with its config, and the identity is the same.
    let uid = |machine: &Machine| {
        let status = machine.does(&["/usr/local/bin/otelet", "status", "--json"]);
        serde_json::from_str::<serde_json::Value>(&status).unwrap()["agent"]["instance_uid"].to_string()
    };
    let before = uid(&machine);
    let better = SITE.replace("memory: {}", "memory: {}, load: {}");
    let archive = machine.carries("better", Path::new(OTELET), &better);
    machine.does(&["sh", &format!("{archive}/install.sh"), "--wait=60"]);
    let applied = || {
        let status = machine.does(&["/usr/local/bin/otelet", "status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        (status["config"]["effective_hash"] == hash(&better)).then_some(())
    };
    wait_for_longer(LONG, "the better config", applied, || machine.journal());
    assert_eq!(uid(&machine), before);
}
