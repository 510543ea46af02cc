//! Under systemd (`Type=notify`, `WatchdogSec=`) the agent reports that it is ready, what it does, that it is alive,
//! and how long its stop may take; a service manager that does not listen costs nothing.

use std::cell::RefCell;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::host::{Agent, Host, config, environment, hash, wait_for};

/// The socket of a service manager, and the messages that it received.
struct Manager {
    socket: UnixDatagram,
    path: String,
    said: RefCell<Vec<String>>,
}

impl Manager {
    fn new(host: &Host) -> Self {
        let path = host.path("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, path: path.display().to_string(), said: RefCell::default() }
    }

    /// Waits until this holds of the messages.
    fn hears(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        let look = || {
            let mut buffer = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                self.said.borrow_mut().push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
            holds(&self.said.borrow()).then_some(())
        };
        wait_for(what, look, || format!("{:#?}", self.said.borrow()));
    }

    fn count(&self, message: &str) -> usize {
        self.said.borrow().iter().filter(|said| *said == message).count()
    }
}

fn agent_under(host: &Host, manager: &Manager, watchdog: Duration) -> Agent {
    host.server.offer(config("good"));
    let microseconds = watchdog.as_micros().to_string();
    host.agent().env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", microseconds).start()
}

#[test]
fn it_reports_that_it_is_ready_and_the_config_that_runs() {
    let host = Host::new();
    let manager = Manager::new(&host);
    let agent = agent_under(&host, &manager, Duration::from_secs(60));

    manager.hears("READY=1", |said| said.iter().any(|message| message == "READY=1"));
    let good = format!("STATUS=collector healthy, config {}, applied", &hash(config("good"))[..8]);
    manager.hears(&good, |said| said.contains(&good));

    let given = environment(host.runs("good"));
    assert!(!given.iter().any(|entry| entry.starts_with("NOTIFY_SOCKET=") || entry.starts_with("WATCHDOG_")));
    drop(agent);
}

#[test]
fn it_feeds_the_watchdog_while_it_works_and_not_while_it_hangs() {
    let host = Host::new();
    let manager = Manager::new(&host);
    let agent = agent_under(&host, &manager, Duration::from_millis(400));
    let signs = |count: usize| move |said: &[String]| said.iter().filter(|it| *it == "WATCHDOG=1").count() >= count;
    manager.hears("five signs of life", signs(5));

    agent.signal(super::host::Signal::STOP);
    wait_for("the stop", || (super::host::state(agent.pid()) == Some('T')).then_some(()), String::new);
    manager.hears("what is on its way", |_| true);
    let before = manager.count("WATCHDOG=1");
    // Three times the longest time between two messages: the time itself has to pass here.
    let passed = std::time::Instant::now() + Duration::from_millis(600);
    wait_for("the time", || (std::time::Instant::now() >= passed).then_some(()), String::new);
    manager.hears("what is on its way", |_| true);
    assert_eq!(manager.count("WATCHDOG=1"), before, "nobody gives signs of life for a loop that stands");

    agent.signal(super::host::Signal::CONT);
    manager.hears("a sign of life again", signs(before + 1));
}

#[test]
fn a_watchdog_meant_for_another_process_is_not_fed() {
    let host = Host::new();
    let manager = Manager::new(&host);
    host.server.offer(config("good"));
    let agent = host.agent().env("NOTIFY_SOCKET", &manager.path);
    let agent = agent.env("WATCHDOG_USEC", "400000").env("WATCHDOG_PID", "1").start();

    agent.applied(&config("good"));
    host.more_polls(10);

    manager.hears("READY=1", |said| said.iter().any(|message| message == "READY=1"));
    assert_eq!(manager.count("WATCHDOG=1"), 0);
}

#[test]
fn a_reload_and_a_stop_are_announced() {
    let host = Host::new();
    let manager = Manager::new(&host);
    let mut agent = agent_under(&host, &manager, Duration::from_secs(60));
    agent.applied(&config("good"));

    agent.signal(super::host::Signal::HUP);
    manager.hears("a reload, and that it is over", |said| {
        let began = said.iter().position(|message| message.starts_with("RELOADING=1\nMONOTONIC_USEC="));
        began.is_some_and(|began| said[began..].iter().any(|message| message == "READY=1"))
    });

    agent.signal(super::host::Signal::TERM);
    // collector.stop_timeout is 10 s here; the agent's own last writes and messages may take 10 more.
    manager.hears("the stop", |said| said.iter().any(|it| it == "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000"));
    assert_eq!(agent.ended(), 0);
}

#[test]
fn a_service_manager_that_never_reads_stalls_nothing() {
    let host = Host::new();
    let manager = Manager::new(&host);
    let agent = agent_under(&host, &manager, Duration::from_millis(100));
    agent.applied(&config("good"));

    // Its queue is full by now; the kernel keeps a few messages only.
    host.more_polls(30);
    let better = config("better");
    host.server.offer(&*better);
    agent.applied(&better);
}
