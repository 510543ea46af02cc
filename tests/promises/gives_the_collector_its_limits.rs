//! The collector runs with the memory limit, the priority, the user and the environment of the settings, and without
//! anything that is meant for the agent alone.

use std::fs;

use super::host::{COLLECTOR, Host, config, environment, scripted, wait_for};
use super::system;

fn variable(pid: u32, name: &str) -> Option<String> {
    let start = format!("{name}=");
    environment(pid).iter().find_map(|entry| entry.strip_prefix(&start).map(str::to_owned))
}

#[test]
fn gomemlimit_is_nine_tenths_of_the_memory_limit() {
    let host = Host::new();
    host.set("collector.memory_limit", "1000MB");
    let agent = host.agent_running(&config("good"));

    assert_eq!(variable(host.runs("good"), "GOMEMLIMIT").as_deref(), Some("900000000"));
    drop(agent);
}

#[cfg(unix)]
#[test]
fn a_memory_limit_that_the_kernel_does_not_enforce_is_said_once() {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        // `runs_on_arm64` has a kernel that enforces it.
        return;
    }
    let host = Host::new();
    host.set("collector.memory_limit", "1000MB");
    let agent = host.agent_running(&config("good"));
    host.server.offer(config("better"));
    agent.applied(&config("better"));

    let said = agent.logs("collector.memory_limit is advised to the collector by GOMEMLIMIT and not enforced: ");
    assert!(said.ends_with("this host has no cgroup v2") || said.contains("cgroup v2 is mounted"), "{said}");
    assert_eq!(agent.logged("collector.memory_limit is advised"), 1);
}

#[test]
fn gomemlimit_of_the_settings_overrides_the_derived_one() {
    let host = Host::new();
    host.set("collector.memory_limit", "1000MB");
    host.set("collector.env", "{GOMEMLIMIT: 10MiB}");
    let agent = host.agent_running(&config("good"));

    assert_eq!(variable(host.runs("good"), "GOMEMLIMIT").as_deref(), Some("10MiB"));
    drop(agent);
}

#[test]
fn there_is_no_gomemlimit_without_a_memory_limit() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));

    assert_eq!(variable(host.runs("good"), "GOMEMLIMIT"), None);
    drop(agent);
}

#[test]
fn nice_and_oom_score_adj() {
    let host = Host::new();
    host.set("collector.nice", "7");
    host.set("collector.oom_score_adj", "321");
    let agent = host.agent_running(&config("good"));
    let pid = host.runs("good");

    // The 19th field of stat; the third and later ones follow the name. Source: proc(5).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let nice = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned();
    assert_eq!(nice, "7");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "321");
    drop(agent);
}

#[test]
fn it_gets_variables_of_the_settings_and_the_agent_but_none_of_the_agents_own() {
    let host = Host::new();
    host.set("collector.env", "{SITE: \"${env:PLACE}-4\", HOME: /data}");
    host.server.offer(scripted("good", &["echo-env SITE", "echo-env NOTIFY_SOCKET"]));
    let agent = host
        .agent()
        .env("PLACE", "north")
        .env("HOME", "/root")
        .env("OTELET_LOG_LEVEL", "debug")
        .env("OTELET_CONFIG_HTTP_PROXY", "http://user:password@127.0.0.1:1")
        .env("NOTIFY_SOCKET", "/run/systemd/notify")
        .env("WATCHDOG_USEC", "1000000")
        .env("WATCHDOG_PID", "1")
        .start();
    let pid = host.runs("good");

    assert_eq!(variable(pid, "SITE").as_deref(), Some("north-4"));
    assert_eq!(variable(pid, "HOME").as_deref(), Some("/data"));
    assert_eq!(variable(pid, "PLACE").as_deref(), Some("north"));
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        assert_eq!(variable(pid, name), None, "{name}");
    }
    let ours = environment(pid).into_iter().filter(|entry| entry.starts_with("OTELET_"));
    let mut ours: Vec<_> = ours.map(|entry| entry.split('=').next().unwrap().to_owned()).collect();
    ours.sort();
    let for_configs = [
        "COLLECTOR_DIR",
        "COLLECTOR_OF",
        "COLLECTOR_RUN",
        "EXPORTER",
        "HOST_ID",
        "HOST_NAME",
        "HOST_ROOT",
        "INSTANCE_UID",
    ];
    assert_eq!(ours, for_configs.map(|name| format!("OTELET_{name}")));
    agent.logs("SITE=north-4");
    agent.logs("NOTIFY_SOCKET is unset");
}

/// The targets of a process's descriptors, in their order.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut numbers: Vec<u32> = entries.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect();
    numbers.sort();
    let targets = numbers.iter().filter_map(|number| fs::read_link(format!("/proc/{pid}/fd/{number}")).ok());
    targets.map(|target| target.display().to_string()).collect()
}

#[test]
fn it_has_no_descriptor_of_the_agent_but_its_output() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let pid = host.runs("good");

    let open_now = || {
        let mut open = descriptors(pid);
        // The collector's own descriptors: the socket of its health_check.
        open.retain(|target| !target.starts_with("socket:"));
        open.sort();
        open
    };
    // It may have its config open for a moment.
    let open = wait_for("three", || Some(open_now()).filter(|open| open.len() == 3), || format!("{:?}", open_now()));
    assert_eq!(open[0], "/dev/null");
    assert!(open[1].starts_with("pipe:") && open[1] == open[2], "{open:?}");
    drop(agent);
}

#[test]
#[ignore = "needs root: cargo xtask check --real"]
fn another_user_reads_what_it_needs_and_nothing_else() {
    if !system::is_root() {
        println!("skipped: only root can run the collector as somebody else");
        return;
    }
    let host = Host::new();
    // The directory of the tester's build may be closed to other users.
    fs::copy(&*COLLECTOR, host.path("otelcol")).unwrap();
    system::set_mode(&host.path("otelcol"), 0o755);
    fs::write(host.path("journal"), "").unwrap();
    system::set_mode(&host.path("journal"), 0o666);
    host.set("collector.path", &host.path("otelcol").display().to_string());
    host.set("collector.run_as", "\"4242:4243\"");

    let agent = host.agent_running(&config("good"));

    let status = fs::read_to_string(format!("/proc/{}/status", host.runs("good"))).unwrap();
    let ids = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ids("Uid:"), ["4242"; 4]);
    assert_eq!(ids("Gid:"), ["4243"; 4]);
    assert_eq!(ids("Groups:"), [""; 0], "none of root's other groups");
    let mode = system::mode;
    assert_eq!(mode(&host.state_dir()), 0o711, "it can pass through, and list nothing");
    assert_eq!(mode(&host.state_dir().join("instance_uid")), 0o600);
    drop(agent);
}
