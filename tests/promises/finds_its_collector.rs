//! The agent finds a collector by its name on PATH, and on Windows also where its installer puts it.

use std::fs;
use std::path::Path;

use super::host::{Agent, COLLECTOR, Host, command_line, config};

/// Puts a collector by this name into a directory of this host, which is made.
fn installed(host: &Host, directory: &str, name: &str) -> String {
    let directory = host.path(directory);
    fs::create_dir_all(&directory).unwrap();
    fs::copy(&*COLLECTOR, directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))).unwrap();
    directory.display().to_string()
}

/// The collector that the agent runs, as a path below the directory of this host.
fn found(host: &Host, agent: &Agent) -> String {
    let collector = agent.applied(&config("good")).collector;
    let program = command_line(collector.pid.unwrap()).swap_remove(0);
    assert_eq!(collector.path, program, "the status names the one that runs");
    let below = Path::new(&program).strip_prefix(host.path("")).expect("it is on this host");
    below.display().to_string().replace('\\', "/")
}

#[test]
fn by_its_name_on_path() {
    for (said, wanted) in [(None, "with space/otelcol"), (Some("otelcol-mine"), "b/otelcol-mine")] {
        let host = Host::new();
        match said {
            Some(name) => host.set("collector.path", name),
            None => host.unset("collector.path"),
        }
        host.server.offer(config("good"));
        let directories = [installed(&host, "b", "otelcol-mine"), installed(&host, "with space", "otelcol")];
        let path = std::env::join_paths(directories.iter().map(Path::new)).unwrap().into_string().unwrap();

        let agent = host.agent().env("PATH", path).start();

        assert_eq!(found(&host, &agent), format!("{wanted}{}", std::env::consts::EXE_SUFFIX));
    }
}

#[cfg(windows)]
#[test]
fn where_its_installer_puts_it_and_not_a_config_that_is_called_like_it() {
    for said in [None, Some("otelcol-contrib.exe"), Some("OtelCol-Contrib")] {
        let host = Host::new();
        match said {
            Some(name) => host.set("collector.path", name),
            None => host.unset("collector.path"),
        }
        host.server.offer(config("good"));
        let programs = host.path("Programme (x64)");
        let directory = installed(&host, "Programme (x64)/OpenTelemetry Collector", "otelcol-contrib");
        fs::write(Path::new(&directory).join("otelcol-contrib.yaml"), "receivers:").unwrap();

        let agent = host.agent().env("PATH", "").env("ProgramFiles", programs.display().to_string()).start();

        assert_eq!(found(&host, &agent), "Programme (x64)/OpenTelemetry Collector/otelcol-contrib.exe");
    }
}

#[test]
fn a_collector_that_is_nowhere_is_reported_with_the_searched_places() {
    let host = Host::new();
    host.unset("collector.path");
    host.server.offer(config("good"));

    let agent = host.agent().env("PATH", host.path("").display().to_string()).start();

    let line = agent.logs("there is no otelcol-contrib, otelcol or otelcol-* ");
    assert!(line.contains(otelet::os::COLLECTOR_PLACES), "{line}");
}
