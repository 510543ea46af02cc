//! With `--log-file` the log goes to a file that stays small by itself, even if a collector floods it for years.

use std::fs;

use super::host::{Host, config, scripted, stderr, wait_until};

/// The largest size of the file, as its help says.
const LIMIT: u64 = 4 * 1024 * 1024;

#[test]
fn two_files_of_a_limited_size_whatever_the_collector_prints() {
    let host = Host::new();
    host.set("collector.log_rate", "1GiB");
    let path = host.path("log/otelet.log");
    let old = host.path("log/otelet.log.old");
    fs::create_dir(host.path("log")).unwrap();
    host.server.offer(scripted("floods", &["flood all"]));
    let mut agent = host.agent().arg(format!("--log-file={}", path.display())).start();

    wait_until("a full file to be set aside", || old.exists());
    let first = fs::read(&old).unwrap();
    // Windows cannot replace a file that is open for reading: from here on the test only looks at its metadata.
    let written = || fs::metadata(&old).and_then(|file| file.modified()).ok();
    let before = written();
    wait_until("the next one too", || written().is_some_and(|at| Some(at) != before));
    agent.stop();

    let files: Vec<u64> =
        fs::read_dir(host.path("log")).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).collect();
    assert!(files.len() == 2 && files.iter().all(|length| *length <= LIMIT), "{files:?}");
    assert!(
        String::from_utf8(first).unwrap().contains(" INFO  collector started: pid "),
        "the agent's lines are there"
    );
    assert!(fs::read_to_string(&path).unwrap().contains(" INFO  otelet stopped"));
    assert_eq!(agent.log(), "", "there is nothing on stderr");
}

#[test]
fn errors_in_the_settings_are_in_the_log_file() {
    let host = Host::new();
    host.set("log_level", "inof");
    let path = host.path("otelet.log");

    let output = host.otelet(&["run", &format!("--log-file={}", path.display())]);

    assert_eq!(output.status.code(), Some(78));
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.contains("log_level: expected one of error, warn, info, debug, trace, found \"inof\""), "{log}");
}

#[test]
fn the_agent_runs_although_its_log_file_cannot_be_written() {
    let host = Host::new();
    host.server.offer(config("good"));
    let agent = host.agent().arg(format!("--log-file={}", host.path("").display())).start();

    host.runs("good");

    agent.logs(": not a regular file; the log goes to stderr");
    agent.logs("collector started: pid ");
}

#[test]
fn only_run_accepts_the_flag() {
    let host = Host::new();
    let output = host.command().args(["status", "--log-file=x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("--log-file does not go with status, only with run"), "{}", stderr(&output));
}
