//! Servers that throttle, refuse or fail.

use super::*;

#[test]
fn an_unavailable_server_gets_the_wait_that_it_names_or_a_growing_one() {
    let bench = Bench::settled();
    let unavailable = |nanos| {
        let retry_info = Some(RetryInfo { retry_after_nanoseconds: nanos }).filter(|_| nanos > 0);
        let error = ServerErrorResponse { kind: 2, error_message: "busy".into(), retry_info };
        bench.ask();
        bench.hear(ServerToAgent { error_response: Some(error), ..ServerToAgent::default() }).unwrap_err()
    };
    let failure = unavailable(1_500_000_000);
    assert_eq!(failure.message, format!("{URL}: the server is not available: busy"));
    assert_eq!(failure.retry_after, Some(Duration::from_millis(1500)));
    let waits: Vec<_> = (0..7).map(|_| unavailable(0).retry_after.unwrap().as_secs()).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 480, 480]);
    assert!(unavailable(u64::MAX).retry_after.is_some());

    bench.exchange(ServerToAgent::default());
    for status in [429, 503] {
        bench.ask();
        let mut headers = HeaderMap::new();
        headers.insert("Retry-After", "7".parse().unwrap());
        let failure = bench.opamp.offer(Response::head(status, &headers, SystemTime::UNIX_EPOCH)).unwrap_err();
        assert_eq!(failure.message, format!("{URL}: answered {status}"));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    }
    bench.ask();
    assert_eq!(bench.respond(503, Vec::new()).unwrap_err().retry_after, Some(THROTTLE));
}

#[test]
fn parts_of_a_bad_request_are_not_sent_again() {
    for kind in [0, 1] {
        let bench = Bench::new();
        assert!(is_full(&bench.ask()));
        let error = ServerErrorResponse { kind, ..ServerErrorResponse::default() };
        bench.hear(ServerToAgent { error_response: Some(error), ..ServerToAgent::default() }).unwrap_err();
        assert!(is_bare(&bench.ask()));
    }
}

#[test]
fn after_a_413_messages_are_shorter() {
    let mut bench = Bench::settled();
    bench.report.effective_config = Some("x".repeat(5000).into());
    bench.report.status.collector.version = "2".into();
    let too_large = bench.ask().encoded_len();

    let failure = bench.respond(413, Vec::new()).unwrap_err();

    assert!(
        failure.message.starts_with(&format!("{URL}: answered 413; {too_large}B is too large for it")),
        "{failure}"
    );
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_none() && asked.agent_description.is_some());
    assert!(is_bare(&bench.ask()), "it counts as sent");
    bench.hear(flags(wire::REPORT_FULL_STATE)).unwrap();
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_none() && asked.health.is_some());

    bench.report.effective_config = Some("a: 1\n".into());
    assert!(bench.ask().effective_config.is_some(), "a smaller one is sent");

    // A server that finds every message too large still gets polls.
    let bench = Bench::new();
    for _ in 0..8 {
        bench.ask();
        bench.respond(413, Vec::new()).unwrap_err();
    }
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(is_bare(&asked));
    assert!(is_bare(&bench.ask()));
}

#[test]
fn other_statuses_are_failures_with_advice() {
    let bench = Bench::settled();
    for (status, advice) in [
        (204, ""),
        (400, ""),
        (401, "; check config.headers and config.bearer_token_file"),
        (404, "; check config.url, an OpAMP server is often at /v1/opamp"),
        (415, "; is config.url that of an OpAMP server?"),
        (500, ""),
    ] {
        bench.ask();
        let failure = bench.respond(status, Vec::new()).unwrap_err();
        assert_eq!(failure.message, format!("{URL}: answered {status}{advice}"));
        assert_eq!((failure.kind.word(), failure.retry_after), ("status", None));
    }
    bench.ask();
    let failure = bench.respond(200, b"<html>".to_vec()).unwrap_err();
    assert!(failure.message.starts_with(&format!("{URL}: answer is no OpAMP message: ")), "{failure}");
    assert_eq!(failure.kind.word(), "protocol");
}
