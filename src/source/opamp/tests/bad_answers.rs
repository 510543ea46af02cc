//! Answers that a server should not give.

use super::*;

#[test]
fn too_many_files_or_headers_are_refused_before_decoding() {
    let bench = Bench::settled();
    let many: Vec<_> = (0..65).map(|number| number.to_string()).collect();
    let files: Vec<_> = many.iter().map(|name| (&**name, "a: 1")).collect();
    bench.ask();
    let failure = bench.hear(offer(b"h", &files)).unwrap_err();
    assert_eq!(failure.message, format!("{URL}: answered with 65 config files, the most taken is 64"));

    bench.ask();
    let headers = vec![Header::default(); 33];
    let failure = bench.hear(connection(b"c", |it| it.headers = Some(Headers { headers }))).unwrap_err();
    assert_eq!(failure.message, format!("{URL}: answered with 33 headers, the most taken is 32"));
    assert!(is_bare(&bench.ask()));
}

#[test]
fn an_answer_without_a_request_is_a_failure() {
    let bench = Bench::new();
    assert_eq!(bench.respond(200, Vec::new()).unwrap_err().kind.word(), "protocol");
}

/// Good answers, to be damaged at random.
fn seeds() -> Vec<Vec<u8>> {
    let error = ServerErrorResponse {
        kind: 2,
        error_message: "busy".into(),
        retry_info: Some(RetryInfo { retry_after_nanoseconds: 5 }),
    };
    let identification = AgentIdentification { new_instance_uid: vec![7; 16] };
    let whole = connection(b"c", |it| {
        it.destination_endpoint = "https://two.example".into();
        it.headers = Some(Headers { headers: vec![Header { key: "A".into(), value: "b".into() }] });
        it.certificate = Some(wire::TlsCertificate { cert: b"c".to_vec(), private_key: b"k".to_vec() });
        it.heartbeat_interval_seconds = 30;
        it.tls = Some(wire::TlsConnectionSettings { min_version: "1.2".into(), ..Default::default() });
    });
    let messages = [
        ServerToAgent { agent_identification: Some(identification), flags: 3, capabilities: 7, ..whole },
        offer(b"hash", &[("", "receivers: {otlp: }\n"), ("a", "x: &a [1]\ny: *a\n")]),
        ServerToAgent { error_response: Some(error), ..ServerToAgent::default() },
        ServerToAgent { command: Some(ServerToAgentCommand { kind: 0 }), ..ServerToAgent::default() },
    ];
    messages
        .into_iter()
        .map(|it| ServerToAgent { instance_uid: UID.as_bytes().to_vec(), ..it }.encode_to_vec())
        .collect()
}

#[test]
fn damaged_answers_are_failures_or_do_no_harm() {
    let work = || {
        let mut dice = fastrand::Rng::with_seed(4);
        let seeds = seeds();
        let mut understood = 0;
        for round in 0..20_000 {
            let bench = if round % 4 == 0 { Bench::new() } else { Bench::settled() };
            let mut bytes = dice.choice(&seeds).unwrap().clone();
            for _ in 0..dice.usize(0..4) {
                let at = dice.usize(0..bytes.len());
                match dice.u8(0..4) {
                    0 => bytes[at] = dice.u8(..),
                    1 => bytes[at] ^= 1 << dice.u8(0..8),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let part = bytes[at..].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
            }
            bench.ask();
            understood += u32::from(bench.respond(200, bytes).is_ok());
            bench.ask();
            bench.respond(200, Vec::new()).ok();
        }
        understood
    };
    // The stack of an exchange.
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap();
    let understood = thread.join().unwrap();
    assert!((1000..19_000).contains(&understood), "{understood}: both kinds must occur");
}

#[test]
fn deeply_nested_answers_do_not_exhaust_the_stack() {
    let bench = Bench::settled();
    for tag in [0x0b, 0x1a, 0x22, 0x3b, 0xc3] {
        bench.ask();
        let _ = bench.respond(200, vec![tag; 100_000]);
        assert_eq!(wire::count(&vec![tag; 100_000], &[3, 1, 1]), 0);
    }
}
