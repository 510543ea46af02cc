//! A config that passes `validate` and then fails in its probation is replaced by the last good one, and the agent
//! remembers it.

use std::net::TcpListener;

use super::host::{Host, Signal, config, hash, scripted, short, signal};

#[test]
fn a_config_the_collector_dies_on_is_replaced_by_the_last_good_one() {
    let host = Host::new();
    let (good, bad) = (config("good"), scripted("bad", &["exit 1 after 150ms", "error cannot reach the queue"]));
    let agent = host.agent_running(&good);
    host.change(&agent, "collector.probation", "1h");

    host.server.offer(&*bad);

    assert_eq!(agent.failed(&bad), "cannot reach the queue", "the collector's own last words");
    agent.logs("collector exited: code 1");
    agent.logs(&format!("config {} failed: cannot reach the queue; restored {}", short(&bad), short(&good)));
    host.runs("good");
    assert_eq!(agent.applied_still(&good).config.refused[0].hash, hash(&bad));
    assert_eq!(host.starts_on(&bad), 1, "tried once");
}

#[test]
fn an_unrequested_exit_is_a_crash_even_with_code_0() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = scripted("bad", &["exit 0 after 150ms"]);

    host.server.offer(&*bad);

    let message = agent.failed(&bad);
    host.runs("good");
    agent.logs("collector exited: code 0");
    assert!(!message.is_empty());
}

#[test]
fn a_collector_killed_in_its_probation_is_rolled_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = config("bad");
    host.server.offer(&*bad);

    signal(host.runs("bad"), Signal::KILL);

    agent.failed(&bad);
    host.runs("good");
}

#[test]
fn a_collector_that_says_it_is_unhealthy_is_rolled_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.change(&agent, "collector.probation", "1h");
    let bad = scripted("bad", &["unhealthy after 600ms"]);

    host.server.offer(&*bad);

    let message = agent.failed(&bad);
    assert!(message.starts_with("unhealthy: health_check at 127.0.0.1:"), "{message}");
    assert!(message.ends_with("answered 503, 3 times in a row"), "{message}");
    host.runs("good");
}

#[test]
fn a_port_that_is_taken_is_seen_only_when_it_starts_and_is_rolled_back() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = thief.local_addr().unwrap();
    let bad = format!(
        "{}  extensions: [health_check]\nextensions: {{health_check: {{endpoint: \"{taken}\"}}}}\n",
        scripted("bad", &["port-thief"])
    );

    host.server.offer(&*bad);

    let message = agent.failed(&bad);
    assert!(message.contains("address already in use"), "{message}");
    host.runs("good");
}

#[test]
fn with_nothing_to_go_back_to_it_is_tried_again_until_a_better_one_comes() {
    let host = Host::new();
    let (bad, good) = (scripted("bad", &["error no such device"]), config("good"));
    host.server.offer(&*bad);
    let agent = host.agent().start();
    assert_eq!(agent.failed(&bad), "no such device");
    host.started(3);

    host.server.offer(&*good);

    agent.applied(&good);
    host.runs("good");
}

#[test]
fn a_probation_that_the_agent_did_not_survive_goes_on_after_its_restart() {
    let host = Host::new();
    let (good, new) = (config("good"), config("new"));
    let mut agent = host.agent_running(&good);
    host.change(&agent, "collector.probation", "1h");
    host.server.offer(&*new);
    host.runs("new");
    agent.wait_status("the trial", |status| status.config.candidate_hash == Some(hash(&new)));
    agent.kill();

    host.set("collector.probation", "100ms");
    let agent = host.agent().start();

    let status = agent.applied(&new);
    assert_eq!(status.config.previous_hash, Some(hash(&good)));
}

#[test]
fn a_config_is_refused_after_the_agent_ended_three_times_in_its_probation() {
    let host = Host::new();
    let (good, new) = (config("good"), config("new"));
    let mut agent = host.agent_running(&good);
    host.change(&agent, "collector.probation", "1h");
    host.server.offer(&*new);
    for start in 2..=5 {
        assert_eq!(host.started(start).label(), "new");
        agent.wait_status("the trial", |status| status.config.candidate_hash == Some(hash(&new)));
        agent.kill();
        agent = host.agent().start();
    }

    agent.logs("the agent or the host ended 3 times during its probation");
    host.runs("good");
    agent.failed(&new);
}
