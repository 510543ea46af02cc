//! The content of messages.

use super::*;

#[test]
fn the_first_message_has_all_parts_and_the_next_ones_have_none() {
    let bench = Bench::new();
    let (request, first) = bench.request(true);
    assert!(is_full(&first));
    assert_eq!(first.capabilities, 0xBD07);
    assert_eq!(first.instance_uid, UID.as_bytes());
    assert_eq!(first.sequence_num, 1);
    assert_eq!(first.remote_config_status, Some(Default::default()));
    assert_eq!((request.method, &*request.url), (Method::Post, URL));
    let header = |name: &str| request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    assert_eq!(header("Content-Type"), Some("application/x-protobuf"));
    assert_eq!(header("OpAMP-Instance-UID"), Some(&*UID.to_string()));
    assert_eq!(header("Accept-Encoding"), None);
    bench.hear(ServerToAgent::default()).unwrap();

    for _ in 0..3 {
        let (asked, answer) = bench.exchange(ServerToAgent::default());
        assert!(is_bare(&asked), "{asked:?}");
        assert_eq!(answer, Offer::Unchanged.into());
    }
}

#[test]
fn a_poll_with_nothing_new_is_24_to_26_bytes() {
    let bench = Bench::settled();
    let (request, _) = bench.request(true);
    let mut golden = vec![0x0a, 16];
    golden.extend(UID.as_bytes());
    golden.extend([0x10, 2, 0x20, 0x87, 0xfa, 0x02]);
    assert_eq!(request.body, golden);
    bench.hear(ServerToAgent::default()).unwrap();

    for (sequence, size) in [(2, 24), (126, 24), (127, 25), (16_382, 25), (16_383, 26), (2_097_150, 26)] {
        bench.opamp.lock().sequence = sequence;
        assert_eq!(bench.request(true).0.body.len(), size);
        bench.hear(ServerToAgent::default()).unwrap();
    }
}

#[test]
fn golden_bytes_of_an_answer_with_fields_of_a_later_version_are_understood() {
    let bench = Bench::settled();
    bench.ask();
    let mut bytes = vec![0x0a, 16];
    bytes.extend(UID.as_bytes());
    // remote_config { config { "" => { body: "a: 1", content_type: "x", field 9: 1 } }, config_hash: "h" }
    bytes.extend(b"\x1a\x16\x0a\x11\x0a\x0f\x0a\x00\x12\x0b\x0a\x04a: 1\x12\x01x\x48\x01\x12\x01h");
    // packages, capabilities, empty custom capabilities, a custom message, an unknown field
    bytes.extend(b"\x2a\x02\x12\x00\x38\x07\x52\x00\x5a\x02\x0a\x00\xc2\x3e\x01?");
    let answer = bench.respond(200, bytes).unwrap();
    assert_eq!(body(&answer), Some(&b"a: 1"[..]));
}

#[test]
fn changed_parts_are_sent_until_they_are_acknowledged() {
    let mut bench = Bench::settled();
    bench.report.effective_config = Some("b: 2\n".into());
    bench.report.status.collector.version = "0.150.0".into();

    let asked = bench.ask();
    assert!(asked.effective_config.is_some() && asked.agent_description.is_some());
    assert!(asked.health.is_none() && asked.remote_config_status.is_none());

    // Errors and answers that do not decode acknowledge nothing.
    for (status, body) in [(500, vec![]), (204, vec![]), (200, b"<html>".to_vec()), (429, vec![])] {
        bench.ask();
        assert!(bench.respond(status, body).is_err());
        let asked = bench.ask();
        assert!(asked.effective_config.is_some() && asked.agent_description.is_some(), "after {status}");
    }
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_some());
    assert!(is_bare(&bench.ask()));
}

#[test]
fn the_sequence_number_counts_every_message() {
    let bench = Bench::new();
    let mut next = 1;
    for status in [500, 200, 503, 200] {
        assert_eq!(bench.ask().sequence_num, next);
        let _ = bench.respond(status, Vec::new());
        // This one gets no answer.
        assert_eq!(bench.ask().sequence_num, next + 1);
        next += 2;
    }
}

#[test]
fn an_idle_collector_has_an_empty_effective_config() {
    let mut bench = Bench::settled();
    bench.report.effective_config = None;
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert_eq!(asked.effective_config.unwrap().config_map.unwrap().config_map.len(), 0);
    assert!(is_bare(&bench.ask()));
}

