//! Polling costs the server and the network as little as possible, and obeys the server's Retry-After.

use std::fs;
use std::time::{Duration, SystemTime};

use otelet_wire::status::RemoteConfigStatus;

use super::host::{Host, Signal, config};
use super::server::{Answer, Server, etag};
use super::tap::Tap;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Answer::Status(status, headers.collect(), body.into())
}

#[test]
fn an_unchanged_config_is_asked_for_by_its_etag() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);

    host.more_polls(3);

    let asked = host.server.requests();
    assert_eq!(asked[0].header("if-none-match"), None);
    assert!(asked[1..].iter().all(|asked| asked.header("if-none-match") == Some(&etag(good.as_bytes()))), "{asked:#?}");
    let status = agent.wait_status("unchanged answers", |status| status.exchanges.unchanged > 0);
    assert_eq!(status.exchanges.offered, 1);
    assert_eq!(host.validations(&good), 1);
}

/// Promised in docs/numbers.md. The agent's request contains the server's name, its port, the path and the ETag, so its
/// length depends on them.
const UNCHANGED_SENT: usize = 225;

#[test]
fn an_unchanged_poll_costs_little() {
    let host = Host::new();
    let (tap, url) = Tap::on(&host.server.url());
    host.set("config.url", &url);
    let agent = host.agent_running(&config("good"));
    tap.more(1);

    let polls = tap.more(3);

    println!("an unchanged poll by GET: {polls:?}");
    assert!(polls.iter().all(|poll| *poll == polls[0]), "each like the other: {polls:?}");
    assert!(polls[0].sent <= UNCHANGED_SENT, "{polls:?}");
    drop(agent);
}

/// Dates of files on a server without ETags.
const OCTOBER: &str = "Thu, 01 Oct 2026 08:49:37 GMT";
const NOVEMBER: &str = "Sun, 01 Nov 2026 08:49:37 GMT";

fn dated(date: &str, body: &str) -> Answer {
    Answer::Dated(date.into(), body.into())
}

#[test]
fn a_server_with_last_modified_only_is_asked_for_its_date() {
    let host = Host::new();
    host.server.answer(dated(NOVEMBER, &config("good")));
    let agent = host.agent().start();
    agent.applied(&config("good"));

    host.more_polls(3);

    let asked = host.server.requests();
    assert!(asked[1..].iter().all(|asked| asked.method == "HEAD"), "{asked:#?}");
    let status = agent.wait_status("unchanged answers", |status| status.exchanges.unchanged > 0);
    assert_eq!(status.exchanges.offered, 1);
}

#[test]
fn an_older_file_that_is_put_back_on_a_server_without_etags_runs() {
    let host = Host::new();
    let (today, older) = (config("today"), config("of last month"));
    host.server.answer(dated(NOVEMBER, &today));
    let agent = host.agent().start();
    agent.applied(&today);

    host.server.answer(dated(OCTOBER, &older));

    agent.applied(&older);
}

#[test]
fn an_older_file_runs_after_a_restart_also_from_a_server_that_knows_no_head() {
    let host = Host::new();
    let (today, older) = (config("today"), config("of last month"));
    host.server.answer(dated(NOVEMBER, &today));
    let mut agent = host.agent().start();
    agent.applied(&today);
    assert_eq!(agent.stop(), 0);
    host.server.answer(dated(OCTOBER, &older));

    let agent = host.agent().start();

    agent.applied(&older);
}

#[test]
fn a_page_in_place_of_the_config_leaves_nothing_behind() {
    let page = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    let tagged = |status, tag: &str, body: &str| answer(status, &[("ETag", tag)], body);
    // A gateway's page has a later date than the file, or a tag that its cache answers with 304 for as long as it is
    // asked by it.
    for (portal, file) in [
        (dated(NOVEMBER, page), dated(OCTOBER, &config("file"))),
        (tagged(200, "\"portal\"", page), dated(OCTOBER, &config("file"))),
    ] {
        let host = Host::new();
        host.server.answer(portal);
        let agent = host.agent().start();
        let line = agent.logs("a web page came, not a config");
        assert!(line.contains("its title is \"Sign in\""), "{line}");
        host.more_polls(2);
        let asked = host.server.requests();
        let plain = |asked: &super::server::Request| {
            let by = ["if-none-match", "if-modified-since"].map(|name| asked.header(name));
            asked.method == "GET" && by == [None, None]
        };
        assert!(asked.iter().all(plain), "{asked:#?}");

        host.server.answer(file);

        agent.applied(&config("file"));
        assert_eq!(agent.logged("a web page came"), 1, "said once");
    }
}

