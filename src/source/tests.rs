//! The order of sources, their signatures, and the memory of both.

use std::fs;
use std::time::{Duration, Instant};

use super::kloudmate::tests::report;
use super::*;
use crate::http::test_server::{Answer as Scripted, Server};
use crate::http::tests::Dir;
use crate::settings::{World, load};
use otelet_core::decide::sources::{Known, Sources};
use otelet_core::decide::{ExchangeOutcome, Freshness};

fn source(dir: &Dir, yaml: &str) -> Source {
    let text = yaml.to_owned();
    let world = World {
        var: Box::new(|_| None),
        read: Box::new(move |_| Ok(text.clone().into_bytes())),
        here: PathBuf::from("/"),
    };
    let settings = load(&Default::default(), &world).unwrap_or_else(|error| panic!("{error}"));
    let source = Source::new(&settings.config, &dir.path("")).unwrap();
    let described: Vec<_> = source.origins.iter().map(Origin::describe).collect();
    assert_eq!(locations(&settings.config), described);
    source
}

/// The sources, and the decision which of them is poller.
struct Poller {
    source: Source,
    order: Sources,
}

impl Poller {
    /// `answered` says whether the first has ever answered.
    fn new(source: Source, answered: bool) -> Self {
        let locations: Vec<_> = source.origins.iter().map(Origin::describe).collect();
        Self { source, order: Sources::new(locations.into(), Duration::from_secs(600), None, answered) }
    }

    /// Asks sources until the round ends, and returns its answer or failure.
    fn exchange(&mut self, conditional: bool) -> Result<Answer, Failure> {
        self.order.begin(None, conditional, Instant::now(), &mut Vec::new());
        loop {
            let question = self.order.take_question().expect("the round has no end yet");
            let answer = self.source.exchange(question.source, &report(), question.conditional);
            let (freshness, outcome) = match &answer {
                Ok((_, freshness)) => (*freshness, ExchangeOutcome::Unchanged),
                Err(failure) => (Freshness::Fresh, ExchangeOutcome::Failed(failure.clone())),
            };
            let known = Known { has_config: true, is_refused: &|_| false };
            let how = (freshness, self.source.validator(question.source));
            match self.order.on_exchanged(question.source, how, outcome, &known, Instant::now(), &mut Vec::new()) {
                Some(ExchangeOutcome::Failed(failure)) => return Err(failure),
                Some(_) => return answer.map(|(answer, _)| answer),
                None => {}
            }
        }
    }
}

