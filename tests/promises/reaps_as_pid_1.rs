//! As the first process of a container the agent reaps orphaned processes, and still stops in order.

use std::fs;
use std::process::Command;

use super::host::{Agent, Host, Signal, alive, otelet, scripted, signal, state, stderr, stdout, wait_for, wait_until};

/// The agent inside its own PID namespace, as seen from outside.
fn first_process(agent: &Agent) -> u32 {
    wait_for("PID 1 of the namespace", || children(agent.pid()).first().copied(), String::new)
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask check --real"]
fn orphans_are_reaped_and_the_agent_stops_in_order() {
    if !super::system::is_root() {
        println!("skipped: only root can make a PID namespace");
        return;
    }
    let host = Host::new();
    let body = scripted("forks", &["fork", "drain 200ms"]);
    host.server.offer(&*body);
    let mut agent = host.agent().under(&["unshare", "-p", "-f", "--mount-proc", "--kill-child"]).start();
    agent.logs("collector healthy");
    let first = first_process(&agent);
    let collector = *children(first).first().unwrap();
    let grandchild = *children(collector).first().unwrap();

    // Does the same as a container's health check.
    let probe = Command::new("nsenter")
        .args(["-t", &first.to_string(), "-p", "-m", otelet(), "status", "--healthy"])
        .arg(format!("--settings={}", host.settings_file().display()))
        .output()
        .unwrap();
    assert!(probe.status.success(), "{}{}", stdout(&probe), stderr(&probe));

    signal(collector, Signal::KILL);

    agent.logs_times("collector healthy", 2);
    wait_until("the grandchild to be reaped", || state(grandchild).is_none());
    wait_until("no remains of anybody", || children(first).iter().all(|child| alive(*child)));

    signal(first, Signal::TERM);

    agent.logs("otelet stopped");
    assert_eq!(agent.ended(), 0);
}
