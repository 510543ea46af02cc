//! The agent listens on no port: its status is in a file, and it sends its reports itself.

use std::fs;

use super::host::{Host, config};

/// The inodes of listening sockets, TCP and UDP. Source: `/proc/net/*`, fields `st` (0A is LISTEN) and `inode`
/// (proc(5)).
fn listening(pid: u32) -> Vec<String> {
    let mut inodes = Vec::new();
    for (table, listens) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == listens {
                inodes.push(format!("socket:[{}]", fields[9]));
            }
        }
    }
    inodes
}

fn ports_of(pid: u32) -> Vec<String> {
    let listening = listening(pid);
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = open.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()));
    targets.filter(|target| listening.contains(target)).collect()
}

#[test]
fn it_listens_on_no_port_while_its_collector_does() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));

    assert_eq!(
        ports_of(host.runs("good")).len(),
        1,
        "the collector's health_check, which shows that this test sees ports"
    );
    assert_eq!(ports_of(agent.pid()), [""; 0]);
}
