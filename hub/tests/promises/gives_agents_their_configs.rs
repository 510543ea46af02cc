//! A config reaches the agents whose labels it is assigned to, byte for byte, one agent at a time, over each protocol.

use otelet_hub_decide::{Happened, Labels, Report, SETTLE, State};
use otelet_wire::opamp::OfferStatus;

use crate::kit::{Agent, CONFIG, TestHub, audit, eventually, other};

fn state(hub: &TestHub, agent: &Agent) -> State {
    let member = hub.member(agent.uid);
    member.agent.state(member.desired.map(|it| it.hash), otelet_hub::clock::now())
}

#[test]
fn an_agent_gets_the_config_of_its_labels_and_is_healthy() {
    let hub = TestHub::new();
    hub.save("edge", 0, CONFIG);
    hub.save("other", 0, &other(1));
    hub.assign(&[("site=line-4", "other", 1), ("site=line-3", "edge", 1)]);
    let mut agent = Agent::new(1, &hub.enrolment(1));
    let offer = agent.poll(&hub).remote_config.expect("its first answer has the config");
    assert_eq!(offer.config.unwrap().config_map[""].body, CONFIG);
    assert_eq!(agent.poll(&hub).remote_config, None, "the same hash is not offered again");
    assert_eq!(state(&hub, &agent), State::Healthy);
}

#[test]
fn a_bad_config_stops_at_the_first_agent_in_its_own_words() {
    let hub = TestHub::new();
    hub.save("edge", 0, CONFIG);
    hub.assign(&[("", "edge", 1)]);
    let token = hub.enrolment(9);
    let mut agents: Vec<Agent> = (1..=4).map(|n| Agent::new(n, &token)).collect();
    eventually("each has the first config", || {
        agents.iter_mut().for_each(|agent| _ = agent.poll(&hub));
        agents.iter().all(|agent| state(&hub, agent) == State::Healthy).then_some(())
    });

    hub.save("edge", 1, &other(2));
    hub.assign(&[("", "edge", 2)]);
    let mut reached = 0;
    for _ in 0..3 {
        for agent in &mut agents {
            if agent.poll(&hub).remote_config.is_some() {
                reached += 1;
                agent.status = OfferStatus::Failed;
                agent.message = "unknown type: \"fluentd\"".into();
            }
        }
    }
    assert_eq!(reached, 1);
    let failed = agents.iter().find(|agent| agent.status == OfferStatus::Failed).unwrap();
    assert_eq!(state(&hub, failed), State::ConfigFailed);
    let stops = hub.hub.fleet(|fleet| fleet.stops().values().cloned().collect::<Vec<_>>());
    assert_eq!((stops.len(), stops[0].why.as_str()), (1, "unknown type: \"fluentd\""));
    assert!(hub.events(failed.uid).contains(&"assignment.stopped".to_owned()));

    // Nobody is offered it although a person lets it go on: the next one is, alone.
    let hash = *hub.hub.fleet(|fleet| fleet.stops().clone()).keys().next().unwrap();
    hub.run(hub.hub.tell(Happened::Resumed { hash }, vec![audit()])).unwrap();
    let reached = agents.iter_mut().filter_map(|agent| agent.poll(&hub).remote_config).count();
    assert_eq!(reached, 1);
}

#[test]
fn the_next_agent_waits_for_the_one_before() {
    let hub = TestHub::new();
    hub.save("edge", 0, CONFIG);
    let token = hub.enrolment(9);
    let mut agents: Vec<Agent> = (1..=2).map(|n| Agent::new(n, &token)).collect();
    agents.iter_mut().for_each(|agent| _ = agent.poll(&hub));
    hub.assign(&[("", "edge", 1)]);
    let begun = otelet_hub::clock::now();
    assert!(agents[0].poll(&hub).remote_config.is_some());
    assert!(agents[1].poll(&hub).remote_config.is_none());
    agents[0].poll(&hub);
    eventually("the second has its turn", || agents[1].poll(&hub).remote_config);
    assert!(otelet_hub::clock::now() - begun >= SETTLE);
}

#[test]
fn a_plain_get_has_etag_304_and_signature_and_never_what_the_agent_refused() {
    let hub = TestHub::new();
    let (uid, token) = hub.run(hub.hub.make_agent(Some("oven".into()), Labels::new(), audit())).unwrap();
    let bearer = format!("Bearer {token}");
    let get = |path: &str, tag: &str| {
        let all = [("Authorization", bearer.as_str()), ("If-None-Match", tag)];
        hub.ask("GET", path, if tag.is_empty() { &all[..1] } else { &all }, b"")
    };
    let none = get("/v1/config", "");
    assert_eq!(none.status, 404);
    assert!(none.text().starts_with("there is no config for this agent"), "{}", none.text());

    hub.save("edge", 0, CONFIG);
    hub.assign(&[("", "edge", 1)]);
    let first = get("/v1/config.yaml", "");
    assert_eq!((first.status, first.text().as_str()), (200, CONFIG));
    let tag = &first.headers["etag"];
    assert_eq!(*tag, format!("\"{}\"", otelet_hub::clock::sha256(CONFIG.as_bytes())));
    let same = get("/v1/config", tag);
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(get("/v1/config.minisig", "").status, 404);

    let refused = (otelet_hub::clock::sha256(CONFIG.as_bytes()), "unknown type".to_owned());
    let report = Report { barred: vec![refused], ..Report::default() };
    hub.run(hub.hub.tell(Happened::Heard { uid, report }, vec![])).unwrap();
    assert_eq!(get("/v1/config.yaml", "").status, 404, "there is no other one for it");
}

