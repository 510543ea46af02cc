//! Directories that another user has made, as after a change of the user that the agent runs as: the agent says whose they
//! are and how to mend that, and runs without them. Root without its capabilities stands for a user of its own.

use std::fs;
use std::path::Path;

use super::host::{Agent, Host, config};
use super::system;

/// The other user.
const OTHER: u32 = 65534;

fn give_away(path: &Path) {
    std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER)).unwrap();
    let entries = if path.is_dir() { fs::read_dir(path).ok() } else { None };
    entries.into_iter().flatten().flatten().for_each(|entry| give_away(&entry.path()));
}

/// Starts the agent with these capabilities of root, such as `-all`.
fn start(host: &Host, capabilities: &str) -> Agent {
    host.agent().under(&["setpriv", &format!("--bounding-set={capabilities}")]).start()
}

/// The one line about a directory of another user.
fn one_line(agent: &Agent) -> String {
    let line = agent.logs(" belongs to uid ");
    assert_eq!(agent.logged("ermission denied"), 1, "{}", agent.log());
    assert!(!line.contains("(os error 2)"), "{line}");
    line
}

/// The directory of the running Collector's own files.
fn collector_dir(host: &Host) -> String {
    let environment = system::environment(host.collector());
    environment.iter().find_map(|it| it.strip_prefix("OTELET_COLLECTOR_DIR=")).unwrap().to_owned()
}

#[test]
#[ignore = "needs root: cargo xtask check --real"]
fn a_state_directory_of_another_user_is_replaced_and_one_line_has_the_cure() {
    if !system::is_root() {
        return println!("skipped: only root can make a directory of another user");
    }
    // As an installation by that user left it, and as a person made it.
    for used in [true, false] {
        let host = Host::new();
        if used {
            assert_eq!(host.agent_running(&config("good")).stop(), 0);
        } else {
            fs::create_dir(host.state_dir()).unwrap();
            system::set_mode(&host.state_dir(), 0o700);
        }
        give_away(&host.state_dir());
        host.server.offer(config("good"));

        let agent = start(&host, "-all");

        agent.applied(&config("good"));
        let (state, instead) = (host.state_dir(), host.runtime_dir().join("state"));
        let cure = format!(
            "{0} belongs to uid {OTHER} and the agent is uid 0; chown -R 0:0 {0}, or run it as uid {OTHER}; until the next boot \
             state is kept in {1}",
            state.display(),
            instead.display()
        );
        let line = one_line(&agent);
        assert!(line.ends_with(&cure), "{line}");
        assert_eq!(Path::new(&collector_dir(&host)), instead.join("collector"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask check --real"]
fn a_state_directory_that_can_be_read_and_not_written_keeps_its_config_and_the_collector_writes_elsewhere() {
    if !system::is_root() {
        return println!("skipped: only root can make a directory of another user");
    }
    let host = Host::new();
    assert_eq!(host.agent_running(&config("good")).stop(), 0);
    give_away(&host.state_dir());

    // The unit of the packages has this capability too.
    let agent = start(&host, "-all,+dac_read_search");

    agent.wait_status("a healthy collector", |status| status.collector.healthy);
    let line = one_line(&agent);
    assert!(line.contains("until the next boot the collector's own files are in "), "{line}");
    let dir = collector_dir(&host);
    assert_eq!(Path::new(&dir), host.runtime_dir().join("collector"));
    assert!(Path::new(&dir).is_dir());
}

#[test]
#[ignore = "needs root: cargo xtask check --real"]
fn a_directory_of_the_collector_that_is_another_users_is_replaced() {
    if !system::is_root() {
        return println!("skipped: only root can make a directory of another user");
    }
    let host = Host::new();
    assert_eq!(host.agent_running(&config("good")).stop(), 0);
    give_away(&host.state_dir().join("collector"));

    let agent = start(&host, "-all");

    agent.wait_status("a healthy collector", |status| status.collector.healthy);
    let line = one_line(&agent);
    assert!(line.contains("/collector belongs to uid "), "{line}");
    assert_eq!(Path::new(&collector_dir(&host)), host.runtime_dir().join("collector"));
}

#[test]
#[ignore = "needs root: cargo xtask check --real"]
fn a_runtime_directory_of_another_user_is_replaced_and_the_line_has_the_command_for_the_status() {
    if !system::is_root() {
        return println!("skipped: only root can make a directory of another user");
    }
    let host = Host::new();
    fs::create_dir(host.runtime_dir()).unwrap();
    system::set_mode(&host.runtime_dir(), 0o700);
    give_away(&host.runtime_dir());
    host.server.offer(config("good"));

    let agent = start(&host, "-all");

    let instead = host.state_dir().join("run");
    let line = one_line(&agent);
    assert!(line.ends_with(&format!("otelet status --runtime-dir={}", instead.display())), "{line}");
    host.started(1);
    let settings = format!("--settings={}", host.settings_file().display());
    let healthy = || {
        let directory = format!("--runtime-dir={}", instead.display());
        host.otelet(&["status", "--healthy", &settings, &directory]).status.success()
    };
    super::host::wait_until("a healthy collector", healthy);
}
