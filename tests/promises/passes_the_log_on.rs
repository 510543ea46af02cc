//! The collector's lines reach the agent's stderr whole, bounded in memory and in rate, and never delay supervision.

use std::time::Instant;

use super::host::{Agent, Host, Signal, config, scripted, short, signal, wait_until};

/// Whether this is a line of the agent's own: time, level, text.
fn is_own(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let time = words.next().is_some_and(|word| word.len() == 20 && word.starts_with("20") && word.ends_with('Z'));
    time && words.next().is_some_and(|word| ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&word))
}

/// Whether this is a whole line of a flood, perhaps cut at its end because it was too long, and nothing else.
fn is_flood(line: &str) -> bool {
    let line = line.strip_suffix("...").unwrap_or(line);
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let known =
        |word: &str| ["without", "an", "end", "flood"].contains(&word) || word.bytes().all(|b| b.is_ascii_digit());
    let mut cut = words.clone();
    cut.next_back();
    words.next() == Some("flood") && cut.all(|word| known(word) || ["word", "long"].contains(&word))
}

/// Checks that no line has another one in it.
fn all_lines_are_whole(log: &str) {
    // The last line may not be complete yet.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    for line in whole.lines() {
        let known =
            is_own(line) && !line[10..].contains("flood 1") || is_flood(line) || line.starts_with("fake\tinfo\t");
        assert!(known, "{} bytes: {}", line.len(), &line[..line.len().min(300)]);
    }
}

#[test]
fn lines_of_the_collector_and_the_agent_do_not_mix() {
    let host = Host::new();
    host.set("collector.log_rate", "64MiB");
    let agent = host.agent_running(&scripted("floods", &["flood 400"]));

    for number in 1..=20 {
        agent.signal(Signal::HUP);
        agent.logs_times("settings read again", number);
    }
    agent.logs("flood 100 ");

    all_lines_are_whole(&agent.log());
}

#[test]
fn a_line_without_an_end_is_passed_on_when_the_collector_ends() {
    let host = Host::new();
    let mut agent = host.agent_running(&scripted("partial", &["partial"]));
    assert_eq!(agent.logged("a line that has no end"), 0, "it may still go on");

    agent.stop();

    assert_eq!(agent.logs("a line that has no end"), "a line that has no end");
}

#[test]
fn a_flood_is_cut_to_the_rate_and_dropped_lines_are_counted() {
    let host = Host::new();
    host.set("collector.log_rate", "16KiB");
    let body = scripted("floods", &["flood all"]);
    let begun = Instant::now();
    let agent = host.agent_running(&body);
    wait_until("two hundred dropped lines", || agent.status(&host).losses.collector_log_lines > 200);

    let passed: usize = agent.log().lines().filter(|line| !is_own(line)).map(|line| line.len() + 1).sum();

    // Four seconds' worth at once, plus the rate for the time since then.
    let most = 16.0 * 1024.0 * (4.0 + begun.elapsed().as_secs_f64());
    assert!(passed > 16 * 1024 && (passed as f64) <= most, "{passed} bytes were passed on, allowed are {most}");
    agent.wait_status("a healthy collector, supervised as ever", |status| status.collector.healthy);
    all_lines_are_whole(&agent.log());
}

#[test]
fn a_flood_does_not_delay_a_restart_or_the_end() {
    let host = Host::new();
    let body = scripted("floods", &["flood all"]);
    let mut agent = host.agent_running(&body);

    signal(host.collector(), Signal::KILL);

    host.started(2);
    agent.applied(&body);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn nothing_is_passed_on_when_the_settings_say_so_and_the_last_lines_are_kept() {
    let host = Host::new();
    host.set("collector.log", "drop");
    let body = scripted("silent", &["exit 1 after 200ms", "error out of inodes"]);
    host.server.offer(&*body);

    let agent = host.agent().start();

    let status = agent.wait_status("an exit", |status| status.collector.last_exit.is_some());
    assert_eq!(status.collector.last_exit.unwrap().last_words, "out of inodes");
    let log = agent.log();
    assert!(log.lines().all(is_own), "{log}");
    assert!(agent.logged("Everything is ready") == 0, "{log}");
}

/// An agent whose writes block, since nobody reads them.
fn stalled(host: &Host) -> Agent {
    host.set("collector.log_rate", "1GiB");
    let body = scripted("floods", &["flood all"]);
    host.server.offer(&*body);
    let agent = host.agent().stderr_unread().start();
    agent.applied(&body);
    wait_until("a full pipe", || agent.status(host).losses.collector_log_lines > 100);
    agent
}

#[test]
fn a_reader_that_stalls_does_not_stall_supervision() {
    let host = Host::new();
    let mut agent = stalled(&host);

    signal(host.collector(), Signal::KILL);

    host.started(2);
    let next = config("next");
    host.server.offer(&*next);
    let status = agent.applied(&next);
    assert!(agent.status(&host).losses.agent_log_lines > 0, "what could not be said is counted");
    assert_eq!(status.config.effective_hash.unwrap()[..8], short(&next));
    assert_eq!(agent.stop(), 0);
}

#[test]
fn after_a_reader_that_stalled_the_lines_are_whole_again() {
    let host = Host::new();
    let mut agent = stalled(&host);

    host.server.offer(config("quiet"));
    agent.applied(&config("quiet"));

    agent.read_stderr();

    // The first line may be written before there is room again.
    wait_until("a line of the agent's own", || {
        agent.signal(Signal::HUP);
        agent.logged("settings read again") > 0
    });
    all_lines_are_whole(&agent.log());
}