#[test]
fn parts_that_the_server_cannot_take_are_not_sent() {
    let mut bench = Bench::new();
    bench.exchange(ServerToAgent { capabilities: 0x1, ..ServerToAgent::default() });
    bench.report.effective_config = Some("b: 2\n".into());
    bench.later();
    assert!(!bench.opamp.has_news(&bench.report));
    bench.exchange(flags(wire::REPORT_FULL_STATE));
    let (asked, _) = bench.exchange(ServerToAgent { capabilities: 0x7, ..ServerToAgent::default() });
    assert!(asked.agent_description.is_some());
    assert!(asked.effective_config.is_none() && asked.remote_config_status.is_none());
    assert!(bench.ask().effective_config.is_some(), "now it can");
}

#[test]
fn components_are_reported_by_hash_and_listed_on_request() {
    let mut bench = Bench::settled();
    let printed = "receivers:\n    - name: otlp\n      module: example.com/otlp v1\n";
    bench.report.components = Some(printed.into());

    let (asked, _) = bench.exchange(ServerToAgent::default());
    let said = asked.available_components.unwrap();
    assert_eq!(asked.capabilities, 0xFD07);
    assert_eq!((said.hash.len(), said.components.len()), (32, 0));
    assert!(is_bare(&bench.ask()));

    let answer = bench.hear(flags(wire::REPORT_AVAILABLE_COMPONENTS)).unwrap();
    assert!(answer.orders.again);
    let (asked, answer) = bench.exchange(flags(wire::REPORT_AVAILABLE_COMPONENTS));
    let listed = asked.available_components.unwrap();
    assert_eq!(listed.hash, said.hash);
    assert!(listed.components["receivers"].sub_components.contains_key("otlp"));
    assert!(!answer.orders.again, "it has just got them");

    // The same components from another run of the collector are the same.
    bench.exchange(ServerToAgent::default());
    bench.report.components = Some(format!("buildinfo: {{}}\n{printed}").into());
    assert!(is_bare(&bench.ask()));
}

#[test]
fn a_change_is_news_unless_the_last_exchange_failed() {
    let mut bench = Bench::settled();
    bench.later();
    assert!(!bench.opamp.has_news(&bench.report));
    bench.report.status.collector.healthy = false;
    assert!(bench.opamp.has_news(&bench.report));

    bench.ask();
    bench.later();
    assert!(!bench.opamp.has_news(&bench.report), "an exchange is out");
    bench.respond(503, Vec::new()).unwrap_err();
    bench.report.status.written_at = "2026-11-23T17:30:02Z".into();
    assert!(!bench.opamp.has_news(&bench.report), "the server wants to be left alone");

    bench.exchange(flags(wire::REPORT_FULL_STATE));
    bench.report.status.written_at = "2026-11-23T17:30:03Z".into();
    assert!(!bench.opamp.has_news(&bench.report), "what the server asks for comes with the next message");
}

#[test]
fn headers_of_the_settings_are_sent_and_cannot_replace_the_agents_own() {
    let yaml = "config: {headers: {X-Fleet: edge, content-type: text/plain, Accept: any}}";
    let bench = Bench::with(URL, yaml, None);
    let headers = bench.request(true).0.headers;
    let values = |name: &str| -> Vec<&str> {
        let same = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| &**value).collect()
    };
    assert_eq!(values("x-fleet"), ["edge"]);
    assert_eq!(values("content-type"), ["application/x-protobuf"]);
    assert_eq!(values("accept"), ["any"]);

    let missing = Bench::with(URL, "config: {bearer_token_file: /nowhere/token}", None);
    let failure = missing.opamp.request(&missing.report, true).err().unwrap();
    assert_eq!(failure.kind.word(), "settings");
    assert_eq!(missing.opamp.lock().sequence, 0, "nothing was sent");
}

#[test]
fn the_last_message_says_goodbye_if_the_server_answers() {
    let bench = Bench::new();
    assert!(bench.opamp.goodbye(&bench.report).is_none(), "no server has answered yet");
    bench.exchange(ServerToAgent::default());

    let last = bench.opamp.goodbye(&bench.report).unwrap();
    let message = AgentToServer::decode(&last.body[..]).unwrap();
    assert!(message.agent_disconnect.is_some());
    assert_eq!((message.sequence_num, last.body.len()), (2, 26));

    let bench = Bench::settled();
    bench.ask();
    assert!(bench.opamp.goodbye(&bench.report).is_none(), "an exchange is out");
    bench.respond(500, Vec::new()).unwrap_err();
    assert!(bench.opamp.goodbye(&bench.report).is_none(), "it does not answer");
}
