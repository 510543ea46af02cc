//! Good configs that alternate do not restart the collector at each poll, and a change of comments restarts nothing. A
//! person and the first changes never wait.

use std::fs;

use otelet_wire::status::RemoteConfigStatus;

use super::host::{Host, Signal, config, hash, short, stdout};

/// Offers both configs again and again until the agent says that one has to wait.
fn alternate(host: &Host, agent: &super::host::Agent, bodies: [&str; 2]) -> String {
    for body in bodies.iter().cycle().take(100) {
        host.server.offer(*body);
        host.more_polls(2);
        if agent.logged(" waits for ") > 0 {
            return agent.logs(" waits for ");
        }
    }
    panic!("it changes for ever:\n{}", agent.log());
}

#[test]
fn two_mirrors_that_disagree_start_few_collectors_and_are_named() {
    let host = Host::new();
    let (one, other) = (config("one"), config("other"));
    let agent = host.agent_running(&one);

    let line = alternate(&host, &agent, [&other, &one]);
    for body in [&other, &one].iter().cycle().take(10) {
        host.server.offer(body.as_str());
        host.more_polls(2);
    }

    assert!(line.contains("back and forth between"), "{line}");
    assert!(line.contains(&short(&one)) && line.contains(&short(&other)), "{line}");
    assert!(line.contains("rollback --clear"), "{line}");
    assert_eq!(agent.logged(" waits for "), 1, "said once");
    assert!(host.starts().len() <= 6, "the first and four changes: {:#?}", host.starts());
}

#[test]
fn the_status_shows_that_a_config_waits_and_until_when() {
    let host = Host::new();
    let (one, other, third) = (config("one"), config("other"), config("third"));
    let agent = host.agent_running(&one);
    // Each has survived its probation before the next one comes, since a way back out of a probation is never damped.
    for body in [&other, &one, &other, &one] {
        host.server.offer(body.as_str());
        agent.applied(body);
    }

    host.server.offer(&*third);

    let status = agent.wait_status("a config that waits", |status| {
        status.config.remote_hash == Some(hash(&third)) && status.config.held_until.is_some()
    });
    assert_eq!(status.config.remote_config_status, RemoteConfigStatus::Applying);
    assert!(status.config.message.contains("has changed 4 times"), "{}", status.config.message);
    let screen = stdout(&host.otelet(&["status"]));
    assert!(screen.contains("waits for ") && screen.contains("has changed 4 times"), "{screen}");
    assert_eq!(host.starts_on(&third), 0);
}

#[test]
fn a_config_that_is_new_at_each_poll_is_damped_too() {
    let host = Host::new();
    let agent = host.agent_running(&config("first"));

    for number in 0..40 {
        host.server.offer(config(&format!("rendered at {number}")));
        host.more_polls(2);
    }

    let line = agent.logs(" waits for ");
    assert!(line.contains("each time to another one") && line.contains("rendered"), "{line}");
    assert!(host.starts().len() <= 6, "{:#?}", host.starts());
}

#[test]
fn a_person_who_clears_or_reloads_gets_the_waiting_config_at_once() {
    let host = Host::new();
    let (one, other) = (config("one"), config("other"));
    let agent = host.agent_running(&one);
    alternate(&host, &agent, [&other, &one]);
    for (label, by_signal) in [("cleared", false), ("reloaded", true)] {
        let wanted = config(label);
        host.server.offer(&*wanted);
        if by_signal {
            alternate(&host, &agent, [&other, &one]);
            host.server.offer(&*wanted);
            agent.signal(Signal::HUP);
        } else {
            agent.wait_status("a config that waits", |status| status.config.remote_hash == Some(hash(&wanted)));
            assert!(host.otelet(&["rollback", "--clear"]).status.success());
        }
        agent.applied(&wanted);
    }
}

#[test]
fn a_rollback_by_a_person_does_not_wait() {
    let host = Host::new();
    let (one, other) = (config("one"), config("other"));
    let agent = host.agent_running(&one);
    agent.applied(&one);
    host.server.offer(&*other);
    agent.applied(&other);
    for number in 0..10 {
        host.server.offer(config(&format!("rendered at {number}")));
        host.more_polls(2);
    }
    agent.logs(" waits for ");
    let before = agent.status(&host).config;

    assert!(host.otelet(&["rollback"]).status.success());

    let target = if before.candidate_hash.is_some() { before.last_good_hash } else { before.previous_hash };
    agent.wait_status("the earlier config", |status| status.config.effective_hash == target);
}

#[test]
fn a_change_of_comments_and_blank_lines_restarts_nothing() {
    let host = Host::new();
    let body = config("good");
    let agent = host.agent_running(&body);
    let collector = host.runs("good");

    let mut newest = String::new();
    for number in 0..8 {
        newest = format!(
            "# rendered at {number}\n\n{}\n# the end\n",
            body.replace("service:\n", "service:   # {number}\n\n")
        );
        host.server.offer(&*newest);
        agent.applied(&newest);
    }

    assert_eq!(host.collector(), collector);
    assert_eq!(host.starts().len(), 1);
    assert_eq!(host.validations(&newest), 0);
    assert_eq!(agent.logged("differs in comments and blank lines alone"), 1, "said once");
    let path = agent.status(&host).config.effective_path.unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), newest, "the offered bytes are kept");
}

#[test]
fn a_line_in_a_block_scalar_that_looks_like_a_comment_is_content() {
    let host = Host::new();
    let body = |line: &str| {
        config("good").replace(
            "service:\n",
            &format!("processors:\n  script:\n    text: |\n      first\n{line}      last\nservice:\n"),
        )
    };
    let agent = host.agent_running(&body("      # one\n"));

    for line in ["      # two\n", "\n"] {
        host.server.offer(body(line));
        agent.applied(&body(line));
    }

    assert_eq!(host.starts().len(), 3);
}
