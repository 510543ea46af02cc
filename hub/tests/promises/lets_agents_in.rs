//! An enrolment token gives each agent a credential of its own, which is revoked alone.

use otelet_hub_decide::Uid;

use crate::kit::{Agent, TestHub, audit};

#[test]
fn an_agent_that_enrols_gets_a_credential_of_its_own_and_the_labels_of_the_token() {
    let hub = TestHub::new();
    let token = hub.enrolment(5);
    let mut agent = Agent::new(1, &token);
    agent.poll(&hub);
    assert!(agent.token.starts_with("agent_") && agent.token != token);
    let again = agent.poll(&hub);
    assert_eq!(again.connection_settings, None, "its own credential is all it needs");
    let member = hub.member(agent.uid);
    assert_eq!(member.agent.labels()["site"], "line-3");
    assert_eq!(member.agent.labels()["role"], "press");
    assert_eq!(member.agent.host, "press-1");
    assert_eq!(hub.events(agent.uid)[..2], ["agent.enrolled", "agent.first_heard"]);
}

#[test]
fn an_answer_that_was_lost_is_given_again_and_takes_no_second_use() {
    let hub = TestHub::new();
    let token = hub.enrolment(1);
    let agent = Agent::new(1, &token);
    let offer = |answer: otelet_wire::opamp::ServerToAgent| answer.connection_settings.unwrap();
    let first = offer(agent.send(&hub, &agent.says()).1);
    let second = offer(agent.send(&hub, &agent.says()).1);
    assert_eq!(first, second);
    let (status, _) = Agent::new(2, &token).send(&hub, &Agent::new(2, &token).says());
    assert_eq!(status, 401, "the only use is used up");
}

#[test]
fn a_replayed_token_and_a_cloned_uid_are_refused_and_shown() {
    let hub = TestHub::new();
    let token = hub.enrolment(5);
    let (mut one, mut two) = (Agent::new(1, &token), Agent::new(2, &token));
    for agent in [&mut one, &mut two] {
        agent.poll(&hub);
        agent.poll(&hub);
    }
    // The settings of agent 1 on another host: the same uid with the enrolment token.
    let clone = Agent::new(1, &token);
    assert_eq!(clone.send(&hub, &clone.says()).0, 403);
    assert!(hub.events(one.uid).contains(&"agent.cloned".to_owned()));
    // The disk of agent 2 with the uid of agent 1.
    let mixed = Agent::new(1, &two.token);
    assert_eq!(mixed.send(&hub, &mixed.says()).0, 403);
    assert_eq!(one.send(&hub, &one.says()).0, 200, "the agent itself is not harmed");
}

#[test]
fn a_revoked_agent_is_out_at_its_next_poll_and_the_others_are_not() {
    let hub = TestHub::new();
    let token = hub.enrolment(5);
    let (mut one, mut two) = (Agent::new(1, &token), Agent::new(2, &token));
    one.poll(&hub);
    two.poll(&hub);
    hub.run(hub.hub.forget(one.uid, audit())).unwrap();
    assert_eq!(one.send(&hub, &one.says()).0, 401);
    assert_eq!(two.send(&hub, &two.says()).0, 200);
    // A revoked enrolment token enrols nobody, and its agents stay.
    hub.run(hub.hub.revoke_enrolment("t5", audit())).unwrap();
    let late = Agent::new(3, &token);
    assert_eq!(late.send(&hub, &late.says()).0, 401);
    assert_eq!(two.send(&hub, &two.says()).0, 200);
}

#[test]
fn nobody_comes_in_without_a_token() {
    let hub = TestHub::new();
    for path in ["/v1/opamp", "/v1/reports", "/v1/logs", "/agents/config-check"] {
        let headers = [("Content-Type", "application/x-protobuf")];
        assert_eq!(hub.ask("POST", path, &headers, b"x").status, 401, "{path}");
        let headers = [("Content-Type", "application/x-protobuf"), ("Authorization", "Bearer agent_guess")];
        assert_eq!(hub.ask("POST", path, &headers, b"x").status, 401, "{path}");
    }
    assert_eq!(hub.ask("GET", "/v1/config", &[], b"").status, 401);
}

#[test]
fn an_installer_enrols_by_a_call() {
    let hub = TestHub::new();
    let token = hub.enrolment(1);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = format!("{{\"instance_uid\": \"{}\"}}", Uid([9; 16]));
    let answer = hub.ask("POST", "/v1/enrol", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("\"token\":\"agent_"), "{}", answer.text());
    let broken = hub.ask("POST", "/v1/enrol", &headers, b"{\"instance_uid\": \"x\"}");
    assert_eq!((broken.status, broken.text().as_str()), (400, "instance_uid is no UUID\n"));
}

#[test]
fn all_of_it_outlives_the_hub() {
    let mut hub = TestHub::new();
    let token = hub.enrolment(5);
    let mut agent = Agent::new(1, &token);
    agent.poll(&hub);
    let dir = std::mem::take(&mut hub.dir);
    let number = hub.save("edge", 0, crate::kit::CONFIG);
    hub.assign(&[("site=line-3", "edge", number)]);
    drop(hub);
    let hub = TestHub::at(dir);
    let answer = agent.poll(&hub);
    let file = &answer.remote_config.unwrap().config.unwrap().config_map[""];
    assert_eq!(file.body, crate::kit::CONFIG);
}
