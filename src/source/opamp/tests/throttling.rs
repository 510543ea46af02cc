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
fn parts_of_a_bad_request_are_not_sent_again_soon() {
    for kind in [0, 1] {
        let bench = Bench::new();
        assert!(is_full(&bench.ask()));
        let refuse = || {
            let error = ServerErrorResponse { kind, ..ServerErrorResponse::default() };
            bench.hear(ServerToAgent { error_response: Some(error), ..ServerToAgent::default() }).unwrap_err();
        };
        refuse();
        for rest in [4, 8, 16] {
            for _ in 0..rest {
                assert!(is_bare(&bench.ask()));
                bench.hear(ServerToAgent::default()).unwrap();
            }
            assert!(is_full(&bench.ask()), "later it is another request");
            refuse();
        }
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

    let said = format!("{URL}: answered 413; {too_large}B is too large for it, the next message will be shorter");
    assert_eq!(failure.message, said);
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_none() && asked.agent_description.is_some());
    // It was left out, so it was not said; by itself it is smaller than what was refused.
    let alone = bench.ask();
    assert!(alone.effective_config.is_some() && alone.encoded_len() < too_large);
    bench.hear(ServerToAgent::default()).unwrap();
    assert!(is_bare(&bench.ask()));
}

/// A server with a limit: it answers 413 to messages that are larger, in bytes. Returns the accepted messages.
fn limited(bench: &Bench, limit: usize, exchanges: usize) -> Vec<AgentToServer> {
    let mut accepted = Vec::new();
    for _ in 0..exchanges {
        let asked = bench.ask();
        if asked.encoded_len() > limit {
            bench.respond(413, Vec::new()).unwrap_err();
        } else {
            bench.hear(ServerToAgent::default()).unwrap();
            accepted.push(asked);
        }
    }
    accepted
}

#[test]
fn a_server_with_any_limit_hears_all_that_fits() {
    let sized = |bench: &Bench| {
        let whole = bench.ask();
        bench.hear(ServerToAgent::default()).unwrap();
        let poll = AgentToServer { instance_uid: whole.instance_uid.clone(), sequence_num: 100, ..bench.ask() };
        let with = |change: fn(&mut AgentToServer, &AgentToServer)| {
            let mut message = poll.clone();
            change(&mut message, &whole);
            message.encoded_len()
        };
        [
            with(|it, whole| it.agent_description = whole.agent_description.clone()),
            with(|it, whole| it.health = whole.health.clone()),
            with(|it, whole| it.effective_config = whole.effective_config.clone()),
            with(|it, whole| it.remote_config_status = whole.remote_config_status.clone()),
        ]
    };
    for config in [10, 700, 5000] {
        for limit in (0..6000).step_by(97) {
            let mut bench = Bench::new();
            bench.report.effective_config = Some("x".repeat(config).into());
            let sizes = sized(&bench);
            let bench = Bench { opamp: OpAmp::new(URL, &config_settings(""), None).unwrap(), ..bench };

            let accepted = limited(&bench, limit, 200);

            let heard: [fn(&AgentToServer) -> bool; 4] = [
                |it| it.agent_description.is_some(),
                |it| it.health.is_some(),
                |it| it.effective_config.is_some(),
                |it| it.remote_config_status.is_some(),
            ];
            for (number, (size, heard)) in sizes.iter().zip(heard).enumerate() {
                let times = accepted.iter().filter(|message| heard(message)).count();
                assert_eq!(times, usize::from(*size <= limit), "part {number} of {size}, limit {limit}");
            }
            assert!(!bench.opamp.has_news(&bench.report), "nothing is pressed on a server: {limit}");
        }
    }
}

#[test]
fn what_was_too_large_goes_out_again_later_and_later() {
    let mut bench = Bench::settled();
    bench.report.effective_config = Some("x".repeat(5000).into());
    let mut gaps = Vec::new();
    let mut good = 0;
    for _ in 0..200 {
        if bench.ask().encoded_len() > 1000 {
            bench.respond(413, Vec::new()).unwrap_err();
            gaps.push(std::mem::take(&mut good));
        } else {
            bench.hear(ServerToAgent::default()).unwrap();
            good += 1;
        }
    }
    assert_eq!(gaps, [0, 4, 8, 16, 32, 64]);

    // The limit is lifted: it is said once, and the next refusal is the first again.
    let accepted = limited(&bench, usize::MAX, 200);
    assert_eq!(accepted.iter().filter(|message| message.effective_config.is_some()).count(), 1);
    bench.report.effective_config = Some("y".repeat(5000).into());
    assert!(bench.ask().effective_config.is_some());
    bench.respond(413, Vec::new()).unwrap_err();
    assert_eq!(limited(&bench, 1000, 4).len(), 4);
    assert!(bench.ask().effective_config.is_some());
}

