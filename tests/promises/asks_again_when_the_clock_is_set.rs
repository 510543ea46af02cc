//! A host without a battery starts in 1970. Requests that fail until its clock is set are sent again at once then, without
//! waiting out a backoff.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::host::{Agent, Host, config, is_a_release, wait_until};
use super::server::Answer;

/// A library that moves the wall clock of the agent by the seconds in a file. The clock of the host is left alone.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, id, time);
    const char *path = getenv("MOVED_CLOCK");
    if (id == CLOCK_REALTIME && result == 0 && path) {
        char text[32] = {0};
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            if (read(fd, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
            close(fd);
        }
    }
    return result;
}
"#;

/// A moved clock. None where it cannot be moved: the static agent reads the clock by itself.
fn clock(host: &Host) -> Option<(PathBuf, PathBuf)> {
    if is_a_release() {
        println!("skipped: a static agent cannot be given another clock");
        return None;
    }
    let (source, library, moved) = (host.path("clock.c"), host.path("clock.so"), host.path("clock"));
    fs::write(&source, CLOCK).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(made.success());
    Some((library, moved))
}

/// Moves the clock as a time service does, and looks at the status, which wakes the agent.
fn set(host: &Host, agent: &Agent, moved: &Path, by: i64) {
    fs::write(moved.with_extension("new"), by.to_string()).unwrap();
    fs::rename(moved.with_extension("new"), moved).unwrap();
    agent.status(host);
}

#[test]
fn a_poll_that_failed_is_repeated_at_once_when_the_clock_is_set() {
    let host = Host::new();
    let Some((library, moved)) = clock(&host) else { return };
    // Some days after the beginning of 1970.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    fs::write(&moved, (300_000 - now).to_string()).unwrap();
    host.server.answer(Answer::Status(503, vec![("Retry-After".into(), "3600".into())], Vec::new()));
    let library = library.display().to_string();
    let agent = host.agent().env("LD_PRELOAD", library).env("MOVED_CLOCK", moved.display().to_string()).start();
    let line = agent.logs("so it is not set yet");
    assert!(line.contains("the clock of this host says 1970-01-04T"), "{line}");
    agent.logs("answered 503");
    agent.status(&host);
    let asked = host.server.requests().len();

    let body = config("good");
    host.server.offer(&*body);
    agent.status(&host);
    assert_eq!(host.server.requests().len(), asked, "a look at the status asks nobody");
    set(&host, &agent, &moved, 0);

    let line = agent.logs("the clock of this host was set forward by ");
    assert!(line.contains("asking again at once what has failed before"), "{line}");
    agent.applied(&body);
}

#[test]
fn a_clock_that_is_set_while_all_is_well_asks_nobody() {
    let host = Host::new();
    let Some((library, moved)) = clock(&host) else { return };
    host.set("config.poll_every", "24h");
    let body = config("good");
    host.server.offer(&*body);
    let library = library.display().to_string();
    let agent = host.agent().env("LD_PRELOAD", library).env("MOVED_CLOCK", moved.display().to_string()).start();
    agent.applied(&body);
    let (asked, starts) = (host.server.requests().len(), host.starts().len());

    for by in [86_400, -86_400, 0] {
        set(&host, &agent, &moved, by);
    }

    wait_until("a status by the new clock", || agent.status(&host).collector.healthy);
    assert_eq!((host.server.requests().len(), host.starts().len()), (asked, starts));
    assert_eq!(agent.logged("the clock of this host"), 0, "no news at this level");
}
