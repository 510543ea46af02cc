//! A Debian booted by a real systemd, in a container without a network: the installer, the unit, its watchdog, a
//! reboot, upgrades that are rolled back, and the packages. The tests need root, systemd-nspawn, and mmdebstrap once to
//! make the container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::host::{otelet, stderr, stdout, wait_for, wait_for_longer};
use super::machine::{LONG, Machine, SITE, System, on_path};

impl Machine {
    fn installs(&self) {
        let archive = self.carries("first", Path::new(otelet()), SITE);
        self.does(&["sh", &format!("{archive}/install.sh"), "--wait=60"]);
        assert_eq!(self.does(&["systemctl", "is-active", "otelet"]).trim(), "active");
    }

    /// Puts a collector where its own package would, next to which our packages are installed.
    fn has_collector(&self) {
        let collector = std::env::var("OTELET_COLLECTOR").expect("cargo xtask check --real sets OTELET_COLLECTOR");
        fs::copy(collector, self.root().join("usr/bin/otelcol")).unwrap();
    }

    /// Changes the settings to a config in a file as a person would, and returns them.
    fn is_set_to(&self, config: &str) -> String {
        fs::write(self.root().join("opt/site.yaml"), config).unwrap();
        let path = self.root().join("etc/otelet/otelet.yaml");
        let settings = fs::read_to_string(&path).unwrap() + "config:\n  url: /opt/site.yaml\n";
        fs::write(&path, &settings).unwrap();
        self.does(&["systemctl", "reload", "otelet"]);
        self.applies(config);
        settings
    }

    fn settings(&self) -> String {
        fs::read_to_string(self.root().join("etc/otelet/otelet.yaml")).unwrap_or_default()
    }

    /// systemd's answer about the service, in a word: `is-active`, `is-enabled`.
    fn service(&self, question: &str) -> String {
        stdout(&self.run(&["systemctl", question, "otelet"])).trim().to_owned()
    }

    /// Only root and the agent may read the settings.
    fn keeps_its_settings_from_others(&self) {
        let stat = self.does(&["stat", "-c", "%a %U %G", "/etc/otelet", "/etc/otelet/otelet.yaml"]);
        assert_eq!(stat, "750 root otelet\n640 root otelet\n");
    }

    fn runs_nothing(&self) {
        assert_eq!((self.processes("otelet"), self.processes("otelcol")), (vec![], vec![]), "{}", self.journal());
    }

    /// Runs dpkg without a terminal: there is no one to answer a question.
    fn dpkg(&self, action: &str, what: &str) {
        let said = self.does(&["dpkg", action, what]);
        assert!(!said.contains("does not start"), "{said}");
    }

    /// All files that are named after otelet.
    fn remains(&self) -> String {
        let find = "find / /run -xdev -name '*otelet*' -not -path '/proc/*' -not -path '/run/systemd/*'";
        self.does(&["sh", "-c", find]) + &stdout(&self.run(&["getent", "passwd", "otelet"]))
    }

    /// Has rpm install or remove the files, without running any script.
    fn rpm(&self, action: &str, what: &Path) {
        let output = Command::new("rpm")
            .arg("--root")
            .arg(self.root())
            .args(["--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts", "--nosignature", action])
            .arg(what)
            .output()
            .unwrap();
        assert!(output.status.success(), "rpm {action}: {}{}", stdout(&output), stderr(&output));
    }

    /// Runs one script of an rpm as rpm does, with the number of versions that will remain.
    fn scriptlet(&self, package: &Path, name: &str, versions: &str) {
        let query = ["--query", "--package", "--nosignature", "--queryformat", &format!("%{{{name}}}")];
        let queried = Command::new("rpm").args(query).arg(package).output().unwrap();
        let script = stdout(&queried);
        assert!(script.contains("exit 0"), "{name}: {script}{}", stderr(&queried));
        let output = self.run(&["sh", "-c", &script, name, versions]);
        assert!(output.status.success(), "{name} {versions}: {}", stderr(&output));
        assert_eq!(stdout(&output) + &stderr(&output), "", "{name} {versions}");
    }

    /// Runs all steps of rpm's upgrade, in its order.
    fn upgrades_rpm(&self, old: &Path, new: &Path) {
        self.scriptlet(new, "PREIN", "2");
        self.rpm("--upgrade", new);
        self.scriptlet(new, "POSTIN", "2");
        self.scriptlet(old, "PREUN", "1");
        self.scriptlet(old, "POSTUN", "1");
    }
}

/// The package of this kind with the agent under test, as this version.
fn package(version: &str, kind: &str) -> PathBuf {
    static MADE: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    // One run makes both kinds; a second run would replace a file that another test reads.
    let mut made = MADE.lock().unwrap();
    if !made.iter().any(|it| it == version) {
        make_packages(version, target);
        made.push(version.to_owned());
    }
    let mut files = fs::read_dir(target.join("dist/given").join(version)).unwrap().flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|it| it == kind)).expect("there is one for this machine")
}

