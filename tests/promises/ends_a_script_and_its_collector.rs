//! A collector behind a script gets its time to end, also if the script started it without `exec`: at a stop, at a change
//! of config, when the script ends by itself, and after the agent was killed. Nothing of it is left behind.

use std::fs;

use super::host::{COLLECTOR, Host, Signal, alive, config, gone, scripted, signal, wait_until};
use super::system::set_mode;

/// A host whose `collector.path` is this script; `COLLECTOR` stands for the collector.
fn host_with(script: &str) -> Host {
    let host = Host::new();
    let path = host.path("collector.sh");
    fs::write(&path, script.replace("COLLECTOR", &COLLECTOR)).unwrap();
    set_mode(&path, 0o755);
    host.set("collector.path", &path.display().to_string());
    host
}

/// Scripts as sites have them. None of them ends as the collector does.
const SCRIPTS: [&str; 5] = [
    "#!/bin/sh\n. /dev/null\n'COLLECTOR' \"$@\"\n",
    // A later command, and the exit status of that.
    "#!/bin/sh\n'COLLECTOR' \"$@\"\ncode=$?\nexit $code\n",
    // In the background, with a wait that a signal ends.
    "#!/bin/sh\n'COLLECTOR' \"$@\" &\nwait\n",
    // Two scripts on top of each other, and a pipe.
    "#!/bin/sh\nsh -c '\"$0\" \"$@\"; true' 'COLLECTOR' \"$@\" 2>&1 | cat\n",
    // In a process group of its own, where a signal for the script's group never arrives.
    "#!/bin/sh\nsetsid -w 'COLLECTOR' \"$@\"\n",
];

#[test]
fn it_drains_at_a_stop() {
    for script in SCRIPTS {
        let host = host_with(script);
        let mut agent = host.agent_running(&scripted("drains", &["drain 300ms"]));
        let pid = host.runs("drains");

        assert_eq!(agent.stop(), 0, "{script}");

        let (asked, ended) = (host.journaled(pid, "sigterm"), host.journaled(pid, "exit"));
        assert_eq!(ended.detail, "0", "{script}");
        assert!((ended.at - asked.at).as_millis() >= 290, "it was given its time: {script}");
        assert!(host.processes().is_empty(), "{script}");
    }
}

#[test]
fn it_drains_at_a_change_of_config_and_only_then_the_next_one_starts() {
    for script in SCRIPTS {
        let host = host_with(script);
        let agent = host.agent_running(&scripted("one", &["drain 300ms"]));
        let one = host.runs("one");

        host.server.offer(config("two"));

        agent.applied(&config("two"));
        let ended = host.journaled(one, "exit");
        assert_eq!(ended.detail, "0", "{script}");
        let start = host.starts().pop().unwrap();
        assert!(ended.at <= start.at, "two at a time: {script}");
        agent.logs("collector stopped");
        assert_eq!(agent.logged("killing it"), 0);
    }
}

#[test]
fn one_that_does_not_end_is_killed_after_the_stop_timeout() {
    let host = host_with(SCRIPTS[0]);
    host.set("collector.stop_timeout", "300ms");
    let mut agent = host.agent_running(&scripted("deaf", &["ignore-sigterm"]));
    let pid = host.runs("deaf");

    assert_eq!(agent.stop(), 0);

    host.journaled(pid, "sigterm");
    agent.logs("did not end within collector.stop_timeout 300ms; killing it");
    assert!(host.processes().is_empty());
}

#[test]
fn a_script_that_ends_by_itself_takes_its_collector_with_it() {
    let host = host_with(
        "#!/bin/sh\n[ \"$1\" = validate ] && exec 'COLLECTOR' \"$@\"\necho $$ > script\n'COLLECTOR' \"$@\"\n",
    );
    let body = scripted("drains", &["drain 300ms"]);
    let agent = host.agent_running(&body);
    let first = host.runs("drains");
    let script = fs::read_to_string(host.path("script")).unwrap().trim().parse().unwrap();

    signal(script, Signal::KILL);

    agent.logs("has ended, and what it started still runs; asking that to end");
    let second = host.started(2);
    assert_eq!(host.journaled(first, "exit").detail, "0");
    assert!(host.journaled(first, "exit").at <= second.at, "two at a time");
    agent.logs("collector exited: signal 9");
    agent.applied(&body);
}

#[test]
fn the_next_agent_ends_what_a_killed_one_left_behind_its_script() {
    let host = host_with(SCRIPTS[0]);
    let mut agent = host.agent_running(&scripted("slow", &["drain 300ms"]));
    let orphan = host.runs("slow");
    agent.kill();
    assert!(alive(orphan), "only the script hears of the end of the agent");

    let agent = host.agent().start();

    let second = host.started(2);
    assert_eq!(host.journaled(orphan, "exit").detail, "0", "it could drain");
    assert!(host.journaled(orphan, "exit").at <= second.at, "two at a time");
    agent.logs("of an earlier agent");
}

#[test]
fn a_question_that_nobody_waits_for_any_more_leaves_no_process() {
    let host = host_with(SCRIPTS[0]);
    let body = scripted("slow", &["validate-hang", "ignore-sigterm"]);
    host.server.offer(&*body);
    let mut agent = host.agent().start();
    let asked = host.wait("the validation", || {
        host.journal().into_iter().find(|entry| entry.event == "validate" && entry.detail.contains("configs"))
    });

    assert_eq!(agent.stop(), 0);

    gone(asked.pid);
    wait_until("no process left", || host.processes().is_empty());
}
