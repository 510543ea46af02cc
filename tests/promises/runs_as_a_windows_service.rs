//! The agent is a Windows service like any other: it is installed, started, stopped in order and uninstalled. Its
//! collector ends with it, in whatever way it ends.

use std::process::Output;

use otelet_wire::status::RemoteConfigStatus;

use super::host::{Host, alive, config, gone, signal, stderr, stdout, wait_for, wait_until};
use super::system::Signal;

/// A host whose agent is the service; dropping it uninstalls the service.
struct Service {
    host: Host,
}

impl Service {
    /// Installs the service. None where one exists already, which belongs to somebody else.
    fn install(account: &[&str]) -> Option<Self> {
        let host = Host::new();
        let status = host.command().args(["service", "status"]).output().unwrap();
        if !stderr(&status).contains("is not installed") {
            println!("skipped: a service called otelet is here already, or cannot be asked for: {}", stderr(&status));
            return None;
        }
        // The service has the environment of the system, and not this test's.
        host.set("collector.env", &format!("{{FAKE_JOURNAL: '{}'}}", host.path("journal").display()));
        host.server.offer(config("first"));
        let service = Self { host };
        let settings = format!("--settings={}", service.host.settings_file().display());
        let installed = service.ask(&[&["install", &settings], account].concat());
        assert_eq!(installed.status.code(), Some(0), "{}", stderr(&installed));
        Some(service)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.host.command().arg("service").args(arguments).output().unwrap()
    }

    /// Runs a verb that has to succeed, and returns its output.
    fn must(&self, verb: &str) -> String {
        let output = self.ask(&[verb]);
        assert_eq!(output.status.code(), Some(0), "{verb}: {}{}\n{}", stdout(&output), stderr(&output), log());
        stdout(&output)
    }

    /// Waits until the collector runs on this config, is healthy and has survived its probation, and returns the
    /// processes of agent and collector: a collector that dies before that is replaced by one on the config before.
    fn runs(&self, label: &str) -> (u32, u32) {
        let collector = self.host.runs(label);
        let healthy = || {
            let text = std::fs::read(otelet::status::path(&self.host.runtime_dir())).ok()?;
            let status: otelet_wire::status::Status = serde_json::from_slice(&text).ok()?;
            let good = status.config.remote_config_status == RemoteConfigStatus::Applied && status.collector.healthy;
            (good && status.collector.pid == Some(collector)).then_some(status.agent.pid)
        };
        (wait_for("a healthy collector", healthy, log), collector)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ask(&["uninstall"]);
    }
}

fn log() -> String {
    let data = otelet::os::default_settings_path();
    let path = data.parent().unwrap().join("log").join("otelet.log");
    std::fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

#[test]
#[ignore = "needs Windows or wine with a service manager, and rights to install: cargo xtask check --real"]
fn it_is_installed_started_killed_upgraded_and_removed() {
    let Some(service) = Service::install(&[]) else { return };
    let host = &service.host;
    let said = service.ask(&["status"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(stdout(&said).contains("is stopped") && stdout(&said).contains(" run --service "), "{}", stdout(&said));

    service.must("start");
    let (agent, first) = service.runs("first");
    assert!(service.must("status").contains(&format!("runs: pid {agent}")));
    assert_eq!(host.otelet(&["status", "--healthy"]).status.code(), Some(0));

    // A config change, a changed setting, and a collector that dies.
    host.server.offer(config("second"));
    let (_, second) = service.runs("second");
    assert_eq!(host.journaled(first, "exit").detail, "0", "it was asked to end, and drained");
    let read = || log().matches("settings read again").count();
    let before = read();
    host.set("log_level", "debug");
    service.must("reload");
    wait_until("the settings to be read", || read() > before);
    signal(second, Signal::KILL);
    wait_until("another collector", || host.collector() != second);
    let (same, third) = service.runs("second");
    assert_eq!(same, agent, "the agent has not ended");

    // The stop is in order: when it is over, the collector has drained.
    service.must("stop");
    assert_eq!(host.journaled(third, "exit").detail, "0");
    assert!(!alive(agent) && !alive(third));
    assert!(service.ask(&["status"]).status.code() == Some(1));

    // The collector of a killed agent ends with it, and the service manager starts the agent again with another one.
    service.must("start");
    let (agent, collector) = service.runs("second");
    signal(agent, Signal::KILL);
    gone(agent);
    gone(collector);
    // Windows starts it after a second, whatever comes next. wine starts it only when it is asked something.
    service.ask(&["stop"]);
    service.must("start");
    let (again, collector) = service.runs("second");
    assert_ne!(again, agent);

    // An upgrade registers it again with `--keep`, which keeps its flags; a restart makes it another process.
    assert_eq!(service.ask(&["install", "--keep"]).status.code(), Some(0));
    service.must("restart");
    gone(again);
    gone(collector);
    let (agent, collector) = service.runs("second");
    assert!(service.must("status").contains("--settings="), "{}", service.must("status"));
    assert_eq!(service.ask(&["install", "--keep", "--log-level=debug"]).status.code(), Some(64));

    // Removed while it runs: it is stopped first, and its state stays.
    service.must("uninstall");
    gone(agent);
    gone(collector);
    assert_eq!(host.journaled(collector, "exit").detail, "0");
    assert!(stderr(&service.ask(&["status"])).contains("is not installed"));
    assert!(host.state_dir().join("state.json").exists());
}

#[test]
#[ignore = "needs Windows or wine with a service manager, and rights to install: cargo xtask check --real"]
fn it_runs_as_the_account_that_it_was_installed_with_last() {
    const ACCOUNT: &str = r"NT AUTHORITY\LocalService";
    let Some(service) = Service::install(&[&format!("--account={ACCOUNT}")]) else { return };
    let says = |account: &str| stdout(&service.ask(&["status"])).lines().any(|line| line == format!("as {account}"));
    // The account has rights to the directory that the settings name; in wine, where all accounts are one user, they
    // have no effect.
    let grant = ["/grant", "*S-1-5-19:(OI)(CI)F"];
    let granted = std::process::Command::new("icacls").arg(service.host.path("")).args(grant).output();
    assert!(granted.is_ok_and(|granted| granted.status.success()), "rights can be granted");

    service.must("start");
    let (agent, collector) = service.runs("first");

    assert!(says(ACCOUNT));
    service.must("stop");
    assert!(!alive(agent) && !alive(collector));

    // Without an account it is LocalSystem, also where another account was named before.
    let settings = format!("--settings={}", service.host.settings_file().display());
    let again = service.ask(&["install", &settings]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(stdout(&again).contains("installed anew"), "{}", stdout(&again));
    assert!(says("LocalSystem"));
    service.must("start");
    service.runs("first");
}

#[test]
#[ignore = "needs Windows or wine with a service manager, and rights to install: cargo xtask check --real"]
fn settings_that_cannot_be_used_end_the_start_with_the_reason_in_the_log() {
    let Some(service) = Service::install(&[]) else { return };
    service.host.set("collector.run_as", "somebody");

    let started = service.ask(&["start"]);

    assert_eq!(started.status.code(), Some(1));
    assert!(stderr(&started).contains("has ended at once: exit status 78"), "{}", stderr(&started));
    assert!(
        log().contains("collector.run_as: is for Unix; on Windows the collector runs as the agent does"),
        "{}",
        log()
    );
}
