//! Offered connection settings: tried, kept, given up.

use super::*;

#[test]
fn an_interval_alone_is_taken_at_once_and_zero_restores_the_settings() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(connection(b"c1", |it| it.heartbeat_interval_seconds = 7));
    assert_eq!(answer.orders.poll_every, Some(Duration::from_secs(7)));

    let (asked, answer) = bench.exchange(connection(b"c1", |it| it.heartbeat_interval_seconds = 9));
    let said = asked.connection_settings_status.unwrap();
    assert_eq!((said.status(), &*said.last_connection_settings_hash), (OfferStatus::Applied, &b"c1"[..]));
    assert_eq!(answer, Offer::Unchanged.into(), "the same hash is not looked at again");

    let (_, answer) = bench.exchange(connection(b"c2", |_| ()));
    assert_eq!(answer.orders.poll_every, Some(Duration::ZERO));
    let (_, answer) = bench.exchange(connection(b"c3", |it| it.heartbeat_interval_seconds = u64::MAX));
    assert_eq!(answer.orders.poll_every, Some(Duration::from_secs(86_400)));
}

#[test]
fn another_server_is_tried_with_a_full_report_before_it_is_kept() {
    let dir = Dir::new();
    let file = dir.path("opamp.json");
    let bench = Bench::with(URL, "config: {headers: {Authorization: old}}", Some(file.clone()));
    bench.exchange(ServerToAgent::default());
    let two = "http://two.example/v1";

    let (_, answer) = bench.exchange(connection(b"c1", |it| {
        it.destination_endpoint = two.into();
        it.headers = Some(Headers { headers: vec![Header { key: "authorization".into(), value: "new".into() }] });
    }));
    assert!(answer.orders.again);
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"candidate\""), "on disk before it is used");

    let (request, leaving) = bench.request(true);
    assert_eq!(request.url, URL);
    assert!(leaving.agent_disconnect.is_some());
    assert_eq!(leaving.connection_settings_status.unwrap().status(), OfferStatus::Applying);
    assert!(bench.hear(offer(b"h", &[("", BODY)])).unwrap().orders.again);

    let (request, first) = bench.request(true);
    assert_eq!(request.url, two);
    let sent: Vec<_> = request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case("authorization")).collect();
    assert_eq!(sent, [&("authorization".to_owned(), "new".to_owned())]);
    assert!(is_full(&first));
    let answer = bench.hear(ServerToAgent::default()).unwrap();
    assert!(answer.orders.again, "the server must hear that they are applied");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("\"candidate\""));

    let (request, asked) = bench.request(true);
    assert_eq!(request.url, two);
    assert_eq!(asked.connection_settings_status.unwrap().status(), OfferStatus::Applied);
    assert!(asked.agent_description.is_none());
    bench.hear(ServerToAgent::default()).unwrap();

    // They survive a restart, but not another config.url.
    let again = Bench::with(URL, "", Some(file.clone()));
    assert_eq!(again.request(true).0.url, two);
    let elsewhere = Bench::with("http://three.example/", "", Some(file));
    assert_eq!(elsewhere.request(true).0.url, "http://three.example/");
}

fn trying(file: Option<PathBuf>) -> Bench {
    let bench = Bench::with(URL, "", file);
    bench.exchange(ServerToAgent::default());
    bench.exchange(connection(b"c1", |it| it.destination_endpoint = "http://two.example/v1".into()));
    bench.exchange(ServerToAgent::default());
    bench
}

#[test]
fn settings_that_do_not_work_are_given_up_and_reported() {
    type Refusal = fn(&Bench) -> Result<Answer, Failure>;
    let refusals: [Refusal; 3] = [
        |bench| bench.respond(401, Vec::new()),
        |bench| bench.respond(200, b"<html>".to_vec()),
        // Without an instance uid, any server may have answered.
        |bench| bench.respond(200, Vec::new()),
    ];
    for refuse in refusals {
        let bench = trying(None);
        assert_eq!(bench.request(true).0.url, "http://two.example/v1");
        let failure = refuse(&bench).unwrap_err();

        let (request, asked) = bench.request(true);
        assert_eq!(request.url, URL);
        assert!(is_full(&asked), "the server before was told goodbye");
        let said = asked.connection_settings_status.unwrap();
        assert_eq!((said.status(), said.error_message), (OfferStatus::Failed, failure.message));
        assert!(!bench.hear(connection(b"c1", |_| ())).unwrap().orders.again, "not tried again");
    }
}