fn make_packages(version: &str, target: &Path) {
    // Without its symbols the binary has a third of the size, which is quicker to pack.
    let slim = Path::new(env!("CARGO_TARGET_TMPDIR")).join("otelet-slim");
    let stripped = Command::new("strip").arg("-o").arg(&slim).arg(otelet()).status();
    let binary = if stripped.is_ok_and(|status| status.success()) { slim } else { otelet().into() };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "dist"])
        .arg(format!("--binary={}", binary.display()))
        .arg(format!("--version={version}"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target);
    // cargo's variables for this test would look like a change to the build scripts that watch them.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.to_string_lossy().starts_with(it)) {
            cargo.env_remove(&name);
        }
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

#[test]
#[ignore = "needs root, systemd-nspawn and a real Collector: cargo xtask check --real"]
fn the_service_survives_a_crash_a_hang_a_reload_a_stop_and_a_reboot() {
    let Some(mut machine) = Machine::new(System::Systemd, "service") else { return };
    // Settings that the agent would refuse are refused before anything is changed.
    let archive = machine.carries("refused", Path::new(otelet()), SITE);
    fs::write(machine.root().join("opt/bad.yaml"), "bogus: 1\n").unwrap();
    let output = machine.run(&["sh", &format!("{archive}/install.sh"), "--settings=/opt/bad.yaml"]);
    let why = "the settings cannot be used, and nothing was changed: otelet: /opt/bad.yaml:1:1: bogus: unknown key";
    assert!(output.status.code() == Some(1) && stderr(&output).contains(why), "{}", stderr(&output));
    assert!(!machine.root().join("usr/local/bin/otelet").exists());

    machine.installs();
    let (agent, collector) = machine.one_of_each();

    // The agent runs as its own user with one capability; the rest is systemd's own rating of the unit.
    let status = machine.does(&["cat", &format!("/proc/{agent}/status")]);
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    assert_eq!(field("CapEff:"), "0000000000000004", "CAP_DAC_READ_SEARCH");
    let exposure = machine.does(&["systemd-analyze", "security", "otelet.service", "--threshold=20", "--no-pager"]);
    println!("{}", exposure.lines().last().unwrap_or_default());
    let shown = machine.does(&["systemctl", "status", "otelet", "--no-pager"]);
    assert!(shown.contains("Status: \"collector healthy, config "), "{shown}");

    // The collector crashes, and only the collector is restarted.
    machine.does(&["kill", "-9", &collector.to_string()]);
    wait_for("another collector", || (machine.processes("otelcol") != [collector]).then_some(()), || machine.journal());
    let (same, collector) = machine.one_of_each();
    assert_eq!(same, agent);

    // A reload keeps agent and collector.
    machine.does(&["systemctl", "reload", "otelet"]);
    assert_eq!(machine.one_of_each(), (agent, collector));

    // An agent that hangs is restarted, and there is still one collector.
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

    // A stop is in order: the collector drains, and no process is left.
    machine.does(&["systemctl", "stop", "otelet"]);
    assert_eq!((machine.processes("otelet"), machine.processes("otelcol")), (vec![], vec![]));
    let journal = machine.journal();
    assert!(journal.contains("collector stopped: pid") && journal.contains("otelet stopped"), "{journal}");
    machine.does(&["systemctl", "start", "otelet"]);
    machine.one_of_each();

    // The power fails and comes back.
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
fn an_unhealthy_upgrade_is_rolled_back_also_after_a_power_cut() {
    let Some(machine) = Machine::new(System::Systemd, "upgrade") else { return };
    machine.installs();
    machine.takes_bad_upgrades_back("etc/systemd/system/otelet-upgrade.service");
}

#[test]
#[ignore = "needs root, systemd-nspawn and a real Collector: cargo xtask check --real"]
fn a_deb_is_installed_upgraded_and_purged() {
    let Some(mut machine) = Machine::image(System::Systemd, "deb") else { return };
    let [first, second, third] = ["1.0.0", "1.1.0", "1.2.0"].map(|version| {
        let carried = format!("opt/{version}.deb");
        fs::copy(package(version, "deb"), machine.root().join(&carried)).unwrap();
        format!("/{carried}")
    });
    machine.has_collector();

    // Installed into the image of a machine, where no systemd runs: the service is there at the first boot.
    machine.dpkg("--install", &first);
    machine.boot();
    machine.one_of_each();
    machine.dpkg("--purge", "otelet");
    machine.runs_nothing();
    assert_eq!(machine.remains(), "");

    // Installed into a running machine: it needs nothing else, and runs as its own user.
    machine.dpkg("--install", &first);
    let (agent, _) = machine.one_of_each();
    assert_eq!((machine.service("is-active"), machine.service("is-enabled")), ("active".into(), "enabled".into()));
    assert_eq!(machine.does(&["ps", "-o", "user=", "-p", &agent.to_string()]).trim(), "otelet");
    machine.keeps_its_settings_from_others();

    // An upgrade keeps a person's settings and the host's identity. The service was restarted once.
    let settings = machine.is_set_to(SITE);
    let uid = machine.instance_uid();
    let starts = |machine: &Machine| {
        let journal = machine.does(&["journalctl", "--no-pager", "--boot", "--unit=otelet", "--output=cat"]);
        journal.lines().filter(|line| line.starts_with("Started otelet")).count()
    };
    let before = starts(&machine);
    machine.dpkg("--install", &second);
    let (upgraded, _) = machine.one_of_each();
    assert_ne!(upgraded, agent);
    assert_eq!(starts(&machine), before + 1);
    assert_eq!(machine.does(&["dpkg-query", "--show", "--showformat=${Version}", "otelet"]), "1.1.0");
    assert_eq!((machine.settings(), machine.instance_uid()), (settings.clone(), uid.clone()));
    machine.applies(SITE);
    machine.keeps_its_settings_from_others();

    // A service that a person has stopped stays stopped, and one that is disabled stays disabled.
    machine.does(&["systemctl", "stop", "otelet"]);
    machine.dpkg("--install", &third);
    machine.runs_nothing();
    assert_eq!((machine.service("is-active"), machine.service("is-enabled")), ("inactive".into(), "enabled".into()));
    machine.does(&["systemctl", "disable", "otelet"]);
    machine.dpkg("--install", &second);
    machine.runs_nothing();
    assert_eq!((machine.service("is-active"), machine.service("is-enabled")), ("inactive".into(), "disabled".into()));
    machine.does(&["systemctl", "enable", "--now", "otelet"]);
    machine.one_of_each();

    // A removed package can be installed again with its state, also where the service was stopped before.
    machine.does(&["systemctl", "stop", "otelet"]);
    machine.dpkg("--remove", "otelet");
    machine.runs_nothing();
    assert_eq!(machine.settings(), settings);
    machine.dpkg("--install", &third);
    machine.one_of_each();
    assert_eq!((machine.settings(), machine.instance_uid()), (settings, uid));

    // Removed, then purged: no file is left.
    machine.dpkg("--remove", "otelet");
    machine.runs_nothing();
    machine.does(&["test", "-d", "/var/lib/otelet"]);
    machine.dpkg("--purge", "otelet");
    assert_eq!(machine.remains(), "");
}

#[test]
#[ignore = "needs root, systemd-nspawn, rpm and a real Collector: cargo xtask check --real"]
fn the_scripts_of_an_rpm_install_upgrade_and_erase() {
    if !on_path("rpm") {
        println!("skipped: no machine with an rpm: rpm is missing");
        return;
    }
    let Some(machine) = Machine::new(System::Systemd, "rpm") else { return };
    let [first, second, third] = ["1.0.0", "1.1.0", "1.2.0"].map(|version| package(version, "rpm"));
    machine.has_collector();

    machine.scriptlet(&first, "PREIN", "1");
    machine.rpm("--install", &first);
    machine.keeps_its_settings_from_others();
    machine.scriptlet(&first, "POSTIN", "1");
    let (agent, _) = machine.one_of_each();
    assert_eq!((machine.service("is-active"), machine.service("is-enabled")), ("active".into(), "enabled".into()));
    assert_eq!(machine.does(&["ps", "-o", "user=", "-p", &agent.to_string()]).trim(), "otelet");

    let settings = machine.is_set_to(SITE);
    let uid = machine.instance_uid();
    machine.upgrades_rpm(&first, &second);
    let (upgraded, _) = machine.one_of_each();
    assert_ne!(upgraded, agent);
    assert_eq!((machine.settings(), machine.instance_uid()), (settings.clone(), uid));

    // A service that a person has stopped and disabled stays so.
    machine.does(&["systemctl", "disable", "--now", "otelet"]);
    machine.upgrades_rpm(&second, &third);
    machine.runs_nothing();
    assert_eq!((machine.service("is-active"), machine.service("is-enabled")), ("inactive".into(), "disabled".into()));
    machine.does(&["systemctl", "enable", "--now", "otelet"]);
    machine.one_of_each();

    // Erased: the settings and the state are kept, as is the custom with rpm.
    machine.scriptlet(&third, "PREUN", "0");
    machine.runs_nothing();
    machine.rpm("--erase", Path::new("otelet"));
    machine.scriptlet(&third, "POSTUN", "0");
    assert_eq!(machine.service("is-enabled"), "");
    assert!(!machine.root().join("usr/bin/otelet").exists());
    assert_eq!(fs::read_to_string(machine.root().join("etc/otelet/otelet.yaml.rpmsave")).unwrap(), settings);
    machine.does(&["test", "-d", "/var/lib/otelet"]);
    let link = machine.root().join("etc/systemd/system/multi-user.target.wants/otelet.service");
    assert!(!link.is_symlink(), "the next boot does not look for it");
}