#[test]
fn a_config_with_a_mistake_is_fetched_once() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let mistake = "receivers: {otlp: {}}\n";

    host.server.offer(mistake);

    agent.failed(mistake);
    host.more_polls(3);
    let asked = host.server.requests();
    assert_eq!(asked.last().unwrap().header("if-none-match"), Some(&*etag(mistake.as_bytes())));
}

#[test]
fn caches_on_the_way_are_asked_to_ask_the_server() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.more_polls(1);
    let asked = host.server.requests();
    assert!(asked.iter().all(|asked| asked.header("cache-control") == Some("no-cache")), "{asked:#?}");

    host.set("config.headers", "{cache-control: max-age=60}");
    agent.signal(Signal::HUP);

    host.server.wait_for("the header of the settings", |asked| {
        asked.last().is_some_and(|asked| asked.header("cache-control") == Some("max-age=60"))
    });
}

#[test]
fn another_etag_on_the_same_config_changes_nothing() {
    let host = Host::new();
    let good = config("good");
    host.server.answer(answer(200, &[("ETag", "\"0\"")], &good));
    let agent = host.agent().start();
    agent.applied(&good);

    for number in 1..=3 {
        let etag = format!("\"{number}\"");
        host.server.answer(answer(200, &[("ETag", &etag)], &good));
        host.server.wait_for("the new ETag", |asked| {
            asked.last().is_some_and(|asked| asked.header("if-none-match") == Some(&etag))
        });
    }

    assert_eq!((host.validations(&good), host.starts().len()), (1, 1));
    assert!(!host.journal().iter().any(|entry| entry.event == "sigterm"));
    agent.applied(&good);
}

#[test]
fn a_restarted_agent_asks_for_the_body_once() {
    let host = Host::new();
    let good = config("good");
    let mut agent = host.agent_running(&good);
    agent.stop();
    let before = host.server.requests().len();

    let agent = host.agent().start();

    let asked = host.server.wait_for_requests(before + 2);
    assert_eq!(asked[before].header("if-none-match"), None);
    assert_eq!(asked[before + 1].header("if-none-match"), Some(&*etag(good.as_bytes())));
    agent.applied(&good);
    assert_eq!((host.validations(&good), host.starts_on(&good)), (1, 2), "the same config is not tried again");
}

/// The time to the next try that a line of the log announces.
fn next_try(line: &str) -> Duration {
    let (_, time) = line.split_once("next try in ").unwrap_or_else(|| panic!("no time in {line}"));
    otelet_core::units::parse_time(time.split([',', ' ']).next().unwrap()).unwrap()
}

#[test]
fn retry_after_is_obeyed_in_both_forms() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
    for value in ["600", &date] {
        let host = Host::new();
        host.server.answer(answer(503, &[("Retry-After", value)], ""));

        let agent = host.agent().start();

        let delay = next_try(&agent.logs("config poll failed: ")).as_secs();
        // Some seconds of slack for the date, which was made before the agent was started.
        assert!((570..=603).contains(&delay), "Retry-After: {value} makes it wait {delay}s");
    }
}

#[test]
fn a_retry_after_that_is_too_long_is_not_obeyed() {
    let host = Host::new();
    host.server.answer(answer(503, &[("Retry-After", "31536000")], ""));

    let agent = host.agent().start();

    let delay = next_try(&agent.logs("config poll failed: "));
    assert!(delay <= Duration::from_secs(3603), "a year is too long: {delay:?}");
}

#[test]
fn a_failing_server_is_polled_less_often_and_logged_once() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.server.answer(Answer::status(500));
    agent.logs("answered 500");
    let failed = host.server.requests().len();
    agent.signal(Signal::HUP);
    host.server.wait_for_requests(failed + 1);
    host.server.offer(config("good"));

    let asked = host.server.wait_for_requests(failed + 2);

    let gap = asked[failed + 1].at - asked[failed].at;
    assert!(gap >= Duration::from_millis(450), "asked again after {gap:?} by an agent that polls every 100 ms");
    assert_eq!(agent.logged("config poll failed"), 1, "the same again is not news");
    agent.logs("config source answers again after ");
}

#[test]
fn sighup_asks_at_once() {
    let host = Host::new();
    host.set("config.poll_every", "24h");
    let agent = host.agent_running(&config("first"));
    host.server.offer(config("second"));

    agent.signal(Signal::HUP);

    agent.applied(&config("second"));
    assert_eq!(host.server.requests().len(), 2, "once");
}

