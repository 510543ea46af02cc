//! While the first source is silent the others serve, in their order; when it is back it serves again. The status names
//! the source that serves.

use super::host::{Host, Signal, config, scripted, stderr, stdout, wait_until};
use super::server::{Answer, Server};

/// A host with a second server that offers this config.
fn host_with_fallback(body: &str, after: &str) -> (Host, Server) {
    let (host, second) = (Host::new(), Server::new());
    second.offer(body);
    host.set("config.fallback", &format!("[\"{}\"]", second.url()));
    host.set("config.fallback_after", after);
    (host, second)
}

#[test]
fn a_source_that_has_never_answered_is_replaced_at_once() {
    let spare = config("spare");
    let (host, second) = host_with_fallback(&spare, "1h");
    host.server.answer(Answer::status(503));

    let agent = host.agent().start();

    let status = agent.applied(&spare);
    assert_eq!(status.config.source, Some(host.server.url()));
    assert_eq!(status.config.serving, Some(second.url()));
    assert!(status.config.source_trouble.unwrap().contains("answered 503"));
    agent.logs(&format!("configs come from {} now: ", second.url()));
}

#[test]
fn a_source_that_has_answered_before_may_be_silent_for_a_while() {
    let (good, spare) = (config("good"), config("spare"));
    let (host, second) = host_with_fallback(&spare, "1h");
    let agent = host.agent_running(&good);

    host.server.answer(Answer::status(503));
    // A source that has never answered is given up at the first of these. More polls would take a backoff of minutes.
    host.more_polls(3);

    assert!(second.requests().is_empty());
    assert_eq!(agent.applied_still(&good).config.serving, Some(host.server.url()));
}

#[test]
fn the_time_of_silence_survives_a_restart_of_the_agent() {
    let (good, spare) = (config("good"), config("spare"));
    let (host, second) = host_with_fallback(&spare, "1h");
    let mut agent = host.agent_running(&good);
    agent.stop();
    host.server.answer(Answer::status(503));

    let _agent = host.agent().start();
    host.more_polls(3);

    assert!(second.requests().is_empty(), "a reboot during an outage is no reason to change the config");
}

#[test]
fn the_first_serves_again_when_it_is_back() {
    let (good, spare) = (config("good"), config("spare"));
    let (host, second) = host_with_fallback(&spare, "0s");
    let agent = host.agent_running(&good);
    host.server.answer(Answer::status(503));
    agent.applied(&spare);

    host.server.offer(&*good);

    let status = agent.applied(&good);
    assert_eq!(status.config.serving, Some(host.server.url()));
    assert_eq!(status.config.source_trouble, None);
    agent.logs(&format!("configs come from {} again", host.server.url()));
    let asked = second.requests().len();
    host.more_polls(3);
    assert_eq!(second.requests().len(), asked, "nobody asks the second any more");
}

#[test]
fn a_file_can_replace_a_silent_server() {
    let (host, spare) = (Host::new(), config("spare"));
    let path = host.path("spare.yaml");
    std::fs::write(&path, &spare).unwrap();
    host.set("config.fallback", &format!("[{}]", path.display()));
    host.server.answer(Answer::status(503));

    let agent = host.agent().start();

    agent.applied(&spare);
    let edited = config("edited");
    std::fs::write(host.path("new.yaml"), &edited).unwrap();
    // On Windows the rename fails while the agent reads the file.
    wait_until("the new file in place", || std::fs::rename(host.path("new.yaml"), &path).is_ok());
    agent.applied(&edited);
}

#[test]
fn when_no_source_answers_each_is_named() {
    let (host, second) = host_with_fallback("", "0s");
    host.server.answer(Answer::status(503));
    second.answer(Answer::status(404));

    let agent = host.agent().start();

    let line = agent.logs("config poll failed");
    assert!(line.contains("answered 503") && line.contains("answered 404"), "{line}");
    agent.signal(Signal::TERM);
}

#[test]
fn a_fallback_gets_the_credentials_that_were_set_for_it() {
    let spare = config("spare");
    let (host, second) = host_with_fallback(&spare, "1h");
    std::fs::write(host.path("token"), "hunter2").unwrap();
    host.set("config.bearer_token_file", &host.path("token").display().to_string());
    host.set("config.headers", "{X-Key: hunter2}");
    host.set("config.fallback_headers", "{X-Spare: '1'}");
    // On the server of config.url it is the same server; a fallback there gets its headers too.
    host.set("config.fallback", &format!("['{}', '{}']", host.server.at("/spare.yaml"), second.url()));
    host.server.answer(Answer::status(503));

    let agent = host.agent().start();

    agent.applied(&spare);
    for request in second.requests() {
        assert_eq!((request.header("x-key"), request.header("authorization")), (None, None));
        assert_eq!(request.header("x-spare"), Some("1"));
    }
    let asked = host.server.requests();
    let same = asked.iter().find(|request| request.path == "/spare.yaml").expect("the first fallback was asked");
    assert_eq!((same.header("x-key"), same.header("authorization")), (Some("hunter2"), Some("Bearer hunter2")));
    assert_eq!(same.header("x-spare"), Some("1"));
    assert_eq!(asked[0].header("x-spare"), None);
}

