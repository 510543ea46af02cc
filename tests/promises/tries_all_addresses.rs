//! A server with several addresses is reached by the one that works, in a moment and not at the end of a time limit: a host
//! has an address of IPv6 and no way to use it, or a way that swallows what is sent.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::host::{Host, config};

/// A name for both loopback addresses, that of IPv6 first.
const NAME: &str = "config.localhost";

/// A listener at the config server's port of IPv6. `None` where this host has none.
fn beside(host: &Host) -> Option<TcpListener> {
    let port = host.server.addr().port();
    match TcpListener::bind(("::1", port)) {
        Ok(listener) => Some(listener),
        Err(why) => {
            println!("skipped: [::1]:{port}: {why}");
            None
        }
    }
}

/// Connections that fill the queue of a listener: the kernel drops further ones without a word.
fn fill(listener: &TcpListener) -> Vec<TcpStream> {
    rustix::net::listen(listener, 1).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let mut held = Vec::new();
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                return held;
            }
        }
    }
}

fn at_both(host: &Host) -> String {
    host.server.url().replace("127.0.0.1", NAME)
}

#[test]
fn an_address_that_never_answers_delays_one_poll_by_a_moment() {
    let host = Host::new();
    let Some(listener) = beside(&host) else { return };
    let _held = fill(&listener);
    host.set("config.url", &at_both(&host));
    host.set("config.timeout", "5m");

    let agent = host.agent_running(&config("good"));

    host.more_polls(20);
    assert_eq!(agent.logged("config poll failed"), 0);
}

#[test]
fn an_address_that_takes_a_connection_and_gives_no_answer_costs_one_poll() {
    let host = Host::new();
    let Some(_silent) = beside(&host) else { return };
    host.set("config.url", &at_both(&host));
    host.set("config.timeout", "1s");

    let agent = host.agent_running(&config("good"));

    host.more_polls(20);
    assert_eq!(agent.logged("config poll failed"), 1);
}

#[test]
fn a_check_of_a_port_is_good_if_one_address_accepts() {
    let host = Host::new();
    let Some(listener) = beside(&host) else { return };
    let _held = fill(&listener);
    let port = host.server.addr().port();
    host.set("checks", &format!("\n  - {{name: port, tcp: '{NAME}:{port}', every: 1s, timeout: 2m}}"));

    let agent = host.agent_running(&config("good"));

    let status = agent.wait_status("a good check", |status| {
        status.checks.iter().any(|check| check.name == "port" && check.ok.is_some())
    });
    let message = &status.checks.iter().find(|check| check.name == "port").unwrap().message;
    assert_eq!(*message, format!("connected to 127.0.0.1:{port}"));
}