#[test]
fn a_redirect_on_the_same_server_is_followed() {
    let host = Host::new();
    host.server.offer(config("good"));
    host.server.answer_once(Answer::RedirectTo("/elsewhere.yaml".into()));

    let agent = host.agent().start();

    agent.applied(&config("good"));
    assert_eq!(host.server.requests()[1].path, "/elsewhere.yaml");
}

#[test]
fn a_redirect_to_another_server_is_not() {
    let host = Host::new();
    let other = Server::new();
    other.offer(config("foreign"));
    host.set("config.headers", "{X-Key: key-of-this-server}");
    host.server.answer(Answer::RedirectTo(other.url()));

    let agent = host.agent().start();

    let line = agent.logs("config poll failed: ");
    assert!(line.contains("redirects to ") && line.contains("set config.url to it if that is right"), "{line}");
    assert!(other.requests().is_empty(), "not even asked");
}

#[test]
fn headers_of_the_settings_are_sent_and_the_token_is_read_again_when_it_changes() {
    let host = Host::new();
    let token = host.path("token");
    fs::write(&token, "first-token\n").unwrap();
    host.set("config.bearer_token_file", &token.display().to_string());
    host.set("config.headers", "{X-Site: \"${env:SITE}\", User-Agent: mine}");
    host.server.offer(config("good"));
    let agent = host.agent().env("SITE", "north-4").start();
    let asked = host.server.wait_for_requests(1);
    assert_eq!(asked[0].header("authorization"), Some("Bearer first-token"));
    assert_eq!(asked[0].header("x-site"), Some("north-4"));
    assert_eq!(asked[0].header("user-agent"), Some("mine"));

    fs::write(&token, "the-second-token\n").unwrap();

    host.server.wait_for("the new token", |asked| {
        asked.last().is_some_and(|asked| asked.header("authorization") == Some("Bearer the-second-token"))
    });
    agent.applied(&config("good"));
}

#[test]
fn a_token_that_is_missing_is_named_and_no_request_is_sent_without_it() {
    let host = Host::new();
    host.set("config.bearer_token_file", &host.path("token").display().to_string());
    host.server.offer(config("good"));

    let agent = host.agent().start();

    agent.logs("config poll failed: config.bearer_token_file ");
    assert!(host.server.requests().is_empty());
    fs::write(host.path("token"), "token").unwrap();
    agent.signal(Signal::HUP);
    agent.applied(&config("good"));
}

#[test]
fn an_empty_body_never_stops_anything() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    for body in ["", " \n\n"] {
        let before = host.server.requests().len();
        host.server.answer(answer(200, &[], body));
        host.server.wait_for_requests(before + 1);
        agent.logs("config poll failed: the source answered with an empty body");
    }

    let status = agent.applied_still(&good);

    assert_eq!(status.config.remote_config_status, RemoteConfigStatus::Applied);
    assert_eq!(host.starts().len(), 1);
    assert!(!host.journal().iter().any(|entry| entry.event == "sigterm"));
}

#[test]
fn a_proxy_is_used_for_other_hosts_and_not_where_no_proxy_says_so() {
    let host = Host::new();
    host.server.offer(config("good"));
    host.set("config.url", "http://config.example/site/config.yaml");
    host.set("config.http_proxy", &host.server.at(""));
    let agent = host.agent().start();
    agent.applied(&config("good"));
    assert_eq!(host.server.requests()[0].path, "http://config.example/site/config.yaml");

    host.set("config.no_proxy", "\".org, config.example\"");
    agent.signal(Signal::HUP);

    // The name does not resolve: the failure shows that the agent did not use the proxy.
    agent.logs("config poll failed: ");
}

#[test]
fn a_list_of_no_proxy_with_wildcards_networks_and_spaces_is_understood() {
    let host = Host::new();
    host.server.offer(config("good"));
    host.set("config.url", "http://config.plant.example/site/config.yaml");
    host.set("config.http_proxy", &host.server.at(""));
    host.set("config.no_proxy", "\"localhost, 10.0.0.0/8, *.other.example\"");
    let agent = host.agent().start();
    agent.applied(&config("good"));

    host.set("config.no_proxy", "\"localhost, 10.0.0.0/8, *.plant.example\"");
    agent.signal(Signal::HUP);

    // As above: the proxy has this config, and the agent does not ask it.
    agent.logs("config poll failed: http://config.plant.example/site/config.yaml: name config.plant.example does not");
}