#[test]
fn a_fallback_that_wants_credentials_names_their_setting() {
    let (host, second) = host_with_fallback(&config("spare"), "1h");
    host.set("config.headers", "{X-Key: hunter2}");
    host.server.answer(Answer::status(503));
    second.answer(Answer::status(401));

    let agent = host.agent().start();

    agent.logs(&format!("{}: answered 401; check config.fallback_headers", second.url()));
}

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n";

/// A host whose first source is silent, with a file as its first fallback and a server as its second.
fn host_with_file_and_server(file: &str, body: &str) -> (Host, Server) {
    let (host, second) = (Host::new(), Server::new());
    second.offer(body);
    std::fs::write(host.path("stick.yaml"), file).unwrap();
    let file = host.path("stick.yaml");
    host.set("config.fallback", &format!("[{}, \"{}\"]", file.display(), second.url()));
    host.server.answer(Answer::status(503));
    (host, second)
}

#[test]
fn a_broken_fallback_does_not_hide_the_next_one() {
    let spare = config("spare");
    let whole = config("stick");
    let torn = &whole[..whole.len() / 2];
    let refused = scripted("refused", &["refuse no such exporter"]);
    for (broken, why) in [
        (PAGE, "a web page came, not a config"),
        (torn, "config "),
        ("", "answered with an empty body"),
        ("{\"error\": \"not found\"}", "no other section of a config"),
        (&*refused, " is refused"),
    ] {
        let (host, second) = host_with_file_and_server(broken, &spare);

        let agent = host.agent().start();

        let status = agent.applied(&spare);
        assert_eq!(status.config.serving, Some(second.url()), "{broken:?}");
        let trouble = status.config.source_trouble.unwrap();
        assert!(trouble.contains("answered 503") && trouble.contains(why), "{broken:?}: {trouble}");
        assert!(trouble.contains("stick.yaml: "), "{trouble}");
        let refusals = agent.logged(" refused: ");
        host.more_polls(2);
        assert_eq!(agent.logged(" refused: "), refusals, "said once");
        assert!(host.validations(&refused) <= 1, "not tried again while it is still offered");
    }
}

#[test]
fn a_fallback_that_is_mended_serves() {
    let (spare, stick) = (config("spare"), config("stick"));
    let (host, _second) = host_with_file_and_server(PAGE, &spare);
    let agent = host.agent().start();
    agent.applied(&spare);

    std::fs::write(host.path("new.yaml"), &stick).unwrap();
    wait_until("the new file in place", || std::fs::rename(host.path("new.yaml"), host.path("stick.yaml")).is_ok());

    assert_eq!(agent.applied(&stick).config.serving, Some(host.path("stick.yaml").display().to_string()));
}

#[test]
fn a_page_of_the_first_source_does_not_keep_a_new_host_without_a_config() {
    let spare = config("spare");
    let (host, second) = host_with_fallback(&spare, "1h");
    host.server.answer(Answer::Status(200, Vec::new(), PAGE.into()));

    let agent = host.agent().start();

    let status = agent.applied(&spare);
    assert_eq!(status.config.serving, Some(second.url()));
    assert!(status.config.source_trouble.unwrap().contains("a web page came, not a config"));
}

#[test]
fn a_mistake_in_the_config_of_the_first_source_is_no_reason_to_leave_it() {
    let (good, spare) = (config("good"), config("spare"));
    let (host, second) = host_with_fallback(&spare, "0s");
    let agent = host.agent_running(&good);

    host.server.offer("receivers: {otlp: {}}\n");

    agent.failed("receivers: {otlp: {}}\n");
    host.more_polls(3);
    assert!(second.requests().is_empty());
    assert_eq!(agent.applied_still(&good).config.serving, Some(host.server.url()));
}

#[test]
fn validate_passes_over_a_broken_fallback() {
    let (host, second) = host_with_file_and_server(PAGE, &config("spare"));
    let output = host.otelet(&["validate"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    second.answer(Answer::status(404));
    let output = host.otelet(&["validate"]);
    let told = stdout(&output);
    assert!(output.status.code() != Some(0) && told.contains("answered 503"), "{told}");
    assert!(told.contains("a web page came") && told.contains("answered 404"), "{told}");
}