#[test]
fn a_failure_of_offered_settings_does_not_blame_the_users_settings() {
    for (status, way_out) in [
        (401, "check the headers that the server offered: those of the settings are for config.url"),
        (404, "check the destination_endpoint that the server offered, an OpAMP server is often at /v1/opamp"),
        (415, "is the destination_endpoint that the server offered that of an OpAMP server?"),
    ] {
        let bench = trying(None);
        bench.ask();
        let elsewhere = crate::http::RedirectError::Elsewhere { to: "http://c.example/".into(), why: "another host" };
        let redirected = crate::http::HttpError::Redirect { url: URL.into(), why: elsewhere };
        let told = bench.opamp.way_out().tell(&redirected);
        let end = "; set the destination_endpoint that the server offered to it if that is right";
        assert!(told.ends_with(end), "{told}");

        let failure = bench.respond(status, Vec::new()).unwrap_err();

        assert_eq!(failure.message, format!("http://two.example/v1: answered {status}; {way_out}"));
        // The next message goes by the settings again.
        bench.ask();
        assert!(bench.opamp.way_out().tell(&redirected).ends_with("; set config.url to it if that is right"));
    }
}

#[test]
fn headers_and_token_of_the_settings_go_to_the_server_of_the_settings_only() {
    let dir = Dir::new();
    let (file, token) = (dir.path("opamp.json"), dir.path("token"));
    std::fs::write(&token, "s3cret-token").unwrap();
    let yaml = format!("config: {{headers: {{X-Key: s3cret, User-Agent: fleet}}, bearer_token_file: {token:?}}}");
    for (base, offered, goes_along) in [
        (URL, "http://two.example:4320/v1/opamp", false),
        (URL, "http://one.example:4321/v1/opamp", false),
        (URL, "http://one.example.:4320/v1/opamp", false),
        (URL, "https://two.example/v1", false),
        ("http://one.example/v1", "https://one.example:8443/v1", false),
        (URL, "http://ONE.example:4320/v2", true),
        (URL, "https://one.example:4320/v1/opamp", true),
        ("http://one.example/v1", "wss://one.example/v1", true),
    ] {
        let _ = std::fs::remove_file(&file);
        let bench = Bench::with(base, &yaml, Some(file.clone()));
        bench.exchange(ServerToAgent::default());
        bench.exchange(connection(b"c1", |it| it.destination_endpoint = offered.into()));
        bench.exchange(ServerToAgent::default());
        let secrets = |bench: &Bench| {
            let request = bench.request(true).0;
            let has = |name: &str, value: &str| {
                request.headers.iter().any(|(known, found)| known.eq_ignore_ascii_case(name) && found == value)
            };
            assert!(
                has("user-agent", "fleet") && has("accept", PROTOBUF) && has("content-type", PROTOBUF),
                "{offered}"
            );
            (has("x-key", "s3cret"), has("authorization", "Bearer s3cret-token"))
        };
        assert_eq!(secrets(&bench), (goes_along, goes_along), "{base} {offered}, when tried");
        bench.hear(ServerToAgent::default()).unwrap();
        assert_eq!(secrets(&bench), (goes_along, goes_along), "{base} {offered}, when kept");
        bench.hear(ServerToAgent::default()).unwrap();
        let goodbye = bench.opamp.goodbye(&bench.report).unwrap();
        assert_eq!(goodbye.headers.iter().any(|(name, _)| name == "X-Key"), goes_along, "{offered}, at the end");
        let again = Bench::with(base, &yaml, Some(file.clone()));
        assert_eq!(secrets(&again), (goes_along, goes_along), "{base} {offered}, after a restart");
    }
}

#[test]
fn a_refusal_names_the_headers_that_the_server_offered() {
    let bench = Bench::with(URL, "", None);
    bench.exchange(ServerToAgent::default());
    let header = wire::Header { key: "Authorization".into(), value: "hunter2".into() };
    bench.exchange(connection(b"c1", |it| it.headers = Some(wire::Headers { headers: vec![header.clone()] })));
    bench.exchange(ServerToAgent::default());
    bench.ask();

    let failure = bench.respond(401, Vec::new()).unwrap_err();

    let way_out = "check the headers that the server offered, config.headers and config.bearer_token_file";
    assert_eq!(failure.message, format!("{URL}: answered 401; {way_out}"));
}

#[test]
fn settings_without_a_clear_answer_are_tried_a_few_times() {
    let bench = trying(None);
    for _ in 0..2 {
        let (request, asked) = bench.request(true);
        assert_eq!(request.url, "http://two.example/v1");
        assert!(is_full(&asked));
        let url = request.url.clone();
        let error = crate::http::HttpError::Connect { url, why: "refused".into() };
        bench.opamp.unanswered(&bench.opamp.way_out().failure(&error));
    }
    bench.request(true);
    bench.respond(503, Vec::new()).unwrap_err();

    let (request, asked) = bench.request(true);
    assert_eq!(request.url, URL);
    let said = asked.connection_settings_status.unwrap();
    assert_eq!((said.status(), &*said.error_message), (OfferStatus::Failed, "http://two.example/v1: answered 503"));
}

