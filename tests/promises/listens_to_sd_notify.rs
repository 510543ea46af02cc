//! A collector without `health_check` but with the `sd_notify` extension is watched by its messages on that socket.

use std::fs;
use std::time::Duration;

use super::host::{Host, environment, scripted};

#[test]
fn ready_and_watchdog_messages_make_its_config_good() {
    let host = Host::new();
    let body = scripted("good", &["sd-notify", "ready after 150ms"]);
    host.server.offer(&*body);
    let agent = host.agent().env("FAKE_EXTENSIONS", "sd_notify file_storage").start();

    let status = agent.applied(&body);

    assert_eq!(status.collector.witness.as_deref(), Some("sd_notify"));
    let overlay = fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap();
    let overlay: serde_yaml::Value = serde_yaml::from_str(&overlay).unwrap();
    assert_eq!(overlay["service"]["extensions"][0], "sd_notify/otelet");
    let environment = environment(host.runs("good"));
    let socket = environment.iter().find_map(|entry| entry.strip_prefix("NOTIFY_SOCKET=")).unwrap();
    assert!(socket.starts_with(host.runtime_dir().to_str().unwrap()), "a socket of its own: {socket}");
    assert!(environment.iter().any(|entry| entry.starts_with("WATCHDOG_USEC=")));
}

#[test]
fn a_collector_that_never_says_ready_is_not_good() {
    let host = Host::new();
    let body = scripted("mute", &["ready after 100ms"]);
    host.server.offer(&*body);
    let agent = host.agent().env("FAKE_EXTENSIONS", "sd_notify").start();

    let status = agent.wait_status("a complaint", |status| status.collector.trouble.is_some());

    assert_eq!(status.collector.trouble.as_deref(), Some("it has not said READY=1 yet"));
    host.more_polls(10);
    assert_eq!(agent.written_status().unwrap().config.last_good_hash, None);
}

#[test]
#[ignore = "takes a minute: cargo xtask check --real"]
fn a_collector_whose_watchdog_messages_stop_is_restarted() {
    let host = Host::new();
    let body = scripted("hangs", &["sd-notify", "hang after 500ms"]);
    host.server.offer(&*body);
    let agent = host.agent().env("FAKE_EXTENSIONS", "sd_notify").start();
    agent.applied(&body);

    // The watchdog's 30 seconds, and three looks at it.
    let line = agent.logs_within(Duration::from_secs(90), "collector hangs: ", 1);

    assert!(line.contains("it does not say WATCHDOG=1 any more"), "{line}");
    host.started(2);
}
