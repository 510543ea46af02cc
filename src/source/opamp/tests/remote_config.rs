//! Remote configs and their reported status.

use super::*;

#[test]
fn an_offer_is_handed_on_and_its_hash_reported_with_its_status() {
    let mut bench = Bench::settled();
    let (_, answer) = bench.exchange(offer(b"h1", &[("", BODY)]));
    assert_eq!(body(&answer), Some(BODY.as_bytes()));

    for (ours, status, message) in [
        (RemoteConfigStatus::Applying, OfferStatus::Applying, ""),
        (RemoteConfigStatus::Applied, OfferStatus::Applied, ""),
        (RemoteConfigStatus::Failed, OfferStatus::Failed, "no such receiver"),
    ] {
        bench.received(BODY, ours);
        bench.report.status.config.message = message.into();
        let (asked, _) = bench.exchange(ServerToAgent::default());
        let said = asked.remote_config_status.unwrap();
        assert_eq!(said.last_remote_config_hash, b"h1");
        assert_eq!((said.status(), &*said.error_message), (status, message));
        assert!(is_bare(&bench.exchange(ServerToAgent::default()).0));
    }
}

#[test]
fn after_a_rollback_the_bad_hash_stays_reported_as_failed() {
    let mut bench = Bench::settled();
    bench.exchange(offer(b"good", &[("", BODY)]));
    bench.received(BODY, RemoteConfigStatus::Applied);
    bench.exchange(offer(b"bad", &[("", "b: 2\n")]));
    bench.received("b: 2\n", RemoteConfigStatus::Failed);
    bench.report.status.config.message = "died in its probation".into();
    bench.report.status.config.effective_hash = Some(otelet_config::hash(BODY.as_bytes()).hex());

    let said = bench.ask().remote_config_status.unwrap();

    assert_eq!((said.status(), &*said.last_remote_config_hash), (OfferStatus::Failed, &b"bad"[..]));
    let runs = &otelet_config::hash(BODY.as_bytes()).hex()[..8];
    assert_eq!(said.error_message, format!("died in its probation; config {runs} runs"));
}

#[test]
fn a_blank_file_is_no_config_and_no_file_is_refused() {
    let mut bench = Bench::settled();
    let (_, answer) = bench.exchange(offer(b"h0", &[("", "")]));
    assert_eq!(answer, Offer::Unchanged.into());
    let said = bench.exchange(ServerToAgent::default()).0.remote_config_status.unwrap();
    assert_eq!((said.status(), &*said.last_remote_config_hash), (OfferStatus::Applied, &b"h0"[..]));

    bench.report.status.config.effective_hash = Some(otelet_config::hash(BODY.as_bytes()).hex());
    let (_, answer) = bench.exchange(offer(b"h2", &[]));
    assert_eq!(answer, Offer::Unchanged.into());
    let said = bench.exchange(ServerToAgent::default()).0.remote_config_status.unwrap();
    assert_eq!((said.status(), &*said.last_remote_config_hash), (OfferStatus::Failed, &b"h2"[..]));
    assert!(said.error_message.contains("it goes on as before"), "{}", said.error_message);
    assert!(is_bare(&bench.ask()), "refused once");
}

#[test]
fn several_files_are_merged_in_order() {
    let bench = Bench::settled();
    let (_, answer) = bench.exchange(offer(b"h", &[("", "a: 3"), ("b", "a: 2\nb: 2"), ("a", "a: 1")]));
    let merged: BTreeMap<String, u32> = serde_yaml::from_slice(body(&answer).unwrap()).unwrap();
    assert_eq!(merged, BTreeMap::from([("a".into(), 3), ("b".into(), 2)]));

    let (_, answer) = bench.exchange(offer(b"h2", &[("a", "{"), ("b", "b: 1")]));
    assert_eq!(answer, Offer::Unchanged.into());
    let said = bench.ask().remote_config_status.unwrap();
    assert_eq!(said.status(), OfferStatus::Failed);
    assert!(said.error_message.starts_with("config file \"a\": config is not well-formed YAML"));
}

#[test]
fn a_config_that_got_lost_is_offered_again() {
    let mut bench = Bench::settled();
    bench.exchange(offer(b"h1", &[("", BODY)]));
    assert!(!bench.opamp.has_news(&bench.report), "the core is still at it");
    // The report knows nothing of it: the agent died before it was on disk, or another source was faster.
    bench.report.effective_config = Some("x: 1\n".into());
    assert_eq!(bench.ask().remote_config_status, None, "the empty hash is what the server was told before");

    let mut bench = Bench::settled();
    bench.exchange(offer(b"h1", &[("", BODY)]));
    bench.received(BODY, RemoteConfigStatus::Applied);
    bench.exchange(ServerToAgent::default());
    bench.received("another source's\n", RemoteConfigStatus::Applied);
    let said = bench.exchange(ServerToAgent::default()).0.remote_config_status.unwrap();
    assert_eq!(said.last_remote_config_hash, b"", "so that it is offered again");
}

#[test]
fn a_missing_body_is_requested_with_an_empty_hash() {
    let mut bench = Bench::settled();
    bench.exchange(offer(b"h1", &[("", BODY)]));
    bench.received(BODY, RemoteConfigStatus::Applied);
    bench.exchange(ServerToAgent::default());

    for _ in 0..2 {
        let (_, asked) = bench.request(false);
        assert_eq!(asked.remote_config_status.unwrap().last_remote_config_hash, b"");
        bench.hear(ServerToAgent::default()).unwrap();
    }
    bench.request(false);
    assert!(body(&bench.hear(offer(b"h1", &[("", BODY)])).unwrap()).is_some());
    assert_eq!(bench.ask().remote_config_status.unwrap().last_remote_config_hash, b"h1");
}

#[test]
fn the_hash_survives_a_restart_as_an_etag() {
    let bench = Bench::settled();
    bench.exchange(offer(b"\x00\xffh1", &[("", BODY)]));
    let kept = bench.opamp.validators();
    assert_eq!(kept.clone().bounded(), kept, "it is one that can be kept");

    let mut bench = Bench::new();
    bench.opamp.seed(kept);
    bench.received(BODY, RemoteConfigStatus::Applied);
    let said = bench.ask().remote_config_status.unwrap();
    assert_eq!((said.status(), &*said.last_remote_config_hash), (OfferStatus::Applied, &b"\x00\xffh1"[..]));

    let bench = Bench::new();
    for etag in ["\"7f3a\"", "opamp:", "opamp:zz:00", "opamp:é:"] {
        bench.opamp.seed(Validators { etag: Some(etag.into()), last_modified: None });
        assert!(bench.opamp.validators().etag.is_none(), "{etag}");
    }
}

#[test]
fn the_longest_hash_is_stored_and_a_longer_one_is_not_taken() {
    let bench = Bench::settled();
    bench.exchange(offer(&[0xff; MAX_HASH], &[("", BODY)]));
    let kept = bench.opamp.validators();
    assert_eq!(kept.clone().bounded(), kept);
    let (_, answer) = bench.exchange(offer(&[0xff; MAX_HASH + 1], &[("", "b: 2")]));
    assert_eq!(answer, Offer::Unchanged.into());
}