#[test]
fn kloudmates_agent_gets_the_config_once_as_json_and_numbers_stay_whole() {
    let hub = TestHub::new();
    let (uid, token) = hub.run(hub.hub.make_agent(None, Labels::new(), audit())).unwrap();
    let big = CONFIG.replace("debug:\n", "debug: {sampling_initial: 10485760}\n");
    hub.save("edge", 0, &big);
    hub.assign(&[("", "edge", 1)]);
    let check = |error: &str| {
        let body = format!(
            "{{\"is_docker\":false,\"hostname\":\"oven\",\"platform\":\"linux\",\"architecture\":\"amd64\",\
             \"agent_version\":\"1.2.0\",\"collector_version\":\"v0.142.0\",\"agent_status\":\"Running\",\
             \"collector_status\":\"Running\",\"last_error_message\":\"{error}\"}}"
        );
        let answer = hub.ask("POST", "/agents/config-check", &[("Authorization", &token)], body.as_bytes());
        assert_eq!(answer.status, 200);
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()
    };
    let first = check("");
    assert_eq!(first["restart_required"], true);
    assert_eq!(first["config"]["exporters"]["debug"]["sampling_initial"].to_string(), "10485760");
    assert_eq!(check(""), serde_json::json!({"restart_required": false, "config": null}));
    let member = hub.member(uid);
    assert_eq!(member.agent.host, "oven");
    assert_eq!(member.agent.state(member.desired.map(|it| it.hash), otelet_hub::clock::now()), State::Healthy);

    hub.run(hub.hub.ask_restart(uid, "anna", audit())).unwrap();
    assert_eq!(check(""), serde_json::json!({"restart_required": true, "config": null}));
    check("cannot start");
    assert_eq!(hub.member(uid).agent.refused.len(), 1);
}

#[test]
fn a_restart_is_delivered_once() {
    let hub = TestHub::new();
    let mut agent = Agent::new(1, &hub.enrolment(1));
    agent.poll(&hub);
    hub.run(hub.hub.ask_restart(agent.uid, "anna", audit())).unwrap();
    assert_eq!(agent.poll(&hub).command.map(|command| command.kind), Some(0));
    assert_eq!(agent.poll(&hub).command, None);
}

/// Signs by the minisign program, so that the hub takes what people make.
#[test]
fn a_signature_is_taken_only_if_it_fits_and_lies_beside_the_config() {
    use std::process::{Command, Stdio};
    let dir = std::env::temp_dir().join(format!("otelet-hub-sign-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let minisign = |args: &[&str]| {
        let status =
            Command::new("minisign").args(args).current_dir(&dir).stdin(Stdio::null()).stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !minisign(&["-G", "-W", "-f", "-p", "key.pub", "-s", "key.sec"]) {
        eprintln!("SKIPPED: there is no minisign");
        return;
    }
    let key = std::fs::read_to_string(dir.join("key.pub")).unwrap();
    let keys = [otelet_config::signature::PublicKey::parse(&key).unwrap()];
    std::fs::write(dir.join("edge.yaml"), CONFIG).unwrap();
    assert!(minisign(&["-S", "-s", "key.sec", "-m", "edge.yaml"]));
    let minisig = std::fs::read_to_string(dir.join("edge.yaml.minisig")).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();

    let hub = TestHub::new();
    let (_, token) = hub.run(hub.hub.make_agent(None, Labels::new(), audit())).unwrap();
    hub.save("edge", 0, CONFIG);
    hub.save("edge", 1, &other(2));
    let sign = |number, keys: &[_]| {
        hub.run(otelet_hub::configs::sign(&hub.hub, "edge", number, &minisig, keys, audit()))
            .map_err(|it| it.to_string())
    };
    assert!(sign(1, &[]).unwrap_err().contains("--public-key"));
    assert!(sign(2, &keys).unwrap_err().contains("sign"), "it is the signature of another text");
    assert_eq!(sign(1, &keys), Ok(()));
    hub.assign(&[("", "edge", 1)]);
    let bearer = format!("Bearer {token}");
    let get = |path| hub.ask("GET", path, &[("Authorization", bearer.as_str())], b"");
    assert_eq!(get("/v1/config.yaml").text(), CONFIG);
    assert_eq!(get("/v1/config.yaml.minisig").text(), minisig);
}