#[test]
fn a_candidate_survives_a_restart_and_is_tried_at_the_next_start() {
    let dir = Dir::new();
    let file = dir.path("opamp.json");
    drop(trying(Some(file.clone())));

    let bench = Bench::with(URL, "", Some(file.clone()));

    let (request, asked) = bench.request(true);
    assert_eq!(request.url, "http://two.example/v1");
    assert!(is_full(&asked) && asked.agent_disconnect.is_none());
    assert_eq!(asked.connection_settings_status.unwrap().status(), OfferStatus::Applying);

    for torn in ["", "{", "[]", "null", "{\"location\": 1}"] {
        std::fs::write(&file, torn).unwrap();
        assert_eq!(Bench::with(URL, "", Some(file.clone())).request(true).0.url, URL, "{torn:?}");
    }
}

#[test]
fn settings_that_cannot_be_kept_are_not_used() {
    let dir = Dir::new();
    let bench = Bench::with(URL, "", Some(dir.path("missing/opamp.json")));
    bench.exchange(ServerToAgent::default());
    bench.exchange(connection(b"c1", |it| it.destination_endpoint = "http://two.example/v1".into()));
    let (request, asked) = bench.request(true);
    assert_eq!(request.url, URL);
    let said = asked.connection_settings_status.unwrap();
    assert_eq!(said.status(), OfferStatus::Failed);
    assert!(said.error_message.starts_with("cannot be kept: "), "{}", said.error_message);
}

#[test]
fn a_certificate_needs_a_state_file_and_is_used_from_then_on() {
    let made = rcgen::generate_simple_self_signed(vec!["agent.example".into()]).unwrap();
    let certificate = wire::TlsCertificate {
        cert: made.cert.pem().into_bytes(),
        private_key: made.signing_key.serialize_pem().into_bytes(),
    };
    let given = connection(b"c1", |it| it.certificate = Some(certificate));
    let https = "https://one.example/v1";

    let bench = Bench::with(https, "", None);
    bench.exchange(given.clone());
    let said = bench.ask().connection_settings_status.unwrap();
    assert_eq!(said.error_message, "certificate: there is no place to keep it");

    let dir = Dir::new();
    let bench = Bench::with(https, "", Some(dir.path("opamp.json")));
    bench.exchange(given);
    bench.ask();
    assert!(bench.opamp.identity().is_none(), "it leaves by the old settings");
    bench.hear(ServerToAgent::default()).unwrap();
    bench.ask();
    assert_eq!(bench.opamp.identity().map(|it| it.cert), Some(made.cert.pem()));
    bench.hear(ServerToAgent::default()).unwrap();
    bench.ask();
    assert!(bench.opamp.identity().is_some());
}

#[test]
fn refused_settings_and_settings_for_other_protocols_are_reported_as_failed() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(connection(b"c1", |it| it.destination_endpoint = "ftp://x".into()));
    assert!(answer.orders.again);
    let (asked, _) = bench.exchange(ServerToAgent {
        connection_settings: Some(ConnectionSettingsOffers { hash: b"c2".to_vec(), opamp: None }),
        ..ServerToAgent::default()
    });
    let said = asked.connection_settings_status.unwrap();
    assert_eq!((said.status(), &*said.last_connection_settings_hash), (OfferStatus::Failed, &b"c1"[..]));
    let said = bench.ask().connection_settings_status.unwrap();
    assert_eq!(said.last_connection_settings_hash, b"c2");
    assert_eq!(said.error_message, "only settings for OpAMP itself are taken");
}

#[test]
fn an_offer_without_a_hash_is_recognized_by_its_content() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(connection(b"", |it| it.heartbeat_interval_seconds = 7));
    assert!(answer.orders.again);
    let (_, answer) = bench.exchange(connection(b"", |it| it.heartbeat_interval_seconds = 7));
    assert!(!answer.orders.again);
    let (_, answer) = bench.exchange(connection(b"", |it| it.heartbeat_interval_seconds = 8));
    assert_eq!(answer.orders.poll_every, Some(Duration::from_secs(8)));
}

#[test]
fn the_server_of_config_url_is_asked_while_an_offered_server_is_silent() {
    let bench = trying(None);
    bench.exchange(ServerToAgent::default());
    bench.exchange(ServerToAgent::default());
    let urls: Vec<String> = (0..14).map(|_| bench.request(true).0.url).collect();
    let ours: Vec<usize> = (0..14).filter(|index| urls[*index] == URL).collect();
    assert_eq!(ours, [6, 12]);

    for _ in 14..18 {
        bench.ask();
    }
    let (request, asked) = bench.request(true);
    assert_eq!(request.url, URL);
    assert!(is_full(&asked));
    bench.hear(ServerToAgent::default()).unwrap();
    assert_eq!(bench.request(true).0.url, URL, "it answers, so it counts again");
}