#[test]
fn a_bare_poll_is_never_blamed() {
    let mut bench = Bench::settled();
    for _ in 0..8 {
        let size = bench.ask().encoded_len();
        let failure = bench.respond(413, Vec::new()).unwrap_err();
        let said = format!("{URL}: answered 413 to {size} bytes; is a proxy or another server at config.url?");
        assert_eq!(failure.message, said);
    }
    bench.report.effective_config = Some("b: 2\n".into());
    bench.report.status.collector.version = "2".into();
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(asked.effective_config.is_some() && asked.agent_description.is_some(), "all of it, at once");

    // A server that finds every message too large still gets polls, and everything once it takes it.
    let bench = Bench::new();
    for _ in 0..8 {
        bench.ask();
        bench.respond(413, Vec::new()).unwrap_err();
    }
    assert!(is_bare(&bench.ask()));
    bench.hear(ServerToAgent::default()).unwrap();
    let accepted = limited(&bench, usize::MAX, 4);
    assert!(is_full(accepted.last().unwrap()), "{accepted:#?}");
}

#[test]
fn a_list_of_components_that_is_too_large_is_listed_later() {
    let mut bench = Bench::settled();
    let names: String =
        (0..200).map(|n| format!("  - name: receiver_{n}\n    module: example.com/m v1.0.0\n")).collect();
    bench.report.components = Some(format!("receivers:\n{names}").into());
    bench.exchange(flags(wire::REPORT_AVAILABLE_COMPONENTS));
    bench.exchange(flags(wire::REPORT_AVAILABLE_COMPONENTS));
    let listed =
        |message: &AgentToServer| message.available_components.as_ref().is_some_and(|it| !it.components.is_empty());
    assert!(listed(&bench.ask()), "{:?}", bench.report.components);
    bench.respond(413, Vec::new()).unwrap_err();
    assert!(limited(&bench, 1000, 4).iter().all(|message| !listed(message)));
    let (asked, _) = bench.exchange(ServerToAgent::default());
    assert!(listed(&asked), "it is not forgotten");
    assert!(is_bare(&bench.ask()));
}

/// After each status the next message says everything again that the server has not acknowledged. Only a 413 makes it
/// smaller.
#[test]
fn no_status_makes_the_agent_silent() {
    for (status, advice) in [
        (400, ""),
        (403, "; check config.headers and config.bearer_token_file"),
        (407, PROXY_PASSWORD),
        (408, ""),
        (411, "; a proxy before config.url does not pass requests on whole"),
        (421, ""),
        (431, "; it takes no headers as large as these; check config.headers and config.bearer_token_file"),
        (500, ""),
        (502, "; a gateway says so: the server behind config.url does not answer it"),
        (504, "; a gateway says so: the server behind config.url does not answer it"),
        (511, "; this network wants a login first"),
    ] {
        let bench = Bench::new();
        for _ in 0..3 {
            assert!(is_full(&bench.ask()));
            let failure = bench.respond(status, b"<html>sorry</html>".to_vec()).unwrap_err();
            assert_eq!(failure.message, format!("{URL}: answered {status}{advice}"));
        }
        let (asked, _) = bench.exchange(ServerToAgent::default());
        assert!(is_full(&asked), "{status}");
        assert!(is_bare(&bench.ask()), "{status}");
        bench.respond(status, Vec::new()).unwrap_err();
        assert!(is_bare(&bench.ask()), "{status}: what is known stays known");
    }
    let bench = Bench::new();
    assert!(is_full(&bench.ask()));
    bench.respond(200, b"<html>sorry</html>".to_vec()).unwrap_err();
    assert!(is_full(&bench.ask()));
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
    let failure = bench.respond(200, b"<html><title>Sign in</title>".to_vec()).unwrap_err();
    assert!(failure.message.starts_with(&format!("{URL}: a web page came, ")), "{failure}");
    bench.ask();
    let failure = bench.respond(200, b"no such page".to_vec()).unwrap_err();
    assert!(failure.message.starts_with(&format!("{URL}: answer is no OpAMP message: ")), "{failure}");
    assert_eq!(failure.kind.word(), "protocol");
}

#[test]
fn a_gateway_with_retry_after_gets_the_wait_and_still_counts_as_a_failure() {
    let bench = Bench::settled();
    let mut headers = HeaderMap::new();
    headers.insert("Retry-After", "7".parse().unwrap());
    for (status, failures) in [(502, 1), (504, 2), (413, 3), (503, 3), (429, 3)] {
        bench.ask();
        let failure = bench.opamp.offer(Response::head(status, &headers, SystemTime::UNIX_EPOCH)).unwrap_err();
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)), "{status}");
        assert_eq!(bench.opamp.lock().failures, failures, "{status}");
    }
}
