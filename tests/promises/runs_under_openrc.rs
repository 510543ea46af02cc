//! A machine with OpenRC and busybox as its first process, as on Alpine: the installer, the service, an agent that
//! hangs, a power cut, upgrades that are rolled back, and a log that stays small by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::host::{otelet, wait_for, wait_for_longer};
use super::machine::{LONG, Machine, SITE, System};

impl Machine {
    fn sets_up(&self) {
        let archive = self.carries("first", Path::new(otelet()), SITE);
        self.does(&["sh", &format!("{archive}/install.sh"), "--wait=60"]);
        self.does(&["rc-service", "otelet", "status"]);
    }

    fn log_file(&self) -> PathBuf {
        self.root().join("var/log/otelet/otelet.log")
    }
}

#[test]
#[ignore = "needs root, systemd-nspawn and a real Collector: cargo xtask check --real"]
fn the_service_survives_a_crash_a_hang_a_reload_a_stop_and_a_reboot() {
    let Some(mut machine) = Machine::new(System::OpenRc, "openrc") else { return };
    machine.sets_up();
    let (agent, collector) = machine.one_of_each();
    assert_eq!(machine.does(&["ps", "-o", "user=", "-p", &agent.to_string()]).trim(), "otelet");
    let log = fs::read_to_string(machine.log_file()).unwrap();
    assert!(log.contains("INFO  collector healthy: config ") && log.contains("Everything is ready"), "{log}");
    assert_eq!(fs::metadata(machine.log_file()).unwrap().permissions().mode() & 0o777, 0o600);

    // The collector crashes, and only the collector is restarted.
    machine.does(&["kill", "-9", &collector.to_string()]);
    wait_for("another collector", || (machine.processes("otelcol") != [collector]).then_some(()), || machine.journal());
    let (same, collector) = machine.one_of_each();
    assert_eq!(same, agent);

    // A reload keeps agent and collector.
    machine.does(&["rc-service", "otelet", "reload"]);
    let read = || machine.journal().contains("settings read again").then_some(());
    wait_for("the settings to be read", read, || machine.journal());
    assert_eq!(machine.one_of_each(), (agent, collector));

    // The agent crashes and is restarted: there is still one collector.
    machine.does(&["kill", "-9", &agent.to_string()]);
    let ended = |agent: u32| (!machine.processes("otelet").contains(&agent)).then_some(());
    wait_for("the end of the agent", || ended(agent), || machine.journal());
    let (agent, _) = machine.one_of_each();

    // The agent hangs, and is restarted. The test shortens the five minutes that a user would wait.
    machine.does(&["rc-service", "otelet", "stop"]);
    assert_eq!((machine.processes("otelet"), machine.processes("otelcol")), (vec![], vec![]));
    let log = fs::read_to_string(machine.log_file()).unwrap();
    assert!(log.contains("collector stopped: pid") && log.contains("otelet stopped"), "{log}");
    fs::create_dir_all(machine.root().join("etc/conf.d")).unwrap();
    fs::write(machine.root().join("etc/conf.d/otelet"), "healthcheck_delay=1\nhealthcheck_timer=1\n").unwrap();
    machine.does(&["rc-service", "otelet", "start"]);
    assert_ne!(machine.one_of_each().0, agent);
    let (agent, _) = machine.one_of_each();
    machine.does(&["kill", "-STOP", &agent.to_string()]);
    let ended = || (!machine.processes("otelet").contains(&agent)).then_some(());
    wait_for_longer(LONG, "the end of the agent that hung", ended, || machine.journal());
    machine.one_of_each();

    // The power fails and comes back.
    machine.pull_the_plug();
    machine.boot();
    machine.one_of_each();

    machine.does(&["sh", "/opt/first/uninstall.sh", "--purge"]);
    let left =
        machine.does(&["sh", "-c", "find / /run -xdev -name '*otelet*' -not -path '/opt/*' -not -path '/proc/*'"]);
    // Files that a person has put beside the service stay, and so does OpenRC's record of earlier services.
    let left: Vec<&str> =
        left.lines().filter(|path| *path != "/etc/conf.d/otelet" && !path.contains("/openrc/")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!machine.run(&["id", "otelet"]).status.success(), "its user is gone too");
}

#[test]
#[ignore = "needs root, systemd-nspawn and a real Collector: cargo xtask check --real"]
fn an_unhealthy_upgrade_is_rolled_back_also_after_a_power_cut() {
    let Some(machine) = Machine::new(System::OpenRc, "openrc-upgrade") else { return };
    machine.sets_up();
    machine.takes_bad_upgrades_back("etc/init.d/otelet-upgrade");
}
