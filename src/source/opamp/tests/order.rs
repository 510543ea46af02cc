//! The order in which the fields of an answer are followed.

use super::*;

#[test]
fn an_answer_with_an_error_is_a_failure() {
    let bench = Bench::settled();
    bench.ask();
    let error = ServerErrorResponse { kind: 0, error_message: "no\nidea".into(), retry_info: None };
    let failure = bench.hear(ServerToAgent { error_response: Some(error), ..offer(b"h", &[("", BODY)]) }).unwrap_err();
    assert_eq!(failure.message, format!("{URL}: the server failed: no idea"));
    assert_eq!((failure.kind.word(), failure.retry_after), ("status", None));
    assert!(bench.ask().remote_config_status.is_none());
}

#[test]
fn other_fields_beside_a_command_are_ignored() {
    let bench = Bench::settled();
    let identification = AgentIdentification { new_instance_uid: Uuid::from_u128(9).as_bytes().to_vec() };
    let message = ServerToAgent {
        command: Some(ServerToAgentCommand { kind: 0 }),
        flags: 3,
        agent_identification: Some(identification),
        ..offer(b"h", &[("", BODY)])
    };
    let (_, answer) = bench.exchange(message);
    let orders = Orders { restart: true, ..Orders::default() };
    assert_eq!(answer, Answer { offer: Offer::Unchanged, orders });

    let unknown = ServerToAgent { command: Some(ServerToAgentCommand { kind: 5 }), ..ServerToAgent::default() };
    assert_eq!(bench.exchange(unknown).1, Offer::Unchanged.into());
}

#[test]
fn the_full_state_is_reported_once_for_each_request() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(flags(wire::REPORT_FULL_STATE));
    assert!(answer.orders.again);
    let (asked, answer) = bench.exchange(flags(wire::REPORT_FULL_STATE));
    assert!(is_full(&asked));
    assert!(!answer.orders.again, "it has just got it: no ping-pong");
    let (asked, answer) = bench.exchange(ServerToAgent::default());
    assert!(is_full(&asked) && !answer.orders.again);
    assert!(is_bare(&bench.ask()));
}

#[test]
fn a_new_uid_is_used_at_once_with_the_full_state() {
    let mut bench = Bench::settled();
    let new = Uuid::from_u128(0x0195_0000_0000_7000_8000_0000_0000_0002);
    let identification = AgentIdentification { new_instance_uid: new.as_bytes().to_vec() };
    let given = ServerToAgent { agent_identification: Some(identification), ..ServerToAgent::default() };

    let (_, answer) = bench.exchange(given.clone());

    let orders = Orders { instance_uid: Some(new.to_string()), again: true, ..Orders::default() };
    assert_eq!(answer.orders, orders);
    let (request, asked) = bench.request(true);
    assert_eq!(asked.instance_uid, new.as_bytes(), "even before the report shows it");
    assert!(is_full(&asked));
    assert!(request.headers.contains(&("OpAMP-Instance-UID".into(), new.to_string())));
    bench.report.status.agent.instance_uid = new.to_string();
    assert_eq!(bench.hear(given).unwrap(), Offer::Unchanged.into(), "it is that already");

    for wrong in [&b""[..], b"short", &[0; 16], &[1; 17]] {
        let identification = AgentIdentification { new_instance_uid: wrong.to_vec() };
        let message = ServerToAgent { agent_identification: Some(identification), ..ServerToAgent::default() };
        assert_eq!(bench.exchange(message).1, Offer::Unchanged.into());
    }
    assert_eq!(bench.ask().instance_uid, new.as_bytes());
}

#[test]
fn an_answer_for_another_agent_is_a_failure() {
    let bench = Bench::settled();
    bench.ask();
    let message = ServerToAgent { instance_uid: vec![1; 16], ..offer(b"h", &[("", BODY)]) };
    let failure = bench.respond(200, message.encode_to_vec()).unwrap_err();
    assert_eq!(failure.kind.word(), "protocol");
    assert!(failure.message.ends_with(&format!("answer is for another instance uid than {UID}")));
    bench.ask();
    assert!(bench.respond(200, Vec::new()).is_ok(), "a server may leave it out");
}

#[test]
fn a_server_that_always_asks_for_something_is_served_at_the_pace_of_the_polls() {
    let bench = Bench::settled();
    let mut at_once = 0;
    for number in 1..100u128 {
        let identification = AgentIdentification { new_instance_uid: Uuid::from_u128(number).as_bytes().to_vec() };
        let message = ServerToAgent { agent_identification: Some(identification), ..ServerToAgent::default() };
        at_once += u32::from(bench.exchange(message).1.orders.again);
    }
    assert_eq!(at_once, MAX_CHAIN);
}
