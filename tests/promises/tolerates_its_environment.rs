//! A variable that was not set for the agent never stops it: what nobody needs is not judged, and what cannot be used is
//! said once. A variable that is unset, empty, quoted or ends with a carriage return is called so.

use super::host::{Host, config, stderr};
use super::server::{Answer, Server};

const FAR: &str = "http://config.example.invalid/site.yaml";

#[test]
fn a_proxy_of_another_kind_does_not_stop_an_agent_that_needs_none() {
    for proxy in
        ["socks5h://me:hunter2@127.0.0.1:1080", "https://me:hunter2@proxy.example:3129", "\"no proxy\"", "::hunter2"]
    {
        let host = Host::new();
        let good = config("good");
        host.server.offer(&*good);
        let agent = host.agent().env("https_proxy", proxy).env("http_proxy", proxy).start();

        agent.applied(&good);

        for scheme in ["http", "https"] {
            let line = agent.logs(&format!("{scheme}_proxy cannot be used: "));
            assert!(line.contains(&format!("fail until config.{scheme}_proxy is set")), "{line}");
            assert_eq!(agent.logged(&format!("{scheme}_proxy cannot be used: ")), 1);
        }
        assert!(!agent.log().contains("hunter2"), "{}", agent.log());
    }
}

#[test]
fn a_request_that_needs_an_unusable_proxy_says_so_and_is_not_sent_past_it() {
    let host = Host::new();
    host.set("config.url", FAR);
    let agent = host.agent().env("http_proxy", "socks5://me:hunter2@127.0.0.1:1080").start();

    let line = agent.logs("config.http_proxy, or the variable http_proxy: only http:// proxies are supported");

    assert!(line.contains("set config.http_proxy, to nothing for none"), "{line}");
    assert!(!agent.log().contains("hunter2"), "{}", agent.log());
}

#[test]
fn quotes_and_carriage_returns_around_a_common_variable_are_left_out() {
    for (before, after) in [("\"", "\""), ("'", "'\r"), ("", "\r"), (" ", " ")] {
        let (host, proxy) = (Host::new(), Server::new());
        let good = config("good");
        proxy.offer(&*good);
        host.set("config.url", FAR);
        let agent = host.agent().env("http_proxy", format!("{before}http://{}{after}", proxy.addr())).start();

        agent.applied(&good);

        assert_eq!(proxy.requests()[0].path, FAR);
        agent.logs("http_proxy: quotes, blanks and carriage returns around its value are left out");
    }
}

#[test]
fn quotes_and_carriage_returns_around_a_variable_of_the_agents_own_are_left_out() {
    for (before, after) in [("\"", "\""), ("'", "'\r"), ("", "\r")] {
        let host = Host::new();
        let good = config("good");
        host.server.offer(&*good);
        let agent = host
            .agent()
            .env("OTELET_CONFIG_URL", format!("{before}{}{after}", host.server.url()))
            .env("OTELET_CONFIG_POLL_EVERY", format!("{before}30s{after}"))
            .start();

        agent.applied(&good);

        agent.logs("OTELET_CONFIG_URL: quotes and carriage returns around its value are left out");
        agent.logs("OTELET_CONFIG_POLL_EVERY: quotes and carriage returns around its value are left out");
    }
}

#[test]
fn a_variable_of_the_agents_own_is_refused_with_what_is_wrong_with_it() {
    let host = Host::new();
    for (name, value, said) in [
        ("OTELET_CONFIG_CA_FILE", "/ca.pem ", "; its value begins or ends with a blank"),
        ("OTELET_CONFIG_POLL_EVERY", "30s\r ", "; its value begins or ends with a blank"),
    ] {
        let output = host.command().arg("run").env(name, value).output().unwrap();
        let complaint = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{name}: {complaint}");
        assert!(complaint.contains(name) && complaint.contains(said), "{complaint}");
    }
}

#[test]
fn an_empty_or_quoted_variable_in_a_header_is_named() {
    let host = Host::new();
    let good = config("good");
    host.server.answer(Answer::status(401));
    host.set("config.headers", "{X-A: '${env:SITE_TOKEN}', X-B: 'Bearer ${env:SITE_KEY}'}");
    let agent =
        host.agent().env("SITE_TOKEN", "").env("SITE_KEY", "\"hunter2\"").env("OTELET_CONFIG_CA_FILE", "").start();

    agent.logs("config.headers.X-A: the variable SITE_TOKEN is empty");
    agent.logs("config.headers.X-B: the variable SITE_KEY is in quotes, which count as part of it; leave them out");
    agent.logs("OTELET_CONFIG_CA_FILE is empty; it counts as not set");
    host.server.offer(&*good);
    agent.applied(&good);
    assert_eq!(agent.logged("SITE_TOKEN is empty"), 1);
    assert!(!agent.log().contains("hunter2"), "{}", agent.log());

    let run = |value: Option<&str>| {
        let mut command = host.command();
        command.arg("run").env("SITE_TOKEN", "x");
        command.arg(format!("--settings={}", host.settings_file().display()));
        command.envs(value.map(|value| ("SITE_KEY", value)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        stderr(&output)
    };
    let ended = run(Some("hun\r\nter2"));
    assert!(ended.contains("config.headers.X-B: its value has a line break"), "{ended}");
    assert!(!ended.contains("ter2"), "{ended}");
    assert!(run(None).contains("the variable SITE_KEY is not set; set it, or write ${env:SITE_KEY:-text}"));
}
