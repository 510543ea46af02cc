//! The agent is a Windows service like any other: installed, started, stopped in order, uninstalled; and whatever ends it,
//! its collector ends with it.

use std::process::Output;

use otelet_wire::status::RemoteConfigStatus;

use super::host::{Host, alive, config, gone, signal, stderr, stdout, wait_for, wait_until};
use super::system::Signal;

/// A host whose agent is the service, which is uninstalled with it.
struct Service {
    host: Host,
}

impl Service {
    /// Installs it. None where there is one already, which is somebody's.
    fn install(account: &[&str]) -> Option<Self> {
        let host = Host::new();
        let status = host.command().args(["service", "status"]).output().unwrap();
        if !stderr(&status).contains("is not installed") {
            println!("skipped: a service called otelet is here already, or cannot be asked for: {}", stderr(&status));
            return None;
        }
        // The service has the environment of the system, and not that of this test.
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

    /// Asks for something that has to succeed, and answers with what was said.
    fn must(&self, verb: &str) -> String {
        let output = self.ask(&[verb]);
        assert_eq!(output.status.code(), Some(0), "{verb}: {}{}\n{}", stdout(&output), stderr(&output), log());
        stdout(&output)
    }

    /// The process of the agent, when its collector runs on this config, is healthy and has survived its probation: one that
    /// dies before is replaced by that of the config before.
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
fn from_installation_to_removal() {
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

    // A stop in order: the collector has drained when it is over.
    service.must("stop");
    assert_eq!(host.journaled(third, "exit").detail, "0");
    assert!(!alive(agent) && !alive(third));
    assert!(service.ask(&["status"]).status.code() == Some(1));

    // An agent that is killed takes its collector along, and is started again with another one.
    service.must("start");
    let (agent, collector) = service.runs("second");
    signal(agent, Signal::KILL);
    gone(agent);
    gone(collector);
    // Windows does so after a second, and takes what follows as it comes. wine does so only when it is asked.
    service.ask(&["stop"]);
    service.must("start");
    let (again, collector) = service.runs("second");
    assert_ne!(again, agent);

    // Registered as an upgrade does it, it keeps its flags; restarted, it is another process.
    assert_eq!(service.ask(&["install", "--keep"]).status.code(), Some(0));
    service.must("restart");
    gone(again);
    gone(collector);
    let (agent, collector) = service.runs("second");
    assert!(service.must("status").contains("--settings="), "{}", service.must("status"));
    assert_eq!(service.ask(&["install", "--keep", "--log-level=debug"]).status.code(), Some(64));

    // Removed while it runs: stopped first, and what it knows stays.
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
    // It has rights to the directory that its settings name; wine, where all accounts are one user, takes no notice.
    let grant = ["/grant", "*S-1-5-19:(OI)(CI)F"];
    let granted = std::process::Command::new("icacls").arg(service.host.path("")).args(grant).output();
    assert!(granted.is_ok_and(|granted| granted.status.success()), "rights can be granted");

    service.must("start");
    let (agent, collector) = service.runs("first");

    assert!(says(ACCOUNT));
    service.must("stop");
    assert!(!alive(agent) && !alive(collector));

    // Nothing said is LocalSystem, also where another one was said before.
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