fn body(answer: Result<Answer, Failure>) -> String {
    match answer.unwrap().offer {
        Offer::Config { body } => String::from_utf8(body.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_message_waits_for_the_answer_to_the_one_before() {
    let (dir, server) = (Dir::new(), Server::new());
    let source = source(&dir, &format!("config: {{protocol: opamp, url: '{}'}}", server.at("/v1/opamp")));
    let mut report = report();
    report.status.agent.instance_uid = "01950000-0000-7000-8000-000000000001".into();
    let nothing = Scripted::Status(200, Vec::new(), Vec::new());
    server.answer(nothing.clone());
    source.exchange(0, &report, true).unwrap();
    server.answer_once(Scripted::Delay(Duration::from_millis(200), Box::new(nothing)));

    std::thread::scope(|scope| {
        scope.spawn(|| source.exchange(0, &report, true).unwrap());
        server.wait_for_requests(2);
        source.goodbye(&report);
    });

    // Field 9, `agent_disconnect`, of length 0.
    assert!(server.wait_for_requests(3)[2].body.ends_with(&[0x4a, 0]));
}

#[test]
fn a_config_from_the_inbox_is_no_answer_of_a_silent_server() {
    let dir = Dir::new();
    // Nothing listens on port 1 of loopback.
    let url = "http://127.0.0.1:1/agents/config-check";
    fs::write(dir.path("spare.yaml"), "spare").unwrap();
    inbox::Inbox::open(&dir.path(""), url).0.put(&b"announced"[..].into()).unwrap();
    let spare = dir.path("spare.yaml").display().to_string();
    let source = source(&dir, &format!("config: {{protocol: kloudmate, url: '{url}', fallback: ['{spare}']}}"));
    let mut poller = Poller::new(source, false);

    assert_eq!(body(poller.exchange(true)), "announced");

    assert_eq!(body(poller.exchange(true)), "spare", "the server has never answered");
    assert_eq!(poller.order.shown().unwrap().location, spare);
}

#[test]
fn reading_the_inbox_does_not_end_the_silence_of_a_server() {
    let dir = Dir::new();
    let url = "http://127.0.0.1:1/agents/config-check";
    inbox::Inbox::open(&dir.path(""), url).0.put(&b"announced"[..].into()).unwrap();
    let mut poller = Poller::new(source(&dir, &format!("config: {{protocol: kloudmate, url: '{url}'}}")), true);
    poller.exchange(true).unwrap();
    poller.exchange(true).unwrap_err();
    let since = poller.order.silent_since();
    assert!(since.is_some());

    // The agent has lost the body and wants it again.
    poller.exchange(true).unwrap_err();
    poller.exchange(false).unwrap_err();

    assert_eq!(poller.order.silent_since(), since);
}

#[test]
fn a_signature_from_the_future_is_refused_if_the_clock_is_right_and_clear_signed_forgets_its_time() {
    let dir = Dir::new();
    let path = dir.path("config.yaml");
    let sign = |signature: &str| fs::write(dir.path("config.yaml.minisig"), signature).unwrap();
    fs::write(&path, include_bytes!("../../crates/config/tests/signed/config.yaml")).unwrap();
    sign(include_str!("../../crates/config/tests/signed/config.yaml.minisig"));
    let yaml = format!(
        "config: {{url: '{}', public_key: {}}}",
        path.display(),
        include_str!("../../crates/config/tests/signed/key.pub").trim()
    );
    let mut source = source(&dir, &yaml);
    source.clock = || Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));

    let refused = source.exchange(0, &report(), true).unwrap_err();
    assert!(refused.message.contains("more than a day after this host's time of 2020-09-13T12:26:40Z"), "{refused}");
    assert_eq!(source.memory(0).signed, None);

    // The clock is not known to be right.
    source.clock = || None;
    source.exchange(0, &report(), true).unwrap();
    sign(include_str!("../../crates/config/tests/signed/older.minisig"));
    let refused = source.exchange(0, &report(), false).unwrap_err();
    assert!(refused.message.contains("forget that time with `otelet rollback --clear-signed`"), "{refused}");

    source.forget_signed();

    source.exchange(0, &report(), true).unwrap();
    assert_eq!(source.memory(0).signed.unwrap().at, 1_699_999_999);
}

#[test]
fn a_failed_fallback_names_its_own_setting() {
    let (dir, server) = (Dir::new(), Server::new());
    // Nothing listens on port 1 of loopback.
    let yaml = format!("config: {{url: 'http://127.0.0.1:1/', fallback: ['{}']}}", server.url());
    let source = source(&dir, &yaml);
    for (answer, end) in [
        (Scripted::status(404), "answered 404; check its entry in config.fallback"),
        (
            Scripted::RedirectTo("https://b.example/".into()),
            "redirects to https://b.example/, another host; set its entry in config.fallback to it if that is right",
        ),
    ] {
        server.answer(answer);
        let failure = source.exchange(1, &report(), true).unwrap_err();
        assert!(failure.message.contains(end), "{failure}");
    }
}

#[test]
fn a_redirected_signature_names_the_url_of_its_config() {
    let (dir, server) = (Dir::new(), Server::new());
    let key = include_str!("../../crates/config/tests/signed/key.pub").trim();
    let source = source(&dir, &format!("config: {{url: '{}', public_key: {key}}}", server.url()));
    server.answer(Scripted::RedirectTo("https://b.example/a.yaml.minisig".into()));
    server.answer_once(Scripted::Config(b"a: 1".to_vec()));

    let failure = source.exchange(0, &report(), true).unwrap_err();

    let way_out = "; set config.url to https://b.example/a.yaml if that is right";
    assert!(failure.message.ends_with(way_out), "{failure}");
}

#[test]
fn a_signature_is_asked_for_with_the_token_of_its_config() {
    let (dir, server) = (Dir::new(), Server::new());
    let token = dir.path("token");
    fs::write(&token, "first\n").unwrap();
    let key = include_str!("../../crates/config/tests/signed/key.pub").trim();
    let yaml = format!(
        "config: {{url: '{}', public_key: {key}, bearer_token_file: '{}', fallback: ['{}']}}",
        server.url(),
        token.display(),
        server.at("/spare.yaml")
    );
    let source = source(&dir, &yaml);
    let signed = |name: &[u8]| Scripted::Config(name.to_vec());
    for (number, text) in [(0, "first"), (0, "another"), (1, "another")] {
        fs::write(&token, format!("{text}\n")).unwrap();
        server.answer(signed(include_bytes!("../../crates/config/tests/signed/config.yaml.minisig")));
        server.answer_once(signed(include_bytes!("../../crates/config/tests/signed/config.yaml")));
        source.exchange(number, &report(), false).unwrap();
        let asked = server.requests();
        let [config, signature] = &asked[asked.len() - 2..] else { panic!("two requests") };
        assert_eq!(signature.path, format!("{}.minisig", config.path));
        for request in [config, signature] {
            assert_eq!(request.header("authorization"), Some(&*format!("Bearer {text}")), "{}", request.path);
        }
    }
}

#[test]
fn a_signature_that_wants_credentials_names_their_settings() {
    let (dir, server) = (Dir::new(), Server::new());
    let key = include_str!("../../crates/config/tests/signed/key.pub").trim();
    let source = source(&dir, &format!("config: {{url: '{}', public_key: {key}}}", server.url()));
    server.answer(Scripted::status(401));
    server.answer_once(Scripted::Config(b"a: 1".to_vec()));

    let failure = source.exchange(0, &report(), true).unwrap_err();

    assert!(
        failure.message.contains(".minisig: answered 401; ") && failure.message.contains("config.bearer_token_file"),
        "{failure}"
    );
}

#[test]
fn a_blank_body_is_no_config() {
    assert_eq!(Offer::of(Vec::new()), Offer::Empty);
    assert_eq!(Offer::of(b" \n\t\r\n".to_vec()), Offer::Empty);
    let Offer::Config { body } = Offer::of(b" a: 1\n".to_vec()) else {
        panic!("a body that is not blank is a config");
    };
    assert_eq!(&body[..], b" a: 1\n", "handed on byte for byte");
}

#[test]
fn a_signature_file_is_beside_its_config() {
    assert_eq!(signature_path(Path::new("/srv/a.yaml")), Path::new("/srv/a.yaml.minisig"));
}

#[test]
fn validators_that_are_too_long_or_cannot_be_sent_are_not_kept() {
    let longest = "x".repeat(MAX_VALIDATOR);
    let kept = |etag: &str| {
        let etag = Some(etag.to_owned());
        let validators = Validators { etag, last_modified: None };
        validators.bounded().etag.is_some()
    };
    assert!(kept(&longest));
    assert!(!kept(&format!("{longest}x")));
    assert!(!kept("a\r\nInjected: header"));
    assert!(!kept("\u{e9}"));
}

#[test]
fn stored_validators_are_read_back() {
    let validators = Validators { etag: Some("W/\"7f3a\"".into()), last_modified: None };
    let json = serde_json::to_string(&validators).unwrap();
    assert_eq!(json, r#"{"etag":"W/\"7f3a\""}"#);
    assert_eq!(serde_json::from_str::<Validators>(&json).unwrap(), validators);
}
